//! What the registry asks of a database: `mysql` and `sqlite` answer it, tests stand in for them.
//!
//! Every call blocks, until the connection's own time limits at most, and makes or remakes the
//! connection it needs by itself: after an error the next call simply tries again. Only the
//! registry's threads and the `torrent` command hold one of these.
//!
//! Limits: [`LOOKUP_HASHES_MAX`] hashes in a lookup, [`BATCH_ROWS_MAX`] rows in a batch or an edit,
//! [`CHANGES_MAX`] changes in an answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::database::columns;
use crate::swarm::{Counts, Unwritten};

/// Hashes in one lookup.
pub const LOOKUP_HASHES_MAX: usize = 256;
/// Rows written in one transaction.
pub const BATCH_ROWS_MAX: usize = 1_000;
/// Changes told of in one answer.
pub const CHANGES_MAX: usize = 1_000;

/// Why the database could not do something. One line for the operator, without a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DatabaseError {
    /// It did not answer, or not in time, or refused the connection: it may do so later.
    Away(String),
    /// It answered that this cannot work as it is set up: a table is missing, a right, the file.
    /// The text says what to do about it.
    Unfit(String),
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (DatabaseError::Away(text) | DatabaseError::Unfit(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for DatabaseError {}

/// Says how long each step may take: asked before each call, as that may change.
pub type AskLimits = Arc<dyn Fn() -> TimeLimits + Send + Sync>;

/// How long each step may take; past it the call ends with [`DatabaseError::Away`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeLimits {
    /// Until there is a connection.
    pub connect: Duration,
    /// Until the next piece of an answer has come, or a question has been taken; for SQLite, until
    /// the file's lock is had.
    pub answer: Duration,
}

impl TimeLimits {
    /// So long for either.
    pub fn both(limit: Duration) -> TimeLimits {
        TimeLimits { connect: limit, answer: limit }
    }
}

/// What lookup threads ask; each has one of its own.
pub trait Backend: Send {
    /// Looks up `hashes` in one question; one record per hash, in their order. Without hashes it
    /// only finds out whether the database answers.
    ///
    /// # Errors
    /// When the database could not be asked.
    fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError>;
}

/// Everything else; the thread that writes counters has one, and the `torrent` command.
pub trait Ledger: Send {
    /// Listed torrents, banned ones included, with hashes above `after`, ascending, `limit` at
    /// most. Fewer than `limit` are the last.
    ///
    /// # Errors
    /// When the database could not be asked.
    fn page(&mut self, after: Option<&InfoHash>, limit: usize) -> Result<Vec<Row>, DatabaseError>;

    /// Writes a batch in one transaction, unless it has been applied already: asking again after an
    /// error is always safe. Torrents that are no longer listed are passed over. Ok means that
    /// the batch is known to be applied, by this call or an earlier one.
    ///
    /// # Errors
    /// When it is not known to be applied: the same batch must be asked for again before any later
    /// one of its node.
    fn write(&mut self, batch: &Batch) -> Result<(), DatabaseError>;

    /// The number of the last change there is; changes up to it are of no interest to who starts
    /// now. 0 where there is no table of them.
    ///
    /// # Errors
    /// When the database could not be asked.
    fn last_change(&mut self) -> Result<u64, DatabaseError>;

    /// Changes with numbers above `after` or among `also` (numbers that were missing before: a
    /// transaction may commit late), ascending, [`CHANGES_MAX`] at most. None where there is no
    /// table of them.
    ///
    /// # Errors
    /// When the database could not be asked.
    fn changes(&mut self, after: u64, also: &[u64]) -> Result<Vec<ListChange>, DatabaseError>;

    /// Torrents, [`BATCH_ROWS_MAX`] at most, that may be deleted for being old: not banned, no
    /// peers by the last count written, and nothing written for `idle_s` seconds by the
    /// database's clock.
    ///
    /// # Errors
    /// When the database could not be asked.
    fn idle(&mut self, idle_s: u64) -> Result<Vec<InfoHash>, DatabaseError>;

    /// Deletes those of `hashes` for which what [`Ledger::idle`] asks still holds (the condition is
    /// in the DELETE itself); how many.
    ///
    /// # Errors
    /// When the database could not be asked; some may have been deleted.
    fn delete_idle(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<u64, DatabaseError>;

    /// Makes changes that running trackers see within a second, in one transaction: all or none. At
    /// most [`BATCH_ROWS_MAX`]; what became of each, in their order.
    ///
    /// # Errors
    /// When the database could not be asked, or has no table of torrents.
    fn edit(&mut self, edits: &[Edit]) -> Result<Vec<Edited>, DatabaseError>;
}

/// A torrent as the database lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Its name; empty when it has none.
    pub name: String,
    /// Completed downloads.
    pub downloaded: u32,
    /// Seeders, as last written; 0 in the PHP tracker's table.
    pub complete: u32,
    /// Leechers, as last written; 0 in the PHP tracker's table.
    pub incomplete: u32,
    /// Whether it is banned.
    pub banned: bool,
    /// Why, where that was said and has a column.
    pub ban_reason: Option<String>,
    /// When it was listed, seconds since 1970; 0 when unknown.
    pub added_unix_s: i64,
    /// When something of it was last written, seconds since 1970; 0 when unknown.
    pub updated_unix_s: i64,
}

impl Row {
    /// What a lookup would have said of it.
    pub fn record(&self) -> Record {
        let reason = self.ban_reason.as_deref().unwrap_or_default().as_bytes();
        columns::record(self.name.as_bytes(), self.downloaded.into(), self.banned, reason)
    }
}

/// What is to be written for one torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Downloads completed since the last batch with this torrent: added to the database's number.
    pub downloads: u32,
    /// Seeders now.
    pub complete: u32,
    /// Leechers now.
    pub incomplete: u32,
    /// Whether there was an announce since the last batch: `updated` is set to now then, else left
    /// alone.
    pub active: bool,
}

impl Counted {
    /// What the swarms have of it.
    pub(in crate::registry) fn of(torrent: &Unwritten) -> Counted {
        let Unwritten { info_hash, downloads, counts, active } = *torrent;
        let Counts { complete, incomplete, .. } = counts;
        Counted { info_hash, downloads, complete, incomplete, active }
    }
}

/// Counters to write, numbered so that none is written twice. A batch does not change once it has
/// been handed to a database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Who writes it.
    pub node: NodeId,
    /// 1 and up, without gaps, for each node: the database knows the last one it has applied.
    pub number: u64,
    /// Rows in the order of their hashes, each hash once, [`BATCH_ROWS_MAX`] at most.
    pub rows: Vec<Counted>,
}

/// Names one writer of batches: random and new in every process, so that two never share it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct NodeId(pub [u8; 16]);

/// An entry of the table of changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListChange {
    /// Its number.
    pub number: u64,
    /// The torrent that was changed.
    pub info_hash: InfoHash,
}

/// A change asked for by the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// Lists a torrent. One that is listed keeps its counts, and its name unless another one is
    /// given; a ban stays.
    Add {
        /// Which torrent.
        info_hash: InfoHash,
        /// What it is called.
        name: Option<String>,
    },
    /// Bans a torrent, listed or not: one that is not is listed as banned, so that an open tracker
    /// refuses it.
    Ban {
        /// Which torrent.
        info_hash: InfoHash,
        /// Told to clients.
        reason: Option<String>,
    },
    /// Lifts a ban.
    Unban {
        /// Which torrent.
        info_hash: InfoHash,
    },
    /// Takes a torrent off the list, with its counts and its ban.
    Remove {
        /// Which torrent.
        info_hash: InfoHash,
    },
}

impl Edit {
    /// The torrent it is about.
    pub fn info_hash(&self) -> &InfoHash {
        let (Edit::Add { info_hash, .. }
        | Edit::Ban { info_hash, .. }
        | Edit::Unban { info_hash }
        | Edit::Remove { info_hash }) = self;
        info_hash
    }
}

/// What became of an [`Edit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edited {
    /// It is done.
    Done,
    /// It is done, but the table has no column for the reason of the ban.
    DoneWithoutReason,
    /// There was nothing to do: listed already, banned already for that reason, not banned.
    Already,
    /// There is no such torrent to unban or remove.
    NotListed,
}
