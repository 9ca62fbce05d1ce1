//! HTTP/1.x as it comes off the network: every trap a row, every cut the same outcome.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::clients::{REQUEST_BYTES_MAX, requests};
use super::fuzz::http_head;
use super::property;
use crate::wire::http::fault::HttpFault;
use crate::wire::http::head::Method;
use crate::wire::http::request::{HEADERS_MAX, Parsed, parse};
use crate::wire::http::route::{Route, route};

fn with_headers(count: usize) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count)).into_bytes()
}

#[test]
fn every_prefix_of_a_request_is_partial_and_the_whole_is_complete() {
    for request in requests() {
        for cut in 0..request.len() {
            assert_eq!(
                parse(&request[..cut], REQUEST_BYTES_MAX),
                Ok(Parsed::Partial),
                "{cut} of {}",
                request.escape_ascii()
            );
        }
        let pipelined = [request, request].concat();
        let Ok(Parsed::Complete { head, consumed }) = parse(&pipelined, REQUEST_BYTES_MAX) else {
            panic!("{}", request.escape_ascii());
        };
        assert_eq!(consumed, request.len());
        assert_eq!(
            parse(&pipelined[consumed..], REQUEST_BYTES_MAX),
            Ok(Parsed::Complete { head, consumed })
        );
    }
}

#[test]
fn requests_are_taken_when_they_are_unusual_but_clear() {
    let rows: &[(&[u8], Method, &[u8], bool)] = &[
        (b"GET / HTTP/1.1\r\n\r\n", Method::Get, b"/", false),
        (b"GET / HTTP/1.0\r\n\r\n", Method::Get, b"/", true),
        (b"GET / HTTP/1.1\n\n", Method::Get, b"/", false),
        (b"\r\n\n\r\nGET / HTTP/1.1\r\n\r\n", Method::Get, b"/", false),
        (b"HEAD /scrape HTTP/1.1\r\n\r\n", Method::Head, b"/scrape", false),
        (
            b"POST /announce HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            Method::Other,
            b"/announce",
            false,
        ),
        (b"get / HTTP/1.1\r\n\r\n", Method::Other, b"/", false),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", Method::Options, b"*", false),
        (b"OPTIONS / HTTP/1.0\r\n\r\n", Method::Options, b"/", true),
        (b"options / HTTP/1.0\r\n\r\n", Method::Other, b"/", true),
        (b"GET /a b HTTP/1.1\r\n\r\n", Method::Get, b"/a b", false),
        (b"GET /announce ?a=1 HTTP/1.1\r\n\r\n", Method::Get, b"/announce ?a=1", false),
        (b"GET /a  HTTP/1.0\nA: b\n\n", Method::Get, b"/a ", true),
        (b"GET /a HTTP/1.1 HTTP/1.1\r\n\r\n", Method::Get, b"/a HTTP/1.1", false),
        (b"GET /a HTTP/2.0 b HTTP/1.1\r\n\r\n", Method::Get, b"/a HTTP/2.0 b", false),
        (b"\r\n\nGET /\xff \xc3\xa9 HTTP/1.1\r\n\r\n", Method::Get, b"/\xff \xc3\xa9", false),
        (b"GET /?\"<>\\^`{|} HTTP/1.1\r\n\r\n", Method::Get, b"/?\"<>\\^`{|}", false),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", Method::Get, b"/\xc3\xa9", false),
        (b"GET /\xff HTTP/1.1\r\n\r\n", Method::Get, b"/\xff", false),
        (b"GET /\xff HTTP/1.0\nA: b\n\n", Method::Get, b"/\xff", true),
        (b"\r\nM-SEARCH /\x80\xfe HTTP/1.1\nA: b\r\n\n", Method::Other, b"/\x80\xfe", false),
        (b"GET / HTTP/1.1\r\nUser-Agent: \xff\xfe\tx\r\nEmpty:\r\n\r\n", Method::Get, b"/", false),
    ];
    for (request, method, target, http10) in rows {
        let Ok(Parsed::Complete { head, consumed }) = parse(request, REQUEST_BYTES_MAX) else {
            panic!("{}", request.escape_ascii());
        };
        assert_eq!(head.method, *method, "method: {}", request.escape_ascii());
        assert_eq!(head.target, *target, "target: {}", request.escape_ascii());
        assert_eq!(head.http10, *http10, "HTTP/1.0: {}", request.escape_ascii());
        assert_eq!(consumed, request.len(), "{}", request.escape_ascii());
    }
}

#[test]
fn what_is_not_http_is_a_bad_request() {
    let rows: &[&[u8]] = &[
        b"GET /a b\x00 HTTP/1.1\r\n\r\n",
        b"GET /a b\tc HTTP/1.1\r\n\r\n",
        b"GET /a b\r HTTP/1.1\r\n\r\n",
        b"GET /a b\x7f HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1 \r\n\r\n",
        b"GET /a b HTTP/1.2\r\n\r\n",
        b"GET /a b\r\n\r\n",
        b"GET /a bHTTP/1.1\r\n\r\n",
        b"GET  /a b HTTP/1.1\r\n\r\n",
        b"G(T /a b HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nA: b\rc\r\n\r\n",
        b"\rGET / HTTP/1.1\r\n\r\n",
        b"\r\rGET / HTTP/1.1\r\n\r\n",
        b"GET /a\x00b HTTP/1.1\r\n\r\n",
        b"GET /a\tb HTTP/1.1\r\n\r\n",
        b"GET /a\x7fb HTTP/1.1\r\n\r\n",
        b"GET /a\x1fb HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / http/1.1\r\n\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1\rX",
        b"G(T / HTTP/1.1\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nspace : before\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \x01\r\n\r\n",
        b"GET /\xff\x00 HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.2\r\n\r\n",
        b"GET /\xff HTTP/1.1 \r\n\r\n",
        b"GET /\xff HTTP/1.1\rX",
        b"GET /\xff\r\n\r\n",
        b"G\xffT /\xff HTTP/1.1\r\n\r\n",
        b" /\xff HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nno colon\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x13BitTorrent protocol",
        b"d1:ad2:id20:",
    ];
    for request in rows {
        assert_eq!(
            parse(request, REQUEST_BYTES_MAX),
            Err(HttpFault::BadRequest),
            "{}",
            request.escape_ascii()
        );
    }
}

#[test]
fn the_limit_says_whether_the_target_or_the_headers_are_too_long() {
    let long_target =
        [b"GET /announce?".as_slice(), &[b'a'; 10_000], b" HTTP/1.1\r\n\r\n"].concat();
    let long_raw_target =
        [b"GET /announce?".as_slice(), &[0xff; 10_000], b" HTTP/1.1\r\n\r\n"].concat();
    let long_target_of_spaces =
        [b"GET /announce?".as_slice(), &[b' '; 10_000], b" HTTP/1.1\r\n\r\n"].concat();
    let long_header =
        [b"GET / HTTP/1.1\r\nCookie: ".as_slice(), &[b'a'; 10_000], b"\r\n\r\n"].concat();
    let target_larger_than_header = [
        b"GET /scrape?".as_slice(),
        &[b'a'; 5_000],
        b" HTTP/1.1\r\nCookie: ",
        &[b'a'; 5_000],
        b"\r\n\r\n",
    ]
    .concat();
    let long_header_of_raw =
        [b"GET /\xff HTTP/1.1\r\nCookie: ".as_slice(), &[b'a'; 10_000], b"\r\n\r\n"].concat();
    let long_target_after_empty_line = [b"\r\n".as_slice(), &long_target].concat();
    let empty_lines = b"\r\n".repeat(5_000);
    for (request, expected) in [
        (&long_target, HttpFault::TargetTooLong),
        (&long_raw_target, HttpFault::TargetTooLong),
        (&long_target_of_spaces, HttpFault::TargetTooLong),
        (&long_target_after_empty_line, HttpFault::TargetTooLong),
        (&empty_lines, HttpFault::TargetTooLong),
        (&target_larger_than_header, HttpFault::TargetTooLong),
        (&long_header, HttpFault::HeadersTooLarge),
        (&long_header_of_raw, HttpFault::HeadersTooLarge),
    ] {
        assert_eq!(parse(request, REQUEST_BYTES_MAX), Err(expected));
        assert_eq!(parse(&request[..REQUEST_BYTES_MAX], REQUEST_BYTES_MAX), Err(expected));
        assert_eq!(
            parse(&request[..REQUEST_BYTES_MAX - 1], REQUEST_BYTES_MAX),
            Ok(Parsed::Partial)
        );
    }
}

#[test]
fn a_request_may_be_as_long_as_the_limit_and_what_follows_does_not_count() {
    let request = b"GET / HTTP/1.1\r\nA: b\r\n\r\n";
    let followed = [request.as_slice(), &[b'x'; 100]].concat();
    assert!(matches!(
        parse(&followed, request.len()),
        Ok(Parsed::Complete { consumed, .. }) if consumed == request.len()
    ));
    assert_eq!(
        parse(&followed, request.len() - 1),
        Err(HttpFault::TargetTooLong),
        "the target has the larger part"
    );
}

#[test]
fn sixty_four_headers_are_taken_and_one_more_is_not() {
    assert!(matches!(
        parse(&with_headers(HEADERS_MAX), REQUEST_BYTES_MAX),
        Ok(Parsed::Complete { .. })
    ));
    assert_eq!(
        parse(&with_headers(HEADERS_MAX + 1), REQUEST_BYTES_MAX),
        Err(HttpFault::HeadersTooLarge)
    );
    let raw = |count| [b"GET /\xff HTTP/1.1\r\n".as_slice(), &with_headers(count)[16..]].concat();
    assert!(matches!(parse(&raw(HEADERS_MAX), REQUEST_BYTES_MAX), Ok(Parsed::Complete { .. })));
    assert_eq!(parse(&raw(HEADERS_MAX + 1), REQUEST_BYTES_MAX), Err(HttpFault::HeadersTooLarge));
}

/// Requests, some of them damaged in a few places.
fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
    let request = select(requests().collect::<Vec<_>>());
    let byte = prop_oneof![select(&b" \r\n\t\x00\x7f\x80\xff:/?%"[..]), any::<u8>()];
    (request, vec((any::<Index>(), byte), 0..4)).prop_map(|(request, damages)| {
        let mut request = request.to_vec();
        for (at, byte) in damages {
            let at = at.index(request.len());
            request[at] = byte;
        }
        request
    })
}

/// `http_head` has each read by both readers.
#[test]
fn nearly_usual_heads_mean_the_same_to_both_readers() {
    let headers = [
        "",
        "Host: a\r\n",
        "Host:a\r\n",
        "Host: \r\n",
        "Host:\r\n",
        "Host : a\r\n",
        "host: a\r\n",
        "Host: \x7f\r\n",
        "Host: \u{e9}\r\n",
        "Host: a\tb\r\n",
        "Host: a\rb\r\n",
        "Host: a\r\r\n",
        "Host: a\n",
        "Hosts: a\r\n",
        "Accept: */*\r\n",
        "Accept-: a\r\n",
        "Accept-Encoding:  gzip \r\n",
        "Accept-Encoding: gzip;q=0\r\nAccept-Encoding: *\r\n",
        "Accept-Encoding: \r\nAccept-Encoding: deflate, gzip, br, zstd\r\n",
        "Connection: close\r\n",
        "Connection: keep-alive, close \r\n",
        "Connection: Keep-Alive\r\nConnection: close\r\n",
        "User-Agent: 0123456789abcdef0123456789abcdef0123456789abcdef\r\n",
        "User-Agent: a\r\nVia: b\r\n",
        "Content-Length: 1\r\n",
    ];
    for header in headers {
        for times in [1, 2, 8, 9, 64, 65] {
            for line in
                ["GET /a HTTP/1.1", "GET a HTTP/1.1", "GET /a HTTP/1.0", "GET /\x01 HTTP/1.1"]
            {
                http_head(format!("{line}\r\n{}\r\n", header.repeat(times)).as_bytes());
            }
        }
    }
    property(300, nearly_requests(), |input| {
        http_head(&input);
        Ok(())
    });
}

/// However the bytes arrive: once a prefix has an outcome, every longer one has the same.
#[test]
fn no_cut_changes_an_outcome() {
    let inputs = prop_oneof![4 => nearly_requests(), 1 => vec(any::<u8>(), 0..200)];
    property(300, (inputs, 1_usize..600), |(input, request_bytes_max)| {
        let outcome = parse(&input, request_bytes_max);
        let first = (0..=input.len())
            .map(|cut| parse(&input[..cut], request_bytes_max))
            .find(|outcome| *outcome != Ok(Parsed::Partial))
            .unwrap_or(Ok(Parsed::Partial));
        prop_assert_eq!(first, outcome);
        if let Ok(Parsed::Complete { consumed, .. }) = outcome {
            prop_assert!(consumed <= input.len().min(request_bytes_max));
        }
        Ok(())
    });
}

/// Targets and where they lead.
const TARGETS: &[(&[u8], Route<'_>)] = &[
    (b"/announce?a=1", Route::Announce(b"a=1")),
    (b"/announce", Route::Announce(b"")),
    (b"/announce.php?a=1", Route::Announce(b"a=1")),
    (b"//announce?a=1", Route::Announce(b"a=1")),
    (b"/0123456789abcdef/announce?a=1", Route::Announce(b"a=1")),
    (b"/scrape/announce", Route::Announce(b"")),
    (b"/announce/", Route::Announce(b"")),
    (b"/announce/?a=1", Route::Announce(b"a=1")),
    (b"/announce/0123456789abcdef?a=1", Route::Announce(b"a=1")),
    (b"/announce.php/0123456789abcdef/x/?a=1", Route::Announce(b"a=1")),
    (b"/any/announceStrange/path/?a=1", Route::Announce(b"a=1")),
    (b"http://tracker.example/announce/0123456789abcdef", Route::Announce(b"")),
    (b"/announce ?a=1", Route::Announce(b"a=1")),
    (b"/announce#x?a=1", Route::Announce(b"a=1")),
    (b"/announce?a=1#x", Route::Announce(b"a=1")),
    (b"/announce?a=1&left=0#x#y?z=/", Route::Announce(b"a=1&left=0")),
    (b"/announce?a=1&#x", Route::Announce(b"a=1&")),
    (b"/announce?a=#1&b=2", Route::Announce(b"a=#1&b=2")),
    (b"/announce?#x", Route::Announce(b"")),
    (b"/?passkey=K?info_hash=x", Route::Announce(b"passkey=K?info_hash=x")),
    (b"/announce?a=/scrape", Route::Announce(b"a=/scrape")),
    (b"/announce?a=1?b=2", Route::Announce(b"a=1?b=2")),
    (b"/announce??a=1", Route::Announce(b"a=1")),
    (b"http://tracker.example/announce?a=1", Route::Announce(b"a=1")),
    (b"HTTP://tracker.example:6969/x/announce", Route::Announce(b"")),
    (b"https://tracker.example/announce", Route::Announce(b"")),
    (b"http://announce.example?info_hash=x", Route::Announce(b"info_hash=x")),
    (b"/?a=1&info_hash=x", Route::Announce(b"a=1&info_hash=x")),
    (b"?info_hash=x", Route::Announce(b"info_hash=x")),
    (b"/?info_hash", Route::Announce(b"info_hash")),
    (b"/scrape?a=1", Route::Scrape(b"a=1")),
    (b"/scrape.php", Route::Scrape(b"")),
    (b"/announce/scrape?a=1", Route::Scrape(b"a=1")),
    (b"/scrape/", Route::Scrape(b"")),
    (b"/scrape/0123456789abcdef?a=1#x", Route::Scrape(b"a=1#x")),
    (b"/scrape.php/0123456789abcdef", Route::Scrape(b"")),
    (b"/announce/scrape/0123456789abcdef", Route::Scrape(b"")),
    (b"/scrape/announce/0123456789abcdef", Route::Announce(b"")),
    (b"/robots.txt", Route::Robots),
    (b"/robots.txt?a=1", Route::Robots),
    (b"/robots.txt#x", Route::Robots),
    (b"http://tracker.example/robots.txt", Route::Robots),
    (b"/?#x", Route::Index),
    (b"/#x", Route::Index),
    (b"http://h/scrape", Route::Scrape(b"")),
    (b"/", Route::Index),
    (b"/?", Route::Index),
    (b"http://announce.example", Route::Index),
    (b"http://tracker.example/", Route::Index),
    (b"/?a=1", Route::NotFound),
    (b"/?xinfo_hash=x", Route::NotFound),
    (b"/favicon.ico", Route::Icon),
    (b"/ANNOUNCE", Route::NotFound),
    (b"/Announce", Route::NotFound),
    (b"/%61nnounce", Route::NotFound),
    (b"/Scrape/announc", Route::NotFound),
    (b"/x/robots.txt", Route::NotFound),
    (b"/?passkey=K?infohash=x", Route::NotFound),
    (b"/xannounce", Route::NotFound),
    (b"/x?info_hash=x", Route::NotFound),
    (b"*", Route::NotFound),
    (b"announce", Route::NotFound),
    (b"tracker.example:80", Route::NotFound),
    (b"ftp://tracker.example/announce", Route::NotFound),
    (b"http:/announce", Route::NotFound),
    (b"", Route::NotFound),
    (b"/\xff\xfe", Route::NotFound),
];

#[test]
fn targets_lead_where_their_segments_say() {
    for (target, expected) in TARGETS {
        assert_eq!(route(target), *expected, "{}", target.escape_ascii());
        if !target.is_empty() {
            http_head(&[b"GET ", *target, b" HTTP/1.1\r\n\r\n"].concat());
        }
    }
}

#[test]
fn any_bytes_have_some_route() {
    property(2000, vec(any::<u8>(), 0..60), |target| {
        prop_assert!(
            !matches!(route(&target), Route::Index)
                || target.is_empty()
                || target.contains(&b'/')
                || target.contains(&b'?')
        );
        Ok(())
    });
}
