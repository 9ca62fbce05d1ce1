//! Batches that are not known to be applied, with the names and numbers that they have.
//!
//! Owns: the tracker's own name and the number of its last batch, and the batches that an earlier
//! process has left under its name. A batch keeps name and number until it is applied, but for one
//! case: a database that was set back cannot take it under them, and gets it under a new name.
//!
//! Never: writes one to the database, or says what has become of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::database::{Batch, Counted, NodeId};
use crate::registry::saved;
use crate::registry::state_file::StateFile;
use crate::swarm::Unwritten;

/// See the module.
pub(super) struct UnwrittenBatches {
    node: NodeId,
    /// The number of the last batch that was made under that name.
    number: u64,
    /// In the order in which they are to be written.
    queue: VecDeque<Arc<Batch>>,
}

impl UnwrittenBatches {
    /// A tracker that is called `node`, and what an earlier process has left.
    pub(super) fn new(node: NodeId, left: Vec<Batch>) -> UnwrittenBatches {
        UnwrittenBatches { node, number: 0, queue: left.into_iter().map(Arc::new).collect() }
    }

    /// What the tracker calls itself.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Makes a batch of what was taken, to be written after all others; none of nothing.
    pub(super) fn add(&mut self, taken: &[Unwritten]) -> Option<Arc<Batch>> {
        (!taken.is_empty()).then(|| self.add_rows(taken.iter().map(Counted::of).collect()))
    }

    /// Makes a batch. Rows are put in one order for every tracker on a database, so that two do not
    /// lock each other out.
    pub(super) fn add_rows(&mut self, mut rows: Vec<Counted>) -> Arc<Batch> {
        rows.sort_unstable_by_key(|row| row.info_hash);
        self.number += 1;
        let batch = Arc::new(Batch { node: self.node, number: self.number, rows });
        self.queue.push_back(Arc::clone(&batch));
        batch
    }

    /// What is in the tracker's own batches.
    pub(super) fn own_rows(&self) -> Vec<Counted> {
        let own = self.queue.iter().filter(|batch| self.is_own(batch));
        own.flat_map(|batch| batch.rows.iter().copied()).collect()
    }

    /// Downloads in batches of an earlier process.
    pub(super) fn earlier_downloads(&self) -> EarlierDownloads {
        let of_others = self.queue.iter().map(Arc::as_ref).filter(|batch| !self.is_own(batch));
        EarlierDownloads(saved::downloads_of(of_others))
    }

    /// Puts back one of an earlier process.
    #[cfg(test)]
    pub(super) fn push(&mut self, batch: Batch) {
        self.queue.push_back(Arc::new(batch));
    }

    /// The next one to be written.
    pub(super) fn first(&self) -> Option<Arc<Batch>> {
        self.queue.front().cloned()
    }

    /// Forgets that one.
    pub(super) fn take_first(&mut self) {
        self.queue.pop_front();
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// All, in order.
    pub(super) fn all(&self) -> Vec<Arc<Batch>> {
        self.queue.iter().cloned().collect()
    }

    /// Whether a batch has the tracker's own name, and not an earlier process's.
    pub(super) fn is_own(&self, batch: &Batch) -> bool {
        batch.node == self.node
    }

    /// Gives the batches of `node` a new name, and numbers from 1 on; the tracker itself too, when
    /// it is called so.
    pub(super) fn rename(&mut self, node: NodeId, new: NodeId) {
        let mut number = 0;
        for batch in self.queue.iter_mut().filter(|batch| batch.node == node) {
            number += 1;
            *batch = Arc::new(Batch { node: new, number, rows: batch.rows.clone() });
        }
        if self.node == node {
            (self.node, self.number) = (new, number);
        }
    }
}

/// What is known of a torrent holds its downloads in an earlier process's batches since the start;
/// the state file's records hold what the database has.
pub(super) struct EarlierDownloads(HashMap<InfoHash, u32>);

impl EarlierDownloads {
    /// The record as the database has it.
    pub(super) fn taken_from(&self, hash: &InfoHash, record: &Record) -> Record {
        let earlier = self.0.get(hash).copied().unwrap_or(0);
        Record { downloaded: record.downloaded.saturating_sub(earlier), ..record.clone() }
    }
}

/// A batch cannot be written under its name.
pub(super) fn say_set_back(batch: &Batch, last: u64) {
    log::error!(
        "the database has been set back: the last batch of counters that it knows of this tracker \
         is {last}, but batch {} was written; what came between is lost there, and counting goes \
         on under a new name",
        batch.number.saturating_sub(1)
    );
}

/// Keeps a batch in a file for the operator: the database knows batch `last` of the same name, so
/// that nobody can say whether it is applied.
pub(super) fn put_aside(batch: &Batch, last: u64, state_file: Option<&StateFile>) {
    let downloads: u64 = batch.rows.iter().map(|row| u64::from(row.downloads)).sum();
    let torrents = batch.rows.len();
    let kept = state_file.map(|file| file.put_aside_batch(batch));
    let place = match kept {
        Some(Ok(path)) => format!("it is kept in {}", path.display()),
        Some(Err(error)) => format!("it is lost, as it cannot be kept: {error}"),
        None => "it is lost, as there is no state directory".to_owned(),
    };
    log::error!(
        "somebody else writes under this tracker's name: the database knows batch {last}, and \
         not whose batch {} is; that one, of {downloads} downloads of {torrents} torrents, is \
         not written: {place}; counting goes on under a new name",
        batch.number
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([1; 16]);
    const LEFT: NodeId = NodeId([2; 16]);
    const NEW: NodeId = NodeId([3; 16]);

    fn names(batches: &UnwrittenBatches) -> Vec<(NodeId, u64)> {
        batches.all().iter().map(|batch| (batch.node, batch.number)).collect()
    }

    #[test]
    fn a_new_name_begins_with_number_one_and_leaves_others_alone() {
        let left = [7, 8].map(|number| Batch { node: LEFT, number, rows: Vec::new() });
        let mut batches = UnwrittenBatches::new(OWN, left.to_vec());
        batches.add_rows(Vec::new());
        batches.rename(LEFT, NEW);
        assert_eq!(names(&batches), [(NEW, 1), (NEW, 2), (OWN, 1)], "those that were left");
        batches.rename(OWN, LEFT);
        batches.add_rows(Vec::new());
        assert_eq!(names(&batches), [(NEW, 1), (NEW, 2), (LEFT, 1), (LEFT, 2)], "its own");
        assert!(batches.is_own(&batches.all()[3]), "the tracker has the new name");
        batches.queue.clear();
        batches.rename(LEFT, OWN);
        assert_eq!(batches.add_rows(Vec::new()).number, 1, "without a batch to be written");
    }
}
