//! The store: one announce by the size of its swarm, and by how long nobody has looked at its
//! torrent.

use announced::ids::{Event, Millis};
use announced::swarm::Announcement;
use criterion::{Criterion, Throughput};

use crate::population::{Desk, announcement, fill, store};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("swarms/announce again");
    group.throughput(Throughput::Elements(1));
    for peers in [1, 50, 10_000, 1_000_000] {
        let store = store(true);
        fill(&store, 1, peers);
        let mut desk = Desk::new(&store, 2);
        group.bench_function(format!("in a swarm of {peers}"), |bencher| {
            bencher.iter(|| {
                let peer = desk.rng.u32(..peers);
                desk.announce(&announcement(0, peer), Millis(1_000))
            });
        });
    }
    for (torrents, warmth) in [(1_000, "warm"), (1_000_000, "cold")] {
        let store = store(true);
        fill(&store, torrents, 2);
        let mut desk = Desk::new(&store, 2);
        group.bench_function(
            format!("one of {torrents} torrents at random, {warmth}"),
            |bencher| {
                bencher.iter(|| {
                    let (torrent, peer) = (desk.rng.u32(..torrents), desk.rng.u32(..2));
                    desk.announce(&announcement(torrent, peer), Millis(1_000))
                });
            },
        );
    }
    group.finish();
    come_and_go(criterion);
    scrape(criterion);
}

fn come_and_go(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("swarms/come and go");
    // One announce to come and one to go.
    group.throughput(Throughput::Elements(2));
    for peers in [0, 1, 50, 10_000] {
        let store = store(true);
        fill(&store, 1, peers);
        let mut desk = Desk::new(&store, 2);
        group.bench_function(format!("in a swarm of {peers}"), |bencher| {
            bencher.iter(|| {
                let own = announcement(0, peers + desk.rng.u32(..1_000));
                desk.announce(&Announcement { event: Event::Started, ..own }, Millis(1_000));
                desk.announce(&Announcement { event: Event::Stopped, ..own }, Millis(1_000))
            });
        });
    }
    group.finish();
}

fn scrape(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("swarms/scrape");
    group.throughput(Throughput::Elements(1));
    let store = store(true);
    fill(&store, 1_000_000, 1);
    let mut desk = Desk::new(&store, 2);
    group.bench_function("one of 1000000 torrents at random, cold", |bencher| {
        bencher.iter(|| store.scrape(&announcement(desk.rng.u32(..1_000_000), 0).info_hash));
    });
    group.finish();
}
