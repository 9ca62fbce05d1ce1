//! What counts as one address where shares are fair, and how many peers one has in a swarm.
//!
//! Owns: [`Host`], an IPv4 address or the /64 of an IPv6 address: who has one IPv6 address has
//! 2^64. And the judgement of what was counted of one in a swarm.
//!
//! Limits: in a swarm of up to 16 runs (some 500 peers) the count is exact. In a larger one 16 runs
//! around the peer's own are looked at, and the rest is taken to be like them: who has a few dozen
//! peers there is let in, and who has several times the limit is refused, but nobody is counted.

use crate::ids::{PEER_V4_BYTES, PeerAddr};

/// Bytes of an IPv4 address.
const V4_BYTES: usize = 4;
/// Bytes of the network part of an IPv6 address.
const V6_BYTES: usize = 8;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Host(pub(super) u64);

impl Host {
    /// Whose peer this is.
    pub(super) fn of(peer: &PeerAddr) -> Host {
        Host::of_wire(peer.wire())
    }

    /// Whose peer has this wire address, port and all.
    pub(super) fn of_wire(wire: &[u8]) -> Host {
        if wire.len() == PEER_V4_BYTES {
            let bytes: Option<&[u8; V4_BYTES]> = wire.first_chunk();
            return Host(bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes).into()));
        }
        let bytes: Option<&[u8; V6_BYTES]> = wire.first_chunk();
        Host(bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }
}

/// What was counted of one address in a swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Neighbours {
    /// Its peers in the runs that were looked at.
    pub(super) found: usize,
    /// Runs that were looked at.
    pub(super) runs: usize,
    /// Runs of the swarm.
    pub(super) of_runs: usize,
}

impl Neighbours {
    /// Whether the address has `max` peers or more; 0 is no limit. Where a part of the swarm was
    /// looked at, whether it has more by all chance: more than three standard deviations above the
    /// share of `max` that belongs there.
    pub(super) fn reach(self, max: usize) -> bool {
        let Neighbours { found, runs, of_runs } = self;
        if max == 0 {
            return false;
        }
        if runs == of_runs {
            return found >= max;
        }
        let expected = max * runs / of_runs.max(1);
        found > expected + 3 * expected.isqrt() + 1
    }

    /// Whether the swarm has no peer of the address.
    pub(super) fn are_none(self) -> bool {
        self.found == 0 && self.runs == self.of_runs
    }

    /// Whether one more makes three near each other: more than an answer should hold.
    pub(super) fn are_crowd(self) -> bool {
        self.found >= 2
    }
}
