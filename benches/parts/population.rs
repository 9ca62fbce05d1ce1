//! Peers and torrents by number, and stores full of them.

use announced::config::{Networks, PublicAddresses, SwarmLimits};
use announced::ids::{Crypto, Event, InfoHash, Millis, PeerAddr, PeerId};
use announced::listing::Served;
use announced::swarm::{
    Announced, Announcement, Chosen, Counts, Moment, Newcomer, Store, StoreSettings,
};
use fastrand::Rng;

/// Anything that fits, for the default settings' intervals together.
pub(crate) const LIMITS: SwarmLimits = SwarmLimits {
    lifetime_ms: 2_700_000,
    peers_max: 1 << 30,
    torrents_max: 1 << 30,
    peers_per_address_max: 0,
    shares_exempt: Networks::NONE,
    public_addresses: PublicAddresses::NONE,
};

/// An empty store.
pub(crate) fn store(peer_ids: bool) -> Store {
    Store::new(StoreSettings { peer_ids }, 7)
}

/// What qBittorrent announces of the numbered peer in the numbered torrent; every other peer is a
/// seeder.
pub(crate) fn announcement(torrent: u32, peer: u32) -> Announcement {
    let mut info_hash = [7; 20];
    info_hash[..4].copy_from_slice(&torrent.to_be_bytes());
    let mut wire = [10, 0, 0, 0, 0x1a, 0xe1];
    wire[..4].copy_from_slice(&(0x0a00_0000 + peer).to_be_bytes());
    Announcement {
        info_hash: InfoHash(info_hash),
        peer: PeerAddr::V4(wire),
        is_known: true,
        peer_id: PeerId(*b"-qB4650-EXuLFbgw!r!_"),
        seeder: peer.is_multiple_of(2),
        event: Event::Update,
        crypto: Crypto::Supported,
        listening: true,
        numwant: 50,
        want_ids: false,
        want_crypto_flags: false,
    }
}

/// A store, and what a worker has beside it.
pub(crate) struct Desk<'s> {
    pub(crate) store: &'s Store,
    pub(crate) rng: Rng,
    pub(crate) chosen: Chosen,
}

impl<'s> Desk<'s> {
    /// A desk at `store`.
    pub(crate) fn new(store: &'s Store, seed: u64) -> Desk<'s> {
        Desk { store, rng: Rng::with_seed(seed), chosen: Chosen::new() }
    }

    /// One announce: the one place that knows how a store is told of it.
    pub(crate) fn announce(&mut self, announcement: &Announcement, now: Millis) -> Counts {
        let Desk { store, rng, chosen } = self;
        let moment = Moment { now, limits: &LIMITS, served: Served::OPEN };
        match store.announce(announcement, moment, rng, chosen) {
            Announced::Served(counts) => counts,
            _ => store
                .enter(&Newcomer::without_list(announcement), moment, rng, chosen)
                .unwrap_or_default(),
        }
    }
}

/// Enters peers `0..peers` into each of torrents `0..torrents`.
pub(crate) fn fill(store: &Store, torrents: u32, peers: u32) {
    let mut desk = Desk::new(store, 1);
    for torrent in 0..torrents {
        for peer in 0..peers {
            desk.announce(
                &Announcement { event: Event::Started, ..announcement(torrent, peer) },
                Millis(0),
            );
        }
    }
}
