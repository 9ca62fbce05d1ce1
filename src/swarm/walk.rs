//! The one walk over all torrents.
//!
//! Owns: the order, shard by shard and downwards in each, and how long a lock is held for it. A
//! torrent that is removed is replaced by the last one of its shard, which has been visited or is
//! still to be: so a walk meets every torrent that is there from its begin to its end, and some of
//! them twice.
//!
//! Never: calls anybody from outside this folder under a lock, unless it is to copy what a torrent
//! holds.
//!
//! Limits: [`HOLD_TORRENTS`] torrents visited under one lock.

use crate::ids::InfoHash;
use crate::swarm::announcement::Counts;
use crate::swarm::store::{SHARDS, Store};
use crate::swarm::torrent::Torrent;

/// Torrents visited under one lock: a cache line each, some 20 us when none of them is in the
/// cache.
const HOLD_TORRENTS: usize = 1024;

/// Where a walk over all torrents has come.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    shard: usize,
    /// Torrents of that shard still to visit, if there are as many.
    torrents: usize,
}

impl Walk {
    /// Whether every torrent has been visited.
    pub fn is_over(&self) -> bool {
        self.shard >= SHARDS
    }
}

impl Default for Walk {
    /// Nothing has been visited.
    fn default() -> Walk {
        Walk { shard: 0, torrents: usize::MAX }
    }
}

impl Store {
    /// Calls `f` for every torrent, in no order. No lock is held then: a shard is copied first, so
    /// what `f` sees is a moment old.
    pub fn for_each(&self, mut f: impl FnMut(&InfoHash, Counts)) {
        self.for_each_copy(|torrent| Some(torrent.counts()), |hash, counts| f(hash, counts));
    }

    /// Calls `f` with what `copy` makes of each torrent, once for each of which it makes something.
    /// No lock is held then.
    pub(super) fn for_each_copy<T>(
        &self,
        copy: impl Fn(&Torrent) -> Option<T>,
        mut f: impl FnMut(&InfoHash, T),
    ) {
        let (mut walk, mut copies) = (Walk::default(), Vec::new());
        while !walk.is_over() {
            let shard = walk.shard;
            while walk.shard == shard {
                // Not under the lock.
                copies.reserve(HOLD_TORRENTS);
                self.walk_hold(&mut walk, |torrent| {
                    copies.extend(copy(torrent).map(|copy| (torrent.info_hash, copy)));
                    true
                });
            }
            copies.sort_unstable_by_key(|(info_hash, _)| *info_hash);
            copies.dedup_by_key(|(info_hash, _)| *info_hash);
            copies.drain(..).for_each(|(info_hash, copy)| f(&info_hash, copy));
        }
    }

    /// Goes on with a walk until `visit` says that it has had enough, or to the end.
    pub(super) fn walk(&self, walk: &mut Walk, mut visit: impl FnMut(&mut Torrent) -> bool) {
        while !walk.is_over() && self.walk_hold(walk, &mut visit) {}
    }

    /// Goes on with a walk under one lock, once; false when `visit` has had enough.
    fn walk_hold(&self, walk: &mut Walk, mut visit: impl FnMut(&mut Torrent) -> bool) -> bool {
        let Some(line) = self.shards.get(walk.shard) else { return false };
        let mut shard = line.0.lock();
        walk.torrents = walk.torrents.min(shard.len());
        let end = walk.torrents.saturating_sub(HOLD_TORRENTS);
        let mut goes_on = true;
        while goes_on && walk.torrents > end {
            walk.torrents -= 1;
            goes_on = visit(shard.torrent_mut(walk.torrents));
        }
        if walk.torrents == 0 {
            *walk = Walk { shard: walk.shard + 1, ..Walk::default() };
        }
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ids::{Event, Millis};
    use crate::swarm::{Announcement, Chosen, Newcomer, StoreSettings};
    use crate::tests::announcement::{self, hash, open_at};

    fn say(store: &Store, torrent: u16, event: Event) {
        let announce = Announcement { event, ..announcement::of(torrent, 0) };
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        store.enter(&Newcomer::without_list(&announce), open_at(Millis(0)), &mut rng, &mut chosen);
    }

    #[test]
    fn a_walk_meets_all_that_stay_while_others_come_and_go() {
        const TORRENTS: u16 = 20_000;
        let store = Store::new(StoreSettings { peer_ids: false }, 5);
        (0..TORRENTS).for_each(|torrent| say(&store, torrent, Event::Started));
        let (mut walk, mut met, mut at) = (Walk::default(), BTreeSet::new(), 0);
        while !walk.is_over() {
            let mut room = 7;
            store.walk(&mut walk, |torrent| {
                met.insert(torrent.info_hash);
                room -= 1;
                room > 0
            });
            // Every other one goes, from all over the shards, and as many come.
            for _ in 0..4 {
                at = (at + 7_919) % TORRENTS;
                say(&store, at | 1, Event::Stopped);
                say(&store, TORRENTS + at, Event::Started);
            }
        }
        let missed = (0..TORRENTS).step_by(2).filter(|torrent| !met.contains(&hash(*torrent)));
        assert_eq!(missed.collect::<Vec<_>>(), [0; 0], "torrents that stayed and were not met");
        store.check_invariants();
    }

    #[test]
    fn each_torrent_is_copied_once_and_no_lock_is_held_meanwhile() {
        let store = Store::new(StoreSettings { peer_ids: false }, 5);
        (0..2_000).for_each(|torrent| say(&store, torrent, Event::Started));
        let mut seen = Vec::new();
        store.for_each(|info_hash, counts| {
            assert_eq!(store.scrape(info_hash), Some(counts), "{info_hash}");
            seen.push(*info_hash);
        });
        seen.sort_unstable();
        assert_eq!(seen, (0..2_000).map(hash).collect::<Vec<_>>());
    }
}
