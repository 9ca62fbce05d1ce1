//! Which database the settings name, and how to come by connections to it.
//!
//! Owns: the reading of the URL, and the choice between the two databases. Never: a connection;
//! whoever asks for one has it.

use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::DatabaseUrl;
use crate::registry::database::fingerprint::Fingerprint;
use crate::registry::database::mysql::{Address, Mysql};
use crate::registry::database::sqlite::Sqlite;
use crate::registry::database::traits::{AskLimits, Backend, DatabaseError, Ledger, TimeLimits};

/// For a file's lock at the start.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// For a server's word at the start, which does not depend on it.
const WORD_WAIT: Duration = Duration::from_secs(2);

/// A database that can be asked for connections, each for one thread.
#[derive(Clone)]
pub struct Source(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(PathBuf),
    Mysql(Box<Address>),
}

impl Source {
    /// Reads `sqlite:PATH` or `mysql://USER:PASSWORD@HOST:PORT/NAME`; none for `memory`.
    ///
    /// # Errors
    /// One line on what is wrong with the URL, without its password.
    pub fn parse(url: &DatabaseUrl) -> Result<Option<Source>, String> {
        let refuse = |problem: &str| format!("the database {:?} {problem}", url.to_string());
        if url.is_memory() {
            return Ok(None);
        }
        if let Some(path) = url.secret().strip_prefix("sqlite:") {
            // SQLite takes an empty name and this one for a database that every connection has its
            // own of.
            return match path {
                "" | ":memory:" => Err(refuse("names no file: sqlite:PATH")),
                _ if let Some(right) = url.sqlite_without_slashes() => {
                    Err(refuse(&format!("is written {right}")))
                }
                path => Ok(Some(Source(Kind::Sqlite(PathBuf::from(path))))),
            };
        }
        if url.secret().starts_with("mysql://") {
            let address = Address::parse(url).map_err(|problem| refuse(&problem))?;
            return Ok(Some(Source(Kind::Mysql(Box::new(address)))));
        }
        Err(refuse("is none of memory, sqlite:PATH and mysql://USER:PASSWORD@HOST:PORT/NAME"))
    }

    /// A connection for lookups. It is made when it is first asked something, and made anew when
    /// `limits` have changed.
    pub fn backend(&self, limits: AskLimits) -> Box<dyn Backend> {
        match &self.0 {
            Kind::Sqlite(path) => Box::new(Sqlite::new(path, limits)),
            Kind::Mysql(address) => Box::new(Mysql::new(address, limits)),
        }
    }

    /// A connection for everything else. It is made when it is first asked something.
    pub fn ledger(&self, limits: TimeLimits) -> Box<dyn Ledger> {
        let limits: AskLimits = Arc::new(move || limits);
        match &self.0 {
            Kind::Sqlite(path) => Box::new(Sqlite::new(path, limits)),
            Kind::Mysql(address) => Box::new(Mysql::new(address, limits)),
        }
    }

    /// Tells this database from others, whoever connects to it.
    pub fn fingerprint(&self) -> Fingerprint {
        match &self.0 {
            Kind::Sqlite(path) => Fingerprint::of("sqlite", canonical(path).as_os_str().as_bytes()),
            Kind::Mysql(address) => Fingerprint::of("mysql", address.database_name().as_bytes()),
        }
    }

    /// Makes an SQLite file with its tables where there is none. A MySQL server is not asked
    /// anything, and a file that is there but locked is not waited for.
    ///
    /// # Errors
    /// When the file cannot be used or made; the text names it.
    pub fn make(&self) -> Result<(), DatabaseError> {
        let Kind::Sqlite(path) = &self.0 else { return Ok(()) };
        let was_there = path.exists();
        match Sqlite::new(path, limits_at_start(LOCK_WAIT)).prepare() {
            Err(DatabaseError::Away(_)) if was_there => Ok(()),
            made => made,
        }
    }

    /// What can be done about the database before anybody asks it: an SQLite file is made, and a
    /// MySQL server is asked whether it lets the tracker do what it has to.
    ///
    /// # Errors
    /// When the file cannot be used or made, or the server refuses. A server that does not answer
    /// is [`DatabaseError::Away`]: it may come.
    pub fn prepare(&self) -> Result<(), DatabaseError> {
        match &self.0 {
            // Nobody makes the file later.
            Kind::Sqlite(_) => self.make().map_err(|error| match error {
                DatabaseError::Away(text) | DatabaseError::Refused(text) => {
                    DatabaseError::Denied(text)
                }
                error => error,
            }),
            Kind::Mysql(address) => Mysql::new(address, limits_at_start(WORD_WAIT)).try_rights(),
        }
    }
}

fn limits_at_start(limit: Duration) -> AskLimits {
    Arc::new(move || TimeLimits::both(limit))
}

/// The path as every process names it, as far as it leads anywhere.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        assert!(Source::parse(&DatabaseUrl::memory()).unwrap().is_none());
        let good = [
            "sqlite:announced.db",
            "sqlite:/var/lib/announced/a?b.db",
            "mysql://root@localhost/tracker",
            "mysql://root:hunter2@[::1]:3307/tracker",
            "mysql://root:hunter2@localhost/tracker?socket=/run/mysqld/mysqld.sock",
            "mysql://root:hunter2@localhost/tracker?prefer_socket=true",
        ];
        for url in good {
            assert!(
                Source::parse(&DatabaseUrl::from(url.to_owned()))
                    .is_ok_and(|source| source.is_some()),
                "{url}"
            );
        }
    }

    #[test]
    fn a_database_is_known_by_its_place() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::write(path("a.db"), "").unwrap();
        std::os::unix::fs::symlink(path("a.db"), path("link.db")).unwrap();
        let of = |url: &str| {
            Source::parse(&DatabaseUrl::from(url.to_owned())).unwrap().unwrap().fingerprint()
        };
        let sqlite = |name: &str| of(&format!("sqlite:{}", path(name).display()));
        assert_eq!(sqlite("a.db"), sqlite("link.db"));
        assert_ne!(sqlite("a.db"), sqlite("b.db"));
        assert_eq!(of("mysql://root:old@db/tracker"), of("mysql://tracker:new@db:3306/tracker"));
        for other in [
            "mysql://root:old@db2/tracker",
            "mysql://root:old@db:3307/tracker",
            "mysql://root:old@db/other",
        ] {
            assert_ne!(of("mysql://root:old@db/tracker"), of(other), "{other}");
        }
    }

    #[test]
    fn a_url_is_refused_in_one_line_without_its_password() {
        let rows = [
            ("", "is none of memory, sqlite:PATH and mysql://"),
            ("postgres://root:hunter2@db/tracker", "is none of memory, sqlite:PATH and mysql://"),
            ("MySQL://root:hunter2@db/tracker", "is none of memory, sqlite:PATH and mysql://"),
            ("sqlite:", "names no file"),
            ("sqlite::memory:", "names no file"),
            ("mysql://root:hunter2@db", "names no database"),
            ("mysql://root:hunter2@db/", "names no database"),
            ("mysql://root:hunter2@db:99999/tracker", "has the port 99999, but ports end at 65535"),
            ("mysql://db/tracker", "names no user: mysql://USER:PASSWORD@HOST/NAME"),
            ("mysql://:hunter2@db/tracker", "names no user"),
            ("mysql://root:hunt/er2@db/tracker", "cannot be read"),
            ("mysql://root:1?hunter2@db/tracker", "? is written %3F"),
            ("mysql://root:hunter2@db/tracker?ssl=true", "unknown parameter ssl"),
            ("mysql://root:hunter2@db/tracker?root_cert_path=/etc/ca.pem", "asks for TLS"),
        ];
        for (url, problem) in rows {
            let error = Source::parse(&DatabaseUrl::from(url.to_owned())).err().unwrap();
            assert!(error.contains(problem), "{url}: {error}");
            assert!(
                !error.contains("hunt") && !error.contains("er2") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
