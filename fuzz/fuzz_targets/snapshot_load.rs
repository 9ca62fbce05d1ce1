//! A snapshot of the swarms: nothing in a file makes its reader panic or breaks the swarms.
#![no_main]

use announced::tests::fuzz::snapshot_load;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| snapshot_load(file));
