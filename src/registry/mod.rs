//! Which torrents are registered, and which are banned: what the database says, without waiting for it.
//!
//! Owns: the cache of verdicts, the threads that ask the database, and the queues on which their answers come back. [`Registry::peek`]
//! never waits: it is a hit, or a miss that the caller turns into a [`Registry::request`]. The answer to a request arrives in
//! the mailbox of the worker named in the ticket, whose waker is called once a batch.
//!
//! Never: decides what a verdict means (open and registered mode are `tracker`'s business), reads a ticket, or touches a socket.
//!
//! Limits: hashes queued, tickets waiting, hashes in one question to the database (`pool`), bytes of cached verdicts (`cache`).

mod bookkeeping;
mod cache;
pub mod database;
mod mailbox;
mod mysql;
mod pool;
mod source;
mod sqlite;

use std::sync::Arc;

use ahash::RandomState;
use parking_lot::Mutex;

use crate::ids::{InfoHash, Millis, Ticket};

pub use database::Backend;
pub use mailbox::{Mailboxes, Wake};
pub use pool::Settings as PoolSettings;
pub use source::Source;

use cache::{Cache, Peeked};
use pool::Pool;

/// Locks the cache is spread over; a power of two.
const CACHE_SHARDS: usize = 64;

/// What the database says of a torrent, without its texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Listed, and not banned.
    Known,
    /// Not listed.
    Unknown,
    /// Listed as banned.
    Banned,
}

/// All that the database says of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whether it is listed or banned.
    pub standing: Standing,
    /// Known torrents: the name shown in scrapes. Banned ones: the operator's reason. At most 765 bytes (255 characters of MySQL's utf8mb3).
    pub text: Option<Arc<str>>,
    /// Completed downloads, by the database's count.
    pub downloaded: u32,
}

impl Record {
    /// A torrent of which there is nothing more to say.
    pub fn plain(standing: Standing) -> Record {
        Record { standing, text: None, downloaded: 0 }
    }
}

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

/// Opens one connection to the database; called once by each thread of the pool.
pub type OpenBackend = Box<dyn Fn() -> Box<dyn Backend> + Send + Sync>;

/// The verdicts at hand and the way to those that are not.
pub struct Registry(Option<Listed>);

/// A registry with a database behind it.
struct Listed {
    keys: RandomState,
    shards: Arc<[Mutex<Cache>]>,
    pool: Pool,
}

/// Bounds of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a verdict is taken for fresh, milliseconds.
    pub cache_ttl_ms: u64,
    /// Bytes all cached verdicts may take.
    pub cache_bytes_max: usize,
    /// The threads and their queue.
    pub pool: PoolSettings,
    /// Key of the cache's hash.
    pub seed: u64,
}

impl Registry {
    /// The registry of the `memory` database: there is no list, so every torrent is known.
    pub fn memory() -> Registry {
        Registry(None)
    }

    /// Starts the threads that ask the database which `open` connects to; answers go to the mailbox of the worker in the ticket.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(settings: Settings, open: OpenBackend, mailboxes: Mailboxes<Completion>) -> std::io::Result<Registry> {
        let keys = RandomState::with_seeds(settings.seed, settings.seed.rotate_left(17), !settings.seed, 0x5bd1_e995);
        let shard = || Mutex::new(Cache::new(settings.cache_ttl_ms, settings.cache_bytes_max / CACHE_SHARDS));
        let shards: Arc<[Mutex<Cache>]> = (0..CACHE_SHARDS).map(|_| shard()).collect();
        let (store_keys, store_shards) = (keys.clone(), Arc::clone(&shards));
        let store = move |hash: &InfoHash, record: &Record, now| {
            shard_of(&store_keys, &store_shards, hash).lock().insert(*hash, record.clone(), now);
        };
        let pool = Pool::start(settings.pool, open, mailboxes, Box::new(store))?;
        Ok(Registry(Some(Listed { keys, shards, pool })))
    }

    /// Puts the next question to `backend` on the caller's thread, as a thread of the pool would: with a pool of no threads, under a
    /// virtual clock, answers come exactly when this is called. False when there is nothing to ask.
    pub fn ask_once(&self, backend: &mut dyn Backend) -> bool {
        self.0.as_ref().is_some_and(|listed| listed.pool.ask_once(backend))
    }

    /// Whether there is a list at all; without one every torrent is known, and none is worth showing before it has peers.
    pub fn is_listing(&self) -> bool {
        self.0.is_some()
    }

    /// What is known of a torrent without waiting; `None` is a miss. A verdict past its time is still a hit, and is asked for again
    /// behind the caller's back.
    pub fn peek(&self, hash: &InfoHash, now: Millis) -> Option<Standing> {
        match &self.0 {
            None => Some(Standing::Known),
            Some(listed) => listed.peek(hash, now, |record| record.standing),
        }
    }

    /// Like [`Registry::peek`], with the name or the reason of the ban.
    pub fn record(&self, hash: &InfoHash, now: Millis) -> Option<Record> {
        match &self.0 {
            None => Some(Record::plain(Standing::Known)),
            Some(listed) => listed.peek(hash, now, Record::clone),
        }
    }

    /// Asks the database for a torrent; a [`Completion`] with this ticket follows. A hash that is being asked for is not asked twice.
    ///
    /// # Errors
    /// [`LookupError::QueueFull`] at once when too many are waiting; then no completion follows.
    pub fn request(&self, hash: &InfoHash, ticket: Ticket, now: Millis) -> Result<(), LookupError> {
        match &self.0 {
            None => Err(LookupError::Unavailable),
            Some(listed) => listed.pool.request(hash, Some(ticket), now),
        }
    }
}

impl Listed {
    fn peek<T>(&self, hash: &InfoHash, now: Millis, of: impl FnOnce(&Record) -> T) -> Option<T> {
        let peeked = match shard_of(&self.keys, &self.shards, hash).lock().peek(hash, now) {
            Peeked::Fresh(record) => return Some(of(record)),
            Peeked::Stale(record) => Some(of(record)),
            Peeked::Miss => None,
        };
        if peeked.is_some() {
            // A full queue only delays the refresh: the stale verdict stands, and the next peek after `REFRESH_RETRY_MS` asks again.
            let _ = self.pool.request(hash, None, now);
        }
        peeked
    }
}

fn shard_of<'s>(keys: &RandomState, shards: &'s [Mutex<Cache>], hash: &InfoHash) -> &'s Mutex<Cache> {
    // `CACHE_SHARDS` is a power of two, so the mask is always an index.
    &shards[usize::try_from(keys.hash_one(hash) >> 40).unwrap_or(0) & (CACHE_SHARDS - 1)]
}
