//! A connection's bytes, whole and cut: same answers, same end, same swarms.
//!
//! An input begins with two bytes that choose the site and six that choose the cuts, all of which
//! may as well be letters; the rest is what a client sends. The clock stands still and all seeds
//! are the same, so the only difference is how the bytes arrive, how fast the answers are taken,
//! and how many fit the worker's buffer.

use std::net::IpAddr;
use std::sync::Arc;

use mio::Poll;

use crate::config::Policy;
use crate::ids::Millis;
use crate::server::{Arrival, ConnectionSettings, Connections, PerAddress};
use crate::swarm::Totals;
use crate::tests::harness::{self, REQUEST_BYTES_MAX, SEED};
use crate::tests::simulated_stream::pair;
use crate::tracker::Round;
use crate::wire::http::reply::REPLY_BYTES_MAX;

const NOW: Millis = Millis(1_000);
/// Public and private, of both families: only 10.0.0.0/8 may say `ip=`.
const ADDRESSES: [&str; 4] = ["198.51.100.7", "10.0.0.7", "2001:db8::7", "fd00::7"];

/// How the bytes arrive and how the answers leave: both lists are gone through again and again.
struct Plan {
    /// Bytes of a piece, less one.
    pieces: [u8; 4],
    /// Bytes the client takes after a piece.
    windows: [u8; 2],
}

struct Case {
    policy: Policy,
    peer_ids: bool,
    request_bytes_max: usize,
    ip: IpAddr,
}

#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    sent: String,
    /// The tracker has closed, or waits only for the client to do so.
    over: bool,
    swarms: Totals,
}

/// `bytes` are the site, the plan, and what a client sends.
pub fn connection_split(bytes: &[u8]) {
    let Some((&[settings, client, a, b, c, d, x, y], stream)) = bytes.split_first_chunk::<8>()
    else {
        return;
    };
    let case = Case::new(settings, client);
    let whole = case.exchange([stream], [usize::MAX], 4 * REPLY_BYTES_MAX);
    let plan = Plan { pieces: [a, b, c, d], windows: [x, y] };
    let cut = case.exchange(plan.cut(stream), plan.windows.map(usize::from), REPLY_BYTES_MAX);
    assert_eq!(whole, cut);
}

impl Plan {
    fn cut<'s>(&self, mut stream: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
        self.pieces.into_iter().cycle().map_while(move |piece| {
            let piece = stream.split_off(..stream.len().min(usize::from(piece) + 1))?;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

impl Case {
    fn new(settings: u8, client: u8) -> Case {
        let bit = |bit: u8| settings & 1 << bit != 0;
        let policy = Policy {
            crypto_flags: bit(0),
            external_ip: bit(2),
            ip_parameter: vec!["10.0.0.0/8".parse().unwrap()].into(),
            numwant_default: if bit(3) { 0 } else { 50 },
            ..harness::policy()
        };
        // Short inputs are to reach the limit too.
        let request_bytes_max = if bit(4) { 200 } else { REQUEST_BYTES_MAX };
        let ip = ADDRESSES[usize::from(client) % ADDRESSES.len()].parse().unwrap();
        Case { policy, peer_ids: bit(1), request_bytes_max, ip }
    }

    /// What the client is sent when `pieces` arrive one by one, each followed by a window of the
    /// client's.
    fn exchange<'s, const N: usize>(
        &self,
        pieces: impl IntoIterator<Item = &'s [u8]>,
        windows: [usize; N],
        output_bytes: usize,
    ) -> Outcome {
        let live = harness::live(self.policy.clone());
        let site = harness::Site::of(live, self.peer_ids, self.request_bytes_max);
        let mut scratch = harness::scratch(SEED);
        let poll = Poll::new().unwrap();
        let settings = ConnectionSettings {
            worker: 0,
            connections_max: 1,
            per_address: PerAddress::default(),
            output_bytes,
        };
        let watched = poll.registry().try_clone().unwrap();
        let mut connections = Connections::new(&settings, Arc::clone(&site.http), watched);
        let (stream, peer) = pair();
        let arrival = Arrival { ip: self.ip, proxy_protocol: false };
        let mut round = site.round(NOW, &mut scratch);
        let Ok(slot) = connections.accept(stream, arrival, &mut round) else {
            panic!("there is room for one connection")
        };
        let mut turn = |round: &mut Round<'_>| {
            while let Some(readiness) = peer.take_event() {
                connections.ready(slot, readiness, round);
            }
            connections.answer_batch(round);
            while connections.can_go_on() {
                connections.go_on(round);
            }
        };
        turn(&mut round);
        for (piece, window) in pieces.into_iter().zip(windows.into_iter().cycle()) {
            peer.deliver(piece, false);
            peer.open_window(window);
            turn(&mut round);
        }
        peer.open_window(usize::MAX);
        turn(&mut round);
        let over = peer.is_closed() || peer.is_shut_down();
        peer.deliver(b"", true);
        turn(&mut round);
        turn(&mut round);
        assert!(peer.is_closed(), "the client has closed and the tracker has not");
        site.tracker.store().check_invariants();
        let swarms = site.tracker.store().totals();
        Outcome { sent: peer.sent().escape_ascii().to_string(), over, swarms }
    }
}
