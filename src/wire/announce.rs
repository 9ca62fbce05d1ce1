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

use crate::ids::{Crypto, Event, INFO_HASH_BYTES, InfoHash, PEER_ID_BYTES, PeerId};
use crate::wire::failure::{Failure, Field};
use crate::wire::query::{decode_at_most, take_exact, take_flag, take_number, take_value};

/// The port libtorrent sends when it does not listen.
pub const PORT_NOT_LISTENING: u16 = 1;
/// The longest text of an IP address (`INET6_ADDRSTRLEN` without its NUL).
const IP_TEXT_BYTES_MAX: usize = 45;
/// The longest event that means something: `completed`.
const EVENT_BYTES_MAX: usize = 9;

/// The fields of an announce, each read as it was first sent: none when it was not sent, none
/// within when it cannot be read. Fields the tracker has no use for (`key`, `trackerid`, `ipv4`,
/// `corrupt`, …) are passed over.
#[derive(Default)]
struct Fields {
    info_hash: Option<Option<[u8; INFO_HASH_BYTES]>>,
    peer_id: Option<Option<[u8; PEER_ID_BYTES]>>,
    port: Option<Option<u32>>,
    /// How much was uploaded and downloaded must be said, but nothing in the tracker depends on it.
    has_uploaded: bool,
    has_downloaded: bool,
    left_is_zero: Option<bool>,
    event: Option<Event>,
    numwant: Option<Option<u32>>,
    /// `compact=0` asks for the dictionary model (BEP 23).
    compact_is_zero: Option<bool>,
    /// `no_peer_id=1` leaves peer ids out of the dictionary model.
    no_peer_id: Option<bool>,
    /// The address the client claims to have.
    ip: Option<Option<IpAddr>>,
    /// Where the client listens for encrypted connections only: stands in for `port` (message
    /// stream encryption).
    cryptoport: Option<Option<u32>>,
    /// `supportcrypto=1`: can encrypt.
    supportcrypto: Option<bool>,
    /// `requirecrypto=1`: must encrypt.
    requirecrypto: Option<bool>,
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

impl Announce {
    /// Reads the query of an announce. Without an `info_hash` it is read again with `?` separating
    /// as well.
    ///
    /// # Errors
    /// The first of failures #1 to #4, in the order of their numbers.
    #[inline(never)]
    pub fn parse(query: &[u8]) -> Result<Announce, Failure> {
        let mut fields = Fields::default();
        fields.read(query);
        if fields.info_hash.is_none() {
            fields = Fields::default();
            query.split(|byte| *byte == b'?').for_each(|piece| fields.read(piece));
        }
        fields.announce()
    }

    /// Whether anybody can connect to this peer. One that does not listen is answered in full, but
    /// never stored or handed out.
    pub fn listening(&self) -> bool {
        self.port != PORT_NOT_LISTENING
    }
}

impl Fields {
    fn read(&mut self, query: &[u8]) {
        let mut rest = query;
        // As many letters as tell the known keys apart: then one comparison is enough.
        while let [first, second, ..] = rest {
            rest = match [*first, *second] {
                [b'i', b'n'] if let Some(sent) = rest.strip_prefix(b"info_hash=") => {
                    keep(&mut self.info_hash, take_exact(sent))
                }
                [b'p', b'e'] if let Some(sent) = rest.strip_prefix(b"peer_id=") => {
                    keep(&mut self.peer_id, take_exact(sent))
                }
                [b'p', b'o'] if let Some(sent) = rest.strip_prefix(b"port=") => {
                    keep(&mut self.port, take_number(sent))
                }
                [b'u', _] if let Some(sent) = rest.strip_prefix(b"uploaded=") => {
                    self.has_uploaded = true;
                    take_value(sent).1
                }
                [b'd', _] if let Some(sent) = rest.strip_prefix(b"downloaded=") => {
                    self.has_downloaded = true;
                    take_value(sent).1
                }
                [b'l', _] if let Some(sent) = rest.strip_prefix(b"left=") => {
                    keep(&mut self.left_is_zero, take_flag(sent, b'0'))
                }
                [b'e', _] if let Some(sent) = rest.strip_prefix(b"event=") => {
                    let (event, rest) = take_value(sent);
                    keep(&mut self.event, (decode_event(event), rest))
                }
                [b'n', b'u'] if let Some(sent) = rest.strip_prefix(b"numwant=") => {
                    keep(&mut self.numwant, take_number(sent))
                }
                [b'n', b'o'] if let Some(sent) = rest.strip_prefix(b"no_peer_id=") => {
                    keep(&mut self.no_peer_id, take_flag(sent, b'1'))
                }
                [b'c', b'o'] if let Some(sent) = rest.strip_prefix(b"compact=") => {
                    keep(&mut self.compact_is_zero, take_flag(sent, b'0'))
                }
                [b'c', b'r'] if let Some(sent) = rest.strip_prefix(b"cryptoport=") => {
                    keep(&mut self.cryptoport, take_number(sent))
                }
                [b'i', b'p'] if let Some(sent) = rest.strip_prefix(b"ip=") => {
                    let (ip, rest) = take_value(sent);
                    keep(&mut self.ip, (decode_ip(ip), rest))
                }
                [b's', _] if let Some(sent) = rest.strip_prefix(b"supportcrypto=") => {
                    keep(&mut self.supportcrypto, take_flag(sent, b'1'))
                }
                [b'r', _] if let Some(sent) = rest.strip_prefix(b"requirecrypto=") => {
                    keep(&mut self.requirecrypto, take_flag(sent, b'1'))
                }
                _ => {
                    let (pair, rest) = take_value(rest);
                    self.read_bare_key(pair);
                    rest
                }
            }
        }
    }

    /// A key without a value has an empty one. Not inlined: it would crowd the loop it is called
    /// in.
    #[inline(never)]
    fn read_bare_key(&mut self, key: &[u8]) {
        let pair: &[u8] = match key {
            b"info_hash" => b"info_hash=",
            b"peer_id" => b"peer_id=",
            b"port" => b"port=",
            b"uploaded" => b"uploaded=",
            b"downloaded" => b"downloaded=",
            b"left" => b"left=",
            b"event" => b"event=",
            b"numwant" => b"numwant=",
            b"no_peer_id" => b"no_peer_id=",
            b"compact" => b"compact=",
            b"cryptoport" => b"cryptoport=",
            b"ip" => b"ip=",
            b"supportcrypto" => b"supportcrypto=",
            b"requirecrypto" => b"requirecrypto=",
            _ => return,
        };
        self.read(pair);
    }

    fn announce(&self) -> Result<Announce, Failure> {
        let missing = Failure::MissingField;
        let info_hash = self.info_hash.ok_or(missing(Field::InfoHash))?;
        let peer_id = self.peer_id.ok_or(missing(Field::PeerId))?;
        let port = self.port.ok_or(missing(Field::Port))?;
        self.has_uploaded.then_some(()).ok_or(missing(Field::Uploaded))?;
        self.has_downloaded.then_some(()).ok_or(missing(Field::Downloaded))?;
        let left_is_zero = self.left_is_zero.ok_or(missing(Field::Left))?;

        Ok(Announce {
            info_hash: InfoHash(info_hash.ok_or(Failure::InfoHashLength)?),
            peer_id: PeerId(peer_id.ok_or(Failure::PeerIdLength)?),
            port: check_port(self.cryptoport.unwrap_or(port))?,
            seeder: left_is_zero,
            event: self.event.unwrap_or(Event::Update),
            numwant: self.numwant.flatten(),
            compact: self.compact_is_zero != Some(true),
            no_peer_id: self.no_peer_id == Some(true),
            ip: self.ip.flatten(),
            crypto: match (self.requirecrypto, self.supportcrypto) {
                (Some(true), _) => Crypto::Required,
                (_, Some(true)) => Crypto::Supported,
                _ => Crypto::None,
            },
        })
    }
}

/// Keeps a value taken off a query, unless the field was sent before: of a field sent twice the
/// first counts. Gives back what is left of the query.
#[inline]
fn keep<'q, T>(field: &mut Option<T>, (value, rest): (T, &'q [u8])) -> &'q [u8] {
    if field.is_none() {
        *field = Some(value);
    }
    rest
}

fn check_port(number: Option<u32>) -> Result<u16, Failure> {
    match number.and_then(|port| u16::try_from(port).ok()) {
        Some(0) => Err(Failure::PortZero),
        Some(port) => Ok(port),
        None => Err(Failure::PortInvalid),
    }
}

/// Any case; what is not one of the three is a regular update: empty, `empty`, `none`, and `paused`
/// (BEP 21).
fn decode_event(value: &[u8]) -> Event {
    // Nearly everybody writes them so.
    event_of(value)
        .or_else(|| {
            let mut event: ArrayVec<u8, EVENT_BYTES_MAX> = decode_at_most(value)?;
            event.make_ascii_lowercase();
            event_of(&event)
        })
        .unwrap_or(Event::Update)
}

fn event_of(word: &[u8]) -> Option<Event> {
    match word {
        b"started" => Some(Event::Started),
        b"completed" => Some(Event::Completed),
        b"stopped" => Some(Event::Stopped),
        _ => None,
    }
}

fn decode_ip(value: &[u8]) -> Option<IpAddr> {
    let text: ArrayVec<u8, IP_TEXT_BYTES_MAX> = decode_at_most(value)?;
    str::from_utf8(&text).ok()?.parse().ok()
}
