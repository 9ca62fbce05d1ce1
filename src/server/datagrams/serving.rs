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
use crate::server::datagrams::socket::BatchSocket;
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
pub(crate) struct Datagrams<S> {
    udp: Arc<Udp>,
    worker: u16,
    sockets: Vec<S>,
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
pub(crate) fn is_of_datagram(completion: &Completion) -> bool {
    completion.ticket.slot >= TICKET_BASE
}

impl<S: BatchSocket> Datagrams<S> {
    /// Serves `sockets`, as the worker of this index.
    pub(crate) fn new(worker: u16, udp: Arc<Udp>, sockets: Vec<S>) -> Datagrams<S> {
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
    pub(crate) fn can_go_on(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether any request waits for the registry.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many requests wait for the registry.
    #[cfg(test)]
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// A socket has something to tell. One that is on a list already will be turned to all the
    /// same.
    pub(crate) fn note(&mut self, position: usize) {
        if !self.ready.contains(&position) && !self.failing.contains(&position) {
            self.ready.push(position);
        }
    }

    /// Gives each socket that has something to tell its turn; it is `unix_s` seconds by the wall
    /// clock.
    pub(crate) fn serve(&mut self, unix_s: u64, round: &mut Round<'_>) {
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
            round.scratch.counters.add(Counter::BytesReceivedUdp, datagram.bytes.len());
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
                (reply, _) => outbox.push(&reply, &datagram.origin, round),
            }
        }
        outbox.send(sockets, round);
    }

    /// The registry has answered a request. [`Datagrams::flush`] follows when all are handed over.
    pub(crate) fn complete(&mut self, completion: Completion, round: &mut Round<'_>) {
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
                outbox.push(&reply, &to, round);
                waiting.remove(id);
                round.scratch.counters.lower(Gauge::WaitingRequests);
            }
        }
    }

    /// A tick of the deadlines' wheel has passed: answers those whose time is up, and tries again
    /// what failed.
    pub(crate) fn tick(&mut self, round: &mut Round<'_>) {
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
        outbox.push(&reply, &origin, round);
    }

    /// Sends what has been answered.
    pub(crate) fn flush(&mut self, round: &mut Round<'_>) {
        self.outbox.send(&self.sockets, round);
    }

    /// Answers what has been received already, but for a flood that does not end.
    pub(in crate::server) fn receive_rest(&mut self, unix_s: u64, round: &mut Round<'_>) {
        self.failing.clear();
        self.ready = (0..self.sockets.len()).collect();
        for _ in 0..LAST_ROUNDS_MAX {
            self.serve(unix_s, round);
        }
    }

    /// Receives nothing from now on. What waits for the registry goes on waiting.
    pub(in crate::server) fn leave_sockets(&mut self, poll: &Registry) {
        self.ready.clear();
        self.failing.clear();
        for socket in &mut self.sockets {
            // One that stays watched is noted, and not turned to.
            let _ = socket.unwatch(poll);
        }
    }
}

impl Outbox {
    /// Room for the next answer, which `socket` is to send; what does not fit is sent first.
    fn room(
        &mut self,
        socket: usize,
        sockets: &[impl BatchSocket],
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
    fn push(&mut self, reply: &Reply, to: &Origin, round: &mut Round<'_>) {
        if let Reply::Ready(bytes) = *reply {
            round.scratch.counters.add(Counter::BytesSentUdp, bytes);
            self.batch.push(bytes, to);
        }
    }

    fn send(&mut self, sockets: &[impl BatchSocket], round: &mut Round<'_>) {
        if let Some(socket) = sockets.get(self.socket) {
            let unsent = socket.send(&mut self.batch);
            round.scratch.counters.add(Counter::AnswerUnsent, unsent);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::counters::Counters;
    use crate::ids::InfoHash;
    use crate::listing::{Listing, Record};
    use crate::mailbox::{Mailboxes, Wake};
    use crate::registry::database::DatabaseError;
    use crate::registry::{Backend, Databases, OpenBackend, Registry};
    use crate::server::datagrams::socket::{DatagramOptions, DatagramSocket};
    use crate::tests::harness::{self, Site};
    use crate::tests::paper_ledger;
    use crate::tracker::{Scratch, Tracker};

    const WAIT: Duration = Duration::from_secs(20);
    const NOW_S: u64 = 1_700_000_040;

    /// Lists every torrent, when it is asked at last.
    struct Lists;

    impl Backend for Lists {
        fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
            Ok(hashes.iter().map(|_| Record::plain(Listing::Listed)).collect())
        }
    }

    /// One worker's datagrams over one socket, and the registry that nobody answers for.
    struct Fixture {
        site: Site,
        datagrams: Datagrams<DatagramSocket>,
        scratch: Scratch,
        counters: Counters,
        client: UdpSocket,
        id: [u8; 8],
    }

    impl Fixture {
        fn new() -> Fixture {
            let lookups = Mailboxes::new([Arc::new(|| ()) as Wake], harness::MAIL_MAX);
            let store = harness::store(&harness::policy(), harness::SEED);
            let backend: OpenBackend = Box::new(|| Box::new(Lists));
            let databases = Databases { backend, ledger: paper_ledger::away() };
            let (settings, mail) = (harness::registry_settings(), lookups.clone());
            let registry = Registry::start(&settings, databases, Arc::clone(&store), mail).unwrap();
            let tracker = Arc::new(Tracker::new(store, Arc::new(registry)));
            let live = harness::live(harness::policy());
            let site = Site::around(tracker, lookups, live, harness::REQUEST_BYTES_MAX);
            let socket = DatagramSocket::open(&DatagramOptions {
                address: "127.0.0.1:0".parse().unwrap(),
                only_v6: false,
                receive_buffer_bytes: 4 << 20,
            });
            let socket = socket.unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(socket.socket.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(WAIT)).unwrap();
            let counters = Counters::default();
            let scratch = Scratch::new(harness::SEED, counters.local());
            let datagrams = Datagrams::new(0, Arc::clone(&site.udp), vec![socket]);
            let mut fixture = Fixture { site, datagrams, scratch, counters, client, id: [0; 8] };
            fixture.send(&[&[0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80][..], &[0; 8]].concat());
            fixture.serve_until(Counter::ConnectV4, 1);
            let answer = fixture.receive();
            fixture.id.copy_from_slice(&answer[8..16]);
            fixture
        }

        fn send(&self, bytes: &[u8]) {
            assert_eq!(self.client.send(bytes).unwrap(), bytes.len());
        }

        fn receive(&self) -> Vec<u8> {
            let mut bytes = [0; 2_048];
            let count = self.client.recv(&mut bytes).expect("an answer");
            bytes[..count].to_vec()
        }

        /// Announces a torrent under a transaction id.
        fn announce(&self, torrent: u8, transaction_id: u8) {
            let head = [&self.id[..], &[0, 0, 0, 1, 0, 0, 0, transaction_id]].concat();
            let mut body = [0; 82];
            body[..20].fill(torrent);
            body[80..].copy_from_slice(&[0x1a, 0xe1]);
            self.send(&[&head[..], &body].concat());
        }

        fn with<T>(
            &mut self,
            now_ms: u64,
            act: impl FnOnce(&mut Datagrams<DatagramSocket>, &mut Round<'_>) -> T,
        ) -> T {
            let mut round = self.site.round(Millis(now_ms), &mut self.scratch);
            let result = act(&mut self.datagrams, &mut round);
            self.scratch.counters.publish();
            result
        }

        fn serve_until(&mut self, counter: Counter, wanted: u64) {
            let begun = Instant::now();
            while self.counters.count(counter) < wanted {
                assert!(begun.elapsed() < WAIT, "{} stays below {wanted}", counter.name());
                self.datagrams.note(0);
                self.with(0, |datagrams, round| datagrams.serve(NOW_S, round));
            }
        }
    }

    #[test]
    fn a_flood_has_eight_batches_in_a_round_and_the_rest_in_the_next() {
        const FLOOD: usize = BATCHES_PER_ROUND_MAX * BATCH_MAX + 10;
        let mut fixture = Fixture::new();
        (0..FLOOD).for_each(|_| fixture.send(b"senseless"));
        fixture.datagrams.note(0);
        fixture.with(0, |datagrams, round| datagrams.serve(NOW_S, round));
        let served = fixture.counters.count(Counter::NoRequest);
        assert_eq!(served, (BATCHES_PER_ROUND_MAX * BATCH_MAX) as u64, "in the first round");
        assert!(fixture.datagrams.can_go_on(), "the rest is gone on with unasked");
        fixture.with(0, |datagrams, round| datagrams.serve(NOW_S, round));
        let served = fixture.counters.count(Counter::NoRequest);
        assert_eq!(served, FLOOD as u64, "in the second round");
        assert!(!fixture.datagrams.can_go_on(), "all is received");
    }

    #[test]
    fn a_socket_is_listed_once_however_often_it_tells() {
        let mut fixture = Fixture::new();
        (0..3).for_each(|_| fixture.datagrams.note(0));
        assert_eq!(fixture.datagrams.ready, [0]);
        fixture.datagrams.failing.append(&mut fixture.datagrams.ready);
        (0..3).for_each(|_| fixture.datagrams.note(0));
        assert!(fixture.datagrams.ready.is_empty(), "a failing one waits for the tick");
        fixture.with(100, Datagrams::tick);
        assert_eq!(fixture.datagrams.ready, [0], "and is tried again then");
    }

    #[test]
    fn who_waits_is_answered_when_the_registry_has_spoken() {
        let mut fixture = Fixture::new();
        fixture.announce(1, 10);
        fixture.serve_until(Counter::Parked, 1);
        assert_eq!(fixture.counters.gauge(Gauge::WaitingRequests), 1);
        fixture.site.tracker.registry().ask_once(&mut Lists);
        let completion = fixture.site.lookups.take(0).unwrap();
        assert!(is_of_datagram(&completion), "{:?}", completion.ticket);
        let again = completion.clone();
        fixture.with(0, |datagrams, round| {
            datagrams.complete(completion, round);
            datagrams.flush(round);
        });
        assert_eq!(fixture.receive()[..8], [0, 0, 0, 1, 0, 0, 0, 10], "the announce's answer");
        assert_eq!(fixture.counters.gauge(Gauge::WaitingRequests), 0);
        fixture.announce(2, 11);
        fixture.serve_until(Counter::Parked, 2);
        fixture.with(0, |datagrams, round| datagrams.complete(again, round));
        assert_eq!(fixture.counters.count(Counter::LateAnswer), 1, "its slot is another's now");
        assert!(fixture.datagrams.is_waiting(), "the other waits on");
    }

    #[test]
    fn who_has_waited_long_enough_is_answered_without() {
        let mut fixture = Fixture::new();
        fixture.announce(1, 10);
        fixture.serve_until(Counter::Parked, 1);
        let wait_ms = fixture.site.live.connection_times.lookup_ms;
        fixture.with(wait_ms - 1, Datagrams::tick);
        assert!(fixture.datagrams.is_waiting(), "its time is not up");
        fixture.with(wait_ms + 200, Datagrams::tick);
        assert!(!fixture.datagrams.is_waiting(), "its time is up");
        let answer = fixture.receive();
        assert_eq!(answer[..8], [0, 0, 0, 3, 0, 0, 0, 10], "an error");
        assert!(answer[8..].starts_with(b"the tracker's database is away"), "{answer:?}");
        assert_eq!(fixture.counters.gauge(Gauge::WaitingRequests), 0);
    }

    #[test]
    fn past_the_bound_a_request_is_told_to_come_back() {
        let mut fixture = Fixture::new();
        fixture.datagrams.waiting = Slots::new(2);
        (1..=3).for_each(|number| fixture.announce(number, number));
        fixture.serve_until(Counter::Parked, 3);
        let answer = fixture.receive();
        assert_eq!(answer[..8], [0, 0, 0, 3, 0, 0, 0, 3], "the third gets an error");
        assert!(answer[8..].starts_with(b"the tracker is overloaded"), "{answer:?}");
        assert_eq!(fixture.counters.gauge(Gauge::WaitingRequests), 2, "the first two wait");
        fixture.site.tracker.registry().ask_once(&mut Lists);
        while let Some(completion) = fixture.site.lookups.take(0) {
            fixture.with(0, |datagrams, round| datagrams.complete(completion, round));
        }
        fixture.with(0, |datagrams, round| datagrams.flush(round));
        let mut answered = [fixture.receive()[7], fixture.receive()[7]];
        answered.sort_unstable();
        assert_eq!(answered, [1, 2], "each its own answer");
        assert_eq!(fixture.counters.count(Counter::LateAnswer), 1, "the third's finds nobody");
    }
}
