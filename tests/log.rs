//! The log of the built binary: whoever reads it, however slowly, the tracker goes on; and its form
//! for a file and for the journal.

#![allow(clippy::expect_used, clippy::panic, reason = "a failing test says so by a panic")]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};

use support::http::{get, percent_encoded};
use support::process::command;
use support::{PATIENCE, wait_until};

/// The least that a pipe holds on machines with pages of 4 KiB; the kernel rounds up.
const PIPE_BYTES: usize = 4096;

/// A tracker whose stdout the test reads, and whose stderr is what the test says.
struct Tracker {
    child: Child,
    address: SocketAddr,
    _home: tempfile::TempDir,
}

impl Tracker {
    fn start(complete: impl FnOnce(&mut Command) -> &mut Command) -> Tracker {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path());
        command.args(["--listen", "127.0.0.1:0", "--workers", "2", "--database", "memory"]);
        complete(command.stdin(Stdio::null()).stdout(Stdio::piped()));
        let mut child = command.spawn().expect("the tracker can be run");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let address = stdout.lines().map_while(Result::ok).find_map(|line| {
            line.strip_prefix("listening on ").and_then(|address| address.parse().ok())
        });
        Tracker { child, address: address.expect("it says where it listens"), _home: home }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the tracker runs");
    }

    /// Its exit code once it has ended by itself.
    fn wait_exit(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until(PATIENCE, "the tracker ends", || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    fn announce(&self) {
        let hash = percent_encoded(b"a torrent of a test!");
        let target = format!(
            "/announce?info_hash={hash}&peer_id=-XX0001-abcdefghijkl&port=1&uploaded=0\
             &downloaded=0&left=1"
        );
        let answer = get(self.address, &target).dict();
        assert!(answer.contains_key(b"peers".as_slice()), "{answer:?}");
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipe that is full. Its reader must be kept.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let bytes = fcntl_setpipe_size(&writer, PIPE_BYTES).expect("a pipe can be made smaller");
    writer.write_all(&vec![b'\n'; bytes]).expect("it holds so much");
    (reader, writer.into())
}

#[test]
fn a_log_that_nobody_reads_stops_neither_announces_nor_the_end() {
    let (_reader, full) = full_pipe();
    let mut tracker = Tracker::start(|command| command.stderr(full));
    tracker.announce();
    for _ in 0..20 {
        tracker.signal(Signal::USR1);
        tracker.signal(Signal::HUP);
        tracker.announce();
    }
    tracker.signal(Signal::TERM);
    assert_eq!(tracker.wait_exit(), Some(0), "exit code");
}

#[test]
fn a_refusal_that_nobody_reads_ends_the_program_all_the_same() {
    let (_reader, full) = full_pipe();
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path());
    command.args(["--listen", "192.0.2.1:1", "--database", "memory"]).stderr(full);
    let child = command.stdin(Stdio::null()).spawn().expect("the tracker can be run");
    let address = "192.0.2.1:1".parse().expect("an address");
    let mut tracker = Tracker { child, address, _home: home };
    assert_eq!(tracker.wait_exit(), Some(1), "exit code");
}

#[test]
fn what_was_not_read_at_once_comes_whole_and_in_order() {
    let (reader, full) = full_pipe();
    let mut tracker = Tracker::start(|command| command.stderr(full));
    tracker.signal(Signal::HUP);
    tracker.signal(Signal::USR1);
    tracker.announce();
    let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
    let mut wait_for = |words: &str| {
        lines.find(|line| line.contains(words)).unwrap_or_else(|| panic!("no line with {words:?}"))
    };
    wait_for(&format!(" INFO  announced::serve] listening on {}", tracker.address));
    wait_for("SIGHUP: everything is asked for anew");
    tracker.signal(Signal::USR1);
    wait_for("0 torrents, 0 peers");
    tracker.signal(Signal::TERM);
    wait_for("stopping on SIGTERM");
    assert_eq!(tracker.wait_exit(), Some(0), "exit code");
}

/// What the log holds of a tracker that starts and ends, with its stderr named as the journal's
/// stream, or another one.
fn logged(is_journal: bool) -> String {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("log");
    let log = File::create(&path).expect("a file can be made");
    let metadata = log.metadata().expect("it is there");
    let inode = metadata.ino() + u64::from(!is_journal);
    let mut tracker = Tracker::start(|command| {
        command.env("JOURNAL_STREAM", format!("{}:{inode}", metadata.dev())).stderr(log)
    });
    tracker.signal(Signal::TERM);
    assert_eq!(tracker.wait_exit(), Some(0), "exit code");
    fs::read_to_string(path).expect("the log can be read")
}

#[test]
fn the_journal_gets_priorities_and_others_the_time() {
    for is_journal in [true, false] {
        let log = logged(is_journal);
        for (line, number) in log.lines().zip(1..) {
            let begins = if is_journal { line.starts_with("<6>") } else { line.starts_with("[20") };
            assert!(begins, "line {number} of the log (journal: {is_journal}): {line:?}");
        }
        for told in ["open tracker, 2 workers", "listening on ", "announce URL ", "stopping on"] {
            assert!(log.contains(told), "no {told:?} in the log (journal: {is_journal}): {log}");
        }
    }
}
