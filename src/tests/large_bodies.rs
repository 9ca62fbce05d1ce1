//! Full scrapes on their way through a worker's connections, under a clock that the test turns:
//! what they may take together, and how long each may take.

use std::net::IpAddr;

use mio::Poll;

use crate::config::FullScrape as WhoMayAsk;
use crate::frontend::{LargeBody, LateAnswer};
use crate::ids::{Millis, Ticket};
use crate::server::{Arrival, ConnectionSettings, Connections, PerAddress, SlotId};
use crate::tests::harness;
use crate::tests::simulated_stream::{SimulatedPeer, SimulatedStream, pair};
use crate::tracker::{Round, Scratch};
use crate::wire::http::reply::REPLY_BYTES_MAX;

const BODY_BYTES: usize = 4_000_000;
const BYTES_PER_S: u64 = 1_000_000;
/// Four senders, and four times their share of the rate: 4 MB x 4 x 4 / 1 MB/s.
const BODY_MS_MAX: u64 = 64_000;
/// From one tick of a worker to the next.
const TICK_MS: u64 = 100;
/// What the rate allows beside: a quarter of a second saved up, and a piece.
const BESIDE_BYTES: usize = 250_000 + 128 * 1024;

/// A worker with as many readers as may be sent to at once; their windows are closed.
struct Worker {
    now: Millis,
    site: harness::Site,
    scratch: Scratch,
    connections: Connections<SimulatedStream>,
    readers: Vec<(SlotId, SimulatedPeer)>,
    _poll: Poll,
}

impl Worker {
    fn new() -> Worker {
        let mut live = harness::live(harness::policy());
        live.full_scrape.who = WhoMayAsk::On;
        live.full_scrape.bytes_per_s = BYTES_PER_S;
        let site = harness::Site::of(live, true, harness::REQUEST_BYTES_MAX);
        let poll = Poll::new().unwrap();
        let settings = ConnectionSettings {
            worker: 0,
            connections_max: 10,
            per_address: PerAddress::default(),
            output_bytes: REPLY_BYTES_MAX,
        };
        let watched = poll.registry().try_clone().unwrap();
        let mut worker = Worker {
            now: Millis(1_000),
            connections: Connections::new(&settings, site.http.clone(), watched),
            site,
            scratch: harness::scratch(harness::SEED),
            readers: Vec::new(),
            _poll: poll,
        };
        for (last, body) in (1..).zip(LargeBody::all_of(&vec![b'x'; BODY_BYTES])) {
            worker.request([192, 0, 2, last].into(), body);
        }
        worker
    }

    fn lend(&mut self) -> (&mut Connections<SimulatedStream>, Round<'_>) {
        let round = self.site.round(self.now, &mut self.scratch);
        (&mut self.connections, round)
    }

    /// Somebody asks for the full scrape, and another thread has made it.
    fn request(&mut self, ip: IpAddr, body: LargeBody) {
        let (stream, peer) = pair();
        peer.deliver(b"GET /scrape HTTP/1.1\r\n\r\n", false);
        let (connections, mut round) = self.lend();
        let arrival = Arrival { ip, proxy_protocol: false };
        let Ok(slot) = connections.accept(stream, arrival, &mut round) else { panic!("full") };
        connections.answer_batch(&mut round);
        let SlotId { index, generation } = slot;
        let ticket = Ticket { worker: 0, slot: index, generation };
        connections.complete(LateAnswer::FullScrape(ticket, Ok(body)), &mut round);
        self.readers.push((slot, peer));
    }

    /// A tick passes: rounds until nothing can go on. How many there were.
    fn tick(&mut self) -> usize {
        self.now = self.now.plus(TICK_MS);
        let events: Vec<_> =
            self.readers.iter().map(|(id, peer)| (*id, peer.take_event())).collect();
        let (connections, mut round) = self.lend();
        for (id, event) in events {
            if let Some(event) = event {
                connections.ready(id, event, &mut round);
            }
        }
        connections.answer_batch(&mut round);
        connections.check_deadlines(&mut round);
        let mut rounds = 0;
        while connections.can_go_on() {
            connections.go_on(&mut round);
            rounds += 1;
            assert!(rounds < 1_000, "a connection goes on for ever within one tick");
        }
        rounds
    }

    fn sent(&self) -> Vec<usize> {
        self.readers.iter().map(|(_, peer)| peer.sent().len()).collect()
    }
}

#[test]
fn large_bodies_keep_one_pace_together_and_share_it_evenly() {
    let mut worker = Worker::new();
    worker.readers.iter().for_each(|(_, peer)| peer.open_window(usize::MAX));
    let (mut rounds, seconds) = (0, 10);
    (0..seconds * 1_000 / TICK_MS).for_each(|_| rounds += worker.tick());
    let sent = worker.sent();
    let all: usize = sent.iter().sum();
    let whole = usize::try_from(seconds * BYTES_PER_S).unwrap();
    assert!(all <= whole + BESIDE_BYTES, "{all} bytes in {seconds} s, {whole} are allowed");
    assert!(all >= whole * 9 / 10, "{all} bytes in {seconds} s, of {whole}");
    let spread = sent.iter().max().unwrap() - sent.iter().min().unwrap();
    assert!(spread <= 2 * 128 * 1024, "uneven: {sent:?}");
    assert!(rounds < 500, "{rounds} rounds for {all} bytes: a busy loop");
    (0..8_000 / TICK_MS).for_each(|_| rounds += worker.tick());
    assert!(
        worker.sent().iter().all(|sent| *sent > BODY_BYTES),
        "not through: {:?}",
        worker.sent()
    );
}

#[test]
fn announces_are_answered_at_once_while_large_bodies_wait_for_their_pace() {
    let mut worker = Worker::new();
    worker.readers.iter().for_each(|(_, peer)| peer.open_window(usize::MAX));
    worker.tick();
    let (stream, peer) = pair();
    peer.open_window(usize::MAX);
    peer.deliver(b"GET / HTTP/1.1\r\n\r\n", false);
    let (connections, mut round) = worker.lend();
    let arrival = Arrival { ip: [192, 0, 2, 77].into(), proxy_protocol: false };
    assert!(connections.accept(stream, arrival, &mut round).is_ok(), "accepted");
    connections.answer_batch(&mut round);
    assert!(peer.sent().starts_with(b"HTTP/1.1 200 OK"), "it has to wait for others");
}

#[test]
fn a_reader_that_takes_a_byte_now_and_then_is_cut_off_after_one_total_time() {
    let mut worker = Worker::new();
    for ms in (TICK_MS..).step_by(100).take_while(|ms| *ms < BODY_MS_MAX) {
        worker.readers.iter().for_each(|(_, peer)| peer.open_window(1));
        worker.tick();
        assert!(worker.readers.iter().all(|(_, peer)| !peer.is_closed()), "closed after {ms} ms");
    }
    (0..3).for_each(|_| assert!(worker.tick() < 100, "a busy loop"));
    assert!(worker.readers.iter().all(|(_, peer)| peer.is_closed()), "copies are held for ever");
    assert!(worker.connections.is_empty(), "their slots are free");
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off_after_send_timeout() {
    let mut worker = Worker::new();
    worker.readers[0].1.open_window(usize::MAX);
    let ms = worker.site.live.connection_times.send_ms;
    (0..ms / TICK_MS + 2).for_each(|_| {
        worker.tick();
    });
    let (_, steady) = worker.readers.remove(0);
    assert!(worker.readers.iter().all(|(_, peer)| peer.is_closed()), "held past send_timeout");
    assert!(!steady.is_closed(), "who reads is cut off");
    assert!(steady.sent().len() > BODY_BYTES, "who reads has not had the whole rate");
}
