//! Real BitTorrent clients meet through the tracker, and only through it: DHT, local discovery,
//! peer exchange and port mapping are off.
//!
//! Each test is one pair: a seeder that has the file, a leecher that has not. That the leecher ends
//! up with the same bytes shows that the client understood the answer; the scrapes in between show
//! that the tracker understood `started`, `completed` and `stopped` as this client writes them.
//!
//! Over UDP and IPv6 only libtorrent can be asked for: aria2 (1.36) asks a tracker over UDP by IPv4
//! alone, and Transmission (3.00) reads `udp://[::1]:6969` as the host `[`.
//!
//! Needs the clients themselves (`tests/run.sh` installs them). In the pairs with Transmission,
//! tracker, seeder and leecher have a network namespace each, see [`network`].
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper fails its test, with a text"
)]

mod aria2;
mod libtorrent;
mod network;
mod payload;
#[path = "../support/mod.rs"]
mod support;
mod transmission;

use std::fs;
use std::path::Path;

use network::{Host, LOOPBACK_V4, LOOPBACK_V6, Network, private_v4, private_v6};
use payload::Payload;
use support::tracker::{Counts, Tracker};
use support::{PATIENCE, wait_until};

/// Low intervals: a client whose first announce comes to nothing (a peer that does not listen yet)
/// asks again within the test.
const SETTINGS: &str = "[tracker]\nmin_interval = \"2s\"\nmax_interval = \"60s\"\n";

/// What a client is started on.
struct Job<'a> {
    /// Where it lives. It is started there; what else is to run there goes through [`Host::run`].
    host: Host,
    /// The torrent file.
    torrent: &'a Path,
    /// Where the payload is, or goes; the client's own files go there too.
    directory: &'a Path,
}

/// A client at work on one torrent. Dropping it kills it.
trait Client {
    /// Returns once the client itself says that it has the whole torrent.
    fn wait_complete(&mut self);

    /// Has the client announce `stopped`.
    fn leave(&mut self);

    /// Waits for the client's orderly end, after which all that it has received is on disk.
    fn end(self: Box<Self>);
}

type Start = fn(&Job<'_>) -> Box<dyn Client>;

/// The protocol of a client's announce URL.
#[derive(Clone, Copy)]
enum Over {
    Http,
    Udp,
}

/// The story of every test over HTTP.
fn pass_on(network: &Network, seeder: Start, leecher: Start) {
    pass_on_over(network, (seeder, Over::Http), (leecher, Over::Http));
}

/// The story of every test: the file goes from a client that `seeder` starts to one that `leecher`
/// starts.
fn pass_on_over(
    network: &Network,
    (seeder, seeder_over): (Start, Over),
    (leecher, leecher_over): (Start, Over),
) {
    let tracker = network.tracker.run(|| Tracker::start(network.tracker.ip, SETTINGS));
    let work = tempfile::tempdir().expect("a temporary directory");
    let payload = Payload::random();
    let torrents = [Over::Http, Over::Udp].map(|over| {
        let (name, announce_url) = match over {
            Over::Http => ("http.torrent", &tracker.announce_url),
            Over::Udp => ("udp.torrent", &tracker.udp_announce_url),
        };
        let torrent = work.path().join(name);
        fs::write(&torrent, payload.torrent(announce_url))
            .expect("a temporary directory can be written to");
        torrent
    });
    let (from, to) = (work.path().join("seeder"), work.path().join("leecher"));
    fs::create_dir(&from)
        .and_then(|()| fs::create_dir(&to))
        .expect("a temporary directory can be written to");
    payload.write_into(&from);
    let start = |client: Start, over: Over, host: Host, directory| {
        host.run(|| client(&Job { host, torrent: &torrents[over as usize], directory }))
    };
    let expect = |complete, downloaded| {
        let counts = Some(Counts { complete, downloaded, incomplete: 0 });
        wait_until(PATIENCE, &format!("a scrape shows {counts:?}"), || {
            tracker.scrape(&payload.info_hash) == counts
        });
    };

    let mut seeding = start(seeder, seeder_over, network.seeder, &from);
    seeding.wait_complete();
    expect(1, 0);
    let mut leeching = start(leecher, leecher_over, network.leecher, &to);
    leeching.wait_complete();
    expect(2, 1);
    leeching.leave();
    expect(1, 1);
    leeching.end();
    payload.assert_in(&to);
    seeding.leave();
    // With its last peer the torrent is gone, and its downloads, which no database lists.
    expect(0, 0);
    seeding.end();
    tracker.stop();
}

#[test]
fn libtorrent_to_aria2() {
    pass_on(&LOOPBACK_V4, libtorrent::start, aria2::start);
}

#[test]
fn aria2_to_libtorrent() {
    pass_on(&LOOPBACK_V4, aria2::start, libtorrent::start);
}

#[test]
fn libtorrent_to_aria2_over_ipv6() {
    pass_on(&LOOPBACK_V6, libtorrent::start, aria2::start);
}

#[test]
fn aria2_to_libtorrent_over_ipv6() {
    pass_on(&LOOPBACK_V6, aria2::start, libtorrent::start);
}

#[test]
fn libtorrent_to_aria2_over_udp() {
    pass_on_over(&LOOPBACK_V4, (libtorrent::start, Over::Udp), (aria2::start_over_udp, Over::Udp));
}

#[test]
fn aria2_over_udp_to_libtorrent_over_http() {
    pass_on_over(&LOOPBACK_V4, (aria2::start_over_udp, Over::Udp), (libtorrent::start, Over::Http));
}

#[test]
fn libtorrent_over_http_to_libtorrent_over_udp() {
    pass_on_over(&LOOPBACK_V4, (libtorrent::start, Over::Http), (libtorrent::start, Over::Udp));
}

#[test]
fn libtorrent_to_libtorrent_over_udp_and_ipv6() {
    pass_on_over(&LOOPBACK_V6, (libtorrent::start, Over::Udp), (libtorrent::start, Over::Udp));
}

#[test]
fn transmission_over_udp_to_libtorrent_over_http() {
    network::apart("transmission_over_udp_to_libtorrent_over_http", private_v4, |network| {
        let (seeder, leecher) = (transmission::start, libtorrent::start);
        pass_on_over(network, (seeder, Over::Udp), (leecher, Over::Http));
    });
}

#[test]
fn aria2_to_transmission() {
    network::apart("aria2_to_transmission", private_v4, |network| {
        pass_on(network, aria2::start, transmission::start);
    });
}

#[test]
fn transmission_to_libtorrent() {
    network::apart("transmission_to_libtorrent", private_v4, |network| {
        pass_on(network, transmission::start, libtorrent::start);
    });
}

#[test]
fn libtorrent_to_transmission_over_ipv6() {
    network::apart("libtorrent_to_transmission_over_ipv6", private_v6, |network| {
        pass_on(network, libtorrent::start, transmission::start);
    });
}
