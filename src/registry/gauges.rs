//! Where the registry stands, for who asks.

use crate::ids::Millis;
use crate::registry::lookup_times::LookupFigures;

/// What the registry holds at one moment, read when it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RegistryGauges {
    /// Torrents of which it is at hand that they are listed, or banned.
    pub listed: usize,
    /// Hashes that no thread has taken yet.
    pub hashes_queued: usize,
    /// Requests that wait for an answer of the database.
    pub requests_waiting: usize,
    /// Answers that a worker's mailbox had no room for, since the start.
    pub answers_dropped: u64,
    /// Bytes that cached records take.
    pub cache_bytes: usize,
    /// Batches of counters that are not known to be written.
    pub unwritten_batches: usize,
    /// How long lookups took.
    pub lookups: LookupFigures,
    /// Since when the database does not answer; none while it does.
    pub away_since: Option<Millis>,
}
