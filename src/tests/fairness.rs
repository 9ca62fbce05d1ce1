//! Many connections that want much of one worker: who is answered when, and who makes room, under
//! a clock that the test turns.

use std::net::IpAddr;

use mio::Poll;

use crate::counters::Counter;
use crate::ids::Millis;
use crate::server::{Arrival, ConnectionSettings, Connections, PerAddress, Refused, SlotId};
use crate::tests::harness;
use crate::tests::simulated_stream::{SimulatedPeer, SimulatedStream, pair};
use crate::tracker::{Round, Scratch};
use crate::wire::http::reply::REPLY_BYTES_MAX;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const CLOSE: &str = "Connection: close";
/// More than the idle time of a connection.
const LONG_MS: u64 = 120_000;

/// A worker with its clients; those from 10.0.0.0/8 are trusted proxies.
struct Worker {
    now: Millis,
    site: harness::Site,
    scratch: Scratch,
    connections: Connections<SimulatedStream>,
    clients: Vec<(SlotId, SimulatedPeer)>,
    _poll: Poll,
}

impl Worker {
    fn new(connections_max: usize, per_address: PerAddress) -> Worker {
        let mut live = harness::live(harness::policy());
        live.proxies.trusted = vec!["10.0.0.0/8".parse().unwrap()].into();
        let site = harness::Site::of(live, true, harness::REQUEST_BYTES_MAX);
        let poll = Poll::new().unwrap();
        let output_bytes = 2 * REPLY_BYTES_MAX;
        let settings = ConnectionSettings { worker: 0, connections_max, per_address, output_bytes };
        let watched = poll.registry().try_clone().unwrap();
        Worker {
            now: Millis(1_000),
            connections: Connections::new(&settings, site.http.clone(), watched),
            site,
            scratch: harness::scratch(harness::SEED),
            clients: Vec::new(),
            _poll: poll,
        }
    }

    fn lend(&mut self) -> (&mut Connections<SimulatedStream>, Round<'_>) {
        let round = self.site.round(self.now, &mut self.scratch);
        (&mut self.connections, round)
    }

    /// A client with an endless window connects and sends `bytes`.
    fn connect(&mut self, ip: &str, bytes: &[u8]) -> Result<usize, Refused> {
        let (stream, peer) = pair();
        peer.open_window(usize::MAX);
        peer.deliver(bytes, false);
        let ip: IpAddr = ip.parse().unwrap();
        let (connections, mut round) = self.lend();
        let accepted =
            connections.accept(stream, Arrival { ip, proxy_protocol: false }, &mut round);
        connections.answer_batch(&mut round);
        let id = accepted.map_err(|(_, why)| why)?;
        self.clients.push((id, peer));
        Ok(self.clients.len() - 1)
    }

    /// One round of the worker's loop.
    fn round(&mut self) {
        let events: Vec<_> =
            self.clients.iter().map(|(id, peer)| (*id, peer.take_event())).collect();
        let (connections, mut round) = self.lend();
        for (id, event) in events {
            if let Some(event) = event {
                connections.ready(id, event, &mut round);
            }
        }
        connections.answer_batch(&mut round);
        connections.go_on(&mut round);
        connections.check_deadlines(&mut round);
        connections.check_invariants(0, &round);
    }

    /// How often a client was answered.
    fn answers(&self, client: usize) -> usize {
        self.said(client).matches("HTTP/1.1 200").count()
    }

    fn said(&self, client: usize) -> String {
        String::from_utf8_lossy(&self.clients[client].1.sent()).into_owned()
    }

    fn is_closed(&self, client: usize) -> bool {
        self.clients[client].1.is_closed()
    }

    fn displaced(&mut self) -> u64 {
        let before = self.scratch.counters.count(Counter::Displaced);
        before - 1
    }
}

#[test]
fn a_round_ends_after_some_requests_whatever_was_sent() {
    let (crowd, pipeline) = (200, 400);
    let mut worker = Worker::new(1_000, PerAddress::default());
    for _ in 0..=crowd {
        worker.connect("192.0.2.1", b"").unwrap();
    }
    worker.round();
    let probe = crowd;
    (0..crowd).for_each(|n| worker.clients[n].1.deliver(&REQUEST.repeat(pipeline), false));
    worker.clients[probe].1.deliver(REQUEST, false);
    let (mut before, mut rounds) = (0, 0);
    while worker.answers(probe) == 0 {
        worker.round();
        let all: usize = (0..crowd).map(|n| worker.answers(n)).sum();
        assert!(all - before < 3_200, "{} requests in one round", all - before);
        (before, rounds) = (all, rounds + 1);
        assert!(rounds < 10, "the probe is not answered after {all} requests");
    }
    // One turn of everybody, and a second of some.
    assert!(before <= crowd * 32, "{before} requests were answered before the probe's");
    for _ in 0..100 {
        worker.round();
    }
    for client in 0..crowd {
        assert_eq!(worker.answers(client), pipeline, "answers to client {client}");
    }
}

#[test]
fn when_all_slots_are_taken_the_connection_idle_longest_makes_room() {
    let mut worker = Worker::new(4, PerAddress::default());
    for _ in 0..4 {
        worker.connect("192.0.2.1", REQUEST).unwrap();
        worker.now = worker.now.plus(10);
    }
    // The first has done something since: the second is the one.
    worker.clients[0].1.deliver(REQUEST, false);
    worker.round();
    for (newcomer, closed) in [(4, 1), (5, 2), (6, 3), (7, 0)] {
        worker.now = worker.now.plus(10);
        worker.connect("192.0.2.2", REQUEST).unwrap();
        assert_eq!(worker.answers(newcomer), 1, "newcomer {newcomer}");
        let gone: Vec<usize> = (0..newcomer).filter(|n| worker.is_closed(*n)).collect();
        assert!(gone.contains(&closed), "{gone:?} are closed for {newcomer}, not {closed}");
        worker.round();
    }
    assert_eq!(worker.displaced(), 4, "closed for others");
}

#[test]
fn who_is_in_the_middle_of_something_does_not_make_room_at_once() {
    let half = &REQUEST[..5];
    let rows: [(&str, &str, &[u8], u64, bool); 6] = [
        ("an idle connection", "192.0.2.1", REQUEST, 0, true),
        ("one that has said nothing yet", "192.0.2.1", b"", 0, true),
        ("a request that has just begun", "192.0.2.1", half, 900, false),
        ("a request that began a second ago", "192.0.2.1", half, 1_000, true),
        ("a trusted proxy", "10.0.0.1", REQUEST, 60_000, false),
        ("a trusted proxy's request", "10.0.0.1", half, 9_000, false),
    ];
    for (name, ip, sent, ms, makes_room) in rows {
        let mut worker = Worker::new(1, PerAddress::default());
        worker.connect(ip, sent).unwrap();
        worker.now = worker.now.plus(ms);
        let newcomer = worker.connect("192.0.2.2", REQUEST);
        assert_eq!(newcomer.is_ok(), makes_room, "{name}: {newcomer:?}");
        assert_eq!(worker.is_closed(0), makes_room, "{name}");
    }
}

#[test]
fn above_three_quarters_answers_close_but_not_those_of_trusted_proxies() {
    let mut worker = Worker::new(16, PerAddress::default());
    for _ in 0..12 {
        let client = worker.connect("192.0.2.1", REQUEST).unwrap();
        assert!(!worker.said(client).contains(CLOSE), "{client} of 12 connections");
    }
    let proxy = worker.connect("10.0.0.1", REQUEST).unwrap();
    assert!(!worker.said(proxy).contains(CLOSE), "a trusted proxy's");
    let client = worker.connect("192.0.2.1", REQUEST).unwrap();
    assert!(worker.said(client).contains(CLOSE), "the fourteenth connection");
    worker.clients[0].1.deliver(REQUEST, false);
    worker.round();
    assert!(worker.said(0).contains(CLOSE), "one that came before the crowd");
}

#[test]
fn a_newcomer_past_its_address_limit_closes_nobody_and_all_are_counted_out() {
    let per_address = PerAddress::new(2);
    let mut worker = Worker::new(2, per_address);
    for ip in ["2001:db8::1", "2001:db8::2"] {
        worker.connect(ip, REQUEST).unwrap();
    }
    assert_eq!(worker.connect("2001:db8::3", REQUEST), Err(Refused::PerAddress), "of its /64");
    assert!(!worker.is_closed(0) && !worker.is_closed(1), "closed for one that is not let in");
    worker.connect("192.0.2.1", REQUEST).unwrap();
    worker.now = worker.now.plus(LONG_MS);
    worker.round();
    worker.now = worker.now.plus(LONG_MS);
    worker.round();
    for _ in 0..2 {
        worker.connect("2001:db8::3", REQUEST).unwrap();
    }
}
