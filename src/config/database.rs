//! The section of the database, as `sections` has the others.
//!
//! Never does: read the URL (`database_url` hides its password, the registry knows what it means).

use std::path::PathBuf;
use std::time::Duration;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

use crate::config::database_url::DatabaseUrl;
use crate::config::duration;

/// Where torrents are registered, and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Documented, DocumentedFields)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// The database: sqlite:PATH, a file that is made when it is missing and needs no server;
    /// mysql://USER:PASSWORD@HOST:PORT/NAME, MySQL or MariaDB, with ?socket=PATH for a Unix
    /// socket, or ?ssl_mode=disabled, required, verify-ca or verify-identity and ?ssl_ca=PATH for
    /// TLS; or memory, none at all: nothing is registered or banned. --database wins over the
    /// environment variable ANNOUNCED_DATABASE, and that over this file; a command line can be
    /// read by every user of the machine, so a password belongs in one of the others.
    /// Needs a restart.
    pub url: DatabaseUrl,

    /// A file that holds the URL, in place of url: a secret of Docker's, or one of systemd's
    /// LoadCredential (/run/credentials/announced.service/NAME). Empty: there is none.
    /// Needs a restart.
    pub url_file: PathBuf,

    /// Start also when the database refuses the tracker: by a wrong password, for lack of a right,
    /// without the tables. Otherwise that ends the start, as waiting cures nothing; a database
    /// that does not answer is always waited for. For containers beside a database that is still
    /// being made. Needs a restart.
    pub wait_at_start: bool,

    /// Threads that wait for the database, so that no event loop does. Needs a restart.
    pub lookup_threads: u16,

    /// How long a lookup may take before the client is asked to try again later. Clients give up
    /// after 10 to 60 seconds. Live.
    #[serde(with = "duration")]
    pub lookup_timeout: Duration,

    /// Lookups that may wait for a thread; past it clients are asked to try again later, at once.
    /// Needs a restart.
    pub lookup_queue_max: u32,

    /// How long an answer of the database is believed, and so how soon a change made by SQL is
    /// seen. Changes made by "announced torrent" are seen within a second, and all of them at
    /// once on SIGHUP. Live.
    #[serde(with = "duration")]
    pub cache_ttl: Duration,

    /// Bytes of cached answers. The default is 256 MiB: about a million torrents. Those that do
    /// not fit are looked up when asked for. Needs a restart.
    pub cache_bytes_max: u64,

    /// How often counters (downloads, seeders, leechers, last activity) are written to the
    /// database. What is not written yet is lost when the tracker is killed, but not when it
    /// is stopped. Live.
    #[serde(with = "duration")]
    pub flush_interval: Duration,

    /// Listed torrents that had no peers for so long are deleted from the database, unless they
    /// are banned. "0s" = never. Live.
    #[serde(with = "duration")]
    pub torrent_ttl: Duration,
}

impl Default for DatabaseConfig {
    fn default() -> DatabaseConfig {
        DatabaseConfig {
            url: DatabaseUrl::default(),
            url_file: PathBuf::new(),
            wait_at_start: false,
            lookup_threads: 4,
            lookup_timeout: Duration::from_secs(2),
            lookup_queue_max: 10_000,
            cache_ttl: Duration::from_secs(30),
            cache_bytes_max: 256 << 20,
            flush_interval: Duration::from_secs(5),
            torrent_ttl: Duration::ZERO,
        }
    }
}
