//! What outlives the built tracker: swarms and counts, through ends in good order, kills, full
//! disks and damaged files, with and without a database.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper fails its test, with a text"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_bencode::value::Value;
use tempfile::TempDir;

use support::http::{get, percent_encoded};
use support::process::{Running, command};
use support::tracker::{Counts, Tracker};
use support::udp::UdpClient;
use support::{PATIENCE, wait_equal, wait_until};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HASH: [u8; 20] = *b"a torrent's twenty b";
const OTHER: [u8; 20] = *b"another's twenty byt";
const EVERY_SECOND: &str = "[server]\nworkers = 2\nsnapshot_interval = \"1s\"\n";
const DATABASES: [&str; 2] = ["memory", "sqlite:torrents.db"];

/// A home that trackers have one after the other.
struct Site {
    home: TempDir,
    database: &'static str,
}

impl Site {
    fn new(database: &'static str) -> Site {
        Site { home: tempfile::tempdir().expect("a temporary directory"), database }
    }

    #[track_caller]
    fn start(&self, settings: &str) -> Tracker {
        Tracker::start_in(self.home.path(), LOOPBACK, settings, |command| {
            command.args(["--database", self.database]);
        })
    }

    fn snapshot(&self) -> PathBuf {
        self.home.path().join("announced.swarms")
    }

    /// Runs `announced torrent` with the tracker's database.
    #[track_caller]
    fn torrent(&self, arguments: &[&str]) {
        let program = Path::new(env!("CARGO_BIN_EXE_announced"));
        let output = command(program, self.home.path())
            .arg("torrent")
            .args(arguments)
            .args(["--database", self.database])
            .output()
            .expect("the tracker can be run");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

/// Announces over HTTP; the ports of the peers that are given.
#[track_caller]
fn announce(tracker: &Tracker, hash: &[u8; 20], port: u16, rest: &str) -> Vec<u16> {
    let hash = percent_encoded(hash);
    let target = format!(
        "/announce?info_hash={hash}&peer_id=-XX0001-{port:012}&port={port}&uploaded=0&\
         downloaded=0&{rest}"
    );
    let mut dict = get(tracker.address, &target).dict();
    let Some(Value::Bytes(peers)) = dict.remove(b"peers".as_slice()) else {
        panic!("no peers in {dict:?}")
    };
    peers.chunks_exact(6).map(|peer| u16::from_be_bytes([peer[4], peer[5]])).collect()
}

fn counts(complete: i64, downloaded: i64, incomplete: i64) -> Option<Counts> {
    Some(Counts { complete, downloaded, incomplete })
}

#[test]
fn swarms_outlive_an_end_in_good_order() {
    for database in DATABASES {
        let site = Site::new(database);
        let tracker = site.start("");
        for port in 1_001..1_100 {
            let left = if port % 2 == 0 { "left=0" } else { "left=5" };
            announce(&tracker, &HASH, port, left);
        }
        announce(&tracker, &HASH, 1_001, "left=0&event=completed");
        let udp = UdpClient::connect(LOOPBACK, tracker.address);
        udp.announce(&OTHER, 2_001, 0).expect("it is served");
        let before = tracker.scrape(&HASH);
        assert_eq!(before, counts(50, 1, 49), "before, {database}");
        tracker.stop();
        for round in 1..=2 {
            let tracker = site.start("");
            assert_eq!(tracker.scrape(&HASH), before, "after restart {round}, {database}");
            let mut peers = announce(&tracker, &HASH, 1_001, "left=0&event=completed&numwant=200");
            peers.sort_unstable();
            let leechers: Vec<u16> = (1_003..1_100).step_by(2).collect();
            assert_eq!(peers, leechers, "who a seeder is given after restart {round}, {database}");
            assert_eq!(tracker.scrape(&HASH), before, "a completion said again, {database}");
            let udp = UdpClient::connect(LOOPBACK, tracker.address);
            let told = udp.announce(&OTHER, 2_002, 5).expect("it is served");
            let seeder = SocketAddr::new(LOOPBACK, 2_001);
            assert_eq!(told.peers, [seeder], "over UDP after restart {round}, {database}");
            tracker.stop();
        }
    }
}

#[test]
fn a_leecher_that_completes_after_a_restart_is_counted_once() {
    for database in DATABASES {
        let site = Site::new(database);
        let tracker = site.start("");
        announce(&tracker, &HASH, 1_001, "left=5&event=started");
        tracker.stop();
        let tracker = site.start("");
        announce(&tracker, &HASH, 1_001, "left=0&event=completed");
        assert_eq!(tracker.scrape(&HASH), counts(1, 1, 0), "{database}");
        tracker.stop();
        let tracker = site.start("");
        announce(&tracker, &HASH, 1_001, "left=0&event=completed");
        assert_eq!(tracker.scrape(&HASH), counts(1, 1, 0), "said again, {database}");
        tracker.stop();
    }
}

/// Downloads of a torrent that is not listed are in the snapshot alone; once it is listed they are
/// written, by one process.
#[test]
fn downloads_of_a_torrent_that_is_listed_later_are_written_once() {
    let site = Site::new(DATABASES[1]);
    let settings = "[database]\nflush_interval = \"100ms\"\ncache_ttl = \"100ms\"\n";
    let tracker = site.start(settings);
    for port in 1_001..1_004 {
        announce(&tracker, &HASH, port, "left=5&event=started");
        announce(&tracker, &HASH, port, "left=0&event=completed");
    }
    tracker.stop();
    // This one takes the count over, and leaves it to the next.
    let tracker = site.start(settings);
    assert_eq!(tracker.scrape(&HASH), counts(3, 3, 0), "taken over");
    tracker.stop();
    let tracker = site.start(settings);
    site.torrent(&["add", "--name", "Listed", &hex(&HASH)]);
    let listed = || downloads(&site);
    wait_equal(PATIENCE, &Some(3), listed);
    tracker.kill();
    // The snapshot it was started with is still there, and so is what it has written.
    let tracker = site.start(settings);
    announce(&tracker, &HASH, 1_009, "left=5&event=started");
    announce(&tracker, &HASH, 1_009, "left=0&event=completed");
    wait_equal(PATIENCE, &Some(4), listed);
    assert_eq!(tracker.scrape(&HASH), counts(4, 4, 0), "after a kill");
    tracker.stop();
}

fn hex(hash: &[u8; 20]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the database has of the torrent's downloads.
#[track_caller]
fn downloads(site: &Site) -> Option<u64> {
    let program = Path::new(env!("CARGO_BIN_EXE_announced"));
    let output = command(program, site.home.path())
        .args(["torrent", "list", "--json", "--database", site.database])
        .output()
        .expect("the tracker can be run");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = rows.iter().find(|row| row["info_hash"] == hex(&HASH))?;
    row["downloaded"].as_u64()
}

#[test]
fn what_was_banned_or_removed_meanwhile_does_not_come_back() {
    let site = Site::new(DATABASES[1]);
    let settings = "[tracker]\nmode = \"registered\"\n";
    let [kept, banned, removed] = [b'k', b'b', b'r'].map(|letter| [letter; 20]);
    for hash in [&kept, &banned, &removed] {
        site.torrent(&["add", "--name", "Listed", &hex(hash)]);
    }
    let tracker = site.start(settings);
    for hash in [&kept, &banned, &removed] {
        announce(&tracker, hash, 1_001, "left=0");
    }
    tracker.stop();
    site.torrent(&["ban", "--reason", "spam", &hex(&banned)]);
    site.torrent(&["remove", &hex(&removed)]);
    let tracker = site.start(settings);
    assert_eq!(tracker.scrape(&kept), counts(1, 0, 0), "one that is still listed");
    for (hash, what) in [(banned, "banned"), (removed, "removed")] {
        assert_eq!(tracker.scrape(&hash), None, "one that was {what}");
        let target = format!(
            "/announce?info_hash={}&peer_id=-XX0001-abcdefghijkl&port=1002&uploaded=0&\
             downloaded=0&left=5",
            percent_encoded(&hash)
        );
        let dict = get(tracker.address, &target).dict();
        assert!(dict.contains_key(b"failure reason".as_slice()), "one that was {what}: {dict:?}");
    }
    tracker.stop();
}

#[test]
fn after_a_kill_what_the_last_snapshot_holds_is_there() {
    for database in DATABASES {
        let site = Site::new(database);
        let tracker = site.start(EVERY_SECOND);
        (1_001..1_101).for_each(|port| _ = announce(&tracker, &HASH, port, "left=0"));
        let all = counts(100, 0, 0);
        assert_eq!(tracker.scrape(&HASH), all, "before, {database}");
        let bytes = |site: &Site| fs::metadata(site.snapshot()).map_or(0, |file| file.len());
        wait_until(PATIENCE, "the peers are saved", || bytes(&site) > 100 * 28);
        tracker.kill();
        let tracker = site.start(EVERY_SECOND);
        assert_eq!(tracker.scrape(&HASH), all, "after the kill, {database}");
        tracker.stop();
    }
}

/// A client that connects as soon as it listens is answered out of swarms that are back.
#[test]
fn connections_wait_until_the_swarms_are_back() {
    let site = Site::new("memory");
    let tracker = site.start("");
    announce(&tracker, &HASH, 1_001, "left=0");
    let address = tracker.address;
    tracker.stop();
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), site.home.path());
    command.args(["--database", "memory", "--listen"]).arg(address.to_string());
    let mut running = Running::start(command);
    let mut first = None;
    wait_until(PATIENCE, "it listens", || {
        first = TcpStream::connect(address).ok();
        first.is_some()
    });
    let mut first = first.expect("it is connected");
    let target = format!("/scrape?info_hash={}", percent_encoded(&HASH));
    let request = format!("GET {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    first.set_read_timeout(Some(PATIENCE)).expect("a limit that is not 0");
    first.write_all(request.as_bytes()).expect("it is taken");
    let mut reply = Vec::new();
    first.read_to_end(&mut reply).expect("an answer");
    let reply = String::from_utf8_lossy(&reply);
    assert!(reply.contains("8:completei1e"), "the first answer: {reply:?}");
    running.signal(Signal::TERM);
    assert!(running.wait_exit(PATIENCE).success(), "its end");
}

#[test]
fn an_interval_of_zero_saves_at_the_end_alone_and_a_new_one_counts_at_once() {
    let site = Site::new("memory");
    let tracker = site.start("[server]\nsnapshot_interval = \"0s\"\n");
    announce(&tracker, &HASH, 1_001, "left=0");
    assert!(!site.snapshot().exists(), "nobody has asked for a snapshot");
    fs::write(site.home.path().join("announced.toml"), EVERY_SECOND.replace("workers = 2\n", ""))
        .expect("the settings can be written");
    tracker.signal(Signal::HUP);
    wait_until(PATIENCE, "a snapshot is there", || site.snapshot().exists());
    tracker.stop();
}

#[test]
fn a_damaged_block_is_left_out_and_the_rest_is_kept() {
    let site = Site::new("memory");
    let tracker = site.start("");
    // 65 bytes a torrent, 64 KiB a block.
    for torrent in 0_u32..2_500 {
        let mut hash = HASH;
        hash[..4].copy_from_slice(&torrent.to_be_bytes());
        announce(&tracker, &hash, 1_001, "left=0");
    }
    tracker.stop();
    let mut bytes = fs::read(site.snapshot()).expect("it is saved");
    assert!(bytes.len() > 2 << 16, "{} bytes: too few blocks for this test", bytes.len());
    bytes[(1 << 16) + 999] ^= 1;
    fs::write(site.snapshot(), &bytes).expect("it can be damaged");
    let tracker = site.start("");
    tracker.wait_log("bytes 65536 to 131072 are damaged");
    tracker.wait_log("1493 peers of 1493 torrents are back");
    tracker.stop();
}

#[test]
fn a_newer_snapshot_is_moved_aside() {
    let site = Site::new("memory");
    let tracker = site.start("");
    announce(&tracker, &HASH, 1_001, "left=0");
    tracker.stop();
    let mut bytes = fs::read(site.snapshot()).expect("it is saved");
    bytes[16..20].copy_from_slice(&[2, 0, !2, !0]);
    fs::write(site.snapshot(), &bytes).expect("it can be changed");
    let tracker = site.start("");
    tracker.wait_log("is of version 2, which is newer than this program; kept as");
    assert_eq!(tracker.scrape(&HASH), counts(0, 0, 0), "nobody is there");
    tracker.stop();
    let aside = fs::read(site.home.path().join("announced.swarms.version-2"));
    assert_eq!(aside.expect("it is kept"), bytes, "as it was");
}

#[test]
fn on_a_full_disk_the_last_snapshot_stays_whole() {
    let site = Site::new("memory");
    let tracker = site.start("");
    (1_001..1_011).for_each(|port| _ = announce(&tracker, &HASH, port, "left=0"));
    tracker.stop();
    let before = fs::read(site.snapshot()).expect("it is saved");
    // No file may become larger than 4096 or, by other shells, 8192 bytes.
    let mut limited = Command::new("/bin/sh");
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
    limited.args(["-c", script, env!("CARGO_BIN_EXE_announced")]);
    limited.current_dir(site.home.path()).env_remove("RUST_LOG");
    let database = |command: &mut Command| {
        command.args(["--database", "memory"]);
    };
    let tracker = Tracker::start_by(limited, site.home.path(), LOOPBACK, EVERY_SECOND, database);
    assert_eq!(tracker.scrape(&HASH), counts(10, 0, 0), "what was saved before");
    (1_001..1_401).for_each(|port| _ = announce(&tracker, &HASH, port, "left=0"));
    let failed = |transcript: &str| {
        let at = transcript.rfind(" snapshots failed")?;
        transcript[..at].rsplit(' ').next()?.parse::<u32>().ok()
    };
    wait_until(PATIENCE, "two snapshots have failed", || {
        tracker.signal(Signal::USR1);
        failed(&tracker.transcript()).is_some_and(|failed| failed >= 2)
    });
    assert_eq!(fs::read(site.snapshot()).expect("it stays"), before, "while it runs");
    let (code, transcript) = tracker.stop_anyhow();
    assert_eq!(code, Some(1), "the exit code when the swarms cannot be saved");
    let lines = transcript.matches("the swarms cannot be saved").count();
    assert_eq!(lines, 1, "lines in the log");
    assert_eq!(fs::read(site.snapshot()).expect("it stays"), before, "after the end");
    let beside = site.home.path().join("announced.swarms-new");
    assert!(!beside.exists(), "what could not be written is in the way");
}
