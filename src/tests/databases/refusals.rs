//! What a site's own rules refuse: one row is left out of a batch, and nothing else.

use super::*;
use crate::registry::database::{BATCH_ROWS_MAX, BatchOutcome};

/// The torrent that a rule stands against, by its place in a batch.
const BAD: u8 = 2;

/// A rule, and what it says.
struct Rule {
    what: &'static str,
    sql: String,
    says: &'static str,
}

fn rule(what: &'static str, sql: impl Into<String>, says: &'static str) -> Rule {
    Rule { what, sql: sql.into(), says }
}

/// Before an update of the bad torrent, `then`.
fn mysql_trigger(then: &str) -> String {
    format!(
        "DELIMITER //\nCREATE TRIGGER rule BEFORE UPDATE ON torrents FOR EACH ROW BEGIN IF \
         NEW.infohash = x'{}' AND NEW.downloaded > OLD.downloaded THEN {then}; END IF; \
         END//\nDELIMITER ;\n",
        hash(BAD)
    )
}

fn sqlite_trigger(then: &str) -> String {
    format!(
        "CREATE TRIGGER rule BEFORE UPDATE ON torrents WHEN NEW.infohash = x'{}' BEGIN {then}; \
         END",
        hash(BAD)
    )
}

fn mysql_rules() -> Vec<Rule> {
    let log = "CREATE TABLE IF NOT EXISTS log (n INT PRIMARY KEY) ENGINE = InnoDB; \
               INSERT IGNORE INTO log VALUES (1);\n";
    let child = "CREATE TABLE IF NOT EXISTS child (n INT, FOREIGN KEY (n) REFERENCES log (n)) \
                 ENGINE = InnoDB;\n";
    vec![
        rule(
            "a CHECK (4025)",
            format!(
                "ALTER TABLE torrents ADD CONSTRAINT few CHECK (infohash <> x'{}' OR downloaded \
                 < 1)",
                hash(BAD)
            ),
            "few",
        ),
        rule(
            "a trigger's SIGNAL (1644)",
            mysql_trigger("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not\\nthis one'"),
            "not this one",
        ),
        rule(
            "a trigger that inserts the same again (1062)",
            log.to_owned() + &mysql_trigger("INSERT INTO log VALUES (1)"),
            "Duplicate entry",
        ),
        rule(
            "a trigger against a foreign key (1451)",
            log.to_owned()
                + child
                + "INSERT INTO child VALUES (1);\n"
                + &mysql_trigger("DELETE FROM log"),
            "foreign key constraint fails",
        ),
        rule(
            "a trigger against a foreign key (1452)",
            log.to_owned() + child + &mysql_trigger("INSERT INTO child VALUES (7)"),
            "foreign key constraint fails",
        ),
        rule(
            "a trigger whose table is gone (1146)",
            mysql_trigger("INSERT INTO gone VALUES (1)"),
            "gone' doesn't exist",
        ),
    ]
}

fn sqlite_rules() -> Vec<Rule> {
    vec![
        rule("ABORT", sqlite_trigger("SELECT RAISE(ABORT, 'not this one')"), "not this one"),
        rule("FAIL", sqlite_trigger("SELECT RAISE(FAIL, 'not this one')"), "not this one"),
        rule("ROLLBACK", sqlite_trigger("SELECT RAISE(ROLLBACK, 'not this one')"), "not this one"),
        rule(
            "a foreign key",
            "CREATE TABLE log (n INTEGER PRIMARY KEY); CREATE TABLE child (n REFERENCES log (n)); "
                .to_owned()
                + &sqlite_trigger("INSERT INTO child VALUES (7)"),
            "FOREIGN KEY constraint failed",
        ),
        rule(
            "a CHECK",
            "CREATE TABLE log (n INTEGER CHECK (n < 5)); ".to_owned()
                + &sqlite_trigger("INSERT INTO log VALUES (7)"),
            "CHECK constraint failed",
        ),
        rule(
            "what cannot be computed",
            "CREATE TABLE log (n); ".to_owned()
                + &sqlite_trigger("INSERT INTO log VALUES (abs(-9223372036854775808))"),
            "integer overflow",
        ),
    ]
}

#[test]
fn one_row_that_a_rule_refuses_is_left_out_and_the_others_are_written_once() {
    for kind in [Kind::Sqlite, Kind::New, Kind::OldInnodb, Kind::OldMyisam] {
        let rules = if kind == Kind::Sqlite { sqlite_rules() } else { mysql_rules() };
        for Rule { what, sql, says } in rules {
            let site = Site::new(kind);
            (1..=4).for_each(|n| site.list(hash(n), ""));
            site.sql(&sql);
            let batch = batch(1, (1..=4).map(|n| counted(hash(n), 5)).collect());
            let mut ledger = site.ledger();
            let written = ledger.write(&batch);
            let Ok(BatchOutcome::Applied { refused }) = &written else {
                panic!("{kind:?}, {what}: {written:?}")
            };
            assert_eq!(refused.len(), 1, "{kind:?}, {what}: {refused:?}");
            assert_eq!(refused[0].info_hash, hash(BAD), "{kind:?}, {what}: who is refused");
            assert!(refused[0].why.contains(says), "{kind:?}, {what}: {refused:?}");
            if !matches!(kind, Kind::OldMyisam | Kind::OldInnodb) {
                assert_eq!(ledger.write(&batch), Ok(BatchOutcome::WHOLE), "{kind:?}, {what}");
            }
            for n in 1..=4 {
                let expected = if n == BAD { 0 } else { 5 };
                assert_eq!(site.downloaded(hash(n)), expected, "{kind:?}, {what}, torrent {n}");
            }
        }
    }
}

#[test]
fn many_refused_rows_are_found_wherever_they_stand() {
    for kind in [Kind::Sqlite, Kind::New] {
        let site = Site::new(kind);
        let wide = |n: usize| {
            let mut hash = hash(1);
            hash.0[..2].copy_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
            hash
        };
        let values: Vec<String> =
            (0..BATCH_ROWS_MAX).map(|n| format!("(x'{}', '{n}')", wide(n))).collect();
        site.sql(&format!("INSERT INTO torrents (infohash, name) VALUES {}", values.join(",")));
        let names = "('0', '1', '199', '200', '399', '400', '600', '998', '999')";
        site.sql(&match kind {
            Kind::Sqlite => format!(
                "CREATE TRIGGER rule BEFORE UPDATE ON torrents WHEN NEW.name IN {names} BEGIN \
                 SELECT RAISE(ABORT, 'no'); END"
            ),
            _ => format!(
                "ALTER TABLE torrents ADD CONSTRAINT few CHECK (name NOT IN {names} OR \
                 downloaded < 1)"
            ),
        });
        let rows = (0..BATCH_ROWS_MAX).map(|n| counted(wide(n), 1)).collect();
        let written = site.ledger().write(&batch(1, rows));
        let Ok(BatchOutcome::Applied { refused }) = written else { panic!("{written:?}") };
        let expected = [0, 1, 199, 200, 399, 400, 600, 998, 999].map(wide);
        let refused: Vec<InfoHash> = refused.iter().map(|row| row.info_hash).collect();
        assert_eq!(refused, expected, "{kind:?}");
        let rows = site.ledger().page(None, 2 * BATCH_ROWS_MAX).unwrap();
        let downloads: u32 = rows.iter().map(|row| row.downloaded).sum();
        assert_eq!(downloads, 991, "{kind:?}: downloads of the others");
    }
}

#[test]
fn what_stands_against_all_rows_is_an_error_and_not_a_row() {
    let site = Site::new(Kind::New);
    site.list(hash(1), "");
    let batch = batch(1, vec![counted(hash(1), 1)]);
    site.sql("ALTER TABLE torrents RENAME TO elsewhere");
    let error = site.ledger().write(&batch).unwrap_err();
    assert!(matches!(&error, DatabaseError::Unfit(text) if text.contains("torrents")), "{error:?}");
    site.sql("ALTER TABLE elsewhere RENAME TO torrents");
    server().client(&format!(
        "CREATE USER looker IDENTIFIED BY 'looking'; GRANT SELECT ON {0}.* TO looker; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON {0}.flushes TO looker",
        site.database
    ));
    let url = format!("mysql://looker:looking@127.0.0.1:{}/{}", server().port(), site.database);
    let error = source(&url).ledger(LIMITS).write(&batch).unwrap_err();
    assert!(
        matches!(&error, DatabaseError::Denied(text)
            if text.contains("UPDATE torrents: ") && text.contains("run: GRANT")),
        "{error:?}"
    );
}
