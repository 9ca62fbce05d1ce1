//! A site's own rules and backups: a row that is refused, numbers of batches that were set back.

use crate::peer::{COMPLETES, LEECHES, SEEDS, announce, scrape, wait_accepted};
use crate::site::{Site, hash, settings, stop};
use crate::support::{PATIENCE, wait_until};

const SOON: &str = "flush_interval = \"1s\"\ncache_ttl = \"1s\"";

on_both! {
    a_row_that_a_rule_refuses_stops_no_other_and_is_written_once_it_may,
    numbers_that_were_set_back_do_not_stop_the_counting,
}

fn is_sqlite(site: &dyn Site) -> bool {
    site.url().starts_with("sqlite:")
}

/// Has the site refuse any change of the counts of torrents that are called `bad`.
fn refuse_bad(site: &dyn Site) {
    site.run(match is_sqlite(site) {
        true => {
            "CREATE TRIGGER rule BEFORE UPDATE ON torrents WHEN NEW.name = 'bad' BEGIN \
             SELECT RAISE(ABORT, 'by a rule'); END"
        }
        false => {
            "ALTER TABLE torrents ADD CONSTRAINT rule CHECK (name <> 'bad' OR downloaded + \
             complete + incomplete = 0)"
        }
    });
}

fn a_row_that_a_rule_refuses_stops_no_other_and_is_written_once_it_may(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (good, bad) = (hash(1), hash(2));
    site.list(&[(good, "good"), (bad, "bad")]);
    refuse_bad(site);
    // A restart finds the same rule, and the swarms as they were.
    for run in 1..=2_u16 {
        let [first, second, third] = [1, 2, 3].map(|peer| 10 * run + peer);
        let tracker = site.tracker(home.path(), &settings("registered", SOON));
        for torrent in [&bad, &good] {
            wait_accepted(&tracker, torrent, first);
            announce(tracker.address, torrent, first, COMPLETES).accepted();
        }
        wait_until(PATIENCE, "the other is written", || {
            site.column("downloaded", &good) == Some(run.into())
        });
        announce(tracker.address, &bad, second, SEEDS).accepted();
        announce(tracker.address, &good, second, SEEDS).accepted();
        let peers = i64::from(2 * run);
        wait_until(PATIENCE, "the other is written again", || {
            site.column("complete", &good) == Some(peers)
        });
        let counts = scrape(&tracker, &bad).expect("its swarm is there").counts;
        assert_eq!(counts.complete, peers, "peers of the one that is refused");
        assert!(counts.downloaded >= 1, "its downloads: {counts:?}");
        assert_eq!(site.column("downloaded", &bad), Some(0), "the rule holds");
        if run == 2 {
            site.run(if is_sqlite(site) {
                "DROP TRIGGER rule"
            } else {
                "ALTER TABLE torrents DROP CONSTRAINT rule"
            });
            announce(tracker.address, &bad, third, LEECHES).accepted();
            wait_until(PATIENCE, "what was refused is written", || {
                site.column("downloaded", &bad) == Some(counts.downloaded)
            });
        }
        let printed = stop(tracker);
        let told = printed.matches("the database refuses the counts of torrent").count();
        assert_eq!(told, 1, "it is named once: {printed}");
    }
}

fn numbers_that_were_set_back_do_not_stop_the_counting(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    site.list(&[(hash(1), "")]);
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    let download = |peer| {
        wait_accepted(&tracker, &hash(1), peer);
        announce(tracker.address, &hash(1), peer, COMPLETES).accepted();
        let expected = Some(i64::from(peer));
        wait_until(PATIENCE, "the download is written", || {
            site.column("downloaded", &hash(1)) == expected
        });
    };
    download(1);
    download(2);
    site.run("UPDATE flushes SET number = number - 1");
    download(3);
    download(4);
    let printed = stop(tracker);
    assert_eq!(printed.matches("has been set back").count(), 1, "it is said once: {printed}");
    assert_eq!(site.column("downloaded", &hash(1)), Some(4));
}
