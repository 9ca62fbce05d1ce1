//! The built tracker as a child process.
//!
//! Owns: one tracker on a port of the system's choice, in a directory of its own so that no state
//! stays behind. What is learned of it is learned from its standard output and over HTTP: the lines
//! `listening on ADDRESS` and `announce URL URL`, which it prints once it serves, then scrapes. Its
//! log is on standard error, and is shown when the test fails.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_bencode::value::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::http::{Dict, get, percent_encoded};
use super::process::{Running, command};

/// What a scrape says of one torrent (BEP 48).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    /// Peers that have everything.
    pub(crate) complete: i64,
    /// Downloads that were completed.
    pub(crate) downloaded: i64,
    /// Peers that do not have everything yet.
    pub(crate) incomplete: i64,
}

/// A running tracker. Dropping it kills it.
pub(crate) struct Tracker {
    running: Running,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What goes into a torrent file.
    pub(crate) announce_url: String,
    /// The same for UDP, on the same port.
    pub(crate) udp_announce_url: String,
    _home: Option<TempDir>,
}

impl Tracker {
    /// Starts the tracker on a free port of `ip` with `settings`, the text of a settings file, and
    /// without a database; returns once it serves.
    #[track_caller]
    pub(crate) fn start(ip: IpAddr, settings: &str) -> Tracker {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut tracker = Tracker::start_in(home.path(), ip, settings, |command| {
            command.args(["--database", "memory"]);
        });
        tracker._home = Some(home);
        tracker
    }

    /// The same in a directory of the caller's, where a later run finds what this one leaves;
    /// `complete` adds the database, to the command line or the environment.
    #[track_caller]
    pub(crate) fn start_in(
        home: &Path,
        ip: IpAddr,
        settings: &str,
        complete: impl FnOnce(&mut Command),
    ) -> Tracker {
        let command = command(Path::new(env!("CARGO_BIN_EXE_announced")), home);
        Tracker::start_by(command, home, ip, settings, complete)
    }

    /// The same by a command of the caller's, which ends in the tracker with the arguments that
    /// follow.
    #[track_caller]
    pub(crate) fn start_by(
        mut command: Command,
        home: &Path,
        ip: IpAddr,
        settings: &str,
        complete: impl FnOnce(&mut Command),
    ) -> Tracker {
        let file = home.join("announced.toml");
        fs::write(&file, settings).expect("a temporary directory can be written to");
        command.arg("--listen").arg(SocketAddr::new(ip, 0).to_string()).arg("--config").arg(&file);
        complete(&mut command);
        let running = Running::start(command);
        let address = running
            .wait_line("where it listens", |line| line.strip_prefix("listening on ")?.parse().ok());
        let announce_url = running.wait_line("its announce URL", |line| {
            Some(line.strip_prefix("announce URL ")?.to_owned())
        });
        let udp_announce_url = announce_url.replacen("http://", "udp://", 1);
        Tracker { running, address, announce_url, udp_announce_url, _home: None }
    }

    /// The first line of its start that `pick` makes something of.
    #[track_caller]
    pub(crate) fn wait_line<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        self.running.wait_line(what, pick)
    }

    /// What the tracker says of the torrent, or `None` when it does not know it: a failure reason
    /// beside an empty `files`.
    #[track_caller]
    pub(crate) fn scrape(&self, info_hash: &[u8; 20]) -> Option<Counts> {
        let reply =
            get(self.address, &format!("/scrape?info_hash={}", percent_encoded(info_hash))).dict();
        let Some(Value::Dict(files)) = reply.get(b"files".as_slice()) else {
            panic!("no files in {reply:?}")
        };
        let failed = reply.contains_key(b"failure reason".as_slice());
        match files.get(info_hash.as_slice()) {
            Some(Value::Dict(file)) if !failed && files.len() == 1 => Some(Counts::of(file)),
            None if failed && files.is_empty() => None,
            _ => panic!("neither one torrent nor a failure beside no torrent: {reply:?}"),
        }
    }

    /// Tries to start a tracker on `address`; its exit code, and what it printed.
    #[track_caller]
    pub(crate) fn fail_to_start(address: SocketAddr) -> (Option<i32>, String) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path());
        let output = command
            .arg("--listen")
            .arg(address.to_string())
            .output()
            .expect("the tracker can be run");
        (
            output.status.code(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// Waits for a line of the log that contains `words`.
    #[track_caller]
    pub(crate) fn wait_log(&self, words: &str) {
        let what = format!("a log line with {words:?}");
        self.running.wait_log(&what, |line| line.contains(words).then_some(()));
    }

    /// Sends the tracker a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// All that the tracker has printed.
    pub(crate) fn transcript(&self) -> String {
        self.running.transcript()
    }

    /// Waits for the announce URL of this scheme, such as `udp`; what stands behind `udp://`.
    #[track_caller]
    pub(crate) fn wait_announce_url(&self, scheme: &str) -> String {
        let start = format!("announce URL {scheme}://");
        self.running.wait_line(&format!("its announce URL by {scheme}"), |line| {
            Some(line.strip_prefix(&start)?.to_owned())
        })
    }

    /// How many descriptors the tracker has open.
    #[track_caller]
    pub(crate) fn descriptors(&self) -> u64 {
        let folder = format!("/proc/{}/fd", self.running.pid());
        fs::read_dir(folder).expect("the tracker runs").count() as u64
    }

    /// Lets the tracker have no descriptor numbered `most` or above; what is open already stays
    /// open.
    #[track_caller]
    pub(crate) fn limit_descriptors(&self, most: u64) {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(most), maximum };
        prlimit(Some(self.running.pid()), Resource::Nofile, limit)
            .expect("a child's limits can be changed within the maximum");
    }

    /// Processor time the tracker has used, user and system together.
    #[track_caller]
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.running.pid()))
            .expect("the tracker runs");
        // proc(5): utime and stime are fields 14 and 15, in hundredths of a second; the name before
        // them may hold spaces.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| {
            fields.get(field - 3).and_then(|ticks| ticks.parse::<u64>().ok()).expect("a number")
        };
        Duration::from_millis(10 * (ticks(14) + ticks(15)))
    }

    /// Memory of the tracker that is in RAM.
    #[track_caller]
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.pid()))
            .expect("the tracker runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is there");
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    }

    /// Ends the tracker as a service manager does, and expects an orderly end; all that it has
    /// printed.
    #[track_caller]
    pub(crate) fn stop(self) -> String {
        self.running.signal(Signal::TERM);
        self.wait_stopped()
    }

    /// Ends the tracker as a service manager does; the exit code, and all that it has printed.
    #[track_caller]
    pub(crate) fn stop_anyhow(mut self) -> (Option<i32>, String) {
        self.running.signal(Signal::TERM);
        let status = self.running.wait_exit(PATIENCE);
        (status.code(), self.running.transcript())
    }

    /// Kills the tracker, which has no time for anything then.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.running.signal(Signal::KILL);
        let status = self.running.wait_exit(PATIENCE);
        assert!(!status.success(), "the tracker ended in order before it was killed");
    }

    /// Waits for the orderly end of a tracker that was told to end; all that it has printed.
    #[track_caller]
    pub(crate) fn wait_stopped(mut self) -> String {
        let status = self.running.wait_exit(PATIENCE);
        assert!(status.success(), "the tracker ended with {status}");
        self.running.transcript()
    }
}

impl Counts {
    #[track_caller]
    fn of(file: &Dict) -> Counts {
        let count = |key: &str| match file.get(key.as_bytes()) {
            Some(Value::Int(count)) => *count,
            other => panic!("{key} is {other:?} in {file:?}"),
        };
        Counts {
            complete: count("complete"),
            downloaded: count("downloaded"),
            incomplete: count("incomplete"),
        }
    }
}
