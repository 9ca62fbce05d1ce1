//! Torrents whose downloads were written to the database lately.
//!
//! A count read from the database while a batch was being written may hold what the batch adds, or not. Owns: which torrents the last
//! batches held, so that whoever read a count finds out whether it can be taken as it stands. The order that makes this right: a reader
//! takes a [`Mark`] before it asks; the writer calls [`Recent::note`] when a batch is known to be applied and only then settles the books.
//! Until it has, the books themselves know that a batch is under way.
//!
//! Limits: the last [`BATCHES_MAX`] batches. Who asked before those is told that any count may differ.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::ids::InfoHash;

/// Batches remembered: more are not written while one question is answered, or the answer is old.
const BATCHES_MAX: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Recent {
    /// Batches noted so far.
    noted: AtomicU64,
    /// The hashes of the last batches, sorted.
    batches: Mutex<VecDeque<Box<[InfoHash]>>>,
}

/// A point between two batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Mark(u64);

impl Recent {
    /// To be taken before a count is asked for.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.noted.load(Ordering::Acquire))
    }

    /// Takes note of the torrents, sorted, of a batch that is known to be applied.
    pub(super) fn note(&self, hashes: Box<[InfoHash]>) {
        let mut batches = self.batches.lock();
        if batches.len() == BATCHES_MAX {
            batches.pop_front();
        }
        batches.push_back(hashes);
        self.noted.fetch_add(1, Ordering::Release);
    }

    /// Whether a count that was asked for after `mark` is what the database holds now, as far as this tracker writes it.
    pub(super) fn is_current(&self, hash: &InfoHash, mark: Mark) -> bool {
        if self.mark() == mark {
            return true;
        }
        let batches = self.batches.lock();
        let since = self.noted.load(Ordering::Acquire) - mark.0;
        let since = usize::try_from(since).unwrap_or(usize::MAX);
        since <= batches.len() && batches.iter().rev().take(since).all(|batch| batch.binary_search(hash).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: InfoHash = InfoHash([b'a'; 20]);
    const B: InfoHash = InfoHash([b'b'; 20]);

    #[test]
    fn only_torrents_written_since_the_question_may_differ() {
        let recent = Recent::default();
        recent.note(Box::new([A]));
        let mark = recent.mark();
        assert!(recent.is_current(&A, mark));
        recent.note(Box::new([B]));
        assert!(recent.is_current(&A, mark) && !recent.is_current(&B, mark));
        assert!(recent.is_current(&B, recent.mark()));
    }

    #[test]
    fn an_answer_older_than_what_is_remembered_may_always_differ() {
        let recent = Recent::default();
        let mark = recent.mark();
        (0..BATCHES_MAX).for_each(|_| recent.note(Box::new([B])));
        assert!(recent.is_current(&A, mark));
        recent.note(Box::new([]));
        assert!(!recent.is_current(&A, mark));
    }
}
