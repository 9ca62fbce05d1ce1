//! The peers of one class of a large swarm: a hash table that never stops to rehash.
//!
//! Owns: linear hashing (Litwin, 1980). `n` buckets, each a dense run; the low bits of a keyed hash
//! say which. One bucket is split when there are more than [`LOAD_MAX`] peers a bucket, the last
//! one merged back when there are fewer than [`LOAD_MIN`]: a swarm of a million grows and shrinks
//! 32 peers at a time, so no announce ever waits for the whole table.
//!
//! Never: keeps an order, or looks at who is asked for. Consecutive buckets are consecutive in the
//! answer (see `select`).
//!
//! Limits: [`RUN_MAX`] peers a bucket. With a key that strangers do not know, a bucket of 64 peers
//! on average is not seen to have 128; one that is full refuses, which is answered like a peer past
//! the cap.

use crate::swarm::capacity;
use crate::swarm::rules::Rules;
use crate::swarm::run::{Class, Peer, RUN_MAX, Run, key, wire};
use crate::swarm::work::Work;

/// More peers a bucket than this: split one.
pub(super) const LOAD_MAX: usize = 32;
/// Fewer peers a bucket than this: merge the last.
pub(super) const LOAD_MIN: usize = 16;

/// See the module. A table has one bucket at least.
pub(super) struct Table<const SLOT: usize> {
    buckets: Vec<Run<SLOT>>,
    len: usize,
}

impl<const SLOT: usize> Table<SLOT> {
    /// No peers, one bucket.
    pub(super) fn new() -> Table<SLOT> {
        Table { buckets: vec![Run::default()], len: 0 }
    }

    /// All peers.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The runs of peers, each of the table's one class.
    pub(super) fn buckets(&self) -> &[Run<SLOT>] {
        &self.buckets
    }

    /// The bucket and position of the peer with the address of `key`, whose hash is `hash`.
    pub(super) fn find(&self, hash: usize, key: &[u8; SLOT]) -> Option<(usize, usize)> {
        let bucket = address(hash, self.buckets.len());
        self.buckets.get(bucket)?.find(key).map(|at| (bucket, at))
    }

    /// Overwrites a peer with its newer self.
    pub(super) fn write(&mut self, bucket: usize, at: usize, peer: &Peer<SLOT>, ids: bool) {
        self.buckets[bucket].write(at, peer, ids);
    }

    /// Adds a peer that is not there yet, and says in which bucket and where in it. None when its
    /// bucket is full.
    pub(super) fn insert(
        &mut self,
        class: Class,
        peer: &Peer<SLOT>,
        rules: &Rules,
    ) -> Option<(usize, usize)> {
        let hash = rules.peer_hash(wire(&peer.slot));
        let bucket = address(hash, self.buckets.len());
        let at = self.buckets[bucket].insert(class, peer, rules.ids)?;
        self.len += 1;
        if self.len > LOAD_MAX * self.buckets.len() {
            self.split(class, rules);
            // It may have been moved.
            return self.find(hash, &key(&peer.slot));
        }
        Some((bucket, at))
    }

    /// Takes out the peer at a position of a bucket.
    pub(super) fn remove(&mut self, bucket: usize, at: usize, class: Class, ids: bool) {
        let run = &mut self.buckets[bucket];
        run.remove(at, ids);
        run.fit(ids);
        self.len -= 1;
        self.merge(class, ids);
    }

    /// Takes out the peers of one bucket that have lived their time. Says how many peers that made
    /// it look at or move.
    pub(super) fn expire(
        &mut self,
        bucket: usize,
        class: Class,
        work: &mut Work<'_>,
        rules: &Rules,
    ) -> usize {
        let run = &mut self.buckets[bucket];
        let looked_at = run.len();
        let gone = run.expire(work, rules.ids);
        self.len -= gone;
        looked_at + if gone > 0 { self.merge(class, rules.ids) } else { 0 }
    }

    /// Adds a bucket, and moves to it the half of its sibling's peers whose hash has one more bit
    /// set.
    fn split(&mut self, class: Class, rules: &Rules) {
        let added = self.buckets.len();
        let source = sibling(added);
        let lower = &mut self.buckets[source];
        let mut upper = Run::default();
        upper.reserve(lower.len() / 2, rules.ids);
        for at in (0..lower.len()).rev() {
            let peer = lower.peer(at, rules.ids);
            if address(rules.peer_hash(wire(&peer.slot)), added + 1) == added {
                upper.insert(class, &peer, rules.ids);
                lower.remove(at, rules.ids);
            }
        }
        lower.fit(rules.ids);
        upper.fit(rules.ids);
        capacity::push(&mut self.buckets, upper);
    }

    /// Puts the peers of the last bucket back to its sibling, as often as there are too many
    /// buckets. Says how many those were.
    fn merge(&mut self, class: Class, ids: bool) -> usize {
        let mut moved = 0;
        while self.len < LOAD_MIN * self.buckets.len() && self.buckets.len() > 1 {
            let last = self.buckets.len() - 1;
            let source = sibling(last);
            if self.buckets[source].len() + self.buckets[last].len() > RUN_MAX {
                break;
            }
            let Some(upper) = self.buckets.pop() else { break };
            let lower = &mut self.buckets[source];
            moved += upper.len();
            if lower.len() == 0 {
                *lower = upper;
            } else {
                lower.reserve(upper.len(), ids);
                (0..upper.len()).for_each(|at| _ = lower.insert(class, &upper.peer(at, ids), ids));
            }
            capacity::shrink(&mut self.buckets);
        }
        moved
    }

    /// Panics when a peer lies where it would not be found. Looks at every peer only of a table of
    /// few buckets.
    pub(super) fn check_invariants(&self, class: Class, rules: &Rules, every_peer: bool) {
        let buckets = self.buckets.len();
        assert!(
            buckets >= 1 && self.len <= LOAD_MAX * buckets,
            "{} peers in {buckets} buckets",
            self.len
        );
        assert!(
            buckets == 1 || self.len >= LOAD_MIN * buckets,
            "{} peers in {buckets} buckets",
            self.len
        );
        if !every_peer {
            return;
        }
        assert_eq!(
            self.buckets.iter().map(Run::len).sum::<usize>(),
            self.len,
            "a table has miscounted"
        );
        for (at, run) in self.buckets.iter().enumerate() {
            run.check_invariants(rules.ids);
            assert!(run.part(class.other()).is_empty(), "a table holds the other class");
            let strays =
                run.slots().iter().any(|slot| address(rules.peer_hash(wire(slot)), buckets) != at);
            assert!(!strays, "a peer is in a bucket that is not its own");
        }
    }
}

/// The bucket of a hash among `buckets` ones: its low bits, one bit fewer where that bucket has not
/// been split off yet.
pub(super) fn address(hash: usize, buckets: usize) -> usize {
    let round = buckets.next_power_of_two();
    let bucket = hash & (round - 1);
    if bucket < buckets { bucket } else { bucket - round / 2 }
}

/// How many times as many hashes as to the last bucket lead to this one: 2 for those that have not
/// been split yet, else 1.
pub(super) fn weight(bucket: usize, buckets: usize) -> usize {
    let half = buckets.next_power_of_two() / 2;
    if bucket < half && bucket + half >= buckets { 2 } else { 1 }
}

/// The bucket that `bucket` is split off from.
fn sibling(bucket: usize) -> usize {
    bucket - (bucket + 1).next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::run::SLOT_V4;

    #[test]
    fn a_new_bucket_takes_peers_from_its_sibling_alone() {
        for buckets in 1..300_usize {
            for hash in 0..2048 {
                let (before, after) = (address(hash, buckets), address(hash, buckets + 1));
                assert!(before < buckets);
                assert!(
                    after == before || (after == buckets && before == sibling(buckets)),
                    "hash {hash}, {buckets} buckets"
                );
            }
        }
    }

    #[test]
    fn a_weight_is_the_share_of_the_hashes() {
        for buckets in 1..300_usize {
            let round = buckets.next_power_of_two();
            for bucket in 0..buckets {
                let hashes = (0..round).filter(|hash| address(*hash, buckets) == bucket).count();
                assert_eq!(weight(bucket, buckets), hashes, "bucket {bucket} of {buckets}");
            }
        }
    }

    fn peer(name: u32) -> Peer<SLOT_V4> {
        let mut slot = [0; SLOT_V4];
        slot[..4].copy_from_slice(&name.to_be_bytes());
        Peer { slot, id: [0; 20] }
    }

    fn find(table: &Table<SLOT_V4>, name: u32, rules: &Rules) -> Option<(usize, usize)> {
        let slot = peer(name).slot;
        table.find(rules.peer_hash(wire(&slot)), &slot)
    }

    #[test]
    fn a_table_grows_and_shrinks_by_one_bucket_at_a_time() {
        let rules = Rules::new(false, 7);
        let mut table = Table::new();
        for name in 0..5000 {
            let buckets = table.buckets().len();
            let place = table.insert(Class::Leecher, &peer(name), &rules);
            assert_eq!(place, find(&table, name, &rules), "where {name} is");
            assert!(place.is_some(), "{name} is refused");
            assert!(table.buckets().len() - buckets <= 1);
            table.check_invariants(Class::Leecher, &rules, name % 64 == 0);
        }
        assert_eq!(table.buckets().len(), 5000_usize.div_ceil(LOAD_MAX));
        for name in 0..5000 {
            let buckets = table.buckets().len();
            let (bucket, at) = find(&table, name, &rules).unwrap();
            table.remove(bucket, at, Class::Leecher, rules.ids);
            assert!(buckets - table.buckets().len() <= 1);
            assert_eq!(find(&table, name, &rules), None);
            assert!(name == 4999 || find(&table, 4999, &rules).is_some());
            table.check_invariants(Class::Leecher, &rules, name % 64 == 0);
        }
        assert_eq!(table.len(), 0, "peers");
        assert_eq!(table.buckets().len(), 1, "buckets");
    }
}
