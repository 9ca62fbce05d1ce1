//! Where the whole tracker stands at one moment, in values: what every page of the status frontend
//! is made of.
//!
//! Owns: reading it. That takes the registry's locks one after the other, and never a swarm's.
//!
//! Never: called by a worker.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::config::{LiveSettings, Mode, millis};
use crate::counters::Counters;
use crate::ids::Millis;
use crate::registry::RegistryGauges;
use crate::swarm::Totals;
use crate::tracker::Tracker;

/// A worker whose counters are older has not finished a round for as long, milliseconds: it hangs.
const ROUND_MS_MAX: u64 = 5_000;

/// The parts that are looked at.
pub struct Source {
    /// What all protocols ask.
    pub tracker: Arc<Tracker>,
    /// What all threads count.
    pub counters: Counters,
    /// Threads with an event loop.
    pub workers: usize,
    /// The settings that may change.
    pub live: LiveSettings,
    /// What the workers' time is counted from.
    pub epoch: Instant,
}

/// See the module.
pub(super) struct Vitals {
    /// Torrents and peers.
    pub totals: Totals,
    /// Peers that are stored at most.
    pub peers_max: u64,
    /// Completions that were counted.
    pub completed: u64,
    /// Peers whose time was over.
    pub expired: u64,
    /// Announces that were answered, and whose peer was not stored.
    pub not_stored: u64,
    /// Peers that made room for others at a cap.
    pub made_room: u64,
    /// The registry's part.
    pub registry: RegistryGauges,
    /// What is counted.
    pub counters: Counters,
    /// Whom it serves.
    pub mode: Mode,
    /// Threads with an event loop, and those of them that have finished a round lately.
    pub workers: usize,
    /// See `workers`.
    pub workers_alive: usize,
    /// Seconds since the database does not answer; none while it does.
    pub away_s: Option<u64>,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// By the wall clock.
    pub started_unix_s: u64,
}

impl Source {
    /// The time by the workers' clock.
    pub(super) fn now(&self) -> Millis {
        Millis(millis(self.epoch.elapsed()))
    }

    /// Workers that have finished a round lately.
    pub(super) fn workers_alive(&self) -> usize {
        self.counters.going_round_since(Millis(self.now().0.saturating_sub(ROUND_MS_MAX)))
    }

    /// Reads all of it.
    pub(super) fn read(&self) -> Vitals {
        let now = self.now();
        let live = self.live.latest();
        let registry = self.tracker.registry().gauges();
        let uptime_s = now.0 / 1_000;
        let unix_s =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Vitals {
            totals: self.tracker.store().totals(),
            peers_max: live.swarm.peers_max,
            completed: self.tracker.store().completed(),
            expired: self.tracker.store().expired(),
            not_stored: self.tracker.store().not_stored(),
            made_room: self.tracker.store().evicted(),
            away_s: registry.away_since.map(|since| now.since(since) / 1_000),
            registry,
            counters: self.counters.clone(),
            mode: live.policy.mode,
            workers: self.workers,
            workers_alive: self.workers_alive(),
            uptime_s,
            started_unix_s: unix_s.saturating_sub(uptime_s),
        }
    }
}

impl Vitals {
    /// Whether it serves as it should. A database that is away does not count: what is known is
    /// served without it.
    pub(super) fn is_healthy(&self) -> bool {
        self.workers_alive == self.workers
    }
}
