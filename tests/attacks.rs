//! The built tracker under attack: what each attack costs the machine, and what regular clients
//! notice of it.
//!
//! Short forms, for every run. `tests/siege.sh` has those that take minutes or thousands of
//! connections. The kernel's memory of the tracker's sockets is what `ss` says of them, also of
//! those that the tracker has closed and the kernel still keeps.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper fails its test, with a text"
)]

mod support;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use support::http::{Connection, get, percent_encoded};
use support::process::{command, program};
use support::tracker::Tracker;
use support::udp::UdpClient;
use support::{PATIENCE, wait_until};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TORRENT: [u8; 20] = [7; 20];

/// Peers of [`TORRENT`]: as many as an answer holds.
const PEERS: u16 = 200;
/// Clients that never read. The bounds below are those of 1 000 of them, for each.
const MUTE_CLIENTS: usize = 100;
/// What one of them sends: it asks for some 300 kB.
const MUTE_BYTES: usize = 32 * 1024;
const PINNED_BYTES_MAX: u64 = 160_000;
const LEFT_BYTES_MAX: u64 = 20_000;

fn announce(port: u16) -> Vec<u8> {
    announce_with(port, "numwant=200")
}

fn announce_with(port: u16, rest: &str) -> Vec<u8> {
    let info_hash = percent_encoded(&TORRENT);
    format!(
        "GET /announce?info_hash={info_hash}&peer_id=-XX0001-000000000000&port={port}&uploaded=0&\
         downloaded=0&left=1&{rest} HTTP/1.1\r\nHost: tracker\r\n\r\n"
    )
    .into_bytes()
}

#[track_caller]
fn fill_torrent(to: SocketAddr) {
    let mut connection = Connection::open(to);
    for port in 2_000..2_000 + PEERS {
        connection.send(&announce(port));
        assert_eq!(connection.reply().status(), 200, "a regular announce");
    }
}

/// What the kernel keeps for the sockets of a port: how many have something to send, and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct SocketMemory {
    sending: usize,
    bytes: u64,
}

impl SocketMemory {
    #[track_caller]
    fn of(address: SocketAddr) -> SocketMemory {
        let mut command = command(&program("ss", "iproute2"), Path::new("/"));
        let output = command
            .args(["-tanmH", "sport", "=", &format!(":{}", address.port())])
            .output()
            .expect("ss can be run");
        let text = String::from_utf8_lossy(&output.stdout);
        let mut memory = SocketMemory::default();
        for (_, sizes) in text.split('\n').filter_map(|line| line.split_once("skmem:(")) {
            let sizes = sizes.split([',', ')']);
            // The same letter begins `r` and `rb`: what follows `r` alone is a number.
            let size = |name: &str| {
                let mut values = sizes.clone().filter_map(|size| size.strip_prefix(name));
                values.find_map(|value| value.parse::<u64>().ok()).unwrap_or_default()
            };
            memory.sending += usize::from(size("w") > 0);
            memory.bytes += size("r") + size("w") + size("f");
        }
        memory
    }
}

#[test]
fn clients_that_never_read_pin_little_memory_and_not_for_long() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\nsend_timeout = \"3s\"\n");
    fill_torrent(tracker.address);
    let pipeline = announce(1_999).repeat(MUTE_BYTES / announce(1_999).len());
    let mut clients = Vec::new();
    for _ in 0..MUTE_CLIENTS {
        let mut client = TcpStream::connect(tracker.address).expect("a connection");
        client.set_write_timeout(Some(PATIENCE)).expect("the limit is not zero");
        client.write_all(&pipeline).expect("the kernels' buffers hold so much");
        clients.push(client);
    }
    let mut pinned = SocketMemory::default();
    wait_until(PATIENCE, "answers to all of them wait in the kernel, and nothing moves", || {
        let before = std::mem::replace(&mut pinned, SocketMemory::of(tracker.address));
        pinned.sending == MUTE_CLIENTS && pinned.bytes == before.bytes
    });
    let pinned_max = PINNED_BYTES_MAX * MUTE_CLIENTS as u64;
    println!("{MUTE_CLIENTS} clients that never read pin {} bytes", pinned.bytes);
    assert!(pinned.bytes <= pinned_max, "{pinned:?} is more than {pinned_max} bytes");
    let left_max = LEFT_BYTES_MAX * MUTE_CLIENTS as u64;
    wait_until(PATIENCE, "the kernel has let go of them", || {
        SocketMemory::of(tracker.address).bytes <= left_max
    });
    drop(clients);
    assert_eq!(Connection::open(tracker.address).get("/scrape?info_hash=x").status(), 200);
}

#[test]
fn the_newcomer_gets_the_place_of_the_connection_that_was_idle_longest() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\nconnections_max = 8\n");
    let mut idle: Vec<Connection> = (0..8).map(|_| Connection::open(tracker.address)).collect();
    for connection in &mut idle {
        assert_eq!(connection.get("/").status(), 200, "while there is room");
    }
    // The tracker's clock tells milliseconds apart.
    let since = Instant::now();
    wait_until(PATIENCE, "they are idle", || since.elapsed() > Duration::from_millis(50));
    let mut newcomers = Vec::new();
    for count in 0..idle.len() {
        let mut newcomer = Connection::open(tracker.address);
        assert_eq!(newcomer.get("/").status(), 200, "newcomer {count}");
        newcomers.push(newcomer);
    }
    for (count, idle) in idle.iter_mut().enumerate() {
        assert_eq!(idle.rest(), b"", "{count} is closed without a word");
    }
    for (count, newcomer) in newcomers.iter_mut().enumerate() {
        assert_eq!(newcomer.get("/").status(), 200, "newcomer {count} is kept");
    }
}

#[test]
fn a_limit_per_address_counts_the_connections_of_all_workers() {
    let settings = "[server]\nworkers = 4\nconnections_per_address_max = 2\n";
    let tracker = Tracker::start(LOOPBACK, settings);
    let mut held: Vec<Connection> = (0..2).map(|_| Connection::open(tracker.address)).collect();
    for connection in &mut held {
        assert_eq!(connection.get("/").status(), 200, "within the limit");
    }
    for count in 0..8 {
        assert_eq!(get(tracker.address, "/").status(), 503, "past the limit: {count}");
    }
    let other = Connection::open_from(Ipv4Addr::new(127, 0, 0, 2), tracker.address).get("/");
    assert_eq!(other.status(), 200, "somebody else");
}

/// Requests that arrived while the process stood still, for longer than a connection may be idle.
#[test]
fn after_a_standstill_what_has_arrived_is_answered_before_deadlines_count() {
    const IDLE: &str = "[server]\nworkers = 1\nidle_timeout = \"4s\"\n";
    let tracker = Tracker::start(LOOPBACK, IDLE);
    let mut waiting: Vec<Connection> =
        (0..600).map(|_| Connection::open(tracker.address)).collect();
    for connection in &mut waiting {
        connection.send(b"GET / HTTP/1.1\r\nHost: tracker\r\n\r\n");
        let status = connection.reply().status();
        assert_eq!(status, 200, "before the standstill");
    }
    tracker.signal(Signal::STOP);
    for connection in &mut waiting {
        connection.send(b"GET / HTTP/1.1\r\nHost: tracker\r\n\r\n");
    }
    let stopped = Instant::now();
    wait_until(PATIENCE, "idle_timeout is over", || stopped.elapsed() > Duration::from_secs(5));
    tracker.signal(Signal::CONT);
    for (count, connection) in waiting.iter_mut().enumerate() {
        assert_eq!(connection.reply().status(), 200, "request {count} during the standstill");
    }
}

#[test]
fn an_address_past_its_rate_is_asked_to_come_back_and_others_are_served() {
    let settings = "[server]\nworkers = 2\ntrusted_proxies = [\"127.0.0.3\"]\n[limits]\n\
                    announces_per_address = \"3/m\"\nconnections_per_address = \"4/m\"\n\
                    connects_per_address = \"2/m\"\n";
    let tracker = Tracker::start(LOOPBACK, settings);
    let from = |last| Connection::open_from(Ipv4Addr::new(127, 0, 0, last), tracker.address);
    let said = |connection: &mut Connection, rest: &str| {
        connection.send(&announce_with(2_000, rest));
        String::from_utf8_lossy(&connection.reply().body).into_owned()
    };
    let mut connections: Vec<Connection> = (0..2).map(|_| from(2)).collect();
    for count in 0..3 {
        let body = said(&mut connections[count % 2], "numwant=9");
        assert!(!body.contains("failure"), "announce {count}: {body}");
    }
    for (event, refused) in [("started", true), ("stopped", false), ("completed", false)] {
        let body = said(&mut connections[0], &format!("event={event}"));
        assert_eq!(body.contains("too many announces"), refused, "{event}: {body}");
        assert_eq!(body.contains("8:retry in"), refused, "{event}: {body}");
    }
    let statuses = [(); 4].map(|()| from(2).get("/").status());
    assert_eq!(statuses, [200, 200, 503, 503], "four connections, of which two were there");
    for count in 0..6 {
        let mut proxy = from(3);
        assert_eq!(proxy.get("/").status(), 200, "connection {count} of a trusted proxy");
        let body = said(&mut proxy, "numwant=9");
        assert!(!body.contains("failure"), "announce {count} of somebody unknown: {body}");
    }
    assert!(!said(&mut from(4), "numwant=9").contains("failure"), "another address");
    let udp = Ipv4Addr::new(127, 0, 0, 2).into();
    for _ in 0..2 {
        UdpClient::connect(udp, tracker.address);
    }
    let third = UdpClient::bind(udp, tracker.address);
    third.ask_for_id();
    UdpClient::connect(Ipv4Addr::new(127, 0, 0, 5).into(), tracker.address);
    assert_eq!(third.try_receive(Duration::from_millis(50)), None, "the third in a minute");
}
