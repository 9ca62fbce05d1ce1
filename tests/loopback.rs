//! The built tracker over loopback: what only real sockets show. Segmentation, half-closed and
//! broken connections, time limits, slow readers, running out of connections and descriptors, and
//! an orderly end.
//!
//! What the bytes of a request mean is tested inside the crate, on tables; here it matters how they
//! arrive and how answers leave.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper fails its test, with a text"
)]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_bencode::value::Value;

use support::http::{Connection, Dict, exchange, get, percent_encoded};
use support::tracker::Tracker;
use support::{PATIENCE, wait_until};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The path and query of an announce as a leecher on `port`.
fn announce(port: u16) -> String {
    let info_hash = percent_encoded(b"a torrent's twenty b");
    format!(
        "/announce?info_hash={info_hash}&peer_id=-XX0001-abcdefghijkl&port={port}&uploaded=0&\
         downloaded=0&left=9"
    )
}

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: tracker\r\n\r\n")
}

fn int(dict: &Dict, key: &str) -> i64 {
    match dict.get(key.as_bytes()) {
        Some(Value::Int(value)) => *value,
        other => panic!("{key} is {other:?}"),
    }
}

fn failure(dict: &Dict) -> String {
    match dict.get(b"failure reason".as_slice()) {
        Some(Value::Bytes(text)) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("failure reason is {other:?}"),
    }
}

#[test]
fn a_first_announce_is_answered_in_full() {
    let tracker = Tracker::start(LOOPBACK, "");
    let target = "/announce?info_hash=%124Vx%9a%bc%de%f1%23Eg%89%ab%cd%ef%124Vx%9a&\
                  peer_id=-XX0001-abcdefghijkl&port=6881&uploaded=0&downloaded=0&left=0";
    let reply = get(tracker.address, target);
    let dict = reply.dict();
    assert_eq!(reply.status(), 200, "status");
    assert_eq!(reply.header("Content-Type"), Some("text/plain"), "content type");
    assert_eq!(int(&dict, "complete"), 1, "complete");
    assert_eq!(int(&dict, "incomplete"), 0, "incomplete");
    assert_eq!(int(&dict, "downloaded"), 0, "downloaded");
    assert!((1620..=1800).contains(&int(&dict, "interval")), "{dict:?}");
    assert_eq!(dict.get(b"external ip".as_slice()), Some(&Value::Bytes(vec![127, 0, 0, 1])));
    assert_eq!(dict.get(b"peers".as_slice()), Some(&Value::Bytes(vec![])));
    tracker.stop();
}

#[test]
fn eight_announces_in_one_segment_get_eight_answers_in_order() {
    let tracker = Tracker::start(LOOPBACK, "");
    let requests: String = (1..=8).map(|n| request(&announce(6880 + n))).collect();
    let mut connection = Connection::open(tracker.address);
    connection.send(requests.as_bytes());
    let counts: Vec<i64> = (0..8).map(|_| int(&connection.reply().dict(), "incomplete")).collect();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8]);
    tracker.stop();
}

#[test]
fn an_announce_sent_a_byte_at_a_time_gets_its_answer() {
    let tracker = Tracker::start(LOOPBACK, "");
    let mut connection = Connection::open(tracker.address);
    for byte in request(&announce(6881)).bytes() {
        connection.send(&[byte]);
    }
    assert_eq!(int(&connection.reply().dict(), "incomplete"), 1);
    tracker.stop();
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let tracker = Tracker::start(LOOPBACK, "");
    let mut connection = Connection::open(tracker.address);
    connection.send(request(&announce(6881)).repeat(3).as_bytes());
    connection.half_close();
    assert_eq!(int(&connection.reply().dict(), "incomplete"), 1);
    assert_eq!(int(&connection.reply().dict(), "incomplete"), 1);
    assert_eq!(int(&connection.reply().dict(), "incomplete"), 1);
    assert!(connection.rest().is_empty());
    tracker.stop();
}

#[test]
fn what_is_not_http_is_told_so_before_the_connection_closes() {
    let tracker = Tracker::start(LOOPBACK, "");
    let long_target = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000));
    let long_headers = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "a".repeat(200_000));
    let rows: [(&str, &[u8], &str); 7] = [
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        ("a tab in the target", b"GET /ann\tounce HTTP/1.1\r\n\r\n", "400"),
        ("another path", b"GET /favicon.ico HTTP/1.1\r\n\r\n", "404"),
        ("another method", b"DELETE /announce HTTP/1.1\r\n\r\n", "405"),
        (
            "a body",
            b"POST /announce HTTP/1.1\r\nContent-Length: 900000\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "405",
        ),
        ("a target over the limit", long_target.as_bytes(), "414"),
        ("headers over the limit", long_headers.as_bytes(), "431"),
    ];
    for (what, bytes, status) in rows {
        let mut connection = Connection::open(tracker.address);
        connection.try_send(bytes);
        connection.half_close();
        let reply = String::from_utf8(connection.rest()).expect("text");
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {reply}");
        assert_eq!(reply.matches("Content-Length").count(), 1, "{what}: {reply}");
        assert!(status != "414" || reply.contains("Request-URI Too Long"), "{what}: {reply}");
    }
    tracker.stop();
}

#[test]
fn the_body_of_a_request_is_never_taken_for_a_request() {
    let tracker = Tracker::start(LOOPBACK, "");
    let smuggled = request(&announce(6882));
    let target = announce(6881);
    let bytes =
        format!("GET {target} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let replies =
        String::from_utf8_lossy(&exchange(tracker.address, bytes.as_bytes())).into_owned();
    assert_eq!(replies.matches("HTTP/1.1 200 OK").count(), 1, "{replies}");
    assert!(
        replies.contains("Connection: close") && replies.contains("10:incompletei1e"),
        "{replies}"
    );
    tracker.stop();
}

#[test]
fn close_and_http_1_0_end_the_connection_and_head_has_no_body() {
    let tracker = Tracker::start(LOOPBACK, "");
    let get_close = exchange(tracker.address, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(String::from_utf8_lossy(&get_close).contains("announced"));
    let http_1_0 = exchange(tracker.address, b"GET / HTTP/1.0\r\n\r\n");
    assert!(http_1_0.starts_with(b"HTTP/1.1 200") || http_1_0.starts_with(b"HTTP/1.0 200"));
    let head = exchange(tracker.address, b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(head.ends_with(b"\r\n\r\n") && head.starts_with(b"HTTP/1.1 200"));
    tracker.stop();
}

#[test]
fn half_a_request_ends_in_408_and_an_idle_connection_without_a_word() {
    let tracker =
        Tracker::start(LOOPBACK, "[server]\nrequest_timeout = \"300ms\"\nidle_timeout = \"2s\"\n");
    let mut slow = Connection::open(tracker.address);
    slow.send(b"GET /announce?info_hash=");
    assert!(slow.rest().starts_with(b"HTTP/1.1 408 "));
    let mut idle = Connection::open(tracker.address);
    idle.send(request("/").as_bytes());
    assert_eq!(idle.reply().status(), 200);
    assert!(idle.rest().is_empty());
    tracker.stop();
}

#[test]
fn a_slow_reader_gets_every_answer_in_order_and_holds_up_nobody() {
    let tracker = Tracker::start(LOOPBACK, "[tracker]\nnumwant_default = 200\n");
    for port in 1..=400 {
        assert!(
            get(tracker.address, &announce(port + 1_000)).dict().contains_key(b"peers".as_slice())
        );
    }
    // Dictionary answers of 200 peers, 15 KB each: far more than the sockets' buffers hold.
    const REQUESTS: usize = 2_000;
    let slow = Connection::open(tracker.address);
    let (mut sending, mut receiving) = slow.split();
    let target = announce(999) + "&compact=0";
    let sender =
        std::thread::spawn(move || sending.send(request(&target).repeat(REQUESTS).as_bytes()));
    assert!(int(&get(tracker.address, &announce(1_001)).dict(), "incomplete") >= 400);
    for _ in 0..REQUESTS {
        match receiving.reply().dict().get(b"peers".as_slice()) {
            Some(Value::List(peers)) => assert_eq!(peers.len(), 200),
            other => panic!("{other:?}"),
        }
    }
    sender.join().expect("all requests are taken");
    tracker.stop();
}

#[test]
fn a_client_that_takes_no_byte_for_the_send_timeout_is_left() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nsend_timeout = \"1s\"\n");
    let before = tracker.descriptors();
    // Some 30 MB of answers, none of which is read: far more than the sockets' buffers hold.
    let (mut sending, unread) = Connection::open(tracker.address).split();
    let sender =
        std::thread::spawn(move || sending.try_send(request("/").repeat(200_000).as_bytes()));
    wait_until(PATIENCE, "the tracker has taken the connection", || tracker.descriptors() > before);
    assert_eq!(get(tracker.address, "/").status(), 200, "others are served meanwhile");
    wait_until(PATIENCE, "the connection is closed", || tracker.descriptors() == before);
    sender.join().expect("what a closed connection does not take is no error");
    drop(unread);
    tracker.stop();
}

#[test]
fn one_connection_too_many_is_turned_away_with_503() {
    // Those of trusted proxies are not closed to make room.
    let proxy = Ipv4Addr::new(127, 0, 0, 2);
    let settings =
        "[server]\nworkers = 1\nconnections_max = 2\ntrusted_proxies = [\"127.0.0.2\"]\n";
    let tracker = Tracker::start(LOOPBACK, settings);
    let mut held: Vec<Connection> =
        (0..2).map(|_| Connection::open_from(proxy, tracker.address)).collect();
    for connection in &mut held {
        connection.send(request("/").as_bytes());
        assert_eq!(connection.reply().status(), 200);
    }
    for _ in 0..3 {
        assert_eq!(get(tracker.address, "/").status(), 503);
    }
    wait_until(PATIENCE, "the log tells of it", || {
        tracker.transcript().contains("turns connections away")
    });
    assert_eq!(tracker.transcript().matches("turns connections away").count(), 1, "said once");
    drop(held);
    wait_until(PATIENCE, "there is room again", || get(tracker.address, "/").status() == 200);
    tracker.stop();
}

#[test]
fn an_address_may_be_held_to_some_connections() {
    let tracker =
        Tracker::start(LOOPBACK, "[server]\nworkers = 1\nconnections_per_address_max = 1\n");
    let mut held = Connection::open(tracker.address);
    held.send(request("/").as_bytes());
    assert_eq!(held.reply().status(), 200);
    assert_eq!(get(tracker.address, "/").status(), 503);
    assert_eq!(
        Connection::open_from(Ipv4Addr::new(127, 0, 0, 9), tracker.address).get("/").status(),
        200
    );
    drop(held);
    wait_until(PATIENCE, "the address may come again", || {
        get(tracker.address, "/").status() == 200
    });
    tracker.stop();
}

#[test]
fn running_out_of_descriptors_turns_away_and_recovers_without_spinning() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    let mut held = Connection::open(tracker.address);
    held.send(request("/").as_bytes());
    assert_eq!(held.reply().status(), 200);
    tracker.limit_descriptors(tracker.descriptors() + 3);
    let mut crowd: Vec<Connection> = (0..20).map(|_| Connection::open(tracker.address)).collect();
    let served: Vec<u16> =
        crowd.iter_mut().map(|connection| connection.get("/").status()).collect();
    assert!(
        served.contains(&503) && served.iter().all(|status| [200, 503].contains(status)),
        "{served:?}"
    );
    held.send(request("/").as_bytes());
    assert_eq!(held.reply().status(), 200, "who was there already is served");
    let before = tracker.cpu_time();
    let watched = Instant::now();
    wait_until(PATIENCE, "a second has passed", || watched.elapsed() > Duration::from_secs(1));
    assert!(
        tracker.cpu_time() - before < Duration::from_millis(500),
        "the loop spins while there are no descriptors"
    );
    drop(crowd);
    wait_until(PATIENCE, "newcomers are served again", || {
        get(tracker.address, "/").status() == 200
    });
    tracker.stop();
}

#[test]
fn a_taken_port_is_refused_in_one_line() {
    let taken = TcpListener::bind((LOOPBACK, 0))
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, _listener) = taken.expect("a free port");
    let (status, output) = Tracker::fail_to_start(address);
    assert_eq!(status, Some(1), "{output}");
    assert!(
        output.contains(&address.port().to_string()) && output.trim_end().lines().count() == 1,
        "{output}"
    );
}

#[test]
fn a_second_tracker_on_the_same_port_is_refused() {
    let first = Tracker::start(LOOPBACK, "");
    let (status, output) = Tracker::fail_to_start(first.address);
    assert_eq!(status, Some(1), "{output}");
    assert!(output.contains(&first.address.port().to_string()), "{output}");
    first.stop();
}

#[test]
fn ipv4_and_ipv6_are_served_on_one_socket_and_are_two_peers() {
    let tracker = Tracker::start(
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "[tracker]\nip_parameter = [\"127.0.0.0/8\"]\n",
    );
    let port = tracker.address.port();
    let over_v4 = get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &announce(6881)).dict();
    assert_eq!(over_v4.get(b"external ip".as_slice()), Some(&Value::Bytes(vec![127, 0, 0, 1])));
    assert!(!over_v4.contains_key(b"peers6".as_slice()));
    let behind_nat = get(
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        &(announce(6881) + "&ip=9.9.9.77&event=stopped"),
    )
    .dict();
    assert_eq!(
        behind_nat.get(b"external ip".as_slice()),
        Some(&Value::Bytes(vec![9, 9, 9, 77])),
        "a mapped client is its IPv4 self"
    );
    let over_v6 = get(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), &announce(6881)).dict();
    assert_eq!(over_v6.get(b"peers6".as_slice()), Some(&Value::Bytes(vec![])));
    assert_eq!(int(&over_v6, "incomplete"), 2);
    tracker.stop();
}

#[test]
fn a_full_scrape_is_shared_and_given_once_a_minute_to_an_address() {
    let tracker = Tracker::start(LOOPBACK, "");
    let announced = get(tracker.address, &announce(6881)).dict();
    assert_eq!(int(&announced, "incomplete"), 1);
    let first = get(tracker.address, "/scrape").dict();
    match first.get(b"files".as_slice()) {
        Some(Value::Dict(files)) => {
            assert!(files.contains_key(b"a torrent's twenty b".as_slice()), "{files:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!failure(&get(tracker.address, "/scrape").dict()).is_empty());
    let mut other = Connection::open_from(Ipv4Addr::new(127, 0, 0, 7), tracker.address);
    other.send(b"GET /scrape HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n");
    let zipped = other.reply();
    assert_eq!(zipped.header("Content-Encoding"), Some("gzip"));
    assert_eq!(zipped.unzipped().dict(), first);
    tracker.stop();
}

#[test]
fn a_full_scrape_is_given_to_the_networks_of_the_settings_alone() {
    let settings = "[tracker]\nfull_scrape = [\"127.0.0.8/29\", \"2001:db8::/32\"]\n";
    let tracker = Tracker::start(LOOPBACK, settings);
    get(tracker.address, &announce(6881));
    for (host, is_permitted) in [(7, false), (8, true), (15, true), (16, false)] {
        let source = Ipv4Addr::new(127, 0, 0, host);
        let told = Connection::open_from(source, tracker.address).get("/scrape").dict();
        match told.get(b"files".as_slice()) {
            Some(Value::Dict(files)) if is_permitted => {
                assert_eq!(files.len(), 1, "torrents shown to {source}");
            }
            _ if is_permitted => panic!("{source} is refused: {told:?}"),
            _ => assert!(failure(&told).contains("not offered"), "{source}: {told:?}"),
        }
    }
    tracker.stop();
}

#[test]
fn the_interval_is_never_below_the_min_interval() {
    // Without that rule an interval would be up to a tenth less, a random part of it.
    let settings = "[tracker]\nmin_interval = \"30m\"\nmax_interval = \"30m\"\n";
    let tracker = Tracker::start(LOOPBACK, settings);
    for port in 1..=30 {
        let dict = get(tracker.address, &announce(port)).dict();
        assert_eq!(int(&dict, "min interval"), 1_800, "min interval for port {port}");
        assert_eq!(int(&dict, "interval"), 1_800, "interval for port {port}");
    }
    tracker.stop();
}

#[test]
fn a_large_full_scrape_reaches_a_slow_reader_and_what_is_behind_it_comes_after_it() {
    let tracker = Tracker::start(LOOPBACK, "");
    const TORRENTS: usize = 30_000;
    let (mut sending, mut receiving) = Connection::open(tracker.address).split();
    let requests: String = (0..TORRENTS)
        .map(|n| {
            let info_hash = percent_encoded(format!("{n:020}").as_bytes());
            request(&format!(
                "/announce?info_hash={info_hash}&peer_id=-XX0001-abcdefghijkl&port=9&uploaded=0&\
                 downloaded=0&left=9"
            ))
        })
        .collect();
    let sender = std::thread::spawn(move || {
        sending.send(requests.as_bytes());
        sending
    });
    (0..TORRENTS).for_each(|_| assert_eq!(receiving.reply().status(), 200));
    let mut sending = sender.join().expect("all announces are taken");
    sending.send([request("/scrape"), request(&announce(6881))].concat().as_bytes());
    // Nothing of it is read yet, and others are served.
    assert_eq!(int(&get(tracker.address, &announce(6882)).dict(), "incomplete"), 1);
    match receiving.reply().dict().get(b"files".as_slice()) {
        Some(Value::Dict(files)) => assert!(files.len() >= TORRENTS, "{} torrents", files.len()),
        other => panic!("{other:?}"),
    }
    assert_eq!(int(&receiving.reply().dict(), "incomplete"), 2);
    tracker.stop();
}

#[test]
fn at_sigterm_what_is_being_answered_is_answered() {
    let tracker = Tracker::start(LOOPBACK, "");
    for port in 1..=200 {
        assert!(
            get(tracker.address, &announce(port + 1_000)).dict().contains_key(b"peers".as_slice())
        );
    }
    let mut idle = Connection::open(tracker.address);
    idle.send(request("/").as_bytes());
    assert_eq!(idle.reply().status(), 200);
    let (mut sending, mut receiving) = Connection::open(tracker.address).split();
    let target = announce(999) + "&compact=0&numwant=200";
    // Enough that the tracker is left with an answer it could not send.
    sending.send(request(&target).repeat(30).as_bytes());
    assert_eq!(receiving.reply().status(), 200);
    tracker.signal(Signal::TERM);
    assert!(idle.rest().is_empty());
    assert_whole_replies(&receiving.rest());
    tracker.wait_stopped();
}

/// Connections of a crowd that all come at once: more than a worker takes in one round, be it
/// accepts or events.
const AT_ONCE: usize = 2_500;

fn crowd(tracker: &Tracker) -> Vec<Connection> {
    (0..AT_ONCE).map(|_| Connection::open(tracker.address)).collect()
}

#[test]
fn a_crowd_that_is_queued_before_anybody_is_accepted_is_served_to_the_last() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    tracker.signal(Signal::STOP);
    let mut crowd = crowd(&tracker);
    crowd.iter_mut().for_each(|connection| connection.send(request("/").as_bytes()));
    tracker.signal(Signal::CONT);
    assert!(crowd.iter_mut().all(|connection| connection.reply().status() == 200));
    drop(crowd);
    tracker.stop();
}

#[test]
fn at_sigterm_a_crowd_that_is_queued_is_served_to_the_last() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    tracker.signal(Signal::STOP);
    let mut crowd = crowd(&tracker);
    crowd.iter_mut().for_each(|connection| connection.send(request("/").as_bytes()));
    tracker.signal(Signal::TERM);
    tracker.signal(Signal::CONT);
    assert!(crowd.iter_mut().all(|connection| connection.reply().status() == 200));
    tracker.wait_stopped();
}

#[test]
fn at_sigterm_requests_that_have_arrived_are_answered() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    let mut crowd = crowd(&tracker);
    for connection in &mut crowd {
        connection.send(request("/").as_bytes());
        assert_eq!(connection.reply().status(), 200);
    }
    tracker.signal(Signal::STOP);
    crowd.iter_mut().for_each(|connection| connection.send(request("/").as_bytes()));
    tracker.signal(Signal::TERM);
    tracker.signal(Signal::CONT);
    assert!(crowd.iter_mut().all(|connection| connection.reply().status() == 200));
    tracker.wait_stopped();
}

#[test]
fn a_last_request_and_the_end_of_input_may_come_as_one_event() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    let mut connection = Connection::open(tracker.address);
    connection.send(request("/").as_bytes());
    assert_eq!(connection.reply().status(), 200);
    tracker.signal(Signal::STOP);
    connection.send(request("/").as_bytes());
    connection.half_close();
    tracker.signal(Signal::CONT);
    assert_eq!(connection.reply().status(), 200);
    assert!(connection.rest().is_empty());
    tracker.stop();
}

#[test]
fn a_connection_that_goes_on_asking_is_never_idle() {
    // Between two requests there is a small part of the limit: a busy machine may make it a larger
    // one.
    const IDLE: Duration = Duration::from_secs(2);
    let tracker = Tracker::start(LOOPBACK, "[server]\nidle_timeout = \"2s\"\n");
    let mut connection = Connection::open(tracker.address);
    let start = Instant::now();
    while start.elapsed() < 2 * IDLE {
        connection.send(request("/").as_bytes());
        assert_eq!(connection.reply().status(), 200);
        std::thread::sleep(IDLE / 20);
    }
    assert!(connection.rest().is_empty(), "once it asks no more, it is closed without a word");
    tracker.stop();
}

#[test]
fn who_is_queued_while_there_are_no_descriptors_is_served_once_there_are_again() {
    let tracker = Tracker::start(LOOPBACK, "[server]\nworkers = 1\n");
    let before = tracker.descriptors();
    // Not even the spare descriptor can be had back.
    tracker.limit_descriptors(3);
    let mut queued: Vec<Connection> = (0..20).map(|_| Connection::open(tracker.address)).collect();
    queued.iter_mut().for_each(|connection| connection.send(request("/").as_bytes()));
    wait_until(PATIENCE, "the tracker has noticed", || {
        tracker.transcript().contains("out of file descriptors or memory")
    });
    tracker.limit_descriptors(before + 100);
    assert!(queued.iter_mut().all(|connection| connection.reply().status() == 200));
    tracker.stop();
}

/// Panics when a reply among `bytes` is cut off.
fn assert_whole_replies(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let head_bytes =
            4 + bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8_lossy(&bytes[..head_bytes]);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
        bytes = bytes.get(head_bytes + length.expect("a length")..).expect("a whole body");
    }
}
