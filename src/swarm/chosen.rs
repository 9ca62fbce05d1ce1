//! The peers chosen for one announce, as they go out.
//!
//! Owns: one worker's scratch memory for an answer's peers: their wire bytes, and beside them, when
//! asked for, peer ids and crypto flags. It is made once and written over by every announce.
//!
//! Never: allocates after [`Chosen::new`], or knows how peers are chosen (see `select`).
//!
//! Limits: [`PEERS_MAX`] peers; whatever numwant says, there are no more.

use crate::ids::{Family, PEER_ID_BYTES, PEER_V4_BYTES, PEER_V6_BYTES, PeerId};
use crate::swarm::run::{SLOT_V4, state, wire};

/// The most peers of one answer.
pub const PEERS_MAX: usize = 500;

/// See the module.
pub struct Chosen {
    family: Family,
    count: usize,
    want_crypto_flags: bool,
    wire: Box<[u8]>,
    ids_count: usize,
    ids: Box<[PeerId]>,
    crypto_flags: Box<[u8]>,
}

impl Chosen {
    /// Room for [`PEERS_MAX`] peers of either family.
    pub fn new() -> Chosen {
        Chosen {
            family: Family::V4,
            count: 0,
            want_crypto_flags: false,
            wire: vec![0; PEERS_MAX * PEER_V6_BYTES].into_boxed_slice(),
            ids_count: 0,
            ids: vec![PeerId([0; PEER_ID_BYTES]); PEERS_MAX].into_boxed_slice(),
            crypto_flags: vec![0; PEERS_MAX].into_boxed_slice(),
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

    /// The peer ids in the same order; empty when they were not asked for or are not kept.
    pub fn ids(&self) -> &[PeerId] {
        self.ids.get(..self.ids_count).unwrap_or_default()
    }

    /// One byte a peer in the same order, 1 for a peer that requires encryption; empty when they
    /// were not asked for.
    pub fn crypto_flags(&self) -> &[u8] {
        let count = if self.want_crypto_flags { self.count } else { 0 };
        self.crypto_flags.get(..count).unwrap_or_default()
    }

    /// Forgets the last answer.
    pub(super) fn clear(&mut self, family: Family, want_crypto_flags: bool) {
        (self.family, self.want_crypto_flags) = (family, want_crypto_flags);
        (self.count, self.ids_count) = (0, 0);
    }

    /// Appends as many peers as there is room for; `ids` is empty where none are kept or wanted.
    pub(super) fn extend<const SLOT: usize>(
        &mut self,
        slots: &[[u8; SLOT]],
        ids: &[[u8; PEER_ID_BYTES]],
    ) {
        let slots = &slots[..slots.len().min(PEERS_MAX - self.count)];
        let peer_bytes = if SLOT == SLOT_V4 { PEER_V4_BYTES } else { PEER_V6_BYTES };
        let places = self.wire[self.count * peer_bytes..].chunks_exact_mut(peer_bytes);
        for (place, slot) in places.zip(slots) {
            place.copy_from_slice(wire(slot));
        }
        if self.want_crypto_flags {
            for (flag, slot) in self.crypto_flags[self.count..].iter_mut().zip(slots) {
                *flag = u8::from(state(slot).requires_crypto());
            }
        }
        self.count += slots.len();
        let ids = &ids[..ids.len().min(PEERS_MAX - self.ids_count)];
        for (place, id) in self.ids[self.ids_count..].iter_mut().zip(ids) {
            *place = PeerId(*id);
        }
        self.ids_count += ids.len();
    }

    /// Puts one peer in the place of an earlier one, or at the end.
    pub(super) fn put<const SLOT: usize>(
        &mut self,
        place: usize,
        slot: &[[u8; SLOT]],
        id: &[[u8; PEER_ID_BYTES]],
    ) {
        let (count, ids_count) = (self.count, self.ids_count);
        (self.count, self.ids_count) = (place, place.min(ids_count));
        self.extend(slot, id);
        (self.count, self.ids_count) = (self.count.max(count), self.ids_count.max(ids_count));
    }
}

impl Default for Chosen {
    fn default() -> Chosen {
        Chosen::new()
    }
}
