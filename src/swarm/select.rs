//! Which peers an asker is given.
//!
//! Owns: the draw. Every eligible peer is equally likely to be in an answer: those of the asker's
//! family, not itself, and for a seeder leechers only. An answer takes a *window*, consecutive
//! peers in the order the swarm keeps them (cyclic, the asker left out), from a start that is
//! uniform over the eligible peers: each peer is in `count` of the windows. With one window of the
//! leechers and one of the seeders, in proportion and rounded by chance, the answer looks like the
//! swarm and costs O(numwant).
//!
//! `requirecrypto=1` (message stream encryption) narrows that to peers that support it, and an
//! asker outside the tracker's network may be given public peers only. Then one window over both
//! classes skips the others, from a start that is drawn until it fits. When [`DRAWS_MAX`] draws
//! find none, the window begins where the last one fell, and a reservoir (Vitter's R) chooses among
//! those in it that fit.
//!
//! Never: allocates, or changes the swarm.
//!
//! Limits: numwant is cut to [`PEERS_PER_REPLY_MAX`]. An answer that skips peers looks at
//! [`LOOKED_AT_MAX`] of them and may be short, so that no swarm is scanned whole under its lock; up
//! to that size all that fit are found, and past it each is nearly as likely as the others. Peers
//! of one bucket tend to come together; over many answers that evens out.

use std::ops::{ControlFlow, Range};

use crate::bounds::PEERS_PER_REPLY_MAX;
use crate::ids::{Crypto, PEER_ID_BYTES};
use crate::swarm::announcement::Announcement;
use crate::swarm::chosen::Chosen;
use crate::swarm::peers::{Peers, Place};
use crate::swarm::run::{Class, Run, is_private, state};
use crate::swarm::table;

/// Draws of a start before something surer but slower is done.
const DRAWS_MAX: usize = 64;
/// Peers looked at for an answer that skips some: a hundred cache misses or so.
pub(super) const LOOKED_AT_MAX: usize = 4_096;

/// What an asker wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// Peers, at most; not above [`PEERS_PER_REPLY_MAX`].
    pub(super) numwant: usize,
    /// Whether the asker is a seeder, who is given leechers only.
    pub(super) seeder: bool,
    /// Whether only peers that support encryption will do.
    pub(super) encrypted: bool,
    /// Whether only peers with a public address will do.
    pub(super) public: bool,
}

impl Want {
    /// What `announce` asks for.
    pub(super) fn of(announce: &Announcement) -> Want {
        Want {
            numwant: announce.numwant.min(PEERS_PER_REPLY_MAX),
            seeder: announce.seeder,
            encrypted: announce.crypto == Crypto::Required,
            public: false,
        }
    }

    /// Leechers in an answer that looks like the swarm, of which there is one peer at least.
    #[inline]
    pub(super) fn leecher_count(
        self,
        leechers: usize,
        seeders: usize,
        rng: &mut fastrand::Rng,
    ) -> usize {
        let eligible = leechers + seeders;
        if eligible <= self.numwant {
            return leechers;
        }
        let share = self.numwant * leechers;
        let rounded_up = usize::from(rng.usize(0..eligible) < share % eligible);
        share / eligible + rounded_up
    }

    /// Whether some peers of an eligible class will not do.
    fn skips(self) -> bool {
        self.encrypted || self.public
    }

    /// Whether a peer of an eligible class will do.
    pub(super) fn admits<const SLOT: usize>(self, slot: &[u8; SLOT]) -> bool {
        (!self.encrypted || state(slot).supports_crypto()) && !(self.public && is_private(slot))
    }
}

/// Fills `chosen`, which is empty, with peers for the asker at `asker` (None: it is not stored).
pub(super) fn choose<const SLOT: usize>(
    peers: &Peers<SLOT>,
    asker: Option<Place>,
    want: Want,
    rng: &mut fastrand::Rng,
    chosen: &mut Chosen,
) {
    if let Peers::Few(run) = peers
        && choose_all(run, asker, want, chosen)
    {
        return;
    }
    let numwant = want.numwant;
    let cycle = |class| Cycle::new(peers, class, asker, chosen.want_ids());
    let leechers = cycle(Class::Leecher);
    let seeders = if want.seeder { Cycle::EMPTY } else { cycle(Class::Seeder) };
    let eligible = leechers.len + seeders.len;
    if numwant == 0 || eligible == 0 {
        return;
    }
    if want.skips() {
        _ = choose_among([leechers, seeders], want, rng, chosen);
        return;
    }
    let leecher_count = want.leecher_count(leechers.len, seeders.len, rng);
    leechers.window(leecher_count, rng, chosen);
    seeders.window(eligible.min(numwant) - leecher_count, rng, chosen);
}

/// The same in a small swarm when all its eligible peers are wanted, so that nothing is drawn: they
/// lie side by side. False, with nothing chosen, when they are not.
fn choose_all<const SLOT: usize>(
    run: &Run<SLOT>,
    asker: Option<Place>,
    want: Want,
    chosen: &mut Chosen,
) -> bool {
    let end = if want.seeder { run.part(Class::Leecher).end } else { run.len() };
    let (before, after) = match asker {
        Some(place) if place.at < end => (0..place.at, place.at + 1..end),
        _ => (0..end, end..end),
    };
    if want.skips() || before.len() + after.len() > want.numwant {
        return false;
    }
    let all =
        Piece { slots: run.slots(), ids: if chosen.want_ids() { run.ids(true) } else { &[] } };
    for piece in [before, after] {
        if !piece.is_empty() {
            let piece = all.cut(piece);
            chosen.extend(piece.slots, piece.ids);
        }
    }
    true
}

/// The same among the peers that will do, in cycles of which one is not empty. How many those are
/// is not known, so both classes are one cycle. Says how many peers it looked at.
fn choose_among<const SLOT: usize>(
    [leechers, seeders]: [Cycle<'_, SLOT>; 2],
    want: Want,
    rng: &mut fastrand::Rng,
    chosen: &mut Chosen,
) -> usize {
    let mut looked_at = 0;
    let (first, second, start, fits) = loop {
        let from_leechers = rng.usize(0..leechers.len + seeders.len) < leechers.len;
        let (first, second) = if from_leechers { (leechers, seeders) } else { (seeders, leechers) };
        let start = first.draw(rng);
        looked_at += 1;
        let fits = first.fits(start, want);
        if fits || looked_at == DRAWS_MAX {
            break (first, second, start, fits);
        }
    };
    let mut seen = 0;
    let mut look = |piece: Piece<'_, SLOT>| {
        let piece = piece.cut(0..piece.slots.len().min(LOOKED_AT_MAX - looked_at));
        for (slot, id) in piece.peers() {
            looked_at += 1;
            if !want.admits(slot) {
                continue;
            }
            let place = if seen < want.numwant { seen } else { rng.usize(0..=seen) };
            if place < want.numwant {
                chosen.put(place, slot, id);
            }
            seen += 1;
            if fits && seen == want.numwant {
                return ControlFlow::Break(());
            }
        }
        if looked_at < LOOKED_AT_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    if first.pieces(start, END, &mut look).is_continue()
        && second.pieces(BEGIN, END, &mut look).is_continue()
    {
        _ = first.pieces(BEGIN, start, &mut look);
    }
    looked_at
}

/// A place in a cycle: index of the run, position in the run.
pub(super) type Spot = (usize, usize);

pub(super) const BEGIN: Spot = (0, 0);
const END: Spot = (usize::MAX, usize::MAX);

/// The eligible peers of one class, in their cyclic order.
#[derive(Clone, Copy)]
pub(super) struct Cycle<'a, const SLOT: usize> {
    pub(super) runs: &'a [Run<SLOT>],
    pub(super) class: Class,
    pub(super) asker: Option<Spot>,
    /// Eligible peers.
    pub(super) len: usize,
    pub(super) ids: bool,
}

impl<'a, const SLOT: usize> Cycle<'a, SLOT> {
    pub(super) const EMPTY: Cycle<'a, SLOT> =
        Cycle { runs: &[], class: Class::Seeder, asker: None, len: 0, ids: false };

    pub(super) fn new(
        peers: &'a Peers<SLOT>,
        class: Class,
        asker: Option<Place>,
        ids: bool,
    ) -> Cycle<'a, SLOT> {
        let asker =
            asker.filter(|place| place.class == class).map(|place| (place.bucket, place.at));
        let len = peers.count(class) - usize::from(asker.is_some());
        Cycle { runs: peers.runs(class), class, asker, len, ids }
    }

    /// Adds `count` consecutive peers to `chosen`; there are as many.
    fn window(&self, count: usize, rng: &mut fastrand::Rng, chosen: &mut Chosen) {
        if count == 0 {
            return;
        }
        let start = if count == self.len { BEGIN } else { self.draw(rng) };
        let mut left = count;
        let mut take = |piece: Piece<'_, SLOT>| {
            let piece = piece.cut(0..piece.slots.len().min(left));
            chosen.extend(piece.slots, piece.ids);
            left -= piece.slots.len();
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if self.pieces(start, END, &mut take).is_continue() {
            _ = self.pieces(BEGIN, start, &mut take);
        }
    }

    /// A spot that is uniform over the eligible peers, of which there is one at least. Should luck
    /// fail [`DRAWS_MAX`] times (less than once in a million draws), the begin of a run.
    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> Spot {
        (0..DRAWS_MAX)
            .find_map(|_| self.try_draw(rng).filter(|spot| self.asker != Some(*spot)))
            .unwrap_or_else(|| (rng.usize(0..self.runs.len()), 0))
    }

    /// A spot that is uniform over the peers of the class, the asker included, or None. A hash
    /// leads to each bucket as often as its content is expected to be long, so a draw is
    /// accepted when it falls into the actual length, and against one bound for all: no bucket
    /// is seen to be longer than twice what is expected and 24.
    fn try_draw(&self, rng: &mut fastrand::Rng) -> Option<Spot> {
        let buckets = self.runs.len();
        let bucket = table::address(rng.usize(..), buckets);
        let part = self.runs.get(bucket)?.part(self.class);
        let bound = if buckets == 1 {
            part.len()
        } else {
            let expected = self.len / buckets.next_power_of_two();
            (2 * expected + 24) * table::weight(bucket, buckets)
        };
        let at = part.start + rng.usize(0..bound.max(1));
        (at < part.end).then_some((bucket, at))
    }

    /// Whether the peer at a spot is another than the asker, and will do.
    fn fits(&self, spot: Spot, want: Want) -> bool {
        let slot = self.runs.get(spot.0).and_then(|run| run.slots().get(spot.1));
        self.asker != Some(spot) && slot.is_some_and(|slot| want.admits(slot))
    }

    /// Hands the peers from one spot to before another to `f`, in order and without the asker,
    /// until it breaks off.
    fn pieces<F>(&self, from: Spot, to: Spot, f: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Piece<'a, SLOT>) -> ControlFlow<()>,
    {
        for (bucket, run) in self.runs.iter().enumerate().skip(from.0) {
            let part = run.part(self.class);
            let begin = if bucket == from.0 { part.start.max(from.1) } else { part.start };
            let end = if bucket == to.0 { part.end.min(to.1) } else { part.end };
            let ids = if self.ids { run.ids(true) } else { &[] };
            let piece = Piece { slots: run.slots(), ids };
            match self.asker {
                Some((asker_bucket, asker))
                    if asker_bucket == bucket && begin <= asker && asker < end =>
                {
                    f(piece.cut(begin..asker))?;
                    f(piece.cut(asker + 1..end))?;
                }
                _ => f(piece.cut(begin..end))?,
            }
            if bucket == to.0 {
                break;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Neighbours in a run; no ids where they are not kept or wanted.
#[derive(Clone, Copy)]
struct Piece<'a, const SLOT: usize> {
    slots: &'a [[u8; SLOT]],
    ids: &'a [[u8; PEER_ID_BYTES]],
}

impl<'a, const SLOT: usize> Piece<'a, SLOT> {
    fn cut(&self, range: Range<usize>) -> Piece<'a, SLOT> {
        Piece {
            slots: self.slots.get(range.clone()).unwrap_or_default(),
            ids: self.ids.get(range).unwrap_or_default(),
        }
    }

    /// Its peers, each with its id, if there are any.
    fn peers(self) -> impl Iterator<Item = (&'a [u8; SLOT], Option<&'a [u8; PEER_ID_BYTES]>)> {
        self.slots.iter().enumerate().map(move |(at, slot)| (slot, self.ids.get(at)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ids::{Event, Millis};
    use crate::swarm::rules::Rules;
    use crate::swarm::run::{Peer, SLOT_V4, slot};
    use crate::swarm::state::{History, Stamp, State};
    use crate::swarm::{Newcomer, Store, StoreSettings};
    use crate::tests::announcement::{self, open_at};
    use crate::tests::seeds;

    fn name(wire: &[u8; 6]) -> usize {
        usize::from_be_bytes([0, 0, 0, 0, 0, wire[1], wire[2], wire[3]])
    }

    /// One swarm, in which peer `n` is a seeder unless `n % 3 == 0`, and takes encrypted
    /// connections if `n % encrypted == 0`.
    struct Swarm {
        store: Store,
        peers: usize,
        encrypted: usize,
        rng: fastrand::Rng,
    }

    impl Swarm {
        fn new(peers: usize, encrypted: usize) -> Swarm {
            let seed = seeds::seed();
            let mut swarm = Swarm {
                store: Store::new(StoreSettings { peer_ids: false }, seed),
                peers,
                encrypted,
                rng: fastrand::Rng::with_seed(seed),
            };
            let mut chosen = Chosen::new();
            (0..peers).for_each(|name| swarm.ask(name, Crypto::None, 0, &mut chosen));
            swarm
        }

        fn ask(&mut self, name: usize, crypto: Crypto, numwant: usize, chosen: &mut Chosen) {
            let supported =
                if name.is_multiple_of(self.encrypted) { Crypto::Supported } else { Crypto::None };
            let announce = Announcement {
                seeder: !name.is_multiple_of(3),
                event: Event::Update,
                crypto: if crypto == Crypto::None { supported } else { crypto },
                numwant,
                ..announcement::of(7, u32::try_from(name).unwrap())
            };
            self.store.enter(
                &Newcomer::without_list(&announce),
                open_at(Millis(0)),
                &mut self.rng,
                chosen,
            );
        }

        /// Asks `draws` times as peer `asker`. Panics unless each eligible peer came equally often,
        /// as far as chance allows, and nobody else came. The answers of one window
        /// overlap: the sum of the squares varies more, by about its length.
        fn judge(&mut self, asker: usize, crypto: Crypto, numwant: usize, draws: usize) {
            let is_eligible = |name: usize| {
                let for_seeder = asker.is_multiple_of(3) || name.is_multiple_of(3);
                name != asker
                    && for_seeder
                    && (crypto != Crypto::Required || name.is_multiple_of(self.encrypted))
            };
            let eligible = (0..self.peers).map(is_eligible).collect::<Vec<_>>();
            let eligible_count = eligible.iter().filter(|is_eligible| **is_eligible).count();
            let mut chosen = Chosen::new();
            let mut seen = vec![0_u32; self.peers];
            for _ in 0..draws {
                self.ask(asker, crypto, numwant, &mut chosen);
                assert_eq!(chosen.count(), numwant.min(eligible_count));
                chosen.wire().as_chunks().0.iter().for_each(|wire| seen[name(wire)] += 1);
            }
            let chance = numwant as f64 / eligible_count as f64;
            let (mean, variance) = (draws as f64 * chance, draws as f64 * chance * (1.0 - chance));
            let mut squares = 0.0;
            for (name, is_eligible) in eligible.iter().enumerate() {
                assert!(*is_eligible || seen[name] == 0, "{name} was given to {asker}");
                if *is_eligible {
                    let off = f64::from(seen[name]) - mean;
                    // Small means have long tails: the 12 keeps a false alarm rarer than one in
                    // 10^9 runs.
                    assert!(
                        off.abs() < 6.5 * variance.sqrt() + 12.0,
                        "{name} came {} times, not {mean}",
                        seen[name]
                    );
                    squares += off * off / variance;
                }
            }
            let spread = (2.0 * eligible_count as f64 * (1.0 + numwant as f64)).sqrt();
            assert!(
                (squares - eligible_count as f64).abs() < 6.0 * spread,
                "{squares} for {eligible_count} peers"
            );
        }
    }

    #[test]
    fn every_eligible_peer_is_equally_likely() {
        for (peers, draws) in [(10, 20_000), (100, 20_000), (10_000, 60_000)] {
            let mut swarm = Swarm::new(peers, 2);
            for numwant in [1, 2] {
                swarm.judge(3, Crypto::None, numwant, draws);
                swarm.judge(4, Crypto::None, numwant, draws);
            }
        }
        Swarm::new(1000, 2).judge(3, Crypto::None, 50, 20_000);
        Swarm::new(1000, 2).judge(4, Crypto::None, 200, 20_000);
    }

    #[test]
    fn a_table_of_any_number_of_buckets_is_drawn_from_evenly() {
        for peers in [260, 390, 515, 700] {
            Swarm::new(peers, 2).judge(1, Crypto::None, 7, 20_000);
        }
    }

    #[test]
    fn every_peer_that_supports_encryption_is_equally_likely() {
        for (peers, encrypted, numwant) in
            [(10, 2, 2), (500, 3, 20), (600, 200, 2), (3000, 1000, 2)]
        {
            let mut swarm = Swarm::new(peers, encrypted);
            swarm.judge(3, Crypto::Required, numwant, 6_000);
        }
    }

    /// Peers of whom every `encrypted`-th supports encryption, if that is not 0, and every
    /// `public`-th is public.
    fn crowd(len: u32, encrypted: u32, public: u32) -> Peers<SLOT_V4> {
        let (rules, mut peers) = (Rules::new(false, 5), Peers::default());
        for name in 0..len {
            let crypto = if encrypted > 0 && name.is_multiple_of(encrypted) {
                Crypto::Supported
            } else {
                Crypto::None
            };
            let mut key = [0; SLOT_V4];
            key[..4].copy_from_slice(&name.to_be_bytes());
            key[0] = if public > 0 && name.is_multiple_of(public) { 9 } else { 10 };
            let state = State::new(Stamp::of(Millis(0)), crypto, History::NONE);
            let peer = Peer { slot: slot(&key, state), id: [0; PEER_ID_BYTES] };
            peers.insert(Class::of(name.is_multiple_of(2)), &peer, &rules).unwrap();
        }
        peers
    }

    #[test]
    fn however_large_a_swarm_is_few_peers_are_looked_at_for_one_answer() {
        let crowds = [
            ("nobody supports encryption", crowd(100_000, 0, 1), true, false, 0..=0),
            ("one in a thousand does", crowd(100_000, 1_000, 1), true, false, 0..=25),
            ("one in ten does", crowd(100_000, 10, 1), true, false, 200..=200),
            ("nobody is public", crowd(100_000, 1, 0), false, true, 0..=0),
            ("one in two is public", crowd(100_000, 1, 2), false, true, 200..=200),
            ("one in 33 is both", crowd(100_000, 33, 3), true, true, 60..=200),
            ("a small swarm, nobody does", crowd(4_000, 0, 1), true, false, 0..=0),
        ];
        let mut chosen = Chosen::new();
        for (name, peers, encrypted, public, count) in &crowds {
            let want = Want { numwant: 200, seeder: false, encrypted: *encrypted, public: *public };
            for seed in 0..20 {
                let mut rng = fastrand::Rng::with_seed(seed);
                chosen.clear(&announcement::of(0, 0), false);
                let classes = [Class::Leecher, Class::Seeder];
                let cycles = classes.map(|class| Cycle::new(peers, class, None, false));
                let looked_at = choose_among(cycles, want, &mut rng, &mut chosen);
                assert!(looked_at <= LOOKED_AT_MAX, "{name}: looked at {looked_at}");
                assert!(count.contains(&chosen.count()), "{name}: {} peers", chosen.count());
            }
        }
    }

    #[test]
    fn in_a_swarm_that_is_not_looked_at_whole_everybody_is_nearly_as_likely() {
        const DRAWS: usize = 4_000;
        let (peers, mut chosen) = (crowd(20_000, 500, 1), Chosen::new());
        let mut rng = fastrand::Rng::with_seed(5);
        let mut seen = BTreeMap::new();
        for _ in 0..DRAWS {
            chosen.clear(&announcement::of(0, 0), false);
            let want = Want { numwant: 50, seeder: false, encrypted: true, public: false };
            choose(&peers, None, want, &mut rng, &mut chosen);
            chosen
                .wire()
                .as_chunks()
                .0
                .iter()
                .for_each(|wire| *seen.entry(name(wire)).or_insert(0) += 1);
        }
        assert_eq!(seen.len(), 40, "each that supports encryption came");
        // A window is about a fifth of the swarm.
        let mean = seen.values().sum::<usize>() / 40;
        assert!((DRAWS / 6..DRAWS / 4).contains(&mean), "{mean} times each of {DRAWS}");
        for (name, count) in &seen {
            assert!((mean * 3 / 4..mean * 5 / 4).contains(count), "{name}: {count}, not {mean}");
        }
    }

    #[test]
    fn every_public_peer_is_equally_likely_among_private_ones() {
        const DRAWS: usize = 20_000;
        let (peers, mut chosen) = (crowd(1_000, 1, 3), Chosen::new());
        let mut rng = fastrand::Rng::with_seed(5);
        let mut seen = BTreeMap::new();
        for _ in 0..DRAWS {
            chosen.clear(&announcement::of(0, 0), false);
            let want = Want { numwant: 20, seeder: false, encrypted: false, public: true };
            choose(&peers, None, want, &mut rng, &mut chosen);
            assert_eq!(chosen.count(), 20);
            for wire in chosen.wire().as_chunks::<6>().0 {
                assert_eq!(wire[0], 9, "a private address is in an answer");
                *seen.entry(name(wire)).or_insert(0) += 1;
            }
        }
        let mean = (DRAWS * 20 / 334) as f64;
        assert_eq!(seen.len(), 334, "each public peer came");
        for (name, count) in &seen {
            let off = (f64::from(*count) - mean).abs();
            assert!(off < 6.5 * mean.sqrt() + 12.0, "{name} came {count} times, not {mean}");
        }
    }

    #[test]
    fn too_few_that_support_encryption_are_all_given() {
        let mut chosen = Chosen::new();
        for (peers, encrypted) in [(60, 10), (2000, 700)] {
            Swarm::new(peers, encrypted).ask(3, Crypto::Required, 50, &mut chosen);
            let mut names = chosen.wire().as_chunks().0.iter().map(name).collect::<Vec<_>>();
            names.sort_unstable();
            assert_eq!(names, (0..peers).step_by(encrypted).collect::<Vec<_>>());
        }
    }
}
