//! The slow and obvious way to read an announce, for the fast one to be judged against.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::property;
use crate::ids::{Crypto, Event, InfoHash, PeerId};
use crate::wire::announce::{Announce, AnnounceQuery};
use crate::wire::failure::{Failure, Field};

/// Rule by rule, over owned bytes.
fn naive_announce(query: &[u8]) -> Result<Announce, Failure> {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = query.split(|byte| *byte == b'&').map(naive_pair).collect();
    let sent = |key: &str| pairs.iter().find(|(sent, _)| sent == key.as_bytes()).map(|(_, value)| value.clone());
    let decoded = |key: &str| sent(key).and_then(|value| naive_decode(&value));
    let required = [
        ("info_hash", Field::InfoHash),
        ("peer_id", Field::PeerId),
        ("port", Field::Port),
        ("uploaded", Field::Uploaded),
        ("downloaded", Field::Downloaded),
        ("left", Field::Left),
    ];
    if let Some((_, field)) = required.into_iter().find(|(key, _)| sent(key).is_none()) {
        return Err(Failure::MissingField(field));
    }
    let twenty = |key| decoded(key).and_then(|value| <[u8; 20]>::try_from(value).ok());
    let info_hash = InfoHash(twenty("info_hash").ok_or(Failure::InfoHashLength)?);
    let peer_id = PeerId(twenty("peer_id").ok_or(Failure::PeerIdLength)?);
    let port_key = if sent("cryptoport").is_some() { "cryptoport" } else { "port" };
    let port = decoded(port_key).and_then(naive_decimal).filter(|port| (1..=65535).contains(port));
    let is = |key: &str, value: &str| decoded(key).is_some_and(|decoded| decoded == value.as_bytes());
    let event = decoded("event").map(|value| String::from_utf8_lossy(&value).to_ascii_lowercase());
    Ok(Announce {
        info_hash,
        peer_id,
        port: u16::try_from(port.ok_or(Failure::PortInvalid)?).unwrap(),
        seeder: is("left", "0"),
        event: match event.as_deref() {
            Some("started") => Event::Started,
            Some("completed") => Event::Completed,
            Some("stopped") => Event::Stopped,
            _ => Event::Update,
        },
        numwant: decoded("numwant").and_then(naive_decimal).map(|wanted| u32::try_from(wanted).unwrap_or(u32::MAX)),
        compact: !is("compact", "0"),
        no_peer_id: is("no_peer_id", "1"),
        ip: decoded("ip").and_then(|value| String::from_utf8(value).ok()).and_then(|text| text.parse().ok()),
        crypto: if is("requirecrypto", "1") {
            Crypto::Required
        } else if is("supportcrypto", "1") {
            Crypto::Supported
        } else {
            Crypto::None
        },
    })
}

fn naive_pair(pair: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    (parts.next().unwrap().to_vec(), parts.next().unwrap_or_default().to_vec())
}

fn naive_decode(value: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < value.len() {
        if value[at] == b'%' {
            let escape = value.get(at + 1..at + 3).filter(|escape| escape.iter().all(u8::is_ascii_hexdigit))?;
            decoded.push(u8::from_str_radix(str::from_utf8(escape).unwrap(), 16).unwrap());
            at += 3;
        } else {
            decoded.push(value[at]);
            at += 1;
        }
    }
    Some(decoded)
}

/// Digits only; a number too large for 128 bits is as large as any other.
fn naive_decimal(text: Vec<u8>) -> Option<u128> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(String::from_utf8(text).unwrap().parse().unwrap_or(u128::MAX))
}

const KEYS: [&str; 20] = [
    "info_hash",
    "peer_id",
    "port",
    "uploaded",
    "downloaded",
    "left",
    "event",
    "numwant",
    "compact",
    "no_peer_id",
    "ip",
    "cryptoport",
    "supportcrypto",
    "requirecrypto",
    "key",
    "trackerid",
    "ipv6",
    "Port",
    "%70ort",
    "",
];

const VALUES: [&str; 40] = [
    "",
    "0",
    "1",
    "00",
    "01",
    "-1",
    "+1",
    "%30",
    "%31",
    "%3",
    "%",
    "%zz",
    "%%30",
    "6881",
    "%36881",
    "65535",
    "65536",
    "006881",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "99999999999999999999999999999999999999999999999999",
    "16384",
    "started",
    "%53TARTED",
    "Completed",
    "stopped",
    "stoppedx",
    "paused",
    "empty",
    "none",
    "192.0.2.1",
    "2001%3adb8::1",
    "::ffff:192.0.2.1",
    "None",
    "192.0.2.1.5",
    "fe80::1%251",
    "a=b",
    "?",
];

/// A value a client may send, or nearly: a number, a word, 20 bytes escaped in one way or another, or anything.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let byte = (any::<u8>(), 0..3_u8).prop_map(|(byte, form)| match form {
        0 if byte != b'%' && byte != b'&' => vec![byte],
        1 => format!("%{byte:02x}").into_bytes(),
        _ => format!("%{byte:02X}").into_bytes(),
    });
    prop_oneof![
        4 => select(&VALUES[..]).prop_map(|value| value.as_bytes().to_vec()),
        4 => vec(byte.clone(), 20).prop_map(|bytes| bytes.concat()),
        1 => vec(byte, 18..23).prop_map(|bytes| bytes.concat()),
        1 => vec(any::<u8>(), 0..30),
    ]
}

/// Every required field with a fair chance of being there and right, among others, in any order and repeated.
fn queries() -> impl Strategy<Value = Vec<u8>> {
    let right = select(
        &[
            "info_hash=%00aaaaaaaaaaaaaaaaaaa",
            "peer_id=bbbbbbbbbbbbbbbbbbbb",
            "port=6881",
            "uploaded=0",
            "downloaded=0",
            "left=0",
        ][..],
    );
    let right = right.prop_map(|pair| pair.as_bytes().to_vec());
    let key = select(&KEYS[..]);
    let pair = (key, any::<bool>(), values()).prop_map(|(key, bare, value)| {
        if bare && value.is_empty() { key.as_bytes().to_vec() } else { [key.as_bytes(), b"=", &value].concat() }
    });
    vec(prop_oneof![3 => right, 2 => pair], 0..30).prop_map(|pairs| pairs.join(&b'&'))
}

#[test]
fn plausible_queries_mean_what_the_naive_reading_says() {
    property(4096, queries(), |query| {
        prop_assert_eq!(AnnounceQuery::parse(&query).announce(), naive_announce(&query));
        Ok(())
    });
}

#[test]
fn arbitrary_bytes_mean_what_the_naive_reading_says() {
    property(2048, vec(any::<u8>(), 0..400), |query| {
        prop_assert_eq!(AnnounceQuery::parse(&query).announce(), naive_announce(&query));
        Ok(())
    });
}

const WHOLE: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=6881&uploaded=0&downloaded=0&left=0";

/// The whole query with `pair` in front, so that it is the one that counts, or behind it when its key is not in there.
fn read(pair: &str) -> Result<Announce, Failure> {
    let query = format!("{pair}&{WHOLE}");
    let announce = AnnounceQuery::parse(query.as_bytes()).announce();
    assert_eq!(announce, naive_announce(query.as_bytes()), "{pair}");
    announce
}

#[test]
fn the_first_missing_field_is_named_before_anything_else_is_wrong() {
    let fields = [Field::InfoHash, Field::PeerId, Field::Port, Field::Uploaded, Field::Downloaded, Field::Left];
    let pairs: Vec<&str> = WHOLE.split('&').collect();
    for (missing, field) in fields.into_iter().enumerate() {
        let rest: Vec<&str> = pairs.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, pair)| *pair).collect();
        let announce = AnnounceQuery::parse(rest.join("&").as_bytes()).announce();
        assert_eq!(announce, Err(Failure::MissingField(field)));
    }
    let empty = AnnounceQuery::parse(b"").announce();
    assert_eq!(empty, Err(Failure::MissingField(Field::InfoHash)));
    let wrong = AnnounceQuery::parse(b"info_hash=x&peer_id=x&port=0&uploaded=x&downloaded=x").announce();
    assert_eq!(wrong, Err(Failure::MissingField(Field::Left)));
    let cryptoport_is_no_port = AnnounceQuery::parse(WHOLE.replace("port", "cryptoport").as_bytes()).announce();
    assert_eq!(cryptoport_is_no_port, Err(Failure::MissingField(Field::Port)));
}

#[test]
fn failures_come_in_the_order_of_their_numbers() {
    assert_eq!(read("port=0&peer_id=x&info_hash=x"), Err(Failure::InfoHashLength));
    assert_eq!(read("port=0&peer_id=x"), Err(Failure::PeerIdLength));
    assert_eq!(read("port=0"), Err(Failure::PortInvalid));
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
        ("cryptoport=0", Err(Failure::PortInvalid)),
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
        assert_eq!((announce.compact, announce.no_peer_id), (compact, no_peer_id), "{pair}");
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
