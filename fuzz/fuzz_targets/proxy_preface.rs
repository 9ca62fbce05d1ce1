//! The first bytes of a proxy's connection: the fast reading is the naive one, and no cut changes
//! it.
#![no_main]

use announced::tests::fuzz::proxy_preface;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| proxy_preface(bytes));
