//! The whole list, read page after page.
//!
//! Owns: going on where the database says, and naming rows that are no torrents. Never: what is
//! done with a page.
//!
//! Limits: [`PAGE_ROWS`] rows at once.

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::database::{DatabaseError, Ledger, ListPosition, Row};

/// Rows of the list read at once.
const PAGE_ROWS: usize = 1_000;
/// Rows that are no torrents of which a line tells.
const NAMED_MAX: usize = 3;

/// Calls `f` for every torrent that is listed.
pub(super) fn read_all(
    ledger: &mut dyn Ledger,
    mut f: impl FnMut(&InfoHash, &Record),
) -> Result<(), DatabaseError> {
    read_pages(ledger, |rows| {
        rows.iter().for_each(|row| f(&row.info_hash, &row.record()));
        true
    })
    .map(drop)
}

/// Calls `f` for page after page of the list, until the last or until it says false; what rows are
/// passed over because they have no hash.
pub(super) fn read_pages(
    ledger: &mut dyn Ledger,
    mut f: impl FnMut(&[Row]) -> bool,
) -> Result<PassedOver, DatabaseError> {
    let (mut from, mut passed_over) = (ListPosition::Begin, PassedOver::default());
    loop {
        let page = ledger.read_list(&from, PAGE_ROWS)?;
        passed_over.add(page.passed_over);
        let goes_on = f(&page.rows);
        match page.next {
            Some(next) if goes_on => from = next,
            _ => return Ok(passed_over),
        }
    }
}

/// Rows that are no torrents.
#[derive(Default)]
pub(super) struct PassedOver {
    count: usize,
    named: Vec<String>,
}

impl PassedOver {
    fn add(&mut self, rows: Vec<String>) {
        self.count += rows.len();
        let room = NAMED_MAX - self.named.len();
        self.named.extend(rows.into_iter().take(room));
    }

    /// The line that names them; none when there are none.
    pub(super) fn line(&self) -> Option<String> {
        let more = self.count.checked_sub(self.named.len()).filter(|more| *more > 0);
        let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
        let rows = if self.count == 1 { "1 row" } else { &format!("{} rows", self.count) };
        (self.count > 0).then(|| {
            format!(
                "{rows} of the table torrents without a hash of 20 bytes are passed over: {}{more}",
                self.named.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_no_torrents_are_named_as_far_as_a_line_is_long() {
        let mut passed_over = PassedOver::default();
        assert_eq!(passed_over.line(), None, "there is none");
        for (row, named) in [
            (
                "tid 1",
                "1 row of the table torrents without a hash of 20 bytes are passed over: tid 1",
            ),
            ("tid 2", "over: tid 1, tid 2"),
            ("tid 3", "over: tid 1, tid 2, tid 3"),
            ("tid 4", "4 rows of"),
            ("tid 5", "over: tid 1, tid 2, tid 3 and 2 more"),
        ] {
            passed_over.add(vec![row.to_owned()]);
            let line = passed_over.line().unwrap();
            assert!(line.contains(named), "with {row}: {line}");
        }
    }
}
