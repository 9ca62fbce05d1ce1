//! What a registry asks of a database beside lookups, away for ever: a bench asks lookups only, and
//! the registry's threads for the rest find nobody to talk to.

use announced::ids::InfoHash;
use announced::registry::database::{Batch, DatabaseError, Edit, Edited, Ledger, ListChange, Row};

/// See the file.
pub(crate) struct Away;

impl Away {
    fn answer<T>() -> Result<T, DatabaseError> {
        Err(DatabaseError::Away("there is none".to_owned()))
    }
}

impl Ledger for Away {
    fn page(&mut self, _: Option<&InfoHash>, _: usize) -> Result<Vec<Row>, DatabaseError> {
        Away::answer()
    }

    fn write(&mut self, _: &Batch) -> Result<(), DatabaseError> {
        Away::answer()
    }

    fn last_change(&mut self) -> Result<u64, DatabaseError> {
        Away::answer()
    }

    fn changes(&mut self, _: u64, _: &[u64]) -> Result<Vec<ListChange>, DatabaseError> {
        Away::answer()
    }

    fn idle(&mut self, _: u64) -> Result<Vec<InfoHash>, DatabaseError> {
        Away::answer()
    }

    fn delete_idle(&mut self, _: &[InfoHash], _: u64) -> Result<u64, DatabaseError> {
        Away::answer()
    }

    fn edit(&mut self, _: &[Edit]) -> Result<Vec<Edited>, DatabaseError> {
        Away::answer()
    }
}
