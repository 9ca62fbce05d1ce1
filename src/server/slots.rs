//! Slab of connections with generations.
//!
//! Owns: which slot is whose. A slot's generation grows when its occupant leaves, so an event or an
//! answer that was meant for the one before finds nobody. Never shrinks: it holds at most as many
//! slots as were occupied at once, and at most the bound given at the start.

use mio::Token;

/// More than a process can have descriptors, and small enough for an index of 32 bits.
pub(in crate::server) const OCCUPIED_MAX: usize = 1 << 30;

/// Where a connection lives: index and generation together name it for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct SlotId {
    /// Position in the slab.
    pub index: u32,
    /// How often the slot had been vacated before.
    pub generation: u32,
}

impl SlotId {
    /// The connection's token at the poll.
    pub(in crate::server) fn token(self) -> Token {
        Token(((self.generation as usize) << 32) | self.index as usize)
    }

    /// The slot of a connection's token; `None` for the others, whose lower half no slot reaches.
    pub(in crate::server) fn of(token: Token) -> Option<SlotId> {
        let index = u32::try_from(token.0 & u32::MAX as usize).ok()?;
        let generation = u32::try_from(token.0 >> 32).ok()?;
        ((index as usize) < OCCUPIED_MAX).then_some(SlotId { index, generation })
    }
}

/// As many slots are checked after every change in a debug build.
const CHECKED_MAX: usize = 16;

/// A bounded slab; freed slots are given out again, most recent first, while they are still warm.
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    occupied_max: usize,
}

struct Slot<T> {
    generation: u32,
    occupant: Option<T>,
}

impl<T> Slots<T> {
    /// An empty slab for at most `occupied_max` occupants, and never more than 2^30.
    pub fn new(occupied_max: usize) -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new(), occupied_max: occupied_max.min(OCCUPIED_MAX) }
    }

    /// Occupied slots.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many occupants there may be.
    pub(in crate::server) fn occupied_max(&self) -> usize {
        self.occupied_max
    }

    /// Whether there is no vacant slot.
    pub fn is_full(&self) -> bool {
        self.len() >= self.occupied_max
    }

    /// The slot that the next occupant gets; none when the slab is full.
    pub fn vacant(&mut self) -> Option<VacantSlot<'_, T>> {
        if self.is_full() {
            return None;
        }
        let index = match self.free.last() {
            Some(index) => *index,
            // `occupied_max` fits 32 bits, so the position does.
            None => u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
        };
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        Some(VacantSlot { slots: self, id: SlotId { index, generation } })
    }

    /// The occupant, unless it has left.
    pub fn find(&mut self, id: SlotId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.occupant.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// Takes the occupant out and bumps the generation.
    pub fn remove(&mut self, id: SlotId) -> Option<T> {
        let slot = self
            .slots
            .get_mut(id.index as usize)
            .filter(|slot| slot.generation == id.generation)?;
        let occupant = slot.occupant.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        self.check_after_change();
        Some(occupant)
    }

    /// Every occupied slot, in order of position.
    pub fn ids(&self) -> impl Iterator<Item = SlotId> {
        self.iter().map(|(id, _)| id)
    }

    /// Every occupant, in order of position.
    pub(in crate::server) fn iter(&self) -> impl Iterator<Item = (SlotId, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let id = SlotId { index, generation: slot.generation };
            slot.occupant.as_ref().map(|occupant| (id, occupant))
        })
    }

    fn check_after_change(&self) {
        if cfg!(debug_assertions) && self.slots.len() <= CHECKED_MAX {
            self.check_invariants();
        }
    }

    /// Panics unless the vacant slots are those of the list of them, each once.
    pub(in crate::server) fn check_invariants(&self) {
        assert!(self.slots.len() <= self.occupied_max, "{} slots", self.slots.len());
        let is_vacant = |(_, slot): &(usize, &Slot<T>)| slot.occupant.is_none();
        let mut vacant_count = 0;
        for (index, _) in self.slots.iter().enumerate().filter(is_vacant) {
            vacant_count += 1;
            let is_listed = self.free.iter().any(|free| *free as usize == index);
            assert!(is_listed, "slot {index} is vacant and will never be given out");
        }
        assert_eq!(self.free.len(), vacant_count, "slots listed as vacant, and vacant ones");
    }
}

/// A slot that is about to be occupied; dropped, it stays vacant.
pub struct VacantSlot<'s, T> {
    slots: &'s mut Slots<T>,
    id: SlotId,
}

impl<T> VacantSlot<'_, T> {
    /// What the occupant will be known by.
    pub fn id(&self) -> SlotId {
        self.id
    }

    /// Gives the slot to `occupant`.
    pub fn insert(self, occupant: T) {
        let SlotId { index, generation } = self.id;
        if self.slots.free.pop().is_none() {
            self.slots.slots.push(Slot { generation, occupant: None });
        }
        self.slots.slots[index as usize].occupant = Some(occupant);
        self.slots.check_after_change();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert<T>(slots: &mut Slots<T>, occupant: T) -> Option<SlotId> {
        let vacant = slots.vacant()?;
        let id = vacant.id();
        vacant.insert(occupant);
        Some(id)
    }

    #[test]
    fn a_slot_given_out_again_does_not_answer_to_its_former_name() {
        let mut slots = Slots::new(2);
        let first = insert(&mut slots, "first").unwrap();
        assert_eq!(slots.remove(first), Some("first"));
        let second = insert(&mut slots, "second").unwrap();
        assert_eq!(second.index, first.index, "the slot is given out again");
        assert_eq!(slots.find(first), None, "by its former name");
        assert_eq!(slots.remove(first), None, "by its former name");
        assert_eq!(slots.find(second).copied(), Some("second"));
    }

    #[test]
    fn a_full_slab_takes_nobody_until_somebody_leaves() {
        let mut slots = Slots::new(1);
        let only = insert(&mut slots, "only").unwrap();
        assert!(slots.is_full() && slots.len() == 1);
        assert_eq!(insert(&mut slots, "one too many"), None);
        assert_eq!(slots.remove(only), Some("only"));
        assert!(insert(&mut slots, "next").is_some());
        assert_eq!(slots.ids().count(), 1);
    }

    #[test]
    fn a_vacant_slot_that_is_not_taken_stays_vacant() {
        let mut slots = Slots::new(1);
        let offered = slots.vacant().map(|vacant| vacant.id());
        assert!(slots.is_empty());
        assert_eq!(insert(&mut slots, "one"), offered);
    }
}
