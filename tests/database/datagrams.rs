//! A registered tracker that is asked over UDP: list, bans and counts are those of HTTP, and a
//! database that hangs keeps only those waiting whose torrent nobody knows yet.

use std::net::{IpAddr, Ipv4Addr};

use rustix::process::Signal;

use crate::mariadb::Mariadb;
use crate::peer::{LEECHES, announce};
use crate::site::{Schema, Site, hash, project_file, settings, stop};
use crate::support::udp::UdpClient;
use crate::support::{PATIENCE, wait_until};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PORT: u16 = 6_881;

on_both! {
    list_bans_and_counts_hold_over_udp,
}

fn list_bans_and_counts_hold_over_udp(site: &dyn Site) {
    let home = tempfile::tempdir().expect("a temporary directory");
    site.list(&[(hash(1), "Demo"), (hash(2), "banned")]);
    site.set("downloaded = 40", &hash(1));
    site.set("banned = 1, ban_reason = 'the author asked for it'", &hash(2));
    let tracker = site.tracker(home.path(), &settings("registered", "flush_interval = \"1s\""));
    let client = UdpClient::connect(LOOPBACK, tracker.address);

    let banned = client.announce(&hash(2), PORT, 9).expect_err("the torrent is banned");
    assert!(banned.starts_with("#6") && banned.ends_with("the author asked for it"), "{banned}");
    let unlisted = client.announce(&hash(3), PORT, 9).expect_err("the torrent is not listed");
    assert!(unlisted.starts_with("#5"), "{unlisted}");
    let announced = client.announce(&hash(1), PORT, 9).expect("the torrent is listed");
    assert_eq!((announced.seeders, announced.leechers), (0, 1), "the first leecher");

    client.complete(&hash(1), PORT).expect("the torrent is listed");
    let counts = client.scrape(&[hash(2), hash(1), hash(3), hash(1)]);
    let listed = [1, 41, 0];
    assert_eq!(counts, Ok(vec![[0; 3], listed, [0; 3], listed]), "banned and unlisted are zeros");
    let met = announce(tracker.address, &hash(1), 1, LEECHES).accepted();
    assert_eq!((met.complete, met.downloaded), (1, 41), "seen over HTTP");
    wait_until(PATIENCE, "the counts are written", || {
        (site.column("downloaded", &hash(1)), site.column("complete", &hash(1)))
            == (Some(41), Some(1))
    });
    stop(tracker);
}

#[test]
fn a_frozen_mariadb_keeps_only_those_waiting_whose_torrent_is_not_known() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let server = Mariadb::start();
    let site = Schema::create_in(&server, &project_file("schema/mysql.sql"));
    site.list(&[(hash(1), "Demo")]);
    let database = "flush_interval = \"1s\"\ncache_ttl = \"1h\"\nlookup_timeout = \"2s\"";
    let tracker = site.tracker(home.path(), &settings("registered", database));
    let client = || UdpClient::connect(LOOPBACK, tracker.address);
    let (known, unknown) = (client(), client());
    known.announce(&hash(1), PORT, 9).expect("the torrent is listed");

    server.signal(Signal::STOP);
    // The list was read at the start: what is not in it has to be asked for.
    unknown.send(&unknown.announce_packet(&hash(2), PORT, 9));
    for turn in 0..100 {
        let announced = known.announce(&hash(1), PORT, 9);
        assert!(announced.is_ok(), "turn {turn}, whose torrent is known: {announced:?}");
    }
    known.complete(&hash(1), PORT).expect("the torrent is known");
    let answer = unknown.receive();
    assert_eq!(answer[3], 3, "an error: {answer:?}");
    let text = String::from_utf8_lossy(&answer[8..]);
    assert!(text.starts_with("the tracker's database is away"), "{text}");

    server.signal(Signal::CONT);
    wait_until(PATIENCE, "the database has spoken of the other torrent", || {
        unknown.announce(&hash(2), PORT, 9).is_err_and(|text| text.starts_with("#5"))
    });
    wait_until(PATIENCE, "the download is written", || {
        site.column("downloaded", &hash(1)) == Some(1)
    });
    stop(tracker);
}
