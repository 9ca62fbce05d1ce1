//! Conversations of real clients over UDP, packet by packet as they were recorded between the
//! client and the tracker, against the exact answers.
//!
//! A step is who sends (the last byte of 192.0.2.x), what it says, its packet and the answer, in
//! hexadecimal digits with a space between fields. `HASH` stands for the torrent's info hash, and
//! `ID` for the connection id that the tracker gave to this client: the clients repeat it byte by
//! byte, and only it and the addresses are not the recorded ones.
//!
//! What can be seen in them: libtorrent puts the URL's path behind every announce (BEP 41), and
//! scrapes over the same socket. aria2 sends two bytes more than BEP 15 knows, and another key with
//! each announce. Transmission wants 80 peers. bittorrent-tracker asks for an id before every
//! request, from another port each time, and has no key.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use data_encoding::HEXLOWER;

use crate::config::{Mode, Policy};
use crate::frontend::{Packet, Reply};
use crate::ids::Millis;
use crate::tests::harness::{self, Site};
use crate::wire::udp::ANSWER_V4_BYTES_MAX;

/// Seconds by the wall clock.
const NOW_S: u64 = 1_700_000_040;
const HASH: &str = "aec06d9351e3390ba6914f23fb0e572e314ccf50";

/// The last byte of the client's address, what it says, its packet and the answer.
type Step = (u8, &'static str, &'static str, &'static str);

/// libtorrent 2.0.8: a seeder on .2 and a leecher on .3.
const LIBTORRENT: &[Step] = &[
    (2, "connect", "0000041727101980 00000000 a98ef7a8", "00000000 a98ef7a8 ID"),
    (
        2,
        "started",
        "ID 00000001 d7f2d800 HASH 2d4c54323038302d5733634973394177776a4f31 0000000000000000 \
         0000000000000000 0000000000000000 00000002 00000000 7eb400ef 000000c8 4e21 \
         02092f616e6e6f756e6365",
        "00000001 d7f2d800 00000708 00000000 00000001",
    ),
    (2, "scrape", "ID 00000002 b27d23c8 HASH", "00000002 b27d23c8 00000001 00000000 00000000"),
    (3, "connect", "0000041727101980 00000000 1a8b4db5", "00000000 1a8b4db5 ID"),
    (
        3,
        "started",
        "ID 00000001 41fcd3b3 HASH 2d4c54323038302d61654f4165526355565f212e 0000000000000000 \
         00000000000186a0 0000000000000000 00000002 00000000 5b59d281 000000c8 4e22 \
         02092f616e6e6f756e6365",
        "00000001 41fcd3b3 00000708 00000001 00000001 c0000202 4e21",
    ),
    (
        3,
        "completed",
        "ID 00000001 cdeadec8 HASH 2d4c54323038302d61654f4165526355565f212e 00000000000186a0 \
         0000000000000000 0000000000000000 00000001 00000000 5b59d281 000000c8 4e22 \
         02092f616e6e6f756e6365",
        "00000001 cdeadec8 00000708 00000000 00000002",
    ),
    (3, "scrape", "ID 00000002 55a24766 HASH", "00000002 55a24766 00000002 00000001 00000000"),
    (
        3,
        "stopped",
        "ID 00000001 b94f8db3 HASH 2d4c54323038302d61654f4165526355565f212e 00000000000186a0 \
         0000000000000000 0000000000000000 00000003 00000000 5b59d281 00000000 4e22 \
         02092f616e6e6f756e6365",
        "00000001 b94f8db3 00000708 00000000 00000001",
    ),
    (
        2,
        "stopped",
        "ID 00000001 38b639b9 HASH 2d4c54323038302d5733634973394177776a4f31 0000000000000000 \
         0000000000000000 00000000000186a0 00000003 00000000 7eb400ef 00000000 4e21 \
         02092f616e6e6f756e6365",
        "00000001 38b639b9 00000708 00000000 00000000",
    ),
];

/// aria2 1.36.0 with its DHT on: a seeder on .2 and a leecher on .3.
const ARIA2: &[Step] = &[
    (2, "connect", "0000041727101980 00000000 9ccf8f27", "00000000 9ccf8f27 ID"),
    (
        2,
        "started",
        "ID 00000001 e346d89c HASH 41322d312d33362d302d3907f8684519dc606c37 0000000000000000 \
         0000000000000000 0000000000000000 00000002 00000000 747c3ead 00000032 5209 0000",
        "00000001 e346d89c 00000708 00000000 00000001",
    ),
    (3, "connect", "0000041727101980 00000000 ea466f22", "00000000 ea466f22 ID"),
    (
        3,
        "started",
        "ID 00000001 d3387ae3 HASH 41322d312d33362d302d97ddcf988740c41af854 0000000000000000 \
         00000000000186a0 0000000000000000 00000002 00000000 6ab81dea 00000032 520a 0000",
        "00000001 d3387ae3 00000708 00000001 00000001 c0000202 5209",
    ),
    (
        3,
        "completed",
        "ID 00000001 f782ed7e HASH 41322d312d33362d302d97ddcf988740c41af854 00000000000186a0 \
         0000000000000000 0000000000000000 00000001 00000000 3baa8b1f 00000032 520a 0000",
        "00000001 f782ed7e 00000708 00000000 00000002",
    ),
    (
        3,
        "stopped",
        "ID 00000001 e2033018 HASH 41322d312d33362d302d97ddcf988740c41af854 00000000000186a0 \
         0000000000000000 0000000000000000 00000003 00000000 05ef8720 00000000 520a 0000",
        "00000001 e2033018 00000708 00000000 00000001",
    ),
    (
        2,
        "stopped",
        "ID 00000001 ae02ffce HASH 41322d312d33362d302d3907f8684519dc606c37 0000000000000000 \
         0000000000000000 00000000000186a0 00000003 00000000 2487dde0 00000000 5209 0000",
        "00000001 ae02ffce 00000708 00000000 00000000",
    ),
];

/// Transmission 3.00: a seeder.
const TRANSMISSION: &[Step] = &[
    (4, "connect", "0000041727101980 00000000 a1244936", "00000000 a1244936 ID"),
    (
        4,
        "started",
        "ID 00000001 7d35b0a1 HASH 2d5452333030302d6e6930397a76333233393239 0000000000000000 \
         0000000000000000 0000000000000000 00000002 00000000 4c805525 00000050 53a5",
        "00000001 7d35b0a1 00000708 00000000 00000001",
    ),
    (4, "scrape", "ID 00000002 64b98932 HASH", "00000002 64b98932 00000001 00000000 00000000"),
    (
        4,
        "stopped",
        "ID 00000001 d33dd5a3 HASH 2d5452333030302d6e6930397a76333233393239 0000000000000000 \
         0000000000000000 0000000000000000 00000003 00000000 4c805525 00000000 53a5",
        "00000001 d33dd5a3 00000708 00000000 00000000",
    ),
];

/// npm's bittorrent-tracker 11.2.3: a leecher that completes.
const WEBTORRENT: &[Step] = &[
    (2, "connect", "0000041727101980 00000000 2456c570", "00000000 2456c570 ID"),
    (
        2,
        "started",
        "ID 00000001 dffa6445 HASH 2d4e504d3031302d6162636465666768696a6b6c 0000000000000000 \
         00000000000186a0 0000000000000000 00000002 00000000 00000000 00000032 1ae1",
        "00000001 dffa6445 00000708 00000001 00000000",
    ),
    (2, "connect", "0000041727101980 00000000 0731a3b1", "00000000 0731a3b1 ID"),
    (
        2,
        "regular",
        "ID 00000001 c580dbd6 HASH 2d4e504d3031302d6162636465666768696a6b6c 0000000000000000 \
         000000000000c350 0000000000000000 00000000 00000000 00000000 00000032 1ae1",
        "00000001 c580dbd6 00000708 00000001 00000000",
    ),
    (2, "connect", "0000041727101980 00000000 684de4b4", "00000000 684de4b4 ID"),
    (
        2,
        "completed",
        "ID 00000001 2b9c8efb HASH 2d4e504d3031302d6162636465666768696a6b6c 00000000000186a0 \
         0000000000000000 0000000000000000 00000001 00000000 00000000 00000032 1ae1",
        "00000001 2b9c8efb 00000708 00000000 00000001",
    ),
    (2, "connect", "0000041727101980 00000000 c3621295", "00000000 c3621295 ID"),
    (
        2,
        "scrape",
        "ID 00000002 a8276a0e HASH 0707070707070707070707070707070707070707",
        "00000002 a8276a0e 00000001 00000001 00000000 00000000 00000000 00000000",
    ),
    (2, "connect", "0000041727101980 00000000 13e2c667", "00000000 13e2c667 ID"),
    (
        2,
        "stopped",
        "ID 00000001 9babb977 HASH 2d4e504d3031302d6162636465666768696a6b6c 0000000000000000 \
         0000000000000000 0000000000000000 00000003 00000000 00000000 00000032 1ae1",
        "00000001 9babb977 00000708 00000000 00000000",
    ),
];

/// Holds a conversation with a tracker that has no peers.
fn hold(client: &str, steps: &[Step]) {
    let mut policy = Policy { mode: Mode::Open, ..harness::policy() };
    (policy.min_interval_s, policy.max_interval_s) = (1_800, 1_800);
    let site = Site::new(policy);
    let mut scratch = harness::scratch(harness::SEED);
    let mut ids = HashMap::new();
    for (last, says, packet, expected) in steps {
        let id = ids.get(last).map_or("", String::as_str);
        let packet = packet.replace("ID", id).replace("HASH", HASH).replace(' ', "");
        let bytes = HEXLOWER.decode(packet.as_bytes()).unwrap();
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, *last));
        let packet = Packet { bytes: &bytes, client: harness::client(ip), unix_s: NOW_S };
        let mut out = [0; ANSWER_V4_BYTES_MAX];
        let mut round = site.round(Millis(0), &mut scratch);
        let answer = match site.udp.answer(&packet, &mut round, &mut out) {
            Reply::Ready(bytes) => HEXLOWER.encode(&out[..bytes]),
            Reply::Nothing => "nothing".to_owned(),
            Reply::Wait { .. } => "it waits".to_owned(),
        };
        if *says == "connect" {
            ids.insert(*last, answer[16..].to_owned());
        }
        let expected = expected.replace("ID", &ids[last]).replace(' ', "");
        assert_eq!(answer, expected, "{client}: .{last} says {says}");
    }
    assert_eq!(site.tracker.store().totals().peers(), 0, "{client}: all have left");
}

#[test]
fn recorded_conversations_are_answered_byte_by_byte() {
    for (client, steps) in [
        ("libtorrent 2.0.8", LIBTORRENT),
        ("aria2 1.36.0", ARIA2),
        ("Transmission 3.00", TRANSMISSION),
        ("bittorrent-tracker 11.2.3", WEBTORRENT),
    ] {
        hold(client, steps);
    }
}
