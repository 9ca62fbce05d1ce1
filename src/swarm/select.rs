//! Which peers an asker is given.
//!
//! Owns: the draw. Every eligible peer is equally likely to be in an answer: those of the asker's family, not itself, and for a seeder
//! leechers only. An answer takes a *window*, consecutive peers in the order the swarm keeps them (cyclic, the asker left out), from a
//! start that is uniform over the eligible peers: each peer is in `count` of the windows. With one window of the leechers and one
//! of the seeders, in proportion and rounded by chance, the answer looks like the swarm and costs O(numwant).
//!
//! `requirecrypto=1` (message stream encryption) narrows that to peers that support it: one window over both classes that skips the
//! others, from a start that is drawn until it fits; when [`DRAWS_MAX`] draws find none, one scan with a reservoir (Vitter's R).
//!
//! Never: allocates, or changes the swarm.
//!
//! Limits: numwant is cut to [`PEERS_MAX`]. Peers of one bucket tend to come together; over many answers that evens out.

use std::ops::{ControlFlow, Range};

use super::chosen::{Chosen, PEERS_MAX};
use super::peers::{Peers, Place};
use super::run::{Class, Run, state};
use super::{Announcement, table};
use crate::ids::{Crypto, PEER_ID_BYTES};

/// Draws of a start before something surer but slower is done.
const DRAWS_MAX: usize = 64;

/// What an asker wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// Peers, at most; not above [`PEERS_MAX`].
    pub(super) numwant: usize,
    /// Whether the asker is a seeder, who is given leechers only.
    pub(super) seeder: bool,
    /// Whether only peers that support encryption will do.
    pub(super) encrypted: bool,
    /// Whether peer ids are wanted and kept.
    pub(super) ids: bool,
}

impl Want {
    /// What `announce` asks of a store that keeps peer ids or not.
    pub(super) fn of(announce: &Announcement, ids_kept: bool) -> Want {
        Want {
            numwant: announce.numwant.min(PEERS_MAX),
            seeder: announce.seeder,
            encrypted: announce.crypto == Crypto::Required,
            ids: announce.want_ids && ids_kept,
        }
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
    let numwant = want.numwant;
    let leechers = Cycle::new(peers, Class::Leecher, asker, want.ids);
    let seeders = if want.seeder { Cycle::EMPTY } else { Cycle::new(peers, Class::Seeder, asker, want.ids) };
    let eligible = leechers.len + seeders.len;
    if numwant == 0 || eligible == 0 {
        return;
    }
    if want.encrypted {
        return choose_encrypted(leechers, seeders, numwant, rng, chosen);
    }
    let (leecher_count, seeder_count) = if eligible <= numwant {
        (leechers.len, seeders.len)
    } else {
        let share = numwant * leechers.len;
        let rounded_up = usize::from(rng.usize(0..eligible) < share % eligible);
        let leecher_count = share / eligible + rounded_up;
        (leecher_count, numwant - leecher_count)
    };
    leechers.window(leecher_count, rng, chosen);
    seeders.window(seeder_count, rng, chosen);
}

/// The same among peers that support encryption. How many those are is not known, so both classes are one cycle.
fn choose_encrypted<const SLOT: usize>(
    leechers: Cycle<'_, SLOT>,
    seeders: Cycle<'_, SLOT>,
    numwant: usize,
    rng: &mut fastrand::Rng,
    chosen: &mut Chosen,
) {
    for _ in 0..DRAWS_MAX {
        let from_leechers = rng.usize(0..leechers.len + seeders.len) < leechers.len;
        let (first, second) = if from_leechers { (leechers, seeders) } else { (seeders, leechers) };
        let start = first.draw(rng);
        if !first.supports_crypto(start) {
            continue;
        }
        let mut take = |piece: Piece<'_, SLOT>| {
            for peer in piece.peers().filter(Piece::supports_crypto) {
                chosen.extend(peer.slots, peer.ids);
                if chosen.count() == numwant {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        };
        if first.pieces(start, END, &mut take).is_continue() && second.pieces(BEGIN, END, &mut take).is_continue() {
            _ = first.pieces(BEGIN, start, &mut take);
        }
        return;
    }
    let mut seen = 0;
    let mut sample = |piece: Piece<'_, SLOT>| {
        for peer in piece.peers().filter(Piece::supports_crypto) {
            let place = if seen < numwant { seen } else { rng.usize(0..=seen) };
            if place < numwant {
                chosen.put(place, peer.slots, peer.ids);
            }
            seen += 1;
        }
        ControlFlow::Continue(())
    };
    _ = leechers.pieces(BEGIN, END, &mut sample);
    _ = seeders.pieces(BEGIN, END, &mut sample);
}

/// A place in a cycle: index of the run, position in the run.
type Spot = (usize, usize);

const BEGIN: Spot = (0, 0);
const END: Spot = (usize::MAX, usize::MAX);

/// The eligible peers of one class, in their cyclic order.
#[derive(Clone, Copy)]
struct Cycle<'a, const SLOT: usize> {
    runs: &'a [Run<SLOT>],
    class: Class,
    asker: Option<Spot>,
    /// Eligible peers.
    len: usize,
    ids: bool,
}

impl<'a, const SLOT: usize> Cycle<'a, SLOT> {
    const EMPTY: Cycle<'a, SLOT> = Cycle { runs: &[], class: Class::Seeder, asker: None, len: 0, ids: false };

    fn new(peers: &'a Peers<SLOT>, class: Class, asker: Option<Place>, ids: bool) -> Cycle<'a, SLOT> {
        let asker = asker.filter(|place| place.class == class).map(|place| (place.bucket, place.at));
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

    /// A spot that is uniform over the eligible peers, of which there is one at least. Should luck fail [`DRAWS_MAX`] times (less than
    /// once in a million draws), the begin of a run.
    fn draw(&self, rng: &mut fastrand::Rng) -> Spot {
        (0..DRAWS_MAX)
            .find_map(|_| self.try_draw(rng).filter(|spot| self.asker != Some(*spot)))
            .unwrap_or_else(|| (rng.usize(0..self.runs.len()), 0))
    }

    /// A spot that is uniform over the peers of the class, the asker included, or None. A hash leads to each bucket as often as its
    /// content is expected to be long, so a draw is accepted when it falls into the actual length, and against one bound for all: no
    /// bucket is seen to be longer than twice what is expected and 24.
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

    fn supports_crypto(&self, spot: Spot) -> bool {
        let slot = self.runs.get(spot.0).and_then(|run| run.slots().get(spot.1));
        self.asker != Some(spot) && slot.is_some_and(|slot| state(slot).supports_crypto())
    }

    /// Hands the peers from one spot to before another to `f`, in order and without the asker, until it breaks off.
    fn pieces<F>(&self, from: Spot, to: Spot, f: &mut F) -> ControlFlow<()>
    where
        F: FnMut(Piece<'a, SLOT>) -> ControlFlow<()>,
    {
        for (bucket, run) in self.runs.iter().enumerate().skip(from.0) {
            let part = run.part(self.class);
            let begin = if bucket == from.0 { part.start.max(from.1) } else { part.start };
            let end = if bucket == to.0 { part.end.min(to.1) } else { part.end };
            let piece = Piece { slots: run.slots(), ids: run.ids(self.ids) };
            match self.asker {
                Some((asker_bucket, asker)) if asker_bucket == bucket && begin <= asker && asker < end => {
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
        Piece { slots: self.slots.get(range.clone()).unwrap_or_default(), ids: self.ids.get(range).unwrap_or_default() }
    }

    /// Its peers, one by one.
    fn peers(self) -> impl Iterator<Item = Piece<'a, SLOT>> {
        (0..self.slots.len()).map(move |at| self.cut(at..at + 1))
    }

    /// Whether its first peer does.
    fn supports_crypto(&self) -> bool {
        self.slots.first().is_some_and(|slot| state(slot).supports_crypto())
    }
}
