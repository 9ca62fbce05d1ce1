//! The built tracker under siege: thousands of connections that mean no good, and a regular client
//! beside them whose waiting is measured before, during and after.
//!
//! These take minutes, so `cargo test` leaves them out: `tests/siege.sh` runs them, one by one.
//! Each prints the memory of the process and of its sockets and what the regular client saw; it
//! fails when that client is refused after the siege, or memory stays. Short forms of some are in
//! `attacks.rs`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failing helper fails its test, with a text"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use support::http::{Connection, percent_encoded};
use support::process::{command, program};
use support::tracker::Tracker;
use support::{PATIENCE, wait_until};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long the regular client looks, each time.
const LOOK: Duration = Duration::from_secs(5);
/// How long it waits for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(5);
/// How long an attack may take to come to its strength.
const ATTACK_MAX: Duration = Duration::from_secs(120);
/// Memory that may be left behind.
const LEFT_BYTES_MAX: u64 = 64 << 20;

fn announce() -> Vec<u8> {
    announce_at(6_881)
}

fn announce_at(port: u16) -> Vec<u8> {
    let info_hash = percent_encoded(&[9; 20]);
    format!(
        "GET /announce?info_hash={info_hash}&peer_id=-XX0001-000000000000&port={port}&uploaded=0&\
         downloaded=0&left=1&numwant=200 HTTP/1.1\r\nHost: tracker\r\n\r\n"
    )
    .into_bytes()
}

/// What the regular client saw.
#[derive(Debug)]
struct Seen {
    waited: Vec<Duration>,
    failed: usize,
}

impl Seen {
    /// Announces on new connections for [`LOOK`].
    fn look(to: SocketAddr) -> Seen {
        let (begun, mut seen) = (Instant::now(), Seen { waited: Vec::new(), failed: 0 });
        while begun.elapsed() < LOOK {
            let asked = Instant::now();
            match ask_once(to) {
                true => seen.waited.push(asked.elapsed()),
                false => seen.failed += 1,
            }
            thread::sleep(BETWEEN);
        }
        seen.waited.sort_unstable();
        seen
    }

    fn part(&self, of_1000: usize) -> f64 {
        let at = (self.waited.len() * of_1000 / 1_000).min(self.waited.len().saturating_sub(1));
        self.waited.get(at).map_or(f64::NAN, |waited| waited.as_secs_f64() * 1e3)
    }
}

fn ask_once(to: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&to, ANSWER_MAX) else { return false };
    let mut answer = [0; 12];
    stream.set_read_timeout(Some(ANSWER_MAX)).expect("not zero");
    let asked = stream.write_all(&announce()).and_then(|()| stream.read_exact(&mut answer));
    asked.is_ok() && answer.ends_with(b" 200")
}

/// Kernel memory of the sockets of a port, in bytes.
#[track_caller]
fn socket_bytes(address: SocketAddr) -> u64 {
    let mut command = command(&program("ss", "iproute2"), Path::new("/"));
    command.args(["-tanmH", "sport", "=", &format!(":{}", address.port())]);
    let output = command.output().expect("ss can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let sizes = text.split("skmem:(").skip(1).filter_map(|sizes| sizes.split_once(')'));
    let of_one = |sizes: &str| -> u64 {
        let number = |size: &str, name| size.strip_prefix(name)?.parse::<u64>().ok();
        let sizes = sizes.split(',');
        sizes.filter_map(|size| ["r", "w", "f"].iter().find_map(|name| number(size, *name))).sum()
    };
    sizes.map(|(sizes, _)| of_one(sizes)).sum()
}

/// Prints a line of figures; the memory of the process.
#[track_caller]
fn print(name: &str, when: &str, tracker: &Tracker, seen: &Seen) -> u64 {
    let (memory, sockets) = (tracker.resident_bytes(), socket_bytes(tracker.address));
    println!(
        "{name:12} {when:6}: memory {:6.1} MB, sockets {:6.1} MB; an announce takes {:.1} ms \
         (median), {:.1} (99 %), {:.1} (most); {} answered, {} refused",
        memory as f64 / 1e6,
        sockets as f64 / 1e6,
        seen.part(500),
        seen.part(990),
        seen.part(1_000),
        seen.waited.len(),
        seen.failed,
    );
    memory
}

/// An attack's end of the siege: it says when it is at its strength, and goes on until it is over.
struct Siege<'s> {
    to: SocketAddr,
    at_strength: Sender<()>,
    over: &'s AtomicBool,
}

impl Siege<'_> {
    fn at_strength(&self) {
        let _ = self.at_strength.send(());
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Connects, as fast as the tracker takes them.
    fn connect(&self, count: usize, first: &[u8]) -> Vec<TcpStream> {
        let connect = |_| {
            let mut stream = TcpStream::connect_timeout(&self.to, ANSWER_MAX).ok()?;
            stream.write_all(first).ok()?;
            stream.set_nonblocking(true).ok()?;
            Some(stream)
        };
        (0..count).filter_map(connect).collect()
    }

    fn hold<T>(&self, held: T) {
        self.at_strength();
        while !self.is_over() {
            thread::sleep(BETWEEN);
        }
        drop(held);
    }
}

/// Runs an attack with the regular client beside it.
#[track_caller]
fn besiege(name: &str, tracker: &Tracker, attack: impl FnOnce(Siege<'_>) + Send) {
    let before = Seen::look(tracker.address);
    let memory = print(name, "before", tracker, &before);
    let (at_strength, strength) = channel();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let siege = Siege { to: tracker.address, at_strength, over: &over };
        scope.spawn(move || attack(siege));
        let begun = strength.recv_timeout(ATTACK_MAX);
        let during = Seen::look(tracker.address);
        print(name, "during", tracker, &during);
        over.store(true, Ordering::Relaxed);
        begun.expect("the attack comes to its strength");
    });
    wait_until(PATIENCE, "an announce is answered", || ask_once(tracker.address));
    let after = Seen::look(tracker.address);
    let left = print(name, "after", tracker, &after).saturating_sub(memory);
    assert_eq!(after.failed, 0, "announces refused after the siege");
    assert!(left <= LEFT_BYTES_MAX, "{left} bytes of memory are left behind");
}

/// As many descriptors as this process may have.
fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("within the maximum");
}

#[test]
fn descriptors() {
    raise_descriptors();
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut limited = command(&program("prlimit", "util-linux"), home.path());
    limited.args(["--nofile=256:256", env!("CARGO_BIN_EXE_announced")]);
    let tracker =
        Tracker::start_by(limited, home.path(), LOOPBACK, "[server]\nworkers = 1\n", |command| {
            command.args(["--database", "memory"]);
        });
    besiege("descriptors", &tracker, |siege| siege.hold(siege.connect(1_000, &announce())));
}

#[test]
fn queue() {
    raise_descriptors();
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\nbacklog = 16\n");
    besiege("queue", &tracker, |siege| {
        let tracker = &tracker;
        tracker.signal(Signal::STOP);
        let connect = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
            socket.set_nonblocking(true).ok()?;
            // It is under way, whatever comes of it.
            let _ = socket.connect(&siege.to.into());
            Some(socket)
        };
        let sockets: Vec<Socket> = (0..2_000).filter_map(connect).collect();
        tracker.signal(Signal::CONT);
        siege.hold(sockets);
    });
}

#[test]
fn idle() {
    raise_descriptors();
    let tracker = Tracker::start(LOOPBACK, "");
    besiege("idle", &tracker, |siege| siege.hold(siege.connect(15_000, &announce())));
}

#[test]
fn slowloris() {
    raise_descriptors();
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\nconnections_max = 8000\n");
    besiege("slowloris", &tracker, |siege| {
        let mut streams = siege.connect(8_000, b"GET /announce?");
        siege.at_strength();
        while !siege.is_over() {
            streams.retain_mut(|stream| match stream.write(b"x") {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            });
            streams.extend(siege.connect(8_000 - streams.len(), b"GET /announce?"));
        }
    });
}

#[test]
fn resets() {
    const RESETS: usize = 250_000;
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    besiege("resets", &tracker, |siege| {
        siege.at_strength();
        let begun = Instant::now();
        let request = announce();
        let mut count = 0;
        while count < RESETS && begun.elapsed() < ATTACK_MAX {
            let Ok(mut stream) = TcpStream::connect_timeout(&siege.to, ANSWER_MAX) else {
                continue;
            };
            let _ = stream.write_all(&request);
            // Closing sends a reset.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            count += 1;
        }
        println!("resets             : {count} in {:.0} s", begun.elapsed().as_secs_f64());
    });
}

#[test]
fn pipelines() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    besiege("pipelines", &tracker, |siege| {
        let pipeline = announce().repeat(400);
        let mut streams = siege.connect(400, b"");
        siege.at_strength();
        let mut answers = vec![0; 1 << 16];
        while !siege.is_over() {
            let begun = Instant::now();
            streams.iter_mut().for_each(|stream| _ = stream.write(&pipeline));
            while begun.elapsed() < Duration::from_secs(1) {
                streams.iter_mut().for_each(|stream| _ = stream.read(&mut answers));
            }
        }
    });
}

#[test]
fn mute() {
    raise_descriptors();
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\nsend_timeout = \"30s\"\n");
    // A full answer, so that there is something not to read.
    let mut filling = Connection::open(tracker.address);
    for port in 2_000..2_200 {
        filling.send(&announce_at(port));
        assert_eq!(filling.reply().status(), 200, "a regular announce");
    }
    besiege("mute", &tracker, |siege| {
        let clients = siege.connect(1_000, &announce().repeat(200));
        siege.hold(());
        // Past send_timeout, with the clients still there.
        thread::sleep(Duration::from_secs(35));
        let left = socket_bytes(siege.to) as f64 / 1e6;
        println!("mute         later : sockets {left:6.1} MB");
        assert!(left <= 20.0, "{left} MB of {} clients", clients.len());
    });
}
