//! A changed settings file, taken over by a running tracker.
//!
//! Owns: which keys a running tracker takes over and which need a restart. The last words of a
//! setting's doc comment say the same to the operator; a test compares them.
//!
//! Never: takes a part of a file that is wrong: it is taken whole or refused whole.

use toml::Table;

use crate::config::live::Live;
use crate::config::sections::Config;
use crate::config::validate::Problem;

/// What comes of a changed settings file.
#[derive(Debug)]
pub struct Reload {
    /// What the tracker works by from now on.
    pub live: Live,
    /// Keys whose new value is taken over.
    pub taken: Vec<String>,
    /// Keys whose new value needs a restart, and is left until then.
    pub left: Vec<String>,
}

impl Reload {
    /// Compares `newer`, which has been checked, with the settings that the tracker was started
    /// with, and with the `current` ones that were loaded last.
    ///
    /// # Errors
    /// What does not go together until the restart: a `newer` value that counts at once, and one
    /// that is left.
    pub fn of(started: &Config, current: &Config, newer: &Config) -> Result<Reload, Vec<Problem>> {
        let effective = until_restart(started, newer);
        let problems = effective.validate();
        if !problems.is_empty() {
            return Err(problems);
        }
        let before = until_restart(started, current);
        Ok(Reload {
            live: Live::of(&effective),
            taken: differences(&before, &effective),
            left: differences(&effective, newer),
        })
    }
}

/// The settings that count until the next restart: `newer`, but for what cannot change before.
fn until_restart(started: &Config, newer: &Config) -> Config {
    let mut effective = newer.clone();
    let (server, of_start) = (&mut effective.server, &started.server);
    server.listen.clone_from(&of_start.listen);
    server.public_url.clone_from(&of_start.public_url);
    server.workers = of_start.workers;
    server.connections_max = of_start.connections_max;
    server.connections_per_address_max = of_start.connections_per_address_max;
    server.backlog = of_start.backlog;
    server.request_bytes_max = of_start.request_bytes_max;
    server.state_directory.clone_from(&of_start.state_directory);
    effective.udp.clone_from(&started.udp);
    effective.admin.clone_from(&started.admin);
    effective.tracker.peer_ids = started.tracker.peer_ids;
    let (database, of_start) = (&mut effective.database, &started.database);
    database.url.clone_from(&of_start.url);
    database.url_file.clone_from(&of_start.url_file);
    database.wait_at_start = of_start.wait_at_start;
    database.lookup_threads = of_start.lookup_threads;
    database.lookup_queue_max = of_start.lookup_queue_max;
    database.cache_bytes_max = of_start.cache_bytes_max;
    effective
}

/// The keys that differ, as `section.key`.
fn differences(before: &Config, after: &Config) -> Vec<String> {
    let (before_table, after_table) = (table(before), table(after));
    let mut keys = Vec::new();
    for (section, values) in &after_table {
        let old = before_table.get(section);
        for (key, value) in values.as_table().into_iter().flatten() {
            // A URL is written without its password, and networks by the name of their file: what
            // is not written may be what has changed.
            let is_other = match key.as_str() {
                "url" => before.database.url != after.database.url,
                "trusted_proxies" => before.server.trusted_proxies != after.server.trusted_proxies,
                _ => false,
            };
            if is_other || old.and_then(|old| old.get(key)) != Some(value) {
                keys.push(format!("{section}.{key}"));
            }
        }
    }
    keys
}

/// Only a type that TOML cannot express fails here, and the tests would see its keys missing.
fn table(config: &Config) -> Table {
    Table::try_from(config).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use documented::DocumentedFields;

    use super::*;
    use crate::config::admin::AdminConfig;
    use crate::config::database::DatabaseConfig;
    use crate::config::limits::LimitsConfig;
    use crate::config::networks::{Networks, NetworksSetting};
    use crate::config::sections::{ServerConfig, TrackerConfig, UdpConfig};

    /// The last words of the doc comment of a setting that is taken over at SIGHUP ...
    const LIVE: &str = "Live.";
    /// ... and of one that is not.
    const RESTART: &str = "Needs a restart.";

    /// A valid file in which every key has another value than by default.
    const EVERY_KEY: &str = r#"
        [server]
        listen = ["127.0.0.1:1"]
        public_url = "http://tracker.example/announce"
        index = "https://tracker.example/"
        trusted_proxies = ["10.0.0.0/8"]
        proxy_header = "X-Real-IP"
        workers = 3
        connections_max = 7
        connections_per_address_max = 7
        backlog = 7
        idle_timeout = "7s"
        request_timeout = "7s"
        send_timeout = "7s"
        drain = "7s"
        request_bytes_max = 7000
        state_directory = "/7"
        snapshot_interval = "7s"
        stats_interval = "7s"
        log_level = "debug"
        [udp]
        listen = ["127.0.0.1:2"]
        receive_buffer = 70000
        [limits]
        announces_per_address = "7/s"
        connections_per_address = "7/m"
        connects_per_address = "70/m"
        [tracker]
        mode = "registered"
        min_interval = "7m"
        max_interval = "17m"
        unregistered_interval = "7m"
        numwant_default = 7
        numwant_max = 17
        peer_ids = false
        external_ip = false
        ip_parameter = ["10.0.0.0/8"]
        public_address = ["198.51.100.7", "2001:db8::7"]
        crypto_flags = true
        full_scrape = "off"
        full_scrape_bytes_max = 7000000
        full_scrape_bytes_per_s = 7000000
        full_scrape_interval = "7s"
        scrape_interval = "7m"
        peers_max = 7
        torrents_max = 7
        peers_per_address_max = 7
        shares_exempt = []
        [database]
        url = "sqlite:7.db"
        lookup_threads = 7
        lookup_timeout = "7s"
        url_file = "/7"
        wait_at_start = true
        lookup_queue_max = 7
        cache_ttl = "7s"
        cache_bytes_max = 7000000
        flush_interval = "7s"
        torrent_ttl = "7d"
        [admin]
        listen = "127.0.0.1:7000"
        hosts = ["stats.example"]
    "#;

    fn every_key() -> Config {
        toml::from_str(EVERY_KEY).unwrap()
    }

    /// Every key with its doc comment.
    fn documented() -> Vec<(String, &'static str)> {
        let sections = [
            ("server", ServerConfig::FIELD_NAMES, ServerConfig::FIELD_DOCS),
            ("udp", UdpConfig::FIELD_NAMES, UdpConfig::FIELD_DOCS),
            ("limits", LimitsConfig::FIELD_NAMES, LimitsConfig::FIELD_DOCS),
            ("tracker", TrackerConfig::FIELD_NAMES, TrackerConfig::FIELD_DOCS),
            ("database", DatabaseConfig::FIELD_NAMES, DatabaseConfig::FIELD_DOCS),
            ("admin", AdminConfig::FIELD_NAMES, AdminConfig::FIELD_DOCS),
        ];
        let keys = sections.into_iter().flat_map(|(section, names, docs)| {
            names.iter().zip(docs).map(move |(name, doc)| (format!("{section}.{name}"), *doc))
        });
        keys.collect()
    }

    #[test]
    fn each_setting_says_truly_whether_it_is_live() {
        let started = Config::default();
        let reload = Reload::of(&started, &started, &every_key()).unwrap();
        for (key, doc) in documented() {
            let (taken, left) = (reload.taken.contains(&key), reload.left.contains(&key));
            assert!(taken != left, "{key}: taken {taken}, left {left}: is it in EVERY_KEY?");
            let words = if taken { LIVE } else { RESTART };
            assert!(doc.trim_end().ends_with(words), "{key}: its comment must end with {words:?}");
        }
    }

    #[test]
    fn every_live_setting_makes_a_difference_to_what_the_tracker_works_by() {
        let started = Config::default();
        let reload = Reload::of(&started, &started, &every_key()).unwrap();
        let of_start = Live::of(&started);
        for key in &reload.taken {
            let (section, name) = key.split_once('.').unwrap();
            let mut one_key = table(&started);
            let value = table(&every_key())[section][name].clone();
            one_key[section].as_table_mut().unwrap().insert(name.to_owned(), value);
            let config: Config = toml::Value::Table(one_key).try_into().unwrap();
            assert_ne!(Live::of(&config), of_start, "{key} changes nothing");
        }
    }

    #[test]
    fn what_needs_a_restart_is_left_and_named_each_time() {
        let started = Config::default();
        let mut newer = started.clone();
        newer.server.workers = 9;
        newer.tracker.numwant_max = 99;
        let first = Reload::of(&started, &started, &newer).unwrap();
        assert_eq!(first.taken, ["tracker.numwant_max"]);
        assert_eq!(first.left, ["server.workers"]);
        assert_eq!(first.live.policy.numwant_max, 99);
        let again = Reload::of(&started, &newer, &newer).unwrap();
        assert_eq!(again.taken, [""; 0], "nothing has changed since");
        assert_eq!(again.left, ["server.workers"]);
    }

    #[test]
    fn a_list_in_a_file_of_its_own_that_has_changed_is_named() {
        let list = tempfile::NamedTempFile::new().unwrap();
        let of = |listed: &str| {
            fs::write(list.path(), listed).unwrap();
            let name = format!("\"file:{}\"", list.path().display());
            let mut proxies: NetworksSetting = serde_json::from_str(&name).unwrap();
            proxies.read_named_file(&Networks::default()).unwrap();
            Config {
                server: ServerConfig { trusted_proxies: proxies, ..ServerConfig::default() },
                ..Config::default()
            }
        };
        let (started, newer) = (of("10.0.0.0/8\n"), of("192.0.2.0/24\n"));
        let reload = Reload::of(&started, &started, &newer).unwrap();
        assert_eq!(reload.taken, ["server.trusted_proxies"]);
        let reload = Reload::of(&started, &newer, &newer).unwrap();
        assert_eq!(reload.taken, [""; 0], "nothing has changed since");
    }

    #[test]
    fn a_password_that_has_changed_is_named_and_not_shown() {
        let mut started = Config::default();
        started.database.url = "mysql://root:old@db/x".to_owned().into();
        let mut newer = started.clone();
        newer.database.url = "mysql://root:new@db/x".to_owned().into();
        assert_eq!(Reload::of(&started, &started, &newer).unwrap().left, ["database.url"]);
    }

    #[test]
    fn a_mode_that_needs_a_database_waits_for_it_with_the_rest() {
        let mut started = Config::default();
        started.database.url = "memory".to_owned().into();
        let problems = Reload::of(&started, &started, &every_key()).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].key, "tracker.mode");
    }
}
