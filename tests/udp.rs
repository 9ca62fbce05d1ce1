//! The built tracker over UDP: what only real sockets and processes show. Each answer leaves from
//! the address asked, clients of UDP and HTTP meet, connection ids are their owner's alone and
//! outlive the process, and nothing that is sent stops it.
//!
//! What the bytes of a packet mean is tested inside the crate, on tables.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper fails its test, with a text"
)]

mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::process::Signal;
use serde_bencode::value::Value;

use support::http::{get, percent_encoded};
use support::tracker::Tracker;
use support::udp::{Announced, UdpClient};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HASH: [u8; 20] = *b"a torrent's twenty b";
const REFUSED: &str = "connect again: the connectio";
const PORT_0_REFUSED: &str = "#4 the port is not a number from 1 to 65535";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn a_client_connects_announces_and_scrapes() {
    for (listen, from) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("0.0.0.0", "127.0.0.1")] {
        let tracker = Tracker::start(ip(listen), "[server]\nworkers = 2\n");
        let at = |host: &str| SocketAddr::new(ip(host), tracker.address.port());
        let client = UdpClient::connect(ip(from), at(from));
        let announced = |port, left| client.announce(&HASH, port, left).expect("it is served");
        let Announced { interval_s, leechers, seeders, peers } = announced(6881, 0);
        assert!((1_620..=1_800).contains(&interval_s), "{listen}: come back in {interval_s} s");
        assert_eq!((seeders, leechers), (1, 0), "{listen}: the first seeder");
        assert_eq!(peers, [], "{listen}: nobody else is there");
        let Announced { leechers, seeders, peers, .. } = announced(6882, 9);
        assert_eq!((seeders, leechers), (1, 1), "{listen}: the first leecher");
        assert_eq!(peers, [SocketAddr::new(ip(from), 6881)], "{listen}: the seeder");
        let counts = client.scrape(&[[0; 20], HASH, HASH]);
        assert_eq!(counts, Ok(vec![[0; 3], [1, 0, 1], [1, 0, 1]]), "{listen}");
        tracker.stop();
    }
}

#[test]
fn every_address_of_a_wildcard_answers_for_itself() {
    for (listen, asked) in [
        ("::", &["::1", "127.0.0.1", "127.0.0.5"][..]),
        ("0.0.0.0", &["127.0.0.1", "127.0.0.5", "127.9.9.9"]),
    ] {
        let tracker = Tracker::start(ip(listen), "");
        for host in asked {
            let from = if ip(host).is_ipv4() { "127.0.0.3" } else { "::1" };
            // It is connected: what comes from another address does not reach it.
            let client =
                UdpClient::connect(ip(from), SocketAddr::new(ip(host), tracker.address.port()));
            let announced = client.announce(&HASH, 6881, 0);
            assert_eq!(announced.map(|told| told.seeders > 0), Ok(true), "{host} of {listen}");
        }
        tracker.stop();
    }
}

#[test]
fn a_client_of_udp_meets_one_of_http() {
    let tracker = Tracker::start(LOOPBACK, "");
    let http = |port, left| {
        let target = format!(
            "/announce?info_hash={}&peer_id=-XX0002-abcdefghijkl&port={port}&uploaded=0&\
             downloaded=0&left={left}",
            percent_encoded(&HASH)
        );
        let mut dict = get(tracker.address, &target).dict();
        match dict.remove(b"peers".as_slice()) {
            Some(Value::Bytes(peers)) => peers,
            other => panic!("peers are {other:?}"),
        }
    };
    assert_eq!(http(6881, 0), b"", "the first of all");
    let client = UdpClient::connect(LOOPBACK, tracker.address);
    let announced = client.announce(&HASH, 6882, 9).expect("it is served");
    assert_eq!(announced.peers, [SocketAddr::new(LOOPBACK, 6881)], "over UDP");
    let mut peers = http(6883, 0);
    peers.sort_unstable();
    let mut expected = [127, 0, 0, 1, 0x1a, 0xe2].to_vec();
    expected.sort_unstable();
    assert_eq!(peers, expected, "over HTTP");
    tracker.stop();
}

#[test]
fn an_id_is_its_owners_alone() {
    let tracker = Tracker::start(ip("0.0.0.0"), "");
    let at = SocketAddr::new(LOOPBACK, tracker.address.port());
    let owner = UdpClient::connect(LOOPBACK, at);
    let with = |from: &str, id| {
        let mut client = UdpClient::bind(ip(from), at);
        client.id = id;
        client
    };
    let refused = Err(REFUSED.to_owned());
    let rows = [
        ("another address", with("127.0.0.2", owner.id)),
        ("no id", with("127.0.0.1", 0)),
        ("the protocol's number", with("127.0.0.1", 0x0417_2710_1980)),
        ("a bit turned", with("127.0.0.1", owner.id ^ 1 << 40)),
        ("a guess", with("127.0.0.1", 0x1234_5678_9abc_def0)),
    ];
    for (name, client) in rows {
        let scraped = client.scrape(&[HASH]);
        assert_eq!(scraped, refused.clone().map(|()| Vec::new()), "{name}: a scrape");
        let announced = client.announce(&HASH, 6881, 0);
        let text = announced.expect_err(name);
        assert!(text.starts_with(REFUSED), "{name}: an announce: {text}");
    }
    assert_eq!(owner.scrape(&[HASH]), Ok(vec![[0; 3]]), "nobody has been entered");
    // A NAT may give it another port.
    assert!(with("127.0.0.1", owner.id).announce(&HASH, 6881, 0).is_ok(), "another port");
    tracker.stop();
}

#[test]
fn an_id_outlives_a_restart_with_the_state_directory() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let start = || {
        Tracker::start_in(home.path(), LOOPBACK, "", |command| {
            command.args(["--database", "memory"]);
        })
    };
    let tracker = start();
    let id = UdpClient::connect(LOOPBACK, tracker.address).id;
    tracker.stop();
    let tracker = start();
    let mut client = UdpClient::bind(LOOPBACK, tracker.address);
    client.id = id;
    assert!(client.announce(&HASH, 6881, 0).is_ok(), "an id of the process before");
    tracker.stop();
    let elsewhere = Tracker::start(LOOPBACK, "");
    let mut client = UdpClient::bind(LOOPBACK, elsewhere.address);
    client.id = id;
    assert!(client.announce(&HASH, 6881, 0).is_err(), "an id of another tracker");
    elsewhere.stop();
}

#[test]
fn a_port_that_another_program_has_for_udp_is_refused() {
    // An address of which no other test has a port for TCP.
    let taken = UdpSocket::bind((ip("127.0.0.9"), 0)).expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let (code, printed) = Tracker::fail_to_start(address);
    assert_eq!(code, Some(1), "{printed}");
    let port = address.port();
    let expected = format!(
        "announced: cannot listen on {address} for UDP: another program has UDP port {port} already"
    );
    assert!(printed.contains(&expected), "{printed}");
}

#[test]
fn udp_may_listen_elsewhere_or_not_at_all() {
    let off = Tracker::start(LOOPBACK, "[udp]\nlisten = []\n");
    let own = UdpSocket::bind(off.address).expect("nobody has the port");
    drop(own);
    assert!(!off.stop().contains("udp://"), "a URL that nobody answers");

    let elsewhere = Tracker::start(LOOPBACK, "[udp]\nlisten = [\"127.0.0.7:0\"]\n");
    let url = elsewhere.wait_announce_url("udp");
    let address = url.trim_end_matches("/announce").parse().expect("an address");
    let client = UdpClient::connect(LOOPBACK, address);
    assert!(client.announce(&HASH, 6881, 0).is_ok(), "{address}");
    elsewhere.stop();
}

#[test]
fn whatever_is_sent_the_next_good_request_is_answered() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    let client = UdpClient::connect(LOOPBACK, tracker.address);
    let mut rng = fastrand::Rng::with_seed(support::seeds::seed());
    let good = client.announce_packet(&HASH, 6881, 0);
    for turn in 0..20 {
        // Others than the client, some of whom are gone when their answers come.
        let others: Vec<UdpClient> =
            (0..8).map(|_| UdpClient::bind(LOOPBACK, tracker.address)).collect();
        for _ in 0..500 {
            let mut bytes = vec![0; rng.usize(..1_700)];
            rng.fill(&mut bytes);
            if rng.bool() {
                // Nearly right: a head that is known, cut somewhere, or with options behind.
                bytes = [&good[..], &bytes].concat();
                bytes.truncate(rng.usize(..1_700));
                if rng.bool() && bytes.len() > 16 {
                    bytes[11] = rng.u8(..5);
                }
            }
            others[rng.usize(..others.len())].send(&bytes);
        }
        drop(others);
        // What a full buffer drops is asked for again, as clients do.
        let again = UdpClient::bind(LOOPBACK, tracker.address);
        support::wait_until(support::PATIENCE, &format!("turn {turn} is answered"), || {
            again.send(&good);
            again.try_receive(Duration::from_millis(200)).is_some()
        });
    }
    tracker.stop();
}

#[test]
fn strange_packets_are_answered_shortly_or_not_at_all() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    let client = UdpClient::connect(LOOPBACK, tracker.address);
    let announce = client.announce_packet(&HASH, 6881, 0);
    let scrape = |hashes: usize| {
        let head = [&announce[..8], &2_u32.to_be_bytes(), &announce[12..16]].concat();
        [head, vec![7; 20 * hashes]].concat()
    };
    let port_0 = [&announce[..96], &[0, 0]].concat();
    for (name, packet, answer_bytes) in [
        ("no bytes", vec![], None),
        ("a byte less than a head", announce[..15].to_vec(), None),
        ("a byte less than an announce", announce[..97].to_vec(), None),
        ("an announce of port 0", port_0, Some(8 + PORT_0_REFUSED.len())),
        ("a scrape of nothing", scrape(0), Some(8)),
        ("a scrape of 74 torrents", scrape(74), Some(8 + 74 * 12)),
        ("a scrape of 75 torrents", scrape(75), Some(8 + 74 * 12)),
        ("a scrape of 3000 torrents", scrape(3_000), Some(8 + 74 * 12)),
        ("options that do not end", [&announce[..], &[2; 60_000]].concat(), Some(20)),
    ] {
        client.send(&packet);
        // Answers come in the order of their requests, so a missing one shows at the next.
        if let Some(bytes) = answer_bytes {
            assert_eq!(client.receive().len(), bytes, "{name}");
        }
        let counts = client.scrape(&[HASH]);
        assert!(counts.is_ok_and(|counts| counts.len() == 1), "{name}: the next request");
    }
    tracker.stop();
}

#[test]
fn what_the_kernel_drops_is_counted_and_shown() {
    let settings = "[server]\nworkers = 1\n[udp]\nreceive_buffer = 4096\n";
    let tracker = Tracker::start(LOOPBACK, settings);
    let client = UdpClient::connect(LOOPBACK, tracker.address);
    let good = client.announce_packet(&HASH, 6881, 0);
    tracker.signal(Signal::STOP);
    (0..2_000).for_each(|_| client.send(&good));
    tracker.signal(Signal::CONT);
    let shown = |line: &str| {
        let (before, _) = line.split_once(" datagrams dropped")?;
        before.rsplit(' ').next()?.parse::<u32>().ok()
    };
    support::wait_until(support::PATIENCE, "drops are shown", || {
        // The kernel tells of them with a packet that comes later.
        client.send(&good);
        tracker.signal(Signal::USR1);
        tracker.transcript().lines().filter_map(shown).any(|drops| drops > 1_000)
    });
    tracker.stop();
}

#[test]
fn a_receive_buffer_that_the_kernel_does_not_give_is_told_of_once() {
    let most = fs::read_to_string("/proc/sys/net/core/rmem_max").expect("it is there");
    let most: u32 = most.trim().parse().expect("a number");
    let wanted = most + 4_096;
    let settings = format!("[server]\nworkers = 2\n[udp]\nreceive_buffer = {wanted}\n");
    let printed = Tracker::start(LOOPBACK, &settings).stop();
    let told = format!("udp.receive_buffer: the kernel gives {most} bytes of {wanted}");
    assert_eq!(printed.matches("udp.receive_buffer").count(), 1, "{printed}");
    assert!(printed.contains(&told), "{printed}");
}

#[test]
fn http_is_answered_during_a_flood() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    let client = UdpClient::connect(LOOPBACK, tracker.address);
    let good = client.announce_packet(&HASH, 6881, 0);
    for turn in 0..20 {
        (0..2_000).for_each(|_| client.send(&good));
        let reply = get(tracker.address, "/");
        assert_eq!(reply.status(), 200, "turn {turn}");
    }
    tracker.stop();
}

#[test]
fn what_has_arrived_when_the_tracker_stops_is_answered() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    let client = UdpClient::connect(LOOPBACK, tracker.address);
    client.send(&client.announce_packet(&HASH, 6881, 0));
    tracker.stop();
    let answer = client.receive();
    assert_eq!(answer.len(), 20, "{answer:?}");
}

#[test]
fn an_ipv4_client_of_a_wildcard_gets_ipv4_peers() {
    let tracker = Tracker::start(IpAddr::V6(Ipv6Addr::UNSPECIFIED), "");
    let port = tracker.address.port();
    let v4 = UdpClient::connect(LOOPBACK, SocketAddr::new(LOOPBACK, port));
    let v6 = UdpClient::connect(ip("::1"), SocketAddr::new(ip("::1"), port));
    for client in [&v4, &v6] {
        assert!(client.announce(&HASH, 6881, 0).is_ok(), "a seeder");
    }
    let announced = v4.announce(&HASH, 6882, 9).expect("it is served");
    assert_eq!(announced.seeders, 2, "both count");
    assert_eq!(announced.peers, [SocketAddr::new(LOOPBACK, 6881)], "only IPv4 peers");
    tracker.stop();
}
