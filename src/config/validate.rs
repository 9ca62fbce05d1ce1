//! Which values a setting may have.
//!
//! Owns: the range of every setting and the rules between them. All problems are found at once, so
//! that a settings file is mended in one go. What works, but hardly as it is meant, is a warning.
//!
//! Never does: look at the machine (whether an address can be bound, a directory written); start-up
//! finds that out by doing it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use humantime_serde::re::humantime::format_duration;

use crate::bounds::PEERS_PER_REPLY_MAX;
use crate::bounds::{LIFETIME_MS_MAX, VERDICT_MS_MAX};
use crate::config::admin::AdminConfig;
use crate::config::database::DatabaseConfig;
use crate::config::sections::{Config, ServerConfig, TrackerConfig, UdpConfig};
use crate::config::value::{Listen, Mode, UdpListen};
use crate::ids::{Family, canonical, is_private};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Bytes of the name of a header.
const HEADER_NAME_BYTES_MAX: usize = 64;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest interval, minimum or maximum: the two together are a peer's lifetime.
const INTERVAL_MAX: Duration = Duration::from_millis(LIFETIME_MS_MAX / 2);
/// Bytes of the text or URL at `/`: a page belongs on a web server.
const INDEX_BYTES_MAX: usize = 2_048;
/// Of which the kernel gives what net.core.rmem_max allows.
const RECEIVE_BUFFER_BYTES: RangeInclusive<u64> = 4_096..=1 << 30;
/// newTrackon lists trackers whose interval is at least this.
const LISTED_INTERVAL_MIN: Duration = Duration::from_secs(5 * 60);
const CACHE_TTL_MAX: Duration = Duration::from_millis(VERDICT_MS_MAX);

/// A setting that cannot be, or that is doubtful. Shown as `section.key = value: what it must be`;
/// a password is never part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The setting, as `section.key`.
    pub key: &'static str,
    /// Its value, as it would stand in the settings file.
    pub value: String,
    /// What it must be, or what speaks against it.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.key, self.value, self.rule)
    }
}

impl Config {
    /// Everything that is wrong with the settings, in the order of their file. Empty when they are
    /// fit to start with.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Problems(Vec::new());
        problems.server(&self.server);
        problems.udp(&self.udp);
        problems.tracker(&self.tracker);
        problems.database(&self.database);
        problems.admin(&self.admin);
        problems.registration(self);
        problems.0
    }

    /// What may be so and is hardly meant so. The tracker starts all the same.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Problems(Vec::new());
        let interval = self.tracker.max_interval;
        if interval < LISTED_INTERVAL_MIN {
            let rule = "is below \"5m\": newTrackon lists no such tracker, and libtorrent never \
                        comes back sooner (rTorrent not before 10 minutes)";
            warnings.add("tracker.max_interval", quoted(&format_duration(interval)), rule);
        }
        warnings.0
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn server(&mut self, server: &ServerConfig) {
        if server.listen.is_empty() {
            self.add("server.listen", "[]", "must name at least one address");
        }
        for (index, Listen { address, .. }) in server.listen.iter().enumerate() {
            let before = &server.listen[..index];
            if address.port() != 0 && before.iter().any(|other| other.address == *address) {
                self.add("server.listen", quoted(address), "is listed twice");
            }
        }
        self.public_url(&server.public_url);
        self.index(&server.index);
        self.proxies(server);
        self.number("server.workers", server.workers.into(), 0..=1024);
        self.number("server.connections_max", server.connections_max.into(), 1..=10_000_000);
        self.number("server.backlog", server.backlog.into(), 1..=65535);
        self.duration("server.idle_timeout", server.idle_timeout, MILLISECOND..=DAY);
        self.duration("server.request_timeout", server.request_timeout, MILLISECOND..=HOUR);
        self.duration("server.send_timeout", server.send_timeout, MILLISECOND..=HOUR);
        self.duration("server.drain", server.drain, Duration::ZERO..=MINUTE);
        self.number("server.request_bytes_max", server.request_bytes_max.into(), 1024..=65536);
        if server.state_directory.as_os_str().is_empty() {
            self.add(
                "server.state_directory",
                "\"\"",
                "must name a directory; \".\" is the working directory",
            );
        }
        if !server.snapshot_interval.is_zero() {
            self.duration("server.snapshot_interval", server.snapshot_interval, SECOND..=DAY);
        }
        if !server.stats_interval.is_zero() {
            self.duration("server.stats_interval", server.stats_interval, SECOND..=DAY);
        }
    }

    fn udp(&mut self, udp: &UdpConfig) {
        if let UdpListen::Addresses(addresses) = &udp.listen {
            for (index, address) in addresses.iter().enumerate() {
                if address.port() != 0 && addresses[..index].contains(address) {
                    self.add("udp.listen", quoted(address), "is listed twice");
                }
            }
        }
        self.number("udp.receive_buffer", udp.receive_buffer.into(), RECEIVE_BUFFER_BYTES);
    }

    fn admin(&mut self, admin: &AdminConfig) {
        if let Err(wrong) = admin.address() {
            self.add("admin.listen", quoted(&admin.listen), wrong.to_string());
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        for name in admin.hosts.iter().filter(|name| !name.bytes().all(is_name)) {
            self.add("admin.hosts", quoted(name), "is no name of a host, without a port");
        }
    }

    fn index(&mut self, index: &str) {
        let is_url = index.starts_with("http://") || index.starts_with("https://");
        if index.len() > INDEX_BYTES_MAX {
            let rule = format!("has {} bytes; {INDEX_BYTES_MAX} is the most", index.len());
            self.add("server.index", "\"…\"", rule);
        } else if is_url && !index.bytes().all(|byte| byte.is_ascii_graphic()) {
            let rule = "is a URL with a character that must be written as %XX";
            self.add("server.index", quoted(&index), rule);
        }
    }

    fn public_url(&mut self, url: &str) {
        let schemes = ["http://", "https://", "udp://"];
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        let names_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']));
        if !url.is_empty() && (!names_host || !url.bytes().all(|byte| byte.is_ascii_graphic())) {
            let rule = "must be an announce URL, such as \"http://tracker.example:6969/announce\"";
            self.add("server.public_url", quoted(&url), rule);
        }
    }

    fn proxies(&mut self, server: &ServerConfig) {
        let asks = server.listen.iter().find(|listen| listen.proxy_protocol);
        if let Some(asks) = asks
            && server.trusted_proxies.networks().is_empty()
        {
            let rule = "has proxy_protocol = true, but server.trusted_proxies names nobody who is \
                        believed";
            self.add("server.listen", quoted(&asks.address), rule);
        }
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let header = &server.proxy_header;
        if header.is_empty()
            || header.len() > HEADER_NAME_BYTES_MAX
            || !header.bytes().all(is_token)
        {
            let rule = "must be the name of a header, such as \"X-Forwarded-For\"";
            self.add("server.proxy_header", quoted(header), rule);
        }
    }

    fn tracker(&mut self, tracker: &TrackerConfig) {
        // newTrackon refuses intervals outside 300 s to 3 h; below a minute a tracker only serves
        // itself to death.
        self.duration("tracker.max_interval", tracker.max_interval, MINUTE..=INTERVAL_MAX);
        self.duration("tracker.min_interval", tracker.min_interval, SECOND..=INTERVAL_MAX);
        if tracker.min_interval > tracker.max_interval {
            let rule = format!(
                "must not be above tracker.max_interval, which is {}",
                quoted(&format_duration(tracker.max_interval))
            );
            self.add("tracker.min_interval", quoted(&format_duration(tracker.min_interval)), rule);
        }
        let bounds = MINUTE..=3 * HOUR;
        self.duration("tracker.unregistered_interval", tracker.unregistered_interval, bounds);
        self.number(
            "tracker.numwant_max",
            tracker.numwant_max.into(),
            1..=PEERS_PER_REPLY_MAX as u64,
        );
        if tracker.numwant_default > tracker.numwant_max {
            let rule =
                format!("must not be above tracker.numwant_max, which is {}", tracker.numwant_max);
            self.add("tracker.numwant_default", tracker.numwant_default.to_string(), rule);
        }
        let bytes = tracker.full_scrape_bytes_max;
        self.number("tracker.full_scrape_bytes_max", bytes, 1 << 10..=1 << 40);
        if tracker.full_scrape_bytes_per_s != 0 {
            let bytes = tracker.full_scrape_bytes_per_s;
            self.number("tracker.full_scrape_bytes_per_s", bytes, 1 << 16..=1 << 40);
        }
        self.public_address(&tracker.public_address);
        self.duration("tracker.full_scrape_interval", tracker.full_scrape_interval, SECOND..=DAY);
        self.duration("tracker.scrape_interval", tracker.scrape_interval, SECOND..=DAY);
        self.number("tracker.peers_max", tracker.peers_max, 0..=u32::MAX.into());
        self.number("tracker.torrents_max", tracker.torrents_max, 0..=u32::MAX.into());
    }

    fn public_address(&mut self, addresses: &[IpAddr]) {
        let mut families = Vec::new();
        for address in addresses {
            let ip = canonical(*address);
            let is_broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
            if is_private(ip) || ip.is_unspecified() || ip.is_multicast() || is_broadcast {
                let rule = "is no address that the internet could reach";
                self.add("tracker.public_address", quoted(address), rule);
            }
            if families.contains(&Family::of(ip)) {
                let rule = "is a second address of its family";
                self.add("tracker.public_address", quoted(address), rule);
            }
            families.push(Family::of(ip));
        }
    }

    fn database(&mut self, database: &DatabaseConfig) {
        if let Some(right) = database.url.sqlite_without_slashes() {
            self.add("database.url", quoted(&database.url), format!("is written {right}"));
        } else if !database.url.is_known() {
            let rule = "must be sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/NAME or memory";
            self.add("database.url", quoted(&database.url), rule);
        }
        self.number("database.lookup_threads", database.lookup_threads.into(), 1..=256);
        self.duration("database.lookup_timeout", database.lookup_timeout, MILLISECOND..=HOUR);
        self.number("database.lookup_queue_max", database.lookup_queue_max.into(), 1..=10_000_000);
        self.duration("database.cache_ttl", database.cache_ttl, MILLISECOND..=CACHE_TTL_MAX);
        self.number("database.cache_bytes_max", database.cache_bytes_max, 1 << 20..=1 << 40);
        self.duration("database.flush_interval", database.flush_interval, 100 * MILLISECOND..=HOUR);
        // Activity is written once an hour: what is younger than a few of those may be in use.
        if !database.torrent_ttl.is_zero() {
            self.duration("database.torrent_ttl", database.torrent_ttl, 6 * HOUR..=10_000 * DAY);
        }
    }

    fn registration(&mut self, config: &Config) {
        if config.tracker.mode == Mode::Registered && config.database.url.is_memory() {
            self.add(
                "tracker.mode",
                quoted(&Mode::Registered),
                "needs a database that lists torrents; database.url is \"memory\"",
            );
        }
    }

    fn number(&mut self, key: &'static str, value: u64, bounds: RangeInclusive<u64>) {
        if !bounds.contains(&value) {
            self.add(
                key,
                value.to_string(),
                format!("must be from {} to {}", bounds.start(), bounds.end()),
            );
        }
    }

    fn duration(&mut self, key: &'static str, value: Duration, bounds: RangeInclusive<Duration>) {
        if !bounds.contains(&value) {
            let [low, high, value] = [*bounds.start(), *bounds.end(), value]
                .map(|duration| quoted(&format_duration(duration)));
            self.add(key, value, format!("must be from {low} to {high}"));
        }
    }

    fn add(&mut self, key: &'static str, value: impl Into<String>, rule: impl Into<String>) {
        self.0.push(Problem { key, value: value.into(), rule: rule.into() });
    }
}

fn quoted(value: &impl fmt::Display) -> String {
    format!("{:?}", value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DatabaseUrl;

    /// What is wrong with the defaults after `change`.
    fn problems(change: impl Fn(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        config.validate().iter().map(Problem::to_string).collect()
    }

    type Row = (fn(&mut Config), &'static str);

    #[test]
    fn the_defaults_are_fit() {
        assert_eq!(problems(|_| ()), [""; 0]);
    }

    #[test]
    fn a_problem_names_key_value_and_bound() {
        let rows: [Row; 13] = [
            (|c| c.server.listen.clear(), "server.listen = []: must name at least one address"),
            (
                |c| c.server.listen.push(c.server.listen[0]),
                "server.listen = \"[::]:6969\": is listed twice",
            ),
            (
                |c| c.udp.listen = UdpListen::Addresses(vec!["127.0.0.1:1".parse().unwrap(); 2]),
                "udp.listen = \"127.0.0.1:1\": is listed twice",
            ),
            (
                |c| c.udp.receive_buffer = 0,
                "udp.receive_buffer = 0: must be from 4096 to 1073741824",
            ),
            (|c| c.server.workers = 1025, "server.workers = 1025: must be from 0 to 1024"),
            (
                |c| c.server.idle_timeout = Duration::ZERO,
                "server.idle_timeout = \"0s\": must be from \"1ms\" to \"1day\"",
            ),
            (
                |c| c.server.request_bytes_max = 1023,
                "server.request_bytes_max = 1023: must be from 1024 to 65536",
            ),
            (
                |c| c.tracker.max_interval = 4 * HOUR,
                "tracker.max_interval = \"4h\": must be from \"1m\" to \"3h\"",
            ),
            (
                |c| c.tracker.min_interval = 31 * MINUTE,
                "tracker.min_interval = \"31m\": must not be above tracker.max_interval, which is \
                 \"30m\"",
            ),
            (
                |c| c.tracker.numwant_default = 201,
                "tracker.numwant_default = 201: must not be above tracker.numwant_max, which is \
                 200",
            ),
            (
                |c| c.tracker.full_scrape_bytes_per_s = 65_535,
                "tracker.full_scrape_bytes_per_s = 65535: must be from 65536 to 1099511627776",
            ),
            (|c| c.tracker.numwant_max = 501, "tracker.numwant_max = 501: must be from 1 to 500"),
            (
                |c| (c.tracker.mode, c.database.url) = (Mode::Registered, DatabaseUrl::memory()),
                "tracker.mode = \"registered\": needs a database that lists torrents; \
                 database.url is \"memory\"",
            ),
        ];
        for (change, problem) in rows {
            assert_eq!(problems(change), [problem]);
        }
    }

    #[test]
    fn a_public_url_names_a_scheme_and_a_host() {
        for fit in ["", "http://a.example:80/announce", "https://[2001:db8::1]/announce"] {
            assert_eq!(problems(|c| c.server.public_url = fit.to_owned()), [""; 0], "{fit}");
        }
        for unfit in ["tracker.example", "ftp://a/announce", "http:///announce", "http://a b/"] {
            let rule = "must be an announce URL, such as \"http://tracker.example:6969/announce\"";
            assert_eq!(
                problems(|c| c.server.public_url = unfit.to_owned()),
                [format!("server.public_url = \"{unfit}\": {rule}")]
            );
        }
    }

    #[test]
    fn a_public_address_is_one_of_each_family_that_the_internet_could_reach() {
        let no_use = "is no address that the internet could reach";
        let second = "is a second address of its family";
        type Row = (&'static [&'static str], Option<(&'static str, &'static str)>);
        let rows: [Row; 11] = [
            (&[], None),
            (&["198.51.100.7"], None),
            (&["2001:db8::7"], None),
            (&["2001:db8::7", "198.51.100.7"], None),
            (&["192.168.0.7"], Some(("192.168.0.7", no_use))),
            (&["198.51.100.7", "fd00::7"], Some(("fd00::7", no_use))),
            (&["0.0.0.0"], Some(("0.0.0.0", no_use))),
            (&["224.0.0.1"], Some(("224.0.0.1", no_use))),
            (&["::ffff:10.0.0.1"], Some(("::ffff:10.0.0.1", no_use))),
            (&["198.51.100.7", "198.51.100.8"], Some(("198.51.100.8", second))),
            (&["198.51.100.7", "::ffff:9.9.9.9"], Some(("::ffff:9.9.9.9", second))),
        ];
        for (addresses, problem) in rows {
            let told = problems(|c| {
                c.tracker.public_address =
                    addresses.iter().map(|address| address.parse().unwrap()).collect();
            });
            let expected = problem
                .map(|(address, rule)| format!("tracker.public_address = {address:?}: {rule}"));
            assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{addresses:?}");
        }
    }

    #[test]
    fn a_maximum_interval_below_five_minutes_is_warned_of_and_fit() {
        for (interval, warned) in [(MINUTE, true), (299 * SECOND, true), (5 * MINUTE, false)] {
            let mut config = Config::default();
            (config.tracker.min_interval, config.tracker.max_interval) = (MINUTE, interval);
            assert_eq!(config.validate(), [], "{interval:?} is fit");
            let keys = config.warnings().iter().map(|warning| warning.key).collect::<Vec<_>>();
            let expected: &[&str] = if warned { &["tracker.max_interval"] } else { &[] };
            assert_eq!(keys, expected, "warnings for {interval:?}");
        }
    }

    #[test]
    fn every_zero_that_means_nothing_is_refused() {
        let rows: [Row; 11] = [
            (|c| c.server.connections_max = 0, "server.connections_max"),
            (|c| c.server.backlog = 0, "server.backlog"),
            (|c| c.server.request_timeout = Duration::ZERO, "server.request_timeout"),
            (|c| c.server.send_timeout = Duration::ZERO, "server.send_timeout"),
            (|c| c.tracker.min_interval = Duration::ZERO, "tracker.min_interval"),
            (|c| c.tracker.full_scrape_bytes_max = 0, "tracker.full_scrape_bytes_max"),
            (|c| c.tracker.full_scrape_interval = Duration::ZERO, "tracker.full_scrape_interval"),
            (|c| c.tracker.scrape_interval = Duration::ZERO, "tracker.scrape_interval"),
            (|c| c.database.lookup_threads = 0, "database.lookup_threads"),
            (|c| c.database.lookup_timeout = Duration::ZERO, "database.lookup_timeout"),
            (|c| c.database.cache_ttl = Duration::ZERO, "database.cache_ttl"),
        ];
        for (change, key) in rows {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(
                config.validate().iter().map(|problem| problem.key).collect::<Vec<_>>(),
                [key]
            );
        }
    }

    #[test]
    fn zeros_that_mean_off_and_ports_left_to_the_system_are_fit() {
        let any_port = "127.0.0.1:0".parse().unwrap();
        let fit = problems(|c| {
            c.server.listen = vec![any_port, any_port];
            c.server.snapshot_interval = Duration::ZERO;
            c.server.stats_interval = Duration::ZERO;
            c.tracker.numwant_default = 0;
            c.tracker.full_scrape_bytes_per_s = 0;
        });
        assert_eq!(fit, [""; 0]);
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_password() {
        let told = problems(|c| {
            c.server.workers = 2000;
            c.database.url = "mysqli://root:hunter2@db/tracker".to_owned().into();
        });
        assert_eq!(told.len(), 2);
        assert_eq!(
            told[1],
            "database.url = \"mysqli://root:***@db/tracker\": must be sqlite:PATH, \
             mysql://USER:PASSWORD@HOST:PORT/NAME or memory"
        );
    }
}
