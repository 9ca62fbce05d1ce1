//! Verdicts at hand: a registry in front of a database that lists every other torrent, asked for
//! what it knows and what it does not.

use std::sync::Arc;
use std::time::Duration;

use announced::config::{Live, LiveSettings};
use announced::ids::{InfoHash, Millis, Ticket};
use announced::listing::{Listing, Record};
use announced::mailbox::Mailboxes;
use announced::registry::database::DatabaseError;
use announced::registry::{Backend, Databases, PoolSettings, Registry, RegistrySettings};
use announced::swarm::{Store, StoreSettings};
use criterion::{Criterion, Throughput};
use fastrand::Rng;

use crate::away::Away;

const TORRENTS: u32 = 1_000_000;
const NOW: Millis = Millis(0);

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry/peek");
    group.throughput(Throughput::Elements(1));
    let memory = Registry::memory();
    group.bench_function("without a database", |bencher| {
        bencher.iter(|| memory.peek(&hash(0), NOW));
    });
    let Ok(registry) = listing() else { return };
    let mut rng = Rng::with_seed(1);
    let rows = [
        ("hit, one of 1000", 0, 1_000),
        ("hit, one of 1000000", 0, TORRENTS),
        ("miss", TORRENTS, u32::MAX),
    ];
    for (name, from, to) in rows {
        group.bench_function(name, |bencher| {
            bencher.iter(|| registry.peek(&hash(rng.u32(from..to)), NOW));
        });
    }
    group.finish();
}

/// A registry that knows the first [`TORRENTS`] torrents.
fn listing() -> std::io::Result<Registry> {
    let mut live = Live::default();
    live.registry.cache_ttl_ms = 1 << 40;
    live.registry.flush_interval = Duration::from_secs(3_600);
    let settings = RegistrySettings {
        live: LiveSettings::new(live),
        cache_bytes_max: 1 << 30,
        pool: PoolSettings { threads: 0, queue_max: TORRENTS as usize },
        seed: 7,
        state_file: None,
        clock: Arc::new(|| NOW),
    };
    let databases = Databases {
        backend: Box::new(|| Box::new(EveryOther)),
        ledger: Box::new(|| Box::new(Away)),
    };
    let swarms = StoreSettings { peer_ids: false };
    let registry = Registry::start(
        &settings,
        databases,
        Arc::new(Store::new(swarms, 7)),
        Mailboxes::new([], 0),
    )?;
    for torrent in 0..TORRENTS {
        let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
        let asked = registry.request(&hash(torrent), ticket, NOW);
        if asked.is_err() || torrent % 100 == 99 {
            while registry.ask_once(&mut EveryOther) {}
        }
    }
    while registry.ask_once(&mut EveryOther) {}
    Ok(registry)
}

struct EveryOther;

impl Backend for EveryOther {
    fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
        let listing =
            |hash: &InfoHash| if hash.0[3] & 1 == 0 { Listing::Listed } else { Listing::Unlisted };
        Ok(hashes.iter().map(|hash| Record::plain(listing(hash))).collect())
    }
}

fn hash(torrent: u32) -> InfoHash {
    let mut hash = [7; 20];
    hash[..4].copy_from_slice(&torrent.to_be_bytes());
    InfoHash(hash)
}
