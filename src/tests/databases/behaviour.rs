//! What every database does alike, and what the PHP tracker's tables do less.

use super::*;
use crate::listing::{Listing, Record};
use crate::registry::database::{
    BATCH_ROWS_MAX, BatchOutcome, Deleted, Edit, Edited, LOOKUP_HASHES_MAX, ListChange,
};

const WEEK_S: u64 = 7 * 86_400;

fn known(name: &str, downloaded: u32) -> Record {
    let text = (!name.is_empty()).then(|| name.into());
    Record { listing: Listing::Listed, text, downloaded }
}

fn ban(hash: InfoHash, reason: Option<&str>) -> Edit {
    Edit::Ban { info_hash: hash, reason: reason.map(str::to_owned) }
}

fn add(hash: InfoHash, name: Option<&str>) -> Edit {
    Edit::Add { info_hash: hash, name: name.map(str::to_owned) }
}

#[test]
fn a_lookup_answers_for_every_hash_in_order() {
    everywhere(|site| {
        site.list(hash(1), "Größe & \\\"Wahn\\\" 漢字");
        site.list(hash(2), "");
        site.sql(&format!(
            "INSERT INTO torrents (infohash, name, downloaded, banned) VALUES (x'{}', 'b', \
             4294967295, 1)",
            hash(3)
        ));
        let name = if site.kind == Kind::Sqlite {
            "Größe & \\\"Wahn\\\" 漢字"
        } else {
            "Größe & \"Wahn\" 漢字"
        };
        let mut backend = site.backend();
        assert_eq!(backend.lookup(&[]), Ok(Vec::new()));
        let unknown = Record::plain(Listing::Unlisted);
        let banned = Record { listing: Listing::Banned, text: None, downloaded: u32::MAX };
        let asked = [hash(9), hash(3), hash(1), hash(2), hash(1), hash(0)];
        let expected =
            vec![unknown.clone(), banned, known(name, 0), known("", 0), known(name, 0), unknown];
        assert_eq!(backend.lookup(&asked), Ok(expected));
        if !site.kind.is_old() {
            site.sql(&format!(
                "UPDATE torrents SET ban_reason = 'why not' WHERE infohash = x'{}'",
                hash(3)
            ));
            assert_eq!(backend.lookup(&[hash(3)]).unwrap()[0].text.as_deref(), Some("why not"));
        }
        let many: Vec<InfoHash> =
            (0..LOOKUP_HASHES_MAX).map(|n| hash(u8::try_from(n).unwrap())).collect();
        let records = backend.lookup(&many).unwrap();
        assert_eq!(
            records
                .iter()
                .map(|record| record.listing)
                .filter(|listing| *listing == Listing::Unlisted)
                .count(),
            253
        );
    });
}

#[test]
fn a_name_wider_than_replies_is_cut() {
    for kind in [Kind::Sqlite, Kind::New] {
        let site = Site::new(kind);
        site.list(hash(1), &"🦀".repeat(255));
        let record = site.backend().lookup(&[hash(1)]).unwrap().remove(0);
        assert_eq!(record.text.as_deref(), Some("🦀".repeat(191).as_str()));
    }
}

#[test]
fn names_of_an_old_character_set_are_read() {
    let site = Site::new(Kind::OldMyisam);
    site.sql("ALTER TABLE torrents DROP KEY name, CONVERT TO CHARACTER SET latin1");
    site.list(hash(1), "Größe");
    assert_eq!(site.backend().lookup(&[hash(1)]), Ok(vec![known("Größe", 0)]));
    site.sql("ALTER TABLE torrents MODIFY name varbinary(255) NOT NULL");
    site.sql("UPDATE torrents SET name = x'4772f6df65'");
    assert_eq!(site.backend().lookup(&[hash(1)]), Ok(vec![known("Gr\u{fffd}\u{fffd}e", 0)]));
}

#[test]
fn pages_go_through_the_list_in_order() {
    everywhere(|site| {
        let mut ledger = site.ledger();
        assert_eq!(ledger.page(None, 10), Ok(Vec::new()));
        for n in [5, 3, 1, 4, 2] {
            site.list(hash(n), &format!("name {n}"));
        }
        let first = ledger.page(None, 3).unwrap();
        assert_eq!(
            first.iter().map(|row| row.info_hash).collect::<Vec<_>>(),
            [hash(1), hash(2), hash(3)]
        );
        let last = ledger.page(Some(&hash(3)), 3).unwrap();
        assert_eq!(last.iter().map(|row| row.info_hash).collect::<Vec<_>>(), [hash(4), hash(5)]);
        let row = &first[0];
        let listed = (
            row.name.as_str(),
            row.downloaded,
            row.complete,
            row.incomplete,
            row.banned,
            row.ban_reason.clone(),
        );
        assert_eq!(listed, ("name 1", 0, 0, 0, false, None));
        assert!(row.added_unix_s > 1_700_000_000);
        // The PHP tracker's `updated` stays 0 until the first announce.
        let never = matches!(site.kind, Kind::OldMyisam | Kind::OldInnodb | Kind::Upgraded);
        assert_eq!(row.updated_unix_s == 0, never, "{row:?}");
    });
}

#[test]
fn the_dump_of_the_php_tracker_is_read_as_it_stands() {
    for kind in [Kind::OldMyisam, Kind::OldInnodb, Kind::Upgraded] {
        let database = format!("dump_{kind:?}").to_lowercase();
        create(server(), &database, kind);
        let rows = source(&server().url(&database)).ledger(LIMITS).page(None, 10).unwrap();
        let read: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.downloaded, row.banned, row.updated_unix_s))
            .collect();
        let expected = [
            ("", 0, false, 0),
            ("debian-9.8.0-amd64-netinst.iso", 41_234, false, 1_551_521_472),
            ("Größenwahn & Übermut (2018)", 7, false, 1_551_484_799),
            ("not-to-be-shared.avi", 512, true, 1_547_957_106),
        ];
        assert_eq!(read, expected, "{kind:?}");
        assert_eq!(rows[1].added_unix_s, 1_550_336_400, "{kind:?}");
    }
}

#[test]
fn a_batch_is_written_once() {
    everywhere(|site| {
        for n in 1..=3 {
            site.list(hash(n), "");
            site.age(hash(n), 1_000);
        }
        let (before, idle_before) = (site.row(hash(1)).unwrap(), site.row(hash(2)).unwrap());
        let mut ledger = site.ledger();
        let idle = Counted { active: false, ..counted(hash(2), 1) };
        let first = batch(7, vec![counted(hash(1), 5), idle, counted(hash(8), 9)]);
        ledger.write(&first).unwrap();
        // The site removed a torrent: it stays removed.
        assert_eq!(ledger.page(None, 10).unwrap().len(), 3);
        assert_eq!(site.downloaded(hash(1)), 5, "downloads of the first");
        assert_eq!(site.downloaded(hash(2)), 1, "downloads of the idle one");
        assert_eq!(site.downloaded(hash(3)), 0, "downloads of one that is in no batch");
        let row = site.row(hash(1)).unwrap();
        assert_eq!(row.added_unix_s, before.added_unix_s);
        assert!(row.updated_unix_s >= before.updated_unix_s + 1_000);
        assert_eq!(site.row(hash(2)).unwrap().updated_unix_s, idle_before.updated_unix_s);
        if site.kind.is_old() {
            assert_eq!(row.complete, 0, "seeders in tables without them");
            assert_eq!(row.incomplete, 0, "leechers in tables without them");
            return;
        }
        assert_eq!(row.complete, 2, "seeders");
        assert_eq!(row.incomplete, 3, "leechers");
        ledger.write(&first).unwrap();
        site.ledger().write(&first).unwrap();
        assert_eq!(site.downloaded(hash(1)), 5);
        ledger.write(&batch(8, vec![counted(hash(1), 1)])).unwrap();
        ledger.write(&first).unwrap();
        assert_eq!(site.downloaded(hash(1)), 6);
        let outcome = |number| site.ledger().write(&batch(number, vec![counted(hash(1), 1)]));
        assert_eq!(outcome(10), Ok(BatchOutcome::SetBack { last: 8 }), "9 is missing");
        assert_eq!(outcome(8), Ok(BatchOutcome::WHOLE), "8 is the last");
        assert_eq!(outcome(7), Ok(BatchOutcome::Overtaken { last: 8 }), "8 is later than 7");
        assert_eq!(site.downloaded(hash(1)), 6, "nothing of that is counted");
        // Another tracker counts for itself.
        ledger
            .write(&Batch { node: NodeId([1; 16]), number: 1, rows: vec![counted(hash(1), 1)] })
            .unwrap();
        assert_eq!(site.downloaded(hash(1)), 7);
        // Somebody has emptied the table of numbers.
        site.sql("DELETE FROM flushes");
        ledger.write(&batch(9, vec![counted(hash(1), 1)])).unwrap();
        ledger.write(&batch(9, vec![counted(hash(1), 1)])).unwrap();
        assert_eq!(site.downloaded(hash(1)), 8);
    });
}

#[test]
fn a_count_stops_at_what_its_column_holds() {
    everywhere(|site| {
        site.sql(&format!(
            "INSERT INTO torrents (infohash, name, downloaded) VALUES (x'{}', '', 4294967290)",
            hash(1)
        ));
        let mut ledger = site.ledger();
        ledger.write(&batch(1, vec![counted(hash(1), 4)])).unwrap();
        assert_eq!(site.downloaded(hash(1)), u32::MAX - 1);
        ledger.write(&batch(2, vec![counted(hash(1), u32::MAX)])).unwrap();
        assert_eq!(site.downloaded(hash(1)), u32::MAX);
    });
}

#[test]
fn a_full_batch_is_written_whole() {
    everywhere(|site| {
        let hash = |n: usize| {
            let mut hash = hash(1);
            hash.0[..2].copy_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
            hash
        };
        let adds: Vec<Edit> = (0..BATCH_ROWS_MAX).map(|n| add(hash(n), None)).collect();
        let mut ledger = site.ledger();
        assert!(ledger.edit(&adds).unwrap().iter().all(|edited| *edited == Edited::Done));
        ledger
            .write(&batch(1, (0..BATCH_ROWS_MAX).map(|n| counted(hash(n), 3)).collect()))
            .unwrap();
        let rows = ledger.page(None, 2 * BATCH_ROWS_MAX).unwrap();
        assert_eq!(rows.len(), BATCH_ROWS_MAX, "rows");
        assert_eq!(
            rows.iter().map(|row| row.downloaded).sum::<u32>(),
            3_000,
            "downloads of all rows"
        );
    });
}

#[test]
fn old_torrents_are_found_and_deleted() {
    everywhere(|site| {
        for n in 1..=6 {
            site.list(hash(n), "");
            site.age(hash(n), 8 * 86_400);
        }
        site.sql(&format!("UPDATE torrents SET banned = 1 WHERE infohash = x'{}'", hash(2)));
        site.age(hash(3), 86_400);
        site.age(hash(4), 9 * 86_400);
        let mut ledger = site.ledger();
        let mut expected = vec![hash(4), hash(1), hash(5), hash(6)];
        if !site.kind.is_old() {
            site.sql(&format!(
                "UPDATE torrents SET incomplete = 1 WHERE infohash = x'{}'",
                hash(1)
            ));
            expected.remove(1);
        }
        let idle = ledger.idle(WEEK_S, BATCH_ROWS_MAX).unwrap();
        assert_eq!(idle[0], hash(4));
        let mut sorted = idle.clone();
        sorted.sort_unstable_by_key(|hash| hash.0);
        expected.sort_unstable_by_key(|hash| hash.0);
        assert_eq!(sorted, expected);
        assert_eq!(ledger.idle(u64::MAX, 10), Ok(Vec::new()));
        // One of them is announced before the deletion.
        ledger
            .write(&batch(1, vec![Counted { complete: 0, incomplete: 0, ..counted(hash(6), 0) }]))
            .unwrap();
        assert_eq!(ledger.delete_idle(&[], WEEK_S), Ok(Deleted::default()));
        assert_eq!(
            ledger.delete_idle(&[hash(2), hash(3), hash(4), hash(5), hash(6), hash(9)], WEEK_S),
            Ok(Deleted { count: 2, refused: Vec::new() })
        );
        let left: Vec<_> = ledger.page(None, 10).unwrap().iter().map(|row| row.info_hash).collect();
        assert_eq!(left, [hash(1), hash(2), hash(3), hash(6)]);
    });
}

#[test]
fn a_torrent_of_unknown_age_is_not_old() {
    for kind in [Kind::OldMyisam, Kind::OldInnodb, Kind::Upgraded] {
        let site = Site::new(kind);
        site.list(hash(1), "");
        site.list(hash(2), "");
        site.sql(&format!(
            "SET sql_mode = ''; UPDATE torrents SET added = 0 WHERE infohash = x'{}'",
            hash(1)
        ));
        let mut ledger = site.ledger();
        assert_eq!(ledger.idle(60, 10), Ok(Vec::new()), "{kind:?}");
        assert_eq!(ledger.delete_idle(&[hash(1), hash(2)], 60).unwrap().count, 0, "{kind:?}");
    }
}

#[test]
fn edits_are_made_and_told_of() {
    everywhere(|site| {
        let mut ledger = site.ledger();
        let start = ledger.last_change().unwrap();
        let reason = if site.kind.is_old() { Edited::DoneWithoutReason } else { Edited::Done };
        site.list(hash(7), "seven");
        let edits = [
            add(hash(1), Some("Größe 漢字")),
            add(hash(1), None),
            add(hash(2), None),
            ban(hash(2), Some("it's \"bad\" \\ 漢")),
            ban(hash(3), None),
            Edit::Unban { info_hash: hash(1) },
            Edit::Unban { info_hash: hash(9) },
            Edit::Remove { info_hash: hash(9) },
            Edit::Remove { info_hash: hash(7) },
        ];
        let edited = ledger.edit(&edits).unwrap();
        let (done, already, not_listed) = (Edited::Done, Edited::Already, Edited::NotListed);
        assert_eq!(
            edited,
            [done, already, done, reason, done, already, not_listed, not_listed, done]
        );
        assert_eq!(site.row(hash(7)), None);
        let row = site.row(hash(1)).unwrap();
        assert_eq!(row.name.as_str(), "Größe 漢字", "name");
        assert!(!row.banned, "banned, though never asked for");
        assert!(row.added_unix_s > 1_700_000_000 && row.updated_unix_s > 1_700_000_000);
        let row = site.row(hash(2)).unwrap();
        let kept = (!site.kind.is_old()).then(|| "it's \"bad\" \\ 漢".to_owned());
        assert!(row.banned, "it is not banned");
        assert_eq!(row.ban_reason, kept, "the reason");
        assert!(site.row(hash(3)).unwrap().banned);
        assert_eq!(site.backend().lookup(&[hash(3)]).unwrap()[0], Record::plain(Listing::Banned));
        let changes = ledger.changes(start, &[]).unwrap();
        if site.kind.is_old() {
            assert_eq!(changes, Vec::new(), "changes in tables without them");
            assert_eq!(ledger.last_change(), Ok(0), "the last change in tables without them");
        } else {
            let told: Vec<_> = changes.iter().map(|change| change.info_hash).collect();
            assert_eq!(told, [hash(1), hash(2), hash(2), hash(3), hash(7)]);
            assert_eq!(ledger.last_change().unwrap(), changes[4].number);
        }
        // The same again changes nothing, and tells nobody.
        let last = ledger.last_change().unwrap();
        let again = ledger.edit(&edits[..5]).unwrap();
        let banned_before =
            if site.kind.is_old() { Edited::DoneWithoutReason } else { Edited::Already };
        assert_eq!(again, [already, already, already, banned_before, already]);
        assert_eq!(ledger.last_change().unwrap(), last);
        assert_eq!(ledger.edit(&[Edit::Unban { info_hash: hash(2) }]), Ok(vec![done]));
        let row = site.row(hash(2)).unwrap();
        assert!(!row.banned, "banned after the unban");
        assert_eq!(row.ban_reason, None, "the reason after the unban");
        assert_eq!(ledger.edit(&[]), Ok(Vec::new()));
    });
}

#[test]
fn changes_that_were_missing_are_asked_for_by_number() {
    for kind in [Kind::Sqlite, Kind::New, Kind::Upgraded] {
        let site = Site::new(kind);
        let mut ledger = site.ledger();
        for n in [1, 2, 3, 4, 6] {
            site.sql(&format!(
                "INSERT INTO changes (number, infohash) VALUES ({n}, x'{}')",
                hash(n)
            ));
        }
        let change = |n: u8| ListChange { number: n.into(), info_hash: hash(n) };
        assert_eq!(ledger.changes(0, &[]).unwrap().len(), 5);
        assert_eq!(ledger.changes(3, &[]), Ok(vec![change(4), change(6)]));
        assert_eq!(ledger.changes(4, &[2, 5, 6]), Ok(vec![change(2), change(6)]));
        assert_eq!(ledger.changes(u64::MAX / 4, &[]), Ok(Vec::new()));
        assert_eq!(ledger.last_change(), Ok(6));
    }
}

#[test]
fn what_is_old_in_the_small_tables_is_forgotten() {
    for kind in [Kind::Sqlite, Kind::New, Kind::Upgraded] {
        let site = Site::new(kind);
        let at = if kind == Kind::Sqlite { "1000" } else { "'2001-01-01'" };
        site.sql(&format!("INSERT INTO changes (infohash, at) VALUES (x'{}', {at})", hash(1)));
        site.sql(&format!(
            "INSERT INTO flushes (node, number, at) VALUES (x'{}', 1, {at})",
            "11".repeat(16)
        ));
        let mut ledger = site.ledger();
        ledger.edit(&[add(hash(2), None)]).unwrap();
        assert_eq!(
            ledger
                .changes(0, &[])
                .unwrap()
                .iter()
                .map(|change| change.info_hash)
                .collect::<Vec<_>>(),
            [hash(2)]
        );
        ledger.write(&batch(1, Vec::new())).unwrap();
        let other = ledger.write(&Batch { node: NodeId([0x11; 16]), number: 9, rows: Vec::new() });
        assert_eq!(other, Ok(BatchOutcome::WHOLE), "a forgotten node begins anew");
    }
}

#[test]
fn several_trackers_and_operators_write_at_once() {
    for kind in [Kind::Sqlite, Kind::New, Kind::OldInnodb, Kind::Upgraded] {
        let site = Site::new(kind);
        for n in 0..20 {
            site.list(hash(n), "");
        }
        std::thread::scope(|scope| {
            for node in 0..4 {
                let site = &site;
                scope.spawn(move || {
                    let mut ledger = site.ledger();
                    for number in 1..=10 {
                        let rows = (0..20).map(|n| counted(hash(n), 1)).collect();
                        ledger.write(&Batch { node: NodeId([node; 16]), number, rows }).unwrap();
                        ledger
                            .edit(&[
                                add(hash(100 + node), Some("x")),
                                Edit::Remove { info_hash: hash(100 + node) },
                            ])
                            .unwrap();
                    }
                });
            }
        });
        let downloaded: Vec<u32> =
            site.ledger().page(None, 100).unwrap().iter().map(|row| row.downloaded).collect();
        assert_eq!(downloaded, [40; 20], "{kind:?}");
    }
}

#[test]
fn an_error_says_what_to_do() {
    let server = server();
    server.client("CREATE DATABASE empty; CREATE DATABASE narrow");
    server.client_in("narrow", &repository_file("schema/mysql.sql"));
    server.client("CREATE USER reader IDENTIFIED BY 'reading'; GRANT SELECT ON narrow.* TO reader");
    let reader = format!("mysql://reader:reading@127.0.0.1:{}/narrow", server.port());
    let rows = [
        (server.url("empty"), "run: mysql empty < schema/mysql.sql"),
        (server.socket_url("empty"), "run: mysql empty < schema/mysql.sql"),
        (server.url("missing"), "run: mysqladmin create missing; mysql missing < schema/mysql.sql"),
        (server.url("empty").replace("wordpass", "hunter2"), "check the user and the password"),
        (reader.clone().replace("reading", ""), "check the user and the password"),
    ];
    for (url, advice) in rows {
        for error in [
            source(&url).backend(always(LIMITS)).lookup(&[hash(1)]).unwrap_err(),
            source(&url).ledger(LIMITS).edit(&[ban(hash(1), None)]).unwrap_err(),
        ] {
            assert!(error.lasts(), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(advice) && !text.contains('\n'), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("wordpass"), "{text}");
        }
    }
    assert_eq!(
        source(&reader).backend(always(LIMITS)).lookup(&[hash(1)]),
        Ok(vec![Record::plain(Listing::Unlisted)])
    );
    let error = source(&reader).ledger(LIMITS).write(&batch(1, Vec::new())).unwrap_err();
    assert!(
        matches!(
            &error,
            DatabaseError::Denied(text)
                if text.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON narrow.*")
        ),
        "{error}"
    );
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).display().to_string();
    fs::write(path("text.db"), "this is no database, and long enough to be sure of it".repeat(20))
        .unwrap();
    fs::create_dir(path("directory")).unwrap();
    rusqlite::Connection::open(path("other.db"))
        .unwrap()
        .execute_batch("CREATE TABLE torrents (id)")
        .unwrap();
    let rows = [
        ("text.db", "no SQLite database"),
        ("directory", "cannot be opened"),
        ("no/such/directory", "cannot be opened"),
        ("other.db", "schema/sqlite.sql"),
    ];
    for (name, problem) in rows {
        let error = source(&format!("sqlite:{}", path(name))).prepare().unwrap_err();
        assert!(
            matches!(
                &error,
                DatabaseError::Unfit(text)
                    if text.contains(&path(name)) && text.contains(problem)
            ),
            "{error:?}"
        );
    }
}
