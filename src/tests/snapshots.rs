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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ids::{Crypto, Event, PeerAddr, PeerId};
    use crate::listing::Listing;
    use crate::swarm::{Announcement, BlockFault, Chosen, Counts, Newcomer, StoreSettings, Sweep};
    use crate::tests::announcement::{self, LIMITS, open_at};
    use crate::tests::seeds::for_each_seed;

    const UNIT_MS: u64 = 1 << 14;
    const LIFETIME_MS: u64 = announcement::LIFETIME_MS;

    fn store(peer_ids: bool) -> Store {
        Store::new(StoreSettings { peer_ids }, 5)
    }

    fn say(store: &Store, announce: &Announcement, now: Millis) -> Option<Counts> {
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        store.enter(&Newcomer::without_list(announce), open_at(now), &mut rng, &mut chosen)
    }

    /// A snapshot of so many torrents with so many peers each.
    fn snapshot_of(torrents: u16, peers: u32, peer_ids: bool) -> Vec<u8> {
        let store = store(peer_ids);
        for torrent in 0..torrents {
            for peer in 0..peers {
                let announce = announcement::of(torrent, peer);
                let seeder = peer.is_multiple_of(3);
                say(&store, &Announcement { seeder, ..announce }, Millis(0));
            }
        }
        save(&store, Millis(0), 0)
    }

    /// Heard of at one time, saved at another, taken in at a third by a clock that has run for so
    /// long.
    #[test]
    fn a_peer_lives_its_lifetime_over_a_restart_and_few_units_more() {
        let unix_ms = 1_700_000_000_123_u64;
        for seed in 0..400 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let heard = Millis(rng.u64(0..5_000 * UNIT_MS));
            let served_ms = rng.u64(0..LIFETIME_MS);
            let stopped_ms = rng.u64(0..LIFETIME_MS - served_ms);
            let clock = Millis(rng.u64(0..UNIT_MS * 3));
            let old = store(false);
            say(&old, &announcement::of(1, 1), heard);
            let file = save(&old, heard.plus(served_ms), unix_ms);
            let new = store(false);
            let restored = load(&new, &file, clock, unix_ms + stopped_ms, &LIMITS);
            assert_eq!(restored.peers, 1, "seed {seed}: its time is not up");
            let left_ms = LIFETIME_MS - served_ms - stopped_ms;
            let peers_at = |now| {
                new.sweep(&mut Sweep::new(0, 1), now, &LIMITS);
                new.totals().peers()
            };
            assert_eq!(peers_at(clock.plus(left_ms)), 1, "seed {seed}: it has not lived its time");
            let late = clock.plus(left_ms + 3 * UNIT_MS);
            assert_eq!(peers_at(late), 0, "seed {seed}: it has");
        }
    }

    #[test]
    fn who_has_lived_a_lifetime_does_not_come_back_however_long_ago_that_was() {
        let file = snapshot_of(1, 10, true);
        for stopped_ms in [LIFETIME_MS + 2 * UNIT_MS, 4_096 * UNIT_MS, u64::MAX / 2] {
            let new = store(true);
            let restored = load(&new, &file, Millis(0), stopped_ms, &LIMITS);
            assert_eq!(restored.expired, 10, "after {stopped_ms} ms");
            assert_eq!(new.totals().torrents, 0, "torrents after {stopped_ms} ms");
        }
        let new = store(true);
        let earlier = load(&new, &file, Millis(0), 0, &LIMITS);
        assert_eq!(earlier.peers, 10, "by a clock that was set back meanwhile");
    }

    #[test]
    fn caps_count_for_saved_peers() {
        let file = snapshot_of(4, 10, true);
        let rows = [
            (SwarmLimits { torrents_max: 3, ..LIMITS }, 3, 30),
            (SwarmLimits { peers_max: 25, ..LIMITS }, 3, 25),
        ];
        for (limits, torrents, peers) in rows {
            let new = store(true);
            let restored = load(&new, &file, Millis(0), 0, &limits);
            assert_eq!(new.totals().torrents, torrents, "torrents within {limits:?}");
            assert_eq!(new.totals().peers(), peers, "peers within {limits:?}");
            assert_eq!(restored.left_out, 40 - peers, "peers left out within {limits:?}");
        }
    }

    #[test]
    fn ids_may_be_kept_by_one_process_and_not_by_the_other() {
        for (before, after) in [(true, true), (true, false), (false, true), (false, false)] {
            let old = store(before);
            say(&old, &announcement::of(1, 1), Millis(0));
            let new = store(after);
            load(&new, &save(&old, Millis(0), 0), Millis(0), 0, &LIMITS);
            let completed =
                Announcement { seeder: true, event: Event::Completed, ..announcement::of(1, 1) };
            let told = say(&new, &completed, Millis(0));
            let expected = Counts { complete: 1, incomplete: 0, downloaded: 1 };
            assert_eq!(told, Some(expected), "ids {before}, then {after}");
        }
    }

    #[test]
    fn each_flipped_bit_is_found_and_no_cut_is_taken_for_a_whole() {
        let file = snapshot_of(3, 3, true);
        let block = SnapshotBlock::decode(&file).unwrap();
        assert_eq!(block.head, head(true), "what all blocks have in common");
        assert_eq!(block.torrents().count(), 3, "torrents");
        for bit in 0..8 * file.len() {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let fault = SnapshotBlock::decode(&damaged).err();
            assert_eq!(fault, Some(BlockFault::Damaged), "bit {bit} is flipped");
        }
        for length in 0..file.len() {
            let fault = SnapshotBlock::decode(&file[..length]).err();
            assert_eq!(fault, Some(BlockFault::Damaged), "cut at {length}");
        }
    }

    /// Blocks are independent: what is cut or damaged costs what was in its own.
    #[test]
    fn what_is_cut_or_damaged_costs_its_own_block() {
        let file = snapshot_of(2, 4_000, true);
        let blocks = file.len().div_ceil(BLOCK_BYTES);
        assert_eq!(blocks, 4, "blocks of 8000 peers");
        let peers_of = |file: &[u8]| {
            let new = store(true);
            load(&new, file, Millis(0), 0, &LIMITS).peers
        };
        assert_eq!(peers_of(&file), 8_000, "all peers");
        let of_block = |block: usize| {
            let bytes = &file[block * BLOCK_BYTES..];
            peers_of(&bytes[..bytes.len().min(BLOCK_BYTES)])
        };
        let of_blocks: Vec<u64> = (0..blocks).map(of_block).collect();
        assert_eq!(of_blocks.iter().sum::<u64>(), 8_000, "each peer is in one block");
        for (block, of_block) in of_blocks.iter().enumerate() {
            let mut damaged = file.clone();
            damaged[block * BLOCK_BYTES + 77] ^= 0x10;
            assert_eq!(peers_of(&damaged), 8_000 - of_block, "block {block} is damaged");
            let cut = block * BLOCK_BYTES + 5_000;
            let before: u64 = of_blocks[..block].iter().sum();
            assert_eq!(peers_of(&file[..cut]), before, "cut in block {block}");
        }
    }

    /// What was announced between the start and the loading of a leecher's record, and what its
    /// torrent is like then.
    #[test]
    fn what_announces_meanwhile_wins() {
        let leecher = announcement::of(1, 1);
        let seeder = Announcement { seeder: true, event: Event::Update, ..leecher };
        let completed = Announcement { event: Event::Completed, ..seeder };
        let stopped = Announcement { event: Event::Stopped, ..leecher };
        let another = |said| Announcement { peer_id: PeerId([b'o'; 20]), ..said };
        let counts = |complete, incomplete, downloaded| Counts { complete, incomplete, downloaded };
        let rows: [(&str, &[Announcement], Counts); 11] = [
            ("nothing", &[], counts(0, 2, 4)),
            ("an update", &[leecher], counts(0, 2, 4)),
            ("it is a seeder", &[seeder], counts(1, 1, 4)),
            ("it stops", &[stopped], counts(0, 1, 4)),
            ("it comes and stops", &[leecher, stopped], counts(0, 1, 4)),
            ("it stops and comes back", &[stopped, seeder], counts(1, 1, 4)),
            ("it completes", &[completed], counts(1, 1, 5)),
            ("it completes and stops", &[completed, stopped], counts(0, 1, 5)),
            ("it stops and completes", &[stopped, completed], counts(1, 1, 4)),
            ("another completes", &[another(completed)], counts(1, 1, 4)),
            ("another stops", &[another(stopped)], counts(0, 1, 4)),
        ];
        for (name, said, expected) in rows {
            let old = store(true);
            say(&old, &announcement::of(1, 9), Millis(0));
            for peer in 10..14 {
                let peer = announcement::of(1, peer);
                say(&old, &peer, Millis(0));
                let event = Event::Completed;
                say(&old, &Announcement { seeder: true, event, ..peer }, Millis(0));
                say(&old, &Announcement { event: Event::Stopped, ..peer }, Millis(0));
            }
            say(&old, &leecher, Millis(0));
            let file = save(&old, Millis(0), 0);
            let new = store(true);
            new.begin_restore();
            said.iter().for_each(|said| _ = say(&new, said, Millis(0)));
            load(&new, &file, Millis(0), 0, &LIMITS);
            assert_eq!(new.end_restore(), 0, "{name}: all was remembered");
            assert_eq!(new.scrape(&leecher.info_hash), Some(expected), "{name}");
        }
    }

    /// A completion that was counted before the restart is not counted again, whatever comes first.
    #[test]
    fn a_completion_is_counted_once_over_a_restart() {
        let leecher = announcement::of(1, 1);
        let completed = Announcement { seeder: true, event: Event::Completed, ..leecher };
        for before_loading in [true, false] {
            let old = store(true);
            say(&old, &leecher, Millis(0));
            say(&old, &completed, Millis(0));
            let file = save(&old, Millis(0), 0);
            let new = store(true);
            new.begin_restore();
            if before_loading {
                say(&new, &leecher, Millis(0));
                say(&new, &completed, Millis(0));
            }
            load(&new, &file, Millis(0), 0, &LIMITS);
            new.end_restore();
            let told = say(&new, &completed, Millis(0)).map(|counts| counts.downloaded);
            // Who comes anew before its record has been taken in is a new leecher.
            let expected = if before_loading { 2 } else { 1 };
            assert_eq!(told, Some(expected), "announced before loading: {before_loading}");
        }
    }

    /// Downloads that only the last process knew of, of a torrent without a peer that is left.
    #[test]
    fn downloads_that_wait_for_a_database_come_back_without_a_peer() {
        let old = store(true);
        let verdict = Verdict { listing: Listing::Unasked, ..Verdict::NO_LIST };
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        for (event, seeder) in
            [(Event::Started, false), (Event::Completed, true), (Event::Stopped, true)]
        {
            let announce = Announcement { event, seeder, ..announcement::of(1, 1) };
            let newcomer = Newcomer { announce: &announce, verdict };
            old.enter(&newcomer, open_at(Millis(0)), &mut rng, &mut chosen);
        }
        let file = save(&old, Millis(0), 0);
        let block = SnapshotBlock::decode(&file).unwrap();
        let saved: Vec<_> = block.torrents().collect();
        assert_eq!(saved.len(), 1, "torrents that are saved");
        assert_eq!(saved[0].own, 1, "downloads that are saved");
        let how = Readmission {
            now: Millis(0),
            since_ms: 0,
            limits: &LIMITS,
            verdict,
            counts_are_new: true,
            is_outdated: false,
        };
        for (counts_are_new, torrents) in [(true, 1), (false, 0)] {
            let new = store(true);
            new.restore(&saved[0], &Readmission { counts_are_new, ..how });
            assert_eq!(new.totals().torrents, torrents, "counts are new: {counts_are_new}");
            new.check_invariants();
        }
    }

    /// Large swarms that grow, shrink and complete while they are copied: who is there from begin
    /// to end is in the snapshot.
    #[test]
    fn a_snapshot_has_all_that_stay_while_others_come_and_go() {
        const STAYING: u32 = 6_000;
        for_each_seed(8, |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            let old = store(true);
            let peer = |torrent, peer| Announcement {
                crypto: Crypto::Supported,
                ..announcement::of(torrent, peer)
            };
            for name in 0..STAYING * 2 {
                let torrent = u16::from(name.is_multiple_of(5));
                say(&old, &peer(torrent, name), Millis(0));
            }
            let (mut file, mut saver) = (Vec::new(), SnapshotSaver::new(head(true)));
            let mut write = |block: &[u8]| {
                file.extend_from_slice(block);
                Ok::<(), Infallible>(())
            };
            let is_growing = rng.bool();
            while !saver.is_over() {
                saver.copy(&old);
                let Ok(()) = saver.encode(Millis(0), 0, &mut write);
                for _ in 0..rng.u32(0..300) {
                    let name = STAYING + rng.u32(0..STAYING * if is_growing { 8 } else { 1 });
                    let event = if is_growing { Event::Update } else { Event::Stopped };
                    let torrent = u16::from(name.is_multiple_of(5));
                    say(&old, &Announcement { event, ..peer(torrent, name) }, Millis(0));
                    let name = rng.u32(..STAYING);
                    let torrent = u16::from(name.is_multiple_of(5));
                    let completed = Announcement {
                        event: Event::Completed,
                        seeder: true,
                        ..peer(torrent, name)
                    };
                    say(&old, &completed, Millis(0));
                }
            }
            let Ok(_) = saver.finish(Millis(0), 0, &mut write);
            let mut saved = BTreeSet::new();
            for block in file.chunks(BLOCK_BYTES) {
                let block = SnapshotBlock::decode(block).unwrap();
                for torrent in block.torrents() {
                    saved.extend(torrent.peers().map(|peer| match peer.address {
                        PeerAddr::V4([_, high, middle, low, ..]) => {
                            u32::from_be_bytes([0, high, middle, low])
                        }
                        PeerAddr::V6(_) => u32::MAX,
                    }));
                }
            }
            let missing: Vec<u32> = (0..STAYING).filter(|name| !saved.contains(name)).collect();
            assert_eq!(missing, [0; 0], "peers that stayed and are not in the snapshot");
            let new = store(true);
            load(&new, &file, Millis(0), 0, &LIMITS);
        });
    }
}
