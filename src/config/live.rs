//! The settings that a running tracker takes over at SIGHUP, in the units in which they are used.
//!
//! Owns: [`Live`], one immutable value made of a checked [`Config`], and [`LiveSettings`], where
//! the latest of them is. Who works by settings looks for a newer value at a moment that suits: a
//! worker once a round, a thread of the registry before each piece of work. It hands the value down
//! as an argument, as it does the time, so that no fact of the settings is kept in a second place.
//!
//! What is not here needs a restart: sockets, threads, sizes of buffers and caches, which database,
//! whether peer ids are kept. The doc comment of each setting says which kind it is.
//!
//! Never: a setting without its unit in its name or type.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::bounds::LIFETIME_MS_MIN;
use crate::config::limits::Rate;
use crate::config::networks::Networks;
use crate::config::sections::Config;
use crate::config::value::{FullScrape, LogLevel, Mode};
use crate::ids::{Family, canonical};

/// Every setting that may change while the tracker runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// What the tracker says to peers.
    pub policy: Policy,
    /// What a browser is told at `/`.
    pub index: Index,
    /// Who is believed to speak for others.
    pub proxies: ProxyPolicy,
    /// How often one address may ask.
    pub rates: RateLimits,
    /// How many peers and torrents are kept, and how long.
    pub swarm: SwarmLimits,
    /// How long connections are waited for.
    pub connection_times: ConnectionTimes,
    /// Who may scrape everything, and how often.
    pub full_scrape: FullScrapePolicy,
    /// How the registry paces its work.
    pub registry: RegistryPace,
    /// How often the swarms are saved; zero is only at the end.
    pub snapshot_interval: Duration,
    /// How often a line of counters is logged; zero is never.
    pub stats_interval: Duration,
    /// What is logged.
    pub log_level: LogLevel,
}

/// The site's policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Which torrents are tracked.
    pub mode: Mode,
    /// Clients are asked back after at most this, seconds.
    pub max_interval_s: u32,
    /// Clients are asked not to come back sooner, seconds.
    pub min_interval_s: u32,
    /// Clients whose torrent is not registered are asked back after this, seconds.
    pub unregistered_interval_s: u32,
    /// Clients are asked not to scrape again sooner, seconds.
    pub scrape_interval_s: u32,
    /// Peers handed out when the client names no number.
    pub numwant_default: u16,
    /// Peers handed out at most.
    pub numwant_max: u16,
    /// Whether answers carry `external ip` (BEP 24).
    pub external_ip: bool,
    /// Whether answers carry `crypto_flags` when asked for.
    pub crypto_flags: bool,
    /// Networks from which the `ip` parameter is believed.
    pub ip_parameter: Networks,
}

/// What a browser is told at `/`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Index {
    /// The program's name.
    #[default]
    Program,
    /// A text.
    Text(String),
    /// Where to go instead.
    Redirect(String),
}

impl Index {
    fn of(index: &str) -> Index {
        match index {
            "" => Index::Program,
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Index::Redirect(url.to_owned())
            }
            text => Index::Text(format!("{}\n", text.trim_end())),
        }
    }
}

/// Who is believed to speak for others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyPolicy {
    /// Networks whose connections are proxies.
    pub trusted: Networks,
    /// The header in which they name the client.
    pub header: String,
}

/// A cap that the settings leave to the memory, before anybody has looked how much there is.
pub const UNSET_MAX: u64 = u64::MAX;

/// How often one address may ask; nothing is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateLimits {
    /// Announces.
    pub announces: Option<Rate>,
    /// New TCP connections.
    pub connections: Option<Rate>,
    /// UDP packets that ask for a connection id.
    pub connects: Option<Rate>,
}

/// What the swarms may hold, and how that is shown outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SwarmLimits {
    /// A peer not heard of for longer is gone, milliseconds: the minimum and the maximum interval
    /// together, but not before [`LIFETIME_MS_MIN`].
    pub lifetime_ms: u64,
    /// Peers that are stored, at most; [`UNSET_MAX`] where the settings leave it to the memory.
    pub peers_max: u64,
    /// Torrents that are stored, at most; likewise.
    pub torrents_max: u64,
    /// Peers of one address (IPv6: of one /64) that are stored in one swarm; 0 is no limit.
    pub peers_per_address_max: u32,
    /// Networks whose addresses may have more than their share.
    pub shares_exempt: Networks,
    /// What peers with a private address are handed out under.
    pub public_addresses: PublicAddresses,
}

/// What the tracker's own network is called outside: an address of each family, if it has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PublicAddresses {
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

impl PublicAddresses {
    /// It has none: its peers are not handed out.
    pub const NONE: PublicAddresses = PublicAddresses { v4: None, v6: None };

    /// Those of a list, the first of each family.
    pub fn of(list: &[IpAddr]) -> PublicAddresses {
        let mut addresses = PublicAddresses::NONE;
        for ip in list {
            match canonical(*ip) {
                IpAddr::V4(ip) => _ = addresses.v4.get_or_insert(ip),
                IpAddr::V6(ip) => _ = addresses.v6.get_or_insert(ip),
            }
        }
        addresses
    }

    /// The address of one family.
    pub fn of_family(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }
}

/// How long a connection may take over each thing, milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionTimes {
    /// A kept-alive connection without a request is closed after this.
    pub idle_ms: u64,
    /// A worker that stops waits so long for the next request of each kept-alive connection.
    pub drain_ms: u64,
    /// From the first byte of a request to its last.
    pub request_ms: u64,
    /// From one byte of an answer taken by the peer to the next.
    pub send_ms: u64,
    /// How long a request waits for the registry.
    pub lookup_ms: u64,
}

/// Who may scrape every torrent at once, and how often.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FullScrapePolicy {
    /// Everybody, nobody, or some networks.
    pub who: FullScrape,
    /// Bytes of a body, not gzipped, past which it is only for networks that are listed.
    pub bytes_max: u64,
    /// Bytes a second of all bodies together; 0 is no limit.
    pub bytes_per_s: u64,
    /// At most one copy is made in this time, and one answer given to an address, milliseconds.
    pub interval_ms: u64,
}

impl FullScrapePolicy {
    /// Bytes of the largest body that whoever may ask is given; none where only listed networks
    /// may ask.
    pub fn public_bytes_max(&self) -> Option<u64> {
        (!matches!(self.who, FullScrape::Networks(_))).then_some(self.bytes_max)
    }
}

/// How the registry paces its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegistryPace {
    /// How long an answer of the database is believed, milliseconds.
    pub cache_ttl_ms: u64,
    /// How long a question to the database may take.
    pub lookup_timeout: Duration,
    /// How often counters are written.
    pub flush_interval: Duration,
    /// Torrents without peers and without news for so long are deleted; none when it is zero.
    pub torrent_ttl: Duration,
}

impl Live {
    /// The live part of settings that have been checked.
    pub fn of(config: &Config) -> Live {
        let Config { server, udp: _, limits, tracker, database, admin: _ } = config;
        Live {
            policy: Policy {
                mode: tracker.mode,
                max_interval_s: seconds(tracker.max_interval),
                min_interval_s: seconds(tracker.min_interval),
                unregistered_interval_s: seconds(tracker.unregistered_interval),
                scrape_interval_s: seconds(tracker.scrape_interval),
                numwant_default: tracker.numwant_default,
                numwant_max: tracker.numwant_max,
                external_ip: tracker.external_ip,
                crypto_flags: tracker.crypto_flags,
                ip_parameter: tracker.ip_parameter.clone(),
            },
            index: Index::of(&server.index),
            proxies: ProxyPolicy {
                trusted: server.trusted_proxies.networks().clone(),
                header: server.proxy_header.clone(),
            },
            rates: RateLimits {
                announces: limits.announces_per_address.0,
                connections: limits.connections_per_address.0,
                connects: limits.connects_per_address.0,
            },
            swarm: SwarmLimits {
                lifetime_ms: millis(tracker.min_interval + tracker.max_interval)
                    .max(LIFETIME_MS_MIN),
                peers_max: cap(tracker.peers_max),
                torrents_max: cap(tracker.torrents_max),
                peers_per_address_max: tracker.peers_per_address_max,
                shares_exempt: tracker.shares_exempt.networks().clone(),
                public_addresses: PublicAddresses::of(&tracker.public_address),
            },
            connection_times: ConnectionTimes {
                idle_ms: millis(server.idle_timeout),
                drain_ms: millis(server.drain),
                request_ms: millis(server.request_timeout),
                send_ms: millis(server.send_timeout),
                lookup_ms: millis(database.lookup_timeout),
            },
            full_scrape: FullScrapePolicy {
                who: tracker.full_scrape.clone(),
                bytes_max: tracker.full_scrape_bytes_max,
                bytes_per_s: tracker.full_scrape_bytes_per_s,
                interval_ms: millis(tracker.full_scrape_interval),
            },
            registry: RegistryPace {
                cache_ttl_ms: millis(database.cache_ttl),
                lookup_timeout: database.lookup_timeout,
                flush_interval: database.flush_interval,
                torrent_ttl: database.torrent_ttl,
            },
            snapshot_interval: server.snapshot_interval,
            stats_interval: server.stats_interval,
            log_level: server.log_level,
        }
    }
}

/// The default settings.
impl Default for Live {
    fn default() -> Live {
        Live::of(&Config::default())
    }
}

/// The latest live settings; clones share them.
#[derive(Clone)]
pub struct LiveSettings(Arc<Latest>);

struct Latest {
    value: Mutex<Arc<Live>>,
    /// How often the value has been replaced.
    version: AtomicU64,
}

impl LiveSettings {
    /// Begins with `live`.
    pub fn new(live: Live) -> LiveSettings {
        let value = Mutex::new(Arc::new(live));
        LiveSettings(Arc::new(Latest { value, version: AtomicU64::new(0) }))
    }

    /// Has everybody work by `live` from their next look on.
    pub fn replace(&self, live: Live) {
        *self.0.value.lock() = Arc::new(live);
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// The latest value, for who looks now and then.
    pub fn latest(&self) -> Arc<Live> {
        Arc::clone(&self.0.value.lock())
    }

    /// A reader of its own for a thread that looks often.
    pub fn reader(&self) -> LiveReader {
        LiveReader { version: 0, seen: self.latest(), settings: self.clone() }.at_latest()
    }
}

/// One thread's view of the live settings: looking costs one load while nothing has changed.
pub struct LiveReader {
    settings: LiveSettings,
    version: u64,
    seen: Arc<Live>,
}

impl LiveReader {
    fn at_latest(mut self) -> LiveReader {
        // The version is read before the value: a replacement in between is met by the next look.
        self.version = self.settings.0.version.load(Ordering::Acquire);
        self.seen = self.settings.latest();
        self
    }

    /// Looks whether there is a newer value. Whether there was.
    pub fn look(&mut self) -> bool {
        let version = self.settings.0.version.load(Ordering::Acquire);
        let is_newer = version != self.version;
        if is_newer {
            self.version = version;
            self.seen = self.settings.latest();
        }
        is_newer
    }

    /// The value seen at the last look.
    pub fn seen(&self) -> &Arc<Live> {
        &self.seen
    }
}

/// A duration in whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a cap of the settings means, where 0 leaves it to the memory.
fn cap(setting: u64) -> u64 {
    if setting == 0 { UNSET_MAX } else { setting }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_numwant(numwant_max: u16) -> Live {
        let live = Live::default();
        Live { policy: Policy { numwant_max, ..live.policy.clone() }, ..live }
    }

    #[test]
    fn a_peer_lives_for_both_intervals_but_for_20_minutes_at_least() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        for (min, max, lifetime) in
            [(15, 30, 45), (5, 15, 20), (5, 14, 20), (1, 1, 20), (6, 15, 21)]
        {
            let mut config = Config::default();
            config.tracker.min_interval = minutes(min);
            config.tracker.max_interval = minutes(max);
            let told = Live::of(&config).swarm.lifetime_ms;
            assert_eq!(told, lifetime * 60_000, "min_interval {min}m, max_interval {max}m");
        }
    }

    #[test]
    fn a_reader_sees_a_replacement_at_its_next_look_and_only_once() {
        let settings = LiveSettings::new(with_numwant(1));
        let mut reader = settings.reader();
        assert!(!reader.look(), "nothing has been replaced");
        settings.replace(with_numwant(2));
        assert_eq!(reader.seen().policy.numwant_max, 1, "before the look");
        assert!(reader.look(), "the replacement is seen");
        assert_eq!(reader.seen().policy.numwant_max, 2, "after the look");
        assert!(!reader.look(), "it is seen once");
        assert!(!settings.reader().look(), "a new reader begins with the latest");
    }
}
