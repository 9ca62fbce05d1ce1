//! All connections of one worker.
//!
//! Owns: their slots, the batch of those that were read from, the list of those that can go on, and
//! their deadlines. Whoever has something to tell of a connection (the poll, another thread, time)
//! tells it here. A worker has TCP sockets; the simulation of the tests has streams of its own, and
//! everything else is the same.
//!
//! Never: waits, or reads a clock.
//!
//! Limits: as many connections as there are slots; when all are taken, the one that has been idle
//! longest is closed for a newcomer. In each round one turn for each of them, in the order in which
//! they came, until [`REQUESTS_PER_ROUND_MAX`] requests are answered: who waits for the next round
//! waits a few milliseconds, however much the others have sent.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use mio::Registry;

use crate::counters::{Counter, Gauge};
use crate::frontend::{Http, LateAnswer, Output};
use crate::ids::{Millis, Ticket};
use crate::server::batch::Batch;
use crate::server::connection::{Broken, Buffers, Connection, Progress};
use crate::server::conversation::Conversation;
use crate::server::crowd::{Crowd, is_crowded};
use crate::server::deadline::{Deadlines, TICK_MS};
use crate::server::parts::{Arrival, ConnectionSettings, Refused};
use crate::server::per_address::PerAddress;
use crate::server::phase::Next;
use crate::server::slots::{SlotId, Slots};
use crate::server::stream::{Readiness, Stream};
use crate::tracker::{Client, Round, Strictness};
use crate::wire::http::reply::REPLY_BYTES_MAX;

/// As many connections are checked after every change in a debug build.
const CHECKED_MAX: usize = 16;

/// Requests that are answered before the others get their turn: for those that have just come, and
/// as many for those that go on.
pub(in crate::server) const REQUESTS_PER_ROUND_MAX: u32 = 1_024;

/// See the module.
pub struct Connections<S> {
    http: Arc<Http>,
    poll: Registry,
    worker: u16,
    slots: Slots<Connection<S>>,
    batch: Batch,
    buffers: Buffers,
    /// Connections that can go on, those that waited longest first.
    can_go_on: VecDeque<SlotId>,
    /// Connections that may go on with a large body at the next tick, those that waited longest
    /// first.
    throttled: Vec<SlotId>,
    deadlines: Deadlines,
    due: Vec<(SlotId, u64)>,
    per_address: PerAddress,
    crowd: Crowd,
}

impl<S: Stream> Connections<S> {
    /// No connections yet, whose streams `poll` will watch.
    pub fn new(settings: &ConnectionSettings, http: Arc<Http>, poll: Registry) -> Connections<S> {
        let request_bytes_max = http.request_bytes_max();
        Connections {
            http,
            poll,
            worker: settings.worker,
            slots: Slots::new(settings.connections_max),
            batch: Batch::new(request_bytes_max),
            buffers: Buffers {
                input: vec![0; request_bytes_max].into(),
                output: vec![0; settings.output_bytes.max(REPLY_BYTES_MAX)].into(),
            },
            can_go_on: VecDeque::new(),
            throttled: Vec::new(),
            deadlines: Deadlines::new(Millis::default()),
            due: Vec::new(),
            per_address: settings.per_address.clone(),
            crowd: Crowd::default(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Which there are.
    pub fn ids(&self) -> Vec<SlotId> {
        self.slots.ids().collect()
    }

    /// Whether this one is still there.
    pub fn has(&mut self, id: SlotId) -> bool {
        self.slots.find(id).is_some()
    }

    /// Whether some can go on without being told of anything.
    pub fn can_go_on(&self) -> bool {
        !self.can_go_on.is_empty()
    }

    /// Takes a connection that was just accepted, and reads from it at once.
    ///
    /// # Errors
    /// The stream, and why it was not taken.
    pub fn accept(
        &mut self,
        stream: S,
        arrival: Arrival,
        round: &mut Round<'_>,
    ) -> Result<SlotId, (S, Refused)> {
        if self.batch.is_full() {
            // While the new one has no slot yet: it would be in no batch, and have no deadline.
            self.answer_batch(round);
        }
        let Arrival { ip, proxy_protocol } = arrival;
        // A trusted proxy brings everybody.
        let is_proxy = round.live.proxies.trusted.contain(ip);
        if !is_proxy && self.is_over_rate(ip, round) {
            return Err((stream, Refused::PerAddress));
        }
        if !is_proxy && !self.per_address.admit(ip) {
            return Err((stream, Refused::PerAddress));
        }
        if self.slots.is_full()
            && let Some(idle) = self.crowd.choose(&mut self.slots, &self.batch, round)
        {
            round.scratch.counters.count(Counter::Displaced);
            self.close(idle, round);
        }
        let Some(vacant) = self.slots.vacant() else {
            if !is_proxy {
                self.per_address.leave(ip);
            }
            return Err((stream, Refused::Full));
        };
        let id = vacant.id();
        let SlotId { index: slot, generation } = id;
        let ticket = Ticket { worker: self.worker, slot, generation };
        let client = Client { ip, is_known: true, ticket };
        let times = &round.live.connection_times;
        let conversation = match proxy_protocol && is_proxy {
            true => {
                let is_counted = self.per_address.is_bounded();
                Conversation::behind_preface(client, is_counted, round.now, times)
            }
            false if is_proxy => Conversation::new(client, round.now, times).of_proxy(),
            false => Conversation::new(client, round.now, times),
        };
        let counted = (!is_proxy).then_some(ip);
        vacant.insert(Connection::new(stream, counted, conversation));
        round.scratch.crowded = is_crowded(&self.slots);
        self.gather(id, round);
        self.check_after_change(round);
        Ok(id)
    }

    fn is_over_rate(&self, ip: IpAddr, round: &mut Round<'_>) -> bool {
        let Some(rate) = round.live.rates.connections else { return false };
        let buckets = &self.http.tracker().rates().connections;
        let is_over = !buckets.take(ip, rate, Strictness::Plain, round.now);
        round.scratch.counters.add(Counter::ConnectionOverRate, usize::from(is_over));
        is_over
    }

    /// A connection's stream has something to tell.
    pub fn ready(&mut self, id: SlotId, readiness: Readiness, round: &mut Round<'_>) {
        let Some(connection) = self.slots.find(id) else { return };
        match connection.note(readiness) {
            Err(Broken) => self.close(id, round),
            // It has its turn after those that wait longer.
            Ok(()) if connection.listed => {}
            Ok(()) if round.scratch.answered >= REQUESTS_PER_ROUND_MAX => {
                connection.listed = true;
                self.can_go_on.push_back(id);
            }
            Ok(()) => self.gather(id, round),
        }
        self.check_after_change(round);
    }

    /// Reads from a connection, to answer it with others; one with something else to do goes its
    /// own way.
    fn gather(&mut self, id: SlotId, round: &mut Round<'_>) {
        if self.batch.is_full() {
            self.answer_batch(round);
        }
        let Some(connection) = self.slots.find(id) else { return };
        if !self.batch.take(id, connection) {
            self.advance(id, round);
        }
    }

    /// Answers those that were read from.
    pub fn answer_batch(&mut self, round: &mut Round<'_>) {
        self.batch.answer(&mut self.slots, &mut self.buffers.output, &self.http, round);
        while let Some((id, is_broken)) = self.batch.pop() {
            if is_broken { self.close(id, round) } else { self.advance(id, round) }
        }
        self.check_after_change(round);
    }

    /// Hands over what another thread has answered. Those that were read from are answered first:
    /// an answer that comes too late may be for one of them.
    pub fn complete(&mut self, late: LateAnswer, round: &mut Round<'_>) {
        self.answer_batch(round);
        let Ticket { slot, generation, .. } = late.ticket();
        let id = SlotId { index: slot, generation };
        let Some(connection) = self.slots.find(id) else {
            round.scratch.counters.count(Counter::LateAnswer);
            return;
        };
        let mut out = Output::new(&mut self.buffers.output);
        connection.conversation.complete(late, &self.http, round, &mut out);
        match connection.send(out.filled(), round) {
            Ok(()) => self.advance(id, round),
            Err(Broken) => self.close(id, round),
        }
        self.check_after_change(round);
    }

    /// Takes a connection as far as it comes.
    fn advance(&mut self, id: SlotId, round: &mut Round<'_>) {
        let Some(connection) = self.slots.find(id) else { return };
        match connection.advance(&mut self.buffers, &self.http, round) {
            Progress::Over => self.close(id, round),
            Progress::Named(ip) => self.admit_named(id, ip, round),
            Progress::CanGoOn => {
                if !std::mem::replace(&mut connection.listed, true) {
                    self.can_go_on.push_back(id);
                }
            }
            Progress::Throttled => {
                let deadline = connection.conversation.deadline();
                self.deadlines.set(id, deadline, &mut connection.scheduled);
                if !std::mem::replace(&mut connection.listed, true) {
                    self.throttled.push(id);
                }
            }
            Progress::Blocked => {
                let deadline = connection.conversation.deadline();
                self.deadlines.set(id, deadline, &mut connection.scheduled);
                if connection.register(&self.poll, id.token()).is_err() {
                    self.close(id, round);
                }
            }
        }
    }

    /// Counts the client that a connection's preface has named, or turns it away; the connection
    /// goes on in either case.
    #[inline(never)]
    fn admit_named(&mut self, id: SlotId, ip: IpAddr, round: &mut Round<'_>) {
        let Some(connection) = self.slots.find(id) else { return };
        // The client may be another trusted proxy, which brings everybody.
        let is_proxy = round.live.proxies.trusted.contain(ip);
        if is_proxy || self.per_address.admit(ip) {
            connection.counted = (!is_proxy).then_some(ip);
            connection.conversation.admit();
        } else {
            round.scratch.counters.count(Counter::TurnedAway);
            let mut out = Output::new(&mut self.buffers.output);
            connection.conversation.turn_away(&self.http, round, &mut out);
            if let Err(Broken) = connection.send(out.filled(), round) {
                return self.close(id, round);
            }
        }
        self.advance(id, round);
    }

    fn close(&mut self, id: SlotId, round: &mut Round<'_>) {
        let Some(connection) = self.slots.remove(id) else { return };
        round.scratch.crowded = is_crowded(&self.slots);
        if let Some(ip) = connection.counted {
            self.per_address.leave(ip);
        }
        if connection.conversation.is_waiting() {
            round.scratch.counters.lower(Gauge::WaitingRequests);
        }
    }

    /// Gives one more turn to each connection that could go on, as far as there is time.
    pub fn go_on(&mut self, round: &mut Round<'_>) {
        round.scratch.answered = 0;
        for _ in 0..self.can_go_on.len() {
            if round.scratch.answered >= REQUESTS_PER_ROUND_MAX {
                break;
            }
            let Some(id) = self.can_go_on.pop_front() else { break };
            if let Some(connection) = self.slots.find(id) {
                connection.listed = false;
                self.advance(id, round);
            }
        }
        round.scratch.answered = 0;
        self.check_after_change(round);
    }

    /// Attends to the deadlines that have passed, and has those go on that waited for a tick.
    /// Whether a tick of the deadlines' wheel has passed at all.
    pub fn check_deadlines(&mut self, round: &mut Round<'_>) -> bool {
        let has_ticked = self.deadlines.take_due(round.now, &mut self.due);
        if has_ticked {
            self.can_go_on.extend(self.throttled.drain(..));
        }
        while let Some((id, tick)) = self.due.pop() {
            self.check_deadline(id, tick, round);
        }
        self.check_after_change(round);
        has_ticked
    }

    fn check_deadline(&mut self, id: SlotId, tick: u64, round: &mut Round<'_>) {
        let found = self.slots.find(id).filter(|connection| connection.scheduled.is(tick));
        let Some(connection) = found else { return };
        let mut deadline = connection.conversation.deadline();
        if connection.listed && connection.conversation.next() != Next::Write {
            // What it has sent is not read yet: it is judged after its turn.
            deadline = deadline.max(round.now.plus(TICK_MS));
        }
        if deadline > round.now {
            return self.deadlines.set(id, deadline, &mut connection.scheduled);
        }
        round.scratch.counters.count(Counter::TimedOut);
        let mut out = Output::new(&mut self.buffers.output);
        connection.conversation.expire(&self.http, round, &mut out);
        match connection.send(out.filled(), round) {
            Ok(()) => self.advance(id, round),
            Err(Broken) => self.close(id, round),
        }
    }

    /// Closes the connections that nothing is being answered to, but for those that are in the
    /// middle of something, if `spares_begun` says so.
    pub fn close_idle(&mut self, spares_begun: bool, round: &mut Round<'_>) {
        for id in self.ids() {
            let Some(Connection { conversation, .. }) = self.slots.find(id) else { continue };
            let is_spared = spares_begun && conversation.is_under_way();
            if !conversation.is_answering() && !is_spared {
                self.close(id, round);
            }
        }
        self.check_after_change(round);
    }

    fn check_after_change(&self, round: &Round<'_>) {
        if cfg!(debug_assertions) && self.slots.len() <= CHECKED_MAX {
            // A worker's datagrams may have raised the gauge as well.
            let waiting_count = self.check_connections();
            let gauge = round.scratch.counters.gauge(Gauge::WaitingRequests);
            assert!(gauge >= waiting_count, "{waiting_count} wait, and the gauge says {gauge}");
        }
    }

    /// Panics when a connection could be forgotten, or the gauge of waiting requests is not that of
    /// the connections and of so many datagrams. Looks at every slot and every deadline.
    pub fn check_invariants(&self, datagrams_waiting: usize, round: &Round<'_>) {
        self.slots.check_invariants();
        let waiting_count = self.check_connections() + datagrams_waiting as u64;
        let gauge = round.scratch.counters.gauge(Gauge::WaitingRequests);
        assert_eq!(gauge, waiting_count, "the gauge of waiting requests, and those that wait");
        for (id, connection) in self.slots.iter().filter(|(id, it)| self.is_blocked(*id, it)) {
            let scheduled = connection.scheduled;
            assert!(self.deadlines.holds(id, scheduled), "{id:?} has no deadline in the wheel");
        }
    }

    /// How many connections have a request that waits.
    fn check_connections(&self) -> u64 {
        let mut waiting_count = 0;
        for (id, connection) in self.slots.iter() {
            waiting_count += u64::from(connection.conversation.is_waiting());
            let lists = self.can_go_on.iter().chain(&self.throttled);
            let listed_count = lists.filter(|listed| **listed == id).count();
            let expected = usize::from(connection.listed);
            assert_eq!(listed_count, expected, "how often {id:?} is to be given a turn");
            let deadline = connection.conversation.deadline();
            assert!(
                !self.is_blocked(id, connection)
                    || self.deadlines.is_in_time(deadline, connection.scheduled),
                "{id:?} waits until {deadline:?}, and is looked at too late"
            );
        }
        waiting_count
    }

    /// Whether a connection goes on only when it is told of something, or at its deadline.
    fn is_blocked(&self, id: SlotId, connection: &Connection<S>) -> bool {
        !connection.listed && !self.batch.holds(id)
    }
}
