//! Which torrents are tracked: listed, banned, changed by the `torrent` command and by SQL.

use std::net::Ipv4Addr;
use std::path::Path;

use rustix::process::Signal;

use crate::mariadb;
use crate::peer::{LEECHES, SEEDS, announce, full_scrape, scrape, wait_accepted, wait_refused};
use crate::site::{Schema, Site, hash, hex, settings, stop};
use crate::support::tracker::{Counts, Tracker};
use crate::support::{PATIENCE, wait_until};

/// With it, a change can only have come by the table of changes or by SIGHUP.
const NEVER_STALE: &str = "cache_ttl = \"1h\"";
/// With it, a change comes soon without anything said.
const SOON_STALE: &str = "cache_ttl = \"1s\"";

on_both! {
    a_torrent_is_listed_banned_and_removed_by_the_command_while_the_tracker_runs,
    every_tracker_on_a_database_sees_the_command,
    an_imported_file_is_listed,
    changes_by_sql_are_seen_when_verdicts_grow_stale,
    at_a_hangup_changes_by_sql_are_seen_at_once,
    an_open_tracker_refuses_only_the_banned,
    a_full_scrape_shows_all_that_is_listed_and_not_banned,
}

fn a_torrent_is_listed_banned_and_removed_by_the_command_while_the_tracker_runs(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let tracker = site.tracker(home.path(), &settings("registered", NEVER_STALE));
    let (torrent, digits) = (hash(1), hex(&hash(1)));
    assert!(announce(tracker.address, &torrent, 1, LEECHES).refused("#5").is_some());
    assert_eq!(scrape(&tracker, &torrent), None);

    site.torrent(&["add", &digits, "--name", "Demo"]);
    wait_accepted(&tracker, &torrent, 1);
    assert_eq!(
        announce(tracker.address, &torrent, 2, SEEDS).accepted(),
        Counts { complete: 1, downloaded: 0, incomplete: 1 }
    );
    let entry = scrape(&tracker, &torrent).expect("a listed torrent is shown");
    assert_eq!(entry.name.as_deref(), Some("Demo"), "name");
    assert_eq!(entry.counts.complete, 1, "seeders");
    assert_eq!(entry.counts.incomplete, 1, "leechers");

    site.torrent(&["ban", &digits, "--reason", "the author asked for it"]);
    let reason = wait_refused(&tracker, &torrent, 1, "#6");
    assert!(reason.contains("the author asked for it"), "{reason}");
    assert_eq!(scrape(&tracker, &torrent), None);

    site.torrent(&["unban", &digits]);
    wait_until(PATIENCE, "the torrent is shown again", || scrape(&tracker, &torrent).is_some());
    let entry = scrape(&tracker, &torrent).expect("it was shown a moment ago");
    assert_eq!(entry.counts.complete, 0, "seeders: the ban dropped the swarm");
    assert_eq!(entry.counts.incomplete, 0, "leechers: the ban dropped the swarm");
    assert_eq!(announce(tracker.address, &torrent, 3, LEECHES).accepted().incomplete, 1);

    site.torrent(&["remove", &digits]);
    wait_refused(&tracker, &torrent, 3, "#5");
    assert_eq!(scrape(&tracker, &torrent), None);
    stop(tracker);
}

fn every_tracker_on_a_database_sees_the_command(site: &dyn Site) {
    let homes = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let trackers = homes
        .each_ref()
        .map(|home| site.tracker(home.path(), &settings("registered", NEVER_STALE)));
    for tracker in &trackers {
        assert!(announce(tracker.address, &hash(1), 1, LEECHES).refused("#5").is_some());
    }
    site.torrent(&["add", &hex(&hash(1))]);
    for tracker in &trackers {
        wait_accepted(tracker, &hash(1), 1);
    }
    site.torrent(&["ban", &hex(&hash(1))]);
    for tracker in trackers {
        wait_refused(&tracker, &hash(1), 1, "#6");
        stop(tracker);
    }
}

fn an_imported_file_is_listed(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let tracker = site.tracker(home.path(), &settings("registered", NEVER_STALE));
    assert!(announce(tracker.address, &hash(2), 1, LEECHES).refused("#5").is_some());
    let list = home.path().join("list");
    let lines: String = (0..3_000).map(|number| hex(&hash(number)) + "\n").collect();
    std::fs::write(&list, lines).expect("a temporary directory can be written to");
    site.torrent(&["import", list.to_str().expect("a plain path")]);
    assert_eq!(site.listed(), 3_000);
    wait_accepted(&tracker, &hash(2), 1);
    assert_eq!(announce(tracker.address, &hash(2_999), 1, LEECHES).accepted().incomplete, 1);
    let printed = site.torrent(&["list", "--json"]);
    assert!((0..3_000).all(|number| printed.contains(&hex(&hash(number)))), "{printed:.500}");
    stop(tracker);
}

fn changes_by_sql_are_seen_when_verdicts_grow_stale(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let tracker = site.tracker(home.path(), &settings("registered", SOON_STALE));
    let torrent = hash(1);
    assert!(announce(tracker.address, &torrent, 1, LEECHES).refused("#5").is_some());
    site.list(&[(torrent, "by hand")]);
    wait_accepted(&tracker, &torrent, 1);
    site.set("banned = 1", &torrent);
    wait_refused(&tracker, &torrent, 1, "#6");
    site.set("banned = 0, name = 'by another hand'", &torrent);
    wait_accepted(&tracker, &torrent, 1);
    let named = || {
        scrape(&tracker, &torrent).and_then(|entry| entry.name).as_deref()
            == Some("by another hand")
    };
    wait_until(PATIENCE, "the new name is shown", named);
    site.delete(&torrent);
    wait_refused(&tracker, &torrent, 1, "#5");
    stop(tracker);
}

fn at_a_hangup_changes_by_sql_are_seen_at_once(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (listed, unlisted) = (hash(1), hash(2));
    site.list(&[(listed, "listed")]);
    let tracker = site.tracker(home.path(), &settings("registered", NEVER_STALE));
    // Else the change could be seen in the list, which is read beside the first announces.
    wait_until(PATIENCE, "the list has been read", || tracker.transcript().contains(" listed"));
    wait_accepted(&tracker, &listed, 1);
    assert!(announce(tracker.address, &unlisted, 1, LEECHES).refused("#5").is_some());

    site.set("banned = 1", &listed);
    site.list(&[(unlisted, "listed later")]);
    assert_eq!(
        announce(tracker.address, &listed, 2, LEECHES).accepted().incomplete,
        2,
        "nobody has said that it changed"
    );
    assert!(
        announce(tracker.address, &unlisted, 1, LEECHES).refused("#5").is_some(),
        "nobody has said that it changed"
    );
    tracker.signal(Signal::HUP);
    wait_refused(&tracker, &listed, 1, "#6");
    wait_accepted(&tracker, &unlisted, 1);

    site.set("banned = 0", &listed);
    tracker.signal(Signal::HUP);
    wait_accepted(&tracker, &listed, 3);
    assert_eq!(
        announce(tracker.address, &listed, 3, LEECHES).accepted().incomplete,
        1,
        "the ban dropped the swarm"
    );
    stop(tracker);
}

fn an_open_tracker_refuses_only_the_banned(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (listed, unlisted, banned) = (hash(1), hash(2), hash(3));
    site.list(&[(listed, "listed"), (banned, "banned")]);
    site.set("downloaded = 41", &listed);
    site.set("banned = 1", &banned);
    let tracker = site.tracker(home.path(), &settings("open", NEVER_STALE));
    assert_eq!(
        announce(tracker.address, &listed, 1, LEECHES).accepted(),
        Counts { complete: 0, downloaded: 41, incomplete: 1 }
    );
    assert_eq!(
        announce(tracker.address, &unlisted, 1, LEECHES).accepted(),
        Counts { complete: 0, downloaded: 0, incomplete: 1 }
    );
    assert!(announce(tracker.address, &banned, 1, LEECHES).refused("#6").is_some());
    assert_eq!(scrape(&tracker, &listed).expect("it has a peer").name.as_deref(), Some("listed"));
    assert_eq!(scrape(&tracker, &unlisted).expect("it has a peer").name, None);
    assert_eq!(scrape(&tracker, &banned), None);

    // What nobody has listed can be banned all the same.
    site.torrent(&["ban", &hex(&unlisted), "--reason", "a virus"]);
    let reason = wait_refused(&tracker, &unlisted, 1, "#6");
    assert!(reason.contains("a virus"), "{reason}");
    site.torrent(&["unban", &hex(&unlisted)]);
    wait_accepted(&tracker, &unlisted, 1);
    stop(tracker);
}

fn a_full_scrape_shows_all_that_is_listed_and_not_banned(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let torrents: Vec<_> = (0..1_500).map(|number| (hash(number), "one of many")).collect();
    site.list(&torrents);
    site.set("banned = 1", &hash(7));
    site.set("downloaded = 3", &hash(8));
    let interval = "full_scrape_interval = \"1s\"\n[database]";
    let tracker = site
        .tracker(home.path(), &settings("registered", NEVER_STALE).replace("[database]", interval));
    assert_eq!(announce(tracker.address, &hash(9), 1, LEECHES).accepted().incomplete, 1);
    let mut shown = full_scrape(&tracker, Ipv4Addr::LOCALHOST);
    // Who starts is not made to wait until everything has been read; each look is by another
    // address, since one may look once a second.
    let mut looks = 0;
    wait_until(PATIENCE, "all torrents are shown", || {
        looks += 1;
        shown = full_scrape(&tracker, Ipv4Addr::from(0x7f02_0000 + looks));
        shown.len() == torrents.len() - 1
    });
    assert!(!shown.contains_key(hash(7).as_slice()));
    assert_eq!(
        shown[hash(8).as_slice()].counts,
        Counts { complete: 0, downloaded: 3, incomplete: 0 }
    );
    assert_eq!(
        shown[hash(9).as_slice()].counts,
        Counts { complete: 0, downloaded: 0, incomplete: 1 }
    );
    assert_eq!(shown[hash(10).as_slice()].name.as_deref(), Some("one of many"));
    stop(tracker);
}

/// The same start as in README: nothing made beforehand, flags only, and a path relative to the
/// working directory.
#[test]
fn a_first_start_makes_the_sqlite_file() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let start = || {
        Tracker::start_in(home.path(), Ipv4Addr::LOCALHOST.into(), "", |command| {
            command.args(["--mode", "registered", "--database", "sqlite:x.db"]);
        })
    };
    let torrent = |arguments: &[&str]| {
        let mut command = crate::support::process::command(
            Path::new(env!("CARGO_BIN_EXE_announced")),
            home.path(),
        );
        let status =
            command.arg("torrent").args(arguments).args(["--database", "sqlite:x.db"]).status();
        assert!(status.expect("the program can be run").success(), "{arguments:?}");
    };
    let tracker = start();
    assert!(announce(tracker.address, &hash(1), 1, LEECHES).refused("#5").is_some());
    torrent(&["add", &hex(&hash(1)), "--name", "Demo"]);
    wait_accepted(&tracker, &hash(1), 1);
    tracker.stop();
    assert!(home.path().join("x.db").is_file());
    let tracker = start();
    assert_eq!(announce(tracker.address, &hash(1), 1, LEECHES).accepted().incomplete, 1);
    torrent(&["ban", &hex(&hash(1))]);
    wait_refused(&tracker, &hash(1), 1, "#6");
    tracker.stop();
}

/// A database whose URL is in the settings file: nobody who lists processes sees it, and no message
/// shows it.
#[test]
fn the_settings_file_may_hold_the_password() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let schema = Schema::create();
    schema.list(&[(hash(1), "listed")]);
    let url = format!("url = \"{}\"", schema.url());
    let tracker = Tracker::start_in(
        home.path(),
        Ipv4Addr::LOCALHOST.into(),
        &settings("registered", &url),
        |_| {},
    );
    assert_eq!(announce(tracker.address, &hash(1), 1, LEECHES).accepted().incomplete, 1);
    assert!(announce(tracker.address, &hash(2), 1, LEECHES).refused("#5").is_some());
    assert!(stop(tracker).contains("mysql://"), "it is said which database it is");
}

#[test]
fn mariadb_can_be_reached_by_its_unix_socket() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let schema = Schema::create();
    schema.list(&[(hash(1), "listed")]);
    let tracker = Tracker::start_in(
        home.path(),
        Ipv4Addr::LOCALHOST.into(),
        &settings("registered", ""),
        |command| {
            command.args(["--database", &schema.socket_url()]);
        },
    );
    assert_eq!(announce(tracker.address, &hash(1), 1, LEECHES).accepted().incomplete, 1);
    assert!(announce(tracker.address, &hash(2), 1, LEECHES).refused("#5").is_some());
    assert!(!tracker.stop().contains(mariadb::PASSWORD));
}
