//! The threads that look up torrents in the database, and the queue before them.
//!
//! Owns: which hashes are queued or being looked up, and which tickets wait for each. A thread
//! takes what is queued, up to [`LOOKUP_HASHES_MAX`] hashes, and asks for all of them in one
//! question. A request for a hash that is queued or being looked up already only adds its ticket.
//!
//! When a question fails, every waiting ticket gets an error at once, and so does every request
//! from then on, until a thread that tries again, with growing pauses, gets an answer. So an outage
//! costs one time-out, not one for each request.
//!
//! Never: decides what is done without an answer.
//!
//! Limits: hashes queued ([`PoolSettings::queue_max`]), tickets that wait
//! ([`PoolSettings::waiters_max`]): past either, the request is refused at once. A ticket whose
//! connection has gone stays, and counts, until its hash is answered.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use ahash::RandomState;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use crate::ids::{InfoHash, Millis, Ticket};
use crate::listing::Record;
use crate::mailbox::Mailboxes;
use crate::registry::database::{Backend, DatabaseError, LOOKUP_HASHES_MAX};
use crate::registry::databases::OpenBackend;
use crate::registry::gauges::RegistryGauges;
use crate::registry::health::{Backoff, Health, Part};
use crate::registry::known_records::{Asked, KnownRecords, TakenAnswer};
use crate::registry::lookup::{Completion, LookupError};
use crate::registry::lookup_times::LookupTimes;
use crate::registry::settings::PoolSettings;

/// Asked for to find out whether the database answers: a question like any other, so that a missing
/// table is found out too.
const PROBE: [InfoHash; 1] = [InfoHash([0; 20])];

/// Handle to the threads; dropping it tells them to end. Nobody waits for the question they are at:
/// a database that does not answer would hold up the end of the process.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    lookups: Mutex<Lookups>,
    queued: Condvar,
    bounds: PoolSettings,
    /// Answers for which there was no room in a mailbox.
    dropped: AtomicU64,
    times: LookupTimes,
    mailboxes: Mailboxes<Completion>,
    known: Arc<KnownRecords>,
    health: Arc<Health>,
}

/// Tickets waiting for one hash.
type Waiting = SmallVec<[Ticket; 2]>;

#[derive(Default)]
struct Lookups {
    /// Hashes no thread has taken yet.
    queue: VecDeque<Question>,
    /// All hashes queued or being asked.
    waiting: HashMap<InfoHash, Waiting, RandomState>,
    waiters: usize,
    /// The database did not answer when it was last asked.
    silent: bool,
    /// One of the threads finds out whether it answers again.
    probing: bool,
    backoff: Backoff,
    stopping: bool,
}

#[derive(Clone, Copy)]
struct Question {
    info_hash: InfoHash,
    /// When it was first asked for.
    asked_at: Millis,
    /// Its first answer may have missed a batch that was being written.
    again: bool,
}

/// What a thread has to do next.
enum Task {
    Ask(Vec<Question>),
    Probe,
    End,
}

impl Lookups {
    fn take_batch(&mut self) -> Vec<Question> {
        let count = self.queue.len().min(LOOKUP_HASHES_MAX);
        self.queue.drain(..count).collect()
    }

    fn take_waiting(&mut self, hash: &InfoHash) -> Waiting {
        let waiting = self.waiting.remove(hash).unwrap_or_default();
        self.waiters -= waiting.len();
        waiting
    }
}

impl Pool {
    pub(super) fn start(
        settings: PoolSettings,
        open: OpenBackend,
        mailboxes: Mailboxes<Completion>,
        known: Arc<KnownRecords>,
        health: Arc<Health>,
    ) -> io::Result<Pool> {
        let shared = Arc::new(Shared {
            lookups: Mutex::default(),
            queued: Condvar::new(),
            bounds: settings,
            dropped: AtomicU64::new(0),
            times: LookupTimes::default(),
            mailboxes,
            known,
            health,
        });
        let open = Arc::new(open);
        let spawn = |number| {
            let (shared, open) = (Arc::clone(&shared), Arc::clone(&open));
            thread::Builder::new()
                .name(format!("lookup-{number}"))
                .spawn(move || shared.run(open().as_mut()))
        };
        for number in 0..settings.threads {
            spawn(number)?;
        }
        Ok(Pool(shared))
    }

    /// Does one thread's work on the caller's: puts the next question to `backend`. False when
    /// there is nothing to ask.
    pub(super) fn ask_once(&self, backend: &mut dyn Backend) -> bool {
        if self.0.lookups.lock().silent {
            self.0.probe(backend);
        }
        let batch = self.0.lookups.lock().take_batch();
        if !batch.is_empty() {
            self.0.ask(&batch, backend);
        }
        !batch.is_empty()
    }

    /// Fills in what is queued and what waits.
    pub(super) fn measure(&self, gauges: &mut RegistryGauges) {
        let lookups = self.0.lookups.lock();
        gauges.hashes_queued = lookups.queue.len();
        gauges.requests_waiting = lookups.waiters;
        gauges.lookups = self.0.times.figures();
        gauges.answers_dropped = self.0.dropped.load(Ordering::Relaxed);
    }

    /// Queues `hash`, or joins those who wait for it.
    pub(super) fn request(
        &self,
        hash: &InfoHash,
        ticket: Ticket,
        now: Millis,
    ) -> Result<(), LookupError> {
        let mut lookups = self.0.lookups.lock();
        if lookups.silent {
            return Err(LookupError::Unavailable);
        }
        if lookups.waiters >= self.0.bounds.waiters_max() {
            return Err(LookupError::QueueFull);
        }
        if !lookups.waiting.contains_key(hash) {
            if lookups.queue.len() >= self.0.bounds.queue_max {
                return Err(LookupError::QueueFull);
            }
            lookups.queue.push_back(Question { info_hash: *hash, asked_at: now, again: false });
            self.0.queued.notify_one();
        }
        lookups.waiters += 1;
        lookups.waiting.entry(*hash).or_default().push(ticket);
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
        loop {
            match self.next_task() {
                Task::Ask(batch) => self.ask(&batch, backend),
                Task::Probe => self.probe(backend),
                Task::End => return,
            }
        }
    }

    /// Waits for hashes; while the database is silent, one thread waits for the time of the next
    /// try, and the others for its success.
    fn next_task(&self) -> Task {
        let mut lookups = self.lookups.lock();
        loop {
            if lookups.stopping {
                return Task::End;
            }
            if lookups.silent && !lookups.probing {
                lookups.probing = true;
                let end = Instant::now() + lookups.backoff.next_pause();
                while !lookups.stopping && !self.queued.wait_until(&mut lookups, end).timed_out() {}
                return if lookups.stopping { Task::End } else { Task::Probe };
            }
            if !lookups.silent && !lookups.queue.is_empty() {
                return Task::Ask(lookups.take_batch());
            }
            self.queued.wait(&mut lookups);
        }
    }

    fn probe(&self, backend: &mut dyn Backend) {
        let answer = backend.lookup(&PROBE);
        self.health.note(Part::Lookups, answer.as_ref().map(|_| ()));
        let mut lookups = self.lookups.lock();
        (lookups.probing, lookups.silent) = (false, answer.is_err());
        if answer.is_ok() {
            lookups.backoff.reset();
        }
        drop(lookups);
        self.queued.notify_all();
    }

    fn ask(&self, batch: &[Question], backend: &mut dyn Backend) {
        let hashes: Vec<InfoHash> = batch.iter().map(|question| question.info_hash).collect();
        let marked = self.known.mark();
        let began = Instant::now();
        let answer =
            backend.lookup(&hashes).and_then(|records| match records.len() == hashes.len() {
                true => Ok(records),
                false => Err(DatabaseError::Away(format!(
                    "{} records for {} hashes",
                    records.len(),
                    hashes.len()
                ))),
            });
        self.times.note(began.elapsed(), answer.is_ok());
        self.health.note(Part::Lookups, answer.as_ref().map(|_| ()));
        match answer {
            Ok(records) => {
                for (question, record) in batch.iter().zip(&records) {
                    self.complete(question, record, marked.at(question.asked_at));
                }
            }
            Err(_) => self.fail(&hashes),
        }
        self.mailboxes.wake();
    }

    /// Cache first, then the waiting: a connection that is told may peek at once.
    fn complete(&self, question: &Question, record: &Record, asked: Asked) {
        let Question { info_hash, again, .. } = *question;
        let record = match self.known.take_answer(&info_hash, record, asked) {
            TakenAnswer::Record(record) => record,
            TakenAnswer::AskAgain if again => record.clone(),
            TakenAnswer::AskAgain => {
                return self.lookups.lock().queue.push_front(Question { again: true, ..*question });
            }
        };
        let waiting = self.lookups.lock().take_waiting(&info_hash);
        self.tell(waiting, info_hash, &Ok(record));
    }

    /// Tells everybody who waits, for these hashes or for any that is queued, that there is no
    /// answer.
    fn fail(&self, asked: &[InfoHash]) {
        let mut lookups = self.lookups.lock();
        lookups.silent = true;
        let queued: Vec<InfoHash> =
            lookups.queue.drain(..).map(|question| question.info_hash).collect();
        let untold: Vec<_> =
            asked.iter().chain(&queued).map(|hash| (*hash, lookups.take_waiting(hash))).collect();
        drop(lookups);
        self.queued.notify_all();
        for (hash, waiting) in untold {
            self.tell(waiting, hash, &Err(LookupError::Unavailable));
        }
    }

    fn tell(&self, waiting: Waiting, info_hash: InfoHash, outcome: &Result<Record, LookupError>) {
        for ticket in waiting {
            let completion = Completion { ticket, info_hash, outcome: outcome.clone() };
            if !self.mailboxes.put(ticket.worker, completion) {
                // Who waits for it is answered when its time is up.
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
