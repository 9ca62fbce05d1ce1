//! SQLite, the embedded default; the only folder that knows `rusqlite`.
//!
//! Owns: the registry's questions to one file, which is made with its tables when it is not there.
//! Write-ahead logging, so readers and the one writer do not wait for each other; `synchronous =
//! NORMAL`, so a power cut may take the last batches, but never half of one. Where that mode cannot
//! be set, as while somebody reads a file with a rollback journal, the file's own is kept. A file
//! that another process has locked is waited for, up to the time limit. One that was replaced is
//! opened anew, by every connection before its next transaction (`file`).
//!
//! Never: SQL from outside; everything is a parameter. Numbers past the ends of their columns are
//! cut to what records hold.

mod cell;
mod clock;
mod counts;
mod failure;
mod file;
mod list;
mod statement;

use std::path::Path;
use std::time::Duration;

use rusqlite::{
    Connection, Error, ErrorCode, OpenFlags, OptionalExtension, Row as Cells, Statement,
    Transaction, TransactionBehavior, params,
};

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::database::columns::{ByHash, in_order, record};
use crate::registry::database::edit::{
    CHANGE_HOURS_KEPT, CHANGES_DELETED_MAX, ListedTorrent, Plan, Write, Written, plan,
};
use crate::registry::database::sqlite::clock::{HOUR_S, now};
use crate::registry::database::sqlite::failure::Failure;
use crate::registry::database::sqlite::file::SqliteFile;
use crate::registry::database::traits::{
    AskLimits, Backend, Batch, BatchOutcome, CHANGES_MAX, DatabaseError, Deleted, Edit, Edited,
    Ledger, ListChange, ListPage, ListPosition, NodeId,
};

/// An SQLite file.
pub(super) struct Sqlite {
    file: SqliteFile,
    limits: AskLimits,
    /// How long a lock is waited for on the connection that is kept, or was tried last.
    lock_wait: Duration,
    kept: Option<Connection>,
}

impl Sqlite {
    /// A file that has not been opened yet.
    pub(super) fn new(path: &Path, limits: AskLimits) -> Sqlite {
        Sqlite { file: SqliteFile::new(path), lock_wait: limits().answer, limits, kept: None }
    }

    /// Opens the file, and makes it and its tables if they are not there.
    ///
    /// # Errors
    /// When that cannot be done, or the file cannot be written to; the text names it.
    pub(super) fn prepare(&mut self) -> Result<(), DatabaseError> {
        drop(self.open(OpenFlags::SQLITE_OPEN_CREATE).map_err(|error| self.explain(error.into()))?);
        self.write(|transaction| {
            transaction.execute_batch(statement::SCHEMA)?;
            // Where there are tables, that writes nothing; this finds out whether anything can be.
            let version: i64 =
                transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok(transaction.pragma_update(None, "user_version", version)?)
        })
    }

    /// Asks in a transaction that only reads.
    fn ask<T>(
        &mut self,
        question: impl Fn(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, DatabaseError> {
        match self.try_transaction(TransactionBehavior::Deferred, &question) {
            Err(Failure::Sqlite(error)) if may_only_be_read(&error) && !self.file.has_log() => {
                let asked = self.open_to_read().map_err(Failure::from).and_then(|mut file| {
                    question(&file.transaction_with_behavior(TransactionBehavior::Deferred)?)
                });
                // What stands in the way of writing says more than what does of that.
                asked.map_err(|_| self.explain(error.into()))
            }
            asked => asked.map_err(|failure| self.explain(failure)),
        }
    }

    /// Takes `steps` in a transaction that holds the file's one lock for writing from its
    /// beginning, so that it never has to give up half-way for another's sake.
    fn write<T>(
        &mut self,
        steps: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, DatabaseError> {
        self.transaction(TransactionBehavior::Immediate, steps)
    }

    /// The file is opened anew after an error, and when it has been replaced or the time limits
    /// have changed.
    fn transaction<T>(
        &mut self,
        behavior: TransactionBehavior,
        steps: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, DatabaseError> {
        self.try_transaction(behavior, steps).map_err(|failure| self.explain(failure))
    }

    fn try_transaction<T>(
        &mut self,
        behavior: TransactionBehavior,
        steps: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let lock_wait = (self.limits)().answer;
        let kept = self.kept.take().filter(|_| lock_wait == self.lock_wait);
        self.lock_wait = lock_wait;
        let found = self.file.look().map_err(Failure::File)?;
        let connected = match kept {
            Some(kept) if found.is_same => Ok(kept),
            _ => self.open(OpenFlags::empty()),
        };
        let mut connection = connected?;
        let transaction = connection.transaction_with_behavior(behavior)?;
        let done = steps(&transaction)?;
        transaction.commit()?;
        self.kept = Some(connection);
        self.file.note_open(found);
        Ok(done)
    }

    fn explain(&self, failure: Failure) -> DatabaseError {
        failure.explain(self.file.path(), self.lock_wait)
    }

    /// Once the tracker runs nothing is made: a file that is missing may come back, and an empty
    /// one would say that nothing is listed.
    fn open(&self, create: OpenFlags) -> Result<Connection, Error> {
        // Not the default flags: they would read a name that starts with `file:` as a URI.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let connection = Connection::open_with_flags(self.file.path(), flags)?;
        connection.busy_timeout(self.lock_wait)?;
        if !is_wal(&connection)? {
            // Not possible while somebody reads the file, or where it may only be read: then the
            // mode that it has must do.
            connection.busy_timeout(Duration::ZERO)?;
            let _ = connection.pragma_update(None, "journal_mode", "WAL");
            connection.busy_timeout(self.lock_wait)?;
        }
        let synchronous = if is_wal(&connection)? { "NORMAL" } else { "FULL" };
        connection.pragma_update(None, "synchronous", synchronous)?;
        Ok(connection)
    }

    /// Opens a file in a directory that may only be read. In the write-ahead mode SQLite wants to
    /// make a file beside it even to read: without a log there, nobody writes, and it can be read
    /// as it stands.
    fn open_to_read(&self) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(self.file.uri_as_it_stands(), flags)
    }
}

fn is_wal(connection: &Connection) -> Result<bool, Error> {
    connection.pragma_query_value(None, "journal_mode", |row| {
        Ok(row.get_ref(0)?.as_str().is_ok_and(|mode| mode.eq_ignore_ascii_case("wal")))
    })
}

fn may_only_be_read(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    )
}

impl Backend for Sqlite {
    fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
        self.ask(|transaction| {
            let mut statement = transaction.prepare(statement::LOOKUP)?;
            let mut found = ByHash::default();
            for hash in hashes {
                let record = statement.query_row([hash.0], |row| {
                    Ok(record(
                        cell::bytes(row, 1)?,
                        cell::number(row, 2)?,
                        cell::number(row, 3)? != 0,
                        cell::bytes(row, 4)?,
                    ))
                });
                found.extend(record.optional()?.map(|record| (*hash, record)));
            }
            Ok(in_order(hashes, &found))
        })
    }
}

impl Ledger for Sqlite {
    fn read_list(&mut self, from: &ListPosition, limit: usize) -> Result<ListPage, DatabaseError> {
        self.ask(|transaction| Ok(list::read(transaction, from, limit)?))
    }

    fn write(&mut self, batch: &Batch) -> Result<BatchOutcome, DatabaseError> {
        let mut refused = Vec::new();
        loop {
            let known = refused.len();
            let behavior = TransactionBehavior::Immediate;
            let written = self.try_transaction(behavior, |transaction| {
                counts::write(transaction, batch, &mut refused)
            });
            match written {
                // Once more without the row for which that was done.
                Err(Failure::RolledBack) if refused.len() > known => {}
                Err(failure) => return Err(self.explain(failure)),
                Ok(Some(written)) => return Ok(written),
                Ok(None) => return Ok(BatchOutcome::Applied { refused }),
            }
        }
    }

    fn last_change(&mut self) -> Result<u64, DatabaseError> {
        self.ask(|transaction| {
            Ok(transaction.query_row(statement::LAST_CHANGE, [], |row| cell::number(row, 0))?)
        })
    }

    fn changes(&mut self, after: u64, also: &[u64]) -> Result<Vec<ListChange>, DatabaseError> {
        self.ask(|transaction| {
            let mut changes = Vec::new();
            let mut one = transaction.prepare(statement::CHANGED_ONE)?;
            for number in also.iter().filter(|number| **number <= after) {
                changes.extend(change_rows(&mut one, params![cell::signed(*number)])?);
            }
            let mut later = transaction.prepare(statement::CHANGED)?;
            let limit = i64::try_from(CHANGES_MAX).unwrap_or(i64::MAX);
            changes.extend(change_rows(&mut later, params![cell::signed(after), limit])?);
            changes.sort_unstable_by_key(|change| change.number);
            changes.dedup();
            changes.truncate(CHANGES_MAX);
            Ok(changes)
        })
    }

    fn idle(&mut self, idle_s: u64, limit: usize) -> Result<Vec<InfoHash>, DatabaseError> {
        self.ask(|transaction| {
            let until = now(transaction)?.saturating_sub(cell::signed(idle_s));
            let mut statement = transaction.prepare(statement::IDLE)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let hashes = statement.query_map([until, limit], |row| cell::info_hash(row, 0))?;
            Ok(hashes.filter_map(Result::transpose).collect::<Result<_, _>>()?)
        })
    }

    fn delete_idle(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<Deleted, DatabaseError> {
        self.write(|transaction| {
            let until = now(transaction)?.saturating_sub(cell::signed(idle_s));
            Ok(counts::delete_idle(transaction, hashes, until)?)
        })
    }

    fn others_write(&mut self, own: NodeId, within_s: u64) -> Result<bool, DatabaseError> {
        self.ask(|transaction| {
            let since = now(transaction)?.saturating_sub(cell::signed(within_s));
            Ok(transaction.prepare(statement::OTHERS)?.exists(params![own.0, since])?)
        })
    }

    fn zero_counts(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<(), DatabaseError> {
        self.write(|transaction| {
            let until = now(transaction)?.saturating_sub(cell::signed(idle_s));
            Ok(counts::zero(transaction, hashes, until)?)
        })
    }

    fn edit(&mut self, edits: &[Edit]) -> Result<Vec<Edited>, DatabaseError> {
        self.write(|transaction| {
            let Plan { edited, writes } = plan(edits, held(transaction, edits)?, true);
            let now = now(transaction)?;
            let mut tell = transaction.prepare(statement::TELL)?;
            for write in &writes {
                apply(transaction, write, now)?;
                tell.execute([write.info_hash.0])?;
            }
            if !writes.is_empty() {
                let until = now - i64::from(CHANGE_HOURS_KEPT) * HOUR_S;
                transaction
                    .prepare(statement::FORGET_CHANGES)?
                    .execute(params![until, CHANGES_DELETED_MAX])?;
            }
            Ok(edited)
        })
    }
}

/// What is listed of the torrents that are to be edited.
fn held(transaction: &Transaction<'_>, edits: &[Edit]) -> Result<ByHash<ListedTorrent>, Error> {
    let mut statement = transaction.prepare(statement::LOOKUP)?;
    let mut listed = ByHash::default();
    for hash in edits.iter().map(Edit::info_hash) {
        let held = statement.query_row([hash.0], |row| {
            Ok(ListedTorrent {
                name: cell::text(row, 1)?,
                banned: cell::number(row, 3)? != 0,
                reason: cell::text(row, 4)?,
            })
        });
        listed.extend(held.optional()?.map(|held| (*hash, held)));
    }
    Ok(listed)
}

/// Writes a planned change.
fn apply(transaction: &Transaction<'_>, write: &Write, now: i64) -> Result<(), Error> {
    let hash = write.info_hash.0;
    let written = match &write.what {
        Written::Insert(held) => transaction
            .execute(statement::INSERT, params![hash, held.name, held.banned, held.reason]),
        Written::Name(name) => transaction.execute(statement::NAME, params![hash, name, now]),
        Written::Ban(reason) => {
            transaction.execute(statement::BAN, params![hash, true, reason, now])
        }
        Written::Unban => transaction.execute(statement::BAN, params![hash, false, "", now]),
        Written::Delete => transaction.execute(statement::DELETE, params![hash]),
    };
    written.map(drop)
}

fn change_rows(
    statement: &mut Statement<'_>,
    parameters: impl rusqlite::Params,
) -> Result<Vec<ListChange>, Error> {
    let read = |row: &Cells<'_>| {
        let number = cell::number(row, 0)?;
        Ok(cell::info_hash(row, 1)?.map(|info_hash| ListChange { number, info_hash }))
    };
    statement.query_map(parameters, read)?.filter_map(Result::transpose).collect()
}
