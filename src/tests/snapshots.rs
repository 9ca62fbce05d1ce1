//! Snapshots in memory: what tests and fuzz targets make of a store, and a store of it.

use std::convert::Infallible;

use crate::config::SwarmLimits;
use crate::ids::Millis;
use crate::listing::Verdict;
use crate::swarm::{
    BLOCK_BYTES, Readmission, Restored, SOURCE_BYTES, SnapshotBlock, SnapshotHead, SnapshotSaver,
    Store,
};

/// What the snapshots of tests have in common: they are the last word of their process.
pub fn head(peer_ids: bool) -> SnapshotHead {
    SnapshotHead { id: 7, source: [0; SOURCE_BYTES], is_final: true, peer_ids }
}

/// The snapshot of a store, in one piece.
pub fn save(store: &Store, now: Millis, unix_ms: u64) -> Vec<u8> {
    let (mut file, mut saver) = (Vec::new(), SnapshotSaver::new(head(store.keeps_ids())));
    let mut write = |block: &[u8]| {
        file.extend_from_slice(block);
        Ok::<(), Infallible>(())
    };
    while !saver.is_over() {
        saver.copy(store);
        let Ok(()) = saver.encode(now, unix_ms, &mut write);
    }
    let Ok(totals) = saver.finish(now, unix_ms, &mut write);
    assert_eq!(totals.bytes, file.len() as u64, "bytes that were written");
    file
}

/// Takes into a store, of torrents that nobody lists, what can be read of a snapshot.
pub fn load(
    store: &Store,
    file: &[u8],
    now: Millis,
    unix_ms: u64,
    limits: &SwarmLimits,
) -> Restored {
    let mut restored = Restored::default();
    for block in file.chunks(BLOCK_BYTES).filter_map(|block| SnapshotBlock::decode(block).ok()) {
        let how = Readmission {
            now,
            since_ms: unix_ms.saturating_sub(block.counted_from_ms),
            limits,
            verdict: Verdict::NO_LIST,
            counts_are_new: true,
            is_outdated: false,
        };
        for torrent in block.torrents() {
            restored = restored.and(store.restore(&torrent, &how));
        }
    }
    store.check_invariants();
    restored
}
