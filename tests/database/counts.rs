//! What is written back: downloads, seeders, leechers and the time of the last activity.

use crate::peer::{
    COMPLETES, LEAVES, LEECHES, SEEDS, announce, scrape, wait_accepted, wait_refused,
};
use crate::site::{Hash, Site, hash, hex, settings, stop};
use crate::support::tracker::{Counts, Tracker};
use crate::support::{PATIENCE, wait_equal, wait_until};

/// Written every second; asked anew every second too, so that what is written meets what is read.
const SOON: &str = "flush_interval = \"1s\"\ncache_ttl = \"1s\"";
/// Written only at the end.
const AT_THE_END: &str = "flush_interval = \"1h\"";

on_both! {
    counts_are_written_while_the_tracker_runs,
    counts_are_written_at_the_end,
    a_count_goes_on_where_the_last_run_left_it,
    two_trackers_add_up,
    a_removed_torrent_stays_removed,
    the_counts_of_a_torrent_outlive_its_swarm,
    torrents_that_nobody_listed_are_not_written,
}

/// What a row says.
fn written(site: &dyn Site, torrent: &Hash) -> Option<Counts> {
    let column = |name| site.column(name, torrent);
    Some(Counts {
        complete: column("complete")?,
        downloaded: column("downloaded")?,
        incomplete: column("incomplete")?,
    })
}

fn wait_written(site: &dyn Site, torrent: &Hash, counts: Counts) {
    wait_equal(PATIENCE, &Some(counts), || written(site, torrent));
}

/// A leecher that completes; the counts it is told then.
#[track_caller]
fn download(tracker: &Tracker, torrent: &Hash, peer: u16) -> Counts {
    announce(tracker.address, torrent, peer, LEECHES).accepted();
    announce(tracker.address, torrent, peer, COMPLETES).accepted()
}

fn counts_are_written_while_the_tracker_runs(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let (busy, quiet) = (hash(1), hash(2));
    site.list(&[(busy, "busy"), (quiet, "quiet")]);
    for torrent in [&busy, &quiet] {
        site.set(&format!("downloaded = 40, updated = {}", site.in_2001()), torrent);
    }
    let long_ago = site.column(site.updated_unix_s(), &busy).expect("it is listed");
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    announce(tracker.address, &busy, 1, LEECHES).accepted();
    announce(tracker.address, &busy, 2, SEEDS).accepted();
    assert_eq!(download(&tracker, &busy, 3), Counts { complete: 2, downloaded: 41, incomplete: 1 });
    wait_written(site, &busy, Counts { complete: 2, downloaded: 41, incomplete: 1 });
    wait_until(PATIENCE, "the activity is written", || {
        site.column(site.updated_unix_s(), &busy) > Some(long_ago)
    });

    // Who announces completed twice has completed once.
    assert_eq!(announce(tracker.address, &busy, 3, COMPLETES).accepted().downloaded, 41);
    announce(tracker.address, &busy, 2, LEAVES).accepted();
    wait_written(site, &busy, Counts { complete: 1, downloaded: 41, incomplete: 1 });
    assert_eq!(scrape(&tracker, &busy).expect("it is listed").counts.downloaded, 41);
    assert_eq!(written(site, &quiet), Some(Counts { complete: 0, downloaded: 40, incomplete: 0 }));
    assert_eq!(
        site.column(site.updated_unix_s(), &quiet),
        Some(long_ago),
        "nothing happened to it"
    );
    stop(tracker);
}

fn counts_are_written_at_the_end(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    // More than go into one transaction.
    let torrents: Vec<_> = (0..1_200).map(|number| (hash(number), "")).collect();
    site.list(&torrents);
    let tracker = site.tracker(home.path(), &settings("registered", AT_THE_END));
    for (torrent, _) in &torrents {
        assert_eq!(download(&tracker, torrent, 1).downloaded, 1);
    }
    assert_eq!(site.sum("downloaded"), 0, "nothing is written before its time");
    stop(tracker);
    assert_eq!(site.sum("downloaded"), 1_200, "downloads of all");
    assert_eq!(
        site.number("SELECT MIN(downloaded) FROM torrents"),
        Some(1),
        "the least downloads of one"
    );
}

fn a_count_goes_on_where_the_last_run_left_it(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    site.list(&[(hash(1), "")]);
    // Each run has the peers of the last one, so another one downloads.
    for run in 0..3_u16 {
        let tracker = site.tracker(home.path(), &settings("registered", AT_THE_END));
        let count = i64::from(run) + 1;
        assert_eq!(download(&tracker, &hash(1), run + 1).downloaded, count);
        stop(tracker);
        assert_eq!(site.column("downloaded", &hash(1)), Some(count));
    }
}

fn two_trackers_add_up(site: &dyn Site) {
    let homes = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
    site.list(&[(hash(1), "")]);
    let trackers =
        homes.each_ref().map(|home| site.tracker(home.path(), &settings("registered", SOON)));
    for peer in 1..=10 {
        for tracker in &trackers {
            download(tracker, &hash(1), peer);
        }
    }
    wait_until(PATIENCE, "both have written", || site.column("downloaded", &hash(1)) == Some(20));
    for tracker in trackers {
        let told = || scrape(&tracker, &hash(1)).map(|entry| entry.counts.downloaded) == Some(20);
        wait_until(PATIENCE, "each has read what the other wrote", told);
        stop(tracker);
    }
    assert_eq!(site.column("downloaded", &hash(1)), Some(20));
}

fn a_removed_torrent_stays_removed(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    site.list(&[(hash(1), "to be removed"), (hash(2), "to be kept")]);
    let tracker = site.tracker(home.path(), &settings("registered", AT_THE_END));
    for torrent in [hash(1), hash(2)] {
        assert_eq!(download(&tracker, &torrent, 1).downloaded, 1);
    }
    site.delete(&hash(1));
    stop(tracker);
    assert_eq!(site.listed(), 1, "torrents listed");
    assert_eq!(site.column("downloaded", &hash(2)), Some(1), "downloads of the one that is kept");

    // Listed again by the command, it begins anew.
    let tracker = site.tracker(
        home.path(),
        &settings("registered", "flush_interval = \"1s\"\ncache_ttl = \"1h\""),
    );
    wait_refused(&tracker, &hash(1), 2, "#5");
    site.torrent(&["add", &hex(&hash(1))]);
    wait_accepted(&tracker, &hash(1), 2);
    assert_eq!(announce(tracker.address, &hash(1), 2, COMPLETES).accepted().downloaded, 1);
    wait_until(PATIENCE, "its download is written", || {
        site.column("downloaded", &hash(1)) == Some(1)
    });
    stop(tracker);
}

fn the_counts_of_a_torrent_outlive_its_swarm(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    site.list(&[(hash(1), "")]);
    let tracker = site.tracker(home.path(), &settings("registered", SOON));
    // Each peer leaves an empty swarm behind, with a download that may or may not have been written
    // yet.
    for count in 1..=300 {
        assert_eq!(download(&tracker, &hash(1), 1).downloaded, count);
        announce(tracker.address, &hash(1), 1, LEAVES).accepted();
        assert_eq!(scrape(&tracker, &hash(1)).expect("it is listed").counts.downloaded, count);
    }
    wait_written(site, &hash(1), Counts { complete: 0, downloaded: 300, incomplete: 0 });
    stop(tracker);
    assert_eq!(site.column("downloaded", &hash(1)), Some(300));
}

fn torrents_that_nobody_listed_are_not_written(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    site.list(&[(hash(0), "listed")]);
    let tracker = site.tracker(home.path(), &settings("open", SOON));
    for number in 1..=300 {
        assert_eq!(download(&tracker, &hash(number), 1).downloaded, 1);
    }
    // What came last is written, so what came before has had its turn.
    assert_eq!(download(&tracker, &hash(0), 1).downloaded, 1);
    wait_written(site, &hash(0), Counts { complete: 1, downloaded: 1, incomplete: 0 });
    assert_eq!(
        scrape(&tracker, &hash(300)).expect("it has a peer").counts.downloaded,
        1,
        "kept in memory"
    );
    stop(tracker);
    assert_eq!(site.listed(), 1);

    // One that is listed later gets what has happened to it since.
    let tracker =
        site.tracker(home.path(), &settings("open", "flush_interval = \"1s\"\ncache_ttl = \"1h\""));
    announce(tracker.address, &hash(1), 1, LEECHES).accepted();
    site.torrent(&["add", &hex(&hash(1)), "--name", "late"]);
    let named =
        || scrape(&tracker, &hash(1)).and_then(|entry| entry.name).as_deref() == Some("late");
    wait_until(PATIENCE, "the tracker has learned of it", named);
    announce(tracker.address, &hash(1), 1, COMPLETES).accepted();
    wait_written(site, &hash(1), Counts { complete: 1, downloaded: 1, incomplete: 0 });
    stop(tracker);
}
