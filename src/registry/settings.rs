//! Bounds and paces of the registry.

use std::time::Duration;

use crate::mailbox::Clock;
use crate::registry::state_file::StateFile;

/// See the module.
#[derive(Clone)]
pub struct RegistrySettings {
    /// How long a verdict is taken for fresh, milliseconds.
    pub cache_ttl_ms: u64,
    /// Bytes all cached verdicts may take.
    pub cache_bytes_max: usize,
    /// The threads and their queue.
    pub pool: PoolSettings,
    /// Key of the cache's hash.
    pub seed: u64,
    /// How often counters are written.
    pub flush_interval: Duration,
    /// Torrents without peers and without news for so long are deleted; none when it is zero.
    pub torrent_ttl: Duration,
    /// Where what outlives the process is kept; nowhere when there is none.
    pub state_file: Option<StateFile>,
    /// What time it is.
    pub clock: Clock,
}

/// How many threads ask, and how many hashes may wait for them.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Threads, each with a database connection of its own. With none, somebody else has to ask.
    pub threads: usize,
    /// Hashes that may be queued.
    pub queue_max: usize,
}
