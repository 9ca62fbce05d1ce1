//! Connections counted by address, where the settings bound them. Without a bound nothing is
//! counted.

use std::net::IpAddr;

use ahash::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// One worker's count of its connections by address.
pub(in crate::server) struct PerAddress {
    counts: HashMap<IpAddr, usize, RandomState>,
    connections_max: usize,
}

impl PerAddress {
    /// At most `connections_max` of an address; 0 for no limit.
    pub(in crate::server) fn new(connections_max: usize) -> PerAddress {
        PerAddress { counts: HashMap::default(), connections_max }
    }

    /// Whether anybody is counted.
    pub(in crate::server) fn is_bounded(&self) -> bool {
        self.connections_max > 0
    }

    /// Counts one more connection of `ip`; false, and nothing counted, when it has as many as it
    /// may.
    pub(in crate::server) fn admit(&mut self, ip: IpAddr) -> bool {
        if self.connections_max == 0 {
            return true;
        }
        let count = self.counts.entry(ip).or_insert(0);
        let admitted = *count < self.connections_max;
        *count += usize::from(admitted);
        admitted
    }

    /// A connection that was admitted is over.
    pub(in crate::server) fn leave(&mut self, ip: IpAddr) {
        if let Entry::Occupied(mut count) = self.counts.entry(ip) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_admitted_up_to_its_bound_and_forgotten_when_it_has_left() {
        let (mut counts, ip) = (PerAddress::new(2), IpAddr::from([192, 0, 2, 1]));
        assert_eq!([counts.admit(ip), counts.admit(ip), counts.admit(ip)], [true, true, false]);
        counts.leave(ip);
        assert!(counts.admit(ip));
        counts.leave(ip);
        counts.leave(ip);
        assert!(counts.counts.is_empty());
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let mut counts = PerAddress::new(0);
        assert!(
            (0..1_000).all(|_| counts.admit(IpAddr::from([192, 0, 2, 1])))
                && counts.counts.is_empty()
        );
    }
}
