//! A million peers whose time is up: how long a lock is held at a time, and what all of it costs.
//!
//! The store is swept with a clock that goes on so little from call to call that a call holds one
//! lock once at most. Time is the thread's processor time, so what else the machine does is not
//! counted, and of several runs the best counts.

use std::time::Duration;

use announced::ids::Millis;
use announced::swarm::{Store, Sweep};
use rustix::time::{ClockId, clock_gettime};

use crate::population::{LIMITS, fill, store};

const RUNS: usize = 3;
/// A hold is due every 80 ms or so.
const STEP_MS: u64 = 5;

pub(crate) fn bench() {
    println!("expiry of 1 000 000 peers, processor time, the best of {RUNS} runs");
    println!("{:<34}{:>20}{:>14}", "", "longest hold, us", "ns a peer");
    for (torrents, peers) in [(1, 1_000_000), (100, 10_000), (20_000, 50), (1_000_000, 1)] {
        for ids in [false, true] {
            let best = (0..RUNS)
                .map(|_| expire(torrents, peers, ids))
                .reduce(|best, run| (best.0.min(run.0), best.1.min(run.1)));
            let (longest, total) = best.unwrap_or_default();
            let name = format!("{torrents} of {peers}{}", if ids { ", with ids" } else { "" });
            println!(
                "{name:<34}{:>20.1}{:>14.1}",
                longest.as_secs_f64() * 1e6,
                total.as_secs_f64() * 1e3
            );
        }
    }
    println!();
}

/// The longest call, and all of them together.
fn expire(torrents: u32, peers: u32, ids: bool) -> (Duration, Duration) {
    let store: Store = store(ids);
    fill(&store, torrents, peers);
    let mut sweep = Sweep::new(0, 1);
    // The first call only begins: all are young.
    store.sweep(&mut sweep, Millis(0), &LIMITS);
    let (mut now_ms, mut longest, mut total) = (0, Duration::ZERO, Duration::ZERO);
    while store.totals().peers() > 0 && now_ms < 3 * LIMITS.lifetime_ms {
        // Until they are old, in strides.
        now_ms += if now_ms < LIMITS.lifetime_ms { 1_000 } else { STEP_MS };
        let before = processor_time();
        store.sweep(&mut sweep, Millis(now_ms), &LIMITS);
        let time = processor_time().saturating_sub(before);
        if now_ms >= LIMITS.lifetime_ms {
            (longest, total) = (longest.max(time), total + time);
        }
    }
    (longest, total)
}

pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
