//! A .torrent file: nothing makes the reader panic, and its hashes are those of the info
//! dictionary.
#![no_main]

use announced::tests::fuzz::torrent_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| torrent_file(file));
