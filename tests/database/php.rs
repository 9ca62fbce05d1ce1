//! The PHP tracker's database: its two tables as they are, and the upgrade in place.

use crate::peer::{COMPLETES, LEECHES, announce, scrape, wait_accepted, wait_refused};
use crate::site::{Schema, Site, hash, hex, project_file, settings, stop};
use crate::support::{PATIENCE, wait_until};

const DUMP: &str = "tests/data/php-tracker.sql";
const UPGRADE: &str = "schema/from-php-tracker.sql";
const SOON: &str = "flush_interval = \"1s\"\ncache_ttl = \"1s\"";

/// The site as the PHP tracker left it, and two torrents more, one of them banned.
fn php_site() -> Schema {
    let site = Schema::with_tables(&project_file(DUMP));
    site.list(&[(hash(1), "Demo"), (hash(2), "banned")]);
    site.set("downloaded = 40", &hash(1));
    site.set("banned = 1", &hash(2));
    site
}

#[test]
fn its_tables_work_as_they_are() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = php_site();
    let listed = site.listed();
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    assert!(announce(tracker.address, &hash(3), 1, LEECHES).refused("#5").is_some());
    assert!(announce(tracker.address, &hash(2), 1, LEECHES).refused("#6").is_some());
    assert_eq!(announce(tracker.address, &hash(1), 1, LEECHES).accepted().downloaded, 40);
    assert_eq!(scrape(&tracker, &hash(1)).expect("it is listed").name.as_deref(), Some("Demo"));

    announce(tracker.address, &hash(1), 1, COMPLETES).accepted();
    wait_until(PATIENCE, "the download is written", || {
        site.column("downloaded", &hash(1)) == Some(41)
    });
    site.set("banned = 1", &hash(1));
    wait_refused(&tracker, &hash(1), 1, "#6");
    site.set("banned = 0", &hash(1));
    wait_accepted(&tracker, &hash(1), 1);
    announce(tracker.address, &hash(1), 2, LEECHES).accepted();
    announce(tracker.address, &hash(1), 2, COMPLETES).accepted();
    wait_until(PATIENCE, "one more is written", || site.column("downloaded", &hash(1)) == Some(42));
    let printed = stop(tracker);
    assert_eq!(site.column("downloaded", &hash(1)), Some(42));
    assert_eq!(site.listed(), listed);
    let told = printed.lines().filter(|line| line.contains(UPGRADE)).count();
    assert_eq!(told, 1, "what is left out is said once, with what to do about it: {printed}");
}

#[test]
fn the_command_works_on_its_tables_and_says_what_has_no_column() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = php_site();
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    site.torrent(&["add", &hex(&hash(3)), "--name", "added"]);
    wait_accepted(&tracker, &hash(3), 1);
    assert_eq!(scrape(&tracker, &hash(3)).expect("it is listed").name.as_deref(), Some("added"));
    let printed = site.torrent(&["ban", &hex(&hash(3)), "--reason", "a reason to forget"]);
    assert!(printed.contains("reason") && printed.contains("column"), "{printed}");
    let reason = wait_refused(&tracker, &hash(3), 1, "#6");
    assert!(!reason.contains("forget"), "{reason}");
    assert!(!site.torrent(&["unban", &hex(&hash(3))]).contains("column"));
    wait_accepted(&tracker, &hash(3), 1);
    assert!(site.torrent(&["list"]).contains(&hex(&hash(3))));
    site.torrent(&["remove", &hex(&hash(3))]);
    wait_refused(&tracker, &hash(3), 1, "#5");
    stop(tracker);
}

#[test]
fn it_can_be_upgraded_in_place() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = php_site();
    let listed = site.listed();
    site.feed(&project_file(UPGRADE));
    assert_eq!(site.listed(), listed, "torrents listed after the upgrade");
    assert_eq!(site.column("downloaded", &hash(1)), Some(40), "downloads after the upgrade");
    assert_eq!(site.column("banned + 0", &hash(2)), Some(1));

    let tracker = site.tracker(
        home.path(),
        &settings("registered", "flush_interval = \"1s\"\ncache_ttl = \"1h\""),
    );
    assert_eq!(announce(tracker.address, &hash(1), 1, LEECHES).accepted().downloaded, 40);
    announce(tracker.address, &hash(1), 1, COMPLETES).accepted();
    wait_until(PATIENCE, "all counts are written", || {
        let column = |name| site.column(name, &hash(1));
        (column("downloaded"), column("complete"), column("incomplete"))
            == (Some(41), Some(1), Some(0))
    });
    let printed = site.torrent(&["ban", &hex(&hash(1)), "--reason", "a reason to keep"]);
    assert!(!printed.contains("column"), "{printed}");
    let reason = wait_refused(&tracker, &hash(1), 1, "#6");
    assert!(reason.contains("a reason to keep"), "{reason}");
    let printed = stop(tracker);
    assert!(!printed.contains(UPGRADE), "{printed}");
    // The site's own INSERT goes on working.
    site.list(&[(hash(5), "listed by the site")]);
    assert_eq!(site.column("downloaded + complete + incomplete + banned", &hash(5)), Some(0));
}
