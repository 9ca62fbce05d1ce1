//! What a registry asks of a database beside lookups, away for ever: a bench asks lookups only, and
//! the registry's threads for the rest find nobody to talk to.

use announced::ids::InfoHash;
use announced::listing::Record;
use announced::registry::database::{
    Backend, Batch, BatchOutcome, DatabaseError, Deleted, Edit, Edited, Ledger, ListChange,
    ListPage, ListPosition, NodeId,
};

/// See the file.
pub(crate) struct Away;

impl Away {
    fn answer<T>() -> Result<T, DatabaseError> {
        Err(DatabaseError::Away("there is none".to_owned()))
    }
}

impl Backend for Away {
    fn lookup(&mut self, _: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
        Away::answer()
    }
}

impl Ledger for Away {
    fn read_list(&mut self, _: &ListPosition, _: usize) -> Result<ListPage, DatabaseError> {
        Away::answer()
    }

    fn write(&mut self, _: &Batch) -> Result<BatchOutcome, DatabaseError> {
        Away::answer()
    }

    fn last_change(&mut self) -> Result<u64, DatabaseError> {
        Away::answer()
    }

    fn changes(&mut self, _: u64, _: &[u64]) -> Result<Vec<ListChange>, DatabaseError> {
        Away::answer()
    }

    fn idle(&mut self, _: u64, _: usize) -> Result<Vec<InfoHash>, DatabaseError> {
        Away::answer()
    }

    fn delete_idle(&mut self, _: &[InfoHash], _: u64) -> Result<Deleted, DatabaseError> {
        Away::answer()
    }

    fn others_write(&mut self, _: NodeId, _: u64) -> Result<bool, DatabaseError> {
        Away::answer()
    }

    fn zero_counts(&mut self, _: &[InfoHash], _: u64) -> Result<(), DatabaseError> {
        Away::answer()
    }

    fn edit(&mut self, _: &[Edit]) -> Result<Vec<Edited>, DatabaseError> {
        Away::answer()
    }
}
