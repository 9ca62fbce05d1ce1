//! Snapshots: whatever a file holds, what can be read of it is taken in without harm, and reads the
//! same when it is saved again.

use arbitrary::{Result, Unstructured};
use crc32fast::Hasher;

use crate::ids::Millis;
use crate::swarm::{BLOCK_BYTES, SnapshotBlock, Store, StoreSettings};
use crate::tests::announcement::LIMITS;
use crate::tests::snapshots::{load, save};

/// Where a block's length and checksum stand.
const LENGTH_AT: usize = 53;
const SUM_AT: usize = LENGTH_AT + 4;
const HEADER_BYTES: usize = SUM_AT + 4;

/// `bytes` are two choices, and a file; or, by the first, one whose checksums are made right.
pub fn snapshot_load(bytes: &[u8]) {
    let _ = read(Unstructured::new(bytes));
}

fn read(mut input: Unstructured<'_>) -> Result<()> {
    let (is_mended, peer_ids): (bool, bool) = (input.arbitrary()?, input.arbitrary()?);
    let unix_ms = u64::from(input.arbitrary::<u32>()?);
    let mut file = input.take_rest().to_vec();
    if is_mended {
        file.chunks_mut(BLOCK_BYTES).for_each(mend);
    }
    for block in file.chunks(BLOCK_BYTES) {
        if let Ok(block) = SnapshotBlock::decode(block) {
            block.torrents().for_each(|torrent| torrent.peers().for_each(drop));
        }
    }
    let store = Store::new(StoreSettings { peer_ids }, 7);
    load(&store, &file, Millis(1 << 20), unix_ms, &LIMITS);
    let again = Store::new(StoreSettings { peer_ids }, 8);
    let restored = load(&again, &save(&store, Millis(1 << 20), 0), Millis(9), 0, &LIMITS);
    assert_eq!(again.totals(), store.totals(), "what was saved again");
    assert_eq!(restored.peers, store.totals().peers(), "peers that were saved again");
    Ok(())
}

/// Makes length and checksum right.
fn mend(block: &mut [u8]) {
    let Some(length) = block.len().checked_sub(HEADER_BYTES) else { return };
    let length = u32::try_from(length).unwrap_or(0);
    block[LENGTH_AT..SUM_AT].copy_from_slice(&length.to_le_bytes());
    let mut sum = Hasher::new();
    sum.update(&block[..SUM_AT]);
    sum.update(&block[HEADER_BYTES..]);
    block[SUM_AT..HEADER_BYTES].copy_from_slice(&sum.finalize().to_le_bytes());
}
