//! A connection's bytes, whole and cut: same answers, same end, same swarms.
//!
//! An input begins with two bytes that choose the site and six that choose the cuts, all of which
//! may as well be letters; the rest is what a client sends. The clock stands still and all seeds
//! are the same, so the only difference is how the bytes arrive, how fast the answers are taken,
//! and how many fit the worker's buffer.

use std::net::IpAddr;

use crate::ids::{Millis, Ticket};
use crate::server::{Limits, Next};
use crate::swarm::Totals;
use crate::tests::harness::{self, Bench, LIMITS, SEED, Seat};
use crate::tracker::{Desk, Policy};
use crate::wire::reply::REPLY_BYTES_MAX;

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

struct Site {
    policy: Policy,
    limits: Limits,
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
    let site = Site::new(settings, client);
    let whole = site.exchange([stream], [usize::MAX], 4 * REPLY_BYTES_MAX);
    let plan = Plan { pieces: [a, b, c, d], windows: [x, y] };
    let cut = site.exchange(plan.cut(stream), plan.windows.map(usize::from), REPLY_BYTES_MAX);
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

impl Site {
    fn new(settings: u8, client: u8) -> Site {
        let bit = |bit: u8| settings & 1 << bit != 0;
        let policy = Policy {
            crypto_flags: bit(0),
            peer_ids: bit(1),
            external_ip: bit(2),
            ip_parameter: vec!["10.0.0.0/8".parse().unwrap()].into(),
            numwant_default: if bit(3) { 0 } else { 50 },
            ..harness::policy()
        };
        // Short inputs are to reach the limit too.
        let request_bytes_max = if bit(4) { 200 } else { LIMITS.request_bytes_max };
        let ip = ADDRESSES[usize::from(client) % ADDRESSES.len()].parse().unwrap();
        Site { policy, limits: Limits { request_bytes_max, ..LIMITS }, ip }
    }

    /// What the client is sent when `pieces` arrive one by one, each followed by a window of the
    /// client's.
    fn exchange<'s, const N: usize>(
        &self,
        pieces: impl IntoIterator<Item = &'s [u8]>,
        windows: [usize; N],
        output_bytes: usize,
    ) -> Outcome {
        let (tracker, mut desk, mut output) =
            (harness::tracker(self.policy.clone()), Desk::new(SEED), vec![0; output_bytes]);
        let mut bench = Bench {
            tracker: &tracker,
            desk: &mut desk,
            output: &mut output,
            now: NOW,
            limits: &self.limits,
        };
        let mut seat =
            Seat::new(self.ip, Ticket { worker: 0, slot: 0, generation: 0 }, NOW, &self.limits);
        let mut closed = false;
        for (piece, window) in pieces.into_iter().zip(windows.into_iter().cycle()) {
            seat.inbound.extend_from_slice(piece);
            seat.window = window;
            closed = closed || seat.advance(&mut bench);
        }
        seat.window = usize::MAX;
        closed = closed || seat.advance(&mut bench);
        let over = closed || seat.connection.next() == Next::Drain;
        seat.end_of_input = true;
        assert!(
            closed || seat.advance(&mut bench),
            "the client has closed and the tracker has not"
        );
        tracker.store().check_invariants();
        Outcome {
            sent: seat.sent.escape_ascii().to_string(),
            over,
            swarms: tracker.store().totals(),
        }
    }
}
