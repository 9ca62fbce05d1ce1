//! What the thread that writes counters tidies up between two rounds: torrents that are past their
//! time, where the settings say so, and counts of peers that an earlier run has left.
//!
//! Owns: when. Ages are the database's, and its clock may be set wrong for a while: so a torrent is
//! deleted only when it is past its time at two looks that lie [`LOOK_AGAIN_AFTER`] apart by the
//! monotonic clock. Counts that a run has written stand until a swarm of the torrent changes them;
//! so after a lifetime of peers, those of torrents that nobody has announced are set to 0. Another
//! tracker on the database may have the peers of some: then only counts are taken that are older
//! than that one would leave them.
//!
//! Never: touches a torrent that is in memory: it has peers, or something to be written.
//!
//! Limits: [`BATCH_ROWS_MAX`] torrents deleted at a look; [`KEPT_MAX`] that a rule of the site's
//! keeps are remembered.

use std::time::{Duration, Instant};

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};

use crate::config::Live;
use crate::ids::InfoHash;
use crate::registry::database::{BATCH_ROWS_MAX, DatabaseError, Ledger, NodeId, RefusedRow};
use crate::registry::read_list::read_pages;
use crate::swarm::Store;

/// How often torrents past their time are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Between the first look at which a torrent is past its time and its deletion.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(300);
/// Deletions that are not tried again.
const KEPT_MAX: usize = 10_000;
/// A swarm with peers is written within so long, whoever has it: each announces in a lifetime, and
/// that is written once in 70 minutes.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2 * 3_600);
/// Batches of before the start may be written for so long.
const STARTING: Duration = Duration::from_secs(60);

/// How often, and how far apart; other than here only in tests.
#[derive(Clone, Copy)]
pub(super) struct CleaningPace {
    pub(super) look_every: Duration,
    pub(super) look_again_after: Duration,
}

impl Default for CleaningPace {
    fn default() -> CleaningPace {
        CleaningPace { look_every: LOOK_EVERY, look_again_after: LOOK_AGAIN_AFTER }
    }
}

/// See the module.
pub(super) struct Cleaning {
    pace: CleaningPace,
    began: Instant,
    looked: Option<Instant>,
    /// Since when each torrent is known to be past its time.
    old: HashMap<InfoHash, Instant, RandomState>,
    /// Torrents that a rule of the site's keeps.
    kept: HashSet<InfoHash, RandomState>,
    counts: LeftCounts,
}

/// Whether counts of an earlier run are to be set to 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LeftCounts {
    /// After a lifetime.
    Unseen,
    /// Once more, as there is another tracker, after as long as that one may be silent.
    OfOthers,
    Zeroed,
}

/// What is tidied up, and whose it is.
#[derive(Clone, Copy)]
pub(super) struct Tidied<'s> {
    pub(super) store: &'s Store,
    pub(super) live: &'s Live,
    pub(super) own: NodeId,
}

impl Cleaning {
    pub(super) fn new(pace: CleaningPace) -> Cleaning {
        Cleaning {
            pace,
            began: Instant::now(),
            looked: None,
            old: HashMap::default(),
            kept: HashSet::default(),
            counts: LeftCounts::Unseen,
        }
    }

    /// Does what is due; none when nothing is.
    pub(super) fn round(
        &mut self,
        tidied: Tidied<'_>,
        ledger: &mut dyn Ledger,
    ) -> Option<Result<(), DatabaseError>> {
        if self.looked.is_some_and(|at| at.elapsed() < self.pace.look_every) {
            return None;
        }
        self.looked = Some(Instant::now());
        let deletes = !tidied.live.registry.torrent_ttl.is_zero();
        let zeroes = self.is_time_to_zero(tidied.live);
        if !deletes {
            self.old.clear();
        }
        (deletes || zeroes).then(|| {
            if zeroes {
                self.zero_left_counts(tidied, ledger)?;
            }
            if deletes { self.delete_old(tidied, ledger) } else { Ok(()) }
        })
    }

    /// Deletes torrents that are past their time, and were so a while ago.
    fn delete_old(
        &mut self,
        tidied: Tidied<'_>,
        ledger: &mut dyn Ledger,
    ) -> Result<(), DatabaseError> {
        let idle_s = tidied.live.registry.torrent_ttl.as_secs();
        let mut idle = ledger.idle(idle_s, BATCH_ROWS_MAX + self.kept.len())?;
        idle.retain(|hash| !self.kept.contains(hash) && !tidied.store.holds(hash));
        let now = Instant::now();
        let since = |hash: &InfoHash| self.old.get(hash).copied().unwrap_or(now);
        self.old = idle.iter().take(BATCH_ROWS_MAX).map(|hash| (*hash, since(hash))).collect();
        let is_due = |since: &Instant| now.duration_since(*since) >= self.pace.look_again_after;
        let due: Vec<InfoHash> =
            self.old.iter().filter(|(_, since)| is_due(since)).map(|(hash, _)| *hash).collect();
        if due.is_empty() {
            return Ok(());
        }
        let deleted = ledger.delete_idle(&due, idle_s)?;
        self.old.retain(|hash, _| !due.contains(hash));
        if deleted.count > 0 {
            log::info!("{} torrents without peers for {idle_s} s are deleted", deleted.count);
        }
        self.keep(&deleted.refused);
        Ok(())
    }

    /// Torrents that are not deleted, as a rule of the site's stands against it.
    fn keep(&mut self, refused: &[RefusedRow]) {
        let Some(first) = refused.first() else { return };
        let others = match refused.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        log::warn!(
            "torrent {}{others} without peers cannot be deleted: {}; not tried again",
            first.info_hash,
            first.why
        );
        let room = KEPT_MAX.saturating_sub(self.kept.len());
        self.kept.extend(refused.iter().take(room).map(|row| row.info_hash));
    }

    fn is_time_to_zero(&self, live: &Live) -> bool {
        let lifetime = Duration::from_millis(live.swarm.lifetime_ms);
        let after = match self.counts {
            LeftCounts::Unseen => lifetime,
            LeftCounts::OfOthers => lifetime + WRITTEN_WITHIN,
            LeftCounts::Zeroed => return false,
        };
        self.began.elapsed() >= after
    }

    /// Every peer that there is has announced by now.
    fn zero_left_counts(
        &mut self,
        tidied: Tidied<'_>,
        ledger: &mut dyn Ledger,
    ) -> Result<(), DatabaseError> {
        let lifetime = Duration::from_millis(tidied.live.swarm.lifetime_ms);
        let within = self.began.elapsed().saturating_sub(STARTING);
        let others = ledger.others_write(tidied.own, within.as_secs())?;
        let idle_s = if others { (lifetime + WRITTEN_WITHIN).as_secs() } else { 0 };
        let mut left = Vec::new();
        read_pages(ledger, |rows| {
            let counted = rows.iter().filter(|row| row.complete > 0 || row.incomplete > 0);
            left.extend(counted.map(|row| row.info_hash));
            true
        })?;
        for hashes in left.chunks(BATCH_ROWS_MAX) {
            let gone: Vec<InfoHash> =
                hashes.iter().copied().filter(|hash| !tidied.store.holds(hash)).collect();
            ledger.zero_counts(&gone, idle_s)?;
        }
        self.counts = match self.counts {
            LeftCounts::Unseen if others => LeftCounts::OfOthers,
            _ => LeftCounts::Zeroed,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tests::harness;
    use crate::tests::paper_ledger::{PaperLedger, row};

    const A: InfoHash = InfoHash([1; 20]);
    const B: InfoHash = InfoHash([2; 20]);
    const OWN: NodeId = NodeId([9; 16]);

    struct Site {
        cleaning: Cleaning,
        store: Arc<Store>,
        live: Live,
        ledger: PaperLedger,
    }

    impl Site {
        /// Looks every time, and deletes at the second look.
        fn new() -> Site {
            let pace =
                CleaningPace { look_every: Duration::ZERO, look_again_after: Duration::ZERO };
            let mut live = harness::registry_live();
            live.registry.torrent_ttl = Duration::from_secs(60);
            live.swarm.lifetime_ms = 1 << 40;
            let store = harness::store(&harness::policy(), 1);
            Site { cleaning: Cleaning::new(pace), store, live, ledger: PaperLedger::default() }
        }

        fn look(&mut self) {
            let tidied = Tidied { store: &self.store, live: &self.live, own: OWN };
            self.cleaning.round(tidied, &mut self.ledger).unwrap().unwrap();
        }
    }

    #[test]
    fn a_torrent_is_deleted_only_when_it_is_old_at_two_looks_some_time_apart() {
        let mut site = Site::new();
        site.cleaning.pace.look_again_after = Duration::from_secs(3_600);
        site.ledger.old = vec![A, B];
        site.look();
        site.look();
        assert_eq!(site.ledger.deleted, [], "not so soon");
        // The clock of the database was wrong, and has been set right for one of them.
        site.ledger.old = vec![A];
        site.look();
        site.cleaning.pace.look_again_after = Duration::ZERO;
        site.ledger.old = vec![A, B];
        let before = site.cleaning.old[&A];
        site.look();
        assert!(site.ledger.deleted.contains(&A), "since {before:?}: {:?}", site.ledger.deleted);
        assert_eq!(site.cleaning.old.len(), 0, "nothing is kept of what is deleted");
    }

    #[test]
    fn what_a_rule_keeps_does_not_keep_others_and_is_not_tried_again() {
        let mut site = Site::new();
        let hash = |n: usize| {
            let mut hash = InfoHash([0; 20]);
            hash.0[..2].copy_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
            hash
        };
        let all: Vec<InfoHash> = (0..BATCH_ROWS_MAX + 5).map(hash).collect();
        site.ledger.kept = all[..BATCH_ROWS_MAX].to_vec();
        site.ledger.old.clone_from(&all);
        (0..4).for_each(|_| site.look());
        let mut deleted = site.ledger.deleted.clone();
        deleted.sort_unstable();
        assert_eq!(deleted, all[BATCH_ROWS_MAX..], "those behind the ones that are kept");
    }

    #[test]
    fn a_torrent_in_memory_is_left_alone() {
        let mut site = Site::new();
        harness::begin_unasked(&site.store, A);
        site.ledger.old = vec![A, B];
        site.look();
        site.look();
        assert_eq!(site.ledger.deleted, [B]);
    }

    #[test]
    fn counts_of_an_earlier_run_are_over_after_a_lifetime() {
        let mut site = Site::new();
        let mut with_peers = row(A);
        with_peers.complete = 3;
        let mut in_memory = row(B);
        in_memory.incomplete = 1;
        harness::begin_unasked(&site.store, B);
        site.ledger.rows = vec![with_peers, in_memory, row(InfoHash([3; 20]))];
        site.look();
        assert_eq!(site.ledger.zeroed, [], "a peer may still announce");
        site.live.swarm.lifetime_ms = 0;
        site.look();
        assert_eq!(site.ledger.zeroed, [(A, 0)], "nobody has announced it");
        site.look();
        assert_eq!(site.ledger.zeroed.len(), 1, "once is enough");
    }

    #[test]
    fn counts_that_may_be_of_another_tracker_have_to_be_older() {
        let mut site = Site::new();
        let mut with_peers = row(A);
        with_peers.complete = 3;
        site.ledger.rows = vec![with_peers];
        site.ledger.others = true;
        site.live.swarm.lifetime_ms = 0;
        site.look();
        site.look();
        assert_eq!(site.ledger.zeroed, [(A, WRITTEN_WITHIN.as_secs())], "the first time");
        site.cleaning.began -= WRITTEN_WITHIN;
        site.look();
        site.look();
        assert_eq!(site.ledger.zeroed.len(), 2, "once more, after as long as it may be silent");
    }
}
