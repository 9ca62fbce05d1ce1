//! Connections that break: what is asked again in silence, what is told, and that no download is
//! counted twice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use super::*;
use crate::listing::{Listing, Record};

/// For questions that get no answer in time. A healthy server may miss it too, on a busy machine.
const SHORT: TimeLimits =
    TimeLimits { connect: Duration::from_millis(300), answer: Duration::from_millis(300) };
/// How long a healthy server may take in all.
const HEALTHY: Duration = Duration::from_secs(60);

/// The server of tests that cut connections: MariaDB 10.11 has been seen to crash at that, and no
/// other test should fail for it.
fn cut_server() -> &'static Mariadb {
    static SERVER: OnceLock<Mariadb> = OnceLock::new();
    SERVER.get_or_init(Mariadb::start)
}

/// Cuts all connections to a database from the server's side.
fn cut(database: &str) {
    let ids = cut_server().client(&format!(
        "SELECT id FROM information_schema.processlist WHERE db = '{database}' AND user <> 'root'"
    ));
    for id in ids.lines() {
        cut_server().client(&format!("KILL {id}"));
    }
}

#[test]
fn a_connection_cut_between_questions_goes_unnoticed() {
    let site = Site::new_in(cut_server(), Kind::New);
    site.list(hash(1), "one");
    let (mut backend, mut ledger) = (site.backend(), site.ledger());
    for number in 1..=3 {
        assert_eq!(backend.lookup(&[hash(1)]).unwrap()[0].listing, Listing::Listed);
        ledger.write(&batch(number, vec![counted(hash(1), 1)])).unwrap();
        cut(&site.database);
    }
    assert_eq!(ledger.last_change(), Ok(0));
    assert_eq!(backend.lookup(&[]), Ok(Vec::new()));
    assert_eq!(site.downloaded(hash(1)), 3);
}

/// The driver would go over to the socket by itself when the host is this machine.
#[test]
fn a_url_leads_where_it_says() {
    let (socket, tcp) = ("localhost".to_owned(), "127.0.0.1:".to_owned());
    let preferred = |url: String| url + "?prefer_socket=true";
    type Url = Box<dyn Fn(&str) -> String>;
    let rows: [(Url, &String); 4] = [
        (Box::new(|name| server().url(name)), &tcp),
        (Box::new(|name| server().url(name).replace("127.0.0.1", "localhost")), &tcp),
        (Box::new(|name| server().socket_url(name)), &socket),
        (Box::new(move |name| preferred(server().url(name))), &socket),
    ];
    for (url, from) in rows {
        let site = Site::new(Kind::New);
        let mut backend = source(&url(&site.database)).backend(always(LIMITS));
        assert_eq!(backend.lookup(&[]), Ok(Vec::new()));
        let sql = format!(
            "SELECT host FROM information_schema.processlist WHERE db = '{}'",
            site.database
        );
        let host = server().client(&sql);
        assert!(host.starts_with(from), "{host}");
    }
}

#[test]
fn a_password_may_be_anything_once_escaped() {
    let site = Site::new(Kind::New);
    server().client(&format!(
        "CREATE USER odd IDENTIFIED BY 'p@:/?#% é'; GRANT SELECT ON {}.* TO odd",
        site.database
    ));
    let url = format!(
        "mysql://odd:p%40%3A%2F%3F%23%25%20%C3%A9@127.0.0.1:{}/{}",
        server().port(),
        site.database
    );
    assert_eq!(source(&url).backend(always(LIMITS)).lookup(&[]), Ok(Vec::new()));
}

#[test]
fn a_server_goes_away_and_comes_back() {
    let mut server = Mariadb::start();
    create(&server, "tracker", Kind::New);
    server.client_in(
        "tracker",
        &format!("INSERT INTO torrents (infohash, name) VALUES (x'{}', 'one')", hash(1)),
    );
    for url in [
        server.url("tracker"),
        server.socket_url("tracker"),
        server.url("tracker").replace("127.0.0.1", "localhost"),
    ] {
        let mut backend = source(&url).backend(always(LIMITS));
        let mut ledger = source(&url).ledger(LIMITS);
        assert_eq!(backend.lookup(&[hash(1)]).unwrap()[0].listing, Listing::Listed);
        assert_eq!(ledger.last_change(), Ok(0));
        server.kill();
        for _ in 0..2 {
            assert!(matches!(backend.lookup(&[hash(1)]), Err(DatabaseError::Away(_))));
            assert!(matches!(ledger.write(&batch(1, Vec::new())), Err(DatabaseError::Away(_))));
        }
        server.restart();
        assert_eq!(backend.lookup(&[hash(1)]).unwrap()[0].listing, Listing::Listed);
        ledger.write(&batch(1, Vec::new())).unwrap();
        server.restart();
        assert_eq!(backend.lookup(&[hash(1)]).unwrap()[0].listing, Listing::Listed);
        ledger.write(&batch(1, Vec::new())).unwrap();
    }
}

/// What a healthy server answers, asked again whenever it took longer than [`SHORT`].
#[track_caller]
fn answer_at_last(backend: &mut dyn Backend, hashes: &[InfoHash]) -> Vec<Record> {
    let end = Instant::now() + HEALTHY;
    loop {
        match backend.lookup(hashes) {
            Ok(records) => return records,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    }
}

#[test]
fn a_frozen_server_is_not_waited_for() {
    let server = Mariadb::start();
    create(&server, "tracker", Kind::New);
    let source = source(&server.url("tracker"));
    let mut kept = source.backend(always(SHORT));
    answer_at_last(&mut *kept, &[]);
    server.signal(Signal::STOP);
    for backend in [&mut kept, &mut source.backend(always(SHORT))] {
        let start = Instant::now();
        let error = backend.lookup(&[hash(1)]).unwrap_err();
        let taken = start.elapsed();
        assert!(taken < HEALTHY, "a frozen server was waited for {taken:?}");
        assert!(
            matches!(&error, DatabaseError::Away(text) if text.contains("no answer within 0.3 s")),
            "{error}"
        );
    }
    server.signal(Signal::CONT);
    assert_eq!(answer_at_last(&mut *kept, &[hash(1)])[0].listing, Listing::Unlisted);
}

/// Limits that a test can change.
fn changeable(limit: Duration) -> (AskLimits, Arc<Mutex<Duration>>) {
    let limit = Arc::new(Mutex::new(limit));
    let latest = Arc::clone(&limit);
    (Arc::new(move || TimeLimits::both(*latest.lock().unwrap())), limit)
}

#[test]
fn changed_time_limits_count_from_the_next_question_on() {
    // Nobody accepts the connection: the kernel does, and then says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = source(&format!("mysql://announced:wordpass@127.0.0.1:{port}/tracker"));
    let (limits, limit) = changeable(Duration::from_millis(50));
    let mut backend = silent.backend(limits);
    for (limit_ms, told) in [(50, "no answer within 0.05 s"), (100, "no answer within 0.1 s")] {
        *limit.lock().unwrap() = Duration::from_millis(limit_ms);
        let error = backend.lookup(&[hash(1)]).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_connection_is_kept_until_the_time_limits_change() {
    let site = Site::new(Kind::New);
    let (limits, limit) = changeable(LIMITS.answer);
    let mut backend = site.source.backend(limits);
    let mut connection = || {
        backend.lookup(&[hash(1)]).unwrap();
        server().client(&format!(
            "SELECT MAX(id) FROM information_schema.processlist WHERE db = '{}'",
            site.database
        ))
    };
    let first = connection();
    assert_eq!(connection(), first, "nothing has changed");
    *limit.lock().unwrap() = 2 * LIMITS.answer;
    assert_ne!(connection(), first, "the limits of a connection are those it was made with");
}

#[test]
fn a_torrent_locked_by_somebody_else_is_waited_for() {
    let site = Site::new(Kind::New);
    site.list(hash(1), "");
    let holder = thread::spawn({
        let sql = format!(
            "BEGIN; UPDATE torrents SET name = 'held' WHERE infohash = x'{}'; DO SLEEP(5); \
             COMMIT",
            hash(1)
        );
        let database = site.database.clone();
        move || server().client_in(&database, &sql)
    });
    while !server().client("SELECT info FROM information_schema.processlist").contains("SLEEP(5)") {
        thread::sleep(Duration::from_millis(10));
    }
    // The server gives up after four seconds, which is before the lock is gone. The ledger begins
    // five times, so it would wait for another fifteen.
    let mut ledger = site.source.ledger(TimeLimits { answer: Duration::from_secs(9), ..LIMITS });
    ledger.write(&batch(1, vec![counted(hash(1), 1)])).unwrap();
    holder.join().unwrap();
    assert_eq!(site.downloaded(hash(1)), 1);
}

/// Stands between one connection and the server, lets everything through until the client says
/// `word`, passes that on, and hangs up on both when the server has answered it.
fn hang_up_after(word: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut upstream = TcpStream::connect(("127.0.0.1", cut_server().port())).unwrap();
        let (mut from, mut to) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
        let said = Arc::new(AtomicBool::new(false));
        let hang_up = Arc::clone(&said);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                if hang_up.load(Ordering::SeqCst) {
                    break;
                }
                let _ = to.write_all(&bytes[..read]);
            }
            let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
        });
        let mut bytes = [0; 65_536];
        while let Ok(read @ 1..) = client.read(&mut bytes) {
            if bytes[..read].windows(word.len()).any(|window| window == word.as_bytes()) {
                said.store(true, Ordering::SeqCst);
            }
            let _ = upstream.write_all(&bytes[..read]);
        }
    });
    port
}

#[test]
fn a_batch_whose_acknowledgement_is_lost_is_counted_once() {
    for kind in [Kind::New, Kind::Upgraded, Kind::OldInnodb, Kind::OldMyisam] {
        for word in ["COMMIT", "UPDATE torrents"] {
            let site = Site::new_in(cut_server(), kind);
            site.list(hash(1), "");
            let url = format!(
                "mysql://announced:wordpass@127.0.0.1:{}/{}",
                hang_up_after(word),
                site.database
            );
            let written = source(&url).ledger(LIMITS).write(&batch(1, vec![counted(hash(1), 5)]));
            // The old tables cannot be asked, so what may have been written is taken as written.
            let in_doubt = kind == Kind::OldMyisam || (kind == Kind::OldInnodb && word == "COMMIT");
            assert_eq!(written.is_ok(), in_doubt, "{kind:?} {word}");
            if written.is_err() {
                site.ledger().write(&batch(1, vec![counted(hash(1), 5)])).unwrap();
            }
            assert_eq!(site.downloaded(hash(1)), 5, "{kind:?} {word}");
        }
    }
}

#[test]
fn a_locked_file_is_waited_for_and_then_named() {
    let site = Site::new(Kind::Sqlite);
    site.list(hash(1), "one");
    let mut ledger = site.source.ledger(SHORT);
    ledger.write(&batch(1, Vec::new())).unwrap();
    let other = rusqlite::Connection::open(site.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = ledger.write(&batch(2, Vec::new())).unwrap_err();
    assert!(
        matches!(
            &error,
            DatabaseError::Away(text) if text.contains("announced.db") && text.contains("locked")
        ),
        "{error}"
    );
    assert_eq!(
        site.backend().lookup(&[hash(1)]).unwrap()[0].listing,
        Listing::Listed,
        "readers do not wait"
    );
    other.execute_batch("COMMIT").unwrap();
    ledger.write(&batch(2, Vec::new())).unwrap();
}

fn is_unfit(error: &DatabaseError, problem: &str) -> bool {
    matches!(error, DatabaseError::Unfit(text) if text.contains(problem))
}

#[test]
fn a_file_that_was_replaced_is_opened_anew_by_everybody() {
    let (site, other) = (Site::new(Kind::Sqlite), Site::new(Kind::Sqlite));
    site.list(hash(1), "old");
    other.list(hash(2), "new");
    let mut kept = (site.backend(), site.ledger());
    let works = |(backend, ledger): &mut (Box<dyn Backend>, Box<dyn Ledger>), number| {
        let found = backend.lookup(&[hash(2)]).unwrap()[0].listing;
        ledger.write(&batch(number, vec![counted(hash(2), 1)])).unwrap();
        found
    };
    let tell = |(backend, ledger): &mut (Box<dyn Backend>, Box<dyn Ledger>), problem: &str| {
        let errors = [
            backend.lookup(&[hash(2)]).unwrap_err(),
            ledger.write(&batch(2, Vec::new())).unwrap_err(),
        ];
        errors.iter().for_each(|error| assert!(is_unfit(error, problem), "{error}"));
    };
    assert_eq!(works(&mut kept, 1), Listing::Unlisted);
    fs::remove_file(site.file()).unwrap();
    tell(&mut kept, "is gone");
    fs::rename(other.file(), site.file()).unwrap();
    tell(&mut kept, "announced.db-wal beside it is still the old one's");
    let remove_log = || {
        ["db-wal", "db-shm"]
            .map(|ending| fs::remove_file(site.file().with_extension(ending)).unwrap())
    };
    remove_log();
    assert_eq!(works(&mut kept, 2), Listing::Listed);
    assert_eq!(site.downloaded(hash(2)), 1);
    // Between two questions, so that no error tells of it.
    fs::rename(Site::new(Kind::Sqlite).file(), site.file()).unwrap();
    remove_log();
    assert_eq!(works(&mut kept, 3), Listing::Unlisted);
    assert_eq!(site.row(hash(2)), None);
}

#[test]
fn a_file_locked_for_long_keeps_nobody_from_starting_or_reading() {
    let site = Site::new(Kind::Sqlite);
    site.list(hash(1), "one");
    let holder = rusqlite::Connection::open(site.file()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(site.source.make(), Ok(()));
    assert_eq!(site.source.ledger(SHORT).page(None, 10).unwrap().len(), 1);
    let error = site.source.ledger(SHORT).write(&batch(1, Vec::new())).unwrap_err();
    assert!(
        matches!(&error, DatabaseError::Away(text) if text.contains("kept it locked for 0.3 s")),
        "{error}"
    );
}

#[test]
fn a_file_with_a_rollback_journal_is_used_as_it_is_while_somebody_reads_it() {
    let site = Site::new(Kind::Sqlite);
    site.list(hash(1), "one");
    let reader = rusqlite::Connection::open(site.file()).unwrap();
    let mode: String =
        reader.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete", "nobody else has the file open");
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM torrents").unwrap();
    let limits = TimeLimits::both(Duration::from_secs(2));
    let records = site.source.backend(always(limits)).lookup(&[hash(1)]).unwrap();
    assert_eq!(records[0].listing, Listing::Listed, "it is read all the same");
    assert_eq!(site.source.make(), Ok(()), "a tracker starts on it");
    reader.execute_batch("COMMIT").unwrap();
    let mut ledger = site.source.ledger(limits);
    ledger.write(&batch(1, vec![counted(hash(1), 1)])).unwrap();
    assert_eq!(site.downloaded(hash(1)), 1, "what is written");
    let fresh = rusqlite::Connection::open(site.file()).unwrap();
    let mode: String = fresh.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal", "once nobody reads it");
}
