//! Tables that somebody keeps locked: what is given up here is given up at the server as well, so
//! that no connection is left waiting there.

use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::*;
use crate::registry::database::BatchOutcome;

/// Seconds for which a table is locked at the most.
const LOCKED_S: u32 = 120;

/// A client that has locked the torrents, until it is dropped.
struct Locked {
    database: String,
    client: Option<JoinHandle<()>>,
}

impl Locked {
    fn begin(site: &Site) -> Locked {
        let database = site.database.clone();
        let sleep = format!("DO SLEEP({LOCKED_S}) /* {database} */");
        let client = thread::spawn({
            let (database, sleep) = (database.clone(), sleep.clone());
            // The client complains when it is killed.
            move || {
                let sql = format!("LOCK TABLES torrents WRITE; {sleep}");
                drop(server().try_client_in(&database, &sql));
            }
        });
        let locked = Locked { database, client: Some(client) };
        while locked.sleeper().is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        locked
    }

    /// The connection that has the lock.
    fn sleeper(&self) -> String {
        server().client(&format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{}' AND info LIKE \
             'DO SLEEP%'",
            self.database
        ))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let sleeper = self.sleeper();
        drop(server().try_client_in(&self.database, &format!("KILL {sleeper}")));
        drop(self.client.take().map(JoinHandle::join));
    }
}

/// How many connections the tracker's account has at the server.
fn connections(site: &Site) -> usize {
    let ids = server().client(&format!(
        "SELECT id FROM information_schema.processlist WHERE db = '{}' AND user = 'announced'",
        site.database
    ));
    ids.lines().count()
}

#[test]
fn questions_about_a_locked_table_leave_no_connection_behind() {
    for kind in [Kind::New, Kind::OldMyisam] {
        let site = Site::new(kind);
        site.list(hash(1), "");
        let limits = TimeLimits { answer: Duration::from_secs(2), ..LIMITS };
        let mut backend = site.source.backend(always(limits));
        let mut ledger = site.source.ledger(limits);
        backend.lookup(&[hash(1)]).unwrap();
        ledger.page(None, 10).unwrap();
        let locked = Locked::begin(&site);
        for round in 0..3 {
            let begin = Instant::now();
            let error = backend.lookup(&[hash(1)]).unwrap_err();
            assert!(
                matches!(&error, DatabaseError::Away(text) if text.contains("table locked")),
                "{kind:?}, round {round}: {error:?}"
            );
            let fresh = site.source.backend(always(limits)).lookup(&[hash(1)]);
            assert!(fresh.is_err(), "{kind:?}, round {round}: a new connection");
            let error = ledger.page(None, 10).unwrap_err();
            assert!(
                error.to_string().contains("table locked"),
                "{kind:?}, round {round}: the list: {error:?}"
            );
            let taken = begin.elapsed();
            assert!(taken < Duration::from_secs(30), "{kind:?}, round {round}: {taken:?}");
            assert_eq!(connections(&site), 2, "{kind:?}, round {round}: those that are kept");
        }
        let written = ledger.write(&batch(1, vec![counted(hash(1), 1)]));
        assert!(matches!(written, Err(DatabaseError::Away(_))), "{kind:?}: {written:?}");
        assert!(connections(&site) <= 2, "{kind:?}: after a write");
        drop(locked);
        assert!(backend.lookup(&[hash(1)]).is_ok(), "{kind:?}: the lock is gone");
        let written = ledger.write(&batch(1, vec![counted(hash(1), 1)]));
        assert_eq!(written, Ok(BatchOutcome::WHOLE), "{kind:?}: the lock is gone");
        assert_eq!(site.downloaded(hash(1)), 1, "{kind:?}: downloads");
    }
}

#[test]
fn a_slow_statement_is_ended_at_the_server_but_not_the_list() {
    let site = Site::new(Kind::New);
    site.list(hash(1), "");
    // Each row takes longer than a lookup may.
    site.sql(
        "ALTER TABLE torrents RENAME TO rows_of_it; CREATE FUNCTION slow() RETURNS INT NOT \
         DETERMINISTIC RETURN SLEEP(3); CREATE VIEW torrents AS SELECT tid, infohash, name, \
         downloaded + slow() AS downloaded, banned, added, updated, complete, incomplete, \
         ban_reason FROM rows_of_it",
    );
    let limits = TimeLimits { answer: Duration::from_secs(2), ..LIMITS };
    let mut backend = site.source.backend(always(limits));
    for round in 0..3 {
        let error = backend.lookup(&[hash(1)]).unwrap_err();
        assert!(
            matches!(&error, DatabaseError::Away(text) if text.contains("SELECT torrents: ")),
            "round {round}: {error:?}"
        );
        assert_eq!(connections(&site), 1, "round {round}: connections");
    }
    let patient = TimeLimits { answer: Duration::from_secs(4), ..LIMITS };
    let rows = site.source.ledger(patient).page(None, 10);
    assert_eq!(rows.map(|rows| rows.len()), Ok(1), "the list takes 3 s, past 3/4 of the limit");
}
