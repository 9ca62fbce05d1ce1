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
use crate::swarm::tally::Tally;

/// See the module.
pub struct Chosen {
    family: Family,
    count: usize,
    want_ids: bool,
    want_crypto_flags: bool,
    wire: Box<[u8]>,
    ids: Box<[PeerId]>,
    crypto_flags: Box<[u8]>,
    tally: Tally,
}

impl Chosen {
    /// Room for [`PEERS_PER_REPLY_MAX`] peers of either family.
    pub fn new() -> Chosen {
        Chosen {
            family: Family::V4,
            count: 0,
            want_ids: false,
            want_crypto_flags: false,
            wire: vec![0; PEERS_PER_REPLY_MAX * PEER_V6_BYTES + STATE_BYTES].into_boxed_slice(),
            ids: vec![PeerId([0; PEER_ID_BYTES]); PEERS_PER_REPLY_MAX].into_boxed_slice(),
            crypto_flags: vec![0; PEERS_PER_REPLY_MAX].into_boxed_slice(),
            tally: Tally::new(),
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

    /// What counts peers of one address in an answer.
    pub(super) fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
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
        copy_wires(slots, &mut self.wire[self.count * wire_bytes::<SLOT>()..]);
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

/// Copies wire addresses, each with its state, which the next one is written over: eight bytes of
/// an IPv4 peer are one step, six are two. By fours, which take one check of the room that is left.
#[inline]
fn copy_wires<const SLOT: usize>(slots: &[[u8; SLOT]], mut out: &mut [u8]) {
    let wire_bytes = wire_bytes::<SLOT>();
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
    use crate::swarm::state::{History, Stamp, State};
    use crate::tests::announcement;

    /// A peer all of whose wire address is `name`; one of an even name requires encryption.
    fn peer<const SLOT: usize>(name: u8) -> [u8; SLOT] {
        let crypto = if name.is_multiple_of(2) { Crypto::Required } else { Crypto::None };
        slot(&[name; SLOT], State::new(Stamp::of(Millis(u64::MAX)), crypto, History::LEECHED))
    }

    fn names<const SLOT: usize>(chosen: &Chosen) -> Vec<u8> {
        let peers: Vec<_> = chosen.wire().chunks(SLOT - STATE_BYTES).collect();
        assert!(peers.iter().all(|peer| peer.iter().all(|byte| *byte == peer[0])), "{peers:?}");
        let flags: Vec<_> = peers.iter().map(|peer| u8::from(peer[0].is_multiple_of(2))).collect();
        assert_eq!(chosen.crypto_flags(), Some(&flags[..]), "flags of {peers:?}");
        let ids: Vec<_> = peers.iter().map(|peer| PeerId([peer[0]; PEER_ID_BYTES])).collect();
        assert_eq!(chosen.ids(), Some(&ids[..]), "ids of {peers:?}");
        peers.iter().map(|peer| peer[0]).collect()
    }

    /// Nothing chosen yet for an asker of `family` who wants all there is of each peer.
    fn clear(chosen: &mut Chosen, family: Family) {
        let ip = match family {
            Family::V4 => IpAddr::from([192, 0, 2, 1]),
            Family::V6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
        };
        let announce = Announcement {
            peer: PeerAddr::new(ip, 6881),
            want_ids: true,
            want_crypto_flags: true,
            ..announcement::of(1, 1)
        };
        chosen.clear(&announce, true);
    }

    fn peers_keep_to_their_places<const SLOT: usize>(family: Family) {
        let mut chosen = Chosen::new();
        for piece in 0..10_u8 {
            clear(&mut chosen, family);
            let mut expected = Vec::new();
            while chosen.count() < PEERS_PER_REPLY_MAX {
                let piece: Vec<u8> = (0..piece.max(1)).map(|at| at + piece).collect();
                let slots: Vec<[u8; SLOT]> = piece.iter().map(|name| peer(*name)).collect();
                let ids: Vec<_> = piece.iter().map(|name| [*name; PEER_ID_BYTES]).collect();
                chosen.extend(&slots, &ids);
                expected.extend(piece);
            }
            expected.truncate(PEERS_PER_REPLY_MAX);
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
        clear(&mut chosen, Family::V4);
        for (place, name) in [(0, 1), (1, 2), (2, 3), (1, 8), (0, 9), (3, 4), (2, 6)] {
            chosen.put(place, &peer::<SLOT_V4>(name), Some(&[name; PEER_ID_BYTES]));
        }
        assert_eq!(names::<SLOT_V4>(&chosen), [9, 8, 6, 4], "names in their order");
    }
}
