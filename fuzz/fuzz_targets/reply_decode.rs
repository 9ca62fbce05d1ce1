//! An answer of any kind in a buffer of any size: it fits or is refused, and decodes to what was to
//! be said.
#![no_main]

use announced::tests::fuzz::reply_decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| reply_decode(bytes));
