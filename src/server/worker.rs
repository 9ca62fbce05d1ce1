//! The event loop: one a core, sharing nothing with the others but the tracker.
//!
//! Owns: its listeners, its connections, their batch, and one buffer to answer from.
//! [`Worker::run`] is the whole loop.
//!
//! mio is edge-triggered: what is not followed to its end in one round (a full accept queue, a
//! connection with much to say) goes on a list and is gone on with in the next; the loop never
//! waits for an edge that will not come.
//!
//! Limits: events a round, connections accepted a round, steps a connection makes in a round,
//! connections in all.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mio::event::Event as Readiness;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::ids::{Millis, Ticket, canonical};
use crate::server::batch::Batch;
use crate::server::connection::{Connection, Limits};
use crate::server::deadline::{Deadlines, TICK_MS};
use crate::server::listener::{Accepted, Listener, turn_away};
use crate::server::per_address::PerAddress;
use crate::server::resident::{Bench, Fate, Resident, Shared};
use crate::server::slots::{OCCUPIED_MAX, SlotId, Slots};
use crate::server::stats::{Counter, Event, Stats};
use crate::swarm::Sweep;
use crate::tracker::{Completion, Desk, Tracker};
use crate::wire::reply::REPLY_BYTES_MAX;

const EVENTS_MAX: usize = 1_024;
/// The longest wait for events: deadlines are looked at once a tick.
const TICK: Duration = Duration::from_millis(TICK_MS);
/// Connections accepted from one listener before others get their turn.
const ACCEPTS_PER_ROUND_MAX: usize = 256;
/// After so long without a connection turned away or kept waiting the crowd is over, milliseconds.
const CROWD_OVER_MS: u64 = 10_000;
/// Answers of one connection in one step: room for hundreds of ordinary ones, and always for the
/// largest.
const OUTPUT_BYTES: usize = 2 * REPLY_BYTES_MAX;

/// The waker's token. Listeners count down from it; a connection's is its slot, whose index stays
/// below [`OCCUPIED_MAX`].
pub(super) const WAKER: Token = Token(usize::MAX);
/// Listeners a worker may have: tokens below the waker's that no slot ever has.
const LISTENERS_MAX: usize = 1 << 16;
const _: () = assert!(OCCUPIED_MAX < u32::MAX as usize - LISTENERS_MAX && usize::BITS == 64);

/// What all workers are given alike.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) tracker: Arc<Tracker>,
    pub(super) limits: Limits,
    /// How many workers there are.
    pub(super) workers: usize,
    /// Where each publishes its counters.
    pub(super) stats: Stats,
    /// Connections of one worker.
    pub(super) connections_max: usize,
    /// Connections of one address to one worker; 0 for no limit.
    pub(super) per_address_max: usize,
    /// Whether to stop.
    pub(super) stop: Arc<Stop>,
    /// What time is counted from.
    pub(super) epoch: Instant,
    /// Sent to a connection that is turned away.
    pub(super) farewell: Arc<[u8]>,
}

/// Tells the workers to stop; whoever begins it calls their wakers then.
#[derive(Default)]
pub(super) struct Stop(OnceLock<Instant>);

impl Stop {
    /// Has the workers stop: what is being answered then has `grace` to be answered.
    pub(super) fn begin(&self, grace: Duration) {
        self.0.get_or_init(|| Instant::now() + grace);
    }

    /// When to give up on what is being answered; nothing while there is no stopping.
    fn deadline(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

/// One worker; see the module.
pub(super) struct Worker {
    common: Common,
    index: u16,
    poll: Poll,
    listeners: Vec<Listener>,
    /// Listeners that may have more to accept.
    listening: Vec<usize>,
    /// Listeners that could accept nothing for want of descriptors or memory: tried again at the
    /// next tick.
    exhausted: Vec<usize>,
    slots: Slots<Resident>,
    /// Connections that can go on.
    busy: Vec<SlotId>,
    deadlines: Deadlines,
    due: Vec<(SlotId, u64)>,
    per_address: PerAddress,
    sweep: Sweep,
    batch: Batch,
    bench: Bench,
    counter: Counter,
    /// When a connection was last turned away or kept waiting, while that goes on.
    crowded_at: Option<Millis>,
}

impl Worker {
    /// A worker over `poll`, where its waker is registered already.
    pub(super) fn new(
        common: Common,
        index: u16,
        poll: Poll,
        mut listeners: Vec<Listener>,
    ) -> io::Result<Worker> {
        for (position, listener) in listeners.iter_mut().enumerate().take(LISTENERS_MAX) {
            poll.registry().register(
                &mut listener.socket,
                Token(WAKER.0 - 1 - position),
                Interest::READABLE,
            )?;
        }
        let bench = Bench {
            desk: Desk::new(fastrand::u64(..)),
            input: vec![0; common.limits.request_bytes_max].into(),
            output: vec![0; OUTPUT_BYTES].into(),
            now: Millis::default(),
        };
        Ok(Worker {
            listening: (0..listeners.len()).collect(),
            exhausted: Vec::new(),
            slots: Slots::new(common.connections_max),
            busy: Vec::new(),
            deadlines: Deadlines::new(bench.now),
            due: Vec::new(),
            per_address: PerAddress::new(common.per_address_max),
            sweep: Sweep::new(usize::from(index), common.workers),
            counter: Counter::new(common.stats.clone(), usize::from(index)),
            batch: Batch::new(common.limits.request_bytes_max),
            common,
            index,
            poll,
            listeners,
            bench,
            crowded_at: None,
        })
    }

    /// Serves until told to stop, then until what is being answered is answered.
    ///
    /// # Errors
    /// When the poll fails: there is no going on then.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.common.stop.deadline() {
                None => self.round(&mut events, TICK)?,
                Some(deadline) => return self.finish(&mut events, deadline),
            }
        }
    }

    fn round(&mut self, events: &mut Events, patience: Duration) -> io::Result<()> {
        self.wait(events, patience)?;
        for event in events.iter() {
            match event.token() {
                WAKER => self.take_completions(),
                token => match SlotId::of(token) {
                    Some(id) => self.ready(id, event),
                    None => self.hear(WAKER.0 - 1 - token.0),
                },
            }
        }
        self.answer_batch();
        self.go_on();
        self.accept();
        self.housekeep();
        Ok(())
    }

    /// Waits for events, for `patience` at most, and not at all while there is work left over; then
    /// reads the clock.
    fn wait(&mut self, events: &mut Events, patience: Duration) -> io::Result<()> {
        let idle = self.busy.is_empty() && self.listening.is_empty();
        let timeout = if idle { patience } else { Duration::ZERO };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => self.bench.now = super::now(self.common.epoch),
        }
        Ok(())
    }

    /// A connection's socket has something to tell.
    fn ready(&mut self, id: SlotId, event: &Readiness) {
        match self.slots.find(id).map(|resident| resident.note(event)) {
            Some(true) => self.gather(id),
            Some(false) => self.close(id),
            None => {}
        }
    }

    /// Reads from a connection, to answer it with others; one with something else to do goes its
    /// own way.
    fn gather(&mut self, id: SlotId) {
        if self.batch.is_full() {
            self.answer_batch();
        }
        let Some(resident) = self.slots.find(id) else { return };
        if !self.batch.take(id, resident) {
            self.advance(id);
        }
    }

    fn answer_batch(&mut self) {
        let shared = Shared { tracker: &self.common.tracker, limits: &self.common.limits };
        self.batch.answer(&mut self.slots, &mut self.bench, &shared);
        for at in 0.. {
            match self.batch.connection(at) {
                None => break,
                Some((id, true)) => self.close(id),
                Some((id, false)) => self.advance(id),
            }
        }
        self.batch.clear();
    }

    fn take_completions(&mut self) {
        // A completion that comes too late may be for a connection that has been read from since.
        self.answer_batch();
        while let Some(completion) = self.common.tracker.next_completion(self.index) {
            self.complete(completion);
        }
    }

    fn complete(&mut self, completion: Completion) {
        let Ticket { slot, generation, .. } = completion.ticket();
        let id = SlotId { index: slot, generation };
        let shared = Shared { tracker: &self.common.tracker, limits: &self.common.limits };
        let Some(resident) = self.slots.find(id) else { return self.counter.count(Event::Late) };
        match resident.in_round(&mut self.bench, &shared, |connection, _, round| {
            connection.complete(completion, round);
        }) {
            Some(_) => self.close(id),
            None => self.advance(id),
        }
    }

    /// Takes a connection as far as it comes.
    fn advance(&mut self, id: SlotId) {
        let shared = Shared { tracker: &self.common.tracker, limits: &self.common.limits };
        let Some(resident) = self.slots.find(id) else { return };
        match resident.advance(&mut self.bench, &shared) {
            Fate::Over => self.close(id),
            Fate::Busy => {
                if !std::mem::replace(&mut resident.listed, true) {
                    self.busy.push(id);
                }
            }
            Fate::Blocked => {
                self.deadlines.set(id, resident.connection.deadline(), &mut resident.scheduled);
                if resident.register(self.poll.registry(), id.token()).is_err() {
                    self.close(id);
                }
            }
        }
    }

    fn close(&mut self, id: SlotId) {
        if let Some(resident) = self.slots.remove(id) {
            self.per_address.leave(resident.ip);
        }
    }

    fn go_on(&mut self) {
        for id in std::mem::take(&mut self.busy) {
            if let Some(resident) = self.slots.find(id) {
                resident.listed = false;
                self.advance(id);
            }
        }
    }

    /// A listener has something to tell. One that is on a list already will be turned to all the
    /// same.
    fn hear(&mut self, position: usize) {
        if !self.listening.contains(&position) && !self.exhausted.contains(&position) {
            self.listening.push(position);
        }
    }

    fn accept(&mut self) {
        for position in std::mem::take(&mut self.listening) {
            self.accept_from(position);
        }
        self.answer_batch();
    }

    fn accept_from(&mut self, position: usize) {
        for _ in 0..ACCEPTS_PER_ROUND_MAX {
            let Some(listener) = self.listeners.get_mut(position) else { return };
            match listener.accept(&self.common.farewell) {
                Accepted::Connection(stream, peer) => self.welcome(stream, canonical(peer.ip())),
                Accepted::TurnedAway => self.note_turned_away("out of file descriptors"),
                Accepted::Drained => return,
                Accepted::Exhausted => {
                    self.note_crowd("out of file descriptors or memory");
                    return self.exhausted.push(position);
                }
            }
        }
        self.listening.push(position);
    }

    fn welcome(&mut self, stream: TcpStream, ip: IpAddr) {
        self.counter.count(Event::Accepted);
        if self.slots.is_full() {
            self.note_turned_away("as many connections as connections_max allows");
            return turn_away(stream, &self.common.farewell);
        }
        if !self.per_address.admit(ip) {
            self.counter.count(Event::TurnedAway);
            return turn_away(stream, &self.common.farewell);
        }
        let (worker, now, limits) = (self.index, self.bench.now, &self.common.limits);
        let resident = |SlotId { index: slot, generation }| {
            Resident::new(
                stream,
                ip,
                Connection::new(ip, Ticket { worker, slot, generation }, now, limits),
            )
        };
        if let Some(id) = self.slots.insert_with(resident) {
            self.gather(id);
        }
    }

    fn note_turned_away(&mut self, why: &str) {
        self.counter.count(Event::TurnedAway);
        self.note_crowd(why);
    }

    /// Connections are turned away or kept waiting: logged once for as long as it goes on.
    fn note_crowd(&mut self, why: &str) {
        if self.crowded_at.replace(self.bench.now).is_none() {
            log::warn!("worker {} turns connections away: {why}", self.index);
        }
    }

    fn note_end_of_crowd(&mut self) {
        if self.crowded_at.is_some_and(|at| self.bench.now.since(at) > CROWD_OVER_MS) {
            self.crowded_at = None;
            log::info!("worker {} has room for connections again", self.index);
        }
    }

    /// Once a round: what time has brought, and the counters.
    fn housekeep(&mut self) {
        if self.deadlines.take_due(self.bench.now, &mut self.due) {
            for (id, tick) in std::mem::take(&mut self.due) {
                self.check_deadline(id, tick);
            }
            self.listening.append(&mut self.exhausted);
            self.note_end_of_crowd();
        }
        let tracker = &self.common.tracker;
        tracker.store().sweep(&mut self.sweep, self.bench.now, tracker.swarm_limits());
        self.counter.publish(&self.bench.desk.tally);
    }

    fn check_deadline(&mut self, id: SlotId, tick: u64) {
        let shared = Shared { tracker: &self.common.tracker, limits: &self.common.limits };
        let Some(resident) = self.slots.find(id).filter(|resident| resident.scheduled.is(tick))
        else {
            return;
        };
        if resident.connection.deadline() > self.bench.now {
            return self.deadlines.set(id, resident.connection.deadline(), &mut resident.scheduled);
        }
        self.counter.count(Event::TimedOut);
        match resident
            .in_round(&mut self.bench, &shared, |connection, _, round| connection.expire(round))
        {
            Some(_) => self.close(id),
            None => self.advance(id),
        }
    }

    /// Stops accepting, after those who are queued already, answers what has arrived, and closes
    /// what is not being answered then; the rest has until the grace is over.
    fn finish(&mut self, events: &mut Events, deadline: Instant) -> io::Result<()> {
        self.listening = (0..self.listeners.len()).collect();
        while !self.listening.is_empty() && Instant::now() < deadline {
            self.accept();
        }
        self.listeners.clear();
        // Each of these rounds brings the next of those that had something to tell when it was told
        // to stop.
        for _ in 0..=self.slots.len() / EVENTS_MAX {
            self.round(events, Duration::ZERO)?;
        }
        while Instant::now() < deadline {
            let ids: Vec<SlotId> = self.slots.ids().collect();
            for id in ids {
                if self.slots.find(id).is_some_and(|resident| !resident.connection.is_answering()) {
                    self.close(id);
                }
            }
            if self.slots.is_empty() {
                break;
            }
            self.round(events, TICK)?;
        }
        self.counter.publish(&self.bench.desk.tally);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::harness;

    fn worker() -> Worker {
        let common = Common {
            tracker: Arc::new(harness::tracker(harness::policy())),
            limits: harness::LIMITS,
            workers: 1,
            stats: Stats::new(1),
            connections_max: 1,
            per_address_max: 0,
            stop: Arc::default(),
            epoch: Instant::now(),
            farewell: Arc::default(),
        };
        Worker::new(common, 0, Poll::new().unwrap(), Vec::new()).unwrap()
    }

    #[test]
    fn a_listener_is_listed_once_however_often_it_tells() {
        let mut worker = worker();
        (0..3).for_each(|_| worker.hear(0));
        assert_eq!(worker.listening, [0]);
        worker.exhausted.append(&mut worker.listening);
        (0..3).for_each(|_| worker.hear(0));
        assert_eq!((worker.listening, worker.exhausted), (vec![], vec![0]));
    }
}
