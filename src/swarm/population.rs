//! How many torrents and peers a store holds, and the caps on both.
//!
//! Owns: counters that all workers share, the peers' by family and class. They change only when a
//! peer or a torrent comes or goes, or a peer becomes a seeder or a leecher, so that a re-announce,
//! which is nearly all of the traffic, touches no memory that another core writes to.
//!
//! Never: exceeds a cap. Of workers that add at once as the cap is reached, one too many may be
//! refused.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU64};

use crate::ids::Family;
use crate::swarm::run::Class;

/// What a store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Torrents with a peer, or with something that the database is still to be told.
    pub torrents: u64,
    /// Seeders with an IPv4 address; like all peers, one in two torrents counts twice.
    pub seeders_v4: u64,
    /// Leechers with an IPv4 address.
    pub leechers_v4: u64,
    /// Seeders with an IPv6 address.
    pub seeders_v6: u64,
    /// Leechers with an IPv6 address.
    pub leechers_v6: u64,
}

impl Totals {
    /// All peers.
    pub fn peers(&self) -> u64 {
        self.seeders_v4 + self.leechers_v4 + self.seeders_v6 + self.leechers_v6
    }
}

/// The peers that are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind {
    pub(super) family: Family,
    pub(super) class: Class,
}

impl Kind {
    const COUNT: usize = 4;

    /// In the order of the fields of [`Totals`].
    fn index(self) -> usize {
        match (self.family, self.class) {
            (Family::V4, Class::Seeder) => 0,
            (Family::V4, Class::Leecher) => 1,
            (Family::V6, Class::Seeder) => 2,
            (Family::V6, Class::Leecher) => 3,
        }
    }
}

/// Numbers of peers by [`Kind`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct PeerCounts([usize; Kind::COUNT]);

impl PeerCounts {
    /// Counts `peers` more of a kind.
    pub(super) fn add(&mut self, kind: Kind, peers: usize) {
        self.0[kind.index()] += peers;
    }

    /// Counts those who were in `before` and are not in `after`.
    pub(super) fn add_gone(&mut self, before: PeerCounts, after: PeerCounts) {
        for ((sum, before), after) in self.0.iter_mut().zip(before.0).zip(after.0) {
            *sum += before - after;
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Population {
    peers: Line<[AtomicU64; Kind::COUNT]>,
    torrents: Line<AtomicU64>,
    not_stored: Line<AtomicU64>,
    completed: AtomicU64,
    expired: AtomicU64,
    evicted: Line<AtomicU64>,
    searches: Line<AtomicU64>,
    full: AtomicU8,
}

/// No cap has been reached; one has; and that has been told.
const NOT_FULL: u8 = 0;
const FULL: u8 = 1;
const TOLD: u8 = 2;

/// On cache lines of its own (x86 fetches them in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

impl Population {
    /// Counts one more peer, unless there are `max` already.
    pub(super) fn admit_peer(&self, kind: Kind, max: u64) -> bool {
        // Added first and looked at then, in one order for all: who comes later sees it.
        self.peer(kind).fetch_add(1, SeqCst);
        let is_admitted = self.peers() <= max;
        if !is_admitted {
            self.release_peer(kind);
        }
        is_admitted
    }

    /// Counts a peer less, that had been admitted.
    pub(super) fn release_peer(&self, kind: Kind) {
        self.peer(kind).fetch_sub(1, SeqCst);
    }

    /// Counts some peers less, that had been admitted.
    pub(super) fn release_peers(&self, gone: PeerCounts) {
        for (count, gone) in self.peers.0.iter().zip(gone.0) {
            if gone > 0 {
                count.fetch_sub(gone as u64, SeqCst);
            }
        }
    }

    /// Counts a peer that is now of `kind`, and was of the other class before.
    pub(super) fn change_class(&self, kind: Kind) {
        self.release_peer(Kind { class: kind.class.other(), ..kind });
        self.peer(kind).fetch_add(1, SeqCst);
    }

    /// Counts one more torrent, unless there are `max` already.
    pub(super) fn admit_torrent(&self, max: u64) -> bool {
        let one_more = |count| (count < max).then_some(count + 1);
        self.torrents.0.fetch_update(SeqCst, SeqCst, one_more).is_ok()
    }

    /// Counts some torrents less, that had been admitted.
    pub(super) fn release_torrents(&self, gone: usize) {
        if gone > 0 {
            self.torrents.0.fetch_sub(gone as u64, SeqCst);
        }
    }

    /// Counts a peer that made room for another.
    pub(super) fn count_evicted(&self) {
        self.evicted.0.fetch_add(1, Relaxed);
    }

    /// Peers so far that made room for others.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.0.load(Relaxed)
    }

    /// Whether a cap has been reached; true once.
    pub(super) fn take_full(&self) -> bool {
        self.full.load(Relaxed) == FULL
            && self.full.compare_exchange(FULL, TOLD, Relaxed, Relaxed).is_ok()
    }

    /// The number of another search for somebody to make room.
    pub(super) fn next_eviction(&self) -> u64 {
        _ = self.full.compare_exchange(NOT_FULL, FULL, Relaxed, Relaxed);
        self.searches.0.fetch_add(1, Relaxed)
    }

    /// Counts an announce whose peer was not stored.
    pub(super) fn count_not_stored(&self) {
        self.not_stored.0.fetch_add(1, Relaxed);
    }

    /// Counts a completion.
    pub(super) fn count_completed(&self) {
        self.completed.fetch_add(1, Relaxed);
    }

    /// Completions so far.
    pub(super) fn completed(&self) -> u64 {
        self.completed.load(Relaxed)
    }

    /// Counts peers whose time was over.
    pub(super) fn count_expired(&self, gone: PeerCounts) {
        let peers: usize = gone.0.iter().sum();
        if peers > 0 {
            self.expired.fetch_add(peers as u64, Relaxed);
        }
    }

    /// Peers so far whose time was over.
    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Relaxed)
    }

    /// Announces so far whose peer was not stored.
    pub(super) fn not_stored(&self) -> u64 {
        self.not_stored.0.load(Relaxed)
    }

    /// All peers.
    pub(super) fn peers(&self) -> u64 {
        self.peers.0.iter().map(|count| count.load(SeqCst)).sum()
    }

    /// What there is.
    pub(super) fn totals(&self) -> Totals {
        let torrents = self.torrents.0.load(SeqCst);
        Totals::new(torrents, self.peers.0.each_ref().map(|count| count.load(SeqCst)))
    }

    fn peer(&self, kind: Kind) -> &AtomicU64 {
        &self.peers.0[kind.index()]
    }
}

impl Totals {
    /// As many torrents, with `peers` in all of them together.
    pub(super) fn of(torrents: usize, peers: PeerCounts) -> Totals {
        Totals::new(torrents as u64, peers.0.map(|count| count as u64))
    }

    fn new(torrents: u64, peers: [u64; Kind::COUNT]) -> Totals {
        let [seeders_v4, leechers_v4, seeders_v6, leechers_v6] = peers;
        Totals { torrents, seeders_v4, leechers_v4, seeders_v6, leechers_v6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEERS_MAX: u64 = 1_000;

    #[test]
    fn no_cap_is_exceeded_by_workers_that_add_at_once_and_all_of_it_is_used() {
        let population = Population::default();
        let admitted = std::thread::scope(|scope| {
            let workers = [Family::V4, Family::V6].map(|family| {
                let population = &population;
                scope.spawn(move || {
                    let kind = Kind { family, class: Class::Seeder };
                    (0..PEERS_MAX).filter(|_| population.admit_peer(kind, PEERS_MAX)).count()
                })
            });
            workers.map(|worker| worker.join().unwrap())
        });
        let admitted: u64 = admitted.iter().sum::<usize>() as u64;
        assert_eq!(population.peers(), admitted, "who was refused is not counted");
        assert!(admitted <= PEERS_MAX, "{admitted} of {PEERS_MAX}");
        let kind = Kind { family: Family::V4, class: Class::Leecher };
        let more = (0..PEERS_MAX).filter(|_| population.admit_peer(kind, PEERS_MAX)).count();
        assert_eq!(admitted + more as u64, PEERS_MAX, "a worker alone is refused at the cap only");
    }

    #[test]
    fn each_kind_is_counted_in_its_own_field() {
        let population = Population::default();
        let mut gone = PeerCounts::default();
        for (family, class, peers) in [
            (Family::V4, Class::Seeder, 1),
            (Family::V4, Class::Leecher, 2),
            (Family::V6, Class::Seeder, 3),
            (Family::V6, Class::Leecher, 4),
        ] {
            let kind = Kind { family, class };
            (0..peers).for_each(|_| assert!(population.admit_peer(kind, 10), "below the cap"));
            gone.add(kind, peers);
        }
        let expected =
            Totals { torrents: 0, seeders_v4: 1, leechers_v4: 2, seeders_v6: 3, leechers_v6: 4 };
        assert_eq!(population.totals(), expected);
        assert_eq!(Totals::of(0, gone), expected);
        population.change_class(Kind { family: Family::V6, class: Class::Seeder });
        assert_eq!(population.totals(), Totals { seeders_v6: 4, leechers_v6: 3, ..expected });
        population.change_class(Kind { family: Family::V6, class: Class::Leecher });
        population.release_peers(gone);
        assert_eq!(population.totals(), Totals::default());
    }
}
