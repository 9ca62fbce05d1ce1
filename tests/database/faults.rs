//! The database fails in every way there is while hundreds of peers announce.
//!
//! The frame is the same for all, see [`under_load`]: no torrent that was known is refused, no
//! count that is told dips or doubles, what is in the table in the end is what was answered, and
//! memory does not grow.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::certificates::Certificates;
use crate::load::Load;
use crate::mariadb::Mariadb;
use crate::peer::{Answer, COMPLETES, LEAVES, LEECHES, announce, scrape, wait_accepted};
use crate::proxy::Proxy;
use crate::site::{Schema, Site, hash, project_file, settings, stop};
use crate::support::seeds::seed;
use crate::support::tracker::Tracker;
use crate::support::{PATIENCE, wait_until};

const TORRENTS: u64 = 200;
/// No torrents of the load.
const UNKNOWN: u64 = 1_000_000;
const LISTED_AFTERWARDS: u64 = 2_000_000;
/// One that a rule of the site's stands against.
const REFUSED: u64 = 3_000_000;
/// A thread for each lookup, one that writes, and one that reads the list.
const CONNECTIONS_MAX: i64 = 4 + 2;
/// Short enough for lookups to time out while the database is held up.
const SETTINGS: &str = "flush_interval = \"1s\"\ncache_ttl = \"1s\"\nlookup_timeout = \"2s\"";

/// A bit more than a second of load.
const A_WHILE: u64 = 2_000;
/// Long enough for more than one lookup to time out, and for several flushes to fail.
const A_LONG_WHILE: u64 = 10_000;
const FROZEN: Duration = Duration::from_secs(20);
const KILLS: usize = 3;
const CUTS: usize = 25;
const LOST_COMMITS: u32 = 8;

/// What the process may have more in memory after a fault than before: some of it is the
/// allocator's, none of it may grow with the number of announces, of which thousands are answered
/// meanwhile.
const GROWTH_BYTES_MAX: u64 = 8 << 20;

on_both! {
    the_table_is_missing_for_a_while,
    somebody_else_locks_the_table,
}

/// Lets a fault `happen` to the database of a tracker under load, and end; then counts.
#[track_caller]
fn under_load(fault: &str, site: &dyn Site, happen: impl FnOnce(&Tracker, &Load)) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let torrents: Vec<_> = (0..TORRENTS).map(hash).collect();
    let rows: Vec<_> = torrents.iter().map(|torrent| (*torrent, "under load")).collect();
    site.list(&rows);
    let tracker = site.tracker(home.path(), &settings("registered", SETTINGS));
    // A peer that leaves without having been there leaves nothing behind but that the torrent is
    // known.
    for torrent in &torrents {
        wait_until(PATIENCE, "a torrent is known", || {
            matches!(announce(tracker.address, torrent, 0, LEAVES), Answer::Accepted(_))
        });
    }
    let load = Load::start(fault, tracker.address, torrents, seed());
    load.wait_answers(A_WHILE);
    load.print("before");
    let before_bytes = tracker.resident_bytes();
    let before_lines = tracker.transcript().lines().count();

    happen(&tracker, &load);
    load.wait_answers(A_WHILE);
    load.print("after");

    let books = load.finish();
    books.assert_no_complaints();
    books.wait_written(site);
    site.list(&[(hash(LISTED_AFTERWARDS), "listed afterwards")]);
    wait_accepted(&tracker, &hash(LISTED_AFTERWARDS), 1);

    let growth_bytes = tracker.resident_bytes().saturating_sub(before_bytes);
    eprintln!("{fault}: {} KiB grew by {}", before_bytes >> 10, growth_bytes >> 10);
    assert!(growth_bytes < GROWTH_BYTES_MAX, "{growth_bytes} bytes more than before");
    let printed = stop(tracker);
    assert_eq!(site.sum("downloaded"), books.completions, "nothing was left to write at the end");
    let told = printed.lines().count() - before_lines;
    assert!(told < 100, "{told} lines in the log: {printed}");
}

/// Asks for torrents that the tracker cannot know until one is refused for now, so that the tracker
/// is known to miss its database.
#[track_caller]
fn wait_missed(tracker: &Tracker) {
    let mut number = UNKNOWN;
    wait_until(PATIENCE, "the tracker misses its database", || {
        number += 1;
        announce(tracker.address, &hash(number), 1, LEECHES).is_temporary()
    });
}

/// A server of the test's own, and a schema in it.
fn own_server() -> (Mariadb, Schema) {
    let server = Mariadb::start();
    let site = Schema::create_in(&server, &project_file("schema/mysql.sql"));
    (server, site)
}

fn is_frozen(server: &Mariadb) -> bool {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("the server exists");
    // proc(5): the state follows the name, which may hold spaces.
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

#[test]
fn mariadb_is_killed_and_started_again() {
    let (mut server, site) = own_server();
    under_load("killed", &site, |tracker, load| {
        for _ in 0..KILLS {
            server.kill();
            wait_missed(tracker);
            load.wait_answers(A_WHILE);
            load.print("without a database");
            server.restart();
            load.wait_answers(A_WHILE);
        }
    });
}

#[test]
fn mariadb_is_frozen_for_twenty_seconds() {
    let (server, site) = own_server();
    under_load("frozen", &site, |tracker, load| {
        server.signal(Signal::STOP);
        wait_until(PATIENCE, "the server is frozen", || is_frozen(&server));
        let (announces, probes) = load.answers();
        wait_missed(tracker);
        thread::sleep(FROZEN);
        let (announces_later, probes_later) = load.answers();
        assert!(is_frozen(&server), "it was frozen all along");
        assert!(
            announces_later > announces && probes_later > probes,
            "the event loop does not wait for the database"
        );
        load.print("while the database is frozen");
        server.signal(Signal::CONT);
    });
}

#[test]
fn the_connections_to_mariadb_are_cut_again_and_again() {
    let site = Schema::create();
    under_load("connections cut", &site, |_, load| {
        for _ in 0..CUTS {
            wait_until(PATIENCE, "there are connections to cut", || site.kill_connections() > 0);
            load.wait_answers(A_WHILE / 10);
        }
        load.print("while connections are cut");
    });
}

#[test]
fn commits_are_lost_on_the_way_there_and_on_the_way_back() {
    let site = Schema::create();
    let proxy = Proxy::start(site.server_port());
    let site = site.through(proxy.port);
    under_load("commits lost", &site, |_, load| {
        proxy.lose_commits(LOST_COMMITS);
        let half = LOST_COMMITS / 2;
        wait_until(PATIENCE, "all those commits are lost", || proxy.lost() == (half, half));
        load.print("while commits are lost");
    });
}

#[test]
fn mariadb_refuses_the_password_for_a_while() {
    let site = Schema::create();
    under_load("password refused", &site, |tracker, load| {
        site.change_password(false);
        site.kill_connections();
        wait_missed(tracker);
        load.wait_answers(A_LONG_WHILE);
        load.print("while the password is refused");
        site.change_password(true);
    });
}

/// What a site's rules, administrators and backups do, one after the other: a log-in by ed25519
/// over TLS, a row that is refused, a table that is locked, numbers that are set back, a password
/// that is wrong for a while, and a server that may only be read.
#[test]
fn all_that_a_site_does_to_its_database_in_one_run() {
    let certificates = Certificates::make();
    let server = Mariadb::start_with(&certificates.arguments());
    let site = Schema::create_in(&server, &project_file("schema/mysql.sql")).encrypted();
    site.log_in_by_ed25519();
    let refused = hash(REFUSED);
    site.list(&[(refused, "refused")]);
    under_load("all in one run", &site, |tracker, load| {
        site.run(
            "ALTER TABLE torrents ADD CONSTRAINT not_this_one CHECK (name <> 'refused' OR \
             downloaded + complete + incomplete = 0)",
        );
        wait_accepted(tracker, &refused, 1);
        announce(tracker.address, &refused, 1, COMPLETES).accepted();
        tracker.wait_log("the database refuses the counts of torrent ");
        load.wait_answers(A_WHILE);
        load.print("with a row that is refused");
        assert_eq!(site.column("downloaded", &refused), Some(0), "the rule holds");

        let written = site.lock_torrents();
        tracker.wait_log("somebody keeps the table locked");
        for _ in 0..20 {
            load.wait_answers(A_LONG_WHILE / 20);
            let connections = site.connections();
            assert!(connections <= CONNECTIONS_MAX, "{connections} connections at the server");
        }
        load.print("while the table is locked");
        drop(written);

        site.run("UPDATE flushes SET number = number - 3");
        tracker.wait_log("the database has been set back");
        load.wait_answers(A_WHILE);

        site.change_password(false);
        site.kill_connections();
        tracker.wait_log("the database refuses: MySQL");
        load.wait_answers(A_WHILE);
        site.log_in_by_ed25519();

        server.client("SET GLOBAL read_only = 1");
        tracker.wait_log("may only be read for now");
        load.wait_answers(A_WHILE);
        server.client("SET GLOBAL read_only = 0");

        site.run("ALTER TABLE torrents DROP CONSTRAINT not_this_one");
        let counts = scrape(tracker, &refused).expect("its swarm is there").counts;
        assert_eq!(counts.downloaded, 1, "the download that was refused is still known");
        assert_eq!(counts.complete, 1, "and so is the peer");
        announce(tracker.address, &refused, 2, LEECHES).accepted();
        wait_until(PATIENCE, "the refused download is written", || {
            site.column("downloaded", &refused) == Some(1)
        });
        // It is none of the load's.
        site.delete(&refused);
    });
}

fn the_table_is_missing_for_a_while(site: &dyn Site) {
    under_load("table missing", site, |tracker, load| {
        site.run("ALTER TABLE torrents RENAME TO torrents_elsewhere");
        wait_missed(tracker);
        load.wait_answers(A_LONG_WHILE);
        load.print("while the table is missing");
        site.run("ALTER TABLE torrents_elsewhere RENAME TO torrents");
    });
}

fn somebody_else_locks_the_table(site: &dyn Site) {
    under_load("table locked", site, |_, load| {
        let written = site.lock_torrents();
        load.wait_answers(A_LONG_WHILE);
        load.print("while the table is locked");
        drop(written);
    });
}
