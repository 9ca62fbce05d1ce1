//! What a worker lets others see of its rounds: its counters, and how long the longest round took.
//!
//! Owns: when counters are published, and which rounds are measured. Both cost something, so
//! neither is done in every round.
//!
//! Limits: published counters are [`PUBLISH_MS`] old, and a tick more where there is nothing to do.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::millis;
use crate::counters::{Counter, LocalCounters, Peak};
use crate::ids::Millis;

const PUBLISH_MS: u64 = 20;
/// What a worker reads and writes.
const TRAFFIC: [Counter; 4] = [
    Counter::BytesReceivedHttp,
    Counter::BytesSentHttp,
    Counter::BytesReceivedUdp,
    Counter::BytesSentUdp,
];
/// Traffic of a round whose length is measured; with less to do it is short.
const MEASURED_BYTES_MIN: u64 = 16 * 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Meter {
    /// When the round began, since the epoch.
    began: Duration,
    /// Traffic until the end of the last round.
    traffic_bytes: u64,
    published_at: Millis,
}

impl Meter {
    /// A round begins: the time in it.
    pub(super) fn begin(&mut self, epoch: Instant) -> Millis {
        self.began = epoch.elapsed();
        Millis(millis(self.began))
    }

    /// The round ends; whether the counters are to be published.
    pub(super) fn end(&mut self, counters: &LocalCounters, epoch: Instant, now: Millis) -> bool {
        let traffic = TRAFFIC.map(|counter| counters.so_far(counter)).iter().sum::<u64>();
        let moved = traffic - std::mem::replace(&mut self.traffic_bytes, traffic);
        if moved >= MEASURED_BYTES_MIN {
            let took = epoch.elapsed().saturating_sub(self.began);
            counters.note(Peak::RoundUs, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
        let is_due = now.since(self.published_at) >= PUBLISH_MS;
        if is_due {
            self.published_at = now;
        }
        is_due
    }
}

/// Seconds by the wall clock, by which connection ids age: the next process must agree.
pub(super) fn unix_s() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since_epoch| since_epoch.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    #[test]
    fn rounds_with_much_traffic_are_measured_and_counters_published_now_and_then() {
        let counters = Counters::default();
        let (mut local, mut meter) = (counters.local(), Meter::default());
        let epoch = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        local.add(Counter::BytesSentUdp, 100);
        assert!(meter.end(&local, epoch, Millis(PUBLISH_MS)), "the first is due");
        assert_eq!(counters.peak(Peak::RoundUs), 0, "a round with little to do");
        local.add(Counter::BytesReceivedHttp, 16 * 1024);
        assert!(!meter.end(&local, epoch, Millis(PUBLISH_MS + 1)), "it is too soon");
        assert!(counters.peak(Peak::RoundUs) >= 5_000_000, "the round that began at the epoch");
        assert!(meter.end(&local, epoch, Millis(2 * PUBLISH_MS)), "the time is over");
    }
}
