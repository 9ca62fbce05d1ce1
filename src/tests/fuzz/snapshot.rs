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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::ids::{Event, PeerAddr};
    use crate::swarm::{Announcement, Chosen, Newcomer};
    use crate::tests::announcement::{self, open_at};

    fn say(store: &Store, announce: &Announcement) {
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        let newcomer = Newcomer::without_list(announce);
        store.enter(&newcomer, open_at(Millis(0)), &mut rng, &mut chosen);
    }

    /// The inputs under speaking names are what this makes; by hand, when the form has changed.
    #[test]
    #[ignore = "writes fuzz/corpus/snapshot_load"]
    fn write_corpus() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/snapshot_load");
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, choices: [u8; 6], file: &[u8]| {
            fs::write(folder.join(name), [&choices, file].concat()).unwrap();
        };
        for (name, peer_ids) in [("swarms-with-ids", true), ("swarms-without-ids", false)] {
            let store = Store::new(StoreSettings { peer_ids }, 5);
            for peer in 0..60 {
                let said = announcement::of(u16::from(peer > 50), peer);
                say(&store, &said);
                let event = Event::Completed;
                say(&store, &Announcement { seeder: peer % 3 == 0, event, ..said });
                let [_, _, high, low] = peer.to_be_bytes();
                let mut wire = [0x20; 18];
                wire[14..16].copy_from_slice(&[high, low]);
                say(&store, &Announcement { peer: PeerAddr::V6(wire), ..said });
            }
            let file = save(&store, Millis(0), 0);
            write(name, [0, u8::from(peer_ids), 0, 0, 0, 0], &file);
            let mended = format!("{name}-and-checksums-made-right");
            write(&mended, [1, u8::from(!peer_ids), 0, 0, 9, 0], &file);
            write(&format!("{name}-cut"), [0, 1, 0, 0, 0, 0], &file[..file.len() / 2]);
        }
        let empty = save(&Store::new(StoreSettings { peer_ids: true }, 5), Millis(0), 0);
        write("no-swarms", [0, 1, 0, 0, 0, 0], &empty);
        let mut newer = empty;
        newer[16..20].copy_from_slice(&[2, 0, !2, !0]);
        write("newer-version", [0, 1, 0, 0, 0, 0], &newer);
    }
}
