//! Bounds of the registry, and where its paces are.
//!
//! Never: a setting that may change while the tracker runs. Those are in [`LiveSettings`], where
//! the registry's threads look for them before each piece of work.

use crate::config::LiveSettings;
use crate::mailbox::Clock;
use crate::registry::state_file::StateFile;

/// See the module.
#[derive(Clone)]
pub struct RegistrySettings {
    /// Where the settings are that may change: how long answers are believed, how often counters
    /// are written, how old torrents may grow.
    pub live: LiveSettings,
    /// Bytes all cached records may take.
    pub cache_bytes_max: usize,
    /// The threads and their queue.
    pub pool: PoolSettings,
    /// Key of the cache's hash.
    pub seed: u64,
    /// Where what outlives the process is kept; nowhere when there is none.
    pub state_file: Option<StateFile>,
    /// What time it is.
    pub clock: Clock,
}

/// Tickets that may wait, for every hash that may be queued.
const WAITERS_PER_QUEUED: usize = 4;

/// How many threads ask, and how many hashes may wait for them.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Threads, each with a database connection of its own. With none, somebody else has to ask.
    pub threads: usize,
    /// Hashes that may be queued.
    pub queue_max: usize,
}

impl PoolSettings {
    /// Requests that may wait for answers.
    pub fn waiters_max(&self) -> usize {
        self.queue_max.saturating_mul(WAITERS_PER_QUEUED)
    }
}
