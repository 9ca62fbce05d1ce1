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
    /// There is no connection, or no answer in time: it may answer later.
    Away(String),
    /// It answers, and refuses what may be granted later by itself: it has too many connections, a
    /// full disk, or may only be read for now.
    Refused(String),
    /// It answers, and refuses until somebody changes the password, a right or the server. The text
    /// says what to do.
    Denied(String),
    /// It answers, but this is not the tracker's database, or its tables are not as they must be.
    /// The text says what to do.
    Unfit(String),
}

impl DatabaseError {
    /// What the log says before the text.
    pub fn heading(&self) -> &'static str {
        match self {
            DatabaseError::Away(_) => "the database does not answer",
            DatabaseError::Refused(_) | DatabaseError::Denied(_) => "the database refuses",
            DatabaseError::Unfit(_) => "the database cannot be used as it is",
        }
    }

    /// Whether waiting cures nothing: somebody has to act.
    pub fn lasts(&self) -> bool {
        matches!(self, DatabaseError::Denied(_) | DatabaseError::Unfit(_))
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (DatabaseError::Away(text)
        | DatabaseError::Refused(text)
        | DatabaseError::Denied(text)
        | DatabaseError::Unfit(text)) = self;
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

/// Everything else, on the same connection as its lookups; the thread that writes counters has one,
/// those who read the list share one, and the `torrent` command has one.
pub trait Ledger: Backend {
    /// Reads the list on from a position, banned torrents included: `limit` rows at most.
    ///
    /// # Errors
    /// When the database could not be asked.
    fn read_list(&mut self, from: &ListPosition, limit: usize) -> Result<ListPage, DatabaseError>;

    /// Writes a batch in one transaction, unless it has been applied already: asking again after an
    /// error is always safe. Torrents that are no longer listed are passed over, and so are rows
    /// that the database refuses by a rule of the site's; the others are written.
    ///
    /// # Errors
    /// When it is not known to be applied: the same batch must be asked for again before any later
    /// one of its node.
    fn write(&mut self, batch: &Batch) -> Result<BatchOutcome, DatabaseError>;

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

    /// Torrents, `limit` at most, that may be deleted for being old: not banned, no peers by the
    /// last count written, and nothing written for `idle_s` seconds by the database's clock.
    ///
    /// # Errors
    /// When the database could not be asked.
    fn idle(&mut self, idle_s: u64, limit: usize) -> Result<Vec<InfoHash>, DatabaseError>;

    /// Deletes those of `hashes` for which what [`Ledger::idle`] asks still holds (the condition is
    /// in the DELETE itself), but for those that a rule of the site's keeps.
    ///
    /// # Errors
    /// When the database could not be asked; some may have been deleted.
    fn delete_idle(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<Deleted, DatabaseError>;

    /// Whether a tracker other than `own` has written a batch within so many seconds, by the
    /// database's clock. True also where that cannot be known.
    ///
    /// # Errors
    /// When the database could not be asked.
    fn others_write(&mut self, own: NodeId, within_s: u64) -> Result<bool, DatabaseError>;

    /// Sets seeders and leechers of `hashes` to 0, of those for which nothing has been written for
    /// `idle_s` seconds; that counts as no activity.
    ///
    /// # Errors
    /// When the database could not be asked.
    fn zero_counts(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<(), DatabaseError>;

    /// Makes changes that running trackers see within a second, in one transaction: all or none. At
    /// most [`BATCH_ROWS_MAX`]; what became of each, in their order.
    ///
    /// # Errors
    /// When the database could not be asked, or has no table of torrents.
    fn edit(&mut self, edits: &[Edit]) -> Result<Vec<Edited>, DatabaseError>;
}

/// Where reading the list goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListPosition {
    /// Nothing is read yet; in the order that is quickest to read.
    Begin,
    /// Nothing is read yet; in the order of the hashes.
    BeginByHash,
    /// Behind the row with this key.
    Key(i128),
    /// Behind the row with this in the column of its hash, whatever that is.
    Hash(Vec<u8>),
}

/// A piece of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListPage {
    /// What it holds.
    pub rows: Vec<Row>,
    /// Where the next one begins; none after the last.
    pub next: Option<ListPosition>,
    /// Rows that are passed over because they have no hash of 20 bytes, each by what names it.
    pub passed_over: Vec<String>,
}

/// What came of a deletion.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Deleted {
    /// How many torrents are deleted.
    pub count: u64,
    /// Those that a rule of the site's keeps, such as a foreign key.
    pub refused: Vec<RefusedRow>,
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

/// What became of a batch. Each of these is certain: asking again changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BatchOutcome {
    /// It is applied, by this call or an earlier one, but for the rows that were refused now.
    Applied {
        /// Rows that a rule of the site's keeps from being written.
        refused: Vec<RefusedRow>,
    },
    /// It is not applied, and cannot be: the database knows an earlier batch than the one before it
    /// as its node's last, so what came between is lost there.
    SetBack {
        /// The last batch that the database knows.
        last: u64,
    },
    /// The database knows a later batch of its node: whether this one is applied is not known.
    Overtaken {
        /// The last batch that the database knows.
        last: u64,
    },
}

impl BatchOutcome {
    /// Applied as a whole.
    pub const WHOLE: BatchOutcome = BatchOutcome::Applied { refused: Vec::new() };
}

/// A row that a CHECK, a trigger or a key of the site's keeps from being written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedRow {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// The database's words.
    pub why: String,
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
    /// It is done, but the column of the name or the reason cannot hold all its characters: those
    /// that it cannot hold are question marks.
    DoneWithQuestionMarks,
    /// There was nothing to do: listed already, banned already for that reason, not banned.
    Already,
    /// There is no such torrent to unban or remove.
    NotListed,
}
