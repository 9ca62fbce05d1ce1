//! Which of our tables and columns a database has: the PHP tracker's has fewer.
//!
//! Owns: what is left out where, and that it is said once in the log of a process.

use std::sync::atomic::{AtomicBool, Ordering};

/// What there is, beside what every version of the table `torrents` has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Shape {
    /// The columns `complete` and `incomplete`.
    pub(super) counts: bool,
    /// The column `ban_reason`.
    pub(super) ban_reason: bool,
    /// The table `flushes`.
    pub(super) flushes: bool,
    /// The table `changes`.
    pub(super) changes: bool,
    /// Whether what a transaction has written is undone with it: not with MyISAM or Aria.
    pub(super) undoes: bool,
}

impl Shape {
    /// Reads it from rows of table, column and storage engine; none without a table `torrents`.
    pub(super) fn from_columns(columns: &[(String, String, String)]) -> Option<Shape> {
        let of =
            |table: &str| columns.iter().filter(move |(name, ..)| name.eq_ignore_ascii_case(table)).cloned().collect::<Vec<_>>();
        let torrents = of("torrents");
        let has = |column: &str| torrents.iter().any(|(_, name, _)| name.eq_ignore_ascii_case(column));
        let engine = &torrents.first()?.2;
        Some(Shape {
            counts: has("complete") && has("incomplete"),
            ban_reason: has("ban_reason"),
            flushes: !of("flushes").is_empty(),
            changes: !of("changes").is_empty(),
            undoes: !["MyISAM", "Aria"].iter().any(|name| engine.eq_ignore_ascii_case(name)),
        })
    }

    /// Whether batches can be numbered: the number must be undone with the batch.
    pub(super) fn is_numbered(self) -> bool {
        self.flushes && self.undoes
    }

    /// Whether nothing is missing.
    pub(super) fn is_whole(self) -> bool {
        self.counts && self.ban_reason && self.flushes && self.changes && self.undoes
    }

    /// The column of the reason in a SELECT.
    pub(super) fn reason(self) -> &'static str {
        if self.ban_reason { "ban_reason" } else { "NULL" }
    }

    /// Says what is missing and what becomes of it, unless this process has said so already.
    pub(super) fn say_what_is_missing(self, place: &str) {
        static SAID: AtomicBool = AtomicBool::new(false);
        if self.is_whole() || SAID.swap(true, Ordering::Relaxed) {
            return;
        }
        let missing = [
            (self.counts, "no columns complete and incomplete: they are not written"),
            (self.ban_reason, "no column ban_reason: bans have none"),
            (self.flushes, "no table flushes: downloads may be lost with a connection"),
            (self.changes, "no table changes: changes are seen within cache_ttl"),
            (self.undoes, "no transactions in torrents' engine: downloads may be lost with a connection"),
        ];
        let missing: Vec<&str> = missing.iter().filter(|(there, _)| !there).map(|(_, text)| *text).collect();
        log::warn!("{place}: {}; schema/from-php-tracker.sql adds what is missing", missing.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(table: &str, columns: &[&str], engine: &str) -> Vec<(String, String, String)> {
        columns.iter().map(|column| (table.to_owned(), (*column).to_owned(), engine.to_owned())).collect()
    }

    #[test]
    fn shapes_are_told_apart() {
        let old = ["tid", "infohash", "name", "downloaded", "banned", "added", "updated"];
        assert_eq!(Shape::from_columns(&columns("flushes", &["node"], "InnoDB")), None);
        assert_eq!(Shape::from_columns(&columns("torrents", &old, "MyISAM")), Some(Shape::default()));
        let upgraded = [
            columns("TORRENTS", &old, "InnoDB"),
            columns("torrents", &["complete", "INCOMPLETE", "ban_reason"], "InnoDB"),
            columns("flushes", &["node"], "InnoDB"),
            columns("changes", &["number"], "InnoDB"),
        ];
        assert!(Shape::from_columns(&upgraded.concat()).unwrap().is_whole());
    }
}
