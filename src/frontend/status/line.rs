//! The line of counters in the log: what is there, how much is asked, and what has been counted.
//!
//! Owns: what the last line said, from which requests a second follow.

use std::fmt::Write;

use crate::counters::Gauge;
use crate::frontend::status::vitals::Vitals;
use crate::ids::Millis;

/// What the last line said.
#[derive(Default)]
pub(super) struct LastLine {
    at: Millis,
    requests: u64,
}

impl LastLine {
    /// The next line.
    pub(super) fn next(&mut self, vitals: &Vitals, now: Millis) -> String {
        let Vitals { totals, counters, registry, .. } = vitals;
        let requests = counters.requests();
        let elapsed_ms = now.since(self.at).max(1);
        let per_second = (requests - self.requests).saturating_mul(1_000) / elapsed_ms;
        *self = LastLine { at: now, requests };
        let mut line = format!("{} torrents, {} peers", totals.torrents, totals.peers());
        // Writing to a string cannot fail.
        // The last snapshot has a line of its own when it is made.
        let of_now = |gauge: &&Gauge| !matches!(gauge, Gauge::SnapshotUnixS | Gauge::SnapshotBytes);
        for gauge in Gauge::ALL.iter().filter(of_now) {
            let _ = write!(line, ", {} {}", counters.gauge(*gauge), gauge.name());
        }
        let not_stored = vitals.not_stored;
        let _ = write!(line, ", {per_second} requests a second, {not_stored} announces not stored");
        let _ = write!(line, ", {} peers made room", vitals.made_room);
        for (name, count) in counters.by_name() {
            let _ = write!(line, ", {count} {name}");
        }
        let _ = write!(
            line,
            "; {} torrents listed or banned in the cache, {} hashes queued, {} batches to write",
            registry.listed, registry.hashes_queued, registry.unwritten_batches,
        );
        if vitals.away_s.is_some() {
            line += ", the database is away";
        }
        line
    }
}
