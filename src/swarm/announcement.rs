//! What is said to a store, and what it says.
//!
//! Owns: the values of an announce on both sides of `Store::announce`. They are small and `Copy`,
//! and an [`Announcement`] borrows nothing, so that a request that waits can keep it.
//!
//! Never: has logic beyond one question.

use crate::config::SwarmLimits;
use crate::ids::{Crypto, Event, InfoHash, Millis, PeerAddr, PeerId};
use crate::listing::{Served, Verdict};

/// What a peer announces, as far as the swarms care.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Where the peer listens, which is its identity and the family of its answer.
    pub peer: PeerAddr,
    /// Whether that address is the peer's. One behind a proxy that does not say who it is is given
    /// peers like one from outside the tracker's network, and changes nothing: a peer that is known
    /// at the proxy's address is another one.
    pub is_known: bool,
    /// What the peer calls itself.
    pub peer_id: PeerId,
    /// Whether `left` is 0.
    pub seeder: bool,
    /// What has happened.
    pub event: Event,
    /// What the peer says of encryption; one that requires it is given only peers that support it.
    pub crypto: Crypto,
    /// Whether the peer can be connected to. One that cannot (libtorrent's port 1), or whose
    /// address is not known, is answered, never stored.
    pub listening: bool,
    /// Peers wanted, at most; `PEERS_PER_REPLY_MAX` is the end of it.
    pub numwant: usize,
    /// Whether `Chosen::ids` is wanted.
    pub want_ids: bool,
    /// Whether `Chosen::crypto_flags` is wanted.
    pub want_crypto_flags: bool,
}

impl Announcement {
    /// Whether the peer is outside the tracker's own network: an address that is private means
    /// nothing to it.
    pub fn is_outside(&self) -> bool {
        !self.is_known || !self.peer.is_private()
    }
}

/// What is announced for a torrent that may have no swarm yet.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// What is announced.
    pub announce: &'a Announcement,
    /// What is known of the torrent, if this begins its swarm.
    pub verdict: Verdict,
}

impl Newcomer<'_> {
    /// An announce where there is no list.
    pub fn without_list(announce: &Announcement) -> Newcomer<'_> {
        Newcomer { announce, verdict: Verdict::NO_LIST }
    }
}

/// What holds while something is announced.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The time.
    pub now: Millis,
    /// How much is stored, and how long.
    pub limits: &'a SwarmLimits,
    /// The listings with which a torrent is served.
    pub served: Served,
}

/// What became of `Store::announce`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announced {
    /// It is stored and answered; the counters after it.
    Served(Counts),
    /// Nothing: the torrent's verdict is past its time, and this announcer is the one to wait for a
    /// newer one. Others are served.
    Stale,
    /// Nothing: there is no swarm, or the torrent is not served.
    Absent,
}

/// The counters of one torrent, both families together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Seeders.
    pub complete: u32,
    /// Leechers.
    pub incomplete: u32,
    /// Completions: by the database's count and since; without a list, since the swarm began.
    pub downloaded: u32,
}
