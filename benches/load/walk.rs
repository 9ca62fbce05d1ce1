//! In which order peers announce.
//!
//! Each address has its own place in its list, which is in random order: so torrents are visited at
//! random, every peer once before any is visited again, as peers with an interval do.

use crate::population::{Peer, Population};

/// See the module.
pub(crate) struct Walk {
    /// How many peers of each address have had their turn.
    turns: Vec<usize>,
    /// Whether to begin again at the end.
    endless: bool,
    /// The share of each address' peers that announce, as one in so many.
    one_in: usize,
    address: usize,
}

impl Walk {
    /// Every peer, once.
    pub(crate) fn once(population: &Population) -> Walk {
        Walk { turns: vec![0; population.addresses()], endless: false, one_in: 1, address: 0 }
    }

    /// Again and again the same `one_in`th of the peers.
    pub(crate) fn endless(population: &Population, one_in: usize) -> Walk {
        Walk { endless: true, one_in, ..Walk::once(population) }
    }

    /// The next peer of an address, none when all have had their turn.
    pub(crate) fn next_of(&mut self, address: usize, population: &Population) -> Option<Peer> {
        let all = population.of_address(address);
        let turn = self.turns.get_mut(address)?;
        let count = all.len().div_ceil(self.one_in);
        if *turn >= count && self.endless {
            *turn = 0;
        }
        let peer = (*turn < count).then(|| population.peer(all.start + *turn));
        *turn += 1;
        peer
    }

    /// The next peer of the next address that has one.
    pub(crate) fn next(&mut self, population: &Population) -> Option<Peer> {
        for _ in 0..self.turns.len() {
            let address = self.address;
            self.address = (address + 1) % self.turns.len();
            let peer = self.next_of(address, population);
            if peer.is_some() {
                return peer;
            }
        }
        None
    }
}
