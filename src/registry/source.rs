//! Which database a URL names.

use crate::config::DatabaseUrl;
use crate::registry::database::{Backend, DatabaseError, Ledger, TimeLimits};

/// A database that can be connected to.
#[derive(Clone, Debug)]
pub enum Source {}

impl Source {
    /// The database of a URL; none for `memory`.
    ///
    /// # Errors
    /// When there is no such database.
    pub fn from_url(url: &DatabaseUrl) -> Result<Option<Source>, DatabaseError> {
        if url.is_memory() { Ok(None) } else { Err(DatabaseError::Unfit("is not supported".to_owned())) }
    }

    /// Makes what is missing.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn prepare(&self) -> Result<(), DatabaseError> {
        match *self {}
    }

    /// A connection for lookups.
    pub fn backend(&self, _: TimeLimits) -> Box<dyn Backend> {
        match *self {}
    }

    /// A connection for the rest.
    pub fn ledger(&self, _: TimeLimits) -> Box<dyn Ledger> {
        match *self {}
    }
}
