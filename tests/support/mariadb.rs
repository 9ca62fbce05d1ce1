//! A MariaDB of the tests' own: private data directory, Unix socket and TCP port; ended with the
//! test program, however that ends.
//!
//! Owns: the server's process and its directory. Every server starts from a copy of one freshly
//! installed data directory, which is made once in a test program. Nothing outside the temporary
//! directory is read or written, and no settings file of the machine counts. Durability stays at
//! the server's defaults, so that what a test sees after a SIGKILL is what an operator would see.
//!
//! Two things outlive a panic or a kill of the test program, and both are seen to by others: the
//! kernel kills the server when the thread that started it ends (PR_SET_PDEATHSIG, set by
//! `setpriv`; hence a thread of its own for each server), and a waiting shell removes the
//! directories once the pipe to it breaks.
//!
//! Stands alone, so that tests inside the crate can take it by `#[path]` as well.
#![allow(dead_code, reason = "every test program takes what it needs")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failing helper fails its test, with a text"
)]

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Who the tests are to the server: may do anything in any database.
pub(crate) const USER: &str = "announced";
/// Their password: characters that a URL must escape are left to the tests of URLs.
pub(crate) const PASSWORD: &str = "wordpass";

/// How long a start may take, crash recovery on a busy machine included.
const START_MAX: Duration = Duration::from_secs(60);
/// Starts on other ports, when another program was quicker to bind the one that was free a moment
/// ago.
const STARTS_MAX: usize = 5;

/// Small buffers, so that a copy of the data directory and a start are quick. Given to the
/// installation as well: the sizes of files must agree.
const SMALL: [&str; 6] = [
    "--no-defaults",
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=32M",
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=1M",
    "--performance-schema=off",
];

/// A running server. Dropping it kills it and removes its data.
pub(crate) struct Mariadb {
    home: PathBuf,
    port: u16,
    server: Option<Server>,
    /// Beside those that every server gets.
    arguments: Vec<String>,
}

/// The process, and the end of the channel on which the thread that started it waits: see the
/// module's text.
struct Server {
    child: Child,
    _keeper: Sender<()>,
}

impl Mariadb {
    /// A server with an empty data directory, ready to be asked.
    #[track_caller]
    pub(crate) fn start() -> Mariadb {
        Mariadb::start_with(&[])
    }

    /// The same, with arguments of its own.
    #[track_caller]
    pub(crate) fn start_with(arguments: &[String]) -> Mariadb {
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let installed = installed();
        let home = installed.join(format!("server-{}", SERVERS.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&home).expect("a temporary directory can be written to");
        copy(&installed.join("template"), &home.join("data"));
        let rights = format!(
            "CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* \
             TO '{USER}'@'%' WITH GRANT OPTION;\n"
        );
        fs::write(home.join("init.sql"), rights.replace("; ", ";\n"))
            .expect("a temporary directory can be written to");
        let mut mariadb = Mariadb { home, port: 0, server: None, arguments: arguments.to_vec() };
        for _ in 0..STARTS_MAX {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr());
            mariadb.port = free.expect("a free port").port();
            if mariadb.try_start() {
                return mariadb;
            }
        }
        panic!("mariadbd does not start:\n{}", mariadb.log());
    }

    /// Its TCP port on 127.0.0.1; the same after a restart.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The path of its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join("socket")
    }

    /// The URL of a database by TCP.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database by the Unix socket.
    pub(crate) fn socket_url(&self, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD}@localhost/{database}?socket={}", self.socket().display())
    }

    /// Runs statements as the server's root, in no database; what they print, a line per row with
    /// tabs between columns.
    #[track_caller]
    pub(crate) fn client(&self, sql: &str) -> String {
        self.run_client(&[], sql).unwrap_or_else(|error| panic!("{error}in: {sql}"))
    }

    /// The same in a database.
    #[track_caller]
    pub(crate) fn client_in(&self, database: &str, sql: &str) -> String {
        self.run_client(&[database], sql).unwrap_or_else(|error| panic!("{error}in: {sql}"))
    }

    /// The same; an error is what the client complained of.
    pub(crate) fn try_client_in(&self, database: &str, sql: &str) -> Result<String, String> {
        self.run_client(&[database], sql)
    }

    /// Runs statements through the command-line client, as an operator feeds it a file; an error is
    /// what it complained of.
    fn run_client(&self, arguments: &[&str], sql: &str) -> Result<String, String> {
        let mut command = Command::new(program("mariadb", "mariadb-client"));
        command.args([
            "--no-defaults",
            "--user=root",
            "--default-character-set=utf8mb4",
            "--batch",
            "--skip-column-names",
        ]);
        command.arg(format!("--socket={}", self.socket().display())).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the client can be run");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let text = sql.to_owned();
        let feeding = thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().expect("a child can be waited for");
        // A client that gave up at an error reads no further: its own words say more.
        let _ = feeding.join();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(stdout) } else { Err(stderr) }
    }

    /// The server's process id.
    #[track_caller]
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.server.as_ref().expect("the server runs").child)
    }

    /// Sends it a signal. One that stops it has done so when this returns: its threads are stopped
    /// one by one.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        // It is reaped only through `self`, so the pid cannot have passed to another process.
        kill_process(self.pid(), signal).expect("the server can be signalled");
        while signal == Signal::STOP && !self.is_stopped() {
            thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid().as_raw_nonzero()))
            .expect("the server runs");
        // proc(5): the state follows the name, which is in parentheses.
        threads
            .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok())
            .all(|stat| stat.contains(") T "))
    }

    /// Kills it by SIGKILL, and waits until it is gone. Its data stay.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.child.kill();
            let _ = server.child.wait();
        }
    }

    /// Kills it if it runs, and starts it again on the same data, socket and port; returns once it
    /// can be asked.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.try_start(), "mariadbd does not start again:\n{}", self.log());
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.home.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Starts the process and waits until it greets; false when it ends instead.
    fn try_start(&mut self) -> bool {
        let mut server = spawn_kept(self.command());
        let deadline = Instant::now() + START_MAX;
        let ready = loop {
            if greets(&self.socket()) {
                break true;
            }
            if server.child.try_wait().expect("a child can be waited for").is_some() {
                break false;
            }
            assert!(
                Instant::now() < deadline,
                "after {START_MAX:?}, mariadbd still starts:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        };
        self.server = ready.then_some(server);
        ready
    }

    fn command(&self) -> Command {
        let home = self.home.display();
        let mut command = Command::new(program("setpriv", "util-linux"));
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program("mariadbd", "mariadb-server"))
            .args(SMALL);
        command.args(user()).args([
            "--skip-log-bin",
            "--skip-name-resolve",
            "--bind-address=127.0.0.1",
        ]);
        command.arg(format!("--port={}", self.port)).arg(format!("--socket={home}/socket"));
        command.arg(format!("--datadir={home}/data")).arg(format!("--pid-file={home}/pid"));
        command.arg(format!("--init-file={home}/init.sql")).arg(format!("--log-error={home}/log"));
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Starts `command` on a thread that lives as long as what is returned: the kernel counts the end
/// of the thread that started a child as the end of its parent, and a test's thread ends before
/// others are done with a server that they share.
#[track_caller]
fn spawn_kept(mut command: Command) -> Server {
    let (started, start) = channel();
    let (keeper, kept) = channel::<()>();
    thread::spawn(move || {
        let _ = started.send(command.spawn());
        let _ = kept.recv();
    });
    let child = start.recv().expect("the thread sends before it ends");
    Server { child: child.expect("setpriv can be run"), _keeper: keeper }
}

/// Whether a server speaks first on its socket, as it does once it takes questions.
fn greets(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    stream.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0)
}

/// The directory of this test program's servers, with a data directory to copy; made when first
/// asked for.
#[track_caller]
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<(PathBuf, ChildStdin)> = OnceLock::new();
    let (directory, _) = INSTALLED.get_or_init(|| {
        let directory = tempfile::Builder::new()
            .prefix("announced-mariadb-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let remover = remove_at_the_end(&directory);
        let mut command = Command::new(program("mariadb-install-db", "mariadb-server"));
        command.args(SMALL).arg(format!("--datadir={}/template", directory.display()));
        command.args(user()).args([
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            "--skip-name-resolve",
        ]);
        let output = command.stdin(Stdio::null()).output().expect("mariadb-install-db can be run");
        assert!(
            output.status.success(),
            "mariadb-install-db: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        (directory, remover)
    });
    directory
}

/// Both programs refuse to run as root unless told to, and cannot be told by anybody else.
fn user() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

/// A shell that removes `directory` when this process has ended, and with it the other end of the
/// shell's standard input.
#[track_caller]
fn remove_at_the_end(directory: &Path) -> ChildStdin {
    let mut command = Command::new("/bin/sh");
    // The servers are killed in the same moment; one that still writes a file would make `rm` miss
    // it.
    command.args(["-c", "cat >/dev/null; sleep 1; rm -rf \"$1\"", "sh"]).arg(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a shell can be run").stdin.take().expect("stdin is piped")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a temporary directory can be written to");
    for entry in fs::read_dir(from).expect("the template can be read") {
        let entry = entry.expect("the template can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("the template can be read").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a temporary directory can be written to");
        }
    }
}

/// The path of an installed program; a machine without it fails the test and learns which package
/// to install.
#[track_caller]
fn program(name: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: install the Debian package {package}"))
}

/// The starter itself: nothing else would notice a server or a directory left behind.
#[test]
fn a_server_keeps_its_data_over_a_kill_and_leaves_nothing() {
    let mut mariadb = Mariadb::start();
    mariadb.client(
        "CREATE DATABASE d; CREATE TABLE d.t (a INT) ENGINE=InnoDB; INSERT INTO d.t VALUES (1);",
    );
    mariadb.restart();
    assert_eq!(mariadb.client_in("d", "SELECT a FROM t"), "1\n");
    let (pid, home) = (mariadb.pid(), mariadb.home.clone());
    drop(mariadb);
    assert!(!home.exists());
    assert!(rustix::process::test_kill_process(pid).is_err());
}
