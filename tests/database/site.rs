//! The databases of the sites that the stories are about.
//!
//! Owns: a MariaDB server that the tests share, a schema in it or an SQLite file for each test, the
//! account that a tracker gets, and the `announced torrent` command. Statements run as the site's
//! own people would run them: by another account, on a connection of their own, beside the tracker.

use std::any::Any;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::mariadb::{self, Mariadb};
use crate::support::PATIENCE;
use crate::support::http::percent_encoded;
use crate::support::process::command;
use crate::support::tracker::Tracker;

/// An info hash.
pub(crate) type Hash = [u8; 20];

/// The tracker's password. It has to be escaped in a URL, and may never be seen, escaped or not:
/// this part of it is in both.
pub(crate) const SECRET: &str = "hush";
const PASSWORD: &str = "hush/hush@hush:hush";
const PASSWORD_ESCAPED: &str = "hush%2Fhush%40hush%3Ahush";

/// Torrents listed by one statement.
const ROWS_PER_INSERT: usize = 1_000;

/// A database with the tracker's tables.
pub(crate) trait Site: Sync {
    /// The URL a tracker is given.
    fn url(&self) -> String;

    /// Runs one statement.
    fn run(&self, sql: &str);

    /// The number that a statement asks for; none when there is no row, or NULL in it.
    fn number(&self, sql: &str) -> Option<i64>;

    /// Keeps the tracker from writing to the torrents, and on MariaDB from reading them, until what
    /// is returned is dropped.
    fn lock_torrents(&self) -> Box<dyn Any>;

    /// An expression for the seconds since 1970 that `updated` stands for.
    fn updated_unix_s(&self) -> &'static str;

    /// An expression for the value of `updated` that stands for a day in 2001.
    fn in_2001(&self) -> &'static str;

    /// Lists torrents.
    fn list(&self, torrents: &[(Hash, &str)]) {
        for chunk in torrents.chunks(ROWS_PER_INSERT) {
            let rows: Vec<String> =
                chunk.iter().map(|(hash, name)| format!("({}, '{name}')", literal(hash))).collect();
            self.run(&format!("INSERT INTO torrents (infohash, name) VALUES {}", rows.join(", ")));
        }
    }

    /// A column of one torrent, or an expression over its columns; none when it is not listed.
    fn column(&self, column: &str, hash: &Hash) -> Option<i64> {
        self.number(&format!("SELECT {column} FROM torrents WHERE infohash = {}", literal(hash)))
    }

    /// Sets columns of one torrent.
    fn set(&self, columns: &str, hash: &Hash) {
        self.run(&format!("UPDATE torrents SET {columns} WHERE infohash = {}", literal(hash)));
    }

    /// Takes one torrent off the list.
    fn delete(&self, hash: &Hash) {
        self.run(&format!("DELETE FROM torrents WHERE infohash = {}", literal(hash)));
    }

    /// How many torrents are listed.
    fn listed(&self) -> i64 {
        self.number("SELECT COUNT(*) FROM torrents").expect("a count is never NULL")
    }

    /// A column of all torrents, summed; 0 without torrents.
    fn sum(&self, column: &str) -> i64 {
        self.number(&format!("SELECT SUM({column}) FROM torrents")).unwrap_or(0)
    }

    /// A tracker on this database, which it learns of from the environment, in `home`.
    #[track_caller]
    fn tracker(&self, home: &Path, settings: &str) -> Tracker {
        Tracker::start_in(home, Ipv4Addr::LOCALHOST.into(), settings, |command| {
            command.env("ANNOUNCED_DATABASE", self.url());
        })
    }

    /// `announced torrent ARGUMENTS --database URL`, which must succeed: what it printed, on both
    /// streams.
    #[track_caller]
    fn torrent(&self, arguments: &[&str]) -> String {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path());
        command.arg("torrent").args(arguments).args(["--database", &self.url()]);
        let output = command.output().expect("the program can be run");
        let printed =
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "torrent {arguments:?}: {}: {printed}", output.status);
        assert!(!printed.contains(SECRET), "torrent {arguments:?} shows the password: {printed}");
        printed
    }
}

/// Ends a tracker in good order; all that it has printed, which must not show the password.
#[track_caller]
pub(crate) fn stop(tracker: Tracker) -> String {
    let printed = tracker.stop();
    assert!(!printed.contains(SECRET), "the password was printed: {printed}");
    printed
}

/// Settings of a tracker in `mode` with one event loop, so that whatever blocks it blocks
/// everybody, and `database` in their section. Unless that says how long a lookup may take, only
/// one that hangs takes too long, however busy the machine is.
pub(crate) fn settings(mode: &str, database: &str) -> String {
    let lookup = match database.contains("lookup_timeout") {
        true => "",
        false => "lookup_timeout = \"30s\"\n",
    };
    format!("[server]\nworkers = 1\n[tracker]\nmode = \"{mode}\"\n[database]\n{lookup}{database}\n")
}

/// The `number`th of a row of torrents that look as random as real ones.
pub(crate) fn hash(number: u64) -> Hash {
    let mut hash = [0; 20];
    hash[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    hash[8..16].copy_from_slice(&number.wrapping_mul(0xd1b5_4a32_d192_ed03).to_le_bytes());
    hash[16..].copy_from_slice(b"\0'%?");
    hash
}

/// Forty hexadecimal digits, as people and the `torrent` command write a hash.
pub(crate) fn hex(hash: &Hash) -> String {
    percent_encoded(hash).replace('%', "").to_lowercase()
}

/// A hash in SQL.
fn literal(hash: &Hash) -> String {
    format!("X'{}'", hex(hash))
}

/// A file of the project, as an operator is told to feed it to the database.
#[track_caller]
pub(crate) fn project_file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The server of all tests that leave it alone. It ends with the test program.
fn shared_server() -> &'static Mariadb {
    static SERVER: OnceLock<Mariadb> = OnceLock::new();
    SERVER.get_or_init(Mariadb::start)
}

/// A schema of a MariaDB server, and an account that may read and write its rows and nothing else.
pub(crate) struct Schema {
    /// Of the schema, and of the account.
    pub(crate) name: String,
    server_port: u16,
    /// Where trackers connect to: the server, or what stands before it.
    port: u16,
    /// Behind the URL.
    parameters: &'static str,
}

impl Schema {
    /// One with the tracker's own tables, in the server that tests share.
    #[track_caller]
    pub(crate) fn create() -> Schema {
        Schema::with_tables(&project_file("schema/mysql.sql"))
    }

    /// One in the shared server with the tables that `sql` makes.
    #[track_caller]
    pub(crate) fn with_tables(sql: &str) -> Schema {
        Schema::create_in(shared_server(), sql)
    }

    /// One in a server of the test's own.
    #[track_caller]
    pub(crate) fn create_in(server: &Mariadb, tables: &str) -> Schema {
        static SCHEMAS: AtomicU32 = AtomicU32::new(0);
        let name = format!("site_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
        server.client(&format!(
            "CREATE DATABASE {name}; CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';"
        ));
        server.client(&format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO {name}@'127.0.0.1';"
        ));
        server.client_in(&name, tables);
        Schema { name, server_port: server.port(), port: server.port(), parameters: "" }
    }

    /// The same schema, for trackers that reach it through what listens on `port`.
    pub(crate) fn through(self, port: u16) -> Schema {
        Schema { port, ..self }
    }

    /// The same schema, for trackers that encrypt their connections.
    pub(crate) fn encrypted(self) -> Schema {
        Schema { parameters: "?ssl_mode=required", ..self }
    }

    /// How many connections trackers have at the server.
    pub(crate) fn connections(&self) -> i64 {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}'",
            self.name
        );
        self.number(&sql).expect("a count is never NULL")
    }

    /// Where the server itself listens.
    pub(crate) fn server_port(&self) -> u16 {
        self.server_port
    }

    /// Runs an SQL file as an operator does, by the command-line client.
    #[track_caller]
    pub(crate) fn feed(&self, sql: &str) {
        assert_eq!(
            self.server_port,
            shared_server().port(),
            "only for schemas in the shared server"
        );
        shared_server().client_in(&self.name, sql);
    }

    /// The URL of the schema by the shared server's Unix socket, with an account that may do
    /// anything.
    pub(crate) fn socket_url(&self) -> String {
        assert_eq!(
            self.server_port,
            shared_server().port(),
            "only for schemas in the shared server"
        );
        shared_server().socket_url(&self.name)
    }

    /// Gives the account another password, or the one in the URL again.
    pub(crate) fn change_password(&self, right: bool) {
        let password = if right { PASSWORD } else { "another" };
        self.run(&format!("ALTER USER {}@'127.0.0.1' IDENTIFIED BY '{password}'", self.name));
    }

    /// Has the account log in by MariaDB's ed25519, with the same password.
    pub(crate) fn log_in_by_ed25519(&self) {
        self.run("INSTALL PLUGIN IF NOT EXISTS ed25519 SONAME 'auth_ed25519'");
        self.run(&format!(
            "ALTER USER {}@'127.0.0.1' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}')",
            self.name
        ));
    }

    /// Ends the connections that trackers have; how many there were.
    pub(crate) fn kill_connections(&self) -> usize {
        let mut connection = self.connect();
        let ids =
            format!("SELECT id FROM information_schema.processlist WHERE user = '{}'", self.name);
        let ids: Vec<u64> = connection.query(ids).expect("the server answers");
        // One that has ended by itself since then cannot be killed.
        ids.iter().filter(|id| connection.query_drop(format!("KILL {id}")).is_ok()).count()
    }

    #[track_caller]
    fn connect(&self) -> Conn {
        let options = OptsBuilder::new()
            .ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(self.server_port)
            .prefer_socket(false)
            .user(Some(mariadb::USER))
            .pass(Some(mariadb::PASSWORD))
            .db_name(Some(&self.name))
            .read_timeout(Some(PATIENCE))
            .write_timeout(Some(PATIENCE));
        Conn::new(options).expect("the server can be connected to")
    }
}

impl Site for Schema {
    fn url(&self) -> String {
        let Schema { name, port, parameters, .. } = self;
        format!("mysql://{name}:{PASSWORD_ESCAPED}@127.0.0.1:{port}/{name}{parameters}")
    }

    #[track_caller]
    fn run(&self, sql: &str) {
        self.connect().query_drop(sql).unwrap_or_else(|error| panic!("{error} in {sql:.200}"));
    }

    #[track_caller]
    fn number(&self, sql: &str) -> Option<i64> {
        let row: Option<Option<i64>> =
            self.connect().query_first(sql).unwrap_or_else(|error| panic!("{error} in {sql}"));
        row.flatten()
    }

    fn lock_torrents(&self) -> Box<dyn Any> {
        let mut connection = self.connect();
        connection.query_drop("LOCK TABLES torrents WRITE").expect("the table can be locked");
        Box::new(connection)
    }

    fn updated_unix_s(&self) -> &'static str {
        "UNIX_TIMESTAMP(updated)"
    }

    fn in_2001(&self) -> &'static str {
        "'2001-02-03 04:05:06'"
    }
}

/// An SQLite file in a directory of its own.
pub(crate) struct SqliteFile(TempDir);

impl SqliteFile {
    /// One with the tracker's tables.
    #[track_caller]
    pub(crate) fn create() -> SqliteFile {
        let site = SqliteFile(tempfile::tempdir().expect("a temporary directory"));
        site.connect()
            .execute_batch(&project_file("schema/sqlite.sql"))
            .expect("schema/sqlite.sql can be run");
        site
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("site.db")
    }

    #[track_caller]
    fn connect(&self) -> Connection {
        let connection = Connection::open(self.path()).expect("the file can be opened");
        connection.busy_timeout(PATIENCE).expect("a time limit can be set");
        connection
    }
}

impl Site for SqliteFile {
    fn url(&self) -> String {
        format!("sqlite:{}", self.path().display())
    }

    #[track_caller]
    fn run(&self, sql: &str) {
        self.connect().execute_batch(sql).unwrap_or_else(|error| panic!("{error} in {sql:.200}"));
    }

    #[track_caller]
    fn number(&self, sql: &str) -> Option<i64> {
        match self.connect().query_row(sql, [], |row| row.get(0)) {
            Err(rusqlite::Error::QueryReturnedNoRows) => None,
            number => number.unwrap_or_else(|error| panic!("{error} in {sql}")),
        }
    }

    fn lock_torrents(&self) -> Box<dyn Any> {
        let connection = self.connect();
        connection.execute_batch("BEGIN IMMEDIATE").expect("the file can be locked");
        Box::new(connection)
    }

    fn updated_unix_s(&self) -> &'static str {
        "updated"
    }

    fn in_2001(&self) -> &'static str {
        "981173106"
    }
}
