//! One connection for all who read the list: the thread `watch` and the full scrapes. A database
//! has few connections to give, and a site has others that need them.
//!
//! Owns: the turns; each question is one. Never: a thread that workers wait for.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::database::{
    Backend, Batch, BatchOutcome, DatabaseError, Deleted, Edit, Edited, Ledger, ListChange,
    ListPage, ListPosition, NodeId,
};

/// See the module. Clones share the connection.
#[derive(Clone)]
pub(super) struct SharedLedger(Arc<Mutex<Box<dyn Ledger>>>);

impl SharedLedger {
    pub(super) fn new(ledger: Box<dyn Ledger>) -> SharedLedger {
        SharedLedger(Arc::new(Mutex::new(ledger)))
    }
}

impl Backend for SharedLedger {
    fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
        self.0.lock().lookup(hashes)
    }
}

impl Ledger for SharedLedger {
    fn read_list(&mut self, from: &ListPosition, limit: usize) -> Result<ListPage, DatabaseError> {
        self.0.lock().read_list(from, limit)
    }

    fn write(&mut self, batch: &Batch) -> Result<BatchOutcome, DatabaseError> {
        self.0.lock().write(batch)
    }

    fn last_change(&mut self) -> Result<u64, DatabaseError> {
        self.0.lock().last_change()
    }

    fn changes(&mut self, after: u64, also: &[u64]) -> Result<Vec<ListChange>, DatabaseError> {
        self.0.lock().changes(after, also)
    }

    fn idle(&mut self, idle_s: u64, limit: usize) -> Result<Vec<InfoHash>, DatabaseError> {
        self.0.lock().idle(idle_s, limit)
    }

    fn delete_idle(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<Deleted, DatabaseError> {
        self.0.lock().delete_idle(hashes, idle_s)
    }

    fn others_write(&mut self, own: NodeId, within_s: u64) -> Result<bool, DatabaseError> {
        self.0.lock().others_write(own, within_s)
    }

    fn zero_counts(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<(), DatabaseError> {
        self.0.lock().zero_counts(hashes, idle_s)
    }

    fn edit(&mut self, edits: &[Edit]) -> Result<Vec<Edited>, DatabaseError> {
        self.0.lock().edit(edits)
    }
}
