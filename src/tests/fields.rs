//! Every trap in the fields of an announce, by name.

use super::naive::{WHOLE, naive_announce};
use crate::ids::{Crypto, Event, InfoHash, PeerId};
use crate::wire::announce::Announce;
use crate::wire::failure::{Failure, Field};

/// A query that lacks nothing, behind `pair`: of two the first counts. The naive reading must
/// agree.
fn read(pair: &str) -> Result<Announce, Failure> {
    let query = format!("{pair}&{WHOLE}");
    let announce = Announce::parse(query.as_bytes());
    assert_eq!(announce, naive_announce(query.as_bytes()), "{pair}");
    announce
}

#[test]
fn the_first_missing_field_is_named_before_anything_else_is_wrong() {
    let fields = [
        Field::InfoHash,
        Field::PeerId,
        Field::Port,
        Field::Uploaded,
        Field::Downloaded,
        Field::Left,
    ];
    let pairs: Vec<&str> = WHOLE.split('&').collect();
    for (missing, field) in fields.into_iter().enumerate() {
        let rest: Vec<&str> = pairs
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != missing)
            .map(|(_, pair)| *pair)
            .collect();
        let announce = Announce::parse(rest.join("&").as_bytes());
        assert_eq!(announce, Err(Failure::MissingField(field)));
    }
    let empty = Announce::parse(b"");
    assert_eq!(empty, Err(Failure::MissingField(Field::InfoHash)));
    let wrong = Announce::parse(b"info_hash=x&peer_id=x&port=0&uploaded=x&downloaded=x");
    assert_eq!(wrong, Err(Failure::MissingField(Field::Left)));
    let cryptoport_is_no_port = Announce::parse(WHOLE.replace("port", "cryptoport").as_bytes());
    assert_eq!(cryptoport_is_no_port, Err(Failure::MissingField(Field::Port)));
}

#[test]
fn failures_come_in_the_order_of_their_numbers() {
    assert_eq!(read("port=0&peer_id=x&info_hash=x"), Err(Failure::InfoHashLength));
    assert_eq!(read("port=0&peer_id=x"), Err(Failure::PeerIdLength));
    assert_eq!(read("port=0"), Err(Failure::PortZero));
}

#[test]
fn a_query_without_an_info_hash_is_read_again_with_question_marks() {
    let announce = |query: &str| {
        let announce = Announce::parse(query.as_bytes());
        assert_eq!(announce, naive_announce(query.as_bytes()), "{query}");
        announce
    };
    let whole = announce(WHOLE);
    assert!(whole.is_ok(), "{whole:?}");
    for query in [
        format!("passkey=K?{WHOLE}"),
        format!("K?{WHOLE}&event=paused"),
        format!("a=1&passkey=K??{WHOLE}?b=2"),
        WHOLE.replace("info_hash=", "passkey=K?info_hash=").replace("&port", "?port"),
    ] {
        assert_eq!(announce(&query), whole, "{query}");
    }
    let first = format!("port=1&passkey=K?{WHOLE}");
    assert_eq!(announce(&first).map(|announce| announce.port), Ok(1), "of two the first counts");
    let with_mark = WHOLE.replace("aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaa?");
    assert_eq!(
        announce(&with_mark).map(|announce| announce.info_hash),
        Ok(InfoHash(*b"aaaaaaaaaaaaaaaaaaa?")),
        "a question mark is a byte like others when the info hash is where it should be"
    );
    assert_eq!(announce("passkey=K?infohash=x"), Err(Failure::MissingField(Field::InfoHash)));
    assert_eq!(
        announce(&format!("info_hash&passkey=K?{WHOLE}")),
        Err(Failure::InfoHashLength),
        "an empty one is there"
    );
}

#[test]
fn a_plus_is_a_space() {
    let hash = |value: &str| {
        let announce = read(&format!("info_hash={value}"));
        announce.map(|announce| announce.info_hash)
    };
    assert_eq!(hash("+aaaaaaaaaaaaaaaaaa+"), Ok(InfoHash(*b" aaaaaaaaaaaaaaaaaa ")));
    assert_eq!(hash("+%2B%2baaaaaaaaaaaaaaaa%20"), Ok(InfoHash(*b" ++aaaaaaaaaaaaaaaa ")));
    assert_eq!(hash("%61+aaaaaaaaaaaaaaaaaa"), Ok(InfoHash(*b"a aaaaaaaaaaaaaaaaaa")));
    assert_eq!(
        read("peer_id=-XX+001-abcdefghijkl").map(|announce| announce.peer_id),
        Ok(PeerId(*b"-XX 001-abcdefghijkl"))
    );
}

#[test]
fn a_port_is_1_to_65535_and_cryptoport_stands_in_for_it() {
    for (pair, expected) in [
        ("port=1", Ok(1)),
        ("port=65535", Ok(65535)),
        ("port=%36881", Ok(6881)),
        ("port=0&cryptoport=6882", Ok(6882)),
        ("port=x&cryptoport=6882", Ok(6882)),
        ("cryptoport=6882", Ok(6882)),
        ("port=0", Err(Failure::PortZero)),
        ("port=000", Err(Failure::PortZero)),
        ("port=%30", Err(Failure::PortZero)),
        ("cryptoport=0", Err(Failure::PortZero)),
        ("port=65536", Err(Failure::PortInvalid)),
        ("port=72417", Err(Failure::PortInvalid)),
        ("port=4294974177", Err(Failure::PortInvalid)),
        ("port=-1", Err(Failure::PortInvalid)),
        ("port=", Err(Failure::PortInvalid)),
        ("port", Err(Failure::PortInvalid)),
        ("port=68%", Err(Failure::PortInvalid)),
    ] {
        assert_eq!(read(pair).map(|announce| announce.port), expected, "{pair}");
    }
}

#[test]
fn only_an_exact_zero_makes_a_seeder() {
    for seeder in ["left=0", "left=%30", "left=0&left=1"] {
        assert!(read(seeder).unwrap().seeder, "{seeder}");
    }
    for leecher in [
        "left=1",
        "left=16384",
        "left=4294967296",
        "left=9223372036854775807",
        "left=18446744073709551615",
        "left=18446744073709551616",
        "left=-1",
        "left=",
        "left",
        "left=00",
        "left=0x0",
        "left=0%",
        "left= 0",
        "left=NaN",
    ] {
        assert!(!read(leecher).unwrap().seeder, "{leecher}");
    }
}

#[test]
fn events_are_read_in_any_case_and_never_refused() {
    for (pair, expected) in [
        ("event=started", Event::Started),
        ("event=STARTED", Event::Started),
        ("event=%73tarted", Event::Started),
        ("event=Completed", Event::Completed),
        ("event=stopped", Event::Stopped),
        ("event=sTOPPED", Event::Stopped),
        ("event=%73topped", Event::Stopped),
        ("event=stopped&event=started", Event::Stopped),
        ("event=", Event::Update),
        ("event", Event::Update),
        ("event=empty", Event::Update),
        ("event=none", Event::Update),
        ("event=paused", Event::Update),
        ("event=stoppe", Event::Update),
        ("event=stoppedstopped", Event::Update),
        ("event=stopped%", Event::Update),
        ("event=\u{17f}topped", Event::Update),
    ] {
        assert_eq!(read(pair).unwrap().event, expected, "{pair}");
    }
}

#[test]
fn numwant_is_a_wish_that_cannot_go_wrong() {
    for (pair, expected) in [
        ("", None),
        ("numwant=0", Some(0)),
        ("numwant=80", Some(80)),
        ("numwant=4294967296", Some(u32::MAX)),
        ("numwant=99999999999999999999999", Some(u32::MAX)),
        ("numwant=-1", None),
        ("numwant=", None),
        ("numwant=many", None),
        ("numwant=5%", None),
    ] {
        assert_eq!(read(pair).unwrap().numwant, expected, "{pair}");
    }
}

#[test]
fn answers_are_compact_unless_exactly_zero_says_otherwise() {
    for (pair, compact, no_peer_id) in [
        ("", true, false),
        ("compact=1", true, false),
        ("compact=0", false, false),
        ("compact=%30", false, false),
        ("compact=00", true, false),
        ("compact=", true, false),
        ("compact=false", true, false),
        ("no_peer_id=1", true, true),
        ("no_peer_id=0", true, false),
        ("no_peer_id=true", true, false),
        ("compact=0&no_peer_id=1&compact=1", false, true),
    ] {
        let announce = read(pair).unwrap();
        assert_eq!(announce.compact, compact, "compact, {pair}");
        assert_eq!(announce.no_peer_id, no_peer_id, "no_peer_id, {pair}");
    }
}

#[test]
fn a_claimed_address_is_kept_as_written_or_not_at_all() {
    for (pair, expected) in [
        ("ip=192.0.2.1", Some("192.0.2.1")),
        ("ip=2001:db8::1", Some("2001:db8::1")),
        ("ip=2001%3Adb8%3a%3a1", Some("2001:db8::1")),
        ("ip=::ffff:192.0.2.1", Some("::ffff:192.0.2.1")),
        ("ip=0000:0000:0000:0000:0000:ffff:192.168.100.200", Some("::ffff:192.168.100.200")),
        ("ip=192.0.2.1&ip=192.0.2.2", Some("192.0.2.1")),
        ("ip=None", None),
        ("ip=", None),
        ("ip=192.0.2.01", None),
        ("ip=192.0.2.1:80", None),
        ("ip=tracker.example", None),
        ("ip=fe80::1%25eth0", None),
        ("ipv4=192.0.2.1&ipv6=2001:db8::1", None),
    ] {
        assert_eq!(read(pair).unwrap().ip, expected.map(|text| text.parse().unwrap()), "{pair}");
    }
}

#[test]
fn required_encryption_outweighs_supported() {
    for (pair, expected) in [
        ("", Crypto::None),
        ("supportcrypto=1", Crypto::Supported),
        ("requirecrypto=1", Crypto::Required),
        ("supportcrypto=1&requirecrypto=1", Crypto::Required),
        ("supportcrypto=1&requirecrypto=0", Crypto::Supported),
        ("supportcrypto=0", Crypto::None),
        ("supportcrypto=2", Crypto::None),
        ("supportcrypto", Crypto::None),
    ] {
        assert_eq!(read(pair).unwrap().crypto, expected, "{pair}");
    }
}
