//! The query of a scrape: the fast reading is the naive one; ascending, unique, at most 100.
#![no_main]

use announced::tests::fuzz::scrape_query;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| scrape_query(bytes));
