//! The query of an announce: the fast reading is the naive one.
#![no_main]

use announced::tests::fuzz::announce_query;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| announce_query(bytes));
