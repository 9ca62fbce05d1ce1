//! `torrent_ttl`: torrents that nobody has touched for long are deleted, and no others.

use crate::peer::{LEECHES, announce, wait_refused};
use crate::site::{Site, hash, settings, stop};
use crate::support::{PATIENCE, wait_until};

const WRITTEN_SOON: &str = "flush_interval = \"1s\"\ncache_ttl = \"1s\"";

on_both! {
    only_what_is_old_and_without_peers_and_not_banned_is_deleted,
    nothing_is_deleted_unless_asked_for,
}

/// Long untouched, all of them: one with a peer, one that is banned, and one that may go. And one
/// that is new.
fn list_old_and_new(site: &dyn Site) {
    site.list(&[
        (hash(1), "has a peer"),
        (hash(2), "banned"),
        (hash(3), "may go"),
        (hash(4), "new"),
    ]);
    site.set("banned = 1", &hash(2));
    for number in 1..=3 {
        make_old(site, number);
    }
}

fn make_old(site: &dyn Site, number: u64) {
    let long_ago = site.in_2001();
    site.set(&format!("added = {long_ago}, updated = {long_ago}"), &hash(number));
}

fn only_what_is_old_and_without_peers_and_not_banned_is_deleted(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    list_old_and_new(site);
    // A run that deletes nothing leaves behind that one of them has a peer.
    let tracker = site.tracker(home.path(), &settings("registered", WRITTEN_SOON));
    announce(tracker.address, &hash(1), 1, LEECHES).accepted();
    wait_until(PATIENCE, "the peer is written", || site.column("incomplete", &hash(1)) == Some(1));
    stop(tracker);
    make_old(site, 1);

    let tracker = site.tracker(
        home.path(),
        &settings("registered", &format!("{WRITTEN_SOON}\ntorrent_ttl = \"7d\"")),
    );
    wait_until(PATIENCE, "the old torrent is deleted", || site.column("1", &hash(3)).is_none());
    assert!(
        [1, 2, 4].iter().all(|number| site.column("1", &hash(*number)).is_some()),
        "{} are left",
        site.listed()
    );
    wait_refused(&tracker, &hash(3), 1, "#5");
    announce(tracker.address, &hash(1), 1, LEECHES).accepted();
    announce(tracker.address, &hash(4), 1, LEECHES).accepted();
    stop(tracker);
    assert_eq!(site.listed(), 3);
}

fn nothing_is_deleted_unless_asked_for(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    list_old_and_new(site);
    let tracker = site.tracker(home.path(), &settings("registered", WRITTEN_SOON));
    announce(tracker.address, &hash(4), 1, LEECHES).accepted();
    wait_until(PATIENCE, "the books are kept", || site.column("incomplete", &hash(4)) == Some(1));
    stop(tracker);
    assert_eq!(site.listed(), 4);
}
