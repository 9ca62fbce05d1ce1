//! All datagrams of one worker: its sockets, and the requests that wait for the registry.
//!
//! Owns: whose turn it is. A socket that has something to tell is put on a list; in each round it
//! has [`BATCHES_PER_ROUND_MAX`] batches, and stays on the list when there may be more, so that a
//! flood of datagrams leaves connections their turn. What was received together is answered
//! together, in one call. A request that waits for the registry is kept in a slot until the answer
//! comes or its time is up, and answered from the address that it was sent to.
//!
//! Never: waits, or reads a clock.
//!
//! Limits: [`WAITING_MAX`] waiting requests; one past it is told to come back. What the socket does
//! not take at once is dropped and counted.

use std::sync::Arc;

use mio::Registry;

use crate::counters::{Counter, Gauge};
use crate::frontend::{Packet, PendingDatagram, Reply, Udp};
use crate::ids::{Millis, Ticket, canonical};
use crate::registry::Completion;
use crate::server::datagrams::address::Origin;
use crate::server::datagrams::io::{BATCH_MAX, ReceiveBatch, SendBatch};
use crate::server::datagrams::socket::DatagramSocket;
use crate::server::deadline::{Deadlines, Scheduled};
use crate::server::slots::{OCCUPIED_MAX, SlotId, Slots};
use crate::tracker::{Client, Round};

/// Batches that one socket has in a round before others get their turn: as many datagrams as a
/// listener has connections.
const BATCHES_PER_ROUND_MAX: usize = 8;
/// Requests of one worker that wait for the registry.
const WAITING_MAX: usize = 16_384;
/// Rounds for what has been received when the tracker stops: more than a usual receive buffer
/// holds, and an end to a flood.
const LAST_ROUNDS_MAX: usize = 64;

/// In tickets, slots of datagrams are counted from here on, above those of all connections.
const TICKET_BASE: u32 = 1 << 31;
const _: () = assert!(OCCUPIED_MAX <= TICKET_BASE as usize);
const _: () = assert!(WAITING_MAX < TICKET_BASE as usize);

/// A request that waits.
struct WaitingDatagram {
    /// Position of its socket.
    socket: usize,
    origin: Origin,
    /// None only while it is being answered.
    pending: Option<Box<PendingDatagram>>,
    until: Millis,
    scheduled: Scheduled,
}

/// See the module.
pub(in crate::server) struct Datagrams {
    udp: Arc<Udp>,
    worker: u16,
    sockets: Vec<DatagramSocket>,
    /// Sockets that may have more to receive, by position.
    ready: Vec<usize>,
    /// The list that `ready` is exchanged for, so that no round allocates.
    spare_positions: Vec<usize>,
    /// Sockets that could not be received from: tried again at the next tick.
    failing: Vec<usize>,
    requests: ReceiveBatch,
    outbox: Outbox,
    waiting: Slots<WaitingDatagram>,
    deadlines: Deadlines,
    due: Vec<(SlotId, u64)>,
}

/// Answers that have not been sent yet, all of one socket.
struct Outbox {
    batch: SendBatch,
    socket: usize,
}

/// Whether an answer of the registry is for a datagram, not for a connection.
pub(in crate::server) fn is_of_datagram(completion: &Completion) -> bool {
    completion.ticket.slot >= TICKET_BASE
}

impl Datagrams {
    /// Serves `sockets`, as the worker of this index.
    pub(in crate::server) fn new(
        worker: u16,
        udp: Arc<Udp>,
        sockets: Vec<DatagramSocket>,
    ) -> Datagrams {
        Datagrams {
            udp,
            worker,
            sockets,
            ready: Vec::new(),
            spare_positions: Vec::new(),
            failing: Vec::new(),
            requests: ReceiveBatch::new(),
            outbox: Outbox { batch: SendBatch::new(), socket: 0 },
            waiting: Slots::new(WAITING_MAX),
            deadlines: Deadlines::new(Millis::default()),
            due: Vec::new(),
        }
    }

    /// Whether some can be received without being told of.
    pub(in crate::server) fn can_go_on(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether any request waits for the registry.
    pub(in crate::server) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A socket has something to tell. One that is on a list already will be turned to all the
    /// same.
    pub(in crate::server) fn note(&mut self, position: usize) {
        if !self.ready.contains(&position) && !self.failing.contains(&position) {
            self.ready.push(position);
        }
    }

    /// Gives each socket that has something to tell its turn; it is `unix_s` seconds by the wall
    /// clock.
    pub(in crate::server) fn serve(&mut self, unix_s: u64, round: &mut Round<'_>) {
        let spare = std::mem::take(&mut self.spare_positions);
        let mut ready = std::mem::replace(&mut self.ready, spare);
        ready.drain(..).for_each(|position| self.serve_one(position, unix_s, round));
        self.spare_positions = ready;
    }

    fn serve_one(&mut self, position: usize, unix_s: u64, round: &mut Round<'_>) {
        for _ in 0..BATCHES_PER_ROUND_MAX {
            let Some(socket) = self.sockets.get_mut(position) else { return };
            let Ok(received) = socket.receive(&mut self.requests) else {
                return self.failing.push(position);
            };
            let counters = &mut round.scratch.counters;
            counters.add(Counter::Datagram, received.count);
            counters.add(Counter::DatagramDropped, received.drops as usize);
            self.answer_batch(position, unix_s, round);
            if received.count < BATCH_MAX {
                return;
            }
        }
        self.ready.push(position);
    }

    /// Answers what was received last.
    fn answer_batch(&mut self, position: usize, unix_s: u64, round: &mut Round<'_>) {
        let Datagrams { udp, worker, sockets, requests, outbox, waiting, deadlines, .. } = self;
        for datagram in requests.datagrams() {
            let vacant = waiting.vacant();
            // Without a vacant slot a late answer finds nobody.
            let (slot, generation) = match &vacant {
                Some(vacant) => (TICKET_BASE + vacant.id().index, vacant.id().generation),
                None => (u32::MAX, 0),
            };
            let ticket = Ticket { worker: *worker, slot, generation };
            let client = Client { ip: canonical(datagram.from.ip()), is_known: true, ticket };
            let packet = Packet { bytes: datagram.bytes, client, unix_s };
            let room = outbox.room(position, sockets, round);
            let mut reply = udp.answer(&packet, round, room);
            if let (Reply::Wait { pending, .. }, None) = (&reply, &vacant) {
                reply = udp.turn_away(pending, round, room);
            }
            match (reply, vacant) {
                (Reply::Wait { pending, wait_ms }, Some(vacant)) => {
                    round.scratch.counters.raise(Gauge::WaitingRequests);
                    let (id, until) = (vacant.id(), round.now.plus(wait_ms));
                    let mut scheduled = Scheduled::default();
                    deadlines.set(id, until, &mut scheduled);
                    vacant.insert(WaitingDatagram {
                        socket: position,
                        origin: datagram.origin,
                        pending: Some(pending),
                        until,
                        scheduled,
                    });
                }
                (reply, _) => outbox.push(&reply, &datagram.origin),
            }
        }
        outbox.send(sockets, round);
    }

    /// The registry has answered a request. [`Datagrams::flush`] follows when all are handed over.
    pub(in crate::server) fn complete(&mut self, completion: Completion, round: &mut Round<'_>) {
        let Datagrams { udp, sockets, outbox, waiting, .. } = self;
        let Ticket { slot, generation, .. } = completion.ticket;
        let id = SlotId { index: slot.saturating_sub(TICKET_BASE), generation };
        let Some(found) = waiting.find(id) else {
            round.scratch.counters.count(Counter::LateAnswer);
            return;
        };
        let Some(pending) = found.pending.take() else { return };
        let (room, to) = (outbox.room(found.socket, sockets, round), found.origin);
        match udp.resume(*pending, completion, round, room) {
            // What goes on waiting keeps its slot, and so its ticket.
            Reply::Wait { pending, .. } => found.pending = Some(pending),
            reply => {
                outbox.push(&reply, &to);
                waiting.remove(id);
                round.scratch.counters.lower(Gauge::WaitingRequests);
            }
        }
    }

    /// A tick of the deadlines' wheel has passed: answers those whose time is up, and tries again
    /// what failed.
    pub(in crate::server) fn tick(&mut self, round: &mut Round<'_>) {
        self.ready.append(&mut self.failing);
        self.deadlines.take_due(round.now, &mut self.due);
        while let Some((id, tick)) = self.due.pop() {
            self.check_deadline(id, tick, round);
        }
        self.flush(round);
    }

    fn check_deadline(&mut self, id: SlotId, tick: u64, round: &mut Round<'_>) {
        let Datagrams { udp, sockets, outbox, waiting, deadlines, .. } = self;
        let found = waiting.find(id).filter(|waiting| waiting.scheduled.is(tick));
        let Some(found) = found else { return };
        if found.until > round.now {
            return deadlines.set(id, found.until, &mut found.scheduled);
        }
        let Some(WaitingDatagram { socket, origin, pending: Some(pending), .. }) =
            waiting.remove(id)
        else {
            return;
        };
        round.scratch.counters.lower(Gauge::WaitingRequests);
        let room = outbox.room(socket, sockets, round);
        let reply = udp.give_up(*pending, round, room);
        outbox.push(&reply, &origin);
    }

    /// Sends what has been answered.
    pub(in crate::server) fn flush(&mut self, round: &mut Round<'_>) {
        self.outbox.send(&self.sockets, round);
    }

    /// Answers what has been received already, but for a flood that does not end; nothing is
    /// received after that. What waits for the registry goes on waiting.
    pub(in crate::server) fn finish(
        &mut self,
        poll: &Registry,
        unix_s: u64,
        round: &mut Round<'_>,
    ) {
        self.failing.clear();
        self.ready = (0..self.sockets.len()).collect();
        for _ in 0..LAST_ROUNDS_MAX {
            self.serve(unix_s, round);
        }
        self.ready.clear();
        for socket in &mut self.sockets {
            // One that stays watched is noted, and not turned to.
            let _ = poll.deregister(&mut socket.socket);
        }
    }
}

impl Outbox {
    /// Room for the next answer, which `socket` is to send; what does not fit is sent first.
    fn room(
        &mut self,
        socket: usize,
        sockets: &[DatagramSocket],
        round: &mut Round<'_>,
    ) -> &mut [u8] {
        if socket != self.socket || self.batch.room().is_none() {
            self.send(sockets, round);
            self.socket = socket;
        }
        // An empty batch has room.
        self.batch.room().unwrap_or_default()
    }

    /// Adds the answer that stands in the room, if there is one.
    fn push(&mut self, reply: &Reply, to: &Origin) {
        if let Reply::Ready(bytes) = *reply {
            self.batch.push(bytes, to);
        }
    }

    fn send(&mut self, sockets: &[DatagramSocket], round: &mut Round<'_>) {
        if let Some(socket) = sockets.get(self.socket) {
            let unsent = socket.send(&mut self.batch);
            round.scratch.counters.add(Counter::AnswerUnsent, unsent);
        }
    }
}
