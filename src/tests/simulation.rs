//! A simulated site: seeded clients, a network that cuts and stalls as it likes, a registry that
//! answers late, wrongly timed or not at all, and a clock that somebody turns. Everything from a
//! worker's connections and datagrams down is the real thing; only the sockets are not. This file
//! has the clients of HTTP and the registry, `simulated_datagrams` those of UDP.
//!
//! Every client has a torrent of its own, so what it must be told follows from its own requests
//! alone, whatever happens to the others. Checked: each gets the answers to its requests, in their
//! order, and nothing else; one that resets gets nothing more, and whoever has its slot next gets
//! nothing of its; a late answer finds nobody; no edge of the poll is lost.
//!
//! `ANNOUNCED_SEED=n` replays one run.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mio::Poll;

use crate::config::LiveSettings;
use crate::frontend::LateAnswer;
use crate::ids::{InfoHash, Millis};
use crate::listing::{Listing, Record};
use crate::mailbox::{Mailboxes, Wake};
use crate::registry::database::DatabaseError;
use crate::registry::{self, Backend, Databases, OpenBackend, Registry};
use crate::server::{
    Arrival, ConnectionSettings, Connections, PerAddress, Readiness, SlotId, is_of_datagram,
};
use crate::tests::harness::{self, policy};
use crate::tests::paper_ledger;
use crate::tests::seeds::for_each_seed;
use crate::tests::simulated_datagrams::SimulatedDatagrams;
use crate::tests::simulated_stream::{SimulatedPeer, SimulatedStream, pair};
use crate::tracker::{Round, Scratch, Tracker};
use crate::wire::http::reply::REPLY_BYTES_MAX;

const RUNS: u64 = 200;
const STEPS: usize = 600;
const CLIENTS_MAX: usize = 6;
const REQUEST_BYTES_MAX: usize = 1_024;

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
    peer: SimulatedPeer,
    torrent: InfoHash,
    /// What it has asked in full, in order.
    asked: Vec<Ask>,
    /// On its way to the tracker.
    outbound: Vec<u8>,
    half_closed: bool,
}

struct Simulation {
    rng: fastrand::Rng,
    now: Millis,
    site: harness::Site,
    scratch: Scratch,
    connections: Connections<SimulatedStream>,
    clients: Vec<Client>,
    datagrams: SimulatedDatagrams,
    torrents: u32,
    _poll: Poll,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut rng = fastrand::Rng::with_seed(seed);
        let wake: Wake = Arc::new(|| ());
        let mail = Mailboxes::new([wake], harness::MAIL_MAX);
        let mut live = harness::registry_live();
        live.registry.cache_ttl_ms = 5_000;
        let settings = registry::RegistrySettings {
            live: LiveSettings::new(live.clone()),
            seed,
            ..harness::registry_settings()
        };
        let backend: OpenBackend = Box::new(|| Box::new(Fake { away: true }));
        let databases = Databases { backend, ledger: paper_ledger::away() };
        let store = harness::store(&policy(), seed);
        let registry =
            Registry::start(&settings, databases, Arc::clone(&store), mail.clone()).unwrap();
        let tracker = Arc::new(Tracker::new(store, Arc::new(registry)));
        let site = harness::Site::around(tracker, mail, live, REQUEST_BYTES_MAX);
        let poll = Poll::new().unwrap();
        let settings = ConnectionSettings {
            worker: 0,
            connections_max: CLIENTS_MAX,
            per_address: PerAddress::default(),
            output_bytes: REPLY_BYTES_MAX + rng.usize(..4_096),
        };
        let watched = poll.registry().try_clone().unwrap();
        Simulation {
            now: Millis(1_000),
            datagrams: SimulatedDatagrams::new(Arc::clone(&site.udp), listing, &mut rng),
            connections: Connections::new(&settings, Arc::clone(&site.http), watched),
            site,
            scratch: harness::scratch(seed),
            clients: Vec::new(),
            torrents: 0,
            rng,
            _poll: poll,
        }
    }

    fn step(&mut self) {
        match self.rng.u8(0..140) {
            0..10 => self.connect(),
            10..35 => self.ask(),
            35..60 => self.deliver(),
            60..75 => self.open_window(),
            75..85 => self.poll(),
            85..93 => self.answer_lookups(),
            93..95 => {
                let ms = self.rng.u64(..3_000);
                self.pass(ms);
            }
            95..97 => self.half_close(),
            97..99 => self.reset(),
            99 => self.pass(0),
            100..115 => self.datagrams.ask(&mut self.rng),
            115..135 => self.datagrams.deliver(&mut self.rng),
            135..138 => self.datagrams.turn_clock(&mut self.rng),
            _ => self.datagrams.break_socket(&mut self.rng),
        }
        self.forget_closed();
        let datagrams_waiting = self.datagrams.datagrams.waiting_count();
        let (connections, round) = self.lend();
        connections.check_invariants(datagrams_waiting, &round);
    }

    /// The connections, and a round to serve them in.
    fn lend(&mut self) -> (&mut Connections<SimulatedStream>, Round<'_>) {
        let round = self.site.round(self.now, &mut self.scratch);
        (&mut self.connections, round)
    }

    fn connect(&mut self) {
        let (stream, peer) = pair();
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let arrival = Arrival { ip, proxy_protocol: false };
        let (connections, mut round) = self.lend();
        let Ok(slot) = connections.accept(stream, arrival, &mut round) else { return };
        self.torrents += 1;
        let mut torrent = InfoHash([self.rng.u8(..); 20]);
        torrent.0[1..5].copy_from_slice(&self.torrents.to_be_bytes());
        self.clients.push(Client {
            slot,
            peer,
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
                "GET /announce?info_hash={hash}&peer_id=-XX0001-abcdefghijkl&port={port}\
                 &uploaded=0&downloaded=0&left=1 HTTP/1.1\r\n\r\n"
            ),
            Ask::Scrape => format!("GET /scrape?info_hash={hash} HTTP/1.1\r\n\r\n"),
            Ask::Index => "GET / HTTP/1.1\r\n\r\n".to_owned(),
            // What is behind it is drained, and may be more than one turn's worth.
            Ask::Garbage => {
                "GET /\x01 HTTP/1.1\r\n\r\n".to_owned() + &"x".repeat(self.rng.usize(..70_000))
            }
        };
        client.outbound.extend_from_slice(request.as_bytes());
    }

    /// Some of what a client has sent arrives.
    fn deliver(&mut self) {
        let Some(at) = self.pick() else { return };
        let client = &mut self.clients[at];
        let bytes = self.rng.usize(..=client.outbound.len());
        let arriving: Vec<u8> = client.outbound.drain(..bytes).collect();
        let is_last = client.half_closed && client.outbound.is_empty();
        client.peer.deliver(&arriving, is_last);
    }

    /// A client reads some of what has been sent to it.
    fn open_window(&mut self) {
        let Some(at) = self.pick() else { return };
        self.clients[at].peer.open_window(self.rng.usize(..600));
    }

    /// One turn of a worker's loop: the poll tells of some edges, what was read is answered, and
    /// who can go on does.
    fn poll(&mut self) {
        let mut events: Vec<(SlotId, Readiness)> = Vec::new();
        for client in &self.clients {
            if self.rng.u8(..4) > 0 {
                events.extend(client.peer.take_event().map(|event| (client.slot, event)));
            }
        }
        self.rng.shuffle(&mut events);
        let (connections, mut round) = self.lend();
        for (slot, readiness) in events {
            connections.ready(slot, readiness, &mut round);
        }
        connections.answer_batch(&mut round);
        connections.go_on(&mut round);
        let Simulation { site, now, scratch, datagrams, rng, .. } = self;
        datagrams.poll(rng, &mut site.round(*now, scratch));
    }

    fn half_close(&mut self) {
        let Some(at) = self.pick() else { return };
        self.clients[at].half_closed = true;
    }

    /// A client resets its connection, which the poll tells of.
    fn reset(&mut self) {
        let Some(at) = self.pick() else { return };
        let client = self.clients.swap_remove(at);
        let readiness = Readiness { readable: true, read_closed: true, broken: true };
        let (connections, mut round) = self.lend();
        connections.ready(client.slot, readiness, &mut round);
        assert!(client.peer.is_closed(), "a connection that was reset is still there");
        check(&client, &client.peer.sent(), false);
    }

    fn answer_lookups(&mut self) {
        let mut backend = Fake { away: self.rng.u8(0..8) == 0 };
        self.site.tracker.registry().ask_once(&mut backend);
        while let Some(completion) = self.site.lookups.take(0) {
            let Simulation { site, now, scratch, connections, datagrams, .. } = self;
            let mut round = site.round(*now, scratch);
            match is_of_datagram(&completion) {
                true => datagrams.datagrams.complete(completion, &mut round),
                false => connections.complete(LateAnswer::Lookup(completion), &mut round),
            }
        }
        let Simulation { site, now, scratch, datagrams, .. } = self;
        datagrams.datagrams.flush(&mut site.round(*now, scratch));
        datagrams.look();
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        let (connections, mut round) = self.lend();
        if connections.check_deadlines(&mut round) {
            self.tick_datagrams();
        }
    }

    fn tick_datagrams(&mut self) {
        let Simulation { site, now, scratch, datagrams, .. } = self;
        datagrams.datagrams.tick(&mut site.round(*now, scratch));
        datagrams.look();
    }

    /// The clients of connections that the tracker has closed see what was sent before.
    fn forget_closed(&mut self) {
        for client in self.clients.extract_if(.., |client| client.peer.is_closed()) {
            check(&client, &client.peer.sent(), false);
        }
    }

    /// Everything arrives, everything is answered, nobody is left waiting.
    fn settle(&mut self) {
        self.datagrams.deliver_all();
        for _ in 0..100 {
            for client in &mut self.clients {
                let arriving = std::mem::take(&mut client.outbound);
                client.peer.deliver(&arriving, client.half_closed);
                client.peer.open_window(1 << 30);
            }
            self.poll();
            // A socket that told an error is tried again at a tick.
            self.tick_datagrams();
            self.answer_lookups();
            self.forget_closed();
        }
        self.datagrams.check_all_answered();
        for client in std::mem::take(&mut self.clients) {
            check(&client, &client.peer.sent(), true);
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
    let mut simulation = Simulation::new(seed);
    for _ in 0..STEPS {
        simulation.step();
    }
    simulation.settle();
    simulation.site.tracker.store().check_invariants();
}

#[test]
fn whatever_the_network_and_the_registry_do_every_client_gets_its_own_answers_in_order() {
    for_each_seed(RUNS, run);
}
