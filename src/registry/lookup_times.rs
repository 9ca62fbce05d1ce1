//! How long the database takes to answer lookups, and how often it does not.
//!
//! Owns: a histogram that the lookup threads add to, and that is read without stopping them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, microseconds; the last bucket has all above.
pub const BOUNDS_US: [u64; 10] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000];
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// See the module.
#[derive(Default)]
pub(super) struct LookupTimes {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
    failed: AtomicU64,
}

/// What was measured so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LookupFigures {
    /// Answered lookups, by how long they took: not longer than each of [`BOUNDS_US`], and longer.
    pub buckets: [u64; BUCKETS],
    /// Microseconds of all of them.
    pub sum_us: u64,
    /// Lookups without an answer.
    pub failed: u64,
}

impl LookupTimes {
    /// A lookup took so long, and was answered or not.
    pub(super) fn note(&self, took: Duration, answered: bool) {
        if !answered {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < took_us);
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    pub(super) fn figures(&self) -> LookupFigures {
        LookupFigures {
            buckets: self.buckets.each_ref().map(|count| count.load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lookup_is_in_the_bucket_of_its_time() {
        let times = LookupTimes::default();
        for took_us in [0, 250, 251, 5_000_000, 5_000_001] {
            times.note(Duration::from_micros(took_us), true);
        }
        times.note(Duration::from_secs(2), false);
        let figures = times.figures();
        assert_eq!(figures.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1], "by bucket");
        assert_eq!(figures.sum_us, 10_000_502, "of the answered ones");
        assert_eq!(figures.failed, 1, "without an answer");
    }
}
