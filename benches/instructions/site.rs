//! A tracker without sockets, as `daemon` makes one: what lies above the system calls of an
//! announce, and nothing else.
//!
//! Every seed is fixed and time stands still, so the same requests take the same way.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use announced::bounds::VERDICT_MS_MAX;
use announced::config::{Live, LiveSettings, Mode};
use announced::counters::Counters;
use announced::frontend::{
    ConnectionIds, FullScrape, Http, LateAnswer, Output, Packet, Reply, Udp,
};
use announced::ids::{InfoHash, Millis, Ticket};
use announced::listing::{Listing, Record};
use announced::mailbox::{Mailboxes, Wake};
use announced::registry::database::DatabaseError;
use announced::registry::{self, Backend, Completion, Databases, PoolSettings, Registry};
use announced::secrets::Secret;
use announced::server::Conversation;
use announced::swarm::{Store, StoreSettings};
use announced::tracker::{Client, Round, Scratch, Tracker};
use announced::wire::http::reply::REPLY_BYTES_MAX;

use crate::away::Away;

const SEED: u64 = 7;
const NOW: Millis = Millis(1_000);
/// Seconds by the wall clock.
const NOW_S: u64 = 1_700_000_040;
const REQUEST_BYTES_MAX: usize = 8_192;

/// See the module.
pub(crate) struct Site {
    http: Http,
    udp: Udp,
    ids: ConnectionIds,
    lookups: Mailboxes<Completion>,
    live: Live,
    scratch: Scratch,
    output: Vec<u8>,
    /// One for each peer.
    conversations: Vec<Conversation>,
    of_one_address: usize,
}

impl Site {
    /// A tracker without peers, to which `peers` are connected: an open one without a database, or
    /// one that serves what its database lists, which is everything. So many of the peers share
    /// each address.
    pub(crate) fn new(registered: bool, peers: usize, of_one_address: usize) -> io::Result<Site> {
        let mut live = Live::default();
        live.policy.mode = if registered { Mode::Registered } else { Mode::Open };
        live.registry.cache_ttl_ms = VERDICT_MS_MAX;
        live.registry.flush_interval = Duration::from_secs(3_600);
        let settings = StoreSettings { peer_ids: true };
        let store = Arc::new(Store::new(settings, SEED));
        let wake: Wake = Arc::new(|| ());
        let lookups = Mailboxes::new([wake], 1_000);
        let registry = match registered {
            true => Registry::start(
                &registry_settings(&live),
                all_listed(),
                Arc::clone(&store),
                lookups.clone(),
            )?,
            false => Registry::memory(),
        };
        let tracker = Arc::new(Tracker::new(store, Arc::new(registry)));
        let of_live = LiveSettings::new(live.clone());
        let full_scrape = FullScrape::without_thread(&tracker, of_live, Mailboxes::new([], 0));
        let ids = ConnectionIds::of(&Secret::random()?);
        let udp = Udp::new(Arc::clone(&tracker), ids.clone());
        let http = Http::new(tracker, full_scrape, REQUEST_BYTES_MAX);
        let scratch = Scratch::new(SEED, Counters::default().local());
        let output = vec![0; 2 * REPLY_BYTES_MAX];
        let conversations =
            (0..peers).map(|peer| conversation(peer / of_one_address, &live)).collect();
        Ok(Site { http, udp, ids, lookups, live, scratch, output, conversations, of_one_address })
    }

    /// Has a peer's conversation receive `input`, and says how long the answers are.
    pub(crate) fn receive(&mut self, peer: usize, input: &[u8]) -> usize {
        let Site { http, live, scratch, output, conversations, .. } = self;
        let mut out = Output::new(output);
        let mut round = Round { now: NOW, live, closing: false, scratch };
        conversations[peer].receive(input, http, &mut round, &mut out);
        out.filled().len()
    }

    /// What a peer has been given for its requests over UDP.
    pub(crate) fn connection_id(&self, peer: usize) -> u64 {
        self.ids.make(client(peer / self.of_one_address).ip, NOW_S).0
    }

    /// Answers a peer's datagram, and says how long the answer is.
    pub(crate) fn answer_datagram(&mut self, peer: usize, bytes: &[u8]) -> usize {
        let client = client(peer / self.of_one_address);
        let Site { udp, live, scratch, output, .. } = self;
        let packet = Packet { bytes, client, unix_s: NOW_S };
        match udp.answer(&packet, &mut Round { now: NOW, live, closing: false, scratch }, output) {
            Reply::Ready(bytes) => bytes,
            _ => 0,
        }
    }

    /// Lets the database answer for what waits for it, as it does for the first announce of a
    /// torrent.
    pub(crate) fn look_up(&mut self, peer: usize) {
        self.http.tracker().registry().ask_once(&mut AllListed);
        let Site { http, live, scratch, output, conversations, lookups, .. } = self;
        while let Some(completion) = lookups.take(0) {
            let mut out = Output::new(output);
            let mut round = Round { now: NOW, live, closing: false, scratch };
            let answer = LateAnswer::Lookup(completion);
            conversations[peer].complete(answer, http, &mut round, &mut out);
        }
    }

    /// The peer's next input is a new connection's.
    pub(crate) fn reconnect(&mut self, peer: usize) {
        self.conversations[peer] = conversation(peer / self.of_one_address, &self.live);
    }

    /// The last answers.
    pub(crate) fn answers(&self, bytes: usize) -> &[u8] {
        &self.output[..bytes]
    }
}

/// Verdicts that outlive the count, and no threads that look up: [`Site::look_up`] does their work.
fn registry_settings(live: &Live) -> registry::RegistrySettings {
    registry::RegistrySettings {
        live: LiveSettings::new(live.clone()),
        cache_bytes_max: 256 << 20,
        pool: PoolSettings { threads: 0, queue_max: 1_000 },
        seed: SEED,
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

/// The client at a numbered address, which is public.
fn client(address: usize) -> Client {
    let number = u32::try_from(address).unwrap_or(u32::MAX);
    let ip = IpAddr::V4(Ipv4Addr::from(0x0900_0001_u32.wrapping_add(number)));
    Client { ip, is_known: true, ticket: Ticket { worker: 0, slot: 0, generation: 0 } }
}

fn conversation(address: usize, live: &Live) -> Conversation {
    Conversation::new(client(address), NOW, &live.connection_times)
}
