//! What outlives the process, as the one who runs the built binary sees it: how the tracker ends
//! when it is told to, what it says when nothing can be saved, and where it does not start.

#![allow(clippy::expect_used, clippy::panic, reason = "a failing test says so by a panic")]

mod support;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use support::process::{Running, command};
use support::{PATIENCE, wait_until};

/// Exit code of a process that SIGTERM has ended.
const TERMINATED: i32 = 128 + 15;

/// The tracker in `home`, on a port of the system's choice.
fn announced(home: &Path) -> Command {
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), home);
    command.args(["--listen", "127.0.0.1:0", "--workers", "1"]);
    command
}

fn wait_for_address(running: &Running) -> SocketAddr {
    running.wait_line("where it listens", |line| line.strip_prefix("listening on ")?.parse().ok())
}

/// A tracker whose settings name `state` as its state directory, on an SQLite file elsewhere.
fn start_with_state(home: &Path, state: &Path) -> Running {
    let settings = home.join("announced.toml");
    let text = format!("[server]\nstate_directory = {state:?}\n");
    fs::write(&settings, text).expect("a temporary directory can be written to");
    let mut command = announced(home);
    command.arg("--config").arg(settings);
    Running::start(command)
}

#[test]
fn two_orders_to_stop_at_once_are_one() {
    for round in 0..5 {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut tracker = Running::start(announced(home.path()));
        wait_for_address(&tracker);
        for _ in 0..10 {
            tracker.signal(Signal::TERM);
        }
        tracker.signal(Signal::INT);
        let status = tracker.wait_exit(PATIENCE);
        assert_eq!(status.code(), Some(0), "round {round}: {}", tracker.transcript());
        let saved = home.path().join("announced.state").is_file();
        assert!(saved, "round {round}: nothing is saved: {}", tracker.transcript());
    }
}

/// The database is there and says nothing, so the tracker waits at its end for an answer.
#[test]
fn an_order_to_stop_after_a_second_ends_the_tracker_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let home = tempfile::tempdir().expect("a temporary directory");
    let address = silent.local_addr().expect("an address");
    let settings = home.path().join("announced.toml");
    let text = format!(
        "[tracker]\nmode = \"registered\"\n[database]\nlookup_timeout = \"30s\"\n\
         url = \"mysql://root:x@{address}/tracker\"\n"
    );
    fs::write(&settings, text).expect("a temporary directory can be written to");
    let mut command = announced(home.path());
    command.arg("--config").arg(settings);
    let mut tracker = Running::start(command);
    let mut client = TcpStream::connect(wait_for_address(&tracker)).expect("the tracker listens");
    let hash = "%01".repeat(20);
    write!(
        client,
        "GET /announce?info_hash={hash}&peer_id=-XX0001-abcdefghijkl&port=1&uploaded=0\
         &downloaded=0&left=1 HTTP/1.1\r\n\
         Host: x\r\n\r\n"
    )
    .expect("the tracker reads");
    wait_until(PATIENCE, "the announce waits for the database", || {
        tracker.signal(Signal::USR1);
        tracker.transcript().contains(", 1 waiting requests, ")
    });
    tracker.signal(Signal::TERM);
    tracker.wait_log("the beginning of its end", |line| {
        line.contains("stopping on SIGTERM").then_some(())
    });
    // The rule is a time: there is nothing else to wait for.
    thread::sleep(Duration::from_millis(1_100));
    tracker.signal(Signal::TERM);
    let status = tracker.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(TERMINATED), "{}", tracker.transcript());
}

#[test]
fn what_cannot_be_saved_at_the_end_is_exit_code_1() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let state = home.path().join("state");
    fs::create_dir(&state).expect("a directory can be made");
    let mut tracker = start_with_state(home.path(), &state);
    wait_for_address(&tracker);
    fs::remove_dir_all(&state).expect("the directory can be removed");
    tracker.signal(Signal::TERM);
    let status = tracker.wait_exit(PATIENCE);
    let transcript = tracker.transcript();
    assert_eq!(status.code(), Some(1), "{transcript}");
    let line = "announced: what is known of torrents could not be saved";
    assert!(transcript.contains(line), "{transcript}");
}

#[test]
fn a_state_directory_that_is_missing_is_refused_by_start_and_check() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let state = home.path().join("new");
    let mut tracker = start_with_state(home.path(), &state);
    let status = tracker.wait_exit(PATIENCE);
    let rule = format!(
        "server.state_directory = {state:?}: there is no such directory; make it: mkdir -p {}",
        state.display()
    );
    let transcript = tracker.transcript();
    assert_eq!(status.code(), Some(1), "{transcript}");
    let settings = home.path().join("announced.toml");
    let line = format!("announced: {}: line 2: {rule}\n", settings.display());
    assert!(transcript.contains(&line), "{transcript}");
    assert!(!home.path().join("announced.db").exists(), "no database is made");
    let checked = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path())
        .arg("check")
        .arg(&settings)
        .output()
        .expect("the tracker can be run");
    let told = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(told, line);
    assert_eq!(checked.status.code(), Some(1), "exit code of the check");
}
