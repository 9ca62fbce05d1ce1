//! Tables that a site has made its own: columns that hold less, or more, than ours.

use super::*;
use crate::registry::database::{Edit, Edited};

fn add(name: &str) -> Edit {
    Edit::Add { info_hash: hash(1), name: Some(name.to_owned()) }
}

#[test]
fn a_name_that_its_column_cannot_hold_is_told_of_once_and_not_written_again() {
    let rows = [
        ("utf8mb3", "varchar(255) CHARACTER SET utf8mb3", "Größe 🦀", "Größe ?"),
        ("latin1", "varchar(255) CHARACTER SET latin1", "Größe 漢", "Größe ?"),
        ("a narrow one", "varchar(5) CHARACTER SET latin1", "Größe 漢", "Größe"),
    ];
    for kind in [Kind::New, Kind::OldInnodb] {
        for (what, column, wished, held) in rows {
            let site = Site::new(kind);
            site.sql(&format!("ALTER TABLE torrents MODIFY name {column} NOT NULL DEFAULT ''"));
            let mut ledger = site.ledger();
            let told =
                if held.contains('?') { Edited::DoneWithQuestionMarks } else { Edited::Done };
            assert_eq!(ledger.edit(&[add(wished)]), Ok(vec![told]), "{kind:?}, {what}");
            let name = || site.row(hash(1)).unwrap().name;
            assert_eq!(name(), held, "{kind:?}, {what}: the name");
            site.age(hash(1), 1_000);
            let before = site.row(hash(1)).unwrap().updated_unix_s;
            let again = ledger.edit(&[add(wished)]);
            assert_eq!(again, Ok(vec![Edited::Already]), "{kind:?}, {what}: again");
            let after = site.row(hash(1)).unwrap().updated_unix_s;
            assert_eq!(after, before, "{kind:?}, {what}: the time of the last change");
        }
    }
    let site = Site::new(Kind::New);
    site.sql("ALTER TABLE torrents MODIFY ban_reason varchar(255) CHARACTER SET latin1");
    let ban = Edit::Ban { info_hash: hash(1), reason: Some("漢".to_owned()) };
    let edit = || site.ledger().edit(std::slice::from_ref(&ban));
    assert_eq!(edit(), Ok(vec![Edited::DoneWithQuestionMarks]), "a reason");
    assert_eq!(edit(), Ok(vec![Edited::Already]), "the reason again");
}

#[test]
fn an_upgraded_table_holds_any_name() {
    for kind in [Kind::Upgraded, Kind::New, Kind::Sqlite] {
        let site = Site::new(kind);
        assert_eq!(site.ledger().edit(&[add("Größe 🦀")]), Ok(vec![Edited::Done]), "{kind:?}");
        assert_eq!(site.row(hash(1)).unwrap().name, "Größe 🦀", "{kind:?}");
    }
}

/// What is in the table, past what records hold.
fn stored(site: &Site) -> String {
    let sql = "SELECT CAST(downloaded AS CHAR) FROM torrents";
    match site.kind {
        Kind::Sqlite => rusqlite::Connection::open(site.file())
            .unwrap()
            .query_row(&sql.replace("CHAR", "TEXT"), [], |row| row.get(0))
            .unwrap(),
        _ => server().client_in(&site.database, sql).trim().to_owned(),
    }
}

/// The site's own table in place of ours, with `columns` in front.
fn sqlite_table(columns: &str, options: &str) -> String {
    format!(
        "DROP TABLE torrents; CREATE TABLE torrents ({columns}, name TEXT DEFAULT '', downloaded \
         INTEGER DEFAULT 0, banned INTEGER DEFAULT 0, added INTEGER, updated INTEGER, complete \
         INTEGER, incomplete INTEGER, ban_reason TEXT) {options}"
    )
}

#[test]
fn a_wide_count_is_not_cut_and_an_unknown_one_counts_from_zero() {
    for (kind, column) in
        [(Kind::Sqlite, ""), (Kind::New, "BIGINT UNSIGNED NULL"), (Kind::OldMyisam, "BIGINT NULL")]
    {
        let site = Site::new(kind);
        match kind {
            Kind::Sqlite => site.sql(&sqlite_table("infohash BLOB UNIQUE", "")),
            _ => site.sql(&format!("ALTER TABLE torrents MODIFY downloaded {column}")),
        }
        site.list(hash(1), "");
        let mut ledger = site.ledger();
        let mut number = 0;
        let mut count = |before: &str, downloads, expected: &str| {
            number += 1;
            site.sql(&format!("UPDATE torrents SET downloaded = {before}"));
            ledger.write(&batch(number, vec![counted(hash(1), downloads)])).unwrap();
            assert_eq!(stored(&site), expected, "{kind:?}: {before} and {downloads} more");
        };
        count("5000000000", 7, "5000000007");
        count("4294967295", 1, "4294967296");
        count("NULL", 3, "3");
    }
}

/// All hashes that reading the list brings, and what it passes over.
fn read(ledger: &mut dyn Ledger, from: ListPosition, limit: usize) -> (Vec<InfoHash>, Vec<String>) {
    let (mut from, mut hashes, mut odd) = (Some(from), Vec::new(), Vec::new());
    while let Some(position) = from {
        let page = ledger.read_list(&position, limit).unwrap();
        hashes.extend(page.rows.iter().map(|row| row.info_hash));
        odd.extend(page.passed_over);
        from = page.next;
    }
    (hashes, odd)
}

#[test]
fn a_row_without_a_hash_is_named_and_the_rest_is_read() {
    for kind in [Kind::Sqlite, Kind::New, Kind::OldMyisam] {
        let site = Site::new(kind);
        match kind {
            Kind::Sqlite => {
                site.sql(&sqlite_table("tid INTEGER PRIMARY KEY, infohash BLOB UNIQUE", ""));
            }
            _ => site.sql("ALTER TABLE torrents MODIFY infohash VARBINARY(40) NOT NULL"),
        }
        for n in [3, 1, 2, 5, 4] {
            site.list(hash(n), "");
        }
        site.sql("INSERT INTO torrents (infohash, name) VALUES (x'0102', 'short')");
        site.list(hash(7), "");
        site.list(hash(6), "");
        for limit in [1, 2, 3, 100] {
            let mut ledger = site.ledger();
            let (mut hashes, odd) = read(&mut *ledger, ListPosition::Begin, limit);
            let named = if kind == Kind::Sqlite { "rowid" } else { "tid" };
            assert_eq!(odd.len(), 1, "{kind:?}, {limit} at a time: {odd:?}");
            assert!(odd[0].starts_with(named), "{kind:?}: {odd:?}");
            assert_eq!(hashes[0], hash(3), "{kind:?}: in the order of the table");
            hashes.sort_unstable();
            let expected: Vec<InfoHash> = (1..=7).map(hash).collect();
            assert_eq!(hashes, expected, "{kind:?}, {limit} at a time");
            let (by_hash, odd) = read(&mut *ledger, ListPosition::BeginByHash, limit);
            assert_eq!(by_hash, expected, "{kind:?}, {limit} at a time, by hash");
            assert_eq!(odd.len(), 1, "{kind:?}, {limit} at a time, by hash: {odd:?}");
        }
    }
}

#[test]
fn a_table_without_a_numeric_key_is_read_by_its_hashes() {
    for kind in [Kind::Sqlite, Kind::New] {
        let site = Site::new(kind);
        match kind {
            Kind::Sqlite => site.sql(&sqlite_table("infohash BLOB PRIMARY KEY", "WITHOUT ROWID")),
            _ => site.sql("ALTER TABLE torrents DROP COLUMN tid, ADD PRIMARY KEY (infohash)"),
        }
        for n in [3, 1, 2] {
            site.list(hash(n), "");
        }
        for limit in [1, 2, 3, 4] {
            let (hashes, odd) = read(&mut *site.ledger(), ListPosition::Begin, limit);
            assert_eq!(hashes, [hash(1), hash(2), hash(3)], "{kind:?}, {limit} at a time");
            assert_eq!(odd, [""; 0], "{kind:?}, {limit} at a time");
        }
    }
}

#[test]
fn counts_that_are_over_are_set_to_zero_and_that_is_no_activity() {
    for kind in [Kind::Sqlite, Kind::New, Kind::Upgraded] {
        let site = Site::new(kind);
        let mut ledger = site.ledger();
        for n in 1..=3 {
            site.list(hash(n), "");
        }
        ledger.write(&batch(1, (1..=3).map(|n| counted(hash(n), 0)).collect())).unwrap();
        (1..=2).for_each(|n| site.age(hash(n), 10_000));
        let before = site.row(hash(1)).unwrap();
        ledger.zero_counts(&[hash(1), hash(3)], 5_000).unwrap();
        let peers = |n| site.row(hash(n)).map(|row| (row.complete, row.incomplete));
        assert_eq!(peers(1), Some((0, 0)), "{kind:?}: old, and asked for");
        assert_eq!(peers(2), Some((2, 3)), "{kind:?}: old, and not asked for");
        assert_eq!(peers(3), Some((2, 3)), "{kind:?}: not old enough");
        let after = site.row(hash(1)).unwrap();
        assert_eq!(after.updated_unix_s, before.updated_unix_s, "{kind:?}: the last activity");
        ledger.zero_counts(&[hash(3)], 0).unwrap();
        assert_eq!(peers(3), Some((0, 0)), "{kind:?}: of any age");
        assert_eq!(ledger.others_write(NODE, 60), Ok(false), "{kind:?}: nobody else writes");
        assert_eq!(ledger.others_write(NodeId([1; 16]), 60), Ok(true), "{kind:?}: somebody does");
    }
}

#[test]
fn a_deletion_that_a_key_stands_against_leaves_the_others() {
    for kind in [Kind::Sqlite, Kind::New] {
        let site = Site::new(kind);
        for n in 1..=3 {
            site.list(hash(n), "");
            site.age(hash(n), 10_000);
        }
        let insert = format!(
            "INSERT INTO comments SELECT tid FROM torrents WHERE infohash = x'{}'",
            hash(2)
        );
        site.sql(&match kind {
            Kind::Sqlite => {
                format!("CREATE TABLE comments (tid INTEGER REFERENCES torrents (tid)); {insert}")
            }
            _ => format!(
                "CREATE TABLE comments (tid INT UNSIGNED, FOREIGN KEY (tid) REFERENCES torrents \
                 (tid)) ENGINE = InnoDB; {insert}"
            ),
        });
        let deleted = site.ledger().delete_idle(&[hash(1), hash(2), hash(3)], 5_000).unwrap();
        assert_eq!(deleted.count, 2, "{kind:?}");
        let refused: Vec<InfoHash> = deleted.refused.iter().map(|row| row.info_hash).collect();
        assert_eq!(refused, [hash(2)], "{kind:?}");
        assert!(site.row(hash(2)).is_some() && site.row(hash(1)).is_none(), "{kind:?}");
    }
}
