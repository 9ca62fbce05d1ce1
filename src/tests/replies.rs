//! Answers byte for byte, and the largest of each kind.

use serde_bencode::value::Value;

use crate::bounds::{PEERS_PER_REPLY_MAX, TEXT_BYTES_MAX};
use crate::ids::{Family, InfoHash, PeerAddr, PeerId};
use crate::wire::bencode::Full;
use crate::wire::failure::{Failure, Field};
use crate::wire::http::fault::HttpFault;
use crate::wire::http::reply::{
    ANNOUNCE_BYTES_MAX, AnnounceReply, FAILURE_BYTES_MAX, FailureReply, Peers, REPLY_BYTES_MAX,
    SCRAPE_BYTES_MAX, SCRAPE_ENTRY_BYTES_MAX, announce, failure, scrape,
};
use crate::wire::http::request::{Parsed, parse};
use crate::wire::http::response::{
    Framing, HEAD_BYTES_MAX, LINE_BYTES_MAX, fault, full_scrape_head, index, options, redirect,
    robots, text,
};
use crate::wire::scrape::ScrapeEntry;

const CLOSING: Framing = Framing::LAST;
const KEEPING: Framing = Framing { keep_alive: true, ..CLOSING };

const EMPTY: AnnounceReply<'_> = AnnounceReply {
    complete: 0,
    downloaded: 0,
    incomplete: 1,
    interval_s: 1790,
    min_interval_s: 900,
    external_ip: None,
    peers: Peers::Compact { family: Family::V4, wire: &[] },
    crypto_flags: None,
};

fn refusal(failure: Failure, reason: Option<&[u8]>) -> FailureReply<'_> {
    FailureReply { failure, reason, unregistered_s: 90 }
}

/// The answer as one string, bytes that are not ASCII escaped; checked to be exactly as long as its
/// own Content-Length says.
fn shown(write: impl Fn(&mut [u8]) -> Result<usize, Full>) -> String {
    let mut out = vec![0xc5; REPLY_BYTES_MAX];
    let written = write(&mut out).unwrap();
    let (head, body) = split(&out[..written]);
    if !body.is_empty() {
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    }
    out[..written].escape_ascii().to_string().replace("\\r\\n", "\n")
}

fn split(answer: &[u8]) -> (String, &[u8]) {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(answer[..end].to_vec()).unwrap(), &answer[end..])
}

/// The body of an answer, decoded, after a check that it is canonical: sorted keys, nothing left
/// over.
fn decoded(write: impl Fn(&mut [u8]) -> Result<usize, Full>) -> Value {
    let mut out = vec![0xc5; REPLY_BYTES_MAX];
    let written = write(&mut out).unwrap();
    let body = split(&out[..written]).1;
    let value: Value = serde_bencode::from_bytes(body).unwrap();
    assert_eq!(serde_bencode::to_bytes(&value).unwrap(), body);
    value
}

#[test]
fn an_announce_without_peers_still_has_peers() {
    let expected = "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 92\nConnection: \
                    close\n\nd8:completei0e10:downloadedi0e10:incompletei1e8:intervali1790e12:min \
                    intervali900e5:peers0:e";
    assert_eq!(shown(|out| announce(&EMPTY, CLOSING, out)), expected);
}

#[test]
fn an_announce_over_ipv4() {
    let wire = [
        PeerAddr::new("192.0.2.1".parse().unwrap(), 6881),
        PeerAddr::new("203.0.113.7".parse().unwrap(), 80),
    ];
    let wire: Vec<u8> = wire
        .iter()
        .flat_map(|peer| if let PeerAddr::V4(wire) = peer { wire.to_vec() } else { vec![] })
        .collect();
    let reply = AnnounceReply {
        complete: 2,
        downloaded: 4_294_967_295,
        external_ip: Some("198.51.100.9".parse().unwrap()),
        peers: Peers::Compact { family: Family::V4, wire: &wire },
        crypto_flags: Some(&[0, 1]),
        ..EMPTY
    };
    let expected = "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: \
                    153\n\nd8:completei2e12:crypto_flags2:\\x00\\x0110:downloadedi4294967295e11:\
                    external ip4:\\xc63d\\t10:incompletei1e8:intervali1790e12:min \
                    intervali900e5:peers12:\\xc0\\x00\\x02\\x01\\x1a\\xe1\\xcb\\x00q\\x07\\x00Pe";
    assert_eq!(shown(|out| announce(&reply, KEEPING, out)), expected);
}

#[test]
fn an_announce_over_ipv6_has_an_empty_peers_before_peers6() {
    let PeerAddr::V6(wire) = PeerAddr::new("2001:db8::1".parse().unwrap(), 6881) else {
        panic!("not IPv6");
    };
    let reply = AnnounceReply {
        external_ip: Some("2001:db8::2".parse().unwrap()),
        peers: Peers::Compact { family: Family::V6, wire: &wire },
        ..EMPTY
    };
    let answer = shown(|out| announce(&reply, CLOSING, out));
    let zeros = "\\x00".repeat(11);
    assert!(
        answer.contains(&format!("11:external ip16: \\x01\\r\\xb8{zeros}\\x0210:incomplete")),
        "{answer}"
    );
    assert!(
        answer.ends_with(&format!("5:peers0:6:peers618: \\x01\\r\\xb8{zeros}\\x01\\x1a\\xe1e")),
        "{answer}"
    );
}

#[test]
fn the_dictionary_model_lists_ip_peer_id_and_port() {
    let wire = b"\xc0\x00\x02\x01\x1a\xe1\xcb\x00q\x07\x00P";
    let ids = [PeerId(*b"-TR4060-aaaaaaaaaaaa"), PeerId(*b"-qB4650-bbbbbbbbbbbb")];
    let answer = |wire, ids| {
        let reply =
            AnnounceReply { peers: Peers::Dictionary { family: Family::V4, wire, ids }, ..EMPTY };
        shown(|out| announce(&reply, CLOSING, out)).split_once("5:peers").unwrap().1.to_owned()
    };
    let first = "d2:ip9:192.0.2.17:peer id20:-TR4060-aaaaaaaaaaaa4:porti6881ee";
    let second = "d2:ip11:203.0.113.77:peer id20:-qB4650-bbbbbbbbbbbb4:porti80ee";
    assert_eq!(answer(wire, Some(&ids)), format!("l{first}{second}ee"));
    assert_eq!(
        answer(wire, None),
        "ld2:ip9:192.0.2.14:porti6881eed2:ip11:203.0.113.74:porti80eeee"
    );
    assert_eq!(answer(b"", Some(&[])), "lee");
    assert_eq!(answer(b"", None), "lee");
}

#[test]
fn the_dictionary_model_writes_ipv6_as_text_and_has_no_peers6() {
    let wire = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1";
    let reply =
        AnnounceReply { peers: Peers::Dictionary { family: Family::V6, wire, ids: None }, ..EMPTY };
    let answer = shown(|out| announce(&reply, CLOSING, out));
    assert!(answer.ends_with("5:peersld2:ip11:2001:db8::14:porti6881eeee"), "{answer}");
}

/// A failure, the reason behind it, its text, interval and `retry in`.
type FailureRow = (Failure, Option<&'static str>, &'static str, u32, &'static str);

const FAILURES: &[FailureRow] = &[
    (
        Failure::MissingField(Field::Left),
        None,
        "37:#1 the required field left is missing",
        1800,
        "5:never",
    ),
    (Failure::InfoHashLength, None, "37:#2 the info_hash is not 20 bytes long", 1800, "5:never"),
    (Failure::PeerIdLength, None, "35:#3 the peer_id is not 20 bytes long", 1800, "5:never"),
    (Failure::PortInvalid, None, "43:#4 the port is not a number from 1 to 65535", 1800, "5:never"),
    (Failure::PortZero, None, "43:#4 the port is not a number from 1 to 65535", 300, "i5e"),
    (
        Failure::NotRegistered,
        None,
        "51:#5 this torrent is not registered with this tracker",
        90,
        "i2e",
    ),
    (Failure::Banned, None, "43:#6 this torrent is banned from this tracker", 1800, "i30e"),
    (
        Failure::Banned,
        Some("spam"),
        "49:#6 this torrent is banned from this tracker: spam",
        1800,
        "i30e",
    ),
    (
        Failure::FullScrapeOff,
        None,
        "52:full scrapes are not offered here: name the torrents",
        1800,
        "i30e",
    ),
    (
        Failure::Unavailable,
        None,
        "54:the tracker's database is away, please try again later",
        300,
        "i5e",
    ),
    (Failure::Busy, None, "49:the tracker is overloaded, please try again later", 300, "i5e"),
    (
        Failure::TooOften,
        None,
        "60:too many announces from this address, please try again later",
        300,
        "i5e",
    ),
];

#[test]
fn failures_carry_the_intervals_and_when_to_retry() {
    for (refused, reason, text, interval_s, retry) in FAILURES.iter().copied() {
        let refused = refusal(refused, reason.map(str::as_bytes));
        let answer = shown(|out| failure(&refused, CLOSING, out)).replace("\\'", "'");
        let body = answer.split_once("\n\n").unwrap().1;
        let expected = format!(
            "d14:failure reason{text}8:intervali{interval_s}e12:min intervali{interval_s}e8:retry \
             in{retry}e"
        );
        assert_eq!(body, expected);
        assert!(matches!(decoded(|out| failure(&refused, CLOSING, out)), Value::Dict(_)));
    }
}

#[test]
fn a_scrape_tells_of_each_torrent_and_when_to_ask_again() {
    let entries = [
        ScrapeEntry {
            hash: InfoHash([b'a'; 20]),
            complete: 0,
            downloaded: 0,
            incomplete: 0,
            name: None,
        },
        ScrapeEntry {
            hash: InfoHash([b'b'; 20]),
            complete: 1,
            downloaded: 22,
            incomplete: 333,
            name: Some(b"debian"),
        },
    ];
    let expected = format!(
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: \
         206\nAccess-Control-Allow-Origin: *\n\n\
         d5:filesd20:{}d8:completei0e10:downloadedi0e10:incompletei0ee20:{}d8:\
         completei1e10:downloadedi22e10:incompletei333e4:name6:debianee5:flagsd20:\
         min_request_intervali1800eee",
        "a".repeat(20),
        "b".repeat(20)
    );
    assert_eq!(shown(|out| scrape(entries, 1800, KEEPING, out)), expected);
    assert!(matches!(decoded(|out| scrape(entries, 1800, KEEPING, out)), Value::Dict(_)));
}

#[test]
fn a_scrape_that_finds_nothing_says_so_beside_empty_files() {
    let answer = shown(|out| scrape([], 1800, CLOSING, out));
    let body = answer.split_once("\n\n").unwrap().1;
    let reason = "38:none of these torrents is tracked here";
    assert_eq!(
        body,
        format!("d14:failure reason{reason}5:filesde5:flagsd20:min_request_intervali1800eee")
    );
}

#[test]
fn the_connection_header_says_only_what_the_version_does_not() {
    for (http10, keep_alive, expected) in [
        (false, true, "\n\n"),
        (false, false, "\nConnection: close\n\n"),
        (true, true, "\nConnection: keep-alive\n\n"),
        (true, false, "\nConnection: close\n\n"),
    ] {
        let framing = Framing { http10, keep_alive, head_only: true, ..CLOSING };
        let head = shown(|out| announce(&EMPTY, framing, out));
        assert_eq!(
            head,
            format!("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 92{expected}")
        );
    }
}

#[test]
fn framing_follows_the_request() {
    let framing = |request: &'static [u8]| match parse(request, 8192) {
        Ok(Parsed::Complete { head, .. }) => Framing::of(&head),
        other => panic!("{other:?}"),
    };
    assert_eq!(framing(b"GET / HTTP/1.1\r\n\r\n"), KEEPING);
    assert_eq!(framing(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), CLOSING);
    assert_eq!(framing(b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), CLOSING);
    assert_eq!(framing(b"HEAD / HTTP/1.1\r\n\r\n"), Framing { head_only: true, ..KEEPING });
    assert_eq!(
        framing(b"GET / HTTP/1.0\nConnection: keep-alive\n\n"),
        Framing { http10: true, ..KEEPING }
    );
    for header in ["Via: 1.1 varnish", "Forwarded: for=x", "x-forwarded-for: x", "X-Real-IP: x"] {
        let request = format!("GET / HTTP/1.1\r\n{header}\r\n\r\n").into_bytes();
        let Ok(Parsed::Complete { head, .. }) = parse(&request, 8192) else { panic!("{header}") };
        assert_eq!(Framing::of(&head), Framing { proxied: true, ..KEEPING }, "{header}");
        let scraped = Framing { proxied: true, any_origin: true, ..KEEPING };
        assert_eq!(Framing::of_scrape(&head), scraped, "{header}");
    }
}

#[test]
fn caches_and_browsers_are_told_what_they_may_do_with_an_answer() {
    let (no_store, any_origin) = ("Cache-Control: no-store\n", "Access-Control-Allow-Origin: *\n");
    for (proxied, scrape_too, expected) in [
        (false, false, String::new()),
        (true, false, no_store.to_owned()),
        (false, true, any_origin.to_owned()),
        (true, true, format!("{no_store}{any_origin}")),
    ] {
        for (http10, connection) in [(false, ""), (true, "Connection: keep-alive\n")] {
            let framing = Framing { http10, proxied, any_origin: scrape_too, ..KEEPING };
            let answer = shown(|out| failure(&refusal(Failure::Busy, None), framing, out));
            let head = answer.split_once("\n\n").unwrap().0.to_owned() + "\n";
            let rest =
                head.split_once("Content-Length: 119\n").unwrap_or_else(|| panic!("{head}")).1;
            assert_eq!(rest, expected.clone() + connection, "{framing:?}");
        }
    }
    let scraped = shown(|out| scrape([], 1800, Framing { proxied: true, ..CLOSING }, out));
    let expected = format!("\n{no_store}{any_origin}Connection: close\n\n");
    assert!(scraped.contains(&expected), "a scrape says so by itself: {scraped}");
}

#[test]
fn a_body_of_any_number_of_digits_stands_right_behind_its_head() {
    for peers in 0..=PEERS_PER_REPLY_MAX {
        let wire: Vec<u8> = (0..=250).cycle().take(peers * 18).collect();
        let reply =
            AnnounceReply { peers: Peers::Compact { family: Family::V6, wire: &wire }, ..EMPTY };
        for framing in [KEEPING, CLOSING] {
            let answer = decoded(|out| announce(&reply, framing, out));
            let Value::Dict(keys) = answer else { panic!("{answer:?}") };
            assert_eq!(keys[&b"peers6"[..]], Value::Bytes(wire.clone()));
        }
    }
}

#[test]
fn an_answer_fits_or_is_refused_and_never_overruns() {
    for peers in [0, 2, 200] {
        let wire = vec![7; peers * 6];
        let reply =
            AnnounceReply { peers: Peers::Compact { family: Family::V4, wire: &wire }, ..EMPTY };
        let needed = announce(&reply, CLOSING, &mut [0; REPLY_BYTES_MAX]).unwrap();
        for room in 0..needed + 8 {
            let mut out = vec![0xc5; needed + 64];
            match announce(&reply, CLOSING, &mut out[..room]) {
                Ok(written) => assert!(written == needed && written <= room),
                // A body of two digits is written a byte further back than it ends up.
                Err(Full) => assert!(room < needed || (peers == 0 && room == needed)),
            }
            assert!(out[room..].iter().all(|byte| *byte == 0xc5), "{room}");
        }
    }
}

#[test]
fn faults_are_a_line_of_text_and_close() {
    let rows = [
        (HttpFault::BadRequest, "400 Bad Request"),
        (HttpFault::NotFound, "404 Not Found"),
        (HttpFault::MethodNotAllowed, "405 Method Not Allowed\nAllow: GET, HEAD, OPTIONS"),
        (HttpFault::Timeout, "408 Request Timeout"),
        (HttpFault::TargetTooLong, "414 Request-URI Too Long"),
        (HttpFault::HeadersTooLarge, "431 Request Header Fields Too Large"),
        (HttpFault::Overloaded, "503 Service Unavailable"),
    ];
    for (wrong, status) in rows {
        let answer = shown(|out| fault(wrong, Framing::LAST, &mut out[..LINE_BYTES_MAX]));
        let (head, body) = answer.split_once("\n\n").unwrap();
        assert!(
            head.starts_with(&format!(
                "HTTP/1.1 {status}\nContent-Type: text/plain\nContent-Length: "
            )),
            "{head}"
        );
        assert!(head.ends_with("\nConnection: close"), "{head}");
        assert!(body.ends_with("\\n") && !body.trim_end_matches("\\n").contains("\\n"), "{body}");
        let head_only =
            shown(|out| fault(wrong, Framing { head_only: true, ..Framing::LAST }, out));
        assert_eq!(head_only, format!("{head}\n\n"));
    }
    assert!(HttpFault::TargetTooLong.texts().1.contains("Request-URI Too Long"));
}

#[test]
fn the_index_may_be_a_text_or_the_way_to_a_page() {
    let answer = shown(|out| text("write to abuse@tracker.example\n", KEEPING, out));
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
    assert!(answer.ends_with("\n\nwrite to abuse@tracker.example\\n"), "{answer}");
    let answer = shown(|out| redirect("https://tracker.example/", KEEPING, out));
    let begin = "HTTP/1.1 302 Found\nLocation: https://tracker.example/\n";
    assert!(answer.starts_with(begin), "{answer}");
    assert!(answer.contains("Content-Length: 0\n") && answer.ends_with("\n\n"), "{answer}");
}

#[test]
fn the_index_names_the_program() {
    let answer = shown(|out| index(KEEPING, &mut out[..LINE_BYTES_MAX]));
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
    assert!(
        answer.ends_with(concat!(
            "\n\nannounced ",
            env!("CARGO_PKG_VERSION"),
            ", a BitTorrent tracker\\n"
        )),
        "{answer}"
    );
}

#[test]
fn search_engines_are_asked_to_stay_away_and_options_names_the_methods() {
    let answer = shown(|out| robots(KEEPING, &mut out[..LINE_BYTES_MAX]));
    let head = "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 26\n\n";
    assert_eq!(answer, format!("{head}User-agent: *\\nDisallow: /\\n"));
    let answer = shown(|out| options(CLOSING, &mut out[..LINE_BYTES_MAX]));
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\nAllow: GET, HEAD, OPTIONS\nContent-Type: text/plain\nContent-Length: \
         0\nConnection: close\n\n"
    );
}

#[test]
fn every_line_of_text_fits_its_bound_with_the_longest_head() {
    let framing = Framing { http10: true, proxied: true, any_origin: true, ..KEEPING };
    let mut out = [0; LINE_BYTES_MAX];
    assert!(index(framing, &mut out).is_ok(), "the index");
    assert!(robots(framing, &mut out).is_ok(), "robots.txt");
    assert!(options(framing, &mut out).is_ok(), "OPTIONS");
    assert!(fault(HttpFault::MethodNotAllowed, framing, &mut out).is_ok(), "405");
    assert!(fault(HttpFault::HeadersTooLarge, framing, &mut out).is_ok(), "431");
}

#[test]
fn the_head_of_a_full_scrape_takes_any_length() {
    let head = |length, gzip| {
        let mut out = [0; HEAD_BYTES_MAX];
        let framing = Framing { http10: true, proxied: gzip, ..KEEPING };
        let written = full_scrape_head(framing, length, gzip, &mut out).unwrap();
        (String::from_utf8(out[..written].to_vec()).unwrap().replace("\r\n", "\n"), written)
    };
    let start = "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: ";
    let (vary, any_origin) = ("Vary: Accept-Encoding\n", "Access-Control-Allow-Origin: *\n");
    assert_eq!(
        head(90_000_000, false).0,
        format!("{start}90000000\n{vary}{any_origin}Connection: keep-alive\n\n")
    );
    let (largest, written) = head(u64::MAX, true);
    assert_eq!(
        largest,
        format!(
            "{start}{}\nContent-Encoding: gzip\n{vary}Cache-Control: no-store\n{any_origin}\
             Connection: keep-alive\n\n",
            u64::MAX
        )
    );
    assert_eq!(written, HEAD_BYTES_MAX);
    assert_eq!(full_scrape_head(KEEPING, 1, true, &mut [0; 20]), Err(Full));
}

#[test]
fn the_largest_answers_fit_their_bounds_closely() {
    let framing = Framing { http10: true, proxied: true, any_origin: true, ..KEEPING };
    let mut out = vec![0; 2 * REPLY_BYTES_MAX];

    let wire: Vec<u8> = vec![0xff; PEERS_PER_REPLY_MAX * 18];
    let ids = [PeerId([0xff; 20]); PEERS_PER_REPLY_MAX];
    let reply = AnnounceReply {
        complete: u32::MAX,
        downloaded: u32::MAX,
        incomplete: u32::MAX,
        interval_s: u32::MAX,
        min_interval_s: u32::MAX,
        external_ip: Some("2001:db8::1".parse().unwrap()),
        peers: Peers::Dictionary { family: Family::V6, wire: &wire, ids: Some(&ids) },
        crypto_flags: Some(&[1; PEERS_PER_REPLY_MAX]),
    };
    let largest_announce = announce(&reply, framing, &mut out).unwrap();

    let name = [b'n'; TEXT_BYTES_MAX + 1];
    let entry = |byte| ScrapeEntry {
        hash: InfoHash([byte; 20]),
        complete: u32::MAX,
        downloaded: u32::MAX,
        incomplete: u32::MAX,
        name: Some(&name),
    };
    let largest_scrape = scrape((0..100).map(entry), u32::MAX, framing, &mut out).unwrap();
    let less_one = scrape((0..99).map(entry), u32::MAX, framing, &mut out).unwrap();
    let largest_failure =
        failure(&refusal(Failure::Unavailable, Some(&name)), framing, &mut out).unwrap();

    // What a bound has to spare: the digits and the encoding of a full scrape's head, and the
    // failure text of an empty scrape.
    for (bytes, bound) in [
        (largest_announce, ANNOUNCE_BYTES_MAX),
        (largest_scrape, SCRAPE_BYTES_MAX),
        (largest_failure, FAILURE_BYTES_MAX),
    ] {
        assert!(bytes <= bound && bound - bytes < 128, "{bytes} of {bound}");
    }
    assert_eq!(largest_scrape - less_one, SCRAPE_ENTRY_BYTES_MAX);
}
