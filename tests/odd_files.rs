//! What has a file's name and is something else, and files that have become empty: the start and
//! SIGHUP go on, and say so.

#![allow(clippy::expect_used, clippy::panic, reason = "a failing test says so by a panic")]

mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use support::PATIENCE;
use support::http::get;
use support::process::{Running, command};
use support::tracker::Tracker;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO can be made");
}

fn start(home: &Path, settings: &str) -> Tracker {
    Tracker::start_in(home, LOOPBACK, settings, |command| {
        command.args(["--workers", "1"]);
    })
}

/// The built program in `home`, without a database.
fn announced(home: &Path) -> Command {
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), home);
    command.args(["--listen", "127.0.0.1:0", "--workers", "1", "--database", "memory"]);
    command
}

#[test]
fn what_is_no_file_in_the_state_directory_is_put_aside_at_the_start() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let names = ["announced.secret", "announced.state", "announced.swarms"];
    for name in names {
        make_fifo(&home.path().join(name));
    }
    let tracker = start(home.path(), "");
    for name in names {
        let line = format!("./{name}: is no regular file; kept as ./{name}.damaged-1");
        tracker.wait_log(&line);
    }
    tracker.stop();
    for name in names {
        assert!(home.path().join(name).is_file(), "{name} is not written at the end");
    }
}

#[test]
fn a_lock_that_is_no_file_is_an_error_with_what_to_do() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let lock = home.path().join("announced.state.lock");
    make_fifo(&lock);
    let mut tracker = Running::start(announced(home.path()));
    let status = tracker.wait_exit(PATIENCE);
    let transcript = tracker.transcript();
    assert_eq!(status.code(), Some(1), "{transcript}");
    let line = "announced.state.lock is no regular file; remove it: rm -r ";
    assert!(transcript.contains(line), "{transcript}");
}

#[test]
fn sighup_waits_for_no_fifo_and_takes_no_empty_file() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let list = home.path().join("list");
    fs::write(&list, "192.0.2.0/24\n").expect("a temporary directory can be written to");
    let settings = format!("[server]\ntrusted_proxies = \"file:{}\"\n", list.display());
    let tracker = start(home.path(), &settings);
    let file = home.path().join("announced.toml");
    let (of_list, of_file) = (format!("{}\": ", list.display()), format!("{}: ", file.display()));
    let replaced = |path: &Path| {
        fs::remove_file(path).expect("it is there");
        make_fifo(path);
    };
    let emptied = |path: &Path| fs::write(path, "\n").expect("it can be written to");
    emptied(&list);
    tracker.signal(Signal::HUP);
    tracker.wait_log(&format!("line 2: server.trusted_proxies = \"file:{of_list}is empty"));
    replaced(&list);
    tracker.signal(Signal::HUP);
    tracker.wait_log(&format!("{of_list}is no regular file"));
    fs::remove_file(&list).expect("it is there");
    fs::write(&list, "198.51.100.0/24\n").expect("a temporary directory can be written to");
    tracker.signal(Signal::HUP);
    tracker.wait_log("changed settings: server.trusted_proxies");
    emptied(&file);
    tracker.signal(Signal::HUP);
    tracker.wait_log(&format!("the settings stay as they were: {of_file}is empty"));
    replaced(&file);
    tracker.signal(Signal::HUP);
    tracker.wait_log(&format!("the settings stay as they were: {of_file}is no regular file"));
    assert_eq!(get(tracker.address, "/").status(), 200, "it serves");
    tracker.stop();
}

#[test]
fn settings_may_come_through_a_pipe_at_the_start_and_not_again() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = announced(home.path());
    command.args(["--config", "/dev/stdin"]);
    let mut tracker = Running::start(command);
    tracker.say(b"[server]\npublic_url = \"http://tracker.example/announce\"\n");
    tracker.close_stdin();
    tracker.wait_line("its announce URL", |line| {
        line.contains("http://tracker.example/announce").then_some(())
    });
    let refusals = [
        (Signal::HUP, "the settings stay as they were: /dev/stdin: is no regular file"),
        (Signal::USR2, "this process goes on: /dev/stdin: is no regular file"),
    ];
    for (signal, refusal) in refusals {
        tracker.signal(signal);
        tracker.wait_log(refusal, |line| line.contains(refusal).then_some(()));
    }
}

#[test]
fn a_secret_that_others_may_read_is_told_of_once() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().expect("a temporary directory");
    start(home.path(), "").stop();
    let secret = home.path().join("announced.secret");
    let shared = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&secret, shared).expect("the test's user owns it");
    let told = start(home.path(), "").stop();
    let line = "./announced.secret: may be read or written by others; to end that: chmod 600 \
                ./announced.secret";
    assert_eq!(told.matches(line).count(), 1, "{told}");
}
