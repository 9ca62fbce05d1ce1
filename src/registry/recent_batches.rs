//! Torrents whose downloads were written to the database lately.
//!
//! A count that is read from the database while a batch is being written may contain what the batch
//! adds, or not. Owns: which torrents the last batches held, so that the reader of a count finds
//! out whether it can be taken as it stands.
//!
//! What makes this right is the order. A reader takes a [`Mark`] before it asks the database. The
//! writer calls [`RecentBatches::note`] when a batch is known to be applied, and tells the swarms
//! only then. Until they are told, the swarms know by themselves that a batch of theirs is under
//! way. They do not know of batches that an earlier process has left: the torrents in those are
//! kept here ([`RecentBatches::expect`]) until the batches are noted.
//!
//! Limits: the last [`BATCHES_MAX`] batches. A reader whose mark is older is told that the count
//! may differ, whichever torrent it is of.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::ids::InfoHash;

/// Batches remembered: more are not written while one question is answered, or the answer is old.
const BATCHES_MAX: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct RecentBatches {
    /// Batches noted so far.
    noted: AtomicU64,
    /// The hashes of the last batches, sorted.
    batches: Mutex<VecDeque<Box<[InfoHash]>>>,
    /// In how many batches of an earlier process each hash waits.
    expected: Mutex<HashMap<InfoHash, u32, RandomState>>,
}

/// A point between two batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Mark(u64);

impl RecentBatches {
    /// To be taken before a count is asked for.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.noted.load(Ordering::Acquire))
    }

    /// Torrents of a batch that an earlier process has left: it may have been applied or not.
    pub(super) fn expect(&self, hashes: impl Iterator<Item = InfoHash>) {
        let mut expected = self.expected.lock();
        hashes.for_each(|hash| *expected.entry(hash).or_default() += 1);
    }

    /// Takes note of the torrents, sorted, of a batch that is known to be applied. `expected` says
    /// that it was an earlier process's.
    pub(super) fn note(&self, hashes: Box<[InfoHash]>, expected: bool) {
        if expected {
            let mut waiting = self.expected.lock();
            for hash in &hashes {
                if let Some(count) = waiting.get_mut(hash) {
                    *count -= 1;
                }
            }
            waiting.retain(|_, count| *count > 0);
        }
        let mut batches = self.batches.lock();
        if batches.len() == BATCHES_MAX {
            batches.pop_front();
        }
        batches.push_back(hashes);
        self.noted.fetch_add(1, Ordering::Release);
    }

    /// Whether a count that was asked for after `mark` is what the database holds now, as far as
    /// this tracker writes it.
    pub(super) fn is_current(&self, hash: &InfoHash, mark: Mark) -> bool {
        if self.expected.lock().contains_key(hash) {
            return false;
        }
        if self.mark() == mark {
            return true;
        }
        let batches = self.batches.lock();
        let since = self.noted.load(Ordering::Acquire) - mark.0;
        let since = usize::try_from(since).unwrap_or(usize::MAX);
        since <= batches.len()
            && batches.iter().rev().take(since).all(|batch| batch.binary_search(hash).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: InfoHash = InfoHash([b'a'; 20]);
    const B: InfoHash = InfoHash([b'b'; 20]);

    #[test]
    fn only_torrents_written_since_the_question_may_differ() {
        let recent = RecentBatches::default();
        recent.note(Box::new([A]), false);
        let mark = recent.mark();
        assert!(recent.is_current(&A, mark));
        recent.note(Box::new([B]), false);
        assert!(recent.is_current(&A, mark) && !recent.is_current(&B, mark));
        assert!(recent.is_current(&B, recent.mark()));
    }

    #[test]
    fn what_an_earlier_process_has_left_is_waited_for() {
        let recent = RecentBatches::default();
        recent.expect([A, B, A].into_iter());
        recent.note(Box::new([A, B]), true);
        assert!(!recent.is_current(&A, recent.mark()) && recent.is_current(&B, recent.mark()));
        recent.note(Box::new([A]), true);
        assert!(recent.is_current(&A, recent.mark()));
    }

    #[test]
    fn an_answer_older_than_what_is_remembered_may_always_differ() {
        let recent = RecentBatches::default();
        let mark = recent.mark();
        (0..BATCHES_MAX).for_each(|_| recent.note(Box::new([B]), false));
        assert!(recent.is_current(&A, mark));
        recent.note(Box::new([]), false);
        assert!(!recent.is_current(&A, mark));
    }
}
