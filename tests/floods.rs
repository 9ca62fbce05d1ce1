//! The built tracker under floods: what one address gets of answers, swarms, completions and caps,
//! and where a flood ends that would fill the memory.
//!
//! Judged by counts. All addresses are of 127/8, so none is exempt here.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper fails its test, with a text"
)]

mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use rustix::process::Signal;
use serde_bencode::value::Value;

use support::http::{Connection, percent_encoded};
use support::process::program;
use support::tracker::{Counts, Tracker};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TORRENT: [u8; 20] = *b"a torrent of floods.";
const FLOOD: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);
/// Requests that are sent together.
const DEPTH: usize = 64;

/// One of many addresses that announce regularly.
fn regular(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

fn request(info_hash: &[u8; 20], port: u16, rest: &str) -> String {
    format!(
        "GET /announce?info_hash={}&peer_id=-XX0001-abcdefghijkl&port={port}&uploaded=0&\
         downloaded=0{rest} HTTP/1.1\r\nHost: tracker\r\n\r\n",
        percent_encoded(info_hash)
    )
}

/// Sends requests over one connection, many at a time; the last answer.
#[track_caller]
fn send(tracker: &Tracker, source: Ipv4Addr, requests: &[String]) -> Vec<(Ipv4Addr, u16)> {
    let mut connection = Connection::open_from(source, tracker.address);
    let mut last = None;
    for some in requests.chunks(DEPTH) {
        connection.send(some.concat().as_bytes());
        for _ in some {
            last = Some(connection.reply());
        }
    }
    match last.expect("a request at least").dict().get(b"peers".as_slice()) {
        Some(Value::Bytes(peers)) => {
            let peers = peers.as_chunks::<6>().0.iter();
            peers
                .map(|[a, b, c, d, high, low]| {
                    (Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low]))
                })
                .collect()
        }
        other => panic!("no compact peers: {other:?}"),
    }
}

#[test]
fn one_address_with_many_ports_gets_two_places_in_an_answer() {
    // Real seeders, ports of the flood, and how many an answer has at most and of the real ones at
    // least.
    for (real, ports, wanted, of_real) in [(200, 1_000, 50, 48), (20, 5_000, 50, 20)] {
        let tracker = Tracker::start(LOOPBACK, "[tracker]\nshares_exempt = []\n");
        for number in 0..real {
            send(&tracker, regular(number), &[request(&TORRENT, 6881, "&left=0")]);
        }
        let flood: Vec<_> =
            (0..ports).map(|port| request(&TORRENT, 1_024 + port, "&left=0")).collect();
        send(&tracker, FLOOD, &flood);
        let stored = tracker.scrape(&TORRENT).map(|counts| counts.complete);
        assert_eq!(stored, Some(i64::from(real) + 64), "{real} and what one address may have");
        for number in 1_000..1_020 {
            let asked = request(&TORRENT, 6881, &format!("&left=1&numwant={wanted}"));
            let peers = send(&tracker, regular(number), &[asked]);
            let of_flood = peers.iter().filter(|(address, _)| *address == FLOOD).count();
            assert!(of_flood <= 2, "{of_flood} of {} peers are the flood's", peers.len());
            let is_seeder =
                |address: &Ipv4Addr| (0..real).any(|number| regular(number) == *address);
            let seeders = peers.iter().filter(|(address, _)| is_seeder(address)).count();
            let leechers = usize::from(number) - 1_000;
            assert!(seeders + leechers >= of_real, "{seeders} of {real} seeders are given");
        }
        tracker.stop();
    }
}

#[test]
fn one_address_completes_a_torrent_sixty_four_times_whatever_its_ports() {
    let tracker = Tracker::start(LOOPBACK, "[tracker]\nshares_exempt = []\n");
    send(&tracker, regular(1), &[request(&TORRENT, 6881, "&left=1")]);
    let flood: Vec<_> = (0..2_000)
        .flat_map(|port| {
            ["&left=1", "&left=0&event=completed", "&left=0&event=stopped"]
                .map(|rest| request(&TORRENT, 1_024 + port, rest))
        })
        .collect();
    send(&tracker, FLOOD, &flood);
    let counts = tracker.scrape(&TORRENT);
    assert_eq!(counts, Some(Counts { complete: 0, downloaded: 64, incomplete: 1 }));
    send(&tracker, regular(1), &[request(&TORRENT, 6881, "&left=0&event=completed")]);
    let downloaded = tracker.scrape(&TORRENT).map(|counts| counts.downloaded);
    assert_eq!(downloaded, Some(65), "somebody else completes it as well");
    tracker.stop();
}

fn made_up(number: u32) -> [u8; 20] {
    let mut info_hash = [7; 20];
    info_hash[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
    info_hash
}

#[test]
fn made_up_torrents_of_one_address_keep_nobody_from_meeting() {
    for exempt in ["shares_exempt = []", ""] {
        let settings = format!("[tracker]\ntorrents_max = 2000\n{exempt}\n");
        let tracker = Tracker::start(LOOPBACK, &settings);
        let flood = |from: u32| {
            let requests: Vec<_> = (from..from + 5_000)
                .map(|number| request(&made_up(number), 6881, "&left=1"))
                .collect();
            send(&tracker, FLOOD, &requests);
        };
        flood(0);
        for number in 1..=5 {
            let asked = request(&TORRENT, 6881, "&left=1&numwant=50");
            let met = send(&tracker, regular(number), &[asked]).len();
            assert_eq!(met, usize::from(number) - 1, "whom real peer {number} meets, {exempt:?}");
        }
        flood(5_000);
        let asked = request(&TORRENT, 6881, "&left=1&numwant=50");
        let met = send(&tracker, regular(1), &[asked]).len();
        assert_eq!(met, 4, "whom the first meets when the flood goes on, {exempt:?}");
        tracker.stop();
    }
}

#[test]
fn a_flood_ends_at_the_caps_that_follow_from_the_memory() {
    const BYTES: &str = "--as=420000000";
    let home = tempfile::tempdir().expect("a temporary directory");
    let prlimit = program("prlimit", "util-linux");
    let tracker = Tracker::start_in(home.path(), LOOPBACK, "", |command| {
        let mut limited = Command::new(&prlimit);
        limited.arg(BYTES).arg(command.get_program()).args(command.get_args());
        limited.args(["--database", "memory"]).env_clear().current_dir(home.path());
        *command = limited;
    });
    tracker.wait_log("RLIMIT_AS less what is mapped");
    let mut number = 0;
    while !tracker.transcript().contains("make room for newcomers") {
        let flood: Vec<_> = (number..number + 20_000)
            .map(|number| request(&made_up(number), 6881, "&left=1"))
            .collect();
        let [_, high, middle, _] = number.to_be_bytes();
        send(&tracker, Ipv4Addr::new(127, 9, high, middle), &flood);
        number += 20_000;
        assert!(number < 3_000_000, "no cap was reached");
    }
    let flood: Vec<_> = (number..number + 100_000)
        .map(|number| request(&made_up(number), 6881, "&left=1"))
        .collect();
    send(&tracker, FLOOD, &flood);
    send(&tracker, regular(1), &[request(&TORRENT, 6881, "&left=1")]);
    let met = send(&tracker, regular(2), &[request(&TORRENT, 6881, "&left=1")]).len();
    assert_eq!(met, 1, "whom a real peer meets past the caps");
    tracker.signal(Signal::USR1);
    let log = tracker.stop();
    assert!(!log.contains("memory allocation"), "{log}");
    fs::remove_dir_all(home.path()).expect("nobody uses it");
}
