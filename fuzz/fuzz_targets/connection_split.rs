//! A connection's bytes, whole and cut anyhow: same answers, same end.
#![no_main]

use announced::tests::fuzz::connection_split;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| connection_split(bytes));
