//! The event loop: one for each core, sharing nothing with the others but the tracker.
//!
//! Owns: its listeners, its connections, its scratch memory and counters. [`Worker::run`] is the
//! whole loop: wait for events, read the clock and the settings once, attend to each event, answer
//! what was read, go on with what was left over, accept, and look at deadlines and expiry.
//!
//! mio is edge-triggered: what is not followed to its end in one round (a full accept queue, a
//! connection with much to say) goes on a list and is gone on with in the next; the loop never
//! waits for an edge that will not come.
//!
//! Limits: events a round, connections accepted a round, steps a connection makes in a round,
//! connections in all.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::config::LiveReader;
use crate::counters::{Counter, Gauge};
use crate::frontend::LateAnswer;
use crate::ids::{Millis, canonical};
use crate::server::connections::{Connections, REQUESTS_PER_ROUND_MAX};
use crate::server::crowd::TurningAway;
use crate::server::datagrams::{DatagramSocket, Datagrams, is_of_datagram};
use crate::server::deadline::TICK_MS;
use crate::server::listener::{Accepted, Listener, turn_away};
use crate::server::meter::{Meter, unix_s};
use crate::server::parts::{Arrival, ConnectionSettings, Own, Refused, WorkerShared};
use crate::server::slots::{OCCUPIED_MAX, SlotId};
use crate::server::standstill::Standstill;
use crate::server::stop::{Stop, Stopping};
use crate::swarm::Sweep;
use crate::tracker::{Round, Scratch};
use crate::wire::http::reply::REPLY_BYTES_MAX;

const EVENTS_MAX: usize = 1_024;
/// The longest wait for events: deadlines are looked at once a tick.
const TICK: Duration = Duration::from_millis(TICK_MS);
/// How often a worker that stops looks whether all have come for their last answer.
const DRAIN_TICK: Duration = Duration::from_millis(10);
/// Connections accepted from one listener before others get their turn.
const ACCEPTS_PER_ROUND_MAX: usize = 256;
/// Answers of one connection in one step: room for hundreds of ordinary ones, and always for the
/// largest.
const OUTPUT_BYTES: usize = 2 * REPLY_BYTES_MAX;
/// How long the rest of a request is waited for whose beginning has come when accepting ends.
const BEGUN_REQUEST_MAX: Duration = Duration::from_millis(500);

/// The waker's token. Listeners count down from it, and datagram sockets from the last of them; a
/// connection's is its slot, whose index stays below [`OCCUPIED_MAX`].
pub(in crate::server) const WAKER: Token = Token(usize::MAX);
/// Listeners a worker may have: tokens below the waker's that no slot ever has.
const LISTENERS_MAX: usize = 1 << 16;
/// Datagram sockets, likewise.
const DATAGRAM_SOCKETS_MAX: usize = 1 << 16;
const _: () = assert!(
    OCCUPIED_MAX < u32::MAX as usize - LISTENERS_MAX - DATAGRAM_SOCKETS_MAX && usize::BITS == 64
);

/// One worker; see the module.
pub(in crate::server) struct Worker {
    shared: WorkerShared,
    stop: Arc<Stop>,
    index: u16,
    poll: Poll,
    listeners: Vec<Listener>,
    /// Listeners that may have more to accept, by position.
    listening: Vec<usize>,
    /// The list that `listening` is exchanged for, so that no round allocates.
    spare_positions: Vec<usize>,
    /// Listeners that could accept nothing for want of descriptors or memory: tried again at the
    /// next tick.
    exhausted: Vec<usize>,
    connections: Connections<TcpStream>,
    datagrams: Datagrams<DatagramSocket>,
    scratch: Scratch,
    live: LiveReader,
    now: Millis,
    standstill: Standstill,
    meter: Meter,
    sweep: Sweep,
    turning_away: TurningAway,
    /// Kept-alive connections are closed with their next answer: it is about to stop.
    closing: bool,
}

impl Worker {
    /// A worker over its poll and its sockets.
    ///
    /// # Errors
    /// When the poll cannot watch one of them.
    pub(in crate::server) fn new(
        shared: WorkerShared,
        own: Own,
        stop: Arc<Stop>,
    ) -> io::Result<Worker> {
        let Own { index, workers, poll, mut listeners, mut datagram_sockets, seed } = own;
        for (position, listener) in listeners.iter_mut().enumerate().take(LISTENERS_MAX) {
            let token = Token(WAKER.0 - 1 - position);
            poll.registry().register(&mut listener.socket, token, Interest::READABLE)?;
        }
        for (position, own) in datagram_sockets.iter_mut().enumerate().take(DATAGRAM_SOCKETS_MAX) {
            let token = Token(WAKER.0 - 1 - LISTENERS_MAX - position);
            poll.registry().register(&mut own.socket, token, Interest::READABLE)?;
        }
        let settings = ConnectionSettings {
            worker: index,
            connections_max: shared.connections_max,
            per_address: shared.per_address.clone(),
            output_bytes: OUTPUT_BYTES,
        };
        let watched = poll.registry().try_clone()?;
        let worker = Worker {
            stop,
            index,
            listening: (0..listeners.len()).collect(),
            spare_positions: Vec::new(),
            exhausted: Vec::new(),
            connections: Connections::new(&settings, Arc::clone(&shared.http), watched),
            datagrams: Datagrams::new(index, Arc::clone(&shared.udp), datagram_sockets),
            scratch: Scratch::new(seed, shared.counters.local()),
            live: shared.live.reader(),
            now: Millis::default(),
            standstill: Standstill::default(),
            meter: Meter::default(),
            sweep: Sweep::new(usize::from(index), workers),
            turning_away: TurningAway::default(),
            closing: false,
            shared,
            poll,
            listeners,
        };
        worker.apply_send_timeout();
        Ok(worker)
    }

    /// Serves until told to stop, then until what is being answered is answered.
    ///
    /// # Errors
    /// When the poll fails: there is no going on then.
    pub(in crate::server) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.stop.begun() {
                None => self.round(&mut events, TICK)?,
                Some(stopping) => return self.finish(&mut events, stopping),
            }
        }
    }

    fn round(&mut self, events: &mut Events, wait: Duration) -> io::Result<()> {
        self.wait(events, wait)?;
        for event in events.iter() {
            match event.token() {
                WAKER => self.take_late_answers(),
                token => match SlotId::of(token) {
                    Some(id) => {
                        let (connections, mut round) = self.lend();
                        connections.ready(id, event.into(), &mut round);
                    }
                    None => self.note_socket(WAKER.0 - 1 - token.0),
                },
            }
        }
        let (connections, mut round) = self.lend();
        connections.answer_batch(&mut round);
        connections.go_on(&mut round);
        self.accept();
        self.serve_datagrams();
        if self.standstill.lasts() {
            let no_more = !self.connections.can_go_on() && self.listening.is_empty();
            let all_read = no_more && events.iter().count() < EVENTS_MAX;
            self.standstill.end_if(all_read, self.now);
        }
        self.housekeep();
        Ok(())
    }

    /// Waits for events, for `wait` at most, and not at all while there is work left over; then
    /// reads the clock and looks for newer settings.
    fn wait(&mut self, events: &mut Events, wait: Duration) -> io::Result<()> {
        let has_work = self.connections.can_go_on() || self.datagrams.can_go_on();
        let idle = !has_work && self.listening.is_empty() && !self.standstill.lasts();
        let polled = self.poll.poll(events, Some(if idle { wait } else { Duration::ZERO }));
        if matches!(&polled, Err(error) if error.kind() != ErrorKind::Interrupted) {
            return polled;
        }
        let before = std::mem::replace(&mut self.now, self.meter.begin(self.shared.epoch));
        self.standstill.note_poll(before, self.now, polled.is_ok());
        if self.live.look() {
            self.apply_send_timeout();
        }
        Ok(())
    }

    fn apply_send_timeout(&self) {
        let send_timeout = Duration::from_millis(self.live.seen().connection_times.send_ms);
        self.listeners.iter().for_each(|listener| listener.give_up_after(send_timeout));
    }

    /// The connections, and this round to serve them in.
    fn lend(&mut self) -> (&mut Connections<TcpStream>, Round<'_>) {
        let Worker { connections, scratch, live, now, closing, .. } = self;
        (connections, Round { now: *now, live: live.seen(), closing: *closing, scratch })
    }

    /// The datagrams, and this round to serve them in.
    fn lend_datagrams(&mut self) -> (&mut Datagrams<DatagramSocket>, Round<'_>) {
        let Worker { datagrams, scratch, live, now, closing, .. } = self;
        (datagrams, Round { now: *now, live: live.seen(), closing: *closing, scratch })
    }

    fn take_late_answers(&mut self) {
        while let Some(late) = self.next_late_answer() {
            match late {
                LateAnswer::Lookup(completion) if is_of_datagram(&completion) => {
                    let (datagrams, mut round) = self.lend_datagrams();
                    datagrams.complete(completion, &mut round);
                }
                late => {
                    let (connections, mut round) = self.lend();
                    connections.complete(late, &mut round);
                }
            }
        }
        let (datagrams, mut round) = self.lend_datagrams();
        datagrams.flush(&mut round);
    }

    fn next_late_answer(&self) -> Option<LateAnswer> {
        let lookup = self.shared.lookups.take(self.index).map(LateAnswer::Lookup);
        lookup.or_else(|| self.shared.http.take_full_scrape(self.index))
    }

    /// A listener or a datagram socket has something to tell.
    fn note_socket(&mut self, position: usize) {
        match position.checked_sub(LISTENERS_MAX) {
            None => self.note_listener(position),
            Some(position) => self.datagrams.note(position),
        }
    }

    /// One that is on a list already will be turned to all the same.
    fn note_listener(&mut self, position: usize) {
        if !self.listening.contains(&position) && !self.exhausted.contains(&position) {
            self.listening.push(position);
        }
    }

    fn accept(&mut self) {
        let spare = std::mem::take(&mut self.spare_positions);
        let mut listening = std::mem::replace(&mut self.listening, spare);
        listening.drain(..).for_each(|position| self.accept_from(position));
        self.spare_positions = listening;
        let (connections, mut round) = self.lend();
        connections.answer_batch(&mut round);
    }

    fn serve_datagrams(&mut self) {
        if self.datagrams.can_go_on() {
            let (datagrams, mut round) = self.lend_datagrams();
            datagrams.serve(unix_s(), &mut round);
        }
    }

    fn accept_from(&mut self, position: usize) {
        for _ in 0..ACCEPTS_PER_ROUND_MAX {
            if self.scratch.answered >= REQUESTS_PER_ROUND_MAX {
                break;
            }
            let Some(listener) = self.listeners.get_mut(position) else { return };
            match listener.accept(&self.shared.overloaded) {
                Accepted::Connection(stream, peer) => {
                    let proxy_protocol = listener.proxy_protocol;
                    self.take_in(stream, Arrival { ip: canonical(peer.ip()), proxy_protocol });
                }
                Accepted::TurnedAway => {
                    self.scratch.counters.count(Counter::TurnedAway);
                    self.note_crowd("out of file descriptors");
                }
                Accepted::Drained => return,
                Accepted::Exhausted => {
                    self.note_crowd("out of file descriptors or memory");
                    return self.exhausted.push(position);
                }
            }
        }
        self.listening.push(position);
    }

    fn take_in(&mut self, stream: TcpStream, arrival: Arrival) {
        self.scratch.counters.count(Counter::Accepted);
        let (connections, mut round) = self.lend();
        let Err((stream, why)) = connections.accept(stream, arrival, &mut round) else { return };
        self.scratch.counters.count(Counter::TurnedAway);
        if why == Refused::Full {
            self.note_crowd("as many connections as connections_max allows");
        }
        turn_away(stream, &self.shared.overloaded);
    }

    fn note_crowd(&mut self, why: &str) {
        self.turning_away.note(self.now, self.index, why);
    }

    /// Once a round: what time has brought, and the counters.
    fn housekeep(&mut self) {
        let judges = !self.standstill.lasts();
        let (connections, mut round) = self.lend();
        if judges && connections.check_deadlines(&mut round) {
            self.listening.append(&mut self.exhausted);
            self.turning_away.look(self.now, self.index);
            let (datagrams, mut round) = self.lend_datagrams();
            datagrams.tick(&mut round);
        }
        let limits = &self.live.seen().swarm;
        let store = self.shared.http.tracker().store();
        store.sweep(&mut self.sweep, self.now, limits);
        if store.take_full() {
            log::warn!(
                "tracker.peers_max or tracker.torrents_max is reached: peers of the addresses that \
                 have most make room for newcomers"
            );
        }
        self.scratch.counters.set(Gauge::OpenConnections, self.connections.len());
        if self.meter.end(&self.scratch.counters, self.shared.epoch, self.now) {
            self.scratch.counters.note_round(self.now);
            self.scratch.counters.publish();
        }
    }

    /// Serves on while connections that clients keep open come for their last answer, then stops
    /// accepting, answers what has arrived, and closes what is not being answered then, requests
    /// that have begun to arrive a little later. The rest has until the deadline.
    fn finish(&mut self, events: &mut Events, stopping: Stopping) -> io::Result<()> {
        self.drain(events, stopping)?;
        self.leave_sockets(stopping);
        // One round attends to EVENTS_MAX connections at most, and any of them may have had a
        // request waiting in its socket when the stop was asked for.
        for _ in 0..=self.connections.len() / EVENTS_MAX {
            self.round(events, Duration::ZERO)?;
        }
        let spared_until = Instant::now() + BEGUN_REQUEST_MAX;
        while Instant::now() < stopping.deadline {
            let (connections, mut round) = self.lend();
            connections.close_idle(Instant::now() < spared_until, &mut round);
            if connections.is_empty() && !self.datagrams.is_waiting() {
                break;
            }
            self.round(events, DRAIN_TICK)?;
        }
        self.scratch.counters.publish();
        Ok(())
    }

    /// Serves everybody, and closes each connection with its next answer, until no worker has one
    /// left of those that were open when this began.
    fn drain(&mut self, events: &mut Events, stopping: Stopping) -> io::Result<()> {
        self.closing = true;
        let mut kept = self.connections.ids();
        let mut drained = self.stop.note_drained(kept.is_empty());
        let mut looked_at = Instant::now();
        while !self.stop.all_drained(stopping.workers) && Instant::now() < stopping.drain_until {
            self.round(events, DRAIN_TICK)?;
            if !drained && looked_at.elapsed() >= DRAIN_TICK {
                kept.retain(|id| self.connections.has(*id));
                drained = self.stop.note_drained(kept.is_empty());
                looked_at = Instant::now();
            }
        }
        Ok(())
    }

    /// Lets go of listeners and datagram sockets. Who is queued in them is for the successor, if
    /// there is one, and is answered otherwise.
    fn leave_sockets(&mut self, stopping: Stopping) {
        self.listening.clear();
        if !stopping.has_successor {
            self.listening = (0..self.listeners.len()).collect();
        }
        while !self.listening.is_empty() && Instant::now() < stopping.deadline {
            self.accept();
        }
        let Worker { datagrams, listeners, scratch, live, now, poll, closing, .. } = self;
        for listener in listeners.iter_mut() {
            // Somebody else may have the socket too, and then the poll goes on watching it.
            let _ = poll.registry().deregister(&mut listener.socket);
        }
        listeners.clear();
        let mut round = Round { now: *now, live: live.seen(), closing: *closing, scratch };
        if !stopping.has_successor {
            datagrams.receive_rest(unix_s(), &mut round);
        }
        datagrams.leave_sockets(poll.registry());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LiveSettings;
    use crate::counters::Counters;
    use crate::server::per_address::PerAddress;
    use crate::tests::harness;

    fn worker() -> Worker {
        let site = harness::Site::new(harness::policy());
        let shared = WorkerShared {
            http: Arc::clone(&site.http),
            udp: Arc::clone(&site.udp),
            lookups: site.lookups.clone(),
            live: LiveSettings::new(site.live.clone()),
            counters: Counters::default(),
            connections_max: 1,
            per_address: PerAddress::default(),
            epoch: Instant::now(),
            overloaded: Arc::default(),
        };
        let poll = Poll::new().unwrap();
        let own = Own {
            index: 0,
            workers: 1,
            poll,
            listeners: Vec::new(),
            datagram_sockets: Vec::new(),
            seed: 7,
        };
        Worker::new(shared, own, Arc::default()).unwrap()
    }

    #[test]
    fn a_listener_is_listed_once_however_often_it_tells() {
        let mut worker = worker();
        (0..3).for_each(|_| worker.note_listener(0));
        assert_eq!(worker.listening, [0]);
        worker.exhausted.append(&mut worker.listening);
        (0..3).for_each(|_| worker.note_listener(0));
        assert!(worker.listening.is_empty(), "an exhausted one waits for the tick");
        assert_eq!(worker.exhausted, [0]);
    }
}
