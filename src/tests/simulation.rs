//! A simulated site: seeded clients, a network that cuts and stalls as it likes, a registry that
//! answers late, wrongly timed or not at all, and a clock that somebody turns. Connection, tracker,
//! registry, swarms and slots are the real ones; only the sockets are not.
//!
//! Every client has a torrent of its own, so what it must be told follows from its own requests
//! alone, whatever happens to the others. Checked: each gets the answers to its requests, in their
//! order, and nothing else; one that resets gets nothing more, and whoever has its slot next gets
//! nothing of its; a late answer finds nobody.
//!
//! `ANNOUNCED_SEED=n` replays one run.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::ids::{InfoHash, Millis, Ticket};
use crate::listing::{Listing, Record};
use crate::registry::database::DatabaseError;
use crate::registry::{self, Backend, Databases, Mailboxes, OpenBackend, Registry, Wake};
use crate::server::{Connection, Limits, Next, Round, SlotId, Slots};
use crate::tests::harness::{self, Bench, Seat, no_full_scrape, policy};
use crate::tests::paper_ledger;
use crate::tracker::{Desk, Tracker};
use crate::wire::reply::REPLY_BYTES_MAX;

const RUNS: u64 = 200;
const STEPS: usize = 600;
const CLIENTS_MAX: usize = 6;
const LIMITS: Limits = Limits { request_bytes_max: 1_024, ..harness::LIMITS };

/// What a client asks, and so what it is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    Announce,
    Scrape,
    Index,
    /// Ends the connection.
    Garbage,
}

/// What the registry says of a torrent: its first byte decides.
fn listing(hash: &InfoHash) -> Listing {
    match hash.0[0] % 3 {
        0 => Listing::Listed,
        1 => Listing::Unlisted,
        _ => Listing::Banned,
    }
}

/// A database that answers, or says that it cannot.
struct Fake {
    away: bool,
}

impl Backend for Fake {
    fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
        match self.away {
            true => Err(DatabaseError::Away("away".to_owned())),
            false => Ok(hashes.iter().map(|hash| Record::plain(listing(hash))).collect()),
        }
    }
}

/// One client, and both directions of its connection.
struct Client {
    slot: SlotId,
    torrent: InfoHash,
    /// What it has asked in full, in order.
    asked: Vec<Ask>,
    /// On its way to the tracker.
    outbound: Vec<u8>,
    half_closed: bool,
}

struct Site {
    rng: fastrand::Rng,
    now: Millis,
    tracker: Tracker,
    desk: Desk,
    slots: Slots<Seat>,
    clients: Vec<Client>,
    torrents: u32,
}

impl Site {
    fn new(seed: u64) -> Site {
        let wake: Wake = Arc::new(|| ());
        let mail = Mailboxes::new([Arc::clone(&wake)]);
        let settings = registry::RegistrySettings {
            cache_ttl_ms: 5_000,
            seed,
            ..harness::registry_settings()
        };
        let backend: OpenBackend = Box::new(|| Box::new(Fake { away: true }));
        let databases = Databases { backend, ledger: paper_ledger::away() };
        let store = harness::store(&policy(), seed);
        let registry =
            Registry::start(&settings, databases, Arc::clone(&store), mail.clone()).unwrap();
        let full_scrape = no_full_scrape(&store, [wake]);
        Site {
            rng: fastrand::Rng::with_seed(seed),
            now: Millis(1_000),
            tracker: Tracker::new(policy(), store, Arc::new(registry), mail, full_scrape),
            desk: Desk::new(seed),
            slots: Slots::new(CLIENTS_MAX),
            clients: Vec::new(),
            torrents: 0,
        }
    }

    fn step(&mut self) {
        match self.rng.u8(0..100) {
            0..10 => self.connect(),
            10..35 => self.ask(),
            35..65 => self.deliver(),
            65..85 => self.open_window(),
            85..93 => self.answer_lookups(),
            93..95 => self.pass(u64::from(self.rng.clone().u16(..3_000))),
            95..97 => self.half_close(),
            97..99 => self.reset(),
            _ => self.pass(0),
        }
    }

    fn connect(&mut self) {
        let (now, ip) = (self.now, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let seat = |SlotId { index: slot, generation }| {
            Seat::new(ip, Ticket { worker: 0, slot, generation }, now, &LIMITS)
        };
        let Some(slot) = self.slots.insert_with(seat) else { return };
        self.torrents += 1;
        let mut torrent = InfoHash([self.rng.u8(..); 20]);
        torrent.0[1..5].copy_from_slice(&self.torrents.to_be_bytes());
        self.clients.push(Client {
            slot,
            torrent,
            asked: Vec::new(),
            outbound: Vec::new(),
            half_closed: false,
        });
    }

    fn pick(&mut self) -> Option<usize> {
        (!self.clients.is_empty()).then(|| self.rng.usize(..self.clients.len()))
    }

    fn ask(&mut self) {
        let Some(at) = self.pick() else { return };
        let client = &mut self.clients[at];
        if client.half_closed
            || client.asked.last() == Some(&Ask::Garbage)
            || client.asked.len() > 30
        {
            return;
        }
        let ask = match self.rng.u8(0..20) {
            0..12 => Ask::Announce,
            12..16 => Ask::Scrape,
            16..19 => Ask::Index,
            _ => Ask::Garbage,
        };
        client.asked.push(ask);
        let hash: String = client.torrent.0.iter().map(|byte| format!("%{byte:02x}")).collect();
        let port = client.asked.len() + 1;
        let request = match ask {
            Ask::Announce => format!(
                "GET /announce?info_hash={hash}&peer_id=-XX0001-abcdefghijkl&port={port}&\
                 uploaded=0&downloaded=0&left=1 HTTP/1.1\r\n\r\n"
            ),
            Ask::Scrape => format!("GET /scrape?info_hash={hash} HTTP/1.1\r\n\r\n"),
            Ask::Index => "GET / HTTP/1.1\r\n\r\n".to_owned(),
            Ask::Garbage => "GET /\x01 HTTP/1.1\r\n\r\n".to_owned(),
        };
        client.outbound.extend_from_slice(request.as_bytes());
    }

    /// Some of what a client has sent arrives.
    fn deliver(&mut self) {
        let Some(at) = self.pick() else { return };
        let client = &mut self.clients[at];
        let bytes = self.rng.usize(..=client.outbound.len());
        let slot = client.slot;
        let arriving: Vec<u8> = client.outbound.drain(..bytes).collect();
        let ended = client.half_closed && client.outbound.is_empty();
        if let Some(seat) = self.slots.find(slot) {
            seat.inbound.extend(arriving);
            seat.end_of_input |= ended;
        }
        self.advance(slot);
    }

    /// A client reads some of what has been sent to it.
    fn open_window(&mut self) {
        let Some(at) = self.pick() else { return };
        let (slot, bytes) = (self.clients[at].slot, self.rng.usize(..600));
        if let Some(seat) = self.slots.find(slot) {
            seat.window += bytes;
        }
        self.advance(slot);
    }

    fn half_close(&mut self) {
        let Some(at) = self.pick() else { return };
        self.clients[at].half_closed = true;
    }

    fn reset(&mut self) {
        let Some(at) = self.pick() else { return };
        let client = self.clients.swap_remove(at);
        if let Some(seat) = self.slots.remove(client.slot) {
            check(&client, &seat.sent, false);
        }
    }

    fn answer_lookups(&mut self) {
        let mut backend = Fake { away: self.rng.u8(0..8) == 0 };
        self.tracker.registry().ask_once(&mut backend);
        while let Some(completion) = self.tracker.next_completion(0) {
            let Ticket { slot, generation, .. } = completion.ticket();
            let slot = SlotId { index: slot, generation };
            self.in_round(slot, |connection, round| connection.complete(completion, round));
            self.advance(slot);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        let slots: Vec<SlotId> = self.slots.ids().collect();
        for slot in slots {
            let now = self.now;
            if self.slots.find(slot).is_some_and(|seat| seat.connection.deadline() <= now) {
                self.in_round(slot, |connection, round| connection.expire(round));
                self.advance(slot);
            }
        }
    }

    fn advance(&mut self, slot: SlotId) {
        if self.at_bench(slot, |seat, bench| seat.advance(bench)) == Some(true) {
            self.close(slot);
        }
    }

    fn in_round(&mut self, slot: SlotId, work: impl FnOnce(&mut Connection, &mut Round<'_>)) {
        self.at_bench(slot, |seat, bench| seat.in_round(bench, work));
    }

    fn at_bench<T>(
        &mut self,
        slot: SlotId,
        work: impl FnOnce(&mut Seat, &mut Bench<'_>) -> T,
    ) -> Option<T> {
        let mut output = vec![0; REPLY_BYTES_MAX + self.rng.usize(..4_096)];
        let seat = self.slots.find(slot)?;
        let Site { tracker, desk, now, .. } = self;
        Some(work(
            seat,
            &mut Bench { tracker, desk, output: &mut output, now: *now, limits: &LIMITS },
        ))
    }

    /// The tracker closes: the client sees what was sent before.
    fn close(&mut self, slot: SlotId) {
        let seat = self.slots.remove(slot).unwrap();
        let at = self.clients.iter().position(|client| client.slot == slot).unwrap();
        let client = self.clients.swap_remove(at);
        check(&client, &seat.sent, false);
    }

    /// Everything arrives, everything is answered, nobody is left waiting.
    fn settle(&mut self) {
        for _ in 0..100 {
            for at in 0..self.clients.len() {
                let Some(client) = self.clients.get_mut(at) else { break };
                let (slot, arriving) = (client.slot, std::mem::take(&mut client.outbound));
                let ended = client.half_closed;
                if let Some(seat) = self.slots.find(slot) {
                    seat.inbound.extend(arriving);
                    seat.end_of_input |= ended;
                    seat.window = 1 << 30;
                }
                self.advance(slot);
            }
            self.answer_lookups();
        }
        for client in std::mem::take(&mut self.clients) {
            let seat = self.slots.remove(client.slot).unwrap();
            assert!(
                matches!(seat.connection.next(), Next::Read | Next::Drain),
                "{:?} at the end",
                seat.connection.next()
            );
            check(&client, &seat.sent, true);
        }
    }
}

/// Each reply must be the one to the request in its place; when `all`, none may be missing.
fn check(client: &Client, sent: &[u8], all: bool) {
    let text = String::from_utf8_lossy(sent);
    let replies: Vec<&str> = text.split("HTTP/1.1 ").skip(1).collect();
    let mut announced = 0;
    for (place, reply) in replies.iter().enumerate() {
        // A connection that ran out of time, or that was half closed within a request, ends with a
        // fault of its own.
        if (reply.starts_with("408") || reply.starts_with("400")) && place == replies.len() - 1 {
            return;
        }
        let Some(ask) = client.asked.get(place) else { panic!("a reply too many: {reply}") };
        let whole = place < replies.len() - 1 || all;
        let is_temporary = reply.contains("the tracker");
        let expected = match (ask, listing(&client.torrent)) {
            _ if !whole || is_temporary && *ask != Ask::Index => String::new(),
            (Ask::Announce, Listing::Listed) => {
                announced += 1;
                format!("10:incompletei{announced}e")
            }
            (Ask::Announce, Listing::Banned) => "#6".to_owned(),
            (Ask::Announce, _) => "#5".to_owned(),
            (Ask::Scrape, Listing::Listed) => format!("10:incompletei{announced}e"),
            (Ask::Scrape, _) => "5:filesde5:flags".to_owned(),
            (Ask::Index, _) => "announced".to_owned(),
            (Ask::Garbage, _) => "Bad Request".to_owned(),
        };
        assert!(
            reply.contains(&expected),
            "request {place}, {ask:?}: {expected:?} is not in {reply:?}"
        );
    }
    assert!(
        !all || replies.len() == client.asked.len(),
        "{} of {} requests were answered",
        replies.len(),
        client.asked.len()
    );
}

fn run(seed: u64) {
    let mut site = Site::new(seed);
    for _ in 0..STEPS {
        site.step();
    }
    site.settle();
    site.tracker.store().check_invariants();
}

#[test]
fn whatever_the_network_and_the_registry_do_every_client_gets_its_own_answers_in_order() {
    if let Some(seed) = std::env::var("ANNOUNCED_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed);
    }
    let first = fastrand::u64(..);
    for seed in (0..RUNS).map(|run| first.wrapping_add(run)) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "replay with ANNOUNCED_SEED={seed}");
    }
}
