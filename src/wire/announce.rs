//! An announce as it is asked: the query's fields, then the values they stand for (BEP 3, 7, 21,
//! 23).
//!
//! Owns: which fields count, which must be there, what each may hold and which failure is named
//! first.
//!
//! Never: decides. Whether `ip` is believed, how many peers `numwant` gets and whether port 1 is
//! stored is policy, above.
//!
//! Limits: none of its own; a query is as long as the request limit lets it be.
//!
//! Only what BEP 3 requires can be refused. Everything optional that cannot be read is taken as not
//! said: real clients send `numwant=-1`, `event=paused` (BEP 21), `ipv6=None` and `left=-1`.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::ids::{Crypto, Event, InfoHash, PeerId};
use crate::wire::failure::{Failure, Field};
use crate::wire::query::{
    decode_at_most, decode_decimal, decode_exact, pairs, pairs_behind_question_marks, value_of,
};

/// The port libtorrent sends when it does not listen.
pub const PORT_NOT_LISTENING: u16 = 1;
/// The longest text of an IP address (`INET6_ADDRSTRLEN` without its NUL).
const IP_TEXT_BYTES_MAX: usize = 45;
/// The longest event that means something: `completed`.
const EVENT_BYTES_MAX: usize = 9;

/// The fields of an announce as they were sent, still percent-encoded. Of a field sent twice the
/// first counts; fields the tracker has no use for (`key`, `trackerid`, `ipv4`, `corrupt`, …) are
/// not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AnnounceQuery<'b> {
    /// Which torrent. Required.
    pub info_hash: Option<&'b [u8]>,
    /// The client's own name. Required.
    pub peer_id: Option<&'b [u8]>,
    /// Where the client listens. Required.
    pub port: Option<&'b [u8]>,
    /// Bytes uploaded. Required, but nothing in the tracker depends on the value, so it is never
    /// read.
    pub uploaded: Option<&'b [u8]>,
    /// Bytes downloaded. Required, never read.
    pub downloaded: Option<&'b [u8]>,
    /// Bytes still missing. Required.
    pub left: Option<&'b [u8]>,
    /// What has happened.
    pub event: Option<&'b [u8]>,
    /// How many peers are wanted.
    pub numwant: Option<&'b [u8]>,
    /// `0` asks for the dictionary model (BEP 23).
    pub compact: Option<&'b [u8]>,
    /// `1` leaves peer ids out of the dictionary model.
    pub no_peer_id: Option<&'b [u8]>,
    /// The address the client claims to have.
    pub ip: Option<&'b [u8]>,
    /// Where the client listens for encrypted connections only: stands in for `port` (message
    /// stream encryption).
    pub cryptoport: Option<&'b [u8]>,
    /// `1`: can encrypt.
    pub supportcrypto: Option<&'b [u8]>,
    /// `1`: must encrypt.
    pub requirecrypto: Option<&'b [u8]>,
}

/// An announce that can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announce {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// What the client calls itself.
    pub peer_id: PeerId,
    /// Where it listens, never 0; see [`Announce::listening`].
    pub port: u16,
    /// It has everything: `left` is exactly `0`. Clients that do not know their `left` yet send
    /// 16384, 2^63-1, 2^64-1 or -1.
    pub seeder: bool,
    /// What has happened.
    pub event: Event,
    /// Peers wanted; none when the client leaves it to the tracker, also by a negative number or
    /// garbage.
    pub numwant: Option<u32>,
    /// The answer lists peers as packed bytes (BEP 23), not as dictionaries.
    pub compact: bool,
    /// The dictionary model goes without peer ids.
    pub no_peer_id: bool,
    /// The address the client claims to have, as written; none when none can be read. Not to be
    /// believed as it stands.
    pub ip: Option<IpAddr>,
    /// What it says of encryption. Anything but [`Crypto::None`] also asks for `crypto_flags`.
    pub crypto: Crypto,
}

impl<'b> AnnounceQuery<'b> {
    /// Picks the fields out of a query; cannot fail. Without an `info_hash` it is read again with
    /// `?` separating as well.
    pub fn parse(query: &'b [u8]) -> AnnounceQuery<'b> {
        let mut fields = AnnounceQuery::default();
        fields.pick(pairs(query));
        if fields.info_hash.is_none() {
            fields.pick_behind_question_marks(query);
        }
        fields
    }

    #[cold]
    fn pick_behind_question_marks(&mut self, query: &'b [u8]) {
        if let Some(pairs) = pairs_behind_question_marks(query) {
            *self = AnnounceQuery::default();
            self.pick(pairs);
        }
    }

    #[inline]
    fn pick(&mut self, pairs: impl Iterator<Item = &'b [u8]>) {
        let fields = self;
        for pair in pairs {
            // As many letters as tell the known keys apart: then one comparison is enough.
            let (field, value) = match pair {
                [b'i', b'n', ..] => (&mut fields.info_hash, value_of(pair, b"info_hash")),
                [b'p', b'e', ..] => (&mut fields.peer_id, value_of(pair, b"peer_id")),
                [b'p', ..] => (&mut fields.port, value_of(pair, b"port")),
                [b'u', ..] => (&mut fields.uploaded, value_of(pair, b"uploaded")),
                [b'd', ..] => (&mut fields.downloaded, value_of(pair, b"downloaded")),
                [b'l', ..] => (&mut fields.left, value_of(pair, b"left")),
                [b'e', ..] => (&mut fields.event, value_of(pair, b"event")),
                [b'n', b'u', ..] => (&mut fields.numwant, value_of(pair, b"numwant")),
                [b'n', ..] => (&mut fields.no_peer_id, value_of(pair, b"no_peer_id")),
                [b'c', b'o', ..] => (&mut fields.compact, value_of(pair, b"compact")),
                [b'c', ..] => (&mut fields.cryptoport, value_of(pair, b"cryptoport")),
                [b'i', ..] => (&mut fields.ip, value_of(pair, b"ip")),
                [b's', ..] => (&mut fields.supportcrypto, value_of(pair, b"supportcrypto")),
                [b'r', ..] => (&mut fields.requirecrypto, value_of(pair, b"requirecrypto")),
                _ => continue,
            };
            if let (None, Some(_)) = (&field, value) {
                *field = value;
            }
        }
    }

    /// The values behind the fields, or the first of failures #1 to #4, in the order of their
    /// numbers.
    pub fn announce(&self) -> Result<Announce, Failure> {
        let required = |field: Option<&'b [u8]>, name| field.ok_or(Failure::MissingField(name));
        let info_hash = required(self.info_hash, Field::InfoHash)?;
        let peer_id = required(self.peer_id, Field::PeerId)?;
        let port = required(self.port, Field::Port)?;
        required(self.uploaded, Field::Uploaded)?;
        required(self.downloaded, Field::Downloaded)?;
        let left = required(self.left, Field::Left)?;

        Ok(Announce {
            info_hash: InfoHash(decode_exact(info_hash).ok_or(Failure::InfoHashLength)?),
            peer_id: PeerId(decode_exact(peer_id).ok_or(Failure::PeerIdLength)?),
            port: decode_port(self.cryptoport.unwrap_or(port))
                .ok_or_else(|| port_failure(self.cryptoport.unwrap_or(port)))?,
            seeder: decode_exact(left) == Some(*b"0"),
            event: self.event.map_or(Event::Update, decode_event),
            numwant: self
                .numwant
                .and_then(decode_decimal)
                .map(|wanted| u32::try_from(wanted).unwrap_or(u32::MAX)),
            compact: self.compact.and_then(decode_exact) != Some(*b"0"),
            no_peer_id: is_one(self.no_peer_id),
            ip: self.ip.and_then(decode_ip),
            crypto: match (is_one(self.requirecrypto), is_one(self.supportcrypto)) {
                (true, _) => Crypto::Required,
                (false, true) => Crypto::Supported,
                (false, false) => Crypto::None,
            },
        })
    }
}

impl Announce {
    /// Whether anybody can connect to this peer. One that does not listen is answered in full, but
    /// never stored or handed out.
    pub fn listening(&self) -> bool {
        self.port != PORT_NOT_LISTENING
    }
}

fn is_one(field: Option<&[u8]>) -> bool {
    field.and_then(decode_exact) == Some(*b"1")
}

fn decode_port(value: &[u8]) -> Option<u16> {
    decode_decimal(value).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

#[cold]
fn port_failure(value: &[u8]) -> Failure {
    if decode_decimal(value) == Some(0) { Failure::PortZero } else { Failure::PortInvalid }
}

/// Any case; what is not one of the three is a regular update: empty, `empty`, `none`, and `paused`
/// (BEP 21).
fn decode_event(value: &[u8]) -> Event {
    let event: ArrayVec<u8, EVENT_BYTES_MAX> = decode_at_most(value).unwrap_or_default();
    if event.eq_ignore_ascii_case(b"started") {
        Event::Started
    } else if event.eq_ignore_ascii_case(b"completed") {
        Event::Completed
    } else if event.eq_ignore_ascii_case(b"stopped") {
        Event::Stopped
    } else {
        Event::Update
    }
}

fn decode_ip(value: &[u8]) -> Option<IpAddr> {
    let text: ArrayVec<u8, IP_TEXT_BYTES_MAX> = decode_at_most(value)?;
    str::from_utf8(&text).ok()?.parse().ok()
}
