//! The slow and obvious way to read an announce and a scrape, for the fast one to be judged
//! against.

use std::collections::BTreeSet;

use crate::ids::{Crypto, Event, InfoHash, PeerId};
use crate::wire::announce::Announce;
use crate::wire::failure::{Failure, Field};

type Pair = (Vec<u8>, Vec<u8>);

/// Rule by rule, over owned bytes.
pub fn naive_announce(query: &[u8]) -> Result<Announce, Failure> {
    let pairs = naive_pairs(query);
    let sent = |key: &str| {
        pairs.iter().find(|(sent, _)| sent == key.as_bytes()).map(|(_, value)| value.clone())
    };
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
    let port = match decoded(port_key).and_then(naive_decimal) {
        Some(0) => return Err(Failure::PortZero),
        port => port.filter(|port| *port <= 65535),
    };
    let is =
        |key: &str, value: &str| decoded(key).is_some_and(|decoded| decoded == value.as_bytes());
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
        numwant: decoded("numwant")
            .and_then(naive_decimal)
            .map(|wanted| u32::try_from(wanted).unwrap_or(u32::MAX)),
        compact: !is("compact", "0"),
        no_peer_id: is("no_peer_id", "1"),
        ip: decoded("ip")
            .and_then(|value| String::from_utf8(value).ok())
            .and_then(|text| text.parse().ok()),
        crypto: if is("requirecrypto", "1") {
            Crypto::Required
        } else if is("supportcrypto", "1") {
            Crypto::Supported
        } else {
            Crypto::None
        },
    })
}

/// The first hundred different hashes, in ascending order; what follows the hundredth may be
/// anything. None is a scrape of everything, unless something looks as if a hash was meant.
pub fn naive_hashes(query: &[u8]) -> Result<Option<Vec<InfoHash>>, Failure> {
    let mut hashes = BTreeSet::new();
    let pairs = naive_pairs(query);
    for (_, value) in pairs.iter().filter(|(key, _)| key == b"info_hash") {
        if hashes.len() == 100 {
            break;
        }
        let decode = |value: &[u8]| naive_decode(value)?.try_into().ok();
        let before_fragment = value.split(|byte| *byte == b'#').next().unwrap();
        let hash: Option<[u8; 20]> = decode(value).or_else(|| decode(before_fragment));
        hashes.insert(InfoHash(hash.ok_or(Failure::InfoHashLength)?));
    }
    let looks_like_one = |(key, value): &Pair| {
        let named = String::from_utf8_lossy(key).to_ascii_lowercase().contains("hash");
        let decoded = naive_decode(value).is_some_and(|decoded| decoded.len() == 20);
        named || decoded && value.contains(&b'%')
    };
    match hashes.is_empty() {
        true if pairs.iter().any(looks_like_one) => Err(Failure::MissingField(Field::InfoHash)),
        true => Ok(None),
        false => Ok(Some(hashes.into_iter().collect())),
    }
}

/// What a target leads to, by name, and its query.
pub fn naive_route(target: &[u8]) -> (&'static str, Vec<u8>) {
    let mut target = target.to_vec();
    if !target.starts_with(b"/") && !target.starts_with(b"?") {
        let text: Vec<u8> = target.to_ascii_lowercase();
        let Some(scheme) =
            ["http://", "https://"].into_iter().find(|s| text.starts_with(s.as_bytes()))
        else {
            return ("not found", vec![]);
        };
        target.drain(..scheme.len());
        while !target.is_empty() && !target.starts_with(b"/") && !target.starts_with(b"?") {
            target.remove(0);
        }
    }
    let question_mark = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let mut query = target.split_off(question_mark);
    while query.starts_with(b"?") {
        query.remove(0);
    }
    let uncut = query.clone();
    let last_pair = query.iter().rposition(|byte| *byte == b'&').map_or(0, |at| at + 1);
    if let Some(at) = query[last_pair..].iter().position(|byte| *byte == b'#') {
        query.truncate(last_pair + at);
    }
    let segments: Vec<&[u8]> = target.split(|byte| *byte == b'/').collect();
    let begins = |segment: &&&[u8], word: &str| segment.starts_with(word.as_bytes());
    let decisive = segments
        .iter()
        .rev()
        .find(|segment| begins(segment, "announce") || begins(segment, "scrape"));
    if let Some(segment) = decisive {
        return match segment.starts_with(b"a") {
            true => ("announce", query),
            false => ("scrape", uncut),
        };
    }
    let last = target.iter().rposition(|byte| *byte == b'&').map_or(0, |at| at + 1);
    if let Some(at) = target[last..].iter().position(|byte| *byte == b'#') {
        target.truncate(last + at);
    }
    let is_root = target.is_empty() || target == b"/";
    let has_hash = naive_pairs(&query).iter().any(|(key, _)| key == b"info_hash");
    match (is_root, query.is_empty(), has_hash) {
        (true, true, _) => ("index", vec![]),
        (true, false, true) => ("announce", query),
        _ if target == b"/robots.txt" => ("robots", vec![]),
        _ if target == b"/favicon.ico" => ("icon", vec![]),
        _ => ("not found", vec![]),
    }
}

/// Split on `&`, and without an info hash on `?` as well.
fn naive_pairs(query: &[u8]) -> Vec<Pair> {
    let pairs: Vec<Pair> = query.split(|byte| *byte == b'&').map(naive_pair).collect();
    if pairs.iter().any(|(key, _)| key == b"info_hash") {
        return pairs;
    }
    query.split(|byte| *byte == b'&' || *byte == b'?').map(naive_pair).collect()
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
            let escape = value
                .get(at + 1..at + 3)
                .filter(|escape| escape.iter().all(u8::is_ascii_hexdigit))?;
            decoded.push(u8::from_str_radix(str::from_utf8(escape).unwrap(), 16).unwrap());
            at += 3;
        } else {
            decoded.push(if value[at] == b'+' { b' ' } else { value[at] });
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

/// A query that lacks nothing.
#[cfg(test)]
pub(super) const WHOLE: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&\
                                port=6881&uploaded=0&downloaded=0&left=0";
