//! Which torrents are registered, and which are banned: what the database says, without waiting for
//! it; and what it is told.
//!
//! Owns: the verdicts at hand, the threads that talk to the database, and the queues on which
//! answers come back. [`Registry::peek`] never waits: it is a hit, or a miss that the caller turns
//! into a [`Registry::request`]. The answer to a request arrives in the mailbox of the worker named
//! in the ticket, whose waker is called once a batch.
//!
//! Never: decides who is served (open and registered mode are `tracker`'s business), reads a
//! ticket, or touches a worker's socket.
//!
//! Limits: hashes queued, tickets waiting, hashes in one question to the database (`pool`), bytes
//! of cached verdicts (`cache`), counters to be written (the torrents in memory, one batch, and
//! those of an earlier run).
//!
//! `verdicts` is what is known, in `cache` and with the swarms; `pool` asks, `flush` writes,
//! `watch` hears of changes; `recent_batches` and `health` keep these three in step; `database` is
//! what they ask of MySQL or SQLite; `saved`, in a `state_file`, is what outlives the process.

mod cache;
pub mod database;
mod flush;
mod health;
mod mailbox;
mod pool;
mod recent_batches;
mod saved;
mod state_file;
mod verdicts;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{InfoHash, Millis, Ticket};
use crate::listing::{Listing, Record, Verdict};
use crate::swarm::Store;

pub use database::{Backend, Fingerprint};
#[cfg(feature = "databases")]
pub use database::{Source, panic_is_fenced};
pub use mailbox::{Mailboxes, Wake};
pub use pool::Settings as PoolSettings;
pub use state_file::StateFile;

use database::Ledger;
#[cfg(feature = "databases")]
use database::TimeLimits;
use flush::Flusher;
use health::Health;
use pool::Pool;
use verdicts::{Terms, Verdicts, verdict};
use watch::Watcher;

/// How long writing counters to the database may take, step by step: nobody waits for it.
#[cfg(feature = "databases")]
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a lookup brought no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupError {
    /// The database did not answer.
    Unavailable,
    /// Too many lookups are queued already.
    QueueFull,
}

/// What [`Registry::request`] was asked, answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    /// Whose request it was.
    pub ticket: Ticket,
    /// The torrent that was looked up: a connection may by now be waiting for another one.
    pub info_hash: InfoHash,
    /// What the database said.
    pub outcome: Result<Record, LookupError>,
}

/// Opens one connection to the database, for a thread of the pool.
pub type OpenBackend = Box<dyn Fn() -> Box<dyn Backend> + Send + Sync>;
/// Opens one connection to the database, for what is not a lookup.
pub type OpenLedger = Box<dyn Fn() -> Box<dyn Ledger> + Send + Sync>;

/// How the registry's threads come by their connections.
pub struct Databases {
    /// For lookups.
    pub backend: OpenBackend,
    /// For the rest.
    pub ledger: OpenLedger,
}

#[cfg(feature = "databases")]
impl Databases {
    /// Connections to `source`, of which nobody waits longer than `lookup_timeout` for a lookup.
    pub fn of(source: &Source, lookup_timeout: Duration) -> Databases {
        let lookup = TimeLimits { connect: lookup_timeout, answer: lookup_timeout };
        let other = TimeLimits { connect: WRITE_TIMEOUT, answer: WRITE_TIMEOUT };
        let (backend, ledger) = (source.clone(), source.clone());
        Databases {
            backend: Box::new(move || backend.backend(lookup)),
            ledger: Box::new(move || ledger.ledger(other)),
        }
    }
}

/// The verdicts at hand and the way to those that are not.
pub struct Registry(Option<Listed>);

/// A registry with a database behind it.
struct Listed {
    verdicts: Arc<Verdicts>,
    pool: Pool,
    open: Arc<Databases>,
    flusher: Flusher,
    watcher: Watcher,
}

/// The time by the workers' clock.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Bounds and paces of the registry.
#[derive(Clone)]
pub struct Settings {
    /// How long a verdict is taken for fresh, milliseconds.
    pub cache_ttl_ms: u64,
    /// Bytes all cached verdicts may take.
    pub cache_bytes_max: usize,
    /// The threads and their queue.
    pub pool: PoolSettings,
    /// Key of the cache's hash.
    pub seed: u64,
    /// How often counters are written.
    pub flush_interval: Duration,
    /// Torrents without peers and without news for so long are deleted; none when it is zero.
    pub torrent_ttl: Duration,
    /// Where what outlives the process is kept; nowhere when there is none.
    pub state_file: Option<StateFile>,
    /// What time it is.
    pub clock: Clock,
}

impl Registry {
    /// The registry of the `memory` database: there is no list.
    pub fn memory() -> Registry {
        Registry(None)
    }

    /// Starts the threads that talk to the database; answers go to the mailbox of the worker in the
    /// ticket.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        settings: &Settings,
        open: Databases,
        store: Arc<Store>,
        mailboxes: Mailboxes<Completion>,
    ) -> io::Result<Registry> {
        let Settings { cache_ttl_ms: ttl_ms, cache_bytes_max: bytes_max, seed, .. } = *settings;
        let verdicts = Arc::new(Verdicts::new(Terms { ttl_ms, bytes_max, seed }, store));
        let health = Arc::new(Health::default());
        let saved = settings.state_file.as_ref().map(StateFile::load).unwrap_or_default();
        saved.records.into_iter().for_each(|(hash, record)| verdicts.recall(hash, record));
        let open = Arc::new(open);
        let backend: OpenBackend = {
            let open = Arc::clone(&open);
            Box::new(move || (open.backend)())
        };
        let pool = Pool::start(
            settings.pool,
            backend,
            mailboxes,
            Arc::clone(&verdicts),
            Arc::clone(&health),
        )?;
        let flusher = Flusher::start(
            settings,
            &open,
            Arc::clone(&verdicts),
            Arc::clone(&health),
            saved.batches,
        )?;
        let watcher =
            Watcher::start(Arc::clone(&settings.clock), &open, Arc::clone(&verdicts), health)?;
        Ok(Registry(Some(Listed { verdicts, pool, open, flusher, watcher })))
    }

    /// Puts the next question to `backend` on the caller's thread, as a thread of the pool would:
    /// with a pool of no threads, under a virtual clock, answers come exactly when this is
    /// called. False when there is nothing to ask.
    pub fn ask_once(&self, backend: &mut dyn Backend) -> bool {
        self.0.as_ref().is_some_and(|listed| listed.pool.ask_once(backend))
    }

    /// What is known of a torrent without waiting, as its swarm is to know it; `None` is a miss.
    /// A verdict past its time is a miss for one caller, who asks for a newer one, and
    /// meanwhile a hit for the others.
    pub fn peek(&self, hash: &InfoHash, now: Millis) -> Option<Verdict> {
        match &self.0 {
            None => Some(Verdict::NO_LIST),
            Some(listed) => listed.verdicts.peek(hash, now, verdict),
        }
    }

    /// Like [`Registry::peek`], with the name or the reason of the ban.
    pub fn record(&self, hash: &InfoHash, now: Millis) -> Option<Record> {
        match &self.0 {
            None => Some(Record::plain(Listing::NoList)),
            Some(listed) => listed.verdicts.peek(hash, now, |record, _| record.clone()),
        }
    }

    /// What was last said of a torrent, however long ago: for when no newer word is to be had.
    pub fn last_known(&self, hash: &InfoHash) -> Option<Record> {
        self.0.as_ref().and_then(|listed| listed.verdicts.last_known(hash))
    }

    /// What a swarm is to know of a torrent that was looked up. Its downloads are those of now:
    /// since the record was on its way a batch may have been written, and a swarm that began
    /// and ended meanwhile.
    pub fn verdict(&self, hash: &InfoHash, record: &Record, now: Millis) -> Verdict {
        let Some(Listed { verdicts, .. }) = &self.0 else { return Verdict::NO_LIST };
        let latest = verdicts.last_known(hash).filter(|latest| latest.listing == record.listing);
        let downloaded = latest.map_or(record.downloaded, |latest| latest.downloaded);
        Verdict { downloaded, ..verdict(record, verdicts.fresh_until(now)) }
    }

    /// What a swarm is to know that begins while nobody can be asked.
    pub fn unasked(&self, now: Millis) -> Verdict {
        self.0.as_ref().map_or(Verdict::NO_LIST, |listed| listed.verdicts.unasked(now))
    }

    /// Asks the database for a torrent; a [`Completion`] with this ticket follows. A hash that is
    /// being asked for is not asked twice.
    ///
    /// # Errors
    /// [`LookupError::QueueFull`] at once when too many are waiting, [`LookupError::Unavailable`]
    /// when the database is known to be away; then no completion follows.
    pub fn request(&self, hash: &InfoHash, ticket: Ticket, now: Millis) -> Result<(), LookupError> {
        match &self.0 {
            None => Err(LookupError::Unavailable),
            Some(listed) => listed.pool.request(hash, ticket, now),
        }
    }

    /// Has everything asked for again at once: the operator has changed something.
    pub fn reload(&self) {
        if let Some(listed) = &self.0 {
            listed.watcher.reload();
        }
    }

    /// Calls `f` for every torrent that the database lists, banned ones included; when it does not
    /// answer, for those that are at hand. Blocks: not for a worker.
    pub fn for_each_listed(&self, mut f: impl FnMut(&InfoHash, &Record)) {
        let Some(listed) = &self.0 else { return };
        if watch::read_all((listed.open.ledger)().as_mut(), &mut f).is_err() {
            listed.verdicts.for_each_listed(f);
        }
    }

    /// Writes what is to be written, for `patience` at most, and saves what outlives the process,
    /// with what could not be written.
    pub fn close(&self, patience: Duration) {
        if let Some(listed) = &self.0 {
            listed.flusher.close(patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{harness, paper_ledger};

    /// Lists every torrent with so many downloads.
    struct Counts(u32);

    impl Backend for Counts {
        fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, database::DatabaseError> {
            Ok(hashes
                .iter()
                .map(|_| Record { downloaded: self.0, ..Record::plain(Listing::Listed) })
                .collect())
        }
    }

    #[test]
    fn a_record_that_was_long_on_its_way_brings_no_old_count() {
        let mail = Mailboxes::new([Arc::new(|| ()) as Wake]);
        let backend: OpenBackend = Box::new(|| Box::new(Counts(0)));
        let databases = Databases { backend, ledger: paper_ledger::away() };
        let registry = Registry::start(
            &harness::registry_settings(),
            databases,
            harness::store(&harness::policy(), 7),
            mail.clone(),
        )
        .unwrap();
        let (hash, ticket) = (InfoHash([1; 20]), Ticket { worker: 0, slot: 0, generation: 0 });
        registry.request(&hash, ticket, Millis(1)).unwrap();
        registry.ask_once(&mut Counts(5));
        let mailed = mail.take(0).unwrap().outcome.unwrap();
        registry.request(&hash, ticket, Millis(2)).unwrap();
        registry.ask_once(&mut Counts(8));
        assert_eq!(mailed.downloaded, 5, "downloads in the answer");
        assert_eq!(
            registry.verdict(&hash, &mailed, Millis(3)).downloaded,
            8,
            "downloads in the verdict"
        );
    }
}
