//! The list, read a page at a time.
//!
//! Owns: the order. A table is read in the order of its rowid, in which it lies in the file; one
//! without (`WITHOUT ROWID`, or a view) in the order of its hashes.

use rusqlite::{Error, Row as Cells, Transaction, params};

use crate::registry::database::columns;
use crate::registry::database::sqlite::{cell, statement};
use crate::registry::database::traits::{ListPage, ListPosition, Row};

/// What is read of a row, as it stands.
struct ListRow {
    hash: Vec<u8>,
    key: i64,
    /// None when it has no hash.
    row: Option<Row>,
}

/// Reads the list on.
pub(super) fn read(
    transaction: &Transaction<'_>,
    from: &ListPosition,
    limit: usize,
) -> Result<ListPage, Error> {
    let after_key = match from {
        ListPosition::Begin => Some(i64::MIN),
        ListPosition::Key(last) => Some(i64::try_from(*last).unwrap_or(i64::MAX)),
        ListPosition::BeginByHash | ListPosition::Hash(_) => None,
    };
    let by_key = after_key.map(|after| (after, transaction.prepare(statement::PAGE_BY_KEY)));
    let rows_max = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<ListRow> = match by_key {
        Some((after, Ok(mut by_key))) => {
            by_key.query_map([after, rows_max], list_row)?.collect::<Result<_, _>>()?
        }
        Some((_, Err(error))) if !is_without_rowid(&error) => return Err(error),
        _ => {
            // Nothing is below the empty blob.
            let after = if let ListPosition::Hash(last) = from { last.as_slice() } else { &[] };
            let mut by_hash = transaction.prepare(statement::PAGE_BY_HASH)?;
            return Ok(page(
                &by_hash
                    .query_map(params![after, rows_max], list_row)?
                    .collect::<Result<Vec<_>, _>>()?,
                limit,
                |last| ListPosition::Hash(last.hash.clone()),
                |odd| format!("infohash {}", columns::shown(&odd.hash)),
            ));
        }
    };
    let behind = |last: &ListRow| ListPosition::Key(last.key.into());
    Ok(page(&rows, limit, behind, |odd| format!("rowid {}", odd.key)))
}

/// A piece of the list, of as many rows as the database has returned.
fn page(
    rows: &[ListRow],
    limit: usize,
    behind: impl Fn(&ListRow) -> ListPosition,
    name: impl Fn(&ListRow) -> String,
) -> ListPage {
    ListPage {
        next: rows.last().filter(|_| rows.len() >= limit).map(behind),
        passed_over: rows.iter().filter(|row| row.row.is_none()).map(name).collect(),
        rows: rows.iter().filter_map(|row| row.row.clone()).collect(),
    }
}

fn is_without_rowid(error: &Error) -> bool {
    matches!(error, Error::SqlInputError { msg, .. } if msg.contains("rowid"))
}

fn list_row(cells: &Cells<'_>) -> Result<ListRow, Error> {
    let hash = cell::bytes(cells, 0)?.to_owned();
    let key = cells.get_ref(9)?.as_i64_or_null().ok().flatten().unwrap_or(0);
    Ok(ListRow { hash, key, row: row(cells)? })
}

fn row(row: &Cells<'_>) -> Result<Option<Row>, Error> {
    let Some(info_hash) = cell::info_hash(row, 0)? else { return Ok(None) };
    Ok(Some(Row {
        info_hash,
        name: cell::text(row, 1)?,
        downloaded: columns::count(cell::number(row, 2)?),
        banned: cell::number(row, 3)? != 0,
        ban_reason: Some(cell::text(row, 4)?).filter(|reason| !reason.is_empty()),
        complete: columns::count(cell::number(row, 5)?),
        incomplete: columns::count(cell::number(row, 6)?),
        added_unix_s: cell::signed(cell::number(row, 7)?),
        updated_unix_s: cell::signed(cell::number(row, 8)?),
    }))
}
