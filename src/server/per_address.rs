//! Connections counted by address, where the settings bound them: those of all workers together,
//! and over IPv6 those of a /64, since who has one of its addresses has all of them. Without a
//! bound nothing is counted.
//!
//! Limits: as many entries as there are connections.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parking_lot::Mutex;

use crate::ids::host;

/// The count of all workers' connections by address; clones share it.
#[derive(Clone, Default)]
pub struct PerAddress {
    counts: Arc<Mutex<HashMap<IpAddr, usize, RandomState>>>,
    connections_max: usize,
}

impl PerAddress {
    /// At most `connections_max` of an address; 0 for no limit.
    pub fn new(connections_max: usize) -> PerAddress {
        PerAddress { counts: Arc::default(), connections_max }
    }

    /// Whether anybody is counted.
    pub(in crate::server) fn is_bounded(&self) -> bool {
        self.connections_max > 0
    }

    /// Counts one more connection of `ip`; false, and nothing counted, when it has as many as it
    /// may.
    pub(in crate::server) fn admit(&self, ip: IpAddr) -> bool {
        if self.connections_max == 0 {
            return true;
        }
        let mut counts = self.counts.lock();
        let count = counts.entry(host(ip)).or_insert(0);
        let admitted = *count < self.connections_max;
        *count += usize::from(admitted);
        admitted
    }

    /// A connection that was admitted is over.
    pub(in crate::server) fn leave(&self, ip: IpAddr) {
        if self.connections_max == 0 {
            return;
        }
        if let Entry::Occupied(mut count) = self.counts.lock().entry(host(ip)) {
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

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_admitted_up_to_its_bound_and_forgotten_when_it_has_left() {
        let rows = [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1"),
        ];
        for (first, same, other) in rows.map(|(a, b, c)| (ip(a), ip(b), ip(c))) {
            let workers = [PerAddress::new(2); 1].map(|counts| [counts.clone(), counts]);
            let [[one, another]] = &workers;
            assert!(one.admit(first) && another.admit(same), "{first} and {same}: two");
            assert!(!one.admit(same) && !another.admit(first), "{first} and {same}: three");
            assert!(one.admit(other), "{other} is somebody else");
            another.leave(first);
            assert!(another.admit(same), "one of {first} has left");
            [first, same, other].iter().for_each(|ip| one.leave(*ip));
            assert!(one.counts.lock().is_empty(), "all have left");
        }
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let counts = PerAddress::default();
        let admitted = (0..1_000).filter(|_| counts.admit(ip("192.0.2.1"))).count();
        assert_eq!(admitted, 1_000);
        assert!(counts.counts.lock().is_empty());
    }
}
