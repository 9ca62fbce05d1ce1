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
//! looked at [`LOOKED_AT_MAX`] in all. In a swarm where more than that are left out some of the others may be missed.

use arrayvec::ArrayVec;

use crate::bounds::PEERS_PER_REPLY_MAX;
use crate::config::Networks;
use crate::ids::{PEER_ID_BYTES, PeerAddr};
use crate::swarm::chosen::Chosen;
use crate::swarm::peers::{Peers, Place};
use crate::swarm::run::{Class, wire};
use crate::swarm::select::{BEGIN, Cycle, LOOKED_AT_MAX, Spot, Want};
use crate::swarm::shares::Host;

/// Peers judged for one answer: twice as many as the largest holds.
const JUDGED_MAX: usize = 2 * PEERS_PER_REPLY_MAX;
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
            if self.is_exempt(slot) || self.chosen.tally_mut().admit(Host::of_wire(wire(slot))) {
                self.chosen.put(self.chosen.count(), slot, id);
            } else {
                _ = self.left_out.try_push((slot, id));
            }
        }
    }

    fn is_exempt(&self, slot: &[u8; SLOT]) -> bool {
        let exempt = self.fair.exempt;
        !exempt.is_empty()
            && PeerAddr::of_wire(wire(slot)).is_some_and(|peer| exempt.contain(peer.ip()))
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
