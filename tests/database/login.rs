//! An account that logs in by what is not built in: the driver panics at it, and neither the
//! tracker nor the `torrent` command may end by that.

use std::path::Path;

use crate::peer::{LEECHES, announce};
use crate::site::{Schema, Site, hash, settings, stop};
use crate::support::process::command;
use crate::support::{PATIENCE, wait_until};

#[test]
fn an_account_by_ed25519_is_told_of_in_one_line_and_an_open_tracker_serves_without_it() {
    let (site, home) = (Schema::create(), tempfile::tempdir().expect("a temporary directory"));
    site.log_in_by_ed25519();
    let tracker = site.tracker(home.path(), &settings("open", "lookup_threads = 2"));
    wait_until(PATIENCE, "the log tells of the plugin", || {
        tracker.transcript().contains("ed25519")
    });
    for peer in 1..=3 {
        announce(tracker.address, &hash(1), peer, LEECHES).accepted();
    }
    site.change_password(true);
    wait_until(PATIENCE, "the database answers again", || {
        tracker.transcript().contains("the database answers again")
    });
    announce(tracker.address, &hash(2), 1, LEECHES).accepted();
    let printed = stop(tracker);
    let told: Vec<&str> =
        printed.lines().filter(|line| line.contains("the database does not answer")).collect();
    assert_eq!(told.len(), 1, "it is said once: {told:?}");
    assert!(told[0].contains("plugin ed25519, which is not built in; run: ALTER USER"), "{told:?}");
    assert!(!printed.contains("panicked"), "{printed}");
}

#[test]
fn the_torrent_command_tells_of_such_an_account_in_one_line() {
    let (site, home) = (Schema::create(), tempfile::tempdir().expect("a temporary directory"));
    site.log_in_by_ed25519();
    let mut list = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path());
    list.args(["torrent", "list", "--database", &site.url()]);
    let output = list.output().expect("the program can be run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"", "nothing is listed");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("plugin ed25519, which is not built in; run: ALTER USER"), "{stderr}");
}
