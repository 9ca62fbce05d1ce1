//! What follows an announce in its datagram: walked within bounds, and the announce stays as it is.
#![no_main]

use announced::tests::fuzz::udp_options;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|options: &[u8]| udp_options(options));
