//! Records of the database, cached: bounded, with an age, those of unknown torrents included.
//!
//! Owns: one shard of the cache. A record past its time is stale. One caller in each
//! [`REFRESH_RETRY_MS`] is told so and waits for a newer one; the others are given the stale one.
//!
//! Never: reads a clock (time is an argument), locks, or asks the database.
//!
//! Limits: bytes, counted as what an entry holds plus its text. Unknown hashes are strangers'
//! choice, so they have a tenth of the bytes to themselves and can never push out a torrent that
//! exists. Each side evicts by CLOCK: the hand clears a reference bit or takes the entry.

use std::mem::size_of;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::ids::{InfoHash, Millis};
use crate::listing::{Listing, REFRESH_RETRY_MS, Record};

/// The share of the bytes that unknown hashes may take: one in so many.
const UNKNOWN_SHARE: usize = 10;
/// What an entry costs beside its text: itself, and its slot in the index at the index's lowest
/// load.
const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * (size_of::<(InfoHash, usize)>() + 1);

/// What a text costs beside its bytes: its two counts, and the allocator's own.
const TEXT_HEAD_BYTES: usize = 24;

/// When a record of an earlier run was asked for: before any question of this one.
const SAVED: Millis = Millis(0);

/// One shard of the cache.
pub(super) struct Cache {
    listed: Ring,
    unknown: Ring,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Cache {
        let unknown_max = bytes_max / UNKNOWN_SHARE;
        Cache { listed: Ring::new(bytes_max - unknown_max), unknown: Ring::new(unknown_max) }
    }

    /// The record of a torrent and the end of its time. None when there is none, and, once per
    /// [`REFRESH_RETRY_MS`], when it is past its time: whoever is told so waits for a newer one.
    pub(super) fn peek(&mut self, hash: &InfoHash, now: Millis) -> Option<(&Record, Millis)> {
        let entry = self.find(hash)?;
        entry.referenced = true;
        if now >= entry.stale_at {
            entry.stale_at = now.plus(REFRESH_RETRY_MS);
            return None;
        }
        Some((&entry.record, entry.stale_at))
    }

    /// Keeps the answer to a question that was asked at `asked_at`; it is believed until
    /// `stale_at`.
    pub(super) fn insert(
        &mut self,
        info_hash: InfoHash,
        record: Record,
        asked_at: Millis,
        stale_at: Millis,
    ) {
        self.keep(Entry { info_hash, record, asked_at, stale_at, referenced: false });
    }

    /// Keeps a record that an earlier run has saved: it is past its time and older than any other.
    pub(super) fn insert_saved(&mut self, info_hash: InfoHash, record: Record) {
        self.keep(Entry {
            info_hash,
            record,
            asked_at: SAVED,
            stale_at: Millis(0),
            referenced: false,
        });
    }

    /// Forgets what came by [`Cache::insert_saved`] and has not been answered since.
    pub(super) fn forget_saved(&mut self) {
        let saved: Vec<InfoHash> = self
            .listed
            .entries
            .iter()
            .filter(|entry| entry.asked_at == SAVED)
            .map(|entry| entry.info_hash)
            .collect();
        saved.iter().for_each(|hash| self.listed.remove(hash));
    }

    fn keep(&mut self, entry: Entry) {
        let (home, other) = match entry.record.listing {
            Listing::NoList | Listing::Unasked | Listing::Unlisted => {
                (&mut self.unknown, &mut self.listed)
            }
            Listing::Listed | Listing::Banned => (&mut self.listed, &mut self.unknown),
        };
        other.remove(&entry.info_hash);
        home.insert(entry);
    }

    /// The answer to a question asked later, if there is one.
    pub(super) fn newer(&mut self, hash: &InfoHash, asked_at: Millis) -> Option<&Record> {
        self.find(hash).filter(|entry| entry.asked_at > asked_at).map(|entry| &entry.record)
    }

    /// What was last said of a torrent, however long ago.
    pub(super) fn last_known(&mut self, hash: &InfoHash) -> Option<&Record> {
        self.last_known_until(hash).map(|(record, _)| record)
    }

    /// The same with the end of its time, which may be past.
    pub(super) fn last_known_until(&mut self, hash: &InfoHash) -> Option<(&Record, Millis)> {
        self.find(hash).map(|entry| (&entry.record, entry.stale_at))
    }

    pub(super) fn contains(&self, hash: &InfoHash) -> bool {
        self.listed.index.contains_key(hash) || self.unknown.index.contains_key(hash)
    }

    /// Corrects the downloads of a torrent.
    pub(super) fn recount(&mut self, hash: &InfoHash, downloaded: u32) {
        if let Some(entry) = self.listed.find(hash) {
            entry.record.downloaded = downloaded;
        }
    }

    pub(super) fn make_all_stale(&mut self) {
        self.listed
            .entries
            .iter_mut()
            .chain(&mut self.unknown.entries)
            .for_each(|entry| entry.stale_at = Millis(0));
    }

    /// Whether another listed torrent would push nothing out.
    pub(super) fn has_room(&self) -> bool {
        self.listed.bytes + 2 * ENTRY_BYTES <= self.listed.bytes_max
    }

    /// Everything listed or banned.
    pub(super) fn listed(&self) -> Vec<(InfoHash, Record)> {
        self.listed.entries.iter().map(|entry| (entry.info_hash, entry.record.clone())).collect()
    }

    fn find(&mut self, hash: &InfoHash) -> Option<&mut Entry> {
        self.listed.find(hash).or_else(|| self.unknown.find(hash))
    }

    /// Bytes that are taken.
    pub(super) fn bytes(&self) -> usize {
        self.listed.bytes + self.unknown.bytes
    }

    /// How many entries say that a torrent is listed or banned.
    pub(super) fn listed_count(&self) -> usize {
        self.listed.entries.len()
    }
}

struct Entry {
    info_hash: InfoHash,
    record: Record,
    /// When the question was put; an answer to an earlier one is no news.
    asked_at: Millis,
    stale_at: Millis,
    referenced: bool,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.record.text.as_ref().map_or(0, |text| TEXT_HEAD_BYTES + text.len())
    }
}

/// Entries in a circle with an index; the hand takes what nobody asked for since it last came by.
struct Ring {
    index: HashMap<InfoHash, usize, RandomState>,
    entries: Vec<Entry>,
    hand: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    fn new(bytes_max: usize) -> Ring {
        Ring {
            index: HashMap::with_hasher(RandomState::new()),
            entries: Vec::new(),
            hand: 0,
            bytes: 0,
            bytes_max,
        }
    }

    fn find(&mut self, hash: &InfoHash) -> Option<&mut Entry> {
        let position = *self.index.get(hash)?;
        self.entries.get_mut(position)
    }

    fn insert(&mut self, entry: Entry) {
        self.remove(&entry.info_hash);
        self.bytes += entry.bytes();
        while self.bytes > self.bytes_max && !self.entries.is_empty() {
            self.evict_one();
        }
        if self.bytes > self.bytes_max {
            self.bytes -= entry.bytes();
            return;
        }
        self.index.insert(entry.info_hash, self.entries.len());
        self.entries.push(entry);
    }

    /// Each entry is passed over once at most, so the hand stops within one turn and a step.
    fn evict_one(&mut self) {
        loop {
            self.hand %= self.entries.len();
            let entry = &mut self.entries[self.hand];
            if !std::mem::take(&mut entry.referenced) {
                let info_hash = entry.info_hash;
                self.remove(&info_hash);
                return;
            }
            self.hand += 1;
        }
    }

    fn remove(&mut self, hash: &InfoHash) {
        let Some(position) = self.index.remove(hash) else { return };
        let gone = self.entries.swap_remove(position);
        self.bytes -= gone.bytes();
        if let Some(moved) = self.entries.get(position) {
            self.index.insert(moved.info_hash, position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL_MS: u64 = 30_000;

    fn hash(n: usize) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        InfoHash(bytes)
    }

    fn keep(cache: &mut Cache, n: usize, record: Record, asked_at: Millis) {
        cache.insert(hash(n), record, asked_at, asked_at.plus(TTL_MS));
    }

    /// What is shown of a torrent at that time.
    fn shown(cache: &mut Cache, n: usize, now: Millis) -> Option<Record> {
        cache.peek(&hash(n), now).map(|(record, _)| record.clone())
    }

    fn known() -> Record {
        Record::plain(Listing::Listed)
    }

    #[test]
    fn a_verdict_past_its_time_is_reported_stale_to_one_caller_only() {
        let mut cache = Cache::new(1 << 20);
        keep(&mut cache, 1, known(), Millis(0));
        let until = |stale_at| Some((known(), Millis(stale_at)));
        let rows = [
            (TTL_MS - 1, until(TTL_MS), "it is within its time"),
            (TTL_MS, None, "the first to ask after its time waits for a newer one"),
            (TTL_MS + 1, until(TTL_MS + REFRESH_RETRY_MS), "the next one does not"),
            (TTL_MS + REFRESH_RETRY_MS, None, "nothing newer has come, so one more waits"),
        ];
        for (now, expected, why) in rows {
            let peeked = cache.peek(&hash(1), Millis(now));
            assert_eq!(peeked.map(|(record, until)| (record.clone(), until)), expected, "{why}");
        }
        assert_eq!(cache.peek(&hash(2), Millis(0)), None, "nothing is known of it");
    }

    #[test]
    fn a_newer_verdict_replaces_the_older_one_on_whichever_side() {
        let mut cache = Cache::new(1 << 20);
        keep(&mut cache, 1, Record::plain(Listing::Unlisted), Millis(0));
        keep(&mut cache, 1, known(), Millis(1));
        assert_eq!(shown(&mut cache, 1, Millis(2)), Some(known()));
        keep(&mut cache, 1, Record::plain(Listing::Unlisted), Millis(3));
        assert_eq!(shown(&mut cache, 1, Millis(4)), Some(Record::plain(Listing::Unlisted)));
        assert_eq!(cache.bytes(), ENTRY_BYTES);
    }

    #[test]
    fn a_flood_of_unknown_hashes_stays_in_its_tenth_and_pushes_out_no_torrent() {
        let bytes_max = 100 * ENTRY_BYTES;
        let mut cache = Cache::new(bytes_max);
        (0..80).for_each(|n| keep(&mut cache, n, known(), Millis(0)));
        (1_000..11_000)
            .for_each(|n| keep(&mut cache, n, Record::plain(Listing::Unlisted), Millis(0)));
        assert!((0..80).all(|n| shown(&mut cache, n, Millis(1)) == Some(known())));
        assert!(cache.unknown.bytes <= bytes_max / UNKNOWN_SHARE && cache.bytes() <= bytes_max);
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let mut cache = Cache::new(100 * ENTRY_BYTES);
        (0..90).for_each(|n| keep(&mut cache, n, known(), Millis(0)));
        for n in 90..170 {
            assert_eq!(shown(&mut cache, 7, Millis(1)), Some(known()));
            keep(&mut cache, n, known(), Millis(1));
        }
        assert_ne!(cache.peek(&hash(7), Millis(1)), None);
        assert_eq!(cache.listed.entries.len(), 90);
    }

    #[test]
    fn what_was_saved_is_stale_and_forgotten_unless_it_is_answered() {
        let mut cache = Cache::new(1 << 20);
        (1..3).for_each(|n| cache.insert_saved(hash(n), known()));
        assert_eq!(cache.peek(&hash(1), Millis(5)), None, "it is to be asked for");
        assert_eq!(cache.last_known(&hash(1)), Some(&known()));
        keep(&mut cache, 1, known(), Millis(6));
        cache.forget_saved();
        assert_eq!(shown(&mut cache, 1, Millis(7)), Some(known()));
        assert_eq!(cache.last_known(&hash(2)), None);
    }

    #[test]
    fn an_entry_larger_than_the_cache_is_not_kept() {
        let mut cache = Cache::new(ENTRY_BYTES);
        let text = Some("x".repeat(700).into());
        let record = Record { listing: Listing::Listed, text, downloaded: 0 };
        keep(&mut cache, 1, record, Millis(0));
        assert_eq!(cache.peek(&hash(1), Millis(0)), None);
        assert_eq!(cache.bytes(), 0);
    }
}
