//! Cells of rows in the text protocol, where every value comes as its digits or bytes. Whatever is
//! missing or odd reads as nothing: the tables are the site's.

use mysql::{Row, Value};

use crate::ids::InfoHash;
use crate::registry::database::columns::readable;

/// The bytes of a cell; none for NULL.
pub(super) fn bytes(row: &Row, column: usize) -> &[u8] {
    match row.as_ref(column) {
        Some(Value::Bytes(bytes)) => bytes,
        _ => &[],
    }
}

/// A text, read with replacement characters where it is not UTF-8.
pub(super) fn text(row: &Row, column: usize) -> String {
    readable(bytes(row, column))
}

/// A text; none for NULL and for an empty one.
pub(super) fn text_if_any(row: &Row, column: usize) -> Option<String> {
    Some(text(row, column)).filter(|text| !text.is_empty())
}

/// A whole number without a sign; 0 for anything else, and for NULL. A fraction, as of a
/// `timestamp(6)`, is cut off.
pub(super) fn number(row: &Row, column: usize) -> u64 {
    let digits = bytes(row, column).split(|byte| *byte == b'.').next().unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// A whole number that may have a sign; none for anything else, and for NULL.
pub(super) fn signed(row: &Row, column: usize) -> Option<i128> {
    std::str::from_utf8(bytes(row, column)).ok()?.parse().ok()
}

/// An info hash; none when it has not its 20 bytes.
pub(super) fn info_hash(row: &Row, column: usize) -> Option<InfoHash> {
    bytes(row, column).try_into().ok().map(InfoHash)
}
