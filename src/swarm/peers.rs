//! The peers of one family in one swarm, few or many.
//!
//! Owns: the choice of form. Up to [`FEW_MAX`] peers are one run, found by scanning; more are two
//! tables, leechers and seeders, so that a seeder is answered from leechers alone. They go back to
//! one run below [`MANY_MIN`], far enough below that a swarm at the border does not change its form
//! with every peer.
//!
//! Never: counts beyond its own peers, reads a clock, or hands out a peer (see `select`).

use crate::ids::PEER_ID_BYTES;
use crate::swarm::rules::Rules;
use crate::swarm::run::{Class, Peer, Run, SLOT_V4, SLOT_V6, is_private, state, wire};
use crate::swarm::shares::Neighbours;
use crate::swarm::state::State;
use crate::swarm::table::{self, Table};
use crate::swarm::work::Work;

/// The most peers in one run.
pub(super) const FEW_MAX: usize = 64;
/// The fewest peers in two tables.
const MANY_MIN: usize = 32;

/// The most peers whose places are all checked after each change in a debug build.
const CHECKED_MAX: usize = 33;

/// Runs that are looked at for other peers of an address.
const NEIGHBOUR_RUNS: usize = 16;
/// Runs that are looked at for anybody; few are empty.
const ANY_RUNS_MAX: usize = 16;

const _: () = assert!(size_of::<Peers<SLOT_V4>>() == 24 && size_of::<Peers<SLOT_V6>>() == 24);

/// Where a peer is: valid until the next change of its swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The part of the swarm.
    pub(super) class: Class,
    /// Index of the run among those of its class.
    pub(super) bucket: usize,
    /// Position in that run.
    pub(super) at: usize,
}

/// How far the expiry of a large swarm has come: buckets are visited downwards, seeders first, so
/// that what a merge moves has been seen or will be. (What a split moves up may be missed, and is
/// found a round later.)
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    class: Class,
    /// Buckets of that class still to visit, if there are as many.
    buckets: usize,
}

impl Progress {
    /// Nothing has been visited.
    pub(super) const START: Progress = Progress { class: Class::Seeder, buckets: usize::MAX };
}

/// See the module.
pub(super) enum Peers<const SLOT: usize> {
    /// Both classes in one run.
    Few(Run<SLOT>),
    /// One table for each class.
    Many(Box<Many<SLOT>>),
}

/// The tables of a large swarm.
pub(super) struct Many<const SLOT: usize> {
    leechers: Table<SLOT>,
    seeders: Table<SLOT>,
}

impl<const SLOT: usize> Many<SLOT> {
    fn table(&self, class: Class) -> &Table<SLOT> {
        if class == Class::Leecher { &self.leechers } else { &self.seeders }
    }

    fn table_mut(&mut self, class: Class) -> &mut Table<SLOT> {
        if class == Class::Leecher { &mut self.leechers } else { &mut self.seeders }
    }

    fn len(&self) -> usize {
        self.leechers.len() + self.seeders.len()
    }
}

impl<const SLOT: usize> Default for Peers<SLOT> {
    fn default() -> Peers<SLOT> {
        Peers::Few(Run::default())
    }
}

impl<const SLOT: usize> Peers<SLOT> {
    /// All peers.
    pub(super) fn len(&self) -> usize {
        self.count(Class::Leecher) + self.count(Class::Seeder)
    }

    /// The peers of one class.
    pub(super) fn count(&self, class: Class) -> usize {
        match self {
            Peers::Few(run) => run.part(class).len(),
            Peers::Many(many) => many.table(class).len(),
        }
    }

    /// The runs that hold the peers of one class; the run of a small swarm holds the other class
    /// too.
    pub(super) fn runs(&self, class: Class) -> &[Run<SLOT>] {
        match self {
            Peers::Few(run) => std::slice::from_ref(run),
            Peers::Many(many) => many.table(class).buckets(),
        }
    }

    /// Finds the peer with the address of `key` (whose state is zero), looking among its `likely`
    /// class first.
    pub(super) fn find(&self, key: &[u8; SLOT], likely: Class, rules: &Rules) -> Option<Place> {
        match self {
            Peers::Few(run) => {
                run.find(key).map(|at| Place { class: run.class(at), bucket: 0, at })
            }
            Peers::Many(many) => {
                let hash = rules.peer_hash(wire(key));
                let find = |class: Class| {
                    many.table(class).find(hash, key).map(|(bucket, at)| Place {
                        class,
                        bucket,
                        at,
                    })
                };
                find(likely).or_else(|| find(likely.other()))
            }
        }
    }

    /// The state of the peer at a place.
    pub(super) fn state(&self, place: Place) -> State {
        state(&self.runs(place.class)[place.bucket].slots()[place.at])
    }

    /// The peer id at a place; None where peer ids are not kept.
    pub(super) fn id(&self, place: Place, rules: &Rules) -> Option<&[u8; PEER_ID_BYTES]> {
        self.runs(place.class)[place.bucket].ids(rules.ids).get(place.at)
    }

    /// Adds a peer that is not there yet. None when it could not be stored.
    pub(super) fn insert(
        &mut self,
        class: Class,
        peer: &Peer<SLOT>,
        rules: &Rules,
    ) -> Option<Place> {
        if let Peers::Few(run) = self
            && run.len() == FEW_MAX
        {
            *self = Peers::many(run, rules);
        }
        let (bucket, at) = match self {
            Peers::Few(run) => (0, run.insert(class, peer, rules.ids)?),
            Peers::Many(many) => many.table_mut(class).insert(class, peer, rules)?,
        };
        Some(Place { class, bucket, at })
    }

    /// Overwrites a peer with its newer self, of the class it has now, and says where it went.
    pub(super) fn write(
        &mut self,
        place: Place,
        class: Class,
        peer: &Peer<SLOT>,
        rules: &Rules,
    ) -> Place {
        match self {
            Peers::Few(run) => {
                let at = if class == place.class {
                    place.at
                } else {
                    run.change_class(place.at, rules.ids)
                };
                run.write(at, peer, rules.ids);
                Place { class, bucket: 0, at }
            }
            Peers::Many(many) => {
                // A full bucket refuses the peer, which then stays among the class it was of.
                if class != place.class
                    && let Some((bucket, at)) = many.table_mut(class).insert(class, peer, rules)
                {
                    many.table_mut(place.class).remove(
                        place.bucket,
                        place.at,
                        place.class,
                        rules.ids,
                    );
                    return Place { class, bucket, at };
                }
                many.table_mut(place.class).write(place.bucket, place.at, peer, rules.ids);
                place
            }
        }
    }

    /// Takes out the peer at a place.
    pub(super) fn remove(&mut self, place: Place, rules: &Rules) {
        match self {
            Peers::Few(run) => {
                run.remove(place.at, rules.ids);
                run.fit(rules.ids);
            }
            Peers::Many(many) => {
                many.table_mut(place.class).remove(place.bucket, place.at, place.class, rules.ids);
            }
        }
        self.fit(rules);
    }

    /// Takes out peers that have lived their time, until about as many have been looked at as the
    /// work's budget allows, which it lowers. Says where to go on when that was not all.
    pub(super) fn expire(
        &mut self,
        from: Progress,
        work: &mut Work<'_>,
        rules: &Rules,
    ) -> Option<Progress> {
        let left = match self {
            Peers::Few(run) => {
                work.spend(run.len());
                run.expire(work, rules.ids);
                None
            }
            Peers::Many(many) => many.expire(from, work, rules),
        };
        self.fit(rules);
        left
    }

    /// Goes back to one run when the peers have become few.
    fn fit(&mut self, rules: &Rules) {
        let Peers::Many(many) = self else { return };
        if many.len() >= MANY_MIN {
            return;
        }
        let mut run = Run::default();
        run.reserve(many.len(), rules.ids);
        for class in [Class::Leecher, Class::Seeder] {
            for bucket in many.table(class).buckets() {
                for at in 0..bucket.len() {
                    run.insert(class, &bucket.peer(at, rules.ids), rules.ids);
                }
            }
        }
        run.fit(rules.ids);
        *self = Peers::Few(run);
    }

    fn many(run: &Run<SLOT>, rules: &Rules) -> Peers<SLOT> {
        let mut many = Box::new(Many { leechers: Table::new(), seeders: Table::new() });
        for at in 0..run.len() {
            let class = run.class(at);
            many.table_mut(class).insert(class, &run.peer(at, rules.ids), rules);
        }
        Peers::Many(many)
    }

    /// What is found of the address of `key` around the place that a peer of this key has or would
    /// have.
    pub(super) fn neighbours(&self, key: &[u8; SLOT], rules: &Rules) -> Neighbours {
        match self {
            Peers::Few(run) => Neighbours { found: run.count_host(key), runs: 1, of_runs: 1 },
            Peers::Many(many) => many.neighbours(key, rules),
        }
    }

    /// A peer, by any number; None when there is nobody.
    pub(super) fn any(&self, number: usize) -> Option<&[u8; SLOT]> {
        match self {
            Peers::Few(run) => run.any(number),
            Peers::Many(many) => {
                let leechers = number % many.len() < many.leechers.len();
                let class = if leechers { Class::Leecher } else { Class::Seeder };
                let runs = many.table(class).buckets();
                let all = (0..runs.len()).map(|step| &runs[(number + step) % runs.len()]);
                all.take(ANY_RUNS_MAX).find_map(|run| run.any(number / runs.len()))
            }
        }
    }

    /// Every peer's slot.
    pub(super) fn for_each_slot(&self, f: &mut impl FnMut(&[u8; SLOT])) {
        let runs = match self {
            Peers::Few(run) => [std::slice::from_ref(run), &[]],
            Peers::Many(many) => [many.leechers.buckets(), many.seeders.buckets()],
        };
        runs.iter().copied().flatten().flat_map(Run::slots).for_each(f);
    }

    /// Whether any peer has a private address. Looks at all of them.
    pub(super) fn holds_private_peer(&self) -> bool {
        let runs = [Class::Leecher, Class::Seeder].map(|class| self.runs(class));
        runs.iter().copied().flatten().any(|run| run.slots().iter().any(is_private))
    }

    /// Panics when the peers are not where they would be looked for. Looks at every peer only of a
    /// small swarm, unless `thorough`.
    pub(super) fn check_invariants(&self, rules: &Rules, thorough: bool) {
        match self {
            Peers::Few(run) => {
                assert!(run.len() <= FEW_MAX, "{} peers are not few", run.len());
                run.check_invariants(rules.ids);
            }
            Peers::Many(many) => {
                assert!(many.len() >= MANY_MIN, "{} peers are not many", many.len());
                for class in [Class::Leecher, Class::Seeder] {
                    many.table(class).check_invariants(
                        class,
                        rules,
                        thorough || many.len() <= CHECKED_MAX,
                    );
                }
            }
        }
    }
}

impl<const SLOT: usize> Many<SLOT> {
    /// Looks at [`NEIGHBOUR_RUNS`] runs in all, of each class as many as its share: those to both
    /// sides of the key's own. An answer holds peers of runs side by side.
    fn neighbours(&self, key: &[u8; SLOT], rules: &Rules) -> Neighbours {
        let hash = rules.peer_hash(wire(key));
        let of_runs = self.leechers.buckets().len() + self.seeders.buckets().len();
        let mut neighbours = Neighbours { found: 0, runs: 0, of_runs };
        for table in [&self.leechers, &self.seeders] {
            let runs = table.buckets();
            let share = (NEIGHBOUR_RUNS * runs.len()).div_ceil(of_runs).min(runs.len());
            let first = table::address(hash, runs.len()) + runs.len() - share / 2;
            neighbours.runs += share;
            for at in first..first + share {
                neighbours.found += runs[at % runs.len()].count_host(key);
            }
        }
        neighbours
    }

    fn expire(&mut self, from: Progress, work: &mut Work<'_>, rules: &Rules) -> Option<Progress> {
        let Progress { mut class, mut buckets } = from;
        loop {
            let table = self.table_mut(class);
            buckets = buckets.min(table.buckets().len());
            while buckets > 0 && work.budget > 0 {
                buckets -= 1;
                let touched = table.expire(buckets, class, work, rules);
                work.spend(touched + 1);
                buckets = buckets.min(table.buckets().len());
            }
            if buckets > 0 {
                return Some(Progress { class, buckets });
            }
            if class == Class::Leecher {
                return None;
            }
            (class, buckets) = (Class::Leecher, usize::MAX);
        }
    }
}
