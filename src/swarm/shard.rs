//! The torrents of one shard: what one lock protects.
//!
//! Owns: a dense list of torrents, and an index from their hash to their position, four bytes and a
//! tag each. A torrent that is removed is replaced by the last one, whose index entry follows it.
//! The list is in pages of [`PAGE_TORRENTS`], so that a torrent more moves no other and costs a
//! kilobyte at most; the unused end of the last page holds vacant torrents.
//!
//! Limits: 2^32 torrents a shard. The index moves when it doubles or quarters: some 20 us at a
//! thousand torrents a shard, a million in all.

use std::mem;

use hashbrown::HashTable;

use crate::ids::InfoHash;
use crate::swarm::capacity;
use crate::swarm::rules::Rules;
use crate::swarm::torrent::Torrent;

/// Torrents that are allocated at once.
const PAGE_TORRENTS: usize = 32;

/// See the module. There are as many torrents as index entries.
#[derive(Default)]
pub(super) struct Shard {
    index: HashTable<u32>,
    pages: Vec<Page>,
}

impl Shard {
    /// Number of torrents.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Every torrent, in no order.
    pub(super) fn torrents(&self) -> impl Iterator<Item = &Torrent> {
        self.pages.iter().flat_map(|page| page.iter()).take(self.len())
    }

    /// The torrent at a position.
    pub(super) fn torrent(&self, at: usize) -> &Torrent {
        &self.pages[at / PAGE_TORRENTS][at % PAGE_TORRENTS]
    }

    /// The torrent at a position; it must not be left disposable.
    pub(super) fn torrent_mut(&mut self, at: usize) -> &mut Torrent {
        &mut self.pages[at / PAGE_TORRENTS][at % PAGE_TORRENTS]
    }

    /// The position of a torrent whose hash is `hash`.
    pub(super) fn find(&self, hash: u64, info_hash: &InfoHash) -> Option<usize> {
        self.index
            .find(hash, |at| self.torrent(*at as usize).info_hash == *info_hash)
            .map(|at| *at as usize)
    }

    /// Whether positions have run out.
    pub(super) fn is_full(&self) -> bool {
        self.len() == u32::MAX as usize
    }

    /// Adds a torrent that is not there yet to a shard that is not full.
    pub(super) fn insert(&mut self, hash: u64, torrent: Torrent, rules: &Rules) {
        let at = self.len();
        if at == self.pages.len() * PAGE_TORRENTS {
            capacity::push(&mut self.pages, Box::new(std::array::from_fn(|_| Torrent::vacant())));
        }
        *self.torrent_mut(at) = torrent;
        let pages = &self.pages;
        self.index.insert_unique(hash, position(at), |at| hash_at(pages, *at as usize, rules));
    }

    /// Takes out the torrent at a position; the last one takes its place.
    pub(super) fn remove(&mut self, at: usize, rules: &Rules) -> Torrent {
        if let Ok(entry) =
            self.index.find_entry(hash_at(&self.pages, at, rules), |entry| *entry as usize == at)
        {
            entry.remove();
        }
        let last = self.len();
        let moved_hash = hash_at(&self.pages, last, rules);
        let mut torrent = mem::replace(self.torrent_mut(last), Torrent::vacant());
        if at != last {
            mem::swap(self.torrent_mut(at), &mut torrent);
            if let Some(entry) = self.index.find_mut(moved_hash, |entry| *entry as usize == last) {
                *entry = position(at);
            }
        }
        self.fit(rules);
        torrent
    }

    /// Gives back a page when more than that is vacant, and the index when it is nearly empty.
    fn fit(&mut self, rules: &Rules) {
        let len = self.len();
        if self.pages.len() * PAGE_TORRENTS - len > PAGE_TORRENTS + PAGE_TORRENTS / 4 {
            self.pages.pop();
            capacity::shrink(&mut self.pages);
        }
        if self.index.capacity() > 4 * len + 16 {
            let pages = &self.pages;
            self.index.shrink_to(len + len / 4, |at| hash_at(pages, *at as usize, rules));
        }
    }

    /// Panics when a torrent would not be found, or is kept for nothing.
    pub(super) fn check_invariants(&self, rules: &Rules) {
        let room = self.pages.len() * PAGE_TORRENTS;
        assert!(
            (self.len()..=self.len() + 2 * PAGE_TORRENTS).contains(&room),
            "room for {room}, not {}",
            self.len()
        );
        for (at, torrent) in self.torrents().enumerate() {
            let hash = rules.torrent_hash(&torrent.info_hash);
            assert_eq!(
                self.find(hash, &torrent.info_hash),
                Some(at),
                "{} is not where it is looked for",
                torrent.info_hash
            );
            assert!(!torrent.is_disposable(), "{} is kept for nothing", torrent.info_hash);
            torrent.check_invariants(rules, true);
        }
    }
}

/// A kilobyte of torrents, one cache line each.
type Page = Box<[Torrent; PAGE_TORRENTS]>;

fn hash_at(pages: &[Page], at: usize, rules: &Rules) -> u64 {
    rules.torrent_hash(&pages[at / PAGE_TORRENTS][at % PAGE_TORRENTS].info_hash)
}

/// A position as the index keeps it.
#[expect(clippy::cast_possible_truncation, reason = "a shard is full before positions run out")]
fn position(at: usize) -> u32 {
    at as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Millis;
    use crate::listing::Verdict;
    use crate::swarm::state::Stamp;
    use crate::tests::announcement;

    fn torrent(name: u16, rules: &Rules) -> Torrent {
        let announce = announcement::of(name, 0);
        let mut torrent = Torrent::new(announce.info_hash, Verdict::NO_LIST);
        torrent.insert(&announce, Stamp::of(Millis(0)), rules);
        torrent
    }

    #[test]
    fn the_last_torrent_takes_the_place_of_a_removed_one() {
        let rules = Rules::new(false, 9);
        let mut shard = Shard::default();
        for name in 0..300 {
            let torrent = torrent(name, &rules);
            shard.insert(rules.torrent_hash(&torrent.info_hash), torrent, &rules);
        }
        shard.check_invariants(&rules);
        // 7 and 300 have no common divisor: every torrent's turn comes, from all over the list.
        for step in 0..300 {
            let info_hash = torrent(step * 7 % 300, &rules).info_hash;
            let hash = rules.torrent_hash(&info_hash);
            let at = shard.find(hash, &info_hash).unwrap();
            assert_eq!(shard.remove(at, &rules).info_hash, info_hash);
            assert_eq!(shard.find(hash, &info_hash), None, "a torrent that was removed");
            assert_eq!(shard.len(), 299 - usize::from(step), "torrents in the shard");
            shard.check_invariants(&rules);
        }
        assert!(shard.pages.len() <= 1 && shard.index.capacity() <= 16, "the memory is given back");
    }
}
