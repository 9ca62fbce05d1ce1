//! The built tracker's full scrape: how many copies slow readers make it hold, how fast all of them
//! are sent to together, and who is refused.
//!
//! Judged by counts: which copy an answer is of is told by its length, since each is made of one
//! torrent more than the one before. The time limit of a slow reader is tested inside the crate,
//! where a test can turn the clock.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper fails its test, with a text"
)]

mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use serde_bencode::value::Value;

use support::http::{Connection, get, percent_encoded};
use support::tracker::Tracker;
use support::{PATIENCE, wait_until};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Enough that the kernel's buffers do not take the whole body of a reader that does not read.
const TORRENTS: usize = 150_000;
/// `20:` and the hash, and the three numbers, each of one digit.
const ENTRY_BYTES: usize = 70;
/// What stands around the entries.
const FRAME_BYTES: usize = "d5:filesde5:flagsd20:min_request_intervali1800eee".len();
const COPY_BYTES: usize = TORRENTS * ENTRY_BYTES;
const INTERVAL: Duration = Duration::from_secs(1);

fn announce(torrent: usize) -> String {
    let info_hash = percent_encoded(format!("{torrent:020}").as_bytes());
    format!(
        "GET /announce?info_hash={info_hash}&peer_id=-XX0001-abcdefghijkl&port=9&uploaded=0&\
         downloaded=0&left=9 HTTP/1.1\r\n\r\n"
    )
}

/// A tracker with so many torrents, and a connection that may announce more.
fn tracker_of(torrents: usize, settings: &str) -> (Tracker, Connection) {
    let tracker = Tracker::start(LOOPBACK, settings);
    let (mut sending, mut receiving) = Connection::open(tracker.address).split();
    let sender = thread::spawn(move || {
        let torrents: Vec<usize> = (0..torrents).collect();
        for some in torrents.chunks(1_000) {
            let requests: String = some.iter().map(|torrent| announce(*torrent)).collect();
            sending.send(requests.as_bytes());
        }
    });
    (0..torrents).for_each(|_| assert_eq!(receiving.reply().status(), 200, "an announce"));
    sender.join().expect("all announces are taken");
    (tracker, receiving)
}

fn announce_one_more(connection: &mut Connection, torrent: usize) {
    connection.send(announce(torrent).as_bytes());
    assert_eq!(connection.reply().status(), 200, "an announce");
}

/// Addresses that have not asked yet.
struct Askers(u32);

impl Askers {
    fn open(&mut self, tracker: &Tracker) -> Connection {
        self.0 += 1;
        Connection::open_from(Ipv4Addr::from(0x7f01_0000 + self.0), tracker.address)
    }

    /// The length of the copy that askers are given now.
    fn length(&mut self, tracker: &Tracker) -> usize {
        let mut connection = self.open(tracker);
        connection.send(b"HEAD /scrape HTTP/1.1\r\nConnection: close\r\n\r\n");
        let head = String::from_utf8(connection.rest()).expect("a head");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        length.and_then(|length| length.parse().ok()).expect("a length")
    }

    /// Waits for a copy of so many torrents.
    fn wait_for_copy(&mut self, tracker: &Tracker, torrents: usize) {
        wait_until(PATIENCE, "a new copy", || {
            self.length(tracker) >= torrents * ENTRY_BYTES + FRAME_BYTES
        });
    }

    /// A reader that asks and does not read.
    fn slow_reader(&mut self, tracker: &Tracker) -> Connection {
        let mut connection = self.open(tracker);
        connection.send(b"GET /scrape HTTP/1.1\r\nConnection: close\r\n\r\n");
        connection
    }
}

#[test]
fn slow_readers_hold_two_copies_and_not_one_each() {
    let settings = "[tracker]\nfull_scrape_interval = \"1s\"\n[server]\nsend_timeout = \"10m\"\n";
    let (tracker, mut announcing) = tracker_of(TORRENTS, settings);
    let before = tracker.resident_bytes();
    let mut askers = Askers(0);
    askers.wait_for_copy(&tracker, TORRENTS);
    let mut readers = vec![askers.slow_reader(&tracker)];
    announce_one_more(&mut announcing, TORRENTS);
    askers.wait_for_copy(&tracker, TORRENTS + 1);
    readers.push(askers.slow_reader(&tracker));
    let second = askers.length(&tracker);
    announce_one_more(&mut announcing, TORRENTS + 1);
    let begun = Instant::now();
    while begun.elapsed() < 3 * INTERVAL {
        assert_eq!(askers.length(&tracker), second, "a third copy is made");
        // Only so many addresses are remembered.
        thread::sleep(INTERVAL / 50);
    }
    readers.push(askers.slow_reader(&tracker));
    assert_eq!(askers.length(&tracker), second, "a third reader has a copy of its own");
    let grown = tracker.resident_bytes().saturating_sub(before);
    let most = 3 * COPY_BYTES as u64;
    assert!(grown < most, "two copies, and what is left of making them: {grown} of {most} bytes");
    drop(readers.remove(0));
    askers.wait_for_copy(&tracker, TORRENTS + 2);
    for (mut reader, torrents) in readers.into_iter().zip([TORRENTS + 1; 2]) {
        let files = reader.reply().dict().remove(b"files".as_slice());
        let Some(Value::Dict(files)) = files else { panic!("no files") };
        assert_eq!(files.len(), torrents, "the copy of a reader that was slow");
    }
    tracker.stop();
}

#[test]
fn all_readers_together_keep_the_rate_and_announces_do_not_wait_for_them() {
    const READERS: usize = 2;
    const BYTES_PER_S: usize = 8_000_000;
    let (tracker, mut announcing) = tracker_of(TORRENTS, "");
    let mut askers = Askers(0);
    askers.wait_for_copy(&tracker, TORRENTS);
    let begun = Instant::now();
    let readers = [(); READERS].map(|()| {
        let mut reader = askers.slow_reader(&tracker);
        thread::spawn(move || reader.reply().body.len())
    });
    let mut announced = 0;
    while readers.iter().any(|reader| !reader.is_finished()) {
        announce_one_more(&mut announcing, announced);
        announced += 1;
    }
    let took = begun.elapsed();
    let bytes: usize = readers.map(|reader| reader.join().expect("a whole body")).iter().sum();
    assert!(bytes > READERS * COPY_BYTES, "{bytes} bytes");
    // A quarter of a second may have been saved up, and the last piece may go ahead.
    let least = Duration::from_secs_f64((bytes - 128 * 1024) as f64 / BYTES_PER_S as f64 - 0.25);
    assert!(took >= least, "{bytes} bytes took {took:?}, and at the rate {least:?} at least");
    assert!(announced > 100, "{announced} announces in {took:?}");
    tracker.stop();
}

#[test]
fn a_full_scrape_past_its_size_is_refused_in_a_sentence_and_logged_once() {
    let settings =
        "[tracker]\nfull_scrape_interval = \"1s\"\nfull_scrape_bytes_max = 1024\n[server]\n";
    let (tracker, _announcing) = tracker_of(30, settings);
    let mut askers = Askers(0);
    let (begun, mut asked) = (Instant::now(), 0);
    while begun.elapsed() < 3 * INTERVAL {
        let reply = askers.open(&tracker).get("/scrape").dict();
        let failure = reply.get(b"failure reason".as_slice());
        let expected = "the full scrape is too large for everybody: name the torrents";
        assert_eq!(failure, Some(&Value::Bytes(expected.into())), "the public is refused");
        asked += 1;
        thread::sleep(INTERVAL / 50);
    }
    assert!(asked > 3, "{asked} askers");
    let named = get(tracker.address, "/scrape?info_hash=00000000000000000001").dict();
    assert!(!named.contains_key(b"failure reason".as_slice()), "who names a torrent is answered");
    let misspelt = get(tracker.address, "/scrape?infohash=00000000000000000001").dict();
    let expected = "#1 the required field info_hash is missing";
    let failure = misspelt.get(b"failure reason".as_slice());
    assert_eq!(failure, Some(&Value::Bytes(expected.into())), "a misspelt info_hash");
    let log = tracker.stop();
    assert_eq!(log.matches("tracker.full_scrape_bytes_max").count(), 1, "{log}");
}

#[test]
fn a_network_that_is_listed_gets_a_full_scrape_of_any_size() {
    let settings = "[tracker]\nfull_scrape_bytes_max = 1024\nfull_scrape = [\"127.0.0.0/8\"]\n";
    let (tracker, _announcing) = tracker_of(30, settings);
    let reply = Askers(0).open(&tracker).get("/scrape");
    assert!(reply.body.len() > 30 * ENTRY_BYTES, "{reply:?}");
    tracker.stop();
}
