//! Datagrams: what a UDP packet asks, and the packets that answer (BEP 15, BEP 41).
//!
//! Owns: the layout of requests and answers, what each field may hold, and how much of an answer
//! fits one packet that no path fragments.
//!
//! Never: checks a connection id (see `frontend::connection_id`), decides what is served, or copies
//! what it reads: hashes and options stay in the packet.
//!
//! Limits: [`peers_max`] peers and [`HASHES_PER_PACKET_MAX`] hashes an answer; what is past them is
//! left out. A packet may be longer than what it says: options follow an announce, and aria2 sends
//! two bytes more than BEP 15 knows.
//!
//! An announce becomes the same [`Announce`] as over HTTP, so that one tracker answers both. Only
//! port 0 is refused; a field that holds nothing known (event 4, `num_want` -7) is taken as not
//! said.

use std::net::{IpAddr, Ipv4Addr};

use crate::ids::{
    Crypto, Event, Family, INFO_HASH_BYTES, InfoHash, PEER_ID_BYTES, PEER_V4_BYTES, PEER_V6_BYTES,
    PeerId,
};
use crate::wire::announce::Announce;
use crate::wire::bencode::Full;
use crate::wire::failure::Failure;

/// What stands in place of a connection id in the packet that asks for one.
pub const PROTOCOL_ID: u64 = 0x0417_2710_1980;
/// Hashes answered in one scrape (BEP 15).
pub const HASHES_PER_PACKET_MAX: usize = 74;
/// The longest packet of which every byte means something, options aside: a scrape of
/// [`HASHES_PER_PACKET_MAX`] hashes.
pub const REQUEST_BYTES_MAX: usize = HEAD_BYTES + HASHES_PER_PACKET_MAX * INFO_HASH_BYTES;
/// The longest answer over IPv4: an Ethernet frame's payload without the headers of IP and UDP.
pub const ANSWER_V4_BYTES_MAX: usize = 1_500 - 20 - 8;
/// The longest answer over IPv6: what every path carries (RFC 8200), since tunnels drop more.
pub const ANSWER_V6_BYTES_MAX: usize = 1_280 - 40 - 8;
/// The error for a connection id that is not valid: short, since it is cut to the request's length.
pub const CONNECTION_ID_INVALID: &str = "connect again: the connection id is not valid";

/// Connection id, action and transaction id, with which every request begins.
const HEAD_BYTES: usize = 16;
/// An announce behind its head, without options.
const ANNOUNCE_BODY_BYTES: usize = 82;
/// The answer to a connect.
const CONNECT_ANSWER_BYTES: usize = 16;
/// An announce's answer before its peers.
const ANNOUNCE_ANSWER_BYTES: usize = 20;
/// Action and transaction id, with which every answer begins.
const ANSWER_HEAD_BYTES: usize = 8;
/// One torrent in a scrape's answer.
const SCRAPE_ENTRY_BYTES: usize = 12;

const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_SCRAPE: u32 = 2;
const ACTION_ERROR: u32 = 3;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_URL_DATA: u8 = 2;

const _: () = assert!(peers_max(Family::V4) == 242 && peers_max(Family::V6) == 67);
const _: () = assert!(ANNOUNCE_ANSWER_BYTES + 242 * PEER_V4_BYTES <= ANSWER_V4_BYTES_MAX);
const _: () = assert!(ANNOUNCE_ANSWER_BYTES + 67 * PEER_V6_BYTES <= ANSWER_V6_BYTES_MAX);
const _: () =
    assert!(ANSWER_HEAD_BYTES + HASHES_PER_PACKET_MAX * SCRAPE_ENTRY_BYTES <= ANSWER_V6_BYTES_MAX);
// A connect is answered before anything is known of its source: with no more than came.
const _: () = assert!(CONNECT_ANSWER_BYTES <= HEAD_BYTES && ANSWER_HEAD_BYTES <= HEAD_BYTES);

/// The client's own number of a request, which its answer repeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionId(pub u32);

/// What shows that a source address is the client's own: the tracker gives it out to a connect, and
/// every other request carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionId(pub u64);

/// What a packet asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'p> {
    /// For a connection id.
    Connect {
        /// To be repeated.
        transaction_id: TransactionId,
    },
    /// To be entered into a swarm.
    Announce {
        /// To be checked.
        connection_id: ConnectionId,
        /// To be repeated.
        transaction_id: TransactionId,
        /// What is announced, or why it cannot be: the port is 0.
        announce: Result<Announce, Failure>,
        /// What follows the announce.
        options: PacketOptions<'p>,
    },
    /// For the counts of some torrents.
    Scrape {
        /// To be checked.
        connection_id: ConnectionId,
        /// To be repeated.
        transaction_id: TransactionId,
        /// The torrents.
        hashes: ScrapedHashes<'p>,
    },
}

/// Why a packet is no request: it gets no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoRequest {
    /// It ends before its fields do.
    TooShort,
    /// Its action is not known, or it asks for a connection id without the protocol's number.
    Unknown,
}

/// The hashes of a scrape as they stand in the packet: in the order asked, repeated ones included,
/// at most [`HASHES_PER_PACKET_MAX`]. The answer has an entry for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrapedHashes<'p>(&'p [[u8; INFO_HASH_BYTES]]);

/// The options behind an announce (BEP 41), walked as far as they are whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketOptions<'p> {
    rest: &'p [u8],
}

/// One option that carries something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketOption<'p> {
    /// A part of the announce URL's path and query. Several make one text.
    UrlData(&'p [u8]),
    /// Of a kind that BEP 41 does not know.
    Unknown(u8, &'p [u8]),
}

/// What an announce is answered with.
#[derive(Clone, Copy, Debug)]
pub struct PeersAnswer<'a> {
    /// The request's.
    pub transaction_id: TransactionId,
    /// When to come back, seconds.
    pub interval_s: u32,
    /// Peers that download.
    pub leechers: u32,
    /// Peers that have everything.
    pub seeders: u32,
    /// The family of the packet, and so of the peers.
    pub family: Family,
    /// Peers as they go out, 6 or 18 bytes each; those past [`peers_max`] are left out.
    pub peers: &'a [u8],
}

/// What a scrape says of one torrent. One that is banned or unknown has zeros: the format cannot
/// leave it out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrapedCounts {
    /// Peers that have everything.
    pub seeders: u32,
    /// Downloads that became complete.
    pub completed: u32,
    /// Peers that download.
    pub leechers: u32,
}

/// The longest answer to a packet of this family.
pub const fn answer_bytes_max(family: Family) -> usize {
    match family {
        Family::V4 => ANSWER_V4_BYTES_MAX,
        Family::V6 => ANSWER_V6_BYTES_MAX,
    }
}

/// Peers that one answer of this family holds.
pub const fn peers_max(family: Family) -> usize {
    (answer_bytes_max(family) - ANNOUNCE_ANSWER_BYTES) / family.peer_bytes()
}

/// Reads a packet.
///
/// # Errors
/// [`NoRequest`] for what gets no answer.
pub fn parse(packet: &[u8]) -> Result<Request<'_>, NoRequest> {
    let (head, rest) = packet.split_first_chunk::<HEAD_BYTES>().ok_or(NoRequest::TooShort)?;
    let connection_id = ConnectionId(u64::from_be_bytes(field::<0, 8, _>(head)));
    let action = u32::from_be_bytes(field::<8, 4, _>(head));
    let transaction_id = TransactionId(u32::from_be_bytes(field::<12, 4, _>(head)));
    match action {
        ACTION_CONNECT if connection_id == ConnectionId(PROTOCOL_ID) => {
            Ok(Request::Connect { transaction_id })
        }
        ACTION_ANNOUNCE => {
            let (body, options) = rest.split_first_chunk().ok_or(NoRequest::TooShort)?;
            let (announce, options) = (announce_of(body), PacketOptions { rest: options });
            Ok(Request::Announce { connection_id, transaction_id, announce, options })
        }
        ACTION_SCRAPE => {
            let hashes = rest.as_chunks().0;
            let hashes = ScrapedHashes(hashes.get(..HASHES_PER_PACKET_MAX).unwrap_or(hashes));
            Ok(Request::Scrape { connection_id, transaction_id, hashes })
        }
        _ => Err(NoRequest::Unknown),
    }
}

fn announce_of(body: &[u8; ANNOUNCE_BODY_BYTES]) -> Result<Announce, Failure> {
    let left = u64::from_be_bytes(field::<48, 8, _>(body));
    let ip = Ipv4Addr::from(field::<68, 4, _>(body));
    let numwant = i32::from_be_bytes(field::<76, 4, _>(body));
    let port = u16::from_be_bytes(field::<80, 2, _>(body));
    if port == 0 {
        return Err(Failure::PortInvalid);
    }
    Ok(Announce {
        info_hash: InfoHash(field::<0, INFO_HASH_BYTES, _>(body)),
        peer_id: PeerId(field::<20, PEER_ID_BYTES, _>(body)),
        port,
        seeder: left == 0,
        event: match u32::from_be_bytes(field::<64, 4, _>(body)) {
            1 => Event::Completed,
            2 => Event::Started,
            3 => Event::Stopped,
            _ => Event::Update,
        },
        numwant: u32::try_from(numwant).ok(),
        compact: true,
        no_peer_id: true,
        ip: (!ip.is_unspecified()).then_some(IpAddr::V4(ip)),
        crypto: Crypto::None,
    })
}

/// The `N` bytes from `AT` on.
#[inline]
fn field<const AT: usize, const N: usize, const ALL: usize>(bytes: &[u8; ALL]) -> [u8; N] {
    const { assert!(AT + N <= ALL) };
    std::array::from_fn(|at| bytes[AT + at])
}

impl<'p> ScrapedHashes<'p> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the scrape names none: it is answered with no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = InfoHash> + Clone + use<'p> {
        self.0.iter().map(|hash| InfoHash(*hash))
    }
}

impl<'p> Iterator for PacketOptions<'p> {
    type Item = PacketOption<'p>;

    /// What a broken option says of its length is not believed, and nothing behind it is read.
    fn next(&mut self) -> Option<PacketOption<'p>> {
        while let [OPTION_NOP, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let option = match *self.rest {
            [OPTION_END, ..] => None,
            [kind, bytes, ref rest @ ..] => {
                rest.split_at_checked(usize::from(bytes)).map(|(data, rest)| (kind, data, rest))
            }
            _ => None,
        };
        let (kind, data, rest) = option.unwrap_or((OPTION_END, &[], &[]));
        self.rest = rest;
        match kind {
            OPTION_END => None,
            OPTION_URL_DATA => Some(PacketOption::UrlData(data)),
            kind => Some(PacketOption::Unknown(kind, data)),
        }
    }
}

/// Writes the answer to a connect; returns its bytes.
///
/// # Errors
/// [`Full`] when `out` is too small.
pub fn connect_answer(
    transaction_id: TransactionId,
    connection_id: ConnectionId,
    out: &mut [u8],
) -> Result<usize, Full> {
    let rest = write_head(ACTION_CONNECT, transaction_id, out)?;
    *rest.first_chunk_mut().ok_or(Full)? = connection_id.0.to_be_bytes();
    Ok(CONNECT_ANSWER_BYTES)
}

/// Writes the answer to an announce; returns its bytes.
///
/// # Errors
/// [`Full`] when `out` is too small; [`answer_bytes_max`] bytes are enough.
pub fn announce_answer(answer: &PeersAnswer<'_>, out: &mut [u8]) -> Result<usize, Full> {
    let peers_bytes_max = peers_max(answer.family) * answer.family.peer_bytes();
    let peers = answer.peers.get(..peers_bytes_max).unwrap_or(answer.peers);
    let rest = write_head(ACTION_ANNOUNCE, answer.transaction_id, out)?;
    let (counts, rest) = rest.split_first_chunk_mut().ok_or(Full)?;
    *counts = triple(answer.interval_s, answer.leechers, answer.seeders);
    rest.get_mut(..peers.len()).ok_or(Full)?.copy_from_slice(peers);
    Ok(ANNOUNCE_ANSWER_BYTES + peers.len())
}

/// Writes the answer to a scrape, with an entry for each of its hashes in their order; returns its
/// bytes. Entries past [`HASHES_PER_PACKET_MAX`] are left out.
///
/// # Errors
/// [`Full`] when `out` is too small; [`ANSWER_V6_BYTES_MAX`] bytes are enough.
pub fn scrape_answer(
    transaction_id: TransactionId,
    entries: impl IntoIterator<Item = ScrapedCounts>,
    out: &mut [u8],
) -> Result<usize, Full> {
    let rest = write_head(ACTION_SCRAPE, transaction_id, out)?;
    let mut places = rest.as_chunks_mut::<SCRAPE_ENTRY_BYTES>().0.iter_mut();
    let mut written = 0;
    for counts in entries.into_iter().take(HASHES_PER_PACKET_MAX) {
        *places.next().ok_or(Full)? = triple(counts.seeders, counts.completed, counts.leechers);
        written += 1;
    }
    Ok(ANSWER_HEAD_BYTES + written * SCRAPE_ENTRY_BYTES)
}

/// Writes an error whose text is `parts` one after the other, cut so that the answer has at most
/// `bytes_max` bytes and fits `out`; returns its bytes. For a source that has not shown a valid
/// connection id `bytes_max` is the length of its packet, otherwise [`answer_bytes_max`].
///
/// # Errors
/// [`Full`] when not even an error without text fits.
pub fn error_answer(
    transaction_id: TransactionId,
    parts: &[&[u8]],
    bytes_max: usize,
    out: &mut [u8],
) -> Result<usize, Full> {
    let bytes_max = bytes_max.min(out.len());
    let rest = write_head(ACTION_ERROR, transaction_id, &mut out[..bytes_max])?;
    let mut places = rest.iter_mut();
    let text = parts.iter().copied().flatten();
    let written = places.by_ref().zip(text).map(|(place, byte)| *place = *byte).count();
    Ok(ANSWER_HEAD_BYTES + written)
}

/// Writes an answer's first bytes; the room behind them.
fn write_head(
    action: u32,
    transaction_id: TransactionId,
    out: &mut [u8],
) -> Result<&mut [u8], Full> {
    let (head, rest) = out.split_first_chunk_mut::<ANSWER_HEAD_BYTES>().ok_or(Full)?;
    head[..4].copy_from_slice(&action.to_be_bytes());
    head[4..].copy_from_slice(&transaction_id.0.to_be_bytes());
    Ok(rest)
}

/// Three numbers in network order.
fn triple(first: u32, second: u32, third: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&first.to_be_bytes());
    bytes[4..8].copy_from_slice(&second.to_be_bytes());
    bytes[8..].copy_from_slice(&third.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    const OUT_BYTES: usize = 2_048;
    const CONNECT: &str = "00000417 27101980 00000000 7a31f00d";
    /// Connection id, action and transaction id of an announce, of a scrape.
    const ANNOUNCE_HEAD: &str = "11223344 55667788 00000001 deadbeef";
    const SCRAPE_HEAD: &str = "11223344 55667788 00000002 deadbeef";
    const HASH: &str = "02e9b0c8 721d80ff 009afe4d 3f72a32d 5f2e7e0a";
    const PEER_ID: &str = "2d714234 3635302d 4558754c 46626777 2172215f";
    const TRANSACTION: TransactionId = TransactionId(0xdead_beef);

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.replace([' ', '\n'], "").as_bytes()).unwrap()
    }

    /// An announce whose fields from `downloaded` on are these.
    fn announce_packet(fields: &str) -> Vec<u8> {
        hex(&[ANNOUNCE_HEAD, HASH, PEER_ID, fields].concat())
    }

    fn announce(fields: &str) -> Result<Announce, Failure> {
        match parse(&announce_packet(fields)) {
            Ok(Request::Announce { connection_id, transaction_id, announce, .. }) => {
                assert_eq!(connection_id, ConnectionId(0x1122_3344_5566_7788), "{fields}");
                assert_eq!(transaction_id, TRANSACTION, "{fields}");
                announce
            }
            other => panic!("{fields}: {other:?}"),
        }
    }

    fn written(write: impl FnOnce(&mut [u8]) -> Result<usize, Full>) -> Vec<u8> {
        let mut out = [0xc5; OUT_BYTES];
        let bytes = write(&mut out).unwrap();
        assert!(out[bytes..].iter().all(|byte| *byte == 0xc5), "bytes behind the answer");
        out[..bytes].to_vec()
    }

    #[test]
    fn a_connect_carries_the_protocol_number() {
        let asked = Ok(Request::Connect { transaction_id: TransactionId(0x7a31_f00d) });
        for (name, packet, expected) in [
            ("libtorrent's", CONNECT.to_owned(), asked),
            ("with bytes behind it", CONNECT.to_owned() + "ffff", asked),
            ("another number", CONNECT.replace("1980", "1981"), Err(NoRequest::Unknown)),
            ("number 0", "00".repeat(16), Err(NoRequest::Unknown)),
        ] {
            assert_eq!(parse(&hex(&packet)), expected, "{name}");
        }
    }

    #[test]
    fn what_is_too_short_or_unknown_is_no_request() {
        let whole = announce_packet(QBITTORRENT);
        assert_eq!(whole.len(), 98, "the shortest announce");
        for bytes in 0..98 {
            assert_eq!(parse(&whole[..bytes]), Err(NoRequest::TooShort), "announce of {bytes}");
        }
        for bytes in 0..16 {
            let (connect, scrape) = (hex(CONNECT), hex(SCRAPE_HEAD));
            assert_eq!(parse(&connect[..bytes]), Err(NoRequest::TooShort), "connect of {bytes}");
            assert_eq!(parse(&scrape[..bytes]), Err(NoRequest::TooShort), "scrape of {bytes}");
        }
        for action in ["00000003", "00000004", "01000000", "00000101", "ffffffff"] {
            let head = ANNOUNCE_HEAD.replace("00000001", action);
            let packet = hex(&[&head, HASH, PEER_ID, QBITTORRENT].concat());
            assert_eq!(parse(&packet), Err(NoRequest::Unknown), "action {action}");
        }
    }

    const QBITTORRENT: &str = "0000000000000000 0000000000004000 0000000000000000 \
                               00000002 00000000 c87a7012 000000c8 1ae1";

    #[test]
    fn an_announce_is_read_field_by_field() {
        let expected = Announce {
            info_hash: InfoHash(hex(HASH).try_into().unwrap()),
            peer_id: PeerId(*b"-qB4650-EXuLFbgw!r!_"),
            port: 6881,
            seeder: false,
            event: Event::Started,
            numwant: Some(200),
            compact: true,
            no_peer_id: true,
            ip: None,
            crypto: Crypto::None,
        };
        assert_eq!(announce(QBITTORRENT), Ok(expected));
    }

    #[test]
    fn only_a_left_of_zero_makes_a_seeder() {
        for (left, seeder) in [
            ("0000000000000000", true),
            ("0000000000000001", false),
            ("0000000100000000", false),
            ("7fffffffffffffff", false),
            ("8000000000000000", false),
            ("ffffffffffffffff", false),
        ] {
            let fields = QBITTORRENT.replace("0000000000004000", left);
            assert_eq!(announce(&fields).unwrap().seeder, seeder, "left {left}");
        }
    }

    #[test]
    fn events_and_numwant_that_say_nothing_known_are_not_said() {
        for (event, expected) in [
            ("00000000", Event::Update),
            ("00000001", Event::Completed),
            ("00000002", Event::Started),
            ("00000003", Event::Stopped),
            ("00000004", Event::Update),
            ("02000000", Event::Update),
            ("ffffffff", Event::Update),
        ] {
            let fields = QBITTORRENT.replace("00000002", event);
            assert_eq!(announce(&fields).unwrap().event, expected, "event {event}");
        }
        for (numwant, expected) in [
            ("00000000", Some(0)),
            ("00000032", Some(50)),
            ("7fffffff", Some(0x7fff_ffff)),
            ("80000000", None),
            ("ffffffff", None),
        ] {
            let fields = QBITTORRENT.replace("000000c8", numwant);
            assert_eq!(announce(&fields).unwrap().numwant, expected, "num_want {numwant}");
        }
    }

    #[test]
    fn port_0_is_refused_and_port_1_does_not_listen() {
        for (port, expected) in [
            ("0000", Err(Failure::PortInvalid)),
            ("0001", Ok((1, false))),
            ("0002", Ok((2, true))),
            ("ffff", Ok((65_535, true))),
        ] {
            let announce = announce(&QBITTORRENT.replace("1ae1", port));
            let read = announce.map(|announce| (announce.port, announce.listening()));
            assert_eq!(read, expected, "port {port}");
        }
    }

    #[test]
    fn a_claimed_address_is_kept_unless_it_is_0() {
        for (claimed, expected) in
            [("00000000", None), ("c0000207", Some("192.0.2.7")), ("00000001", Some("0.0.0.1"))]
        {
            let fields = QBITTORRENT.replace("00000000 c87a7012", &format!("{claimed} c87a7012"));
            let expected = expected.map(|ip| ip.parse().unwrap());
            assert_eq!(announce(&fields).unwrap().ip, expected, "address {claimed}");
        }
    }

    #[test]
    fn options_are_walked_as_far_as_they_are_whole() {
        use PacketOption::{Unknown, UrlData};
        let rows: &[(&str, &[u8], &[PacketOption<'_>])] = &[
            ("none", b"", &[]),
            ("libtorrent's", b"\x02\x09/announce", &[UrlData(b"/announce")]),
            ("two parts", b"\x02\x02/a\x02\x02?b\0", &[UrlData(b"/a"), UrlData(b"?b")]),
            ("no bytes", b"\x02\0\x02\x01/", &[UrlData(b""), UrlData(b"/")]),
            ("NOPs", b"\x01\x01\x02\x01/\x01", &[UrlData(b"/")]),
            ("the end", b"\0\x02\x01/", &[]),
            ("aria2's two bytes", b"\0\0", &[]),
            ("unknown", b"\x7f\x01x\x02\x01/", &[Unknown(0x7f, b"x"), UrlData(b"/")]),
            ("no length", b"\x02\x01/\x02", &[UrlData(b"/")]),
            ("a length past the end", b"\x02\x01/\x02\x03ab", &[UrlData(b"/")]),
        ];
        for (name, bytes, expected) in rows {
            let packet = [announce_packet(QBITTORRENT), bytes.to_vec()].concat();
            let Ok(Request::Announce { announce: Ok(_), options, .. }) = parse(&packet) else {
                panic!("{name}: refused");
            };
            assert_eq!(options.collect::<Vec<_>>(), *expected, "{name}");
        }
    }

    #[test]
    fn a_scrape_has_its_hashes_in_order_and_74_at_most() {
        let in_order = |packet: &[u8]| match parse(packet) {
            Ok(Request::Scrape { connection_id, transaction_id, hashes }) => {
                assert_eq!(connection_id, ConnectionId(0x1122_3344_5566_7788));
                assert_eq!(transaction_id, TRANSACTION);
                hashes.iter().map(|hash| hash.0[19]).collect::<Vec<u8>>()
            }
            other => panic!("{other:?}"),
        };
        let up_to = |count: u8| (0..count).collect::<Vec<u8>>();
        for (name, asked, behind, expected) in [
            ("none", vec![], 0, vec![]),
            ("half a hash", vec![], 19, vec![]),
            ("one and a half", vec![7], 19, vec![7]),
            ("descending and repeated", vec![9, 3, 3, 1, 9], 0, vec![9, 3, 3, 1, 9]),
            ("74", up_to(74), 0, up_to(74)),
            ("75", up_to(75), 0, up_to(74)),
            ("200", up_to(200), 1, up_to(74)),
        ] {
            let hashes: Vec<u8> = asked.iter().flat_map(|byte| [*byte; 20]).collect();
            let packet = [hex(SCRAPE_HEAD), hashes, vec![0xff; behind]].concat();
            assert_eq!(in_order(&packet), expected, "{name}");
        }
        assert_eq!(REQUEST_BYTES_MAX, 1_496, "74 hashes behind a head");
    }

    #[test]
    fn answers_are_these_bytes() {
        let peers = hex("c0000201 1ae1 c0000202 c8d5");
        let six = hex("20010db8 00000000 00000000 00000001 1ae1");
        let answer = PeersAnswer {
            transaction_id: TRANSACTION,
            interval_s: 1_800,
            leechers: 2,
            seeders: 258,
            family: Family::V4,
            peers: &peers,
        };
        let over_ipv6 = PeersAnswer { family: Family::V6, peers: &six, ..answer };
        let alone = PeersAnswer { peers: &[], ..answer };
        let counts = |seeders, completed, leechers| ScrapedCounts { seeders, completed, leechers };
        let torrents = [counts(1, 2, 3), counts(0, 0, 0), counts(1, 2, 3)];
        let id = ConnectionId(0x1122_3344_5566_7788);
        let rows = [
            (
                "connect",
                written(|out| connect_answer(TRANSACTION, id, out)),
                "00000000 deadbeef 11223344 55667788",
            ),
            (
                "announce",
                written(|out| announce_answer(&answer, out)),
                "00000001 deadbeef 00000708 00000002 00000102 c0000201 1ae1 c0000202 c8d5",
            ),
            (
                "announce over IPv6",
                written(|out| announce_answer(&over_ipv6, out)),
                "00000001 deadbeef 00000708 00000002 00000102 \
                 20010db8 00000000 00000000 00000001 1ae1",
            ),
            (
                "announce without peers",
                written(|out| announce_answer(&alone, out)),
                "00000001 deadbeef 00000708 00000002 00000102",
            ),
            (
                "scrape, an unknown torrent in the middle",
                written(|out| scrape_answer(TRANSACTION, torrents, out)),
                "00000002 deadbeef 00000001 00000002 00000003 00000000 00000000 00000000 \
                 00000001 00000002 00000003",
            ),
            (
                "scrape of nothing",
                written(|out| scrape_answer(TRANSACTION, [], out)),
                "00000002 deadbeef",
            ),
        ];
        for (name, bytes, expected) in rows {
            assert_eq!(HEXLOWER.encode(&bytes), expected.replace(' ', ""), "{name}");
        }
    }

    #[test]
    fn errors_are_these_bytes() {
        let rows = [
            (
                "error",
                written(|out| error_answer(TRANSACTION, &[b"#5 no"], 100, out)),
                "00000003 deadbeef 2335206e 6f",
            ),
            (
                "error with a reason",
                written(|out| error_answer(TRANSACTION, &[b"#6", b": ", b"x"], 100, out)),
                "00000003 deadbeef 23363a20 78",
            ),
            (
                "error cut within its second part",
                written(|out| error_answer(TRANSACTION, &[b"#6", b": ", b"x"], 11, out)),
                "00000003 deadbeef 23363a",
            ),
            (
                "error without room for text",
                written(|out| error_answer(TRANSACTION, &[b"#6"], 8, out)),
                "00000003 deadbeef",
            ),
        ];
        for (name, bytes, expected) in rows {
            assert_eq!(HEXLOWER.encode(&bytes), expected.replace(' ', ""), "{name}");
        }
    }

    #[test]
    fn an_answer_has_as_many_peers_as_one_packet_holds() {
        for (family, count_max, bytes_max) in [(Family::V4, 242, 1_472), (Family::V6, 67, 1_232)] {
            let wire: Vec<u8> = (0..500_u16)
                .flat_map(|peer| peer.to_be_bytes().into_iter().cycle().take(family.peer_bytes()))
                .collect();
            for count in [0, 1, count_max - 1, count_max, count_max + 1, 500] {
                let answer = PeersAnswer {
                    transaction_id: TRANSACTION,
                    interval_s: 0,
                    leechers: 0,
                    seeders: 0,
                    family,
                    peers: &wire[..count * family.peer_bytes()],
                };
                let bytes = written(|out| announce_answer(&answer, out));
                let expected = &wire[..count.min(count_max) * family.peer_bytes()];
                assert_eq!(&bytes[20..], expected, "{count} peers, {family:?}");
                assert!(bytes.len() <= bytes_max, "{} bytes, {family:?}", bytes.len());
            }
        }
    }

    #[test]
    fn an_answer_that_does_not_fit_is_refused() {
        let answer = PeersAnswer {
            transaction_id: TRANSACTION,
            interval_s: 0,
            leechers: 0,
            seeders: 0,
            family: Family::V4,
            peers: &[7; 60],
        };
        let torrents = [ScrapedCounts::default(); 3];
        let mut out = [0; OUT_BYTES];
        for room in 0..100 {
            let out = &mut out[..room];
            let fits = |bytes: usize| if bytes <= room { Ok(bytes) } else { Err(Full) };
            let id = ConnectionId(1);
            assert_eq!(connect_answer(TRANSACTION, id, out), fits(16), "connect in {room}");
            assert_eq!(announce_answer(&answer, out), fits(80), "announce in {room}");
            assert_eq!(scrape_answer(TRANSACTION, torrents, out), fits(44), "scrape in {room}");
            let error = error_answer(TRANSACTION, &[b"12345"], OUT_BYTES, out);
            let cut = if room < 8 { Err(Full) } else { Ok(room.min(13)) };
            assert_eq!(error, cut, "error in {room}");
        }
    }

    #[test]
    fn an_answer_to_a_stranger_is_no_longer_than_the_packet() {
        for bytes_max in 16..200 {
            let text = CONNECTION_ID_INVALID.as_bytes();
            let bytes = written(|out| error_answer(TRANSACTION, &[text], bytes_max, out));
            assert_eq!(bytes.len(), bytes_max.min(8 + text.len()), "to {bytes_max} bytes");
            assert!(text.starts_with(&bytes[8..]), "to {bytes_max} bytes");
        }
    }
}
