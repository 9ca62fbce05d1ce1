//! A site without sockets: what tests and fuzz targets put around the tracker and its frontends.
//!
//! Time is an argument, randomness follows from [`SEED`] or the caller's, and the registry is the
//! caller's or the `memory` one, so that the same input has the same answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
#[cfg(test)]
use std::time::Instant;

use crate::config::{ConnectionTimes, FullScrape as WhoMayAsk, Live, LiveSettings, Mode, Policy};
use crate::counters::Counters;
use crate::frontend::{ConnectionIds, FullScrape, Http, Udp};
#[cfg(test)]
use crate::frontend::{Status, StatusSource};
#[cfg(test)]
use crate::ids::{Event, InfoHash};
use crate::ids::{Millis, Ticket};
#[cfg(test)]
use crate::listing::{Listing, Verdict};
use crate::mailbox::{Mailboxes, Wake};
use crate::registry::{self, Completion, PoolSettings, Registry};
use crate::secrets::Secret;
#[cfg(test)]
use crate::swarm::{Announcement, Chosen, Newcomer};
use crate::swarm::{Store, StoreSettings};
#[cfg(test)]
use crate::tests::announcement::{self, open_at};
use crate::tracker::{Client, Round, Scratch, Tracker};

/// Makes every choice where the caller has no seed of its own.
pub const SEED: u64 = 7;

/// The request limit of the default settings.
pub const REQUEST_BYTES_MAX: usize = 8_192;

/// The times of the default settings, but for idle connections.
pub const TIMES: ConnectionTimes = ConnectionTimes {
    idle_ms: 60_000,
    drain_ms: 2_000,
    request_ms: 10_000,
    send_ms: 15_000,
    lookup_ms: 2_000,
};

/// The default policy in registered mode.
pub fn policy() -> Policy {
    Policy { mode: Mode::Registered, ..Live::default().policy }
}

/// The default settings with a policy, and a full scrape that nobody may ask for.
pub fn live(policy: Policy) -> Live {
    let mut live = Live { policy, connection_times: TIMES, ..Live::default() };
    live.full_scrape.who = WhoMayAsk::Off;
    live
}

/// Scratch memory of a worker that publishes to nobody.
pub fn scratch(seed: u64) -> Scratch {
    Scratch::new(seed, Counters::default().local())
}

/// Empty swarms with peer ids.
pub fn store(_policy: &Policy, seed: u64) -> Arc<Store> {
    Arc::new(Store::new(StoreSettings { peer_ids: true }, seed))
}

/// Items that a mailbox takes: more than a test puts.
pub const MAIL_MAX: usize = 1 << 20;

/// Live settings by which a registry writes nothing by itself while a test runs.
pub fn registry_live() -> Live {
    let mut live = live(policy());
    live.registry.flush_interval = Duration::from_secs(3_600);
    live
}

/// A registry that nobody but its caller asks for, and whose clock stands still.
pub fn registry_settings() -> registry::RegistrySettings {
    registry::RegistrySettings {
        live: LiveSettings::new(registry_live()),
        cache_bytes_max: 1 << 20,
        pool: PoolSettings { threads: 0, queue_max: 8 },
        seed: SEED,
        state_file: None,
        clock: Arc::new(|| Millis(0)),
    }
}

/// Who asks from an address.
pub fn client(ip: IpAddr) -> Client {
    Client { ip, is_known: true, ticket: Ticket { worker: 0, slot: 0, generation: 0 } }
}

/// Connection ids that only this process knows.
pub fn connection_ids() -> ConnectionIds {
    ConnectionIds::of(&Secret::random().unwrap())
}

/// A tracker that knows every torrent and has no peers.
pub fn tracker(policy: &Policy) -> Arc<Tracker> {
    Arc::new(Tracker::new(store(policy, SEED), Arc::new(Registry::memory())))
}

/// A tracker with its HTTP frontend, and the settings they work by.
pub struct Site {
    pub tracker: Arc<Tracker>,
    pub http: Arc<Http>,
    pub udp: Arc<Udp>,
    pub lookups: Mailboxes<Completion>,
    pub live: Live,
}

impl Site {
    /// A tracker that knows every torrent and has no peers.
    pub fn new(policy: Policy) -> Site {
        Site::of(live(policy), true, REQUEST_BYTES_MAX)
    }

    /// The same with settings of the caller's.
    pub fn of(live: Live, peer_ids: bool, request_bytes_max: usize) -> Site {
        let store = Arc::new(Store::new(StoreSettings { peer_ids }, SEED));
        let tracker = Arc::new(Tracker::new(store, Arc::new(Registry::memory())));
        Site::around(tracker, Mailboxes::new([], MAIL_MAX), live, request_bytes_max)
    }

    /// A site around a tracker of the caller's, whose lookups come back by `lookups`.
    pub fn around(
        tracker: Arc<Tracker>,
        lookups: Mailboxes<Completion>,
        live: Live,
        request_bytes_max: usize,
    ) -> Site {
        let wake: Wake = Arc::new(|| ());
        let settings = LiveSettings::new(live.clone());
        let mail = Mailboxes::new([wake], MAIL_MAX);
        let full_scrape = FullScrape::without_thread(&tracker, settings, mail);
        let http = Arc::new(Http::new(Arc::clone(&tracker), full_scrape, request_bytes_max));
        let udp = Arc::new(Udp::new(Arc::clone(&tracker), connection_ids()));
        Site { tracker, http, udp, lookups, live }
    }

    /// A worker's round.
    pub fn round<'r>(&'r self, now: Millis, scratch: &'r mut Scratch) -> Round<'r> {
        Round { now, live: &self.live, closing: false, scratch }
    }
}

/// A leecher comes to a torrent with this listing, and completes its download.
#[cfg(test)]
pub(crate) fn complete_as(listing: Listing, store: &Store, info_hash: InfoHash, peer: u32) {
    let verdict = Verdict { listing, ..Verdict::NO_LIST };
    for event in [Event::Started, Event::Completed] {
        let seeder = event == Event::Completed;
        let announce = Announcement { info_hash, event, seeder, ..announcement::of(0, peer) };
        let newcomer = Newcomer { announce: &announce, verdict };
        let mut rng = fastrand::Rng::with_seed(SEED);
        store.enter(&newcomer, open_at(Millis(0)), &mut rng, &mut Chosen::new());
    }
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

/// The status pages of a site without workers, which also answer as `stats.example`.
#[cfg(test)]
pub fn status(site: &Site) -> Status {
    let source = StatusSource {
        tracker: Arc::clone(&site.tracker),
        counters: Counters::default(),
        workers: 0,
        live: LiveSettings::new(site.live.clone()),
        epoch: Instant::now(),
    };
    Status::new(source, vec!["stats.example".to_owned()])
}
