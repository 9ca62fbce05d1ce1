//! The settings: one struct for each section of the settings file, the defaults and their reasons.
//!
//! The doc comments of the fields are what `announced config` prints above each key, for the
//! operator: the meaning, the unit, why this default, and whether it is live (SIGHUP) or not.
//!
//! Never does: check a value (`validate`), read a file (`source`), act on a setting.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

use crate::config::admin::AdminConfig;
use crate::config::database::DatabaseConfig;
use crate::config::duration;
use crate::config::limits::LimitsConfig;
use crate::config::networks::{Networks, NetworksSetting};
use crate::config::value::{self, FullScrape, Listen, LogLevel, Mode, UdpListen};

/// The port trackers are expected on: opentracker's default.
pub const PORT_DEFAULT: u16 = 6969;

/// All settings, by section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sockets, threads and limits.
    pub server: ServerConfig,
    /// Announces over UDP.
    pub udp: UdpConfig,
    /// What one address may ask for.
    pub limits: LimitsConfig,
    /// What the tracker says to peers.
    pub tracker: TrackerConfig,
    /// Where torrents are registered.
    pub database: DatabaseConfig,
    /// Pages for the operator.
    pub admin: AdminConfig,
}

/// Sockets, threads and limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Documented, DocumentedFields)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Addresses to listen on, each IP:PORT, :PORT or PORT. The default serves IPv6 and IPv4
    /// through one socket, or IPv4 alone where the machine has no IPv6. Port 0 lets the system
    /// choose. Needs a restart.
    #[serde(deserialize_with = "value::deserialize_one_or_many")]
    pub listen: Vec<Listen>,

    /// The announce URL under which others reach this tracker, such as
    /// `http://tracker.example:6969/announce`: printed at the start in place of one made of the
    /// machine's name. Empty, because no machine knows its public name. Needs a restart.
    pub public_url: String,

    /// What a browser is told at `/`: a text, such as who runs the tracker and where to write about
    /// abuse, or the URL of a page to go to (`https://tracker.example/`). At most 2048 bytes. Empty
    /// is one line that names the program. Live.
    pub index: String,

    /// Networks of the proxies in front of this tracker, such as ["127.0.0.1/32", "10.0.0.0/8"], or
    /// "file:PATH" with one network on each line. What they say of who is asking is believed:
    /// proxy_header, and the PROXY protocol where listen asks for it. Empty, because whoever is
    /// believed can announce anybody. Live.
    pub trusted_proxies: NetworksSetting,

    /// The one header in which trusted proxies name the client: X-Forwarded-For, Forwarded,
    /// X-Real-IP, CF-Connecting-IP or another. The others mean nothing, since a proxy that sets one
    /// of them passes the client's own ones through. Live.
    pub proxy_header: String,

    /// Event loops, each a thread with listening sockets of its own. 0 = one per core, because a
    /// loop never waits. Needs a restart.
    pub workers: u16,

    /// Connections per worker. When all are taken, the one that has been idle longest is closed
    /// for a newcomer, and if none is idle, that is answered with 503; above three quarters,
    /// answers close their connections. Those of trusted_proxies stay open. Each costs a file
    /// descriptor, so ulimit -n must be above workers x connections_max. Needs a restart.
    pub connections_max: u32,

    /// Connections per address, over IPv6 per /64, of all workers together; past it 503. Behind a
    /// PROXY protocol preface the address is the client's; other trusted proxies have no limit. 0 =
    /// no limit: behind a carrier's NAT are thousands of clients. Needs a restart.
    pub connections_per_address_max: u32,

    /// Connections per listening socket that wait to be accepted. The kernel cuts it to
    /// net.core.somaxconn (4096 by default). Needs a restart.
    pub backlog: u16,

    /// How long a connection may be silent between requests before it is closed without a word.
    /// Most clients close by themselves; those that keep a connection come back only at the next
    /// interval. Above the 60 s for which nginx and Amazon's load balancers keep theirs, so that a
    /// proxy never sends a request into a connection that is just being closed. Live.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,

    /// How long a request may take from its first byte to its last; past it 408. Requests fit in a
    /// packet or two, so this is for slow senders and attacks. Live.
    #[serde(with = "duration")]
    pub request_timeout: Duration,

    /// How long an answer may wait for a client that does not read; past it the connection is
    /// closed, and the kernel gives it up (not before a second). A change counts for new
    /// connections. Live.
    #[serde(with = "duration")]
    pub send_timeout: Duration,

    /// How long a tracker that stops waits for the next request of each connection that is kept
    /// open, to answer it with "Connection: close". Live.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,

    /// Bytes of one request, head and target together; past it 414 or 431. Transmission's scrape
    /// of 60 torrents is 4.3 KB, and cookies from CDNs add 2 KB. Needs a restart.
    pub request_bytes_max: u32,

    /// Directory for what the tracker keeps between runs; each tracker needs its own. The default
    /// is the working directory, so that trying it out leaves nothing elsewhere; a service
    /// names its own. Needs a restart.
    pub state_directory: PathBuf,

    /// How often the swarms are saved in state_directory, beside when the tracker is stopped: what
    /// a tracker that was killed starts with. A peer takes 8 to 40 bytes there. "0s" = only when
    /// it is stopped. Live.
    #[serde(with = "humantime_serde")]
    pub snapshot_interval: Duration,

    /// How often a line of counters is logged. "0s" = never; SIGUSR1 logs one at any time. Live.
    #[serde(with = "duration")]
    pub stats_interval: Duration,

    /// What is logged: error, warn, info or debug. Single requests are never logged. The
    /// environment variable RUST_LOG overrides it. Live.
    pub log_level: LogLevel,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT_DEFAULT)).into()],
            public_url: String::new(),
            index: String::new(),
            trusted_proxies: NetworksSetting::default(),
            proxy_header: "X-Forwarded-For".to_owned(),
            workers: 0,
            connections_max: 50_000,
            connections_per_address_max: 0,
            backlog: 4096,
            idle_timeout: seconds(75),
            request_timeout: seconds(10),
            send_timeout: seconds(15),
            drain: seconds(2),
            request_bytes_max: 8192,
            state_directory: PathBuf::from("."),
            snapshot_interval: minutes(15),
            stats_interval: minutes(10),
            log_level: LogLevel::Info,
        }
    }
}

/// Announces over UDP (udp:// announce URLs), beside those over HTTP and in the same swarms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Documented, DocumentedFields)]
#[serde(deny_unknown_fields, default)]
pub struct UdpConfig {
    /// Addresses for UDP, as server.listen has them for HTTP. The default, "server.listen", is the
    /// same addresses, but for those with proxy_protocol: UDP has none, and everybody would have
    /// the proxy's address. [] turns UDP off. Needs a restart.
    pub listen: UdpListen,

    /// Bytes of datagrams that wait to be read, for each worker and address; what comes when it is
    /// full is dropped, and counted. The kernel cuts it to net.core.rmem_max (212992 by default),
    /// and the log says so at the start. A waiting announce takes about 1 KB. Needs a restart.
    pub receive_buffer: u32,
}

impl Default for UdpConfig {
    fn default() -> UdpConfig {
        UdpConfig { listen: UdpListen::default(), receive_buffer: 4 << 20 }
    }
}

/// What the tracker says to peers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Documented, DocumentedFields)]
#[serde(deny_unknown_fields, default)]
pub struct TrackerConfig {
    /// open: any torrent is tracked unless it is banned. registered: only those that the database
    /// lists and does not ban. The default works without listing anything. Live.
    pub mode: Mode,

    /// The least a client may wait between two announces of one torrent ("min interval" in the
    /// answer). Also part of a peer's life: one not heard of for min_interval + max_interval
    /// is gone, but not before 20 minutes. Live.
    #[serde(with = "duration")]
    pub min_interval: Duration,

    /// The most a client is asked to wait between two announces; the answer's "interval" is this
    /// less a random 0 to 10 %, so that clients spread out. From 1m to 3h; below 5m "announced
    /// check" warns, since newTrackon lists trackers from 5m and libtorrent never comes sooner.
    /// Live.
    #[serde(with = "duration")]
    pub max_interval: Duration,

    /// How long a client waits whose torrent is not registered (#5). Uploaders' clients announce
    /// before the site has listed the torrent, and libtorrent obeys: with half an hour they sit
    /// silent. Live.
    #[serde(with = "duration")]
    pub unregistered_interval: Duration,

    /// Peers handed out when a client does not say how many it wants. 50 is what the specification
    /// names. Live.
    pub numwant_default: u16,

    /// Most peers handed out in one answer, however many are asked for; 500 at most. libtorrent
    /// asks for 200. Live.
    pub numwant_max: u16,

    /// Keep peer ids, for clients that ask for the dictionary model (compact=0). They cost about
    /// 30 bytes a peer; without them such answers leave the ids out, which clients accept.
    /// Needs a restart.
    pub peer_ids: bool,

    /// Tell clients the address they were seen at (BEP 24). Costs 20 bytes an answer (33 over
    /// IPv6), and clients behind a NAT want it. Live.
    pub external_ip: bool,

    /// Networks whose clients may say with ip= which address they have: for clients behind the
    /// tracker's own NAT, such as ["192.168.0.0/16"]. Only an address that the internet routes
    /// counts. Empty, because whoever is believed can have any victim's address handed out, and
    /// behind a proxy everybody comes from a private network. Live.
    #[serde(deserialize_with = "value::deserialize_ip_parameter")]
    pub ip_parameter: Networks,

    /// What the tracker's own network is called outside, such as ["198.51.100.7", "2001:db8::7"]:
    /// at most one address of each family. Public clients get peers with a private address under
    /// it, with their port, which must be forwarded to them. Without one of the family, such peers
    /// are handed to private clients only. Live.
    #[serde(deserialize_with = "value::deserialize_one_or_many")]
    pub public_address: Vec<IpAddr>,

    /// Send crypto_flags to clients that ask for them. Off, because libtorrent always asks and
    /// never reads them. Live.
    pub crypto_flags: bool,

    /// Who may scrape all torrents at once: "on" = everybody, "off" = nobody, or a list of
    /// networks such as ["10.0.0.0/8", "::1/128"]. Live.
    pub full_scrape: FullScrape,

    /// Bytes of a full scrape, not gzipped, past which it is not for everybody: only the networks
    /// that full_scrape lists get it then, and with "on" nobody. The default is 64 MiB, some
    /// 950 000 torrents: a request of 24 bytes is answered with all of it. Live.
    pub full_scrape_bytes_max: u64,

    /// Bytes a second of all full scrapes that are being sent, together; 0 = no limit. The default
    /// of 8 MB leaves the most of a link to announces. Live.
    pub full_scrape_bytes_per_s: u64,

    /// How long one full scrape is shared before it is made anew, and how long an address waits
    /// for its next; over IPv6, a /64. A million torrents are 90 MB, so not often. Live.
    #[serde(with = "duration")]
    pub full_scrape_interval: Duration,

    /// The least a client may wait between two scrapes ("min_request_interval" in the answer).
    /// Live.
    #[serde(with = "duration")]
    pub scrape_interval: Duration,

    /// Most peers kept, all torrents together. A peer costs 15 to 84 bytes, and about 30 more with
    /// its id. 0 = as many as fit into a quarter of the memory: the least of the machine's, the
    /// control groups' (memory.max), and RLIMIT_AS and RLIMIT_DATA less what is mapped at the
    /// start; the log says then how many and which. Live.
    pub peers_max: u64,

    /// Most peers of one address (IPv6: of one /64) kept in one torrent; more are answered, not
    /// kept. Seedboxes, campuses and carriers' NATs have some dozens; one host could otherwise be
    /// most of a swarm by its ports. 0 = no limit. Live.
    pub peers_per_address_max: u32,

    /// Networks whose addresses may have more than their share: of a swarm, of its answers (at most
    /// two peers of one address while there are others), of its completions (64 in a peer's
    /// life), and of peers_max and torrents_max (a sixteenth). The default is loopback and
    /// private networks, where many clients share an address that a NAT or a proxy gives them.
    /// "file:PATH" has one network on each line. Live.
    pub shares_exempt: NetworksSetting,

    /// Most torrents with peers, without which made-up torrents would fill the memory. 0 = as many
    /// as fit into another quarter of the memory. Live.
    pub torrents_max: u64,
}

impl Default for TrackerConfig {
    fn default() -> TrackerConfig {
        TrackerConfig {
            mode: Mode::Open,
            min_interval: minutes(15),
            max_interval: minutes(30),
            unregistered_interval: minutes(5),
            numwant_default: 50,
            numwant_max: 200,
            peer_ids: true,
            external_ip: true,
            ip_parameter: Networks::default(),
            public_address: Vec::new(),
            crypto_flags: false,
            full_scrape: FullScrape::On,
            full_scrape_bytes_max: 64 << 20,
            full_scrape_bytes_per_s: 8_000_000,
            full_scrape_interval: seconds(60),
            scrape_interval: minutes(30),
            peers_max: 0,
            peers_per_address_max: 64,
            shares_exempt: Networks::private().into(),
            torrents_max: 0,
        }
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
