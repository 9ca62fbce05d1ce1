//! What is known of the database's list: cached records, and what the swarms keep of theirs.
//!
//! Owns: where an answer goes. Whoever gets one from the database hands it to
//! [`KnownRecords::take_answer`], which keeps it in the cache and tells the torrent's swarm.
//! Answers may come in any order: one to an older question changes nothing.
//!
//! Never: asks the database, decides who is served, or holds the lock of a cache shard while it
//! takes that of a swarm's shard.
//!
//! Limits: bytes, see `cache`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ahash::RandomState;
use parking_lot::{Mutex, MutexGuard};

use crate::config::LiveSettings;
use crate::ids::{InfoHash, Millis};
use crate::listing::{Listing, REFRESH_RETRY_MS, Record, Verdict};
use crate::registry::cache::Cache;
use crate::registry::recent_batches::{Mark, RecentBatches};
use crate::secrets;
use crate::swarm::Store;

/// Locks the cache is spread over; a power of two.
const CACHE_SHARDS: usize = 64;

/// How large the cache may be, and its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheSettings {
    /// Bytes all cached records may take.
    pub(super) bytes_max: usize,
    /// Key of the cache's hash.
    pub(super) seed: u64,
}

/// See the module.
pub(super) struct KnownRecords {
    /// How long an answer is believed.
    live: LiveSettings,
    keys: RandomState,
    shards: Box<[Mutex<Cache>]>,
    pub(super) store: Arc<Store>,
    /// What has been written to the database lately.
    pub(super) recent: RecentBatches,
    /// Whether a swarm may have begun while nobody could be asked for its record.
    unasked: AtomicBool,
}

/// By what the answer to a question is judged: taken before it is put.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marked {
    mark: Mark,
    ttl_ms: u64,
}

impl Marked {
    /// A question that came up at `at`.
    pub(super) fn at(self, at: Millis) -> Asked {
        Asked { at, fresh_until: at.plus(self.ttl_ms), mark: self.mark }
    }
}

/// When a question was put to the database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Millis,
    /// Until when its answer is believed.
    fresh_until: Millis,
    mark: Mark,
}

/// What counts once an answer is taken in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum TakenAnswer {
    /// This record: the answer's, or one to a later question that came before it.
    Record(Record),
    /// The answer says of a listed torrent's downloads what may have changed meanwhile: it is to be
    /// asked again.
    AskAgain,
}

impl KnownRecords {
    pub(super) fn new(cache: CacheSettings, live: LiveSettings, store: Arc<Store>) -> KnownRecords {
        let [keys] = secrets::table_keys(cache.seed);
        let shard = || Mutex::new(Cache::new(cache.bytes_max / CACHE_SHARDS));
        KnownRecords {
            live,
            keys,
            shards: (0..CACHE_SHARDS).map(|_| shard()).collect(),
            store,
            recent: RecentBatches::default(),
            unasked: AtomicBool::new(false),
        }
    }

    /// Marks a question; before it is put.
    pub(super) fn mark(&self) -> Marked {
        let ttl_ms = self.live.latest().registry.cache_ttl_ms;
        Marked { mark: self.recent.mark(), ttl_ms }
    }

    /// What `of` makes of the cached record and the end of its time. None also for a record past
    /// its time, once: whoever is told so waits for a newer one.
    pub(super) fn peek<T>(
        &self,
        hash: &InfoHash,
        now: Millis,
        of: impl FnOnce(&Record, Millis) -> T,
    ) -> Option<T> {
        self.shard(hash).peek(hash, now).map(|(record, fresh_until)| of(record, fresh_until))
    }

    /// What was last said of a torrent, however long ago.
    pub(super) fn last_known(&self, hash: &InfoHash) -> Option<Record> {
        self.shard(hash).last_known(hash).cloned()
    }

    /// The same as a swarm is to know it.
    pub(super) fn last_verdict(&self, hash: &InfoHash) -> Option<Verdict> {
        self.shard(hash).last_known_until(hash).map(|(record, until)| verdict(record, until))
    }

    /// What a swarm is to know that begins while nobody can be asked: to be asked for as soon as
    /// somebody can.
    pub(super) fn unasked(&self, now: Millis) -> Verdict {
        self.unasked.store(true, Ordering::Release);
        Verdict {
            listing: Listing::Unasked,
            downloaded: 0,
            fresh_until: now.plus(REFRESH_RETRY_MS),
        }
    }

    /// Whether there was a call of [`KnownRecords::unasked`] since the last one of this.
    pub(super) fn take_unasked(&self) -> bool {
        self.unasked.swap(false, Ordering::Acquire)
    }

    /// Has [`KnownRecords::take_unasked`] say so again: those swarms have not been asked for after
    /// all.
    pub(super) fn put_back_unasked(&self) {
        self.unasked.store(true, Ordering::Release);
    }

    /// Takes in an answer, and says what counts now.
    pub(super) fn take_answer(
        &self,
        hash: &InfoHash,
        record: &Record,
        asked: Asked,
    ) -> TakenAnswer {
        let is_current =
            || record.listing != Listing::Listed || self.recent.is_current(hash, asked.mark);
        if let Some(newer) = self.shard(hash).newer(hash, asked.at) {
            return TakenAnswer::Record(newer.clone());
        }
        if record.listing == Listing::Banned {
            self.store.ban(hash);
        } else {
            self.store.learn(hash, verdict(record, asked.fresh_until), is_current);
        }
        let mut cache = self.shard(hash);
        if let Some(newer) = cache.newer(hash, asked.at) {
            return TakenAnswer::Record(newer.clone());
        }
        // Under the lock: what is written from here on is corrected in the cache by
        // `confirm_written`.
        if !is_current() {
            return TakenAnswer::AskAgain;
        }
        cache.insert(*hash, record.clone(), asked.at, asked.fresh_until);
        TakenAnswer::Record(record.clone())
    }

    /// Takes in a record of an earlier run, older than any.
    pub(super) fn insert_saved(&self, hash: InfoHash, record: Record) {
        self.shard(&hash).insert_saved(hash, record);
    }

    /// Forgets what an earlier run has left and nobody has said since: the whole list has been
    /// read, and does not hold it.
    pub(super) fn forget_saved(&self) {
        self.shards.iter().for_each(|shard| shard.lock().forget_saved());
    }

    /// What was taken of a torrent is written, `downloads` among it. The cache is set right before
    /// the torrent may go, as the next one to announce it takes the count from there.
    pub(super) fn confirm_written(&self, hash: &InfoHash, downloads: u32) {
        let written = self.store.confirm_written(hash, downloads);
        if downloads > 0
            && let Some(written) = written
        {
            self.shard(hash).recount(hash, written);
        }
        self.store.forget_written(hash);
    }

    /// Whether anything is known of a torrent, so that a change of it matters.
    pub(super) fn holds(&self, hash: &InfoHash) -> bool {
        let cached = self.shard(hash).contains(hash);
        cached || self.store.holds(hash)
    }

    /// Has every record asked for again when it is next wanted.
    pub(super) fn make_all_stale(&self, now: Millis) {
        self.shards.iter().for_each(|shard| shard.lock().make_all_stale());
        self.store.make_all_stale(now);
    }

    /// Bytes that are taken, and how many torrents are known to be listed or banned.
    pub(super) fn size(&self) -> (usize, usize) {
        self.shards.iter().map(|shard| shard.lock()).fold((0, 0), |(bytes, listed), cache| {
            (bytes + cache.bytes(), listed + cache.listed_count())
        })
    }

    /// Whether there is room for another listed torrent without pushing one out.
    pub(super) fn has_room(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().has_room())
    }

    /// Calls `f` for everything that is known to be listed or banned, in no order; a torrent may
    /// come twice, the better known last.
    pub(super) fn for_each_listed(&self, mut f: impl FnMut(&InfoHash, &Record)) {
        self.store.for_each_listed(|hash, downloaded| {
            f(hash, &Record { downloaded, ..Record::plain(Listing::Listed) });
        });
        for shard in &self.shards {
            // Copied, so that no worker waits for what `f` does: names are shared, not copied.
            let records = shard.lock().listed();
            records.iter().for_each(|(hash, record)| f(hash, record));
        }
    }

    fn shard(&self, hash: &InfoHash) -> MutexGuard<'_, Cache> {
        // `CACHE_SHARDS` is a power of two, so the mask is always an index.
        self.shards
            [usize::try_from(self.keys.hash_one(hash) >> 40).unwrap_or(0) & (CACHE_SHARDS - 1)]
            .lock()
    }
}

/// What a swarm is to know of a torrent.
pub(super) fn verdict(record: &Record, fresh_until: Millis) -> Verdict {
    Verdict { listing: record.listing, downloaded: record.downloaded, fresh_until }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ids::Event;
    use crate::swarm::{Announcement, Chosen, Counts, Newcomer, Unwritten, Walk};
    use crate::tests::announcement::{self, open_at};
    use crate::tests::harness;
    use crate::tests::seeds::for_each_seed;

    const TORRENTS: u8 = 3;
    const STEPS: usize = 3_000;

    /// A question on its way: marked, perhaps read, not heard yet.
    struct Question {
        hash: InfoHash,
        asked: Asked,
        read: Option<u32>,
    }

    /// One tracker and its database, every step of theirs in any order.
    struct Site {
        rng: fastrand::Rng,
        known: KnownRecords,
        now: Millis,
        database: BTreeMap<InfoHash, u32>,
        truth: BTreeMap<InfoHash, u32>,
        questions: Vec<Question>,
        /// The batch that is being written: not committed, or committed, noted, and to be
        /// confirmed row by row.
        batch: Option<(Vec<Unwritten>, bool, bool)>,
        peers: u32,
    }

    impl Site {
        fn new(seed: u64) -> Site {
            let cache = CacheSettings { bytes_max: 1 << 20, seed };
            let listed: BTreeMap<InfoHash, u32> =
                (0..TORRENTS).map(|n| (InfoHash([n; 20]), u32::from(n) * 100)).collect();
            Site {
                rng: fastrand::Rng::with_seed(seed),
                known: KnownRecords::new(
                    cache,
                    harness::registry_settings().live,
                    harness::store(&harness::policy(), seed),
                ),
                now: Millis(1),
                truth: listed.clone(),
                database: listed,
                questions: Vec::new(),
                batch: None,
                peers: 0,
            }
        }

        fn any(&mut self) -> InfoHash {
            InfoHash([self.rng.u8(..TORRENTS); 20])
        }

        fn say(&mut self, hash: InfoHash, seeder: bool, event: Event) -> Counts {
            let peer = announcement::addr(self.peers);
            let announce =
                Announcement { info_hash: hash, peer, seeder, event, ..announcement::of(0, 0) };
            let known = self.known.peek(&hash, self.now, verdict);
            let verdict = known.unwrap_or_else(|| self.look_up(hash));
            let newcomer = Newcomer { announce: &announce, verdict };
            self.known
                .store
                .enter(&newcomer, open_at(self.now), &mut self.rng, &mut Chosen::new())
                .unwrap()
        }

        /// A question asked, answered and heard at once.
        fn look_up(&mut self, hash: InfoHash) -> Verdict {
            let asked = self.known.mark().at(self.now);
            let record =
                Record { downloaded: self.database[&hash], ..Record::plain(Listing::Listed) };
            self.known.take_answer(&hash, &record, asked);
            verdict(&record, asked.fresh_until)
        }

        fn step(&mut self) {
            self.now = self.now.plus(self.rng.u64(..200));
            match self.rng.u8(..10) {
                0 | 1 => {
                    let hash = self.any();
                    self.peers += 1;
                    self.say(hash, false, Event::Started);
                    *self.truth.get_mut(&hash).unwrap() += 1;
                    self.say(hash, true, Event::Completed);
                    if self.rng.bool() {
                        self.say(hash, true, Event::Stopped);
                    }
                }
                2 => {
                    let (hash, asked) = (self.any(), self.known.mark().at(self.now));
                    self.questions.push(Question { hash, asked, read: None });
                }
                3 | 4 => {
                    let pick = self.rng.usize(..self.questions.len().max(1));
                    if let Some(question) = self.questions.get_mut(pick) {
                        question.read = Some(self.database[&question.hash]);
                    }
                }
                5 => self.hear_one(),
                6 => self.known.make_all_stale(self.now),
                _ => self.write_on(),
            }
        }

        fn hear_one(&mut self) {
            let Some(at) = self.questions.iter().position(|question| question.read.is_some())
            else {
                return;
            };
            let Question { hash, asked, read } = self.questions.swap_remove(at);
            let record = Record { downloaded: read.unwrap(), ..Record::plain(Listing::Listed) };
            if self.known.take_answer(&hash, &record, asked) == TakenAnswer::AskAgain {
                self.look_up(hash);
            }
        }

        /// The next step of the batch that is being written.
        fn write_on(&mut self) {
            match &mut self.batch {
                None => {
                    let (mut walk, mut taken) = (Walk::default(), Vec::new());
                    self.known.store.take_unwritten(
                        &mut walk,
                        self.now,
                        self.rng.usize(1..3),
                        &mut taken,
                    );
                    taken.sort_unstable_by_key(|torrent: &Unwritten| torrent.info_hash);
                    self.batch = (!taken.is_empty()).then_some((taken, false, false));
                }
                Some((rows, committed, _)) if !*committed => {
                    rows.iter().for_each(|row| {
                        *self.database.get_mut(&row.info_hash).unwrap() += row.downloads;
                    });
                    *committed = true;
                }
                Some((rows, _, noted)) if !*noted => {
                    let written =
                        rows.iter().filter(|row| row.downloads > 0).map(|row| row.info_hash);
                    self.known.recent.note(written.collect(), false);
                    *noted = true;
                }
                Some((rows, ..)) => match rows.pop() {
                    Some(row) => self.known.confirm_written(&row.info_hash, row.downloads),
                    None => self.batch = None,
                },
            }
        }

        /// Whoever asks is told of every completion, once.
        fn check(&mut self) {
            for (hash, truth) in &self.truth {
                let swarm = self.known.store.scrape(hash).map(|counts| counts.downloaded);
                let shown =
                    swarm.or_else(|| self.known.last_known(hash).map(|record| record.downloaded));
                assert!(
                    shown.is_none_or(|shown| shown == *truth),
                    "{hash}: {shown:?}, not {truth}; in a swarm: {swarm:?}"
                );
            }
        }
    }

    fn run(seed: u64) {
        let mut site = Site::new(seed);
        for _ in 0..STEPS {
            site.step();
            site.check();
        }
        for hash in site.truth.keys().copied().collect::<Vec<_>>() {
            site.say(hash, true, Event::Stopped);
        }
        for _ in 0..100 {
            site.write_on();
        }
        assert_eq!(site.database, site.truth, "what is in the database at the end");
    }

    #[test]
    fn of_answers_that_come_out_of_order_the_one_to_the_latest_question_counts() {
        let site = Site::new(7);
        let hash = InfoHash([0; 20]);
        let known = Record { downloaded: 5, ..Record::plain(Listing::Listed) };
        let banned = Record { text: Some("why".into()), ..Record::plain(Listing::Banned) };
        let [earlier, later] = [100, 200].map(|at| site.known.mark().at(Millis(at)));
        assert_eq!(
            site.known.take_answer(&hash, &banned, later),
            TakenAnswer::Record(banned.clone())
        );
        assert_eq!(site.known.take_answer(&hash, &known, earlier), TakenAnswer::Record(banned));
        assert_eq!(
            site.known.take_answer(&hash, &known, site.known.mark().at(Millis(300))),
            TakenAnswer::Record(known)
        );
    }

    #[test]
    fn an_answer_is_believed_for_as_long_as_the_settings_said_when_it_was_asked_for() {
        let site = Site::new(7);
        let record = Record::plain(Listing::Listed);
        let until = |known: &KnownRecords, n: u8, marked: Marked| {
            known.take_answer(&InfoHash([n; 20]), &record, marked.at(Millis(100)));
            known.peek(&InfoHash([n; 20]), Millis(100), |_, until| until)
        };
        let before = site.known.mark();
        let mut live = harness::registry_live();
        live.registry.cache_ttl_ms = 7;
        site.known.live.replace(live);
        assert_eq!(until(&site.known, 1, before), Some(Millis(30_100)));
        assert_eq!(until(&site.known, 2, site.known.mark()), Some(Millis(107)));
    }

    #[test]
    fn downloads_never_dip_or_double_in_whatever_order_they_are_read_written_and_confirmed() {
        for_each_seed(60, run);
    }
}
