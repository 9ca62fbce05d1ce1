//! How many peers of each address an answer holds already.
//!
//! Owns: a worker's scratch table for one answer, open addressing by a key that is drawn anew for
//! each, so that nobody can choose addresses that pile up in it. Entries of earlier answers are
//! told by their number: nothing is cleared.
//!
//! Limits: [`PEERS_PER_REPLY_MAX`] addresses, in twice as many places.

use crate::bounds::PEERS_PER_REPLY_MAX;
use crate::swarm::shares::Host;

/// Peers of one address in an answer, while there are others.
pub(super) const OF_ONE_HOST: u8 = 2;
const PLACES_BITS: u32 = 10;
const PLACES: usize = 1 << PLACES_BITS;
const _: () = assert!(PLACES >= 2 * PEERS_PER_REPLY_MAX);

#[derive(Clone, Copy)]
struct Entry {
    host: Host,
    answer: u32,
    peers: u8,
}

/// See the module.
pub(super) struct Tally {
    entries: Box<[Entry; PLACES]>,
    key: u64,
    answer: u32,
    hosts: usize,
}

impl Tally {
    /// An empty one.
    pub(super) fn new() -> Tally {
        let nobody = Entry { host: Host(0), answer: 0, peers: 0 };
        Tally { entries: Box::new([nobody; PLACES]), key: 1, answer: 0, hosts: 0 }
    }

    /// Begins an answer; `key` is random.
    pub(super) fn begin(&mut self, key: u64) {
        self.answer = self.answer.wrapping_add(1);
        if self.answer == 0 {
            self.entries.iter_mut().for_each(|entry| entry.answer = 0);
            self.answer = 1;
        }
        (self.key, self.hosts) = (key | 1, 0);
    }

    /// Counts one more peer of an address, unless there are [`OF_ONE_HOST`] already.
    pub(super) fn admit(&mut self, host: Host) -> bool {
        let mut at = (host.0.wrapping_mul(self.key) >> (u64::BITS - PLACES_BITS)) as usize;
        loop {
            let entry = &mut self.entries[at % PLACES];
            if entry.answer != self.answer {
                if self.hosts == PEERS_PER_REPLY_MAX {
                    return false;
                }
                self.hosts += 1;
                *entry = Entry { host, answer: self.answer, peers: 1 };
                return true;
            }
            if entry.host == host {
                let is_admitted = entry.peers < OF_ONE_HOST;
                entry.peers += u8::from(is_admitted);
                return is_admitted;
            }
            at += 1;
        }
    }

    /// Addresses so far.
    pub(super) fn hosts(&self) -> usize {
        self.hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_each_address_are_admitted_in_each_answer() {
        let mut tally = Tally::new();
        for answer in 0..5_u64 {
            tally.begin(answer.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for host in 0..PEERS_PER_REPLY_MAX as u64 {
                let admitted = (0..4).filter(|_| tally.admit(Host(host << 32))).count();
                assert_eq!(admitted, 2, "peers of address {host} in answer {answer}");
            }
            assert!(!tally.admit(Host(7)), "an address past the last that fits");
            assert_eq!(tally.hosts(), PEERS_PER_REPLY_MAX, "addresses in answer {answer}");
        }
    }
}
