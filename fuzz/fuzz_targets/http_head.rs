//! The bytes of a connection: parsing and routing never panic, and no cut changes an outcome.
#![no_main]

use announced::tests::fuzz::http_head;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| http_head(bytes));
