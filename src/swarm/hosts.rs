//! Which addresses have the most peers, all torrents together.
//!
//! Owns: a table of fixed size with the addresses that have many, and an estimate for each. One
//! peer of [`ONE_OF`] is counted, by a keyed hash of its torrent and address, so that its coming
//! and its going are counted alike and fifteen of sixteen touch nothing that is shared.
//!
//! Never: has a count for everybody. A set of the table that is full of addresses makes room for a
//! new one by the rule of Misra and Gries: each newcomer takes one from the smallest count, and its
//! place when nothing is left.
//!
//! Limits: [`SETS`] times [`WAYS`] addresses. An estimate is about right for who has some thousand
//! peers, at most by chance too high, and too low by the newcomers that met it as the smallest.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;

use crate::ids::{InfoHash, PeerAddr};
use crate::swarm::shares::Host;

/// Of so many peers one is counted.
const ONE_OF: u64 = 16;
/// With fewer peers that were counted, an address is like any other: it may be chance.
const KNOWN_MIN: u32 = 8;
const SETS_BITS: u32 = 9;
const SETS: usize = 1 << SETS_BITS;
const WAYS: usize = 8;
/// What an address may have at least, whatever the caps: below it, an estimate is mostly chance.
const SHARE_MIN: u64 = 1_024;
/// The part of a cap that one address may have.
const SHARE_OF_CAP: u64 = 16;

#[derive(Clone, Copy)]
struct Entry {
    host: Host,
    /// Peers that were counted; 0 where there is no address.
    count: u32,
}

/// See the module.
pub(super) struct Hosts {
    sets: Box<[Mutex<[Entry; WAYS]>]>,
    /// Addresses that may be above [`SHARE_MIN`]: while there are none, nobody need be looked up.
    large: AtomicUsize,
    key: u64,
}

impl Hosts {
    /// Nobody so far; `key` is random.
    pub(super) fn new(key: u64) -> Hosts {
        let nobody = [Entry { host: Host(0), count: 0 }; WAYS];
        Hosts {
            sets: (0..SETS).map(|_| Mutex::new(nobody)).collect(),
            large: AtomicUsize::new(0),
            key: key | 1,
        }
    }

    /// Whether this peer of this torrent is one that is counted.
    #[inline]
    pub(super) fn counts(&self, info_hash: &InfoHash, wire: &[u8]) -> bool {
        let first = |bytes: &[u8]| bytes.first_chunk().map_or(0, |it| u64::from_le_bytes(*it));
        // Address and port of an IPv4 peer; of an IPv6 peer all but the middle of its address.
        let word = wire
            .last_chunk::<6>()
            .map_or(0, |[a, b, c, d, e, f]| u64::from_le_bytes([*a, *b, *c, *d, *e, *f, 0, 0]));
        let both = first(&info_hash.0) ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        both.wrapping_mul(self.key) >> (u64::BITS - ONE_OF.trailing_zeros()) == 0
    }

    /// A peer has been stored.
    #[inline]
    pub(super) fn add(&self, info_hash: &InfoHash, peer: &PeerAddr) {
        if self.counts(info_hash, peer.wire()) {
            self.add_counted(Host::of(peer));
        }
    }

    #[inline(never)]
    fn add_counted(&self, host: Host) {
        let mut set = self.set(host).lock();
        if let Some(entry) = set.iter_mut().find(|entry| entry.host == host && entry.count > 0) {
            entry.count += 1;
            if u64::from(entry.count) == SHARE_MIN / ONE_OF {
                self.large.fetch_add(1, Relaxed);
            }
            return;
        }
        let Some(entry) = set.iter_mut().min_by_key(|entry| entry.count) else { return };
        if entry.count > 0 {
            self.lower(entry);
        }
        if entry.count == 0 {
            *entry = Entry { host, count: 1 };
        }
    }

    /// A peer has gone.
    #[inline]
    pub(super) fn remove(&self, info_hash: &InfoHash, peer: &PeerAddr) {
        if self.counts(info_hash, peer.wire()) {
            self.remove_counted(Host::of(peer));
        }
    }

    /// A peer that is counted has gone.
    #[inline(never)]
    pub(super) fn remove_counted(&self, host: Host) {
        let mut set = self.set(host).lock();
        if let Some(entry) = set.iter_mut().find(|entry| entry.host == host && entry.count > 0) {
            self.lower(entry);
        }
    }

    fn lower(&self, entry: &mut Entry) {
        if u64::from(entry.count) == SHARE_MIN / ONE_OF {
            self.large.fetch_sub(1, Relaxed);
        }
        entry.count -= 1;
    }

    /// About how many peers an address has; 0 when it is not known to have many.
    pub(super) fn peers(&self, host: Host) -> u64 {
        let set = self.set(host).lock();
        let entry = set.iter().find(|entry| entry.host == host && entry.count >= KNOWN_MIN);
        entry.map_or(0, |entry| u64::from(entry.count) * ONE_OF)
    }

    /// Whether an address has its share of a cap: a sixteenth, but a thousand peers at least.
    #[inline]
    pub(super) fn has_share(&self, host: Host, cap: u64) -> bool {
        self.large.load(Relaxed) > 0 && self.peers(host) >= (cap / SHARE_OF_CAP).max(SHARE_MIN)
    }

    fn set(&self, host: Host) -> &Mutex<[Entry; WAYS]> {
        &self.sets[(host.0.wrapping_mul(self.key) >> (u64::BITS - SETS_BITS)) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::announcement::hash;

    fn peer(host: u32, port: u16) -> PeerAddr {
        let [a, b, c, d] = host.to_be_bytes();
        let [high, low] = port.to_be_bytes();
        PeerAddr::V4([a, b, c, d, high, low])
    }

    #[test]
    fn who_has_many_peers_is_known_among_a_crowd_of_those_who_have_few() {
        let hosts = Hosts::new(0x1234_5678_9abc_def1);
        let mut rng = fastrand::Rng::with_seed(5);
        for number in 0..40_000 {
            hosts.add(&hash(rng.u16(..)), &peer(rng.u32(..), rng.u16(..)));
            hosts.add(&hash(1), &peer(9 << 24, number));
        }
        let told = hosts.peers(Host(9 << 24));
        assert!((36_000..44_000).contains(&told), "{told} of 40 000");
        assert!(hosts.has_share(Host(9 << 24), 100_000), "more than a sixteenth");
        assert!(!hosts.has_share(Host(9 << 24), 1_000_000), "less than a sixteenth");
        assert!(!hosts.has_share(Host(8 << 24), 1), "nobody has heard of this one");
        (0..40_000).for_each(|number| hosts.remove(&hash(1), &peer(9 << 24, number)));
        let told = hosts.peers(Host(9 << 24));
        assert!(told < 1_000, "{told} of nobody who is left");
        assert_eq!(hosts.large.load(Relaxed), 0, "addresses that have many");
    }

    #[test]
    fn one_peer_of_sixteen_is_counted_whatever_strangers_choose() {
        let hosts = Hosts::new(0x0fed_cba9_8765_4321);
        type Row = (&'static str, fn(u16) -> (u16, u32, u16));
        let rows: [Row; 3] = [
            ("ports of one address in one torrent", |at| (1, 9 << 24, at)),
            ("torrents of one peer", |at| (at, 9 << 24, 6881)),
            ("addresses in one torrent", |at| (1, 9 << 24 | u32::from(at), 6881)),
        ];
        for (name, row) in rows {
            let counted = (0..u16::MAX).filter(|at| {
                let (torrent, host, port) = row(*at);
                hosts.counts(&hash(torrent), peer(host, port).wire())
            });
            let counted = counted.count();
            assert!((3_000..5_300).contains(&counted), "{name}: {counted} of 65 535");
        }
    }
}
