//! Which of our tables and columns a database has: the PHP tracker's has fewer.
//!
//! Owns: what is left out where, and that it is said once in the log of a process.

use std::sync::atomic::{AtomicBool, Ordering};

/// What there is, beside what every version of the table `torrents` has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Schema {
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

impl Schema {
    /// Reads it from the columns and the storage engine of `torrents`, and the names of all tables.
    pub(super) fn of(columns: &[String], engine: &str, tables: &[String]) -> Schema {
        let among = |names: &[String], wanted: &str| {
            names.iter().any(|name| name.eq_ignore_ascii_case(wanted))
        };
        Schema {
            counts: among(columns, "complete") && among(columns, "incomplete"),
            ban_reason: among(columns, "ban_reason"),
            flushes: among(tables, "flushes"),
            changes: among(tables, "changes"),
            undoes: !["MyISAM", "Aria"].iter().any(|name| engine.eq_ignore_ascii_case(name)),
        }
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
            (
                self.undoes,
                "no transactions in torrents' engine: downloads may be lost with a connection",
            ),
        ];
        let missing: Vec<&str> =
            missing.iter().filter(|(there, _)| !there).map(|(_, text)| *text).collect();
        log::warn!(
            "MySQL at {place}: {}; schema/from-php-tracker.sql adds what is missing",
            missing.join("; ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &str) -> Vec<String> {
        names.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn schemas_are_told_apart() {
        let old = "tid infohash name downloaded banned added updated";
        assert_eq!(Schema::of(&names(old), "MyISAM", &names("peers torrents")), Schema::default());
        let upgraded = names(&format!("{old} complete INCOMPLETE ban_reason"));
        assert!(Schema::of(&upgraded, "InnoDB", &names("Changes flushes torrents")).is_whole());
        let half = Schema::of(&upgraded, "Aria", &names("flushes torrents"));
        assert!(half.counts && !half.is_whole() && !half.is_numbered());
    }
}
