//! What tests announce to a store.
//!
//! Owns: the one announcement that others are made of by struct update, the moment of an announce
//! in open mode, and the limits that usually hold then.

use crate::config::{Networks, PublicAddresses, SwarmLimits};
use crate::ids::{Crypto, Event, InfoHash, Millis, PeerAddr, PeerId};
use crate::listing::Served;
use crate::swarm::{Announcement, Moment};

/// 64 units of age.
pub const LIFETIME_MS: u64 = 1 << 20;

/// Whatever fits, for [`LIFETIME_MS`], from whatever address.
pub const LIMITS: SwarmLimits = SwarmLimits {
    lifetime_ms: LIFETIME_MS,
    peers_max: u64::MAX,
    torrents_max: u64::MAX,
    peers_per_address_max: 0,
    shares_exempt: Networks::NONE,
    public_addresses: PublicAddresses::NONE,
};

static SAME_LIMITS: SwarmLimits = LIMITS;

/// An announce in open mode, within [`LIMITS`].
pub fn open_at(now: Millis) -> Moment<'static> {
    Moment { now, limits: &SAME_LIMITS, served: Served::OPEN }
}

/// The numbered torrent.
pub const fn hash(torrent: u16) -> InfoHash {
    let mut info_hash = InfoHash([0; 20]);
    [info_hash.0[0], info_hash.0[1]] = torrent.to_be_bytes();
    info_hash
}

/// Where the numbered peer listens: one of 2^24 IPv4 addresses.
pub const fn addr(peer: u32) -> PeerAddr {
    let [_, high, middle, low] = peer.to_be_bytes();
    PeerAddr::V4([10, high, middle, low, 0x1a, 0xe1])
}

/// The numbered peer comes to the numbered torrent as a leecher, and asks for nobody.
pub const fn of(torrent: u16, peer: u32) -> Announcement {
    Announcement {
        info_hash: hash(torrent),
        peer: addr(peer),
        is_known: true,
        peer_id: PeerId([b'p'; 20]),
        seeder: false,
        event: Event::Started,
        crypto: Crypto::None,
        listening: true,
        numwant: 0,
        want_ids: false,
        want_crypto_flags: false,
    }
}
