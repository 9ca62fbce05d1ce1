//! How a connection begins to end: what is answered, what is closed without a word, what lingers.

use crate::ids::Millis;
use crate::server::Next;
use crate::tests::harness::{REQUEST_BYTES_MAX, TIMES};
use crate::tests::story::{Site, exact};

/// What the connection says at its deadline, and at the peer's half-close, when `bytes` are the
/// last that came.
fn last_words(bytes: &[u8]) -> [String; 2] {
    let mut site = Site::new(exact());
    let mut connection = site.connect("9.9.9.1");
    site.in_round(|http, round, out| connection.receive(bytes, http, round, out));
    let at_half_close = site.in_round(|http, round, out| connection.end_of_input(http, round, out));
    let mut connection = site.connect("9.9.9.1");
    site.in_round(|http, round, out| connection.receive(bytes, http, round, out));
    site.now = connection.deadline();
    let at_deadline = site.in_round(|http, round, out| connection.expire(http, round, out));
    [at_deadline, at_half_close].map(|said| said.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn half_a_request_is_answered_and_an_empty_line_behind_one_is_not_half_a_request() {
    let (timeout, bad) = ("HTTP/1.1 408 Request Timeout", "HTTP/1.1 400 Bad Request");
    let rows: [(&[u8], [&str; 2]); 8] = [
        (b"", ["", ""]),
        (b"GET / HTTP/1.1\r\n\r\n", ["", ""]),
        (b"GET / HTTP/1.1\r\n\r\n\r\n", ["", ""]),
        (b"\n\r\n", ["", ""]),
        (b"\r", ["", ""]),
        (b"G", [timeout, bad]),
        (b"\r\nG", [timeout, bad]),
        (b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n", [timeout, bad]),
    ];
    for (bytes, expected) in rows {
        assert_eq!(last_words(bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn an_empty_line_leaves_the_connection_idle_and_a_request_its_whole_time() {
    let mut site = Site::new(exact());
    let mut connection = site.connect("9.9.9.1");
    let begun = site.now;
    site.in_round(|http, round, out| {
        connection.receive(b"GET / HTTP/1.1\r\n\r\n\r\n", http, round, out);
    });
    assert_eq!(connection.deadline(), begun.plus(TIMES.idle_ms));
    site.now = Millis(50_000);
    site.in_round(|http, round, out| connection.receive(b"\r\nG", http, round, out));
    assert_eq!(connection.deadline(), Millis(50_000).plus(TIMES.request_ms));
}

#[test]
fn a_close_lingers_over_what_may_be_unread() {
    let close = "GET / HTTP/1.1\r\nConnection: close\r\nX: ";
    let of = |bytes: usize| format!("{close}{}\r\n\r\n", "x".repeat(bytes - close.len() - 4));
    let rows = [
        ("all is read", of(REQUEST_BYTES_MAX - 1), Next::Close),
        ("the read was full", of(REQUEST_BYTES_MAX), Next::ShutDown),
        ("more was read", of(100) + "GET", Next::ShutDown),
        ("a body", "GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n".to_owned(), Next::ShutDown),
        ("not HTTP", "\x16".to_owned(), Next::ShutDown),
    ];
    for (name, request, expected) in rows {
        let mut site = Site::new(exact());
        let mut connection = site.connect("9.9.9.1");
        site.in_round(|http, round, out| connection.receive(request.as_bytes(), http, round, out));
        assert_eq!(connection.next(), expected, "{name}");
    }
}

#[test]
fn lingering_ends_after_64_kib_or_2_s() {
    let mut site = Site::new(exact());
    let mut connection = site.connect("9.9.9.1");
    site.in_round(|http, round, out| connection.receive(b"\x16", http, round, out));
    connection.start_draining(site.now);
    connection.drained(64 * 1024);
    assert_eq!(connection.next(), Next::Drain, "after 64 KiB");
    assert_eq!(connection.deadline(), site.now.plus(2_000), "the time limit");
    connection.drained(1);
    assert_eq!(connection.next(), Next::Close);

    let mut connection = site.connect("9.9.9.1");
    site.in_round(|http, round, out| connection.receive(b"\x16", http, round, out));
    connection.start_draining(site.now);
    assert_eq!(site.in_round(|http, round, out| connection.expire(http, round, out)), "");
    assert_eq!(connection.next(), Next::Close);
}

#[test]
fn http_1_0_stays_only_when_asked_to() {
    for (header, expected) in [("", Next::Close), ("Connection: keep-alive\r\n", Next::Read)] {
        let mut site = Site::new(exact());
        let mut connection = site.connect("9.9.9.1");
        site.in_round(|http, round, out| {
            connection.receive(
                format!("GET / HTTP/1.0\r\n{header}\r\n").as_bytes(),
                http,
                round,
                out,
            );
        });
        assert_eq!(connection.next(), expected, "{header}");
    }
}

#[test]
fn while_a_worker_stops_the_last_request_there_is_closes_its_connection() {
    let request = "GET / HTTP/1.1\r\n\r\n";
    let close = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    let (open, closed) = ("kept", "Connection: close");
    // An early end lingers: the client may be sending its next request already.
    let rows = [
        ("one request", request.to_owned(), vec![closed], Next::ShutDown),
        (
            "a pipeline is answered to its end",
            request.repeat(3),
            vec![open, open, closed],
            Next::ShutDown,
        ),
        ("half a request behind it is waited for", format!("{request}GET"), vec![open], Next::Read),
        ("a client that closes by itself", close.to_owned(), vec![closed], Next::Close),
        ("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n".to_owned(), vec![closed], Next::Close),
        ("nothing", String::new(), vec![], Next::Read),
    ];
    for (name, requests, expected, next) in rows {
        let mut site = Site::new(exact());
        let mut connection = site.connect("9.9.9.1");
        let said = site.in_round(|http, round, out| {
            round.closing = true;
            connection.receive(requests.as_bytes(), http, round, out);
        });
        let answers = said.split("HTTP/1.1 ").skip(1);
        let endings: Vec<&str> =
            answers.map(|answer| if answer.contains(closed) { closed } else { open }).collect();
        assert_eq!(endings, expected, "{name}: {said}");
        assert_eq!(connection.next(), next, "{name}");
    }
}
