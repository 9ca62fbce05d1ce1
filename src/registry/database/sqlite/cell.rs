//! Cells of rows, and numbers as parameters. Whatever is missing or odd reads as nothing: the
//! tables are the site's.

use rusqlite::types::ValueRef;
use rusqlite::{Error, Row as Cells};

use crate::ids::InfoHash;
use crate::registry::database::columns::readable;

/// A number as SQLite takes it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The bytes of a text or a blob; none for anything else, and for NULL.
pub(super) fn bytes<'r>(row: &'r Cells<'_>, column: usize) -> Result<&'r [u8], Error> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => &[],
    })
}

/// A text, read with replacement characters where it is not UTF-8.
pub(super) fn text(row: &Cells<'_>, column: usize) -> Result<String, Error> {
    Ok(readable(bytes(row, column)?))
}

/// A whole number without a sign; 0 for anything else, and for NULL.
pub(super) fn number(row: &Cells<'_>, column: usize) -> Result<u64, Error> {
    Ok(row
        .get_ref(column)?
        .as_i64()
        .ok()
        .and_then(|number| u64::try_from(number).ok())
        .unwrap_or(0))
}

/// An info hash; none when it is no blob of 20 bytes.
pub(super) fn info_hash(row: &Cells<'_>, column: usize) -> Result<Option<InfoHash>, Error> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) => bytes.try_into().ok().map(InfoHash),
        _ => None,
    })
}
