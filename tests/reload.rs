//! SIGHUP: a changed settings file is taken over whole or refused whole, and the swarms stay.

#![allow(clippy::expect_used, clippy::panic, reason = "a failing test says so by a panic")]

mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rustix::process::Signal;
use serde_bencode::value::Value;

use support::http::{Dict, get, percent_encoded};
use support::tracker::Tracker;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HASH: [u8; 20] = *b"a torrent of a test!";

/// A tracker over a settings file that may be changed.
struct Site {
    home: tempfile::TempDir,
    tracker: Tracker,
}

impl Site {
    fn start(settings: &str, arguments: &[&str]) -> Site {
        let home = tempfile::tempdir().expect("a temporary directory");
        let tracker = Tracker::start_in(home.path(), LOOPBACK, settings, |command| {
            command.args(["--database", "memory"]).args(arguments);
        });
        Site { home, tracker }
    }

    fn file(&self) -> String {
        self.home.path().join("announced.toml").display().to_string()
    }

    fn change(&self, settings: &str) {
        fs::write(Path::new(&self.file()), settings).expect("the file can be written");
        self.tracker.signal(Signal::HUP);
    }

    /// The answer to an announce from a port.
    fn announce(&self, port: u16) -> Dict {
        let hash = percent_encoded(&HASH);
        let target = format!(
            "/announce?info_hash={hash}&peer_id=-XX0001-abcdefghijkl&port={port}&uploaded=0\
             &downloaded=0&left=1&numwant=200"
        );
        get(self.tracker.address, &target).dict()
    }
}

fn peers(answer: &Dict) -> usize {
    match answer.get(b"peers".as_slice()) {
        Some(Value::Bytes(peers)) => peers.len() / 6,
        other => panic!("no peers: {other:?}"),
    }
}

fn interval(answer: &Dict) -> i64 {
    match answer.get(b"interval".as_slice()) {
        Some(Value::Int(interval)) => *interval,
        other => panic!("no interval: {other:?}"),
    }
}

#[test]
fn a_changed_file_counts_in_the_next_answer_and_the_swarm_stays() {
    let site = Site::start("", &[]);
    (1_001..=1_010).for_each(|port| drop(site.announce(port)));
    let before = site.announce(1_001);
    assert_eq!(peers(&before), 9, "everybody else");
    assert!((1_620..=1_800).contains(&interval(&before)), "{before:?}");
    site.change(
        "[tracker]\nmin_interval = \"5m\"\nmax_interval = \"10m\"\nnumwant_max = 4\n\
         numwant_default = 4\n",
    );
    site.tracker.wait_log(
        "changed settings: tracker.max_interval, tracker.min_interval, tracker.numwant_default, \
         tracker.numwant_max",
    );
    let after = site.announce(1_001);
    assert_eq!(peers(&after), 4, "numwant_max");
    assert!((540..=600).contains(&interval(&after)), "max_interval: {after:?}");
    let counts = site.tracker.scrape(&HASH).expect("the swarm is there");
    assert_eq!(counts.incomplete, 10, "leechers");
}

#[test]
fn a_broken_file_is_refused_whole_with_key_and_line() {
    let site = Site::start("[tracker]\nnumwant_max = 4\nnumwant_default = 4\n", &[]);
    let rows = [
        (
            "[tracker]\nnumwant_max = 3\nnumwant_default = 3\nmax_interval = \"4h\"\n",
            "line 4: tracker.max_interval = \"4h\": must be from \"1m\" to \"3h\"",
        ),
        (
            "[tracker]\nnumwant_max = 3\nnumwant_default = 3\nmax_intervall = \"1h\"\n",
            "line 4: unknown key 'max_intervall' in [tracker]",
        ),
        (
            "[tracker]\nnumwant_max = 3\nnumwant_default = 3\nmode = \"registered\"\n",
            "tracker.mode = \"registered\"",
        ),
        ("[tracker\n", "line 1: unclosed table"),
    ];
    (1_001..=1_010).for_each(|port| drop(site.announce(port)));
    for (settings, problem) in rows {
        site.change(settings);
        site.tracker.wait_log(&format!("the settings stay as they were: {}: ", site.file()));
        site.tracker.wait_log(problem);
        assert_eq!(peers(&site.announce(1_001)), 4, "nothing has changed by {settings:?}");
    }
}

#[test]
fn what_needs_a_restart_or_is_overridden_is_named_and_the_rest_counts() {
    let site = Site::start("", &["--workers", "1", "--mode", "open"]);
    site.change(
        "[server]\nworkers = 3\nbacklog = 7\n[tracker]\nmode = \"registered\"\n\
         external_ip = false\n[database]\nurl = \"sqlite:x.db\"\n",
    );
    site.tracker.wait_log("changed settings: tracker.external_ip");
    site.tracker.wait_log("changed settings that need a restart: server.backlog");
    let overridden = [
        ("server.workers", "--workers"),
        ("tracker.mode", "--mode"),
        ("database.url", "--database"),
    ];
    for (key, by) in overridden {
        site.tracker.wait_log(&format!("{key} in the settings file does not count: {by}"));
    }
    let answer = site.announce(1_001);
    assert!(!answer.contains_key(b"external ip".as_slice()), "{answer:?}");
    assert!(!answer.contains_key(b"failure reason".as_slice()), "mode stays open: {answer:?}");
}

#[test]
fn the_log_level_and_the_interval_of_the_counters_are_live() {
    let site = Site::start("[server]\nlog_level = \"error\"\nstats_interval = \"0s\"\n", &[]);
    site.change("[server]\nlog_level = \"info\"\nstats_interval = \"1s\"\n");
    site.tracker.wait_log(
        "0 torrents, 0 peers, 0 open connections, 0 waiting requests, 0 requests a second",
    );
}
