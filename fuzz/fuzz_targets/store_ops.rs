//! Operations on the swarms: counters and answers are those of a naive model.
#![no_main]

use announced::tests::model::run_operations;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| run_operations(bytes));
