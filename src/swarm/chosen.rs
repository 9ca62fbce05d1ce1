//! The peers chosen for one announce, as they go out.
//!
//! Owns: one worker's scratch memory for an answer's peers: their wire bytes, and beside them, when
//! asked for, peer ids and crypto flags. It is made once and written over by every announce.
//!
//! Never: allocates after [`Chosen::new`], or knows how peers are chosen (see `select`).
//!
//! Limits: [`PEERS_PER_REPLY_MAX`] peers; whatever numwant says, there are no more.

use std::net::IpAddr;

use crate::bounds::PEERS_PER_REPLY_MAX;
use crate::ids::{Family, PEER_ID_BYTES, PEER_V6_BYTES, PeerAddr, PeerId};
use crate::swarm::announcement::Announcement;
use crate::swarm::run::{STATE_BYTES, state, wire};

/// See the module.
pub struct Chosen {
    family: Family,
    count: usize,
    want_ids: bool,
    want_crypto_flags: bool,
    wire: Box<[u8]>,
    ids: Box<[PeerId]>,
    crypto_flags: Box<[u8]>,
}

impl Chosen {
    /// Room for [`PEERS_PER_REPLY_MAX`] peers of either family.
    pub fn new() -> Chosen {
        Chosen {
            family: Family::V4,
            count: 0,
            want_ids: false,
            want_crypto_flags: false,
            wire: vec![0; PEERS_PER_REPLY_MAX * PEER_V6_BYTES].into_boxed_slice(),
            ids: vec![PeerId([0; PEER_ID_BYTES]); PEERS_PER_REPLY_MAX].into_boxed_slice(),
            crypto_flags: vec![0; PEERS_PER_REPLY_MAX].into_boxed_slice(),
        }
    }

    /// The family of all the peers: the asker's.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Number of peers.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The compact peer list: 6 or 18 bytes a peer, network order (BEP 23, BEP 7).
    pub fn wire(&self) -> &[u8] {
        self.wire.get(..self.count * self.family.peer_bytes()).unwrap_or_default()
    }

    /// The peer ids in the same order; none when they were not asked for or are not kept.
    pub fn ids(&self) -> Option<&[PeerId]> {
        self.want_ids.then(|| self.ids.get(..self.count).unwrap_or_default())
    }

    /// One byte a peer in the same order, 1 for a peer that requires encryption; none when they
    /// were not asked for.
    pub fn crypto_flags(&self) -> Option<&[u8]> {
        self.want_crypto_flags.then(|| self.crypto_flags.get(..self.count).unwrap_or_default())
    }

    /// Whether [`Chosen::ids`] are wanted and kept.
    pub(super) fn want_ids(&self) -> bool {
        self.want_ids
    }

    /// Forgets the last answer; the next is for `announce`, of a store that keeps peer ids or not.
    pub(super) fn clear(&mut self, announce: &Announcement, ids_kept: bool) {
        self.family = announce.peer.family();
        self.count = 0;
        self.want_ids = announce.want_ids && ids_kept;
        self.want_crypto_flags = announce.want_crypto_flags;
    }

    /// Appends as many peers as there is room for. There are as many `ids` where they are wanted.
    pub(super) fn extend<const SLOT: usize>(
        &mut self,
        slots: &[[u8; SLOT]],
        ids: &[[u8; PEER_ID_BYTES]],
    ) {
        let slots = &slots[..slots.len().min(PEERS_PER_REPLY_MAX - self.count)];
        let places =
            self.wire[self.count * wire_bytes::<SLOT>()..].chunks_exact_mut(wire_bytes::<SLOT>());
        for (place, slot) in places.zip(slots) {
            place.copy_from_slice(wire(slot));
        }
        if self.want_crypto_flags {
            for (flag, slot) in self.crypto_flags[self.count..].iter_mut().zip(slots) {
                *flag = u8::from(state(slot).requires_crypto());
            }
        }
        if self.want_ids {
            for (place, id) in self.ids[self.count..].iter_mut().zip(ids) {
                *place = PeerId(*id);
            }
        }
        self.count += slots.len();
    }

    /// Puts one peer in the place of an earlier one, or behind the last. There is an id where they
    /// are wanted.
    pub(super) fn put<const SLOT: usize>(
        &mut self,
        place: usize,
        slot: &[u8; SLOT],
        id: Option<&[u8; PEER_ID_BYTES]>,
    ) {
        let peer_bytes = wire_bytes::<SLOT>();
        self.wire[place * peer_bytes..][..peer_bytes].copy_from_slice(wire(slot));
        self.crypto_flags[place] = u8::from(state(slot).requires_crypto());
        if let Some(id) = id {
            self.ids[place] = PeerId(*id);
        }
        self.count = self.count.max(place + 1);
    }

    /// Replaces private addresses by `public`, which is of their family. What is then there twice
    /// goes out once, and the asker itself not at all: the answer may become shorter.
    pub(super) fn show_outside(&mut self, public: IpAddr, asker: &PeerAddr) {
        let peer_bytes = self.family.peer_bytes();
        let mut ports = Ports([0; 1 << 10]);
        if asker.ip() == public {
            ports.insert(asker.port());
        }
        let mut kept = 0;
        for at in 0..self.count {
            let Some(peer) = PeerAddr::of_wire(&self.wire[at * peer_bytes..][..peer_bytes]) else {
                continue;
            };
            let shown = if peer.is_private() { PeerAddr::new(public, peer.port()) } else { peer };
            if shown.ip() == public && !ports.insert(shown.port()) {
                continue;
            }
            self.wire[kept * peer_bytes..][..peer_bytes].copy_from_slice(shown.wire());
            self.ids[kept] = self.ids[at];
            self.crypto_flags[kept] = self.crypto_flags[at];
            kept += 1;
        }
        self.count = kept;
    }
}

/// Some ports, each a bit.
struct Ports([u64; 1 << 10]);

impl Ports {
    /// Adds a port; whether it was not there yet.
    fn insert(&mut self, port: u16) -> bool {
        let (word, bit) = (usize::from(port >> 6), 1 << (port & 63));
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }
}

/// Bytes of a slot that go out.
const fn wire_bytes<const SLOT: usize>() -> usize {
    SLOT - STATE_BYTES
}

impl Default for Chosen {
    fn default() -> Chosen {
        Chosen::new()
    }
}
