//! A tracker without sockets, as `server::worker` makes one: what lies above the system calls of an
//! announce, and nothing else.
//!
//! Every seed is fixed and time stands still, so the same requests take the same way.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use announced::bounds::VERDICT_MS_MAX;
use announced::config::{FullScrape as WhoMayAsk, Live, Networks};
use announced::ids::{InfoHash, Millis, Ticket};
use announced::listing::{Listing, Record};
use announced::registry::database::DatabaseError;
use announced::registry::{self, Backend, Databases, Mailboxes, PoolSettings, Registry, Wake};
use announced::server::{Connection, Limits, Round};
use announced::swarm::{Store, StoreSettings};
use announced::tracker::{Desk, FullScrape, FullScrapeSettings, Outbox, Policy, Tracker, Turn};
use announced::wire::reply::REPLY_BYTES_MAX;

use crate::away::Away;

const SEED: u64 = 7;
const NOW: Millis = Millis(1_000);
const LIMITS: Limits = Limits {
    request_bytes_max: 8_192,
    idle_ms: 60_000,
    request_ms: 10_000,
    send_ms: 15_000,
    lookup_ms: 2_000,
};
/// The default settings.
fn open() -> Policy {
    Policy {
        registered_only: false,
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

/// See the module.
pub(crate) struct Site {
    tracker: Tracker,
    desk: Desk,
    output: Vec<u8>,
    connection: Connection,
}

impl Site {
    /// A tracker without peers: an open one without a database, or one that serves what its
    /// database lists, which is everything.
    pub(crate) fn new(registered: bool) -> io::Result<Site> {
        let policy = Policy { registered_only: registered, ..open() };
        let settings = StoreSettings { peer_ids: policy.peer_ids };
        let store = Arc::new(Store::new(settings, SEED));
        let wake: Wake = Arc::new(|| ());
        let mail = Mailboxes::new([wake]);
        let registry = match registered {
            true => Registry::start(
                &registry_settings(),
                all_listed(),
                Arc::clone(&store),
                mail.clone(),
            )?,
            false => Registry::memory(),
        };
        let registry = Arc::new(registry);
        let nobody = FullScrapeSettings {
            who: WhoMayAsk::Off,
            interval_ms: 60_000,
            scrape_interval_s: 1_800,
            listed_only: registered,
        };
        let full_scrape = FullScrape::start(nobody, &store, &registry, Mailboxes::new([]))?;
        let tracker = Tracker::new(policy, store, registry, mail, full_scrape);
        Ok(Site {
            tracker,
            desk: Desk::new(SEED),
            output: vec![0; 2 * REPLY_BYTES_MAX],
            connection: connection(),
        })
    }

    /// Has the connection receive `input`, and says how long the answers are.
    pub(crate) fn receive(&mut self, input: &[u8]) -> usize {
        self.in_round(|connection, round| connection.receive(input, round))
    }

    /// Lets the database answer for what waits for it, as it does for the first announce of a
    /// torrent.
    pub(crate) fn look_up(&mut self) {
        self.tracker.registry().ask_once(&mut AllListed);
        while let Some(completion) = self.tracker.next_completion(0) {
            self.in_round(|connection, round| connection.complete(completion, round));
        }
    }

    fn in_round(&mut self, work: impl FnOnce(&mut Connection, &mut Round<'_>)) -> usize {
        let turn = Turn { now: NOW, desk: &mut self.desk, out: Outbox::new(&mut self.output) };
        let mut round = Round { tracker: &self.tracker, turn, limits: &LIMITS };
        work(&mut self.connection, &mut round);
        round.turn.out.filled().len()
    }

    /// The next input is a new connection's.
    pub(crate) fn reconnect(&mut self) {
        self.connection = connection();
    }

    /// The last answers.
    pub(crate) fn answers(&self, bytes: usize) -> &[u8] {
        &self.output[..bytes]
    }
}

/// Verdicts that outlive the count, and no threads that look up: [`Site::look_up`] does their work.
fn registry_settings() -> registry::RegistrySettings {
    registry::RegistrySettings {
        cache_ttl_ms: VERDICT_MS_MAX,
        cache_bytes_max: 256 << 20,
        pool: PoolSettings { threads: 0, queue_max: 1_000 },
        seed: SEED,
        flush_interval: Duration::from_secs(3_600),
        torrent_ttl: Duration::ZERO,
        state_file: None,
        clock: Arc::new(|| NOW),
    }
}

fn all_listed() -> Databases {
    Databases { backend: Box::new(|| Box::new(AllListed)), ledger: Box::new(|| Box::new(Away)) }
}

/// A database that lists every torrent.
struct AllListed;

impl Backend for AllListed {
    fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
        Ok(hashes.iter().map(|_| Record::plain(Listing::Listed)).collect())
    }
}

fn connection() -> Connection {
    let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
    Connection::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), ticket, NOW, &LIMITS)
}
