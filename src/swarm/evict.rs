//! Who makes room when a cap is reached.
//!
//! Owns: the choice. Torrents and peers anywhere are looked at, and of those the one goes whose
//! address has the most peers (`hosts`), unless the newcomer's has more: a flood from one address
//! pushes out itself. A torrent goes only when it has one peer, and the database neither lists it
//! nor is to be told of it. Among many equals it is chance, so that newcomers get in as often as
//! those go who came before.
//!
//! Never: waits for a lock, as its caller holds one.
//!
//! Limits: looks at [`LOOKED_AT_MAX`] torrents; of a store with few of them, at each shard once.

use crate::ids::PeerAddr;
use crate::listing::Listing;
use crate::swarm::population::PeerCounts;
use crate::swarm::run::Class;
use crate::swarm::shard::Shard;
use crate::swarm::shares::Host;
use crate::swarm::store::{SHARDS, Store};
use crate::swarm::torrent::Torrent;

/// Torrents that are looked at for one that makes room.
const LOOKED_AT_MAX: usize = 32;
/// Those in one shard, of which the best is taken.
const IN_ONE_SHARD: usize = 8;

/// What there is to be room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// A torrent.
    Torrent,
    /// A peer.
    Peer,
}

/// Somebody who may go.
struct Candidate {
    at: usize,
    peer: PeerAddr,
    /// Peers of its address.
    peers: u64,
}

impl Store {
    /// Has somebody go for a newcomer of this address. Whether somebody did. The caller may hold
    /// the lock of one shard.
    #[inline(never)]
    pub(super) fn make_room(&self, room: Room, newcomer: Host) -> bool {
        let of_newcomer = self.hosts.peers(newcomer);
        let random = self.rules.random(self.population.next_eviction());
        let (mut looked_at, first) = (0, (random >> 40) as usize % SHARDS);
        for step in 0..SHARDS {
            let Some(line) = self.shards.get((first + step) % SHARDS) else { continue };
            let Some(mut shard) = line.0.try_lock() else { continue };
            let begin = (random >> 33) as usize;
            let best = self.candidate(&shard, room, begin);
            looked_at += shard.len().min(IN_ONE_SHARD);
            if let Some(best) = best.filter(|best| best.peers >= of_newcomer) {
                self.evict(&mut shard, &best);
                return true;
            }
            if looked_at >= LOOKED_AT_MAX {
                break;
            }
        }
        false
    }

    /// Who of some neighbours in a shard has the largest address.
    fn candidate(&self, shard: &Shard, room: Room, begin: usize) -> Option<Candidate> {
        let places = (0..shard.len().min(IN_ONE_SHARD)).map(|step| (begin + step) % shard.len());
        let fit = places.filter_map(|at| {
            let torrent = shard.torrent(at);
            let is_fit = room == Room::Peer || is_expendable(torrent);
            let peer = if is_fit { torrent.any_peer(begin) } else { None }?;
            Some(Candidate { at, peer, peers: self.hosts.peers(Host::of(&peer)) })
        });
        fit.max_by_key(|candidate| candidate.peers)
    }

    fn evict(&self, shard: &mut Shard, gone: &Candidate) {
        let torrent = shard.torrent_mut(gone.at);
        let (before, info_hash) = (torrent.peer_counts(), torrent.info_hash);
        torrent.leave(&gone.peer, Class::Leecher, &self.rules);
        let mut counts = PeerCounts::default();
        counts.add_gone(before, torrent.peer_counts());
        self.population.release_peers(counts);
        self.hosts.remove(&info_hash, &gone.peer);
        self.forget_if_disposable(shard, gone.at);
        self.population.count_evicted();
        #[cfg(any(test, feature = "fuzzing"))]
        self.gone.lock().push((info_hash, gone.peer));
    }
}

/// Whether a torrent may go: nothing but one peer would be lost.
fn is_expendable(torrent: &Torrent) -> bool {
    torrent.len() == 1
        && !matches!(torrent.registration.listing(), Listing::Listed | Listing::Banned)
        && !torrent.registration.has_unwritten()
}
