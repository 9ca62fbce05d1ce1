//! A tracker without sockets, as `server::worker` makes one: what lies above the system calls of an announce, and nothing else.
//!
//! Every seed is fixed and time stands still, so the same requests take the same way.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use announced::config::{FullScrape as WhoMayAsk, IpParameter};
use announced::ids::{Millis, Ticket};
use announced::registry::{Mailboxes, Registry};
use announced::server::{Connection, Limits, Round};
use announced::swarm::{self, Store};
use announced::tracker::{Desk, FullScrape, FullScrapeSettings, Outbox, Policy, Tracker, Turn};
use announced::wire::reply::REPLY_BYTES_MAX;

const SEED: u64 = 7;
const NOW: Millis = Millis(1_000);
const LIMITS: Limits =
    Limits { request_bytes_max: 8_192, idle_ms: 60_000, request_ms: 10_000, send_ms: 15_000, lookup_ms: 2_000 };
/// The default settings.
const POLICY: Policy = Policy {
    registered_only: false,
    max_interval_s: 1_800,
    min_interval_s: 900,
    numwant_default: 50,
    numwant_max: 200,
    external_ip: true,
    ip_parameter: IpParameter::Nat,
    crypto_flags: false,
    peer_ids: true,
    scrape_interval_s: 1_800,
};

/// See the module.
pub(crate) struct Site {
    tracker: Tracker,
    desk: Desk,
    output: Vec<u8>,
    connection: Connection,
}

impl Site {
    /// A tracker without peers.
    pub(crate) fn new() -> io::Result<Site> {
        let lifetime_ms = u64::from(POLICY.max_interval_s + POLICY.min_interval_s) * 1_000;
        let settings = swarm::Settings { lifetime_ms, peer_ids: POLICY.peer_ids, peers_max: 1 << 30, torrents_max: 1 << 30 };
        let store = Arc::new(Store::new(settings, SEED));
        let nobody = FullScrapeSettings { who: WhoMayAsk::Off, interval_ms: 60_000, scrape_interval_s: 1_800 };
        let full_scrape = FullScrape::start(nobody, Arc::clone(&store), Mailboxes::new([]))?;
        let tracker = Tracker::new(POLICY, store, Registry::memory(), Mailboxes::new([]), full_scrape);
        Ok(Site { tracker, desk: Desk::new(SEED), output: vec![0; 2 * REPLY_BYTES_MAX], connection: connection() })
    }

    /// Has the connection receive `input`, and says how long the answers are.
    pub(crate) fn receive(&mut self, input: &[u8]) -> usize {
        let turn = Turn { now: NOW, desk: &mut self.desk, out: Outbox::new(&mut self.output) };
        let mut round = Round { tracker: &self.tracker, turn, limits: &LIMITS };
        self.connection.receive(input, &mut round);
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

fn connection() -> Connection {
    let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
    Connection::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), ticket, NOW, &LIMITS)
}
