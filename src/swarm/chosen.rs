//! The peers chosen for one announce, as they go out.
//!
//! Owns: one worker's scratch memory for an answer's peers: their wire bytes, and beside them, when
//! asked for, peer ids and crypto flags. It is made once and written over by every announce.
//!
//! Never: allocates after [`Chosen::new`], or knows how peers are chosen (see `select`).
//!
//! Limits: [`PEERS_MAX`] peers; whatever numwant says, there are no more.

use super::run::{STATE_BYTES, state, wire};
use crate::ids::{Family, PEER_ID_BYTES, PEER_V6_BYTES, PeerId};

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
            wire: vec![0; PEERS_MAX * PEER_V6_BYTES + STATE_BYTES].into_boxed_slice(),
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
        copy_wires(slots, &mut self.wire[self.count * (SLOT - STATE_BYTES)..]);
        if self.want_crypto_flags {
            for (flag, slot) in self.crypto_flags[self.count..].iter_mut().zip(slots) {
                *flag = u8::from(state(slot).requires_crypto());
            }
        }
        self.count += slots.len();
        if !ids.is_empty() {
            self.extend_ids(ids);
        }
    }

    fn extend_ids(&mut self, ids: &[[u8; PEER_ID_BYTES]]) {
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
        if place == self.count {
            return self.extend(slot, id);
        }
        for slot in slot {
            let wire = wire(slot);
            self.wire[place * wire.len()..][..wire.len()].copy_from_slice(wire);
            self.crypto_flags[place] = u8::from(state(slot).requires_crypto());
        }
        for id in id {
            self.ids[place] = PeerId(*id);
        }
    }
}

/// Copies wire addresses, each with its state, which the next one is written over: eight bytes of
/// an IPv4 peer are one step, six are two. By fours, which take one check of the room that is left.
#[inline]
fn copy_wires<const SLOT: usize>(slots: &[[u8; SLOT]], mut out: &mut [u8]) {
    let wire_bytes = SLOT - STATE_BYTES;
    let (fours, rest) = slots.as_chunks::<4>();
    for four in fours {
        let place = &mut out[..4 * wire_bytes + STATE_BYTES];
        for (at, slot) in four.iter().enumerate() {
            place[at * wire_bytes..][..SLOT].copy_from_slice(slot);
        }
        out = &mut out[4 * wire_bytes..];
    }
    for slot in rest {
        out[..SLOT].copy_from_slice(slot);
        out = &mut out[wire_bytes..];
    }
}

impl Default for Chosen {
    fn default() -> Chosen {
        Chosen::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Crypto, Millis};
    use crate::swarm::run::{SLOT_V4, SLOT_V6, slot};
    use crate::swarm::state::{Stamp, State};

    /// A peer all of whose wire address is `name`; one of an even name requires encryption.
    fn peer<const SLOT: usize>(name: u8) -> [u8; SLOT] {
        let crypto = if name.is_multiple_of(2) { Crypto::Required } else { Crypto::None };
        slot(&[name; SLOT], State::new(Stamp::of(Millis(u64::MAX)), crypto, true))
    }

    fn names<const SLOT: usize>(chosen: &Chosen) -> Vec<u8> {
        let peers: Vec<_> = chosen.wire().chunks(SLOT - STATE_BYTES).collect();
        assert!(peers.iter().all(|peer| peer.iter().all(|byte| *byte == peer[0])), "{peers:?}");
        let flags: Vec<_> = peers.iter().map(|peer| u8::from(peer[0].is_multiple_of(2))).collect();
        assert_eq!(chosen.crypto_flags(), flags);
        assert!(peers.iter().zip(chosen.ids()).all(|(peer, id)| id.0 == [peer[0]; 20]));
        peers.iter().map(|peer| peer[0]).collect()
    }

    fn peers_keep_to_their_places<const SLOT: usize>(family: Family) {
        let mut chosen = Chosen::new();
        for piece in 0..10_u8 {
            chosen.clear(family, true);
            let mut expected = Vec::new();
            while chosen.count() < PEERS_MAX {
                let piece: Vec<u8> = (0..piece.max(1)).map(|at| at + piece).collect();
                let slots: Vec<[u8; SLOT]> = piece.iter().map(|name| peer(*name)).collect();
                let ids: Vec<_> = piece.iter().map(|name| [*name; PEER_ID_BYTES]).collect();
                chosen.extend(&slots, &ids);
                expected.extend(piece);
            }
            expected.truncate(PEERS_MAX);
            assert_eq!(names::<SLOT>(&chosen), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn peers_keep_to_their_places_up_to_the_last() {
        peers_keep_to_their_places::<SLOT_V4>(Family::V4);
        peers_keep_to_their_places::<SLOT_V6>(Family::V6);
    }

    #[test]
    fn a_peer_put_in_the_place_of_another_leaves_its_neighbours_alone() {
        let mut chosen = Chosen::new();
        chosen.clear(Family::V4, true);
        for (place, name) in [(0, 1), (1, 2), (2, 3), (1, 8), (0, 9), (3, 4), (2, 6)] {
            chosen.put(place, &[peer::<SLOT_V4>(name)], &[[name; PEER_ID_BYTES]]);
        }
        assert_eq!(names::<SLOT_V4>(&chosen), [9, 8, 6, 4]);
    }
}
