//! Answers of every kind: read from any bytes, written by `wire`, and said once more in the
//! plainest way, to be compared with.
//!
//! An input is read from its front and as if zeros followed it. Long texts and peer lists repeat a
//! short pattern, so that small inputs make large answers.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::{Result, Unstructured};
use serde_bencode::value::Value;

use crate::bounds::PEERS_PER_REPLY_MAX;
use crate::ids::{Family, InfoHash, PeerId};
use crate::wire::bencode::Full;
use crate::wire::failure::{Failure, Field};
use crate::wire::http::fault::HttpFault;
use crate::wire::http::reply::{self, AnnounceReply, FailureReply, Peers};
use crate::wire::http::response::{self, Framing};
use crate::wire::scrape::HASHES_PER_SCRAPE_MAX;
use crate::wire::scrape::ScrapeEntry;

/// Bytes of a text; some are longer than what is sent of it.
const TEXT_BYTES_MAX: usize = 1_000;

/// What the settings ask for after a #5; not a whole minute.
const UNREGISTERED_S: u32 = 61;

const FAILURES: [Failure; 17] = [
    Failure::MissingField(Field::InfoHash),
    Failure::MissingField(Field::PeerId),
    Failure::MissingField(Field::Port),
    Failure::MissingField(Field::Uploaded),
    Failure::MissingField(Field::Downloaded),
    Failure::MissingField(Field::Left),
    Failure::InfoHashLength,
    Failure::PeerIdLength,
    Failure::PortInvalid,
    Failure::NotRegistered,
    Failure::Banned,
    Failure::Unavailable,
    Failure::Busy,
    Failure::TooOften,
    Failure::FullScrapeTooSoon,
    Failure::FullScrapeOff,
    Failure::PortZero,
];

const FAULTS: [(HttpFault, u16); 7] = [
    (HttpFault::BadRequest, 400),
    (HttpFault::NotFound, 404),
    (HttpFault::MethodNotAllowed, 405),
    (HttpFault::Timeout, 408),
    (HttpFault::TargetTooLong, 414),
    (HttpFault::HeadersTooLarge, 431),
    (HttpFault::Overloaded, 503),
];

/// One answer, owning what `wire` borrows.
pub(super) enum Answer {
    Announce(Announced),
    Scrape { entries: BTreeMap<[u8; 20], Scraped>, interval_s: u32 },
    Failure(Failure, Option<Vec<u8>>),
    Fault(HttpFault, u16),
    Index,
    Robots,
    Options,
    FullScrapeHead { body_bytes: u64, gzip: bool },
}

/// What stands behind a head.
pub(super) enum Body {
    Bencoded(Value),
    Text(String),
    /// So many bytes, sent by somebody else.
    Elsewhere(u64),
}

pub(super) struct Announced {
    /// complete, downloaded, incomplete, interval, min interval.
    numbers: [u32; 5],
    external_ip: Option<IpAddr>,
    family: Family,
    compact: bool,
    wire: Vec<u8>,
    ids: Option<Vec<PeerId>>,
    crypto_flags: Option<Vec<u8>>,
}

pub(super) struct Scraped {
    /// complete, downloaded, incomplete.
    numbers: [u32; 3],
    name: Option<Vec<u8>>,
}

impl Answer {
    pub(super) fn read(input: &mut Unstructured<'_>) -> Result<Answer> {
        Ok(match input.int_in_range(0..=7_u8)? {
            0 => Answer::Announce(Announced::read(input)?),
            1 => {
                let count = input.int_in_range(0..=HASHES_PER_SCRAPE_MAX)?;
                let entries = (0..count).map(|_| Ok((input.arbitrary()?, Scraped::read(input)?)));
                Answer::Scrape {
                    entries: entries.collect::<Result<_>>()?,
                    interval_s: input.arbitrary()?,
                }
            }
            2 => Answer::Failure(*input.choose(&FAILURES)?, optional(input, text)?),
            3 => input.choose(&FAULTS).map(|(fault, status)| Answer::Fault(*fault, *status))?,
            4 => Answer::Index,
            5 => {
                Answer::FullScrapeHead { body_bytes: input.arbitrary()?, gzip: input.arbitrary()? }
            }
            6 => Answer::Robots,
            _ => Answer::Options,
        })
    }

    pub(super) fn write(
        &self,
        framing: Framing,
        out: &mut [u8],
    ) -> std::result::Result<usize, Full> {
        match self {
            Answer::Announce(announced) => announced.write(framing, out),
            Answer::Scrape { entries, interval_s } => {
                let entries = entries.iter().map(|(hash, scraped)| scraped.entry(*hash));
                reply::scrape(entries, *interval_s, framing, out)
            }
            Answer::Failure(failure, reason) => {
                let (failure, reason) = (*failure, reason.as_deref());
                let refusal = FailureReply { failure, reason, unregistered_s: UNREGISTERED_S };
                reply::failure(&refusal, framing, out)
            }
            Answer::Fault(fault, _) => response::fault(*fault, framing, out),
            Answer::Index => response::index(framing, out),
            Answer::Robots => response::robots(framing, out),
            Answer::Options => response::options(framing, out),
            Answer::FullScrapeHead { body_bytes, gzip } => {
                response::full_scrape_head(framing, *body_bytes, *gzip, out)
            }
        }
    }

    pub(super) fn status(&self) -> u16 {
        if let Answer::Fault(_, status) = self { *status } else { 200 }
    }

    /// The headers that not every answer has.
    pub(super) fn has_header(&self, name: &str) -> bool {
        match self {
            Answer::Fault(HttpFault::MethodNotAllowed, _) | Answer::Options => name == "Allow",
            Answer::Scrape { .. } => name == "Access-Control-Allow-Origin",
            Answer::FullScrapeHead { gzip, .. } => match name {
                "Content-Encoding" => *gzip,
                _ => matches!(name, "Access-Control-Allow-Origin" | "Vary"),
            },
            _ => false,
        }
    }

    pub(super) fn body(&self) -> Body {
        match self {
            Answer::Announce(announced) => Body::Bencoded(announced.said()),
            Answer::Scrape { entries, interval_s } => {
                Body::Bencoded(scrape_said(entries, *interval_s))
            }
            Answer::Failure(failure, reason) => {
                Body::Bencoded(failure_said(*failure, reason.as_deref()))
            }
            Answer::Fault(fault, _) => Body::Text(fault.texts().1.to_owned()),
            Answer::Index => Body::Text(format!(
                "announced {}, a BitTorrent tracker\n",
                env!("CARGO_PKG_VERSION")
            )),
            Answer::Robots => Body::Text("User-agent: *\nDisallow: /\n".to_owned()),
            Answer::Options => Body::Text(String::new()),
            Answer::FullScrapeHead { body_bytes, .. } => Body::Elsewhere(*body_bytes),
        }
    }
}

impl Announced {
    fn read(input: &mut Unstructured<'_>) -> Result<Announced> {
        let numbers = input.arbitrary()?;
        let external_ip = optional(input, |input| input.arbitrary())?;
        let family = if input.arbitrary()? { Family::V6 } else { Family::V4 };
        let compact = input.arbitrary()?;
        let peers = input.int_in_range(0..=PEERS_PER_REPLY_MAX)?;
        let wire = repeated(input, peers * family.peer_bytes())?;
        let ids = optional(input, |input| repeated(input, peers * 20))?;
        let ids = ids.map(|ids| ids.as_chunks().0.iter().map(|id| PeerId(*id)).collect());
        let crypto_flags = optional(input, |input| repeated(input, peers))?;
        Ok(Announced { numbers, external_ip, family, compact, wire, ids, crypto_flags })
    }

    fn write(&self, framing: Framing, out: &mut [u8]) -> std::result::Result<usize, Full> {
        let [complete, downloaded, incomplete, interval_s, min_interval_s] = self.numbers;
        let (family, wire) = (self.family, &self.wire[..]);
        let peers = match self.compact {
            true => Peers::Compact { family, wire },
            false => Peers::Dictionary { family, wire, ids: self.ids.as_deref() },
        };
        let crypto_flags = self.crypto_flags.as_deref();
        let external_ip = self.external_ip;
        let reply = AnnounceReply {
            complete,
            downloaded,
            incomplete,
            interval_s,
            min_interval_s,
            external_ip,
            peers,
            crypto_flags,
        };
        reply::announce(&reply, framing, out)
    }

    fn said(&self) -> Value {
        let keys = ["complete", "downloaded", "incomplete", "interval", "min interval"];
        let mut said: Vec<(&str, Value)> = keys.into_iter().zip(self.numbers.map(int)).collect();
        said.extend(self.external_ip.map(|ip| match ip {
            IpAddr::V4(ip) => ("external ip", bytes(ip.octets())),
            IpAddr::V6(ip) => ("external ip", bytes(ip.octets())),
        }));
        said.extend(self.crypto_flags.as_ref().map(|flags| ("crypto_flags", bytes(flags.clone()))));
        match (self.compact, self.family) {
            (true, Family::V4) => said.push(("peers", bytes(self.wire.clone()))),
            (true, Family::V6) => {
                said.extend([("peers", bytes("")), ("peers6", bytes(self.wire.clone()))]);
            }
            (false, _) => said.push(("peers", Value::List(self.peers_said()))),
        }
        dict(said)
    }

    fn peers_said(&self) -> Vec<Value> {
        let peers = self.wire.chunks(self.family.peer_bytes()).enumerate();
        let peer = |(at, wire): (usize, &[u8])| {
            let (ip, port) = wire.split_at(wire.len() - 2);
            let ip = match self.family {
                Family::V4 => Ipv4Addr::from(<[u8; 4]>::try_from(ip).unwrap()).to_string(),
                Family::V6 => Ipv6Addr::from(<[u8; 16]>::try_from(ip).unwrap()).to_string(),
            };
            let id = self.ids.as_ref().map(|ids| ("peer id", bytes(ids[at].0)));
            let port = u32::from(port[0]) * 256 + u32::from(port[1]);
            dict([("ip", bytes(ip)), ("port", int(port))].into_iter().chain(id))
        };
        peers.map(peer).collect()
    }
}

impl Scraped {
    fn read(input: &mut Unstructured<'_>) -> Result<Scraped> {
        Ok(Scraped { numbers: input.arbitrary()?, name: optional(input, text)? })
    }

    fn entry(&self, hash: [u8; 20]) -> ScrapeEntry<'_> {
        let [complete, downloaded, incomplete] = self.numbers;
        ScrapeEntry {
            hash: InfoHash(hash),
            complete,
            downloaded,
            incomplete,
            name: self.name.as_deref(),
        }
    }

    fn said(&self) -> Value {
        let numbers =
            ["complete", "downloaded", "incomplete"].into_iter().zip(self.numbers.map(int));
        dict(numbers.chain(self.name.as_ref().map(|name| ("name", bytes(shortened(name))))))
    }
}

fn scrape_said(entries: &BTreeMap<[u8; 20], Scraped>, interval_s: u32) -> Value {
    let files = entries.iter().map(|(hash, scraped)| (hash.to_vec(), scraped.said())).collect();
    let flags = dict([("min_request_interval", int(interval_s))]);
    let nothing = entries
        .is_empty()
        .then(|| ("failure reason", bytes("none of these torrents is tracked here")));
    dict([("files", Value::Dict(files)), ("flags", flags)].into_iter().chain(nothing))
}

fn failure_said(failure: Failure, reason: Option<&[u8]>) -> Value {
    let reason = reason.map(|reason| [b": ", shortened(reason)].concat()).unwrap_or_default();
    let (retry, interval_s) = match failure {
        Failure::NotRegistered => (int(2), UNREGISTERED_S),
        Failure::Banned | Failure::FullScrapeOff => (int(30), 1_800),
        Failure::PortZero
        | Failure::Unavailable
        | Failure::Busy
        | Failure::TooOften
        | Failure::FullScrapeTooSoon => (int(5), 300),
        _ => (bytes("never"), 1_800),
    };
    dict([
        ("failure reason", bytes([failure.text().as_bytes(), &reason].concat())),
        ("interval", int(interval_s)),
        ("min interval", int(interval_s)),
        ("retry in", retry),
    ])
}

/// A name or a reason, of which 765 bytes are sent.
fn shortened(text: &[u8]) -> &[u8] {
    &text[..text.len().min(765)]
}

fn text(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let text_bytes = input.int_in_range(0..=TEXT_BYTES_MAX)?;
    repeated(input, text_bytes)
}

/// A pattern, behind its length, over and over until there are `count` bytes.
fn repeated(input: &mut Unstructured<'_>, count: usize) -> Result<Vec<u8>> {
    let pattern_bytes = usize::from(input.arbitrary::<u8>()?).min(input.len());
    let pattern = input.bytes(pattern_bytes)?;
    Ok(pattern.iter().copied().cycle().chain(std::iter::repeat(0)).take(count).collect())
}

fn optional<'i, T>(
    input: &mut Unstructured<'i>,
    read: impl FnOnce(&mut Unstructured<'i>) -> Result<T>,
) -> Result<Option<T>> {
    if input.arbitrary()? { read(input).map(Some) } else { Ok(None) }
}

fn int(value: u32) -> Value {
    Value::Int(i64::from(value))
}

fn bytes(value: impl Into<Vec<u8>>) -> Value {
    Value::Bytes(value.into())
}

fn dict<'k>(entries: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    Value::Dict(
        entries
            .into_iter()
            .map(|(key, value)| (key.as_bytes().to_vec(), value))
            .collect::<HashMap<_, _>>(),
    )
}
