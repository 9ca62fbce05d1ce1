//! What a snapshot takes of the swarms, copied a little at a time.
//!
//! Owns: where the copying has come, and what was copied last. Shards are walked as `walk` does it,
//! so every torrent that stays is met. A large swarm is copied bucket by bucket, downwards, and
//! what was split off since the last hold is copied again: what a split or a merge moves is met.
//! Leechers come before seeders, since those become these.
//!
//! Never: allocates under a lock, unless a swarm has been split more often meanwhile than room was
//! made for.
//!
//! Limits: [`HOLD_UNITS`] of work under one lock, in peers.

use crate::ids::{InfoHash, PEER_ID_BYTES};
use crate::swarm::peers::Peers;
use crate::swarm::registration::SavedCounts;
use crate::swarm::run::{Class, RUN_MAX, SLOT_V6};
use crate::swarm::snapshot::format::{GROUPS, GroupCounts, Piece};
use crate::swarm::store::{SHARDS, Store};
use crate::swarm::torrent::Torrent;

/// Work done under one lock: some 50 us when nothing of it is in the cache.
const HOLD_UNITS: usize = 2048;
/// What a torrent costs beside its peers: two cache misses.
const TORRENT_UNITS: usize = 32;
/// Bytes that a hold may copy.
const HOLD_BYTES: usize = (HOLD_UNITS + 2 * RUN_MAX) * (SLOT_V6 + PEER_ID_BYTES);

/// Where in a torrent the copying goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rest {
    group: usize,
    /// Runs of that group still to be copied, if there are as many.
    runs: usize,
    /// Runs that there were.
    seen: usize,
}

impl Rest {
    const ALL: Rest = Rest::from(0);

    /// All from a group on.
    const fn from(group: usize) -> Rest {
        Rest { group, runs: usize::MAX, seen: usize::MAX }
    }
}

/// See the module.
pub(super) struct Copier {
    shard: usize,
    /// Torrents of that shard still to visit, if there are as many.
    torrents: usize,
    /// The torrent at the end of those, when a part of it has been copied, and the other part.
    rest: Option<(InfoHash, Rest)>,
    copies: Vec<Copied>,
    bytes: Vec<u8>,
}

/// What was copied of one torrent; its peers follow those of the one before.
struct Copied {
    info_hash: InfoHash,
    counts: SavedCounts,
    is_first: bool,
    groups: GroupCounts,
    bytes: usize,
}

impl Copier {
    /// Nothing has been copied.
    pub(super) fn new() -> Copier {
        Copier { shard: 0, torrents: usize::MAX, rest: None, copies: Vec::new(), bytes: Vec::new() }
    }

    /// Whether everything has been copied.
    pub(super) fn is_over(&self) -> bool {
        self.shard >= SHARDS
    }

    /// Forgets what was copied last, and copies more under one lock, once.
    pub(super) fn copy(&mut self, store: &Store) {
        self.copies.clear();
        self.bytes.clear();
        self.copies.reserve(HOLD_UNITS / TORRENT_UNITS + 1);
        self.bytes.reserve(HOLD_BYTES);
        let Some(line) = store.shards.get(self.shard) else { return };
        let mut budget = HOLD_UNITS;
        let shard = line.0.lock();
        self.torrents = self.torrents.min(shard.len());
        while self.torrents > 0 && budget > 0 {
            let torrent = shard.torrent(self.torrents - 1);
            self.copy_torrent(torrent, &mut budget, store.rules.ids);
            if self.rest.is_none() {
                self.torrents -= 1;
            }
            budget = budget.saturating_sub(TORRENT_UNITS);
        }
        drop(shard);
        if self.torrents == 0 {
            (self.shard, self.torrents) = (self.shard + 1, usize::MAX);
        }
    }

    /// What was copied last.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut slots = self.bytes.as_slice();
        self.copies.iter().map(move |copied| {
            let (own, rest) = slots.split_at(copied.bytes);
            slots = rest;
            let Copied { info_hash, counts, is_first, groups, .. } = *copied;
            Piece { info_hash, counts, is_first, groups, slots: own }
        })
    }

    fn copy_torrent(&mut self, torrent: &Torrent, budget: &mut usize, ids: bool) {
        let info_hash = torrent.info_hash;
        let from = match self.rest.take() {
            Some((of, rest)) if of == info_hash => rest,
            _ => Rest::ALL,
        };
        let counts = torrent.registration.saved_counts();
        let (mut groups, begin) = (GroupCounts::default(), self.bytes.len());
        let mut rest = Some(from);
        while let Some(part) = rest
            && *budget > 0
        {
            let before = *budget;
            let (copied, more) = self.copy_group(torrent, part, budget, ids);
            groups[part.group] += copied;
            debug_assert!(*budget < before || more != Some(part), "a hold goes on");
            rest = more;
        }
        self.rest = rest.map(|rest| (info_hash, rest));
        // Without peers only what nobody else knows of is worth a record.
        if groups != GroupCounts::default() || (from == Rest::ALL && counts.own > 0) {
            let bytes = self.bytes.len() - begin;
            let is_first = from == Rest::ALL;
            self.copies.push(Copied { info_hash, counts, is_first, groups, bytes });
        }
    }

    /// Copies a part of a group; how many peers, and what is left.
    fn copy_group(
        &mut self,
        torrent: &Torrent,
        from: Rest,
        budget: &mut usize,
        ids: bool,
    ) -> (usize, Option<Rest>) {
        let class = Class::of(from.group % 2 == 1);
        let mut hold = Hold { class, ids, budget, bytes: &mut self.bytes };
        let (copied, runs, seen) = match (from.group < 2, &torrent.v6) {
            (true, _) => hold.copy(&torrent.v4, from),
            (false, Some(v6)) => hold.copy(v6, from),
            (false, None) => (0, 0, 0),
        };
        let rest = match runs {
            0 if from.group + 1 == GROUPS => None,
            0 => Some(Rest::from(from.group + 1)),
            runs => Some(Rest { group: from.group, runs, seen }),
        };
        (copied, rest)
    }
}

/// The copying of one class under one lock.
struct Hold<'h> {
    class: Class,
    ids: bool,
    budget: &'h mut usize,
    bytes: &'h mut Vec<u8>,
}

impl Hold<'_> {
    /// How many peers were copied, how many runs are left, and how many there are.
    fn copy<const SLOT: usize>(
        &mut self,
        peers: &Peers<SLOT>,
        from: Rest,
    ) -> (usize, usize, usize) {
        let all = peers.runs(self.class);
        let (mut copied, mut runs) = (0, from.runs.min(all.len()));
        for at in from.seen.min(all.len())..all.len() {
            copied += self.copy_run(peers, at);
        }
        while runs > 0 && *self.budget > 0 {
            runs -= 1;
            copied += self.copy_run(peers, runs);
        }
        (copied, runs, all.len())
    }

    fn copy_run<const SLOT: usize>(&mut self, peers: &Peers<SLOT>, at: usize) -> usize {
        let run = &peers.runs(self.class)[at];
        let part = run.part(self.class);
        let slots = &run.slots()[part.clone()];
        if self.ids {
            for (slot, id) in slots.iter().zip(&run.ids(true)[part.clone()]) {
                self.bytes.extend_from_slice(slot);
                self.bytes.extend_from_slice(id);
            }
        } else {
            self.bytes.extend_from_slice(slots.as_flattened());
        }
        *self.budget = self.budget.saturating_sub(part.len() + 1);
        part.len()
    }
}
