//! How a connection begins to end: what is answered, what is closed without a word, what lingers.

use crate::ids::Millis;
use crate::server::Next;
use crate::tests::story::{LIMITS, Site, exact};

/// What the connection says at its deadline, and at the peer's half-close, when `bytes` are the last that came.
fn last_words(bytes: &[u8]) -> [String; 2] {
    let mut site = Site::new(exact());
    let mut connection = site.connect("9.9.9.1");
    site.in_round(|round| connection.receive(bytes, round));
    let at_half_close = site.in_round(|round| connection.end_of_input(round));
    let mut connection = site.connect("9.9.9.1");
    site.in_round(|round| connection.receive(bytes, round));
    site.now = connection.deadline();
    let at_deadline = site.in_round(|round| connection.expire(round));
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
    site.in_round(|round| connection.receive(b"GET / HTTP/1.1\r\n\r\n\r\n", round));
    assert_eq!(connection.deadline(), begun.plus(LIMITS.idle_ms));
    site.now = Millis(50_000);
    site.in_round(|round| connection.receive(b"\r\nG", round));
    assert_eq!(connection.deadline(), Millis(50_000).plus(LIMITS.request_ms));
}
