//! The built tracker under many connections and under garbage: nothing refused, nothing unanswered,
//! no panic, memory flat.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper fails its test, with a text"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use support::PATIENCE;
use support::http::{Connection, percent_encoded};
use support::seeds::seed;
use support::tracker::Tracker;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Connections of the crowd, each announcing once a second, or as soon as everybody before it has
/// been answered on a machine that is too busy for that.
const CROWD: usize = 10_000;
const CROWD_ROUNDS: usize = 20;
/// The crowd is to be served however slowly it announces: only what it says counts here.
const CROWD_SETTINGS: &str = "[server]\nidle_timeout = \"1h\"\n";

/// Random and mutated requests thrown at the tracker, in all.
const REQUESTS: usize = 1_000_000;
/// Few, since what is not HTTP ends the connection and what stands behind it is not looked at.
const REQUESTS_PER_CONNECTION: usize = 8;
const THREADS: usize = 2;
/// Memory is looked at after each.
const ROUNDS: usize = 10;

/// One of the crowd: an announce on its way, or the time for the next.
struct Member {
    stream: TcpStream,
    request: Vec<u8>,
    reply: Vec<u8>,
    waiting: bool,
}

impl Member {
    fn join(poll: &Poll, number: usize, to: SocketAddr) -> Member {
        let mut stream = TcpStream::connect(to).expect("a socket");
        poll.registry()
            .register(&mut stream, Token(number), Interest::READABLE)
            .expect("registered");
        let info_hash = percent_encoded(&[u8::try_from(number % 100).expect("small"); 20]);
        let port = 1_025 + number % 60_000;
        let request = format!(
            "GET /announce?info_hash={info_hash}&peer_id=-XX0001-{number:012}&port={port}&\
             uploaded=0&downloaded=0&left={} HTTP/1.1\r\nHost: tracker\r\n\r\n",
            number % 2
        );
        Member { stream, request: request.into_bytes(), reply: Vec::new(), waiting: false }
    }

    /// False while the socket is still connecting, or the announce before has no answer yet.
    fn announce(&mut self) -> bool {
        if self.waiting {
            return false;
        }
        match self.stream.write(&self.request) {
            Ok(bytes) => assert_eq!(bytes, self.request.len()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) =>
            {
                return false;
            }
            Err(error) => panic!("a connection was refused or lost: {error}"),
        }
        self.waiting = true;
        true
    }

    /// Whether the answer is whole now.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("a connection was closed: {}", self.reply.escape_ascii()),
                Ok(bytes) => self.reply.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("a connection was lost: {error}"),
            }
        }
        if !is_whole(&self.reply) {
            return false;
        }
        assert!(self.waiting, "an answer to nothing: {}", self.reply.escape_ascii());
        assert!(
            self.reply.starts_with(b"HTTP/1.1 200 OK\r\n"),
            "not a 200: {}",
            self.reply.escape_ascii()
        );
        assert!(
            self.reply.windows(10).any(|window| window == b"8:interval"),
            "not an answer to an announce: {}",
            self.reply.escape_ascii()
        );
        self.waiting = false;
        self.reply.clear();
        true
    }
}

fn is_whole(reply: &[u8]) -> bool {
    let Some(head) = reply.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let text = String::from_utf8_lossy(&reply[..head]);
    let length =
        text.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    reply.len() >= head + 4 + length.expect("a length")
}

/// Judged by order and number, not by the clock: an announce is sent only when all before it have
/// been, so whoever is left without an answer soon holds up the crowd, and then no more answers
/// come.
#[test]
fn ten_thousand_connections_announce_every_second() {
    let tracker = Tracker::start(LOOPBACK, CROWD_SETTINGS);
    let mut poll = Poll::new().expect("a poll");
    let mut crowd: Vec<Member> =
        (0..CROWD).map(|number| Member::join(&poll, number, tracker.address)).collect();
    let mut events = Events::with_capacity(1_024);
    // Member n announces at second k + n/CROWD.
    let (start, all) = (Instant::now(), CROWD * CROWD_ROUNDS);
    let (mut sent, mut answers, mut answered_at) = (0, 0, start);
    while answers < all {
        assert!(
            answered_at.elapsed() < PATIENCE,
            "{answers} answers to {sent} announces, and none for {PATIENCE:?}"
        );
        let due = (start.elapsed().as_micros() * CROWD as u128 / 1_000_000).min(all as u128);
        while (sent as u128) < due && crowd[sent % CROWD].announce() {
            sent += 1;
        }
        poll.poll(&mut events, Some(Duration::from_millis(1))).expect("events");
        for event in &events {
            if crowd[event.token().0].receive() {
                answers += 1;
                answered_at = Instant::now();
            }
        }
    }
    assert_eq!(answers, sent, "answers to announces");
    drop(crowd);
    tracker.stop();
}

const SEEDS: [&[u8]; 6] = [
    b"GET /announce?info_hash=%124Vx%9a%bc%de%f1%23Eg%89%ab%cd%ef%124Vx%9a\
      &peer_id=-XX0001-abcdefghijkl&port=6881&uploaded=0&downloaded=0&left=0&event=started\
      &numwant=200&compact=1 HTTP/1.1\r\nHost: t\r\n\r\n",
    b"GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-TR4060-abcdefghijkl&port=0&cryptoport=1\
      &uploaded=0&downloaded=0&left=-1&compact=0&ip=1.2.3.4&event=stopped HTTP/1.1\r\n\
      Connection: keep-alive\r\n\r\n",
    b"GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa\
      &info_hash=%00%01%02%03%04%05%06%07%08%09abcdefghij HTTP/1.1\r\n\r\n",
    b"GET /scrape HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n",
    b"HEAD http://tracker:6969/announce.php?left HTTP/1.0\nConnection: keep-alive\n\
      X-Forwarded-For: 1.1.1.1\n\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
];

/// A request with a few bytes changed, cut, doubled or swapped with another's; now and then pure
/// noise.
fn mutated(rng: &mut fastrand::Rng) -> Vec<u8> {
    if rng.u8(..) < 8 {
        let bytes = rng.usize(1..300);
        return std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect();
    }
    let mut request = SEEDS[rng.usize(..SEEDS.len())].to_vec();
    for _ in 0..rng.usize(0..4) {
        let at = rng.usize(..request.len());
        match rng.u8(0..5) {
            0 => request[at] = rng.u8(..),
            1 => request.truncate(at + 1),
            2 => request.insert(at, b"&=%? \r\n\0\xff"[rng.usize(..9)]),
            3 => request.extend_from_within(..at),
            _ => {
                let other = SEEDS[rng.usize(..SEEDS.len())];
                request.splice(at.., other[at.min(other.len() - 1)..].iter().copied());
            }
        }
        if request.is_empty() {
            request.push(b'\n');
        }
    }
    request
}

/// Sends garbage over one connection and reads to its end: an answer to what came first, and then
/// an end.
fn throw_garbage(to: SocketAddr, source: Ipv4Addr, rng: &mut fastrand::Rng) {
    let mut requests = Vec::new();
    (0..REQUESTS_PER_CONNECTION).for_each(|_| requests.append(&mut mutated(rng)));
    let (mut sending, mut receiving) = Connection::open_from(source, to).split();
    thread::scope(|scope| {
        scope.spawn(move || {
            sending.try_send(&requests);
            sending.half_close();
        });
        let replies = receiving.rest();
        assert!(
            replies.starts_with(b"HTTP/1.1 "),
            "no answer, or not one: {}",
            replies.escape_ascii()
        );
    });
}

#[test]
fn a_million_random_requests_are_answered_or_the_connection_ends() {
    let seed = seed();
    // A bound on peers and torrents, so that memory has no reason to grow once it is reached.
    let tracker = Tracker::start(LOOPBACK, "[tracker]\npeers_max = 1000\ntorrents_max = 100\n");
    let rounds = REQUESTS / REQUESTS_PER_CONNECTION / THREADS / ROUNDS;
    let mut resident_bytes = Vec::new();
    for round in 0..ROUNDS {
        thread::scope(|scope| {
            for number in 0..THREADS {
                let mut rng = fastrand::Rng::with_seed(seed ^ ((round * THREADS + number) as u64));
                let source = Ipv4Addr::new(
                    127,
                    0,
                    u8::try_from(round).expect("small"),
                    u8::try_from(number + 2).expect("small"),
                );
                let to = tracker.address;
                scope.spawn(move || (0..rounds).for_each(|_| throw_garbage(to, source, &mut rng)));
            }
        });
        resident_bytes.push(tracker.resident_bytes());
    }
    let growth_bytes = resident_bytes[ROUNDS - 1].saturating_sub(resident_bytes[1]);
    assert!(growth_bytes < 4 << 20, "resident bytes after each round: {resident_bytes:?}");
    assert!(!tracker.transcript().contains("panicked"));
    tracker.stop();
}
