//! The requests over UDP: qBittorrent's (BEP 15).

use crate::population::{Peer, Population};

/// Bytes of an announce.
pub(crate) const ANNOUNCE_BYTES: usize = 98;
/// A connection id, which the server has given out.
pub(crate) type ConnectionId = [u8; 8];

const PROTOCOL_ID: ConnectionId = 0x0417_2710_1980_u64.to_be_bytes();
const PEER_ID_PREFIX: &[u8] = b"-qB4650-";
/// A download's bytes: all are there, or all are missing.
const ALL_BYTES: u64 = 1_483_407_360;
const KEY: u32 = 0xc87a_7012;
const EVENT_STARTED: u32 = 2;

/// A request that is being written.
pub(crate) struct Packet {
    bytes: [u8; ANNOUNCE_BYTES],
    len: usize,
}

impl Packet {
    /// What asks for a connection id.
    pub(crate) fn connect(transaction: u32) -> Packet {
        Packet::head(PROTOCOL_ID, 0, transaction)
    }

    /// An announce of a peer, which is new or comes back.
    pub(crate) fn announce(
        (id, transaction): (ConnectionId, u32),
        peer: Peer,
        population: &Population,
        numwant: u16,
        started: bool,
    ) -> Packet {
        let (downloaded, left) = if peer.is_seeder() { (ALL_BYTES, 0) } else { (0, ALL_BYTES) };
        let own = u64::from(peer.address) << 16 | u64::from(peer.port);
        let mut packet = Packet::head(id, 1, transaction);
        packet.add(&population.hashes()[peer.torrent() as usize]);
        packet.add(PEER_ID_PREFIX);
        packet.add(&[0; 4]);
        packet.add(&own.to_be_bytes());
        packet.add(&downloaded.to_be_bytes());
        packet.add(&left.to_be_bytes());
        packet.add(&0_u64.to_be_bytes());
        packet.add(&(if started { EVENT_STARTED } else { 0 }).to_be_bytes());
        packet.add(&0_u32.to_be_bytes());
        packet.add(&KEY.to_be_bytes());
        packet.add(&u32::from(numwant).to_be_bytes());
        packet.add(&peer.port.to_be_bytes());
        packet
    }

    /// A scrape of a peer's torrent.
    pub(crate) fn scrape(
        id: ConnectionId,
        transaction: u32,
        peer: Peer,
        population: &Population,
    ) -> Packet {
        let mut packet = Packet::head(id, 2, transaction);
        packet.add(&population.hashes()[peer.torrent() as usize]);
        packet
    }

    fn head(id: ConnectionId, action: u32, transaction: u32) -> Packet {
        let mut packet = Packet { bytes: [0; ANNOUNCE_BYTES], len: 0 };
        packet.add(&id);
        packet.add(&action.to_be_bytes());
        packet.add(&transaction.to_be_bytes());
        packet
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The request.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// As much of an answer as the load looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UdpAnswer {
    /// To a connect.
    Connected(ConnectionId),
    /// To an announce or a scrape.
    Good,
    /// An error.
    Error,
}

impl UdpAnswer {
    /// An answer and the transaction it belongs to; none when it is none.
    pub(crate) fn of(packet: &[u8]) -> Option<(UdpAnswer, u32)> {
        let (action, rest) = packet.split_first_chunk()?;
        let (transaction, rest) = rest.split_first_chunk()?;
        let answer = match u32::from_be_bytes(*action) {
            0 => UdpAnswer::Connected(*rest.first_chunk()?),
            1 | 2 => UdpAnswer::Good,
            3 => UdpAnswer::Error,
            _ => return None,
        };
        Some((answer, u32::from_be_bytes(*transaction)))
    }
}
