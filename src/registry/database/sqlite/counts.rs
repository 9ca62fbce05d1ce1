//! What the tracker writes by itself: batches of counters, deletions, counts that are over.
//!
//! Owns: which rows are left out, because a rule of the site's stands against them. SQLite undoes
//! the one statement that is refused, unless a trigger asks for more: `RAISE(ROLLBACK)` undoes the
//! transaction, which is then begun again without that row.

use rusqlite::{Error, ErrorCode, OptionalExtension, Transaction, params};

use crate::ids::InfoHash;
use crate::registry::database::columns::one_line;
use crate::registry::database::numbered::{FLUSH_DAYS_KEPT, Numbered};
use crate::registry::database::sqlite::clock::{DAY_S, now};
use crate::registry::database::sqlite::failure::Failure;
use crate::registry::database::sqlite::{cell, statement};
use crate::registry::database::traits::{Batch, BatchOutcome, Deleted, RefusedRow};

/// Writes what is not written yet of a batch, but for the rows that are known to be `refused`; a
/// row that is refused now is added to those.
pub(super) fn write(
    transaction: &Transaction<'_>,
    batch: &Batch,
    refused: &mut Vec<RefusedRow>,
) -> Result<Option<BatchOutcome>, Failure> {
    let now = now(transaction)?;
    let applied = transaction
        .prepare(statement::LAST_NUMBER)?
        .query_row([batch.node.0], |row| cell::number(row, 0))
        .optional()?;
    match Numbered::of(batch.number, applied) {
        Numbered::Decided(written) => return Ok(Some(written)),
        Numbered::First => {
            let until = now - i64::from(FLUSH_DAYS_KEPT) * DAY_S;
            transaction.execute(statement::FORGET_NODES, [until])?;
        }
        Numbered::Next => {}
    }
    let number = cell::signed(batch.number);
    transaction.prepare(statement::SET_NUMBER)?.execute(params![batch.node.0, number, now])?;
    let mut count = transaction.prepare(statement::COUNT)?;
    let known: Vec<InfoHash> = refused.iter().map(|row| row.info_hash).collect();
    for row in batch.rows.iter().filter(|row| !known.contains(&row.info_hash)) {
        let counted = count.execute(params![
            row.info_hash.0,
            row.downloads,
            row.complete,
            row.incomplete,
            row.active,
            now
        ]);
        let Err(error) = counted else { continue };
        if !is_row_refusal(&error) {
            return Err(error.into());
        }
        refused.push(RefusedRow { info_hash: row.info_hash, why: one_line(&error.to_string()) });
        if transaction.is_autocommit() {
            return Err(Failure::RolledBack);
        }
    }
    Ok(None)
}

/// Whether a CHECK, a trigger or a key of the site's stands against one row. Whatever fails in a
/// trigger fails while the statement runs; what is wrong with the tables, when it is prepared.
fn is_row_refusal(error: &Error) -> bool {
    matches!(error, Error::SqliteFailure(..))
        && matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::Unknown)
        )
}

/// Deletes those that nothing was written of since `until`, but for those that a rule keeps.
pub(super) fn delete_idle(
    transaction: &Transaction<'_>,
    hashes: &[InfoHash],
    until: i64,
) -> Result<Deleted, Error> {
    let mut statement = transaction.prepare(statement::DELETE_IDLE)?;
    let mut deleted = Deleted::default();
    for hash in hashes {
        match statement.execute(params![until, hash.0]) {
            Ok(rows) => deleted.count += u64::try_from(rows).unwrap_or(0),
            Err(error) if is_row_refusal(&error) && !transaction.is_autocommit() => {
                deleted
                    .refused
                    .push(RefusedRow { info_hash: *hash, why: one_line(&error.to_string()) });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

/// Forgets the peers of torrents that nothing was written of since `until`.
pub(super) fn zero(
    transaction: &Transaction<'_>,
    hashes: &[InfoHash],
    until: i64,
) -> Result<(), Error> {
    let mut statement = transaction.prepare(statement::ZERO_COUNTS)?;
    for hash in hashes {
        match statement.execute(params![hash.0, until]) {
            Err(error) if !is_row_refusal(&error) || transaction.is_autocommit() => {
                return Err(error);
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}
