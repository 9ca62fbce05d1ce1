//! Threads on one store: what an announce takes longer because another thread announces too.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use announced::ids::Millis;
use announced::swarm::Store;
use criterion::{Criterion, Throughput};

use crate::population::{Desk, announcement, fill, store};

const TORRENTS: u32 = 10_000;
const PEERS: u32 = 10;

pub(crate) fn bench(criterion: &mut Criterion) {
    let store = store(true);
    fill(&store, TORRENTS, PEERS);
    let mut group = criterion.benchmark_group("threads/announce");
    let mut best_ns = [f64::INFINITY; 2];
    for (threads, best_ns) in [1, 2].into_iter().zip(&mut best_ns) {
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("each of {threads} on one store"), |bencher| {
            bencher.iter_custom(|announces| {
                let time = together(&store, threads, announces);
                if announces > 10_000 {
                    *best_ns = best_ns.min(per_announce_ns(time, announces));
                }
                time
            });
        });
    }
    group.finish();
    let [one, two] = best_ns;
    if one.is_finite() && two.is_finite() {
        println!("two threads against one, time per announce, best by best: {:.3}\n", two / one);
    }
}

/// How long `threads` threads take for `announces` announces each, the last of them.
fn together(store: &Store, threads: usize, announces: u64) -> Duration {
    let start = Barrier::new(threads);
    let run = |seed: u64| {
        let mut desk = Desk::new(store, seed);
        start.wait();
        let begun = Instant::now();
        for _ in 0..announces {
            let (torrent, peer) = (desk.rng.u32(..TORRENTS), desk.rng.u32(..PEERS));
            desk.announce(&announcement(torrent, peer), Millis(1_000));
        }
        begun.elapsed()
    };
    thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads as u64).map(|seed| scope.spawn(move || run(seed))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
    })
}

#[allow(clippy::cast_precision_loss, reason = "a mean of thousands")]
fn per_announce_ns(time: Duration, announces: u64) -> f64 {
    time.as_nanos() as f64 / announces as f64
}
