//! What is asked of the database for a worker, and what comes back.
//!
//! Owns: the words for it, which the threads that ask and those who wait for them share. Never:
//! what is done without an answer; that is `tracker`'s.

use crate::ids::{InfoHash, Ticket};
use crate::listing::Record;

/// Why a lookup brought no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupError {
    /// The database did not answer.
    Unavailable,
    /// Too many lookups are queued already.
    QueueFull,
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    /// Whose request it was.
    pub ticket: Ticket,
    /// The torrent that was looked up: a connection may by now be waiting for another one.
    pub info_hash: InfoHash,
    /// What the database said.
    pub outcome: Result<Record, LookupError>,
}
