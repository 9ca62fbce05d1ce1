//! A database that is not there, or not fit to be asked, when the tracker starts.

use std::time::{Duration, Instant};

use crate::peer::{COMPLETES, LEECHES, announce, scrape, wait_accepted, wait_refused};
use crate::proxy::Proxy;
use crate::site::{Schema, Site, hash, project_file, settings, stop};
use crate::support::{PATIENCE, wait_until};

const SOON: &str = "flush_interval = \"1s\"\ncache_ttl = \"1s\"";

/// A schema behind a relay.
fn site_behind_a_relay() -> (Schema, Proxy) {
    let schema = Schema::create();
    let proxy = Proxy::start(schema.server_port());
    (schema.through(proxy.port), proxy)
}

#[test]
fn an_open_tracker_serves_before_it_has_ever_seen_its_database() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (site, proxy) = site_behind_a_relay();
    site.list(&[(hash(1), "Demo"), (hash(2), "banned")]);
    site.set("banned = 1", &hash(2));
    proxy.go_away();
    let tracker = site.tracker(home.path(), &settings("open", SOON));
    for number in 1..=100 {
        assert_eq!(announce(tracker.address, &hash(number), 1, LEECHES).accepted().incomplete, 1);
    }
    announce(tracker.address, &hash(1), 1, COMPLETES).accepted();
    assert_eq!(scrape(&tracker, &hash(1)).expect("it has a peer").name, None);

    // Waiting costs nothing.
    let (before, watched) = (tracker.cpu_time(), Instant::now());
    wait_until(PATIENCE, "a second has passed", || watched.elapsed() > Duration::from_secs(1));
    assert!(
        tracker.cpu_time() - before < Duration::from_millis(500),
        "a thread spins while the database is away"
    );
    let told = tracker.transcript().lines().count();
    assert!(told < 20, "{told} lines for one database that is away");

    proxy.come_back();
    wait_refused(&tracker, &hash(2), 1, "#6");
    let named =
        || scrape(&tracker, &hash(1)).and_then(|entry| entry.name).as_deref() == Some("Demo");
    wait_until(PATIENCE, "the name is known", named);
    wait_until(PATIENCE, "the download is written", || {
        site.column("downloaded", &hash(1)) == Some(1)
    });
    stop(tracker);
    assert_eq!(site.listed(), 2);
}

#[test]
fn a_registered_tracker_answers_for_what_an_earlier_run_knew() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (site, proxy) = site_behind_a_relay();
    site.list(&[(hash(1), "Demo"), (hash(2), "banned"), (hash(3), "never asked for")]);
    site.set("downloaded = 40", &hash(1));
    site.set("banned = 1, ban_reason = 'kept in mind'", &hash(2));
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    announce(tracker.address, &hash(1), 1, LEECHES).accepted();
    assert!(announce(tracker.address, &hash(2), 1, LEECHES).refused("#6").is_some());
    assert!(announce(tracker.address, &hash(4), 1, LEECHES).refused("#5").is_some());
    stop(tracker);
    assert!(home.path().join("announced.state").is_file());

    proxy.go_away();
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    assert_eq!(announce(tracker.address, &hash(1), 1, LEECHES).accepted().downloaded, 40);
    assert_eq!(scrape(&tracker, &hash(1)).expect("it is known").name.as_deref(), Some("Demo"));
    let banned = announce(tracker.address, &hash(2), 1, LEECHES);
    assert!(
        banned.refused("#6").is_some_and(|reason| reason.contains("kept in mind")),
        "{banned:?}"
    );
    let unknown = announce(tracker.address, &hash(5), 1, LEECHES);
    assert!(unknown.is_temporary(), "{unknown:?}");

    site.list(&[(hash(5), "listed meanwhile")]);
    site.set("banned = 0", &hash(2));
    proxy.come_back();
    for number in [2, 3, 5] {
        wait_accepted(&tracker, &hash(number), 1);
    }
    wait_refused(&tracker, &hash(6), 1, "#5");
    stop(tracker);
}

#[test]
fn without_an_earlier_run_a_registered_tracker_asks_to_come_back() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (site, proxy) = site_behind_a_relay();
    site.list(&[(hash(1), "Demo")]);
    proxy.go_away();
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    let unknown = announce(tracker.address, &hash(1), 1, LEECHES);
    assert!(unknown.is_temporary(), "{unknown:?}");
    proxy.come_back();
    wait_accepted(&tracker, &hash(1), 1);
    wait_refused(&tracker, &hash(2), 1, "#5");
    stop(tracker);
}

#[test]
fn what_could_not_be_written_before_the_end_is_written_by_the_next_run() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (site, proxy) = site_behind_a_relay();
    site.list(&[(hash(1), "Demo"), (hash(2), "Demo")]);
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    announce(tracker.address, &hash(1), 1, LEECHES).accepted();
    announce(tracker.address, &hash(2), 1, LEECHES).accepted();
    wait_until(PATIENCE, "the leechers are written", || site.sum("incomplete") == 2);
    // The first has been written without the tracker being told; the second never gets there.
    proxy.lose_commits(2);
    announce(tracker.address, &hash(1), 1, COMPLETES).accepted();
    wait_until(PATIENCE, "a commit's answer is lost", || proxy.lost().1 == 1);
    proxy.go_away();
    announce(tracker.address, &hash(2), 1, COMPLETES).accepted();
    stop(tracker);
    assert_eq!(site.column("downloaded", &hash(1)), Some(1), "downloads of the first");
    assert_eq!(site.column("downloaded", &hash(2)), Some(0), "downloads of the second");

    // Away at first for the next run too, which has downloads of its own.
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    announce(tracker.address, &hash(2), 2, LEECHES).accepted();
    assert_eq!(announce(tracker.address, &hash(2), 2, COMPLETES).accepted().downloaded, 2);
    assert_eq!(scrape(&tracker, &hash(1)).expect("it is known").counts.downloaded, 1);
    proxy.lose_commits(0);
    proxy.come_back();
    let written = || {
        (site.column("downloaded", &hash(1)), site.column("downloaded", &hash(2)))
            == (Some(1), Some(2))
    };
    wait_until(PATIENCE, "both are written", written);
    stop(tracker);
    assert!(
        written(),
        "{:?}",
        (site.column("downloaded", &hash(1)), site.column("downloaded", &hash(2)))
    );
}

#[test]
fn missing_tables_are_named_with_the_file_that_makes_them() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = Schema::with_tables("");
    let settings = settings("registered", &format!("{SOON}\nwait_at_start = true"));
    let tracker = site.tracker(home.path(), &settings);
    let unknown = announce(tracker.address, &hash(1), 1, LEECHES);
    assert!(unknown.is_temporary(), "{unknown:?}");
    wait_until(PATIENCE, "the log names the file", || {
        tracker.transcript().contains("schema/mysql.sql")
    });
    site.feed(&project_file("schema/mysql.sql"));
    site.list(&[(hash(1), "Demo")]);
    wait_accepted(&tracker, &hash(1), 1);
    announce(tracker.address, &hash(1), 1, COMPLETES).accepted();
    wait_until(PATIENCE, "the download is written", || {
        site.column("downloaded", &hash(1)) == Some(1)
    });
    stop(tracker);
}

#[test]
fn a_wrong_password_is_told_without_being_shown() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = Schema::create();
    site.list(&[(hash(1), "Demo")]);
    site.change_password(false);
    let settings = settings("registered", &format!("{SOON}\nwait_at_start = true"));
    let tracker = site.tracker(home.path(), &settings);
    let unknown = announce(tracker.address, &hash(1), 1, LEECHES);
    assert!(unknown.is_temporary(), "{unknown:?}");
    wait_until(PATIENCE, "the log tells of it", || tracker.transcript().contains("Access denied"));
    site.change_password(true);
    wait_accepted(&tracker, &hash(1), 1);
    stop(tracker);
}
