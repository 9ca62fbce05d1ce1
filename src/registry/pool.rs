//! The threads that ask the database, and the queue before them.
//!
//! Owns: which hashes are queued or being asked, and which tickets wait for them. Each thread takes what has gathered, up to
//! [`BATCH_MAX`], and asks it as one question. Whoever asks for a hash that is already asked for joins those who wait.
//!
//! Never: retries (the caller's deadline decides), or logs more than once per change from answering to silent and back.
//!
//! Limits: hashes queued ([`Settings::queue_max`]), tickets that wait ([`WAITERS_PER_QUEUED`] times that): past either, the request is
//! refused at once. A ticket whose connection has gone stays until its hash is answered, and counts until then.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;

use ahash::RandomState;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use crate::ids::{InfoHash, Millis, Ticket};
use crate::registry::database::DatabaseError;
use crate::registry::{Backend, Completion, LookupError, Mailboxes, OpenBackend, Record};

/// Hashes asked in one question.
const BATCH_MAX: usize = 256;
/// Tickets that may wait, for every hash that may be queued.
const WAITERS_PER_QUEUED: usize = 4;

/// How many threads ask, and how many hashes may wait for them.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads, each with a database connection of its own. With none, somebody else has to ask.
    pub threads: usize,
    /// Hashes that may be queued.
    pub queue_max: usize,
}

/// Stores a record in the cache; the time is when it was asked for.
pub(super) type StoreRecord = Box<dyn Fn(&InfoHash, &Record, Millis) + Send + Sync>;

/// Handle to the threads; dropping it tells them to end. Nobody waits for the question they are at: a database that does not answer
/// would hold up the end of the process.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    lookups: Mutex<Lookups>,
    queued: Condvar,
    queue_max: usize,
    mailboxes: Mailboxes<Completion>,
    store: StoreRecord,
}

/// Tickets waiting for one hash; empty for a refresh that nobody waits for.
type Waiting = SmallVec<[Ticket; 2]>;

#[derive(Default)]
struct Lookups {
    /// Hashes no thread has taken yet, with the time each was first asked for.
    queue: VecDeque<(InfoHash, Millis)>,
    /// All hashes queued or being asked.
    waiting: HashMap<InfoHash, Waiting, RandomState>,
    waiters: usize,
    answering: Option<bool>,
    stopping: bool,
}

/// Hashes of one question, each with the time it was first asked for.
type Batch = Vec<(InfoHash, Millis)>;

impl Lookups {
    fn take_batch(&mut self) -> Batch {
        let count = self.queue.len().min(BATCH_MAX);
        self.queue.drain(..count).collect()
    }
}

impl Pool {
    pub(super) fn start(
        settings: Settings,
        open: OpenBackend,
        mailboxes: Mailboxes<Completion>,
        store: StoreRecord,
    ) -> io::Result<Pool> {
        let lookups = Mutex::default();
        let shared = Arc::new(Shared { lookups, queued: Condvar::new(), queue_max: settings.queue_max, mailboxes, store });
        let open = Arc::new(open);
        let spawn = |number| {
            let (shared, open) = (Arc::clone(&shared), Arc::clone(&open));
            thread::Builder::new().name(format!("lookup-{number}")).spawn(move || shared.run(open().as_mut()))
        };
        for number in 0..settings.threads {
            spawn(number)?;
        }
        Ok(Pool(shared))
    }

    /// Does one thread's work on the caller's: puts the next question to `backend`. False when there is nothing to ask.
    pub(super) fn ask_once(&self, backend: &mut dyn Backend) -> bool {
        let batch = self.0.lookups.lock().take_batch();
        if !batch.is_empty() {
            self.0.ask(&batch, backend);
        }
        !batch.is_empty()
    }

    /// Queues `hash`, or joins those who wait for it. Without a ticket nobody is told of the answer.
    pub(super) fn request(&self, hash: &InfoHash, ticket: Option<Ticket>, now: Millis) -> Result<(), LookupError> {
        let mut lookups = self.0.lookups.lock();
        if ticket.is_some() && lookups.waiters >= self.0.queue_max.saturating_mul(WAITERS_PER_QUEUED) {
            return Err(LookupError::QueueFull);
        }
        if !lookups.waiting.contains_key(hash) {
            if lookups.queue.len() >= self.0.queue_max {
                return Err(LookupError::QueueFull);
            }
            lookups.queue.push_back((*hash, now));
            self.0.queued.notify_one();
        }
        lookups.waiters += usize::from(ticket.is_some());
        lookups.waiting.entry(*hash).or_default().extend(ticket);
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.lookups.lock().stopping = true;
        self.0.queued.notify_all();
    }
}

impl Shared {
    fn run(&self, backend: &mut dyn Backend) {
        while let Some(batch) = self.wait_for_batch() {
            self.ask(&batch, backend);
        }
    }

    /// Waits for hashes; `None` when the pool is being dropped.
    fn wait_for_batch(&self) -> Option<Batch> {
        let mut lookups = self.lookups.lock();
        while lookups.queue.is_empty() && !lookups.stopping {
            self.queued.wait(&mut lookups);
        }
        (!lookups.stopping).then(|| lookups.take_batch())
    }

    fn ask(&self, batch: &[(InfoHash, Millis)], backend: &mut dyn Backend) {
        let hashes: Vec<InfoHash> = batch.iter().map(|(hash, _)| *hash).collect();
        let answer = backend.lookup(&hashes).and_then(|records| match records.len() == hashes.len() {
            true => Ok(records),
            false => Err(DatabaseError::Away(format!("{} records for {} hashes", records.len(), hashes.len()))),
        });
        self.note_health(answer.as_ref().err());
        self.complete(batch, answer.ok().as_deref());
    }

    /// Cache first, then the waiting: a connection that is told may peek at once.
    fn complete(&self, batch: &[(InfoHash, Millis)], records: Option<&[Record]>) {
        for (position, (info_hash, asked_at)) in batch.iter().enumerate() {
            let record = records.and_then(|records| records.get(position));
            if let Some(record) = record {
                (self.store)(info_hash, record, *asked_at);
            }
            for ticket in self.take_waiting(info_hash) {
                let outcome = record.cloned().ok_or(LookupError::Unavailable);
                self.mailboxes.put(ticket.worker, Completion { ticket, info_hash: *info_hash, outcome });
            }
        }
        self.mailboxes.wake();
    }

    fn take_waiting(&self, hash: &InfoHash) -> Waiting {
        let mut lookups = self.lookups.lock();
        let waiting = lookups.waiting.remove(hash).unwrap_or_default();
        lookups.waiters -= waiting.len();
        waiting
    }

    /// Logs once when the database falls silent and once when it is back.
    fn note_health(&self, error: Option<&DatabaseError>) {
        let before = self.lookups.lock().answering.replace(error.is_none());
        match (before, error) {
            (None | Some(true), Some(error)) => log::warn!("the database does not answer: {error}"),
            (Some(false), None) => log::info!("the database answers again"),
            _ => {}
        }
    }
}
