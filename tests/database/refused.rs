//! What a database refuses at the start of the tracker, and what it says while the tracker runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::mariadb::Mariadb;
use crate::peer::{LEECHES, announce, wait_accepted};
use crate::site::{SECRET, Schema, Site, hash, project_file, settings, stop};
use crate::support::process::{command, program};
use crate::support::{PATIENCE, wait_until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_announced");

fn starting(program: &Path, home: &Path, url: &str) -> Command {
    let mut command = command(program, home);
    command.env("ANNOUNCED_DATABASE", url);
    command
}

/// A start that must end by itself: with exit code 1, and one line beside what is logged.
#[track_caller]
fn refused(what: &str, mut start: Command) -> String {
    let Output { status, stderr, stdout } = start.output().expect("the program can be run");
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{what}: {stderr}");
    assert_eq!(stdout, b"", "{what}: something is said of a tracker that runs");
    assert!(!stderr.contains(SECRET), "{what}: the password is shown: {stderr}");
    let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with("announced: ")).collect();
    assert_eq!(lines.len(), 1, "{what}: {stderr}");
    lines[0].to_owned()
}

#[test]
fn what_no_waiting_cures_ends_the_start_with_what_to_do() {
    let reading = Schema::create();
    reading
        .run(&format!("REVOKE INSERT, UPDATE, DELETE ON {0}.* FROM {0}@'127.0.0.1'", reading.name));
    let locked_out = Schema::create();
    locked_out.change_password(false);
    let without_tables = Schema::with_tables("");
    let unknown = Schema::create();
    unknown.run(&format!("GRANT SELECT ON *.* TO {}@'127.0.0.1'", unknown.name));
    let old = Schema::with_tables("CREATE TABLE torrents (id INT)");
    let rows = [
        ("a wrong password", locked_out.url(), "check the user and the password"),
        ("no tables", without_tables.url(), "schema/mysql.sql"),
        ("other tables", old.url(), "schema/from-php-tracker.sql"),
        ("no right to write", reading.url(), "UPDATE torrents: UPDATE command denied"),
        ("an unknown database", unknown.url() + "_gone", "run: mysqladmin create"),
        ("SQLite as others write it", "sqlite://x.db".to_owned(), "is written sqlite:x.db"),
    ];
    for (what, url, advice) in rows {
        let home = tempfile::tempdir().expect("a temporary directory");
        let line = refused(what, starting(Path::new(PROGRAM), home.path(), &url));
        assert!(line.contains(advice), "{what}: {line}");
    }
}

#[test]
fn a_tracker_that_is_told_to_wait_starts_and_serves_once_it_may() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let site = Schema::with_tables("");
    let settings = settings("registered", "cache_ttl = \"1s\"\nwait_at_start = true");
    let tracker = site.tracker(home.path(), &settings);
    tracker.wait_log("the database cannot be used as it is: ");
    let unknown = announce(tracker.address, &hash(1), 1, LEECHES);
    assert!(unknown.is_temporary(), "{unknown:?}");
    site.feed(&project_file("schema/mysql.sql"));
    site.list(&[(hash(1), "Demo")]);
    wait_accepted(&tracker, &hash(1), 1);
    stop(tracker);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("one's own files");
}

/// A file that may only be read, in such a directory, and the program beside it, to be run by
/// somebody whose they are not.
struct Foreign {
    home: TempDir,
    /// Where that user may write.
    state: TempDir,
}

impl Foreign {
    fn make(journal_mode: &str) -> Foreign {
        let home = tempfile::tempdir().expect("a temporary directory");
        let file = home.path().join("announced.db");
        let sql = format!(
            "PRAGMA journal_mode = {journal_mode}; {}; INSERT INTO torrents (infohash, name) \
             VALUES (x'{}', 'Demo')",
            project_file("schema/sqlite.sql"),
            "ab".repeat(20)
        );
        rusqlite::Connection::open(&file)
            .and_then(|file| file.execute_batch(&sql))
            .expect("the file can be made");
        fs::copy(PROGRAM, home.path().join("announced")).expect("the program can be copied");
        let state = tempfile::tempdir().expect("a temporary directory");
        set_mode(state.path(), 0o777);
        let settings = format!("[server]\nstate_directory = {:?}\n", state.path());
        fs::write(home.path().join("announced.toml"), settings)
            .expect("a temporary directory can be written to");
        set_mode(&file, 0o444);
        set_mode(home.path(), 0o555);
        Foreign { home, state }
    }

    /// The program, as a user who has no right to write there.
    fn program(&self) -> Command {
        let (home, url) = (self.home.path(), "sqlite:announced.db");
        let copy = home.join("announced");
        if !rustix::process::geteuid().is_root() {
            return starting(&copy, home, url);
        }
        let mut start = starting(&program("setpriv", "util-linux"), home, url);
        start.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        start
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        set_mode(self.home.path(), 0o755);
        set_mode(self.state.path(), 0o755);
    }
}

/// As a service finds it that somebody has started once as root.
#[test]
fn a_file_of_somebody_else_is_told_at_the_start_and_can_be_listed() {
    for journal_mode in ["DELETE", "WAL"] {
        let foreign = Foreign::make(journal_mode);
        let mut start = foreign.program();
        start.args(["--config", "announced.toml", "--listen", "127.0.0.1:0"]);
        let line = refused(journal_mode, start);
        assert!(line.contains("may not be written to"), "{journal_mode}: {line}");
        let mut list = foreign.program();
        let output = list.args(["torrent", "list"]).output().expect("the program can be run");
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(listed.contains("Demo"), "{journal_mode}: {output:?}");
        assert!(output.status.success(), "{journal_mode}: {output:?}");
    }
}

#[test]
fn a_running_tracker_says_whether_its_database_is_away_or_refuses() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut server = Mariadb::start();
    let site = Schema::create_in(&server, &project_file("schema/mysql.sql"));
    site.list(&[(hash(1), "Demo")]);
    let tracker = site.tracker(home.path(), &settings("registered", "cache_ttl = \"1s\""));
    wait_accepted(&tracker, &hash(1), 1);
    server.client("SET GLOBAL max_connections = 10");
    let user = format!("{}@'127.0.0.1'", site.name);
    let cases = [
        (
            format!("ALTER USER {user} ACCOUNT LOCK"),
            format!("ALTER USER {user} ACCOUNT UNLOCK"),
            "the database refuses: ",
        ),
        (
            "SET GLOBAL read_only = 1".to_owned(),
            "SET GLOBAL read_only = 0".to_owned(),
            "may only be read for now",
        ),
    ];
    for (peer, (begin, end, line)) in (2..).zip(cases) {
        let before = tracker.transcript().matches("the database answers again").count();
        server.client(&begin);
        site.kill_connections();
        announce(tracker.address, &hash(1), peer, LEECHES).accepted();
        tracker.wait_log(line);
        server.client(&end);
        wait_until(PATIENCE, "the database answers again", || {
            tracker.transcript().matches("the database answers again").count() > before
        });
    }
    server.kill();
    tracker.wait_log("the database does not answer: ");
    server.restart();
    wait_accepted(&tracker, &hash(1), 1);
    let printed = stop(tracker);
    assert!(!printed.contains("does not answer: MySQL at 127.0.0.1: UPDATE"), "{printed}");
}
