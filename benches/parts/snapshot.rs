//! Saving and loading millions of peers: time, bytes, and how long a lock is held at a time.
//!
//! Saved is what the tracker saves: through the state directory, to the disk. Beside it `dd` writes
//! as many bytes to the same disk. Holds are measured in the thread's processor time, so what else
//! the machine does is not counted; all else by the clock. The best of several runs counts.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use announced::ids::Millis;
use announced::listing::Verdict;
use announced::state_directory::StateDirectory;
use announced::swarm::{
    BLOCK_BYTES, Readmission, SOURCE_BYTES, SnapshotBlock, SnapshotHead, SnapshotSaver, Store,
};

use crate::expiry::processor_time;
use crate::population::{LIMITS, fill, store};

const RUNS: usize = 3;
const NAME: &str = "announced.swarms";

/// What one run has shown.
#[derive(Clone, Copy)]
struct Shown {
    bytes: u64,
    save: Duration,
    dd: Duration,
    load: Duration,
    copy_max: Duration,
    restore_max: Duration,
}

impl Shown {
    fn best(self, other: Shown) -> Shown {
        Shown {
            bytes: self.bytes,
            save: self.save.min(other.save),
            dd: self.dd.min(other.dd),
            load: self.load.min(other.load),
            copy_max: self.copy_max.min(other.copy_max),
            restore_max: self.restore_max.min(other.restore_max),
        }
    }
}

pub(crate) fn bench() {
    println!("snapshots, the best of {RUNS} runs; times in ms, holds in us of processor time");
    println!(
        "{:<34}{:>8}{:>8}{:>8}{:>8}{:>12}{:>12}",
        "", "B a peer", "save", "dd", "load", "longest copy", "loading"
    );
    for (torrents, peers) in [(100_000, 10), (1, 1_000_000), (1_000_000, 1), (1_000_000, 10)] {
        for ids in [false, true] {
            let store = store(ids);
            fill(&store, torrents, peers);
            let runs = (0..RUNS).filter_map(|_| run(&store, ids));
            let Some(best) = runs.reduce(Shown::best) else {
                println!("the disk cannot be written to");
                return;
            };
            let name = format!("{torrents} of {peers}{}", if ids { ", with ids" } else { "" });
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let us = |time: Duration| time.as_secs_f64() * 1e6;
            println!(
                "{name:<34}{:>8.1}{:>8.0}{:>8.0}{:>8.0}{:>12.1}{:>12.1}",
                best.bytes as f64 / (f64::from(torrents) * f64::from(peers)),
                ms(best.save),
                ms(best.dd),
                ms(best.load),
                us(best.copy_max),
                us(best.restore_max)
            );
        }
    }
    println!();
}

fn run(of: &Store, ids: bool) -> Option<Shown> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).ok()?;
    let directory = StateDirectory::open(folder.path()).ok()??;
    let (mut copy_max, begin) = (Duration::ZERO, Instant::now());
    let head = SnapshotHead { id: 1, source: [0; SOURCE_BYTES], is_final: true, peer_ids: ids };
    let saved = directory.replace_private(NAME, |file| {
        let mut saver = SnapshotSaver::new(head);
        let mut write = |block: &[u8]| file.write_all(block);
        while !saver.is_over() {
            let before = processor_time();
            saver.copy(of);
            copy_max = copy_max.max(processor_time().saturating_sub(before));
            saver.encode(Millis(0), 0, &mut write)?;
        }
        saver.finish(Millis(0), 0, &mut write).map(drop)
    });
    saved.ok()?;
    let save = begin.elapsed();
    let bytes = fs::metadata(directory.path_of(NAME)).ok()?.len();
    let dd = dd(folder.path(), bytes)?;
    let (load, restore_max) = load(&directory, of, ids)?;
    Some(Shown { bytes, save, dd, load, copy_max, restore_max })
}

/// How long `dd` takes to bring as many bytes to the disk.
fn dd(folder: &Path, bytes: u64) -> Option<Duration> {
    let begin = Instant::now();
    let status = Command::new("dd")
        .args(["if=/dev/zero", "bs=64K", "conv=fsync", "iflag=count_bytes"])
        .arg(format!("count={bytes}"))
        .arg(format!("of={}", folder.join("dd").display()))
        .stderr(Stdio::null())
        .status();
    status.ok()?.success().then(|| begin.elapsed())
}

/// How long loading takes, and the longest time for one record.
fn load(directory: &StateDirectory, of: &Store, ids: bool) -> Option<(Duration, Duration)> {
    let store = store(ids);
    let how = Readmission {
        now: Millis(0),
        since_ms: 0,
        limits: &LIMITS,
        verdict: Verdict::NO_LIST,
        counts_are_new: true,
        is_outdated: false,
    };
    let (begin, mut restore_max) = (Instant::now(), Duration::ZERO);
    let mut file = directory.read(NAME).ok()??;
    let mut bytes = vec![0; BLOCK_BYTES];
    loop {
        let length = file.by_ref().take(BLOCK_BYTES as u64).read(&mut bytes).ok()?;
        if length == 0 {
            break;
        }
        let block = SnapshotBlock::decode(&bytes[..length]).ok()?;
        for torrent in block.torrents() {
            store.restore(&torrent, &how);
        }
    }
    let time = begin.elapsed();
    assert_eq!(store.totals(), of.totals(), "what was loaded");
    // Once more with a timer, which costs as much as a small torrent.
    let again = crate::population::store(ids);
    let mut file = directory.read(NAME).ok()??;
    while file.read_exact(&mut bytes).is_ok() {
        let block = SnapshotBlock::decode(&bytes).ok()?;
        for torrent in block.torrents() {
            let before = processor_time();
            again.restore(&torrent, &how);
            let holds = torrent.peers().count().div_ceil(256).max(1);
            let time = processor_time().saturating_sub(before);
            restore_max = restore_max.max(time / u32::try_from(holds).unwrap_or(1));
        }
    }
    Some((time, restore_max))
}
