//! Connections of a trusted proxy that begin with a preface: each counts for the client in it.

use std::sync::Arc;

use mio::Poll;

use crate::counters::{Counter, Counters};
use crate::ids::Millis;
use crate::server::{Arrival, ConnectionSettings, Connections, PerAddress, SlotId};
use crate::tests::harness::{self, REQUEST_BYTES_MAX};
use crate::tests::simulated_stream::{SimulatedPeer, SimulatedStream, pair};
use crate::tracker::{Round, Scratch};
use crate::wire::http::reply::REPLY_BYTES_MAX;

const REQUEST: &str = "GET / HTTP/1.1\r\n\r\n";

/// A worker's connections, all of which come from the proxy 10.0.0.1.
struct Site {
    site: harness::Site,
    counters: Counters,
    scratch: Scratch,
    connections: Connections<SimulatedStream>,
    _poll: Poll,
}

impl Site {
    /// So many connections of a client are let in.
    fn new(per_address_max: usize) -> Site {
        let mut live = harness::live(harness::policy());
        live.proxies.trusted = vec!["10.0.0.0/8".parse().unwrap()].into();
        let site = harness::Site::of(live, true, REQUEST_BYTES_MAX);
        let poll = Poll::new().unwrap();
        let settings = ConnectionSettings {
            worker: 0,
            connections_max: 8,
            per_address: PerAddress::new(per_address_max),
            output_bytes: 4 * REPLY_BYTES_MAX,
        };
        let watched = poll.registry().try_clone().unwrap();
        let connections = Connections::new(&settings, Arc::clone(&site.http), watched);
        let counters = Counters::default();
        let scratch = Scratch::new(harness::SEED, counters.local());
        Site { site, counters, scratch, connections, _poll: poll }
    }

    fn lend(&mut self) -> (&mut Connections<SimulatedStream>, Round<'_>) {
        (&mut self.connections, self.site.round(Millis(1_000), &mut self.scratch))
    }

    /// A connection over which these pieces come, one after the other.
    fn connect(&mut self, pieces: &[&str]) -> (SlotId, SimulatedPeer) {
        let (stream, peer) = pair();
        peer.open_window(usize::MAX);
        let (connections, mut round) = self.lend();
        let arrival = Arrival { ip: [10, 0, 0, 1].into(), proxy_protocol: true };
        let accepted = connections.accept(stream, arrival, &mut round);
        let id = accepted.map_err(|(_, why)| why).expect("a proxy's connection is taken");
        connections.answer_batch(&mut round);
        for piece in pieces {
            peer.deliver(piece.as_bytes(), false);
            self.tell(id, &peer);
        }
        (id, peer)
    }

    /// Has a connection read what has come.
    fn tell(&mut self, id: SlotId, peer: &SimulatedPeer) {
        let (connections, mut round) = self.lend();
        let readiness = peer.take_event().expect("something has come");
        connections.ready(id, readiness, &mut round);
        connections.answer_batch(&mut round);
        connections.check_invariants(0, &round);
    }
}

fn preface(client: &str) -> String {
    format!("PROXY TCP4 {client} 192.0.2.99 1000 6969\r\n")
}

fn status(peer: &SimulatedPeer) -> String {
    let sent = String::from_utf8(peer.sent()).unwrap();
    sent.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_client_behind_a_preface_has_as_many_connections_as_one_without_a_proxy() {
    let (one, other) = (preface("198.51.100.1"), preface("198.51.100.2"));
    let mut site = Site::new(2);
    let rows = [
        ("the first", vec![one.clone() + REQUEST], "200"),
        ("the second, in pieces", vec![one[..9].to_owned(), one[9..].to_owned() + REQUEST], "200"),
        ("one too many", vec![one.clone() + REQUEST], "503"),
        ("one too many, which says nothing", vec![one.clone()], "503"),
        ("another client", vec![other.clone(), REQUEST.to_owned()], "200"),
        ("another trusted proxy", vec![preface("10.0.0.9") + REQUEST], "200"),
        ("the same again", vec![preface("10.0.0.9") + REQUEST], "200"),
    ];
    let mut held = Vec::new();
    for (name, pieces, expected) in rows {
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let (id, peer) = site.connect(&pieces);
        assert_eq!(status(&peer), expected, "{name}");
        held.push((id, peer));
    }
    site.scratch.counters.publish();
    assert_eq!(site.counters.count(Counter::TurnedAway), 2, "those turned away");
    for (id, peer) in held.drain(..) {
        peer.deliver(b"", true);
        site.tell(id, &peer);
        assert!(peer.is_closed(), "a connection outlives its client");
    }
    for client in ["198.51.100.1", "198.51.100.1", "198.51.100.2"] {
        let (_, peer) = site.connect(&[&(preface(client) + REQUEST)]);
        assert_eq!(status(&peer), "200", "{client} has no connection left, and comes again");
    }
}

#[test]
fn nobody_is_held_to_a_limit_where_there_is_none_or_nobody_is_named() {
    let rows = [(0, preface("198.51.100.1")), (1, "PROXY UNKNOWN\r\n".to_owned())];
    for (per_address_max, preface) in rows {
        let mut site = Site::new(per_address_max);
        for number in 1..=3 {
            let (_, peer) = site.connect(&[&format!("{preface}{REQUEST}{REQUEST}")]);
            let answers = String::from_utf8(peer.sent()).unwrap().matches("200 OK").count();
            assert_eq!(answers, 2, "connection {number} behind {preface:?}");
        }
    }
}

#[test]
fn the_end_of_input_right_behind_a_preface_leaves_the_answers_whole() {
    let (stream, peer) = pair();
    peer.open_window(usize::MAX);
    peer.deliver(format!("{}{REQUEST}GET", preface("198.51.100.1")).as_bytes(), true);
    let mut site = Site::new(1);
    let (connections, mut round) = site.lend();
    let arrival = Arrival { ip: [10, 0, 0, 1].into(), proxy_protocol: true };
    let accepted = connections.accept(stream, arrival, &mut round);
    let id = accepted.map_err(|(_, why)| why).expect("a proxy's connection is taken");
    connections.answer_batch(&mut round);
    site.tell(id, &peer);
    let sent = String::from_utf8(peer.sent()).unwrap();
    let statuses: Vec<&str> = sent.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "400"], "{sent}");
}
