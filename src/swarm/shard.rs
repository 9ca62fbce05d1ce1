//! The torrents of one shard: what one lock protects.
//!
//! Owns: a dense array of torrents, and an index from their hash to their position, four bytes and a tag each. A torrent that is
//! removed is replaced by the last one, whose index entry follows it.
//!
//! Limits: 2^32 torrents a shard. The array moves when it grows by an eighth or shrinks, the index when it doubles or quarters: some
//! 20 us at a thousand torrents a shard, a million in all.

use hashbrown::HashTable;

use super::room;
use super::rules::Rules;
use super::torrent::Torrent;
use crate::ids::InfoHash;

/// See the module.
#[derive(Default)]
pub(super) struct Shard {
    index: HashTable<u32>,
    torrents: Vec<Torrent>,
}

impl Shard {
    /// Every torrent, in no order.
    pub(super) fn torrents(&self) -> &[Torrent] {
        &self.torrents
    }

    /// Every torrent, in no order; none may be left empty.
    pub(super) fn torrents_mut(&mut self) -> &mut [Torrent] {
        &mut self.torrents
    }

    /// The position of a torrent whose hash is `hash`.
    pub(super) fn find(&self, hash: u64, info_hash: &InfoHash) -> Option<usize> {
        let is_it = |at: &u32| self.torrents.get(*at as usize).is_some_and(|torrent| torrent.info_hash == *info_hash);
        self.index.find(hash, is_it).map(|at| *at as usize)
    }

    /// Whether positions have run out.
    pub(super) fn is_full(&self) -> bool {
        self.torrents.len() == u32::MAX as usize
    }

    /// Adds a torrent that is not there yet to a shard that is not full.
    pub(super) fn insert(&mut self, hash: u64, torrent: Torrent, rules: &Rules) {
        let at = position(self.torrents.len());
        room::push(&mut self.torrents, torrent);
        let torrents = &self.torrents;
        self.index.insert_unique(hash, at, |at| hash_at(torrents, *at, rules));
    }

    /// Takes out the torrent at a position; the last one takes its place.
    pub(super) fn remove(&mut self, at: usize, rules: &Rules) -> Torrent {
        let last = self.torrents.len() - 1;
        if let Ok(entry) = self.index.find_entry(hash_at(&self.torrents, position(at), rules), |entry| *entry as usize == at) {
            entry.remove();
        }
        if at != last {
            let hash = hash_at(&self.torrents, position(last), rules);
            if let Some(entry) = self.index.find_mut(hash, |entry| *entry as usize == last) {
                *entry = position(at);
            }
        }
        let torrent = self.torrents.swap_remove(at);
        self.fit(rules);
        torrent
    }

    fn fit(&mut self, rules: &Rules) {
        room::shrink(&mut self.torrents);
        let len = self.torrents.len();
        if self.index.capacity() > 4 * len + 16 {
            let torrents = &self.torrents;
            self.index.shrink_to(len + len / 4, |at| hash_at(torrents, *at, rules));
        }
    }

    /// Panics when a torrent would not be found, or is empty.
    pub(super) fn check_invariants(&self, rules: &Rules) {
        assert_eq!(self.index.len(), self.torrents.len(), "the index and the torrents differ");
        for (at, torrent) in self.torrents.iter().enumerate() {
            let hash = rules.torrent_hash(&torrent.info_hash);
            assert_eq!(self.find(hash, &torrent.info_hash), Some(at), "{} is not where it is looked for", torrent.info_hash);
            assert!(torrent.len() > 0, "{} is empty", torrent.info_hash);
            torrent.check_invariants(rules, true);
        }
    }
}

fn hash_at(torrents: &[Torrent], at: u32, rules: &Rules) -> u64 {
    rules.torrent_hash(&torrents[at as usize].info_hash)
}

/// A position as the index keeps it.
#[expect(clippy::cast_possible_truncation, reason = "a shard is full before positions run out")]
fn position(at: usize) -> u32 {
    at as u32
}
