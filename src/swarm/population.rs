//! How many torrents and peers a store holds, and the cap on both.
//!
//! Owns: two counters that all workers share. They change only when a peer or a torrent comes or
//! goes, so that a re-announce, which is nearly all of the traffic, touches no memory that another
//! core writes to. They order nothing: each is exact by itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One counter, on cache lines of its own (x86 fetches them in pairs).
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Gauge {
    count: AtomicU64,
}

impl Gauge {
    /// Counts one more, unless there are `max` already.
    pub(super) fn admit(&self, max: u64) -> bool {
        let one_more = |count| (count < max).then_some(count + 1);
        self.count.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// Counts some fewer, which had been admitted.
    pub(super) fn release(&self, gone: usize) {
        if gone > 0 {
            self.count.fetch_sub(gone as u64, Relaxed);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}
