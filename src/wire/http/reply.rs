//! The bencoded answers: announce (BEP 3, 7, 23, 24), scrape (BEP 48) and failure (BEP 31), each
//! with its HTTP head.
//!
//! Owns: their keys and the order of their keys, and how large each can get.
//!
//! Never: chooses a peer, counts, or asks whether something may be told: what is handed in is sent.
//!
//! Limits: [`PEERS_PER_REPLY_MAX`], [`HASHES_PER_SCRAPE_MAX`] and [`TEXT_BYTES_MAX`] make
//! [`REPLY_BYTES_MAX`]; a buffer of so many bytes takes every answer, a smaller one gets [`Full`].
//!
//! Keys are written as they go out (`8:interval`): their lengths are known when this is compiled.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayString;

use crate::bounds::{PEERS_PER_REPLY_MAX, TEXT_BYTES_MAX};
use crate::ids::{Family, PEER_V4_BYTES, PEER_V6_BYTES, PeerAddr, PeerId};
use crate::wire::bencode::{Full, Writer, four_digits};
use crate::wire::failure::{self, Failure};
use crate::wire::http::response::{self, Framing, HEAD_BYTES_MAX, LINE_BYTES_MAX};
use crate::wire::scrape::{HASHES_PER_SCRAPE_MAX, ScrapeEntry};

const INT_BYTES_MAX: usize = "i4294967295e".len();
const IP_TEXT_BYTES_MAX: usize = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".len();
const IPV4_TEXT_BYTES_MAX: usize = "255.255.255.255.".len();
const PEER_DICT_BYTES_MAX: usize = "d2:ip39:".len()
    + IP_TEXT_BYTES_MAX
    + "7:peer id20:".len()
    + 20
    + "4:port".len()
    + "i65535e".len()
    + "e".len();
const PEERS_BYTES_MAX: usize =
    "5:peersl".len() + PEERS_PER_REPLY_MAX * PEER_DICT_BYTES_MAX + "e".len();

/// The largest answer to an announce: a dictionary of IPv6 peers with their ids.
pub const ANNOUNCE_BYTES_MAX: usize = HEAD_BYTES_MAX
    + "d8:complete12:crypto_flags500:10:downloaded11:external ip16:10:incomplete8:interval12:min \
       intervale"
        .len()
    + 5 * INT_BYTES_MAX
    + PEERS_PER_REPLY_MAX
    + 16
    + PEERS_BYTES_MAX;
/// The largest entry of a scrape, its hash included.
pub const SCRAPE_ENTRY_BYTES_MAX: usize = "20:".len()
    + 20
    + "d8:complete10:downloaded10:incomplete4:name765:e".len()
    + 3 * INT_BYTES_MAX
    + TEXT_BYTES_MAX;
/// What stands around the entries of a scrape, at most.
pub const SCRAPE_FRAME_BYTES_MAX: usize = "d14:failure reason".len()
    + "38:".len()
    + NOTHING_FOUND.len()
    + "5:filesdee5:flagsd20:min_request_intervalee".len()
    + INT_BYTES_MAX;
/// The largest answer to a scrape that names its torrents.
pub const SCRAPE_BYTES_MAX: usize =
    HEAD_BYTES_MAX + SCRAPE_FRAME_BYTES_MAX + HASHES_PER_SCRAPE_MAX * SCRAPE_ENTRY_BYTES_MAX;
/// The largest failure: a ban with its reason.
pub const FAILURE_BYTES_MAX: usize = HEAD_BYTES_MAX
    + "d14:failure reason831:: 8:interval12:min interval8:retry ine".len()
    + failure::TEXT_BYTES_MAX
    + TEXT_BYTES_MAX
    + 3 * INT_BYTES_MAX;
/// The largest answer of any kind but a full scrape. HTTP faults and the index are a line of text
/// each, smaller than any failure.
pub const REPLY_BYTES_MAX: usize =
    if ANNOUNCE_BYTES_MAX > SCRAPE_BYTES_MAX { ANNOUNCE_BYTES_MAX } else { SCRAPE_BYTES_MAX };

const _: () = assert!(REPLY_BYTES_MAX >= ANNOUNCE_BYTES_MAX);
const _: () = assert!(REPLY_BYTES_MAX >= SCRAPE_BYTES_MAX);
const _: () = assert!(REPLY_BYTES_MAX >= FAILURE_BYTES_MAX && FAILURE_BYTES_MAX >= LINE_BYTES_MAX);
const _: () = assert!(REPLY_BYTES_MAX <= 96 * 1024, "a worker's output buffer grows with this");
const _: () = assert!(
    "5:peers0:6:peers69000:".len() + PEERS_PER_REPLY_MAX * PEER_V6_BYTES <= PEERS_BYTES_MAX,
    "compact is smaller"
);

const NOTHING_FOUND: &str = "none of these torrents is tracked here";

/// The answer to an announce.
#[derive(Clone, Copy, Debug)]
pub struct AnnounceReply<'a> {
    /// Seeders, the announcer included.
    pub complete: u32,
    /// Completed downloads, ever.
    pub downloaded: u32,
    /// Leechers, the announcer included.
    pub incomplete: u32,
    /// When to announce next, in seconds.
    pub interval_s: u32,
    /// How soon to announce again at the earliest, in seconds.
    pub min_interval_s: u32,
    /// The announcer's address (BEP 24); none leaves the key out.
    pub external_ip: Option<IpAddr>,
    /// The peers, at most [`PEERS_PER_REPLY_MAX`].
    pub peers: Peers<'a>,
    /// One byte for each peer in their order, 1 when it requires encryption; none leaves the key
    /// out.
    pub crypto_flags: Option<&'a [u8]>,
}

/// The peers of an answer, in whole peers of [`Family::peer_bytes`] bytes each, and how they are to
/// be sent.
#[derive(Clone, Copy, Debug)]
pub enum Peers<'a> {
    /// As they are (BEP 23; BEP 7 for IPv6, whose answers carry an empty `peers` too: old clients
    /// fail without it).
    Compact {
        /// Of what family they all are.
        family: Family,
        /// The peers.
        wire: &'a [u8],
    },
    /// As a list of dictionaries (BEP 3).
    Dictionary {
        /// Of what family they all are.
        family: Family,
        /// The peers.
        wire: &'a [u8],
        /// Their ids in the same order; none leaves the key out.
        ids: Option<&'a [PeerId]>,
    },
}

/// A refusal.
#[derive(Clone, Copy, Debug)]
pub struct FailureReply<'a> {
    /// Why.
    pub failure: Failure,
    /// The operator's words on a ban, cut after [`TEXT_BYTES_MAX`] bytes.
    pub reason: Option<&'a [u8]>,
    /// When to come back after [`Failure::NotRegistered`], in seconds: a setting.
    pub unregistered_s: u32,
}

/// Writes the answer to an announce into `out`; returns its bytes, head included.
///
/// # Errors
/// [`Full`] when `out` is too small; [`ANNOUNCE_BYTES_MAX`] bytes are enough.
#[inline]
pub fn announce(
    reply: &AnnounceReply<'_>,
    framing: Framing,
    out: &mut [u8],
) -> Result<usize, Full> {
    response::ok(framing, out, |body| {
        body.raw(b"d8:complete");
        body.int(reply.complete);
        if let Some(flags) = reply.crypto_flags {
            body.raw(b"12:crypto_flags");
            body.bytes(flags);
        }
        body.raw(b"10:downloaded");
        body.int(reply.downloaded);
        match reply.external_ip {
            Some(IpAddr::V4(ip)) => {
                body.raw(b"11:external ip4:");
                body.raw(&ip.octets());
            }
            Some(IpAddr::V6(ip)) => {
                body.raw(b"11:external ip16:");
                body.raw(&ip.octets());
            }
            None => {}
        }
        body.raw(b"10:incomplete");
        body.int(reply.incomplete);
        body.raw(b"8:interval");
        body.int(reply.interval_s);
        body.raw(b"12:min interval");
        body.int(reply.min_interval_s);
        write_peers(body, &reply.peers);
        body.end();
    })
}

fn write_peers(body: &mut Writer<'_>, peers: &Peers<'_>) {
    match *peers {
        Peers::Compact { family: Family::V4, wire } => {
            body.raw(b"5:peers");
            body.bytes(wire);
        }
        Peers::Compact { family: Family::V6, wire } => {
            body.raw(b"5:peers0:6:peers6");
            body.bytes(wire);
        }
        Peers::Dictionary { family, wire, ids } => {
            body.raw(b"5:peers");
            body.begin_list();
            let mut ids = ids.unwrap_or_default().iter();
            match family {
                Family::V4 => wire.as_chunks::<PEER_V4_BYTES>().0.iter().for_each(|peer| {
                    write_peer(body, PeerAddr::V4(*peer), ids.next());
                }),
                Family::V6 => wire.as_chunks::<PEER_V6_BYTES>().0.iter().for_each(|peer| {
                    write_peer(body, PeerAddr::V6(*peer), ids.next());
                }),
            }
            body.end();
        }
    }
}

fn write_peer(body: &mut Writer<'_>, peer: PeerAddr, id: Option<&PeerId>) {
    body.raw(b"d2:ip");
    match peer.ip() {
        IpAddr::V4(ip) => write_ipv4(body, ip),
        IpAddr::V6(ip) => {
            let mut text: ArrayString<IP_TEXT_BYTES_MAX> = ArrayString::new();
            // The longest address fits, so this cannot fail.
            let _ = write!(text, "{ip}");
            body.bytes(text.as_bytes());
        }
    }
    if let Some(PeerId(id)) = id {
        body.raw(b"7:peer id20:");
        body.raw(id);
    }
    body.raw(b"4:port");
    body.int(u32::from(peer.port()));
    body.end();
}

/// By hand: `Display` takes many times as long, and there are up to 500 in an answer.
fn write_ipv4(body: &mut Writer<'_>, ip: Ipv4Addr) {
    let (mut text, mut bytes) = ([0; IPV4_TEXT_BYTES_MAX], 0);
    for octet in ip.octets() {
        if let Some((digits, count)) = four_digits(usize::from(octet)) {
            text[bytes..][..digits.len()].copy_from_slice(&digits);
            text[bytes + count] = b'.';
            bytes += count + 1;
        }
    }
    body.bytes(&text[..bytes - 1]);
}

/// Writes a failure into `out`; returns its bytes, head included.
///
/// # Errors
/// [`Full`] when `out` is too small; [`FAILURE_BYTES_MAX`] bytes are enough.
pub fn failure(reply: &FailureReply<'_>, framing: Framing, out: &mut [u8]) -> Result<usize, Full> {
    let FailureReply { failure, reason, unregistered_s } = *reply;
    let interval_s = failure.interval_s(unregistered_s);
    response::ok(framing, out, |body| {
        body.raw(b"d14:failure reason");
        match reason {
            Some(reason) => body.bytes_of(&[failure.text().as_bytes(), b": ", cut(reason)]),
            None => body.bytes(failure.text().as_bytes()),
        }
        body.raw(b"8:interval");
        body.int(interval_s);
        body.raw(b"12:min interval");
        body.int(interval_s);
        body.raw(b"8:retry in");
        match failure.retry_minutes(unregistered_s) {
            Some(minutes) => body.int(minutes),
            None => body.bytes(b"never"),
        }
        body.end();
    })
}

/// Writes the answer to a scrape that named its torrents into `out`, for any origin to read;
/// returns its bytes, head included. `entries` are those that may be told of, ascending by hash.
///
/// # Errors
/// [`Full`] when `out` is too small; [`SCRAPE_BYTES_MAX`] bytes are enough for
/// [`HASHES_PER_SCRAPE_MAX`] entries.
pub fn scrape<'a>(
    entries: impl IntoIterator<Item = ScrapeEntry<'a>>,
    min_request_interval_s: u32,
    framing: Framing,
    out: &mut [u8],
) -> Result<usize, Full> {
    response::ok(Framing { any_origin: true, ..framing }, out, |body| {
        let mut entries = entries.into_iter().peekable();
        begin_scrape(body, entries.peek().is_some());
        entries.for_each(|entry| write_scrape_entry(body, &entry));
        end_scrape(body, min_request_interval_s);
    })
}

/// Begins the body of a scrape. When nothing was `found`, a failure stands beside the empty
/// `files`, for clients that read one or the other. A full scrape is written piece by piece with
/// this, [`write_scrape_entry`] and [`end_scrape`].
pub fn begin_scrape(body: &mut Writer<'_>, found: bool) {
    body.begin_dict();
    if !found {
        body.raw(b"14:failure reason");
        body.bytes(NOTHING_FOUND.as_bytes());
    }
    body.raw(b"5:files");
    body.begin_dict();
}

/// Writes one torrent of a scrape: its hash must be above the one before. At most
/// [`SCRAPE_ENTRY_BYTES_MAX`] bytes.
pub fn write_scrape_entry(body: &mut Writer<'_>, entry: &ScrapeEntry<'_>) {
    body.raw(b"20:");
    body.raw(&entry.hash.0);
    body.raw(b"d8:complete");
    body.int(entry.complete);
    body.raw(b"10:downloaded");
    body.int(entry.downloaded);
    body.raw(b"10:incomplete");
    body.int(entry.incomplete);
    if let Some(name) = entry.name {
        body.raw(b"4:name");
        body.bytes(cut(name));
    }
    body.end();
}

/// Ends the body of a scrape: how soon to ask again, in seconds.
pub fn end_scrape(body: &mut Writer<'_>, min_request_interval_s: u32) {
    body.end();
    body.raw(b"5:flagsd20:min_request_interval");
    body.int(min_request_interval_s);
    body.raw(b"ee");
}

/// At a byte, not at a character: bencoding knows only bytes, and so long a text is a mistake
/// anyway.
fn cut(text: &[u8]) -> &[u8] {
    text.get(..TEXT_BYTES_MAX).unwrap_or(text)
}
