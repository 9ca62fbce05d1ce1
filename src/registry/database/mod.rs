//! What the registry asks of a database, and the two that answer: MySQL and SQLite.
//!
//! `traits` is the questions and what they are about; tests stand in for a database there. `mysql`
//! and `sqlite` answer them; `columns`, `numbered` and `edit` is what both decide alike. `source`
//! says which of them a URL names; `fingerprint` tells one database from others.

mod columns;
#[cfg(feature = "databases")]
mod edit;
mod fingerprint;
#[cfg(feature = "databases")]
mod mysql;
#[cfg(feature = "databases")]
mod numbered;
#[cfg(feature = "databases")]
mod source;
#[cfg(feature = "databases")]
mod sqlite;
mod traits;

pub use self::fingerprint::Fingerprint;
#[cfg(feature = "databases")]
pub use self::mysql::panic_is_fenced;
#[cfg(feature = "databases")]
pub use self::source::Source;
pub use self::traits::{
    AskLimits, BATCH_ROWS_MAX, Backend, Batch, BatchOutcome, CHANGES_MAX, Counted, DatabaseError,
    Deleted, Edit, Edited, LOOKUP_HASHES_MAX, Ledger, ListChange, ListPage, ListPosition, NodeId,
    RefusedRow, Row, TimeLimits,
};
