//! Which peers an asker is given in a swarm where some share an address.
//!
//! Owns: the draw of `select` with a rule more: at most two peers of one address (`shares::Host`),
//! while there are others. A window of each class begins anywhere and leaves out whoever would be a
//! third. What one class lacks then the other may have. Only an answer of fewer than
//! [`FILLED_UP_TO`] peers is filled up with those who were left out, so that a swarm of two or
//! three homes or seedboxes still works; one whose peers all have one address is given in full.
//!
//! Never: allocates, or changes the swarm.
//!
//! Limits: judges [`JUDGED_MAX`] peers, and skips others that will not do anyway as long as it has
//! looked at [`LOOKED_AT_MAX`] in all. In a swarm where more than that are left out some of the
//! others may be missed.

use arrayvec::ArrayVec;

use crate::bounds::PEERS_PER_REPLY_MAX;
use crate::config::Networks;
use crate::ids::{PEER_ID_BYTES, PeerAddr};
use crate::swarm::chosen::Chosen;
use crate::swarm::peers::{Peers, Place};
use crate::swarm::run::{Class, wire};
use crate::swarm::select::{BEGIN, Cycle, LOOKED_AT_MAX, Spot, Want};
use crate::swarm::shares::Host;

/// Peers judged for one answer: half as many again as the largest holds.
const JUDGED_MAX: usize = PEERS_PER_REPLY_MAX * 3 / 2;
/// Peers with which a client gets along: where the rule leaves fewer, it gives way.
const FILLED_UP_TO: usize = 20;

/// What an asker wants, and whom the rule spares.
#[derive(Clone, Copy)]
pub(super) struct FairWant<'a> {
    /// What it wants.
    pub(super) want: Want,
    /// Networks whose addresses may come as often as they like.
    pub(super) exempt: &'a Networks,
}

/// One peer: its slot, and its id where that is wanted.
type Found<'a, const SLOT: usize> = (&'a [u8; SLOT], Option<&'a [u8; PEER_ID_BYTES]>);

/// Fills `chosen`, which is empty, with peers for the asker at `asker`. Says how many peers it
/// looked at.
pub(super) fn choose<const SLOT: usize>(
    peers: &Peers<SLOT>,
    asker: Option<Place>,
    fair: FairWant<'_>,
    rng: &mut fastrand::Rng,
    chosen: &mut Chosen,
) -> usize {
    let numwant = fair.want.numwant;
    let cycle = |class| Cycle::new(peers, class, asker, chosen.want_ids());
    let leechers = cycle(Class::Leecher);
    let seeders = if fair.want.seeder { Cycle::EMPTY } else { cycle(Class::Seeder) };
    if numwant == 0 || leechers.len + seeders.len == 0 {
        return 0;
    }
    chosen.tally_mut().begin(rng.u64(..));
    let leecher_count = fair.want.leecher_count(leechers.len, seeders.len, rng);
    let mut walks = [leechers, seeders].map(|cycle| Walk::new(cycle, rng));
    let mut draw = Draw { fair, looked_at: 0, judged: 0, left_out: ArrayVec::new(), chosen };
    draw.take(&mut walks[0], leecher_count);
    draw.take(&mut walks[1], numwant);
    draw.take(&mut walks[0], numwant);
    draw.fill_up();
    draw.looked_at
}

struct Draw<'a, 'd, const SLOT: usize> {
    fair: FairWant<'d>,
    looked_at: usize,
    /// Those of them that would have done.
    judged: usize,
    left_out: ArrayVec<Found<'a, SLOT>, PEERS_PER_REPLY_MAX>,
    chosen: &'d mut Chosen,
}

impl<'a, const SLOT: usize> Draw<'a, '_, SLOT> {
    /// Goes on with a walk until there are `count` peers.
    fn take(&mut self, walk: &mut Walk<'a, SLOT>, count: usize) {
        while self.chosen.count() < count
            && self.looked_at < LOOKED_AT_MAX
            && self.judged < JUDGED_MAX
        {
            let Some((slot, id)) = walk.next() else { return };
            self.looked_at += 1;
            if !self.fair.want.admits(slot) {
                continue;
            }
            self.judged += 1;
            let exempt = self.fair.exempt;
            let is_exempt =
                || PeerAddr::of_wire(wire(slot)).is_some_and(|peer| exempt.contain(peer.ip()));
            if self.chosen.tally_mut().admit(Host::of_wire(wire(slot)), is_exempt) {
                self.chosen.put(self.chosen.count(), slot, id);
            } else {
                _ = self.left_out.try_push((slot, id));
            }
        }
    }

    fn fill_up(&mut self) {
        let wanted = self.fair.want.numwant;
        let is_one_host = self.chosen.tally_mut().hosts() == 1 && self.chosen.count() <= 2;
        let count = if is_one_host { wanted } else { wanted.min(FILLED_UP_TO) };
        for (slot, id) in &self.left_out {
            if self.chosen.count() >= count {
                break;
            }
            self.chosen.put(self.chosen.count(), slot, *id);
        }
    }
}

/// A walk over the peers of one class, once around.
struct Walk<'a, const SLOT: usize> {
    cycle: Cycle<'a, SLOT>,
    start: Spot,
    at: Spot,
    has_wrapped: bool,
}

impl<'a, const SLOT: usize> Walk<'a, SLOT> {
    /// Begins anywhere.
    fn new(cycle: Cycle<'a, SLOT>, rng: &mut fastrand::Rng) -> Walk<'a, SLOT> {
        let start = if cycle.len == 0 { BEGIN } else { cycle.draw(rng) };
        Walk { cycle, start, at: start, has_wrapped: false }
    }

    /// The next peer, none when all have been met; not the asker.
    fn next(&mut self) -> Option<Found<'a, SLOT>> {
        loop {
            let (bucket, at) = self.at;
            let Some(run) = self.cycle.runs.get(bucket) else {
                if self.has_wrapped {
                    return None;
                }
                (self.at, self.has_wrapped) = (BEGIN, true);
                continue;
            };
            let part = run.part(self.cycle.class);
            let at = at.max(part.start);
            if self.has_wrapped && (bucket, at) >= self.start {
                return None;
            }
            if at >= part.end {
                self.at = (bucket + 1, 0);
                continue;
            }
            self.at = (bucket, at + 1);
            if self.cycle.asker != Some((bucket, at)) {
                let ids = if self.cycle.ids { run.ids(true) } else { &[] };
                return run.slots().get(at).map(|slot| (slot, ids.get(at)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Crypto, Millis};
    use crate::swarm::rules::Rules;
    use crate::swarm::run::{Peer, SLOT_V4, slot};
    use crate::swarm::state::{History, Stamp, State};
    use crate::tests::announcement;

    /// So many peers of each of some addresses, each address with a number above 9.0.0.0; every
    /// `encrypted`-th address supports encryption, if that is not 0.
    fn crowd(addresses: u32, of_each: u16, encrypted: u32) -> Peers<SLOT_V4> {
        let (rules, mut peers) = (Rules::new(false, 5), Peers::default());
        for address in 0..addresses {
            let supports = encrypted > 0 && address.is_multiple_of(encrypted);
            let crypto = if supports { Crypto::Supported } else { Crypto::None };
            for port in 0..of_each {
                let mut key = [0; SLOT_V4];
                key[..4].copy_from_slice(&((9 << 24) + address).to_be_bytes());
                key[4..6].copy_from_slice(&port.to_be_bytes());
                let state = State::new(Stamp::of(Millis(0)), crypto, History::NONE);
                let peer = Peer { slot: slot(&key, state), id: [0; PEER_ID_BYTES] };
                let class = Class::of((address + u32::from(port)).is_multiple_of(2));
                peers.insert(class, &peer, &rules).expect("a bucket with room");
            }
        }
        peers
    }

    const WANT: Want = Want { numwant: 50, seeder: false, encrypted: false, public: false };

    /// The peers of each address in an answer, and how many were looked at.
    fn ask(
        peers: &Peers<SLOT_V4>,
        want: Want,
        exempt: &Networks,
        seed: u64,
    ) -> (Vec<usize>, usize) {
        let (mut chosen, mut rng) = (Chosen::new(), fastrand::Rng::with_seed(seed));
        chosen.clear(&announcement::of(0, 0), false);
        let looked_at = choose(peers, None, FairWant { want, exempt }, &mut rng, &mut chosen);
        let mut of_each = std::collections::BTreeMap::new();
        let mut distinct = std::collections::BTreeSet::new();
        for wire in chosen.wire().as_chunks::<6>().0 {
            *of_each.entry([wire[0], wire[1], wire[2], wire[3]]).or_insert(0) += 1;
            assert!(distinct.insert(*wire), "{wire:?} is given twice");
        }
        (of_each.into_values().collect(), looked_at)
    }

    #[test]
    fn others_come_first_and_only_a_short_answer_is_filled_up() {
        // Addresses, peers of each, wanted; peers given, and of one address at most.
        let rows = [
            (30, 64, 50, 50, 2),
            (25, 3, 50, 50, 2),
            (12, 64, 50, 24, 2),
            (5, 64, 50, 20, 20),
            (2, 5, 50, 10, 5),
            (1, 64, 50, 50, 50),
            (1, 64, 2, 2, 2),
            (300, 3, 500, 500, 2),
        ];
        for (addresses, of_each, numwant, given, of_one_max) in rows {
            let peers = crowd(addresses, of_each, 0);
            for seed in 0..50 {
                let want = Want { numwant, ..WANT };
                let (answer, _) = ask(&peers, want, &Networks::NONE, seed);
                let row = format!("{addresses} addresses of {of_each}, {numwant} wanted");
                assert_eq!(answer.iter().sum::<usize>(), given, "{row}");
                let of_one = answer.iter().max().copied().unwrap_or(0);
                assert!(of_one <= of_one_max, "{row}: {of_one} of one address");
                let others = (addresses as usize).min(given.div_ceil(2));
                assert!(answer.len() >= others, "{row}: {} addresses", answer.len());
            }
        }
    }

    #[test]
    fn exempt_addresses_come_as_often_as_they_do() {
        let peers = crowd(4, 64, 0);
        let exempt = Networks::from(vec!["9.0.0.0/31".parse().expect("a network")]);
        let (answer, _) = ask(&peers, WANT, &exempt, 7);
        assert_eq!(answer.iter().sum::<usize>(), 50, "peers given");
        assert!(answer[0] > 2 && answer[1] > 2, "{answer:?}: the exempt come first in the list");
        assert!(answer[2..].iter().all(|of_one| *of_one <= 2), "{answer:?}");
    }

    /// The dearest answers that a search over swarms finds. A usual announce in a large swarm looks
    /// at some 32 peers to find the asker, and copies 200: its work is 232 such steps.
    #[test]
    fn the_dearest_answer_costs_less_than_thirty_usual_announces() {
        const USUAL_STEPS: usize = 232;
        let mut dearest = (0, String::new());
        for (addresses, of_each) in [(64, 64), (1, 60_000), (400, 100), (20_000, 1), (3, 10_000)] {
            for encrypted in [0, 1, 2, 50, 1_000] {
                let peers = crowd(addresses, of_each, encrypted);
                for numwant in [1, 50, 200, 500] {
                    for (seeder, must_encrypt) in
                        [(false, false), (true, false), (false, true), (true, true)]
                    {
                        let want = Want { numwant, seeder, encrypted: must_encrypt, ..WANT };
                        let seed = u64::from(addresses) + numwant as u64;
                        let (_, looked_at) = ask(&peers, want, &Networks::NONE, seed);
                        let name = format!("{addresses} of {of_each}, 1/{encrypted}, {want:?}");
                        dearest = dearest.max((looked_at, name));
                    }
                }
            }
        }
        let (steps, name) = dearest;
        assert!(steps > USUAL_STEPS, "the search found nothing dear: {name}");
        assert!(steps < 30 * USUAL_STEPS, "{steps} steps: {name}");
        assert!(steps <= LOOKED_AT_MAX, "{steps} steps: {name}");
    }
}
