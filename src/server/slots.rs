//! Slab of connections with generations.
//!
//! Owns: which slot is whose. A slot's generation grows when its occupant leaves, so an event or an
//! answer that was meant for the one before finds nobody. Never shrinks: it holds at most as many
//! slots as were occupied at once, and at most the bound given at the start.

use mio::Token;

/// More than a process can have descriptors, and small enough for an index of 32 bits.
pub(super) const OCCUPIED_MAX: usize = 1 << 30;

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
    pub(super) fn token(self) -> Token {
        Token(((self.generation as usize) << 32) | self.index as usize)
    }

    /// The slot of a connection's token; `None` for the others, whose lower half no slot reaches.
    pub(super) fn of(token: Token) -> Option<SlotId> {
        let index = u32::try_from(token.0 & u32::MAX as usize).ok()?;
        let generation = u32::try_from(token.0 >> 32).ok()?;
        ((index as usize) < OCCUPIED_MAX).then_some(SlotId { index, generation })
    }
}

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

    /// Whether [`Slots::insert_with`] would refuse.
    pub fn is_full(&self) -> bool {
        self.len() >= self.occupied_max
    }

    /// Gives a slot to the occupant that `occupant` makes for it; `None` when the slab is full.
    pub fn insert_with(&mut self, occupant: impl FnOnce(SlotId) -> T) -> Option<SlotId> {
        if self.is_full() {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot { generation: 0, occupant: None });
                // `occupied_max` fits 32 bits, so the position does.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let slot = &mut self.slots[index as usize];
        let id = SlotId { index, generation: slot.generation };
        slot.occupant = Some(occupant(id));
        Some(id)
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
        Some(occupant)
    }

    /// Every occupied slot, in order of position.
    pub fn ids(&self) -> impl Iterator<Item = SlotId> {
        let occupied = self.slots.iter().enumerate().filter(|(_, slot)| slot.occupant.is_some());
        occupied.map(|(index, slot)| SlotId {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            generation: slot.generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_given_out_again_does_not_answer_to_its_former_name() {
        let mut slots = Slots::new(2);
        let first = slots.insert_with(|_| "first").unwrap();
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert_with(|_| "second").unwrap();
        assert_eq!((second.index, slots.find(first).is_none()), (first.index, true));
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.find(second).copied(), Some("second"));
    }

    #[test]
    fn a_full_slab_takes_nobody_until_somebody_leaves() {
        let mut slots = Slots::new(1);
        let only = slots.insert_with(|id| id).unwrap();
        assert_eq!((slots.insert_with(|id| id), slots.is_full(), slots.len()), (None, true, 1));
        assert_eq!(slots.remove(only), Some(only));
        assert_eq!((slots.insert_with(|id| id).is_some(), slots.ids().count()), (true, 1));
    }
}
