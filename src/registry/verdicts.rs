//! What the database has said, at hand: in the cache, and with the swarms.
//!
//! Owns: where an answer goes. Whoever gets one from the database hands it to [`Verdicts::hear`], which keeps it in the cache, tells the
//! torrent's swarm, and drops the swarm of a torrent that is banned, or not listed where only listed ones are served.
//!
//! Never: asks. Answers may come in any order: one to an older question changes nothing.
//!
//! Limits: bytes, see `cache`.

use std::sync::Arc;

use ahash::RandomState;
use parking_lot::{Mutex, MutexGuard};

use crate::ids::{InfoHash, Millis};
use crate::registry::cache::{Cache, Peeked};
use crate::registry::recent::{Mark, Recent};
use crate::registry::{Record, Standing};
use crate::swarm::{Listing, Store, Verdict};

/// Locks the cache is spread over; a power of two.
const CACHE_SHARDS: usize = 64;

/// How verdicts are kept and what they do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How long a verdict is taken for fresh, milliseconds.
    pub(super) ttl_ms: u64,
    /// Bytes all cached verdicts may take.
    pub(super) bytes_max: usize,
    /// Whether a torrent that is not listed is dropped.
    pub(super) listed_only: bool,
    /// Key of the cache's hash.
    pub(super) seed: u64,
}

/// See the module.
pub(super) struct Verdicts {
    terms: Terms,
    keys: RandomState,
    shards: Box<[Mutex<Cache>]>,
    pub(super) store: Arc<Store>,
    /// What has been written to the database lately.
    pub(super) recent: Recent,
}

/// When a question was put to the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Millis,
    pub(super) mark: Mark,
}

impl Verdicts {
    pub(super) fn new(terms: Terms, store: Arc<Store>) -> Verdicts {
        let keys = RandomState::with_seeds(terms.seed, terms.seed.rotate_left(17), !terms.seed, 0x5bd1_e995);
        let shard = || Mutex::new(Cache::new(terms.ttl_ms, terms.bytes_max / CACHE_SHARDS));
        Verdicts { terms, keys, shards: (0..CACHE_SHARDS).map(|_| shard()).collect(), store, recent: Recent::default() }
    }

    /// Marks the time of a question; before it is put.
    pub(super) fn ask(&self, now: Millis) -> Asked {
        Asked { at: now, mark: self.recent.mark() }
    }

    /// What `of` makes of the cached record and the end of its time; and whether that has passed, which one caller is told.
    pub(super) fn peek<T>(&self, hash: &InfoHash, now: Millis, of: impl FnOnce(&Record, Millis) -> T) -> Option<(T, bool)> {
        let mut cache = self.shard(hash);
        let fresh_until = cache.fresh_until(hash);
        match cache.peek(hash, now) {
            Peeked::Fresh(record) => Some((of(record, fresh_until), false)),
            Peeked::Stale(record) => Some((of(record, fresh_until), true)),
            Peeked::Miss => None,
        }
    }

    /// The end of the time of what is asked at `now`.
    pub(super) fn fresh_until(&self, now: Millis) -> Millis {
        now.plus(self.terms.ttl_ms)
    }

    /// Takes in an answer. False when it says of a listed torrent's downloads what may have changed meanwhile: it is to be asked again.
    pub(super) fn hear(&self, hash: &InfoHash, record: &Record, asked: Asked) -> bool {
        let is_current = || record.standing != Standing::Known || self.recent.is_current(hash, asked.mark);
        if self.shard(hash).has_newer(hash, asked.at) {
            return true;
        }
        let verdict = verdict(record, self.fresh_until(asked.at));
        match record.standing {
            Standing::Banned => self.store.shut(hash),
            Standing::Unknown if self.terms.listed_only => self.store.remove(hash),
            Standing::Known | Standing::Unknown => self.store.learn(hash, verdict, is_current),
        }
        let mut cache = self.shard(hash);
        // Under the lock: what is written from here on is corrected in the cache by `settle`.
        let current = is_current();
        if current {
            cache.insert(*hash, record.clone(), asked.at);
        }
        current
    }

    /// Takes in a verdict of an earlier run, older than any.
    pub(super) fn recall(&self, hash: InfoHash, record: Record) {
        self.shard(&hash).insert_stale(hash, record);
    }

    /// The books of a torrent are settled: `downloads` of it have been written.
    pub(super) fn settle(&self, hash: &InfoHash, downloads: u32) {
        let written = self.store.settle(hash, downloads);
        if downloads > 0
            && let Some(written) = written
        {
            self.shard(hash).recount(hash, written);
        }
    }

    /// Whether anything is known of a torrent, so that a change of it matters.
    pub(super) fn holds(&self, hash: &InfoHash) -> bool {
        let cached = self.shard(hash).contains(hash);
        cached || self.store.holds(hash)
    }

    /// Has every verdict asked for again when it is next wanted.
    pub(super) fn make_all_stale(&self, now: Millis) {
        self.shards.iter().for_each(|shard| shard.lock().make_all_stale());
        self.store.make_all_stale(now);
    }

    /// Whether there is room for another listed torrent without pushing one out.
    pub(super) fn has_room(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().has_room())
    }

    /// Calls `f` for everything that is known to be listed or banned, in no order; a torrent may come twice, the better known last.
    pub(super) fn for_each_listed(&self, mut f: impl FnMut(&InfoHash, &Record)) {
        self.store.for_each_listed(|hash, downloaded| f(hash, &Record { downloaded, ..Record::plain(Standing::Known) }));
        for shard in &self.shards {
            // Copied, so that no worker waits for what `f` does: names are shared, not copied.
            let records = shard.lock().listed();
            records.iter().for_each(|(hash, record)| f(hash, record));
        }
    }

    fn shard(&self, hash: &InfoHash) -> MutexGuard<'_, Cache> {
        // `CACHE_SHARDS` is a power of two, so the mask is always an index.
        self.shards[usize::try_from(self.keys.hash_one(hash) >> 40).unwrap_or(0) & (CACHE_SHARDS - 1)].lock()
    }
}

/// What a swarm is to know of a torrent that may be served.
pub(super) fn verdict(record: &Record, fresh_until: Millis) -> Verdict {
    let listing = if record.standing == Standing::Known { Listing::Listed } else { Listing::Unlisted };
    Verdict { listing, downloaded: record.downloaded, fresh_until }
}
