//! The database's time, which is the system's.

use rusqlite::{Error, Transaction};

use crate::registry::database::sqlite::statement;

pub(super) const DAY_S: i64 = 86_400;
pub(super) const HOUR_S: i64 = 3_600;

/// The time, which is the system's: one answer for a whole transaction.
pub(super) fn now(transaction: &Transaction<'_>) -> Result<i64, Error> {
    transaction.query_row(statement::NOW, [], |row| row.get(0))
}
