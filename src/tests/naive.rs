//! The slow and obvious way to read an announce and a scrape, for the fast one to be judged
//! against.

use std::collections::BTreeSet;

use crate::ids::{Crypto, Event, InfoHash, PeerId};
use crate::wire::announce::Announce;
use crate::wire::failure::{Failure, Field};

/// Rule by rule, over owned bytes.
pub fn naive_announce(query: &[u8]) -> Result<Announce, Failure> {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> =
        query.split(|byte| *byte == b'&').map(naive_pair).collect();
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
    let port = decoded(port_key).and_then(naive_decimal).filter(|port| (1..=65535).contains(port));
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
/// anything.
pub fn naive_hashes(query: &[u8]) -> Result<Option<Vec<InfoHash>>, Failure> {
    let mut hashes = BTreeSet::new();
    let pairs = query.split(|byte| *byte == b'&').map(naive_pair);
    for (_, value) in pairs.filter(|(key, _)| key == b"info_hash") {
        if hashes.len() == 100 {
            break;
        }
        let hash = naive_decode(&value).and_then(|value| <[u8; 20]>::try_from(value).ok());
        hashes.insert(InfoHash(hash.ok_or(Failure::InfoHashLength)?));
    }
    Ok((!hashes.is_empty()).then(|| hashes.into_iter().collect()))
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

/// A query that lacks nothing.
#[cfg(test)]
pub(super) const WHOLE: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&\
                                port=6881&uploaded=0&downloaded=0&left=0";
