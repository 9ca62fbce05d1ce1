//! Which of our tables and columns a database has: the PHP tracker's has fewer.
//!
//! Owns: what is left out where, and that it is said once in the log of a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What there is, beside what every version of the table `torrents` has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Schema {
    /// The one column of the primary key of `torrents`, if it is a whole number: the table lies in
    /// its order, and is read several times faster so than by the hash.
    pub(super) key: Option<Arc<str>>,
    /// The columns `complete` and `incomplete`.
    pub(super) counts: bool,
    /// The column `ban_reason`.
    pub(super) ban_reason: bool,
    /// The table `flushes`.
    pub(super) flushes: bool,
    /// The table `changes`.
    pub(super) changes: bool,
    /// What the columns `name` and `ban_reason` can hold, if they are there.
    pub(super) name: Option<TextColumn>,
    pub(super) reason: Option<TextColumn>,
    /// Whether what a transaction has written is undone with it: not with MyISAM or Aria.
    pub(super) undoes: bool,
}

/// A column of `torrents`, as SHOW COLUMNS has it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its type, such as `int(10) unsigned`.
    pub(super) kind: String,
    /// How its texts are compared, such as `utf8mb4_general_ci`; empty, or NULL, for others.
    pub(super) collation: String,
    /// `PRI` in each column of the primary key.
    pub(super) key: String,
}

/// What a column of texts can hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TextColumn {
    /// Its character set, if that lacks some characters.
    pub(super) narrow_charset: Option<Arc<str>>,
    /// How many characters, if that is said.
    pub(super) chars_max: Option<usize>,
}

impl Column {
    fn text_of(columns: &[Column], name: &str) -> Option<TextColumn> {
        let column = columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))?;
        let charset = column.collation.split('_').next().unwrap_or_default();
        let is_narrow = !charset.is_empty()
            && charset.chars().all(|c| c.is_ascii_alphanumeric())
            && !["utf8mb4", "binary", "NULL"].iter().any(|wide| charset.eq_ignore_ascii_case(wide));
        let width = column.kind.split_once("char(").and_then(|(_, rest)| rest.split_once(')'));
        Some(TextColumn {
            narrow_charset: is_narrow.then(|| charset.into()),
            chars_max: width.and_then(|(width, _)| width.parse().ok()),
        })
    }

    fn key_of(columns: &[Column]) -> Option<Arc<str>> {
        let mut of_key = columns.iter().filter(|column| column.key.eq_ignore_ascii_case("PRI"));
        let (Some(column), None) = (of_key.next(), of_key.next()) else { return None };
        let kind = column.kind.split(['(', ' ']).next().unwrap_or_default();
        let is_number = ["tinyint", "smallint", "mediumint", "int", "bigint"]
            .iter()
            .any(|number| kind.eq_ignore_ascii_case(number));
        // Such a name cannot end the quotes that it is put into.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        (is_number && column.name.chars().all(is_plain)).then(|| column.name.as_str().into())
    }
}

impl Schema {
    /// Reads it from the columns and the storage engine of `torrents`, and the names of all tables.
    pub(super) fn of(columns: &[Column], engine: &str, tables: &[String]) -> Schema {
        let among = |names: &[String], wanted: &str| {
            names.iter().any(|name| name.eq_ignore_ascii_case(wanted))
        };
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        Schema {
            key: Column::key_of(columns),
            name: Column::text_of(columns, "name"),
            reason: Column::text_of(columns, "ban_reason"),
            counts: among(&names, "complete") && among(&names, "incomplete"),
            ban_reason: among(&names, "ban_reason"),
            flushes: among(tables, "flushes"),
            changes: among(tables, "changes"),
            undoes: !["MyISAM", "Aria"].iter().any(|name| engine.eq_ignore_ascii_case(name)),
        }
    }

    /// Whether batches can be numbered: the number must be undone with the batch.
    pub(super) fn is_numbered(&self) -> bool {
        self.flushes && self.undoes
    }

    /// Whether nothing is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.counts && self.ban_reason && self.flushes && self.changes && self.undoes
    }

    /// The column of the reason in a SELECT.
    pub(super) fn reason_column(&self) -> &'static str {
        if self.ban_reason { "ban_reason" } else { "NULL" }
    }

    /// Says what is missing and what becomes of it, unless this process has said so already.
    pub(super) fn say_what_is_missing(&self, place: &str) {
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

    fn columns(names: &str) -> Vec<Column> {
        let column = |name: &str| Column {
            name: name.to_owned(),
            kind: "int(10) unsigned".to_owned(),
            collation: String::new(),
            key: String::new(),
        };
        names.split(' ').map(column).collect()
    }

    #[test]
    fn a_table_is_read_by_its_key_where_that_is_one_number() {
        let rows = [
            (vec![("tid", "int(10) unsigned", "PRI"), ("infohash", "binary(20)", "UNI")], true),
            (vec![("tid", "BIGINT unsigned", "PRI")], true),
            (vec![("infohash", "binary(20)", "PRI")], false),
            (vec![("site", "int(11)", "PRI"), ("tid", "int(11)", "PRI")], false),
            (vec![("tid", "int(11)", "MUL")], false),
            (vec![("t`id", "int(11)", "PRI")], false),
            (vec![("tid", "decimal(10,0)", "PRI")], false),
        ];
        for (columns, has_key) in rows {
            let read: Vec<Column> = columns
                .iter()
                .map(|(name, kind, key)| Column {
                    name: (*name).to_owned(),
                    kind: (*kind).to_owned(),
                    collation: String::new(),
                    key: (*key).to_owned(),
                })
                .collect();
            assert_eq!(Column::key_of(&read).is_some(), has_key, "{columns:?}");
        }
    }

    #[test]
    fn what_a_column_can_hold_is_read_from_its_type_and_collation() {
        let rows = [
            ("varchar(255)", "utf8mb4_general_ci", None, Some(255)),
            ("varchar(255)", "utf8mb4_uca1400_ai_ci", None, Some(255)),
            ("varchar(100)", "utf8mb3_general_ci", Some("utf8mb3"), Some(100)),
            ("char(40)", "latin1_swedish_ci", Some("latin1"), Some(40)),
            ("text", "utf8_bin", Some("utf8"), None),
            ("blob", "", None, None),
            ("text", "odd'name_ci", None, None),
        ];
        for (kind, collation, charset, chars_max) in rows {
            let [kind, collation] = [kind, collation].map(str::to_owned);
            let what = format!("{kind} {collation}");
            let column = Column { name: "NAME".to_owned(), kind, collation, key: String::new() };
            let held = Column::text_of(&[column], "name").unwrap();
            assert_eq!(held.narrow_charset.as_deref(), charset, "{what}: character set");
            assert_eq!(held.chars_max, chars_max, "{what}: characters");
        }
        assert_eq!(Column::text_of(&[], "name"), None, "there is none");
    }

    #[test]
    fn schemas_are_told_apart() {
        let old = "tid infohash name downloaded banned added updated";
        let read = Schema::of(&columns(old), "MyISAM", &names("peers torrents"));
        assert!(!read.counts && !read.is_numbered() && read.key.is_none(), "{read:?}");
        let upgraded = columns(&format!("{old} complete INCOMPLETE ban_reason"));
        assert!(Schema::of(&upgraded, "InnoDB", &names("Changes flushes torrents")).is_whole());
        let half = Schema::of(&upgraded, "Aria", &names("flushes torrents"));
        assert!(half.counts && !half.is_whole() && !half.is_numbered());
    }
}
