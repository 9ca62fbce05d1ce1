//! `torrent_ttl`: nothing is deleted unless it is asked for, nor at the first look, whatever the
//! database's clock says. What is deleted at the second, minutes later, is shown inside the crate.

use crate::peer::{LEECHES, announce};
use crate::site::{Site, hash, settings, stop};
use crate::support::{PATIENCE, wait_until};

const WRITTEN_SOON: &str = "flush_interval = \"1s\"\ncache_ttl = \"1s\"";

on_both! {
    nothing_is_deleted_at_the_first_look,
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

fn nothing_is_deleted_at_the_first_look(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    list_old_and_new(site);
    let tracker = site.tracker(
        home.path(),
        &settings("registered", &format!("{WRITTEN_SOON}\ntorrent_ttl = \"7d\"")),
    );
    // The look follows what is written in the same round; the next rounds are written after it.
    for peer in 1..=3 {
        announce(tracker.address, &hash(4), peer, LEECHES).accepted();
        wait_until(PATIENCE, "a round is written", || {
            site.column("incomplete", &hash(4)) == Some(peer.into())
        });
    }
    assert_eq!(site.listed(), 4, "the second look is minutes later");
    stop(tracker);
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
