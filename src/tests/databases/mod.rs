//! Both databases, asked what the registry asks them: SQLite, and a real MariaDB with our tables,
//! the PHP tracker's, and the PHP tracker's upgraded.
//!
//! `behaviour` is one suite, run on all of them; `outages` is about connections that break, and
//! `odd_servers` about those that were none of MySQL's in the first place.

mod behaviour;
mod locked_tables;
mod odd_servers;
mod odd_tables;
mod outages;
mod refusals;
mod seeded_server;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tempfile::TempDir;

use super::mariadb::Mariadb;
use crate::config::DatabaseUrl;
use crate::ids::InfoHash;
use crate::registry::Source;
use crate::registry::database::{
    AskLimits, Backend, Batch, Counted, DatabaseError, Ledger, ListPosition, NodeId, Row,
    TimeLimits,
};

const LIMITS: TimeLimits =
    TimeLimits { connect: Duration::from_secs(5), answer: Duration::from_secs(10) };

fn always(limits: TimeLimits) -> AskLimits {
    Arc::new(move || limits)
}

const NODE: NodeId = NodeId([0xee; 16]);

/// A kind of database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Sqlite,
    /// `schema/mysql.sql`.
    New,
    /// The PHP tracker's dump as it is, with MyISAM tables.
    OldMyisam,
    /// The same, but in InnoDB.
    OldInnodb,
    /// The PHP tracker's dump after `schema/from-php-tracker.sql`, which has been run twice.
    Upgraded,
}

impl Kind {
    const ALL: [Kind; 5] =
        [Kind::Sqlite, Kind::New, Kind::OldMyisam, Kind::OldInnodb, Kind::Upgraded];

    /// Whether it has the PHP tracker's columns only.
    fn is_old(self) -> bool {
        matches!(self, Kind::OldMyisam | Kind::OldInnodb)
    }
}

/// A database with an empty table of torrents.
struct Site {
    kind: Kind,
    /// Where it is, unless it is a file.
    server: &'static Mariadb,
    source: Source,
    database: String,
    home: TempDir,
}

impl Site {
    fn new(kind: Kind) -> Site {
        Site::new_in(server(), kind)
    }

    fn new_in(server: &'static Mariadb, kind: Kind) -> Site {
        static SITES: AtomicU32 = AtomicU32::new(0);
        let database = format!("site_{}", SITES.fetch_add(1, Ordering::Relaxed));
        let home = tempfile::tempdir().unwrap();
        let url = match kind {
            Kind::Sqlite => format!("sqlite:{}", home.path().join("announced.db").display()),
            _ => {
                create(server, &database, kind);
                server.url(&database)
            }
        };
        let site = Site { kind, server, source: source(&url), database, home };
        site.source.make().unwrap();
        if kind != Kind::Sqlite {
            site.sql("DELETE FROM torrents");
        }
        site
    }

    /// Runs a statement as the site would, past the code under test.
    fn sql(&self, sql: &str) {
        match self.kind {
            Kind::Sqlite => {
                rusqlite::Connection::open(self.file()).unwrap().execute_batch(sql).unwrap();
            }
            _ => drop(self.server.client_in(&self.database, sql)),
        }
    }

    fn file(&self) -> std::path::PathBuf {
        self.home.path().join("announced.db")
    }

    /// Lists a torrent as a site does.
    fn list(&self, hash: InfoHash, name: &str) {
        self.sql(&format!("INSERT INTO torrents (infohash, name) VALUES (x'{hash}', '{name}')"));
    }

    /// Makes a torrent's times `age_s` seconds old.
    fn age(&self, hash: InfoHash, age_s: u32) {
        let then = match self.kind {
            Kind::Sqlite => format!("strftime('%s', 'now') - {age_s}"),
            _ => format!("NOW() - INTERVAL {age_s} SECOND"),
        };
        self.sql(&format!(
            "UPDATE torrents SET added = {then}, updated = {then} WHERE infohash = x'{hash}'"
        ));
    }

    fn backend(&self) -> Box<dyn Backend> {
        self.source.backend(always(LIMITS))
    }

    fn ledger(&self) -> Box<dyn Ledger> {
        self.source.ledger(LIMITS)
    }

    /// The row of a torrent.
    fn row(&self, hash: InfoHash) -> Option<Row> {
        self.ledger().page(None, 10_000).unwrap().into_iter().find(|row| row.info_hash == hash)
    }

    fn downloaded(&self, hash: InfoHash) -> u32 {
        self.row(hash).unwrap().downloaded
    }
}

/// The list in the order of its hashes, as most tests look at it.
trait Pages {
    /// Rows with hashes above `after`, `limit` at most.
    fn page(&mut self, after: Option<&InfoHash>, limit: usize) -> Result<Vec<Row>, DatabaseError>;
}

impl Pages for dyn Ledger {
    fn page(&mut self, after: Option<&InfoHash>, limit: usize) -> Result<Vec<Row>, DatabaseError> {
        let from = after.map(|hash| ListPosition::Hash(hash.0.to_vec()));
        let page = self.read_list(&from.unwrap_or(ListPosition::BeginByHash), limit)?;
        assert_eq!(page.passed_over, [""; 0], "rows that are no torrents");
        Ok(page.rows)
    }
}

/// Runs `test` on every kind of database, and says which one failed.
#[track_caller]
fn everywhere(test: impl Fn(&Site)) {
    for kind in Kind::ALL {
        eprintln!("on {kind:?}");
        test(&Site::new(kind));
    }
}

/// The server that tests share which do it no harm.
fn server() -> &'static Mariadb {
    static SERVER: OnceLock<Mariadb> = OnceLock::new();
    SERVER.get_or_init(Mariadb::start)
}

fn source(url: &str) -> Source {
    Source::parse(&DatabaseUrl::from(url.to_owned())).unwrap().unwrap()
}

fn repository_file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Makes a database as an operator would: each file fed to the client.
fn create(server: &Mariadb, database: &str, kind: Kind) {
    server.client(&format!("CREATE DATABASE {database} DEFAULT CHARACTER SET latin1"));
    let dump = repository_file("tests/data/php-tracker.sql");
    match kind {
        Kind::Sqlite => {}
        Kind::New => {
            server.client_in(database, &repository_file("schema/mysql.sql"));
            server.client_in(database, &repository_file("schema/mysql.sql"));
        }
        Kind::OldMyisam => drop(server.client_in(database, &dump)),
        Kind::OldInnodb => drop(server.client_in(database, &dump.replace("MyISAM", "InnoDB"))),
        Kind::Upgraded => {
            server.client_in(database, &dump);
            server.client_in(database, &repository_file("schema/from-php-tracker.sql"));
            server.client_in(database, &repository_file("schema/from-php-tracker.sql"));
        }
    }
}

/// A hash that ends with `n` and has zeros at both ends, which text columns would trim.
fn hash(n: u8) -> InfoHash {
    let mut hash = InfoHash([0; 20]);
    hash.0[10] = n;
    hash
}

fn counted(hash: InfoHash, downloads: u32) -> Counted {
    Counted { info_hash: hash, downloads, complete: 2, incomplete: 3, active: true }
}

fn batch(number: u64, rows: Vec<Counted>) -> Batch {
    Batch { node: NODE, number, rows }
}
