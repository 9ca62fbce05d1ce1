//! Expiry, a little at a time.
//!
//! Owns: where one worker's walk over its share of the shards has come. A round takes a 64th of the peers' lifetime; each call does the
//! part of it that is due by the clock, measured in work rather than in shards, so that a swarm of millions is not met all at once.
//! Shards are locked for [`HOLD_UNITS`] of work at a time and walked backwards, so that what a removal moves up has been seen; in a
//! large swarm a hold ends between two buckets and the next goes on there, if the swarm is still in its place.
//!
//! Never: reads a clock, or sleeps. Workers share no state here: each has its own `Sweep`.
//!
//! Limits: a caller that stays away for a lifetime (the process was stopped) finds its share cleared, as every peer in it is old, and
//! ages do not count that far. So even an idle worker must call every few seconds.

use std::mem;

use super::torrent::Rest;
use super::{SHARDS, Store};
use crate::ids::{InfoHash, Millis};

/// Rounds in a lifetime.
const ROUNDS: u64 = 64;
/// Work done under one lock, in peers looked at: some 50 us when all of them go.
const HOLD_UNITS: usize = 4096;
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
}

impl Sweep {
    /// The share of worker `worker`, 0 and up, of `workers`. Its first call is a full round.
    pub fn new(worker: usize, workers: usize) -> Sweep {
        Sweep { worker, workers, shard: SHARDS, torrents: 0, rest: None, began: None, called: Millis(0), done: 0 }
    }

    fn begin(&mut self, began: Millis) {
        (self.shard, self.torrents, self.rest) = (self.worker, usize::MAX, None);
        (self.began, self.done) = (Some(began), 0);
    }

    /// Work that should be done by `now`, begun a new round if it is time. A round that was late begins when it was due, but no
    /// earlier than a full round ago.
    fn due(&mut self, now: Millis, round_ms: u64, round_units: u64) -> u64 {
        let full_round_ago = Millis(now.0.saturating_sub(round_ms));
        let Some(began) = self.began else {
            self.begin(full_round_ago);
            return u64::MAX;
        };
        if self.shard >= SHARDS && now.since(began) >= round_ms {
            self.begin(began.plus(round_ms).max(full_round_ago));
        }
        let elapsed_ms = self.began.map_or(0, |began| now.since(began));
        if elapsed_ms >= round_ms { u64::MAX } else { round_units.saturating_mul(elapsed_ms) / round_ms }
    }

    fn next_shard(&mut self) {
        (self.shard, self.torrents) = (self.shard + self.workers, usize::MAX);
    }
}

impl Store {
    /// Forgets the peers of one worker's share that have lived their time, as far as that is due at `now`.
    pub fn sweep(&self, sweep: &mut Sweep, now: Millis) {
        let away_ms = now.since(mem::replace(&mut sweep.called, now));
        if away_ms >= self.lifetime_ms && sweep.began.is_some() {
            (sweep.worker..SHARDS).step_by(sweep.workers).for_each(|shard| self.clear(shard));
            return sweep.begin(now);
        }
        let totals = self.totals();
        let round_units = totals.peers + totals.torrents * TORRENT_UNITS as u64 + SHARDS as u64;
        let round_ms = (self.lifetime_ms / ROUNDS).max(1);
        let due = sweep.due(now, round_ms, round_units);
        while sweep.done < due && sweep.shard < SHARDS {
            sweep.done += self.hold(sweep, now) as u64;
        }
    }

    /// One hold of one lock: at most about [`HOLD_UNITS`] of work. Says how much it was.
    pub(super) fn hold(&self, sweep: &mut Sweep, now: Millis) -> usize {
        let now = self.rules.ages.stamp(now);
        let (mut peers_gone, mut torrents_gone) = (0, 0);
        let mut budget = HOLD_UNITS;
        let mut shard = self.shards[sweep.shard].0.lock();
        sweep.torrents = sweep.torrents.min(shard.torrents().len());
        while sweep.torrents > 0 && budget > 0 {
            let at = sweep.torrents - 1;
            let torrent = &mut shard.torrents_mut()[at];
            let rest =
                sweep.rest.take().filter(|(info_hash, _)| *info_hash == torrent.info_hash).map_or(Rest::ALL, |(_, rest)| rest);
            let peers = torrent.len();
            if let Some(rest) = torrent.expire(rest, &mut budget, now, &self.rules) {
                sweep.rest = Some((torrent.info_hash, rest));
            } else {
                sweep.torrents = at;
            }
            budget = budget.saturating_sub(TORRENT_UNITS);
            peers_gone += peers - torrent.len();
            if torrent.len() == 0 {
                shard.remove(at, &self.rules);
                (torrents_gone, sweep.torrents) = (torrents_gone + 1, at);
            }
        }
        drop(shard);
        if sweep.torrents == 0 {
            sweep.next_shard();
        }
        self.peers.release(peers_gone);
        self.torrents.release(torrents_gone);
        HOLD_UNITS - budget + 1
    }

    fn clear(&self, shard: usize) {
        let cleared = mem::take(&mut *self.shards[shard].0.lock());
        self.peers.release(cleared.torrents().iter().map(|torrent| torrent.len()).sum());
        self.torrents.release(cleared.torrents().len());
    }
}
