//! Expiry, a little at a time.
//!
//! Owns: where one worker's walk over its share of the shards has come. A round takes a 64th of the
//! lifetime that peers had when it began; each call does the part of it that is due by the clock,
//! measured in work rather than in shards, so that a swarm of millions is not met all at once.
//! Shards are locked for [`HOLD_UNITS`] of work at a time and walked backwards, so that what a
//! removal moves up has been seen; in a large swarm a hold ends between two buckets and the next
//! goes on there, if the swarm is still in its place.
//!
//! Never: reads a clock, or sleeps. Workers share no state here: each has its own `Sweep`.
//!
//! Limits: a caller that stays away for a lifetime (the process was stopped) finds its share
//! cleared, as every peer in it is old, and ages do not count that far. So even an idle worker must
//! call every few seconds.

use std::hint::black_box;
use std::mem;

use crate::config::SwarmLimits;
use crate::ids::{InfoHash, Millis};
use crate::swarm::population::PeerCounts;
use crate::swarm::state::Expiry;
use crate::swarm::store::{SHARDS, Store};
use crate::swarm::torrent::Rest;
use crate::swarm::work::Work;

/// Rounds in a lifetime.
const ROUNDS: u64 = 64;
/// Work done under one lock, in peers looked at: some 20 us when none of them goes, 40 us when all
/// do.
const HOLD_UNITS: usize = 2048;
/// More than the sizes that malloc keeps at hand unsorted, for each thread.
const TIDYING_BYTES: usize = 4096;
/// What a torrent costs beside its peers: a cache miss to look at it, several to remove it.
const TORRENT_UNITS: usize = 32;

/// One worker's walk over its share of the shards.
#[derive(Debug)]
pub struct Sweep {
    worker: usize,
    workers: usize,
    /// The shard that is walked, or one past the last when the round is done.
    shard: usize,
    /// Torrents of that shard still to visit, if there are as many.
    torrents: usize,
    /// The torrent at the end of those, when a part of it has been visited, and the other part.
    rest: Option<(InfoHash, Rest)>,
    /// When the round began, or was due to.
    began: Option<Millis>,
    called: Millis,
    /// Work done in the round.
    done: u64,
    /// The most work that a round would have been since this one began.
    round_units: u64,
    /// What the round takes, whatever becomes of the lifetime meanwhile: a shorter one must not
    /// have all of it done at once.
    round_ms: u64,
}

impl Sweep {
    /// The share of worker `worker`, 0 and up, of `workers`. Its first call is a full round, if the
    /// clock has run for as long.
    pub fn new(worker: usize, workers: usize) -> Sweep {
        Sweep {
            worker,
            workers: workers.max(1),
            shard: SHARDS,
            torrents: 0,
            rest: None,
            began: None,
            called: Millis(0),
            done: 0,
            round_units: 0,
            round_ms: 1,
        }
    }

    fn begin(&mut self, began: Millis, round_ms: u64) {
        (self.shard, self.torrents, self.rest) = (self.worker, usize::MAX, None);
        (self.began, self.done, self.round_units) = (Some(began), 0, 0);
        self.round_ms = round_ms;
    }

    /// Work that should be done by `now`, begun a new round if it is time. A round that was late
    /// begins when it was due, but no earlier than a full round ago; so does the first. It is
    /// paced for what the store held at its fullest since it began: a swarm that empties under
    /// it does not slow it down.
    fn due(&mut self, now: Millis, round_ms: u64, units: u64) -> u64 {
        let full_round_ago = Millis(now.0.saturating_sub(round_ms));
        match self.began {
            None => self.begin(full_round_ago, round_ms),
            Some(began) if self.shard >= SHARDS && now.since(began) >= self.round_ms => {
                self.begin(began.plus(self.round_ms).max(full_round_ago), round_ms);
            }
            Some(_) => {}
        }
        self.round_units = self.round_units.max(units);
        let elapsed_ms = self.began.map_or(0, |began| now.since(began));
        // An eighth ahead of the clock: holds and buckets cost a little beside the peers in them.
        self.round_units.saturating_add(self.round_units / 8).saturating_mul(elapsed_ms)
            / self.round_ms
    }

    fn next_shard(&mut self) {
        (self.shard, self.torrents) = (self.shard + self.workers, usize::MAX);
    }
}

impl Store {
    /// Forgets the peers of one worker's share that have lived their time, as far as that is due at
    /// `now`.
    pub fn sweep(&self, sweep: &mut Sweep, now: Millis, limits: &SwarmLimits) {
        let round_ms = (limits.lifetime_ms / ROUNDS).max(1);
        let away_ms = now.since(mem::replace(&mut sweep.called, now));
        if away_ms >= limits.lifetime_ms && sweep.began.is_some() {
            (sweep.worker..SHARDS).step_by(sweep.workers).for_each(|shard| self.clear(shard));
            return sweep.begin(now, round_ms);
        }
        let totals = self.totals();
        let units = totals.peers() + totals.torrents * TORRENT_UNITS as u64 + SHARDS as u64;
        let due = sweep.due(now, round_ms, units);
        let expiry = Expiry::new(now, limits.lifetime_ms);
        while sweep.done < due && sweep.shard < SHARDS {
            sweep.done += self.hold(sweep, expiry) as u64;
            tidy_heap();
        }
    }

    /// One hold of one lock: at most about [`HOLD_UNITS`] of work. Says how much it was.
    fn hold(&self, sweep: &mut Sweep, expiry: Expiry) -> usize {
        let (mut peers_gone, mut torrents_gone) = (PeerCounts::default(), 0);
        let mut work = Work::new(expiry, HOLD_UNITS, &self.hosts);
        let mut shard = self.shards[sweep.shard].0.lock();
        sweep.torrents = sweep.torrents.min(shard.len());
        while sweep.torrents > 0 && work.budget > 0 {
            let at = sweep.torrents - 1;
            let torrent = shard.torrent_mut(at);
            let rest = match sweep.rest.take() {
                Some((info_hash, rest)) if info_hash == torrent.info_hash => rest,
                _ => Rest::ALL,
            };
            let peers = torrent.peer_counts();
            if let Some(rest) = torrent.expire(rest, &mut work, &self.rules) {
                sweep.rest = Some((torrent.info_hash, rest));
            } else {
                sweep.torrents = at;
            }
            work.spend(TORRENT_UNITS);
            peers_gone.add_gone(peers, torrent.peer_counts());
            if torrent.is_disposable() {
                shard.remove(at, &self.rules);
                (torrents_gone, sweep.torrents) = (torrents_gone + 1, at);
            }
        }
        drop(shard);
        work.tell();
        if sweep.torrents == 0 {
            sweep.next_shard();
        }
        self.population.count_expired(peers_gone);
        self.population.release_peers(peers_gone);
        self.population.release_torrents(torrents_gone);
        HOLD_UNITS - work.budget + 1
    }

    /// Peers whose time was over, since the start.
    pub fn expired(&self) -> u64 {
        self.population.expired()
    }

    /// Lets all peers of a shard go, and all torrents of which nothing is to be written.
    fn clear(&self, shard: usize) {
        let (mut peers_gone, mut torrents_gone) = (PeerCounts::default(), 0);
        let mut shard = self.shards[shard].0.lock();
        for at in (0..shard.len()).rev() {
            let torrent = shard.torrent_mut(at);
            let gone = torrent.vacate();
            self.forget_hosts(&gone);
            peers_gone.add_gone(gone.peer_counts(), PeerCounts::default());
            if torrent.is_disposable() {
                shard.remove(at, &self.rules);
                torrents_gone += 1;
            }
        }
        drop(shard);
        self.population.count_expired(peers_gone);
        self.population.release_peers(peers_gone);
        self.population.release_torrents(torrents_gone);
    }
}

/// Has the allocator sort what a hold has freed, outside the lock. glibc's malloc only lists freed
/// chunks, and sorts them all when next something is allocated that is not small: after thousands
/// of frees that takes most of a millisecond, and the next to allocate may hold a lock. Asked for
/// after every hold, it is a few microseconds.
fn tidy_heap() {
    drop(black_box(Vec::<u8>::with_capacity(TIDYING_BYTES)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::run::RUN_MAX;
    use crate::swarm::{Announcement, Chosen, Newcomer, StoreSettings, Totals};
    use crate::tests::announcement::{self, LIMITS, open_at};

    const LIFETIME_MS: u64 = announcement::LIFETIME_MS;
    const ROUND_MS: u64 = LIFETIME_MS / ROUNDS;

    fn store() -> Store {
        Store::new(StoreSettings { peer_ids: true }, 3)
    }

    fn fill(store: &Store, torrents: u16, peers: u32, now: Millis) {
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        for (torrent, peer) in
            (0..torrents).flat_map(|torrent| (0..peers).map(move |peer| (torrent, peer)))
        {
            let announce =
                Announcement { seeder: peer.is_multiple_of(2), ..announcement::of(torrent, peer) };
            store.enter(&Newcomer::without_list(&announce), open_at(now), &mut rng, &mut chosen);
        }
    }

    #[test]
    fn a_hold_is_bounded_and_the_next_goes_on_in_the_same_swarm() {
        let store = store();
        fill(&store, 1, 30_000, Millis(0));
        let mut sweep = Sweep::new(0, 1);
        sweep.begin(Millis(0), ROUND_MS);
        let (mut holds, mut peers) = (0, store.totals().peers());
        while sweep.shard < SHARDS {
            let units =
                store.hold(&mut sweep, Expiry::new(Millis(2 * LIFETIME_MS - 1), LIFETIME_MS));
            assert!(units <= HOLD_UNITS + RUN_MAX + TORRENT_UNITS, "{units} units");
            let gone = peers - store.totals().peers();
            assert!(gone <= (HOLD_UNITS + RUN_MAX) as u64, "{gone} peers in one hold");
            holds += u32::from(gone > 0);
            peers -= gone;
            if gone > 0 {
                store.check_invariants();
            }
        }
        assert_eq!(peers, 0, "peers that are left");
        assert_eq!(holds, 15, "holds");
    }

    #[test]
    fn fresh_peers_stay_and_only_the_rest_of_a_swarm_is_walked_again() {
        let store = store();
        fill(&store, 1, 20_000, Millis(0));
        fill(&store, 1, 500, Millis(LIFETIME_MS));
        let mut sweep = Sweep::new(0, 1);
        sweep.begin(Millis(0), ROUND_MS);
        let (mut units, now) = (0, Millis(LIFETIME_MS + LIFETIME_MS / 4));
        while sweep.shard < SHARDS {
            units += store.hold(&mut sweep, Expiry::new(now, LIFETIME_MS));
        }
        assert_eq!(store.totals().torrents, 1, "torrents");
        assert_eq!(store.totals().peers(), 500, "peers");
        assert!(units < 25_000, "{units} units for 20 000 peers");
    }

    /// Calls a sweep once a millisecond for two rounds in which everybody is `gone` or nobody is.
    fn the_work_of_a_round_is_spread_over_it(from: Millis, gone: bool) {
        let store = store();
        fill(&store, 3000, 5, Millis(0));
        fill(&store, 1, 20_000, Millis(0));
        let mut sweep = Sweep::new(0, 1);
        let mut calls_done_max = 0;
        sweep.begin(from, ROUND_MS);
        sweep.called = from;
        for now in (0..=ROUND_MS).map(|ms| from.plus(ms)) {
            let done = sweep.done;
            store.sweep(&mut sweep, now, &LIMITS);
            calls_done_max = calls_done_max.max(sweep.done.saturating_sub(done));
            let (shard, done) = (sweep.shard, sweep.done);
            store.sweep(&mut sweep, now, &LIMITS);
            assert_eq!(sweep.shard, shard, "nothing is due twice: the shard");
            assert_eq!(sweep.done, done, "nothing is due twice: the work done");
            assert!(now > from || sweep.done == 0, "nothing is due at once");
        }
        assert_eq!(
            sweep.began,
            Some(from.plus(ROUND_MS)),
            "when the round began: a new round begins in time"
        );
        assert_eq!(sweep.done, 0, "shards done: a new round begins in time");
        assert!(
            calls_done_max <= (HOLD_UNITS + RUN_MAX + TORRENT_UNITS) as u64,
            "{calls_done_max} units in one call"
        );
        assert_eq!(store.totals().peers(), if gone { 0 } else { 34_995 });
    }

    #[test]
    fn the_work_of_a_round_is_spread_over_it_whether_peers_stay_or_go() {
        the_work_of_a_round_is_spread_over_it(Millis(ROUND_MS), false);
        the_work_of_a_round_is_spread_over_it(Millis(LIFETIME_MS + ROUND_MS), true);
    }

    #[test]
    fn a_shorter_lifetime_counts_from_the_next_round_and_does_not_hurry_this_one() {
        let store = store();
        fill(&store, 3000, 5, Millis(0));
        let (long, mut sweep) =
            (SwarmLimits { lifetime_ms: 16 * LIFETIME_MS, ..LIMITS }, Sweep::new(0, 1));
        sweep.begin(Millis(0), 16 * ROUND_MS);
        (0..8).for_each(|step| store.sweep(&mut sweep, Millis(step * ROUND_MS), &long));
        let (done, mut now) = (sweep.done, Millis(7 * ROUND_MS + 1));
        store.sweep(&mut sweep, now, &LIMITS);
        let hurried = sweep.done - done;
        assert!(hurried <= (HOLD_UNITS + TORRENT_UNITS) as u64, "{hurried} units in a millisecond");
        assert_eq!(store.totals().peers(), 15_000, "nobody has lived the shorter time");
        while now.0 < LIFETIME_MS + 4 * ROUND_MS {
            now = now.plus(1_000);
            store.sweep(&mut sweep, now, &LIMITS);
        }
        assert_eq!(store.totals(), Totals::default(), "all have lived it");
    }

    #[test]
    fn workers_share_the_shards() {
        let store = store();
        fill(&store, 4000, 1, Millis(0));
        let mut left = vec![4000];
        for worker in 0..3 {
            store.sweep(&mut Sweep::new(worker, 3), Millis(LIFETIME_MS + ROUND_MS), &LIMITS);
            left.push(store.totals().peers());
        }
        assert!(
            left.windows(2).all(|pair| (1100..1600).contains(&(pair[0] - pair[1]))),
            "{left:?}"
        );
        assert_eq!(store.totals(), Totals::default());
    }

    #[test]
    fn after_a_pause_of_a_lifetime_everybody_is_gone_whatever_the_stamps_say() {
        let store = store();
        // As many units of age as a stamp tells apart.
        let wrapped = Millis(4096 << 14);
        fill(&store, 50, 100, Millis(0));
        let mut sweep = Sweep::new(0, 1);
        store.sweep(&mut sweep, Millis(0), &LIMITS);
        store.sweep(&mut Sweep::new(0, 1), wrapped, &LIMITS);
        assert_eq!(store.totals().peers(), 5000, "the stamps look fresh");
        store.sweep(&mut sweep, wrapped, &LIMITS);
        assert_eq!(store.totals(), Totals::default());
        store.check_invariants();
    }
}
