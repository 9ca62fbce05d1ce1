//! A dense run of peers of one family, leechers first, seeders after.
//!
//! Owns: the bytes. A slot is the peer's wire address and two bytes of [`State`]: 8 bytes for IPv4,
//! 20 for IPv6. Up to two IPv4 peers (one IPv6 peer) lie in the run itself; more are one
//! allocation, `[slots × capacity][peer ids × capacity]`, the second part only where peer ids are
//! kept. Peers are found by scanning: eight slots are one cache line.
//!
//! Never: knows what time it is or which torrent this is, or keeps peers in any order but leechers
//! before seeders, so that "no seeders for a seeder" is a range and every move is a copy of one
//! peer.
//!
//! Limits: [`RUN_MAX`] peers. A small swarm is one run of at most 64, a large one is many runs of
//! 32 on average (see `table`).

use std::ops::Range;

use crate::ids::{PEER_ID_BYTES, PeerAddr};
use crate::swarm::capacity;
use crate::swarm::state::State;
use crate::swarm::work::Work;

/// Bytes of the state at the end of a slot.
pub(super) const STATE_BYTES: usize = 2;
/// Bytes of a slot of an IPv4 peer.
pub(super) const SLOT_V4: usize = crate::ids::PEER_V4_BYTES + STATE_BYTES;
/// Bytes of a slot of an IPv6 peer.
pub(super) const SLOT_V6: usize = crate::ids::PEER_V6_BYTES + STATE_BYTES;
/// Peers that one run can hold.
pub(super) const RUN_MAX: usize = u8::MAX as usize;

/// Peers of a run that are compared with all others in a debug build.
const CHECKED_MAX: usize = 4;
/// Bytes of slots without an allocation: what a run of 24 bytes has left beside its tag and counts.
const INLINE_BYTES: usize = 21;
const _: () = assert!(size_of::<Run<SLOT_V4>>() == 24 && size_of::<Run<SLOT_V6>>() == 24);

/// The two kinds of peers that a swarm tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// `left` above 0.
    Leecher,
    /// `left` = 0.
    Seeder,
}

impl Class {
    /// The class of a peer that is a seeder or not.
    pub(super) fn of(seeder: bool) -> Class {
        if seeder { Class::Seeder } else { Class::Leecher }
    }

    /// The class that this one is not.
    pub(super) fn other(self) -> Class {
        Class::of(self == Class::Leecher)
    }
}

/// One peer as it goes into a run.
#[derive(Clone, Copy)]
pub(super) struct Peer<const SLOT: usize> {
    /// Wire address and state.
    pub(super) slot: [u8; SLOT],
    /// Dropped where peer ids are not kept.
    pub(super) id: [u8; PEER_ID_BYTES],
}

/// The wire address of a slot.
pub(super) fn wire<const SLOT: usize>(slot: &[u8; SLOT]) -> &[u8] {
    &slot[..SLOT - STATE_BYTES]
}

/// The state of a slot.
pub(super) fn state<const SLOT: usize>(slot: &[u8; SLOT]) -> State {
    State::from_bytes([slot[SLOT - 2], slot[SLOT - 1]])
}

/// Whether the address of a slot is private.
pub(super) fn is_private<const SLOT: usize>(slot: &[u8; SLOT]) -> bool {
    PeerAddr::of_wire(wire(slot)).is_some_and(|peer| peer.is_private())
}

/// The slot of a peer, `key` being its wire address followed by zeros.
pub(super) fn slot<const SLOT: usize>(key: &[u8; SLOT], state: State) -> [u8; SLOT] {
    let mut slot = *key;
    slot[SLOT - STATE_BYTES..].copy_from_slice(&state.to_bytes());
    slot
}

/// The wire address of a slot, followed by zeros.
pub(super) fn key<const SLOT: usize>(slot: &[u8; SLOT]) -> [u8; SLOT] {
    let mut key = *slot;
    key[SLOT - STATE_BYTES..].fill(0);
    key
}

/// See the module. `ids`, an argument nearly everywhere, says whether peer ids are kept; it never
/// changes.
pub(super) enum Run<const SLOT: usize> {
    Inline { leechers: u8, seeders: u8, bytes: [u8; INLINE_BYTES] },
    Heap { leechers: u8, seeders: u8, bytes: Box<[u8]> },
}

impl<const SLOT: usize> Default for Run<SLOT> {
    fn default() -> Run<SLOT> {
        Run::Inline { leechers: 0, seeders: 0, bytes: [0; INLINE_BYTES] }
    }
}

impl<const SLOT: usize> Run<SLOT> {
    /// All peers.
    pub(super) fn len(&self) -> usize {
        self.part(Class::Seeder).end
    }

    /// The positions of the peers of one class.
    pub(super) fn part(&self, class: Class) -> Range<usize> {
        let (Run::Inline { leechers, seeders, .. } | Run::Heap { leechers, seeders, .. }) = self;
        let (leechers, seeders) = (usize::from(*leechers), usize::from(*seeders));
        match class {
            Class::Leecher => 0..leechers,
            Class::Seeder => leechers..leechers + seeders,
        }
    }

    /// The slots of all peers.
    pub(super) fn slots(&self) -> &[[u8; SLOT]] {
        let slots = self.bytes().as_chunks::<SLOT>().0;
        slots.get(..self.len()).unwrap_or(slots)
    }

    /// The peer ids in the order of the slots, empty places after the last; nothing where they are
    /// not kept.
    pub(super) fn ids(&self, ids: bool) -> &[[u8; PEER_ID_BYTES]] {
        let slots_bytes = if ids { self.capacity(ids) * SLOT } else { self.bytes().len() };
        self.bytes()[slots_bytes..].as_chunks::<PEER_ID_BYTES>().0
    }

    /// The peer at a position below [`Run::len`].
    pub(super) fn peer(&self, at: usize, ids: bool) -> Peer<SLOT> {
        Peer { slot: self.slots()[at], id: self.ids(ids).get(at).copied().unwrap_or_default() }
    }

    /// The class of the peer at a position.
    pub(super) fn class(&self, at: usize) -> Class {
        Class::of(at >= self.part(Class::Leecher).end)
    }

    /// Where the peer with the address of `key` is; the state in `key` must be zero.
    pub(super) fn find(&self, key: &[u8; SLOT]) -> Option<usize> {
        if SLOT == SLOT_V4 {
            return find_word(self.slots().as_flattened(), key);
        }
        self.slots().iter().position(|slot| wire(slot) == wire(key))
    }

    /// Peers with the address of `key`, whatever their port; of an IPv6 address, its /64.
    pub(super) fn count_host(&self, key: &[u8; SLOT]) -> usize {
        let slots = self.slots();
        if SLOT == SLOT_V4 {
            let words = slots.as_flattened().as_chunks::<SLOT_V4>().0;
            let host = key.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
            let is_it =
                |[a, b, c, d, ..]: &[u8; SLOT_V4]| u32::from_ne_bytes([*a, *b, *c, *d]) == host;
            return words.iter().map(|slot| u32::from(is_it(slot))).sum::<u32>() as usize;
        }
        slots.iter().filter(|slot| slot.first_chunk::<8>() == key.first_chunk()).count()
    }

    /// A peer, by any number.
    pub(super) fn any(&self, number: usize) -> Option<&[u8; SLOT]> {
        self.slots().get(number % self.len().max(1))
    }

    /// Adds a peer that is not there yet, and says at which position. None when the run is full.
    pub(super) fn insert(&mut self, class: Class, peer: &Peer<SLOT>, ids: bool) -> Option<usize> {
        let (len, leechers) = (self.len(), self.part(Class::Leecher).end);
        if len == RUN_MAX {
            return None;
        }
        self.reserve(1, ids);
        let at = match class {
            Class::Leecher => {
                self.copy(leechers, len, ids);
                leechers
            }
            Class::Seeder => len,
        };
        self.write(at, peer, ids);
        *self.count_mut(class) += 1;
        Some(at)
    }

    /// Sees to it that `more` peers can be added without a move in between.
    pub(super) fn reserve(&mut self, more: usize, ids: bool) {
        let peers = self.len() + more;
        if peers > self.capacity(ids) {
            self.move_to(capacity::slots_for(peers, peer_bytes::<SLOT>(ids)), ids);
        }
    }

    /// Overwrites the peer at a position with its newer self.
    pub(super) fn write(&mut self, at: usize, peer: &Peer<SLOT>, ids: bool) {
        let ids_from = self.capacity(ids) * SLOT;
        let bytes = self.bytes_mut();
        bytes[at * SLOT..][..SLOT].copy_from_slice(&peer.slot);
        if ids {
            bytes[ids_from + at * PEER_ID_BYTES..][..PEER_ID_BYTES].copy_from_slice(&peer.id);
        }
    }

    /// Makes room for the peer at a position among the other class; it must then be written to the
    /// position returned.
    pub(super) fn change_class(&mut self, at: usize, ids: bool) -> usize {
        let (class, leechers) = (self.class(at), self.part(Class::Leecher).end);
        let border = if class == Class::Leecher { leechers - 1 } else { leechers };
        self.copy(border, at, ids);
        *self.count_mut(class) -= 1;
        *self.count_mut(class.other()) += 1;
        border
    }

    /// Takes out the peer at a position; peers at higher positions move. The allocation stays until
    /// [`Run::fit`].
    pub(super) fn remove(&mut self, mut at: usize, ids: bool) {
        let (class, len, leechers) = (self.class(at), self.len(), self.part(Class::Leecher).end);
        if class == Class::Leecher {
            self.copy(leechers - 1, at, ids);
            at = leechers - 1;
        }
        self.copy(len - 1, at, ids);
        *self.count_mut(class) -= 1;
    }

    /// Takes out every peer that has lived its time, and says how many those were.
    pub(super) fn expire(&mut self, work: &mut Work<'_>, ids: bool) -> usize {
        let expiry = work.expiry;
        let is_over = |slot: &[u8; SLOT]| expiry.is_over(state(slot));
        let len = self.len();
        let Some(oldest) = self.slots().iter().rposition(is_over) else {
            return 0;
        };
        // Downwards: what a removal moves into the gap has been looked at.
        for at in (0..=oldest).rev() {
            if is_over(&self.slots()[at]) {
                work.note_gone(wire(&self.slots()[at]));
                self.remove(at, ids);
            }
        }
        self.fit(ids);
        len - self.len()
    }

    /// Gives back the allocation, or a part of it, when much of it is empty.
    pub(super) fn fit(&mut self, ids: bool) {
        let (len, peer_bytes) = (self.len(), peer_bytes::<SLOT>(ids));
        if matches!(self, Run::Inline { .. }) {
            return;
        }
        if len * peer_bytes <= INLINE_BYTES {
            self.move_to(len, ids);
        } else if capacity::is_roomy(self.capacity(ids), len, peer_bytes) {
            self.move_to(capacity::slots_for(len, peer_bytes), ids);
        }
    }

    /// Moves the peers to an allocation of `slots` slots, or into the run itself when that is
    /// enough.
    fn move_to(&mut self, slots: usize, ids: bool) {
        let (leechers, seeders) = (*self.count_mut(Class::Leecher), *self.count_mut(Class::Seeder));
        let peer_bytes = peer_bytes::<SLOT>(ids);
        let mut moved = if slots * peer_bytes <= INLINE_BYTES {
            Run::Inline { leechers, seeders, bytes: [0; INLINE_BYTES] }
        } else {
            Run::Heap { leechers, seeders, bytes: vec![0; slots * peer_bytes].into_boxed_slice() }
        };
        let ids_from = moved.capacity(ids) * SLOT;
        let bytes = moved.bytes_mut();
        let old_slots = self.slots().as_flattened();
        bytes[..old_slots.len()].copy_from_slice(old_slots);
        if ids {
            let old_ids = self.ids(ids)[..self.len()].as_flattened();
            bytes[ids_from..][..old_ids.len()].copy_from_slice(old_ids);
        }
        *self = moved;
    }

    fn capacity(&self, ids: bool) -> usize {
        self.bytes().len() / peer_bytes::<SLOT>(ids)
    }

    fn copy(&mut self, from: usize, to: usize, ids: bool) {
        let ids_from = self.capacity(ids) * SLOT;
        let bytes = self.bytes_mut();
        bytes.copy_within(from * SLOT..(from + 1) * SLOT, to * SLOT);
        if ids {
            let id = ids_from + from * PEER_ID_BYTES;
            bytes.copy_within(id..id + PEER_ID_BYTES, ids_from + to * PEER_ID_BYTES);
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Run::Inline { bytes, .. } => bytes,
            Run::Heap { bytes, .. } => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Run::Inline { bytes, .. } => bytes,
            Run::Heap { bytes, .. } => bytes,
        }
    }

    fn count_mut(&mut self, class: Class) -> &mut u8 {
        let (Run::Inline { leechers, seeders, .. } | Run::Heap { leechers, seeders, .. }) = self;
        if class == Class::Leecher { leechers } else { seeders }
    }

    /// Panics when the counts and the bytes do not belong together, or a peer is there twice.
    pub(super) fn check_invariants(&self, ids: bool) {
        assert!(
            self.len() <= self.capacity(ids) && self.slots().len() == self.len(),
            "a run is longer than its bytes"
        );
        assert!(!ids || self.ids(ids).len() >= self.len(), "a run has fewer ids than peers");
        let spare = self.capacity(ids) - self.len();
        assert!(
            spare <= 2 * self.len() + 8,
            "a run of {} peers has room for {spare} more",
            self.len()
        );
        for (at, peer) in self.slots().iter().enumerate().take(CHECKED_MAX) {
            let again = self.slots()[at + 1..].iter().any(|other| wire(other) == wire(peer));
            assert!(!again, "peer {:?} is twice in a run", wire(peer));
        }
    }
}

/// Bytes that one more peer takes of an allocation.
const fn peer_bytes<const SLOT: usize>(ids: bool) -> usize {
    if ids { SLOT + PEER_ID_BYTES } else { SLOT }
}

/// `Run::find` for slots of eight bytes, compared as one word without the state that is its upper
/// sixteen bits; by fours, which halves the steps.
fn find_word(slots: &[u8], key: &[u8]) -> Option<usize> {
    let key = u64::from_le_bytes(*key.first_chunk()?);
    let is_it = |slot: &[u8; 8]| (u64::from_le_bytes(*slot) ^ key) << (8 * STATE_BYTES) == 0;
    let (fours, rest) = slots.as_chunks().0.as_chunks::<4>();
    for (at, four) in fours.iter().enumerate() {
        if let Some(in_four) = four.iter().position(is_it) {
            return Some(4 * at + in_four);
        }
    }
    rest.iter().position(is_it).map(|in_rest| 4 * fours.len() + in_rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Crypto, Millis};
    use crate::swarm::state::{History, Stamp};

    fn peer<const SLOT: usize>(name: u8) -> Peer<SLOT> {
        let state = State::new(Stamp::of(Millis(0)), Crypto::None, History::NONE);
        let mut wire = [0; SLOT];
        wire[0] = name;
        Peer { slot: slot(&wire, state), id: [name; PEER_ID_BYTES] }
    }

    /// The names in the order of the slots, after checking that each has kept its id.
    fn names<const SLOT: usize>(run: &Run<SLOT>, ids: bool) -> Vec<u8> {
        run.check_invariants(ids);
        let names = run.slots().iter().map(|slot| slot[0]);
        if ids {
            assert!(
                names.clone().zip(run.ids(true)).all(|(name, id)| *id == [name; PEER_ID_BYTES]),
                "an id was mixed up"
            );
        }
        names.collect()
    }

    fn leechers_stay_in_front<const SLOT: usize>(ids: bool) {
        let mut run = Run::<SLOT>::default();
        for name in 1..=40 {
            let class = Class::of(name % 2 == 0);
            let at = run.insert(class, &peer(name), ids);
            assert_eq!(at, run.find(&key(&peer::<SLOT>(name).slot)), "where {name} is");
            let part = run.part(Class::Leecher);
            assert!(
                names(&run, ids)[part].iter().all(|name| name % 2 == 1),
                "a seeder among the leechers"
            );
        }
        assert_eq!(run.part(Class::Leecher), 0..20, "the leechers");
        assert_eq!(run.part(Class::Seeder), 20..40, "the seeders");
        for name in 1..=40 {
            let at = run.find(&key(&peer::<SLOT>(name).slot)).unwrap();
            assert_eq!(names(&run, ids)[at], name);
            if name % 4 < 2 {
                let at = run.change_class(at, ids);
                run.write(at, &peer(name), ids);
                assert_eq!(run.class(at), Class::of(name % 2 == 1), "the class of peer {name}");
                assert_eq!(names(&run, ids)[at], name, "the name at its place");
            } else {
                run.remove(at, ids);
                run.fit(ids);
            }
        }
        let mut left = names(&run, ids);
        assert!(left[run.part(Class::Seeder)].iter().all(|name| name % 2 == 1));
        left.sort_unstable();
        assert_eq!(left, (1..=40).filter(|name| name % 4 < 2).collect::<Vec<u8>>());
    }

    #[test]
    fn leechers_stay_in_front_through_every_change() {
        for ids in [false, true] {
            leechers_stay_in_front::<SLOT_V4>(ids);
            leechers_stay_in_front::<SLOT_V6>(ids);
        }
    }

    #[test]
    fn two_ipv4_peers_or_one_ipv6_peer_need_no_allocation() {
        let (mut v4, mut v6) = (Run::<SLOT_V4>::default(), Run::<SLOT_V6>::default());
        for name in 1..=3 {
            v4.insert(Class::Leecher, &peer(name), false);
            v6.insert(Class::Leecher, &peer(name), false);
            assert_eq!(matches!(v4, Run::Inline { .. }), name <= 2, "{name} IPv4 peers");
            assert_eq!(matches!(v6, Run::Inline { .. }), name <= 1, "{name} IPv6 peers");
        }
        v4.remove(0, false);
        v4.fit(false);
        assert!(matches!(v4, Run::Inline { .. }), "the allocation is given back");
        assert_eq!(names(&v4, false), [3, 2]);
    }

    #[test]
    fn a_full_run_refuses() {
        let mut run = Run::<SLOT_V4>::default();
        let refused = (0..=u8::MAX)
            .filter(|name| run.insert(Class::Seeder, &peer(*name), true).is_none())
            .collect::<Vec<_>>();
        assert_eq!(refused, vec![u8::MAX], "the ids that were refused");
        assert_eq!(run.len(), RUN_MAX, "peers in the run");
    }

    #[test]
    fn the_state_is_no_part_of_the_address() {
        let mut run = Run::<SLOT_V4>::default();
        let state = State::new(Stamp::of(Millis(u64::MAX)), Crypto::Required, History::LEECHED);
        run.insert(
            Class::Leecher,
            &Peer { slot: slot(&key(&peer::<SLOT_V4>(1).slot), state), id: [0; 20] },
            false,
        );
        assert_eq!(run.find(&key(&peer::<SLOT_V4>(1).slot)), Some(0));
        assert_eq!(super::state(&run.slots()[0]), state);
        assert_eq!(run.find(&key(&peer::<SLOT_V4>(2).slot)), None);
    }
}
