//! Many torrents: a long list, and a flood of hashes that nobody has listed.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_bencode::value::Value;

use crate::crowd::{Crowd, Gauge, Script};
use crate::load::Load;
use crate::peer::{Answer, LEAVES, LEECHES, announce, full_scrape, target};
use crate::proxy::Proxy;
use crate::site::{Schema, Site, hash, settings, stop};
use crate::support::http::percent_encoded;
use crate::support::seeds::seed;
use crate::support::tracker::Tracker;
use crate::support::{PATIENCE, wait_until};

const LISTED: u64 = 100_000;
/// Of those, asked for when the database is gone.
const ASKED: usize = 5_000;
/// What the verdicts on that many torrents with short names may take in memory, the list's way into
/// it included.
const LIST_BYTES_MAX: u64 = 64 << 20;

const STRANGERS: usize = 300;
/// In all 200 100 announces for hashes that nobody has listed.
const HASHES_PER_STRANGER: usize = 667;
/// For the verdicts at hand; a tenth of it for strangers.
const CACHE_BYTES_MAX: u64 = 16 << 20;
/// What the process may grow by in the flood: its cache, and as much for queues, connections and
/// the allocator.
const FLOOD_BYTES_MAX: u64 = 2 * CACHE_BYTES_MAX;
/// Fewer than there are strangers, so that the queue of lookups overflows all the time.
const QUEUE_MAX: usize = 100;

/// Asks for torrents one after the other, and counts what it is told.
struct Asker<H> {
    hashes: H,
    accepted: usize,
    unlisted: usize,
    put_off: usize,
}

impl<H> Asker<H> {
    fn new(hashes: H) -> Asker<H> {
        Asker { hashes, accepted: 0, unlisted: 0, put_off: 0 }
    }
}

impl<H: Iterator<Item = crate::site::Hash>> Script for Asker<H> {
    fn next(&mut self) -> Option<String> {
        let hash = self.hashes.next()?;
        Some(target(&percent_encoded(&hash), 6_881, LEAVES))
    }

    fn answered(&mut self, body: &[u8]) {
        let Ok(Value::Dict(dict)) = serde_bencode::from_bytes(body) else {
            panic!("{}", body.escape_ascii())
        };
        match Answer::of(&dict) {
            Answer::Accepted(_) => self.accepted += 1,
            answer if answer.refused("#5").is_some() => self.unlisted += 1,
            answer if answer.is_temporary() => self.put_off += 1,
            answer => panic!("{answer:?}"),
        }
    }
}

/// What all were told: accepted, not listed, put off.
fn ask<H: Iterator<Item = crate::site::Hash>>(
    tracker: &Tracker,
    askers: Vec<Asker<H>>,
) -> (usize, usize, usize) {
    let crowd = Crowd::join(tracker.address, askers, Duration::ZERO)
        .run(&Gauge::default(), &AtomicBool::new(false));
    crowd.iter().fold((0, 0, 0), |sum, asker| {
        (sum.0 + asker.accepted, sum.1 + asker.unlisted, sum.2 + asker.put_off)
    })
}

fn list_many(site: &dyn Site) {
    let names: Vec<String> = (0..LISTED).map(|number| format!("torrent {number}")).collect();
    let rows: Vec<_> =
        names.iter().zip(0..).map(|(name, number)| (hash(number), name.as_str())).collect();
    site.list(&rows);
}

/// Said once in the log, for the operator as well, when the list has been read.
fn wait_listed(tracker: &Tracker) {
    wait_until(PATIENCE, "the list has been read", || {
        tracker.transcript().contains(&format!("{LISTED} torrents are listed"))
    });
}

#[test]
fn all_listed_torrents_are_known_before_anybody_asks() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = Schema::create();
    let proxy = Proxy::start(site.server_port());
    let site = site.through(proxy.port);
    list_many(&site);
    let tracker = site.tracker(
        home.path(),
        &settings("registered", "cache_ttl = \"1s\"\nflush_interval = \"1s\""),
    );
    wait_listed(&tracker);
    let list_bytes = tracker.resident_bytes();
    eprintln!("{LISTED} listed: {} KiB", list_bytes >> 10);
    assert!(list_bytes < LIST_BYTES_MAX, "{list_bytes} bytes for the list");
    proxy.go_away();
    let mut rng = fastrand::Rng::with_seed(seed());
    let asked: Vec<_> = std::iter::repeat_with(|| hash(rng.u64(..LISTED))).take(ASKED).collect();
    let askers = asked.chunks(ASKED / 10).map(|some| Asker::new(some.iter().copied())).collect();
    assert_eq!(ask(&tracker, askers), (ASKED, 0, 0), "no database, and yet none is refused");
    assert!(announce(tracker.address, &hash(LISTED), 1, LEECHES).is_temporary());
    proxy.come_back();
    stop(tracker);
}

#[test]
fn a_long_list_counts_exactly() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = Schema::create();
    list_many(&site);
    let tracker = site.tracker(
        home.path(),
        &settings("registered", "cache_ttl = \"1s\"\nflush_interval = \"1s\""),
    );
    let load =
        Load::start("100 000 listed", tracker.address, (0..LISTED).map(hash).collect(), seed());
    load.wait_answers(6_000);
    load.print("all along");
    wait_listed(&tracker);
    let shown = full_scrape(&tracker, Ipv4Addr::LOCALHOST);
    assert_eq!(shown.len() as u64, LISTED);
    let books = load.finish();
    books.assert_no_complaints();
    books.wait_written(&site);
    stop(tracker);
    assert_eq!(site.sum("downloaded"), books.completions);
}

on_both! { a_flood_of_unlisted_hashes_starves_nobody, }

fn a_flood_of_unlisted_hashes_starves_nobody(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let seed = seed();
    let listed: Vec<_> = (0..200).map(hash).collect();
    let rows: Vec<_> = listed.iter().map(|torrent| (*torrent, "listed")).collect();
    site.list(&rows);
    let bounds = format!(
        "cache_bytes_max = {CACHE_BYTES_MAX}\nlookup_queue_max = {QUEUE_MAX}\ncache_ttl = \
         \"1s\"\nflush_interval = \"1s\""
    );
    let tracker = site.tracker(home.path(), &settings("registered", &bounds));
    for torrent in &listed {
        announce(tracker.address, torrent, 0, LEAVES).accepted();
    }
    let load = Load::start("200 000 unlisted", tracker.address, listed, seed);
    load.wait_answers(1_000);
    load.print("before");
    let before_bytes = tracker.resident_bytes();
    let strangers = (0..STRANGERS).map(|number| {
        let mut rng = fastrand::Rng::with_seed(seed ^ number as u64);
        let hashes = std::iter::repeat_with(move || std::array::from_fn(|_| rng.u8(..)));
        Asker::new(hashes.take(HASHES_PER_STRANGER))
    });
    let (accepted, unlisted, put_off) = ask(&tracker, strangers.collect());
    load.print("in the flood");
    eprintln!("200 000 unlisted: {unlisted} refused, {put_off} put off");
    assert_eq!(accepted, 0, "they are not listed");
    assert!(unlisted > 0, "the database is asked all along");
    let growth_bytes = tracker.resident_bytes().saturating_sub(before_bytes);
    eprintln!("200 000 unlisted: {} KiB grew by {}", before_bytes >> 10, growth_bytes >> 10);
    assert!(growth_bytes < FLOOD_BYTES_MAX, "{growth_bytes} bytes more than before");

    let books = load.finish();
    books.assert_no_complaints();
    books.wait_written(site);
    stop(tracker);
    assert_eq!(site.sum("downloaded"), books.completions, "downloads in the database");
    assert_eq!(site.listed(), 200, "torrents listed");
}
