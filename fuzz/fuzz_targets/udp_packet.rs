//! A datagram: the fast reading is the naive one, and no answer is longer than it may be.
#![no_main]

use announced::tests::fuzz::udp_packet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| udp_packet(packet));
