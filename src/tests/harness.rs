//! A site without sockets: what tests and fuzz targets put around the tracker and around a
//! connection's state machine.
//!
//! Time is an argument, randomness follows from [`SEED`] or the caller's, and the registry is the
//! caller's or the `memory` one, so that the same input has the same answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{FullScrape as WhoMayAsk, Live, Networks};
#[cfg(test)]
use crate::ids::InfoHash;
use crate::ids::{Millis, Ticket};
#[cfg(test)]
use crate::listing::{Listing, Verdict};
use crate::registry::{self, Mailboxes, PoolSettings, Registry, Wake};
use crate::server::{Connection, Limits, Next, Round};
#[cfg(test)]
use crate::swarm::{Announcement, Chosen, Newcomer};
use crate::swarm::{Store, StoreSettings};
#[cfg(test)]
use crate::tests::announcement::{self, open_at};
use crate::tracker::{Desk, FullScrape, FullScrapeSettings, Outbox, Policy, Tracker, Turn};

/// Makes every choice where the caller has no seed of its own.
pub const SEED: u64 = 7;

/// The limits of the default settings.
pub const LIMITS: Limits = Limits {
    request_bytes_max: 8_192,
    idle_ms: 60_000,
    request_ms: 10_000,
    send_ms: 15_000,
    lookup_ms: 2_000,
};

/// The default policy in registered mode.
pub fn policy() -> Policy {
    Policy {
        registered_only: true,
        max_interval_s: 1_800,
        min_interval_s: 900,
        numwant_default: 50,
        numwant_max: 200,
        external_ip: true,
        ip_parameter: Networks::default(),
        crypto_flags: false,
        peer_ids: true,
        scrape_interval_s: 1_800,
        swarm: Live::default().swarm,
    }
}

/// Empty swarms, with peer ids or not as `policy` says.
pub fn store(policy: &Policy, seed: u64) -> Arc<Store> {
    Arc::new(Store::new(StoreSettings { peer_ids: policy.peer_ids }, seed))
}

/// A full scrape that nobody may ask for, and so no thread that makes it.
pub fn no_full_scrape(store: &Arc<Store>, wakes: impl IntoIterator<Item = Wake>) -> FullScrape {
    let settings = FullScrapeSettings {
        who: WhoMayAsk::Off,
        interval_ms: 60_000,
        scrape_interval_s: 1_800,
        listed_only: policy().registered_only,
    };
    FullScrape::start(settings, store, &Arc::new(Registry::memory()), Mailboxes::new(wakes))
        .unwrap()
}

/// A registry that nobody but its caller asks for, and whose clock stands still.
pub fn registry_settings() -> registry::Settings {
    registry::Settings {
        cache_ttl_ms: 30_000,
        cache_bytes_max: 1 << 20,
        pool: PoolSettings { threads: 0, queue_max: 8 },
        seed: SEED,
        flush_interval: Duration::MAX,
        torrent_ttl: Duration::ZERO,
        state_file: None,
        clock: Arc::new(|| Millis(0)),
    }
}

/// A tracker that knows every torrent and has no peers.
pub fn tracker(policy: Policy) -> Tracker {
    let store = store(&policy, SEED);
    let full_scrape = no_full_scrape(&store, []);
    Tracker::new(policy, store, Arc::new(Registry::memory()), Mailboxes::new([]), full_scrape)
}

/// A leecher begins the swarm of a torrent that nobody could be asked for.
#[cfg(test)]
pub(crate) fn begin_unasked(store: &Store, info_hash: InfoHash) {
    let announce = Announcement { info_hash, ..announcement::of(0, 0) };
    let verdict = Verdict { listing: Listing::Unasked, ..Verdict::NO_LIST };
    let newcomer = Newcomer { announce: &announce, verdict };
    store.enter(
        &newcomer,
        open_at(Millis(0)),
        &mut fastrand::Rng::with_seed(SEED),
        &mut Chosen::new(),
    );
}

/// What a worker lends to the connection it serves.
pub struct Bench<'b> {
    pub tracker: &'b Tracker,
    pub desk: &'b mut Desk,
    pub output: &'b mut [u8],
    pub now: Millis,
    pub limits: &'b Limits,
}

/// A connection and its peer, as `server::resident` keeps a connection and its socket.
pub struct Seat {
    pub connection: Connection,
    /// What has arrived and is not read yet.
    pub inbound: Vec<u8>,
    /// Nothing arrives behind `inbound`.
    pub end_of_input: bool,
    /// Bytes the peer's window still takes.
    pub window: usize,
    /// What the peer has been sent.
    pub sent: Vec<u8>,
}

impl Seat {
    /// A connection from `ip` through which nothing has passed yet; its peer's window is closed.
    pub fn new(ip: IpAddr, ticket: Ticket, now: Millis, limits: &Limits) -> Seat {
        let connection = Connection::new(ip, ticket, now, limits);
        Seat { connection, inbound: Vec::new(), end_of_input: false, window: 0, sent: Vec::new() }
    }

    /// What `server::resident` does, over buffers: goes on until the connection blocks (false) or
    /// is over (true).
    pub fn advance(&mut self, bench: &mut Bench<'_>) -> bool {
        loop {
            match self.connection.next() {
                Next::Write => {
                    let bytes = self.connection.unsent().len().min(self.window);
                    if bytes == 0 {
                        return false;
                    }
                    self.sent.extend_from_slice(&self.connection.unsent()[..bytes]);
                    self.window -= bytes;
                    self.connection.sent(bytes, bench.now, bench.limits);
                }
                Next::Parse => {
                    let input = self.connection.tail().to_vec();
                    self.in_round(bench, |connection, round| connection.receive(&input, round));
                }
                Next::Read if !self.inbound.is_empty() => {
                    let mut input = self.connection.tail().to_vec();
                    let bytes =
                        self.inbound.len().min(bench.limits.request_bytes_max - input.len());
                    input.extend(self.inbound.drain(..bytes));
                    self.in_round(bench, |connection, round| connection.receive(&input, round));
                }
                Next::Read if self.end_of_input => {
                    self.in_round(bench, |connection, round| connection.end_of_input(round));
                }
                Next::Read | Next::Wait => return false,
                Next::ShutDown => self.connection.start_draining(bench.now),
                Next::Drain => {
                    let bytes = self.inbound.drain(..).count();
                    self.connection.drained(bytes);
                    return self.end_of_input;
                }
                Next::Close => return true,
            }
        }
    }

    /// Lets `work` write answers, then sends what the window takes.
    pub fn in_round(
        &mut self,
        bench: &mut Bench<'_>,
        work: impl FnOnce(&mut Connection, &mut Round<'_>),
    ) {
        let turn = Turn { now: bench.now, desk: bench.desk, out: Outbox::new(bench.output) };
        let mut round = Round { tracker: bench.tracker, turn, limits: bench.limits };
        work(&mut self.connection, &mut round);
        let answers = round.turn.out.filled();
        let bytes = if self.connection.may_send_now() { answers.len().min(self.window) } else { 0 };
        self.sent.extend_from_slice(&answers[..bytes]);
        self.window -= bytes;
        if bytes < answers.len() {
            self.connection.keep_unsent(&answers[bytes..], bench.now, bench.limits);
        }
    }
}
