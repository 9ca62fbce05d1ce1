//! The built binary as the one who starts it sees it: what it prints, where, and the exit code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy takes the helpers of an integration test for production code"
)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::{NamedTempFile, TempDir};

/// How long the program may take in one test.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "hunter2";
/// Refused before anything is connected to.
const DATABASE: &str = "mysqli://root:hunter2@db/tracker";

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_announced"));
    command.env_remove("ANNOUNCED_DATABASE").env_remove("RUST_LOG");
    // Its default port can be one tracker's only.
    command.env("ANNOUNCED_ADMIN__LISTEN", "127.0.0.1:0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Kills a child that is still there after [`PATIENCE`]: then whatever waits for it goes on, and
/// the test fails.
struct TimeLimit {
    _ended: Sender<()>,
}

impl TimeLimit {
    fn of(child: &Child) -> TimeLimit {
        let (ended, end) = mpsc::channel();
        let pid = Pid::from_child(child);
        thread::spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // It may have ended just now.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        TimeLimit { _ended: ended }
    }
}

/// What a child says that ends by itself.
fn wait(child: Child) -> Output {
    let limit = TimeLimit::of(&child);
    let output = child.wait_with_output().unwrap();
    drop(limit);
    output
}

/// What the program says that ends by itself.
fn announced<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    wait(command().args(arguments).spawn().unwrap())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The one line of a refusal: nothing on stdout, exit code 1.
fn refusal(output: &Output) -> &str {
    assert_eq!(text(&output.stdout), "", "stdout of a refusal: {output:?}");
    assert_eq!(output.status.code(), Some(1), "exit code: {output:?}");
    let line =
        text(&output.stderr).strip_prefix("announced: ").unwrap_or_else(|| panic!("{output:?}"));
    let line = line.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{line:?} is more than one line");
    line
}

fn file(settings: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(settings.as_bytes()).unwrap();
    file
}

/// A tracker that runs; killed when the test is over, however it ends.
struct Running {
    /// Its state directory, unless it is the test's.
    _home: Option<TempDir>,
    _limit: TimeLimit,
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(arguments: &[&str]) -> Running {
        let home = tempfile::tempdir().unwrap();
        let mut command = command();
        command.current_dir(&home).args(["--database", "memory"]).args(arguments);
        let mut running = Running::of(&mut command);
        running._home = Some(home);
        running
    }

    fn of(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (stdout, stderr) = (BufReader::new(stdout), BufReader::new(stderr));
        Running { _home: None, _limit: TimeLimit::of(&child), child, stdout, stderr }
    }

    /// Its next line on stdout; empty when there is no more.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Its next line in the log; there must be one.
    fn log_line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.stderr.read_line(&mut line).unwrap() > 0, "the log has ended");
        line.trim_end().to_owned()
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_is_everywhere() {
    let rows: [(&[&str], &[&str]); 12] = [
        (
            &["--help"],
            &[
                "--config <FILE>",
                "--listen <ADDR>",
                "--workers <N>",
                "--mode <",
                "--database <URL>",
                "check",
                "--version",
            ],
        ),
        (&["-h"], &["--listen <ADDR>"]),
        (&["config", "--help"], &["Print every setting"]),
        (&["check", "--help"], &["Check a settings file", "<FILE>"]),
        (&["help"], &["--listen <ADDR>"]),
        (
            &["torrent", "--help"],
            &[
                "add",
                "ban",
                "unban",
                "remove",
                "list",
                "import",
                "--database <URL>",
                "--config <FILE>",
            ],
        ),
        (
            &["torrent", "add", "--help"],
            &["<TORRENT>...", "--name <TEXT>", "--database <URL>", "base32", "magnet link"],
        ),
        (&["torrent", "ban", "--help"], &["<TORRENT>...", "--reason <TEXT>", "--config <FILE>"]),
        (&["torrent", "unban", "--help"], &["<TORRENT>...", "exit code 1"]),
        (&["torrent", "remove", "--help"], &["<TORRENT>...", "exit code 1"]),
        (&["torrent", "list", "--help"], &["--json", "--database <URL>"]),
        (&["torrent", "import", "--help"], &["<FILE>", "stdin", "# are passed over"]),
    ];
    for (arguments, told) in rows {
        let output = announced(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(told.iter().all(|part| text(&output.stdout).contains(part)), "{output:?}");
    }
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(
        text(&announced(["--version"]).stdout),
        format!("announced {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_misused_command_line_is_exit_code_2() {
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let rows = [
        &["--listne", "127.0.0.1:0"][..],
        &["start"],
        &["check"],
        &["--workers", "1", "config"],
        &["--listen"],
        &["torrent", "ad", hash],
        &["torrent", "add"],
        &["torrent", "ban", "--reason", "spam"],
        &["torrent", "add", "--name", "one name", hash, "two torrents"],
        &["torrent", "add", "--reason", "spam", hash],
        &["torrent", "list", hash],
        &["torrent", "import"],
        &["--database", "sqlite:x.db", "torrent", "list"],
    ];
    for arguments in rows {
        let output = announced(arguments);
        assert_eq!(output.status.code(), Some(2), "exit code: {output:?}");
        assert_eq!(text(&output.stdout), "", "stdout: {output:?}");
        assert!(text(&output.stderr).starts_with("error: "), "{output:?}");
    }
}

#[test]
fn a_command_that_needs_another_shows_which_there_are() {
    let output = announced(["torrent"]);
    assert_eq!(output.status.code(), Some(2), "exit code: {output:?}");
    assert_eq!(text(&output.stdout), "", "stdout: {output:?}");
    assert!(
        text(&output.stderr).contains("Usage: announced torrent [OPTIONS] <COMMAND>"),
        "{output:?}"
    );
}

#[test]
fn the_printed_settings_pass_the_check() {
    let printed = announced(["config"]);
    assert!(
        printed.status.success() && text(&printed.stdout).contains("\nmin_interval = \"15m\"\n"),
        "{printed:?}"
    );
    let mut check = command().args(["check", "/dev/stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(&printed.stdout).unwrap();
    let checked = wait(check);
    assert_eq!(text(&checked.stdout), "/dev/stdin: ok\n", "stdout");
    assert_eq!(text(&checked.stderr), "", "stderr");
    assert_eq!(checked.status.code(), Some(0), "exit code");
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = wait(command().arg("config").stdout(writer).spawn().unwrap());
    assert_eq!(text(&output.stderr), "", "stderr");
    assert_eq!(output.status.code(), Some(0), "exit code");
}

#[test]
fn a_wrong_file_is_refused_by_check_and_start_alike() {
    let rows = [
        (
            "[server]\n\nworkerz = 2\n",
            "line 3: unknown key 'workerz' in [server]; did you mean workers?",
        ),
        (
            "[tracker]\nmin_interval = 15\n",
            "line 2: tracker.min_interval: 15 has no unit; write \"15s\" for seconds",
        ),
        (
            "[tracker]\nmax_interval = \"4h\"\n",
            "line 2: tracker.max_interval = \"4h\": must be from \"1m\" to \"3h\"",
        ),
        (
            "[server]\nlisten = [\"here\"]\n",
            "line 2: server.listen: \"here\" is not an address with a port",
        ),
    ];
    for (settings, problem) in rows {
        let file = file(settings);
        for verb in ["check", "--config"] {
            let output = announced([OsStr::new(verb), file.path().as_os_str()]);
            let expected = format!("{}: {problem}", file.path().display());
            assert!(
                refusal(&output).starts_with(&expected),
                "{:?} is not {expected:?}",
                refusal(&output)
            );
        }
    }
}

#[test]
fn a_doubtful_setting_is_a_line_and_no_failure() {
    let file = file("[tracker]\nmin_interval = \"1m\"\nmax_interval = \"4m\"\n");
    let output = announced([OsStr::new("check"), file.path().as_os_str()]);
    let name = file.path().display().to_string();
    let warning = format!(
        "announced: warning: {name}: line 3: tracker.max_interval = \"4m\": is \
                           below \"5m\""
    );
    assert!(text(&output.stderr).starts_with(&warning), "{output:?} is not {warning:?}");
    assert_eq!(text(&output.stderr).lines().count(), 1, "one line: {output:?}");
    let (told, code) = (text(&output.stdout), output.status.code());
    assert_eq!((told, code), (format!("{name}: ok\n").as_str(), Some(0)), "it is fit");
}

#[test]
fn every_problem_has_a_line() {
    let file = file("[server]\nworkers = 5000\n[tracker]\nnumwant_max = 501\n");
    let output = announced([OsStr::new("check"), file.path().as_os_str()]);
    let name = file.path().display();
    let expected = format!(
        "announced: {name}: line 2: server.workers = 5000: must be from 0 to 1024\nannounced: \
         {name}: line 4: tracker.numwant_max = 501: must be from 1 to 500\n"
    );
    assert_eq!(text(&output.stderr), expected.as_str(), "stderr");
    assert_eq!(output.status.code(), Some(1), "exit code");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for arguments in [["--config", "/nowhere/x.toml"], ["check", "/nowhere/x.toml"]] {
        assert_eq!(
            refusal(&announced(arguments)),
            "/nowhere/x.toml: No such file or directory (os error 2)"
        );
    }
    assert!(
        refusal(&announced([OsStr::new("check"), Path::new("/").as_os_str()])).starts_with("/: ")
    );
}

#[test]
fn a_wrong_value_on_the_command_line_is_one_line() {
    let rows = [
        (
            ["--listen", "127.0.0.1"],
            "--listen: \"127.0.0.1\": not an address with a port; write 192.0.2.1:6969, \
             [2001:db8::1]:6969 or :6969",
        ),
        (
            ["--workers", "many"],
            "--workers: \"many\": must be a whole number from 0 to 1024, for example --workers 4",
        ),
        (["--workers", "5000"], "--workers: server.workers = 5000: must be from 0 to 1024"),
        (["--mode", "shut"], "--mode: \"shut\": the modes are open and registered"),
        (
            ["--mode=registered", "--database=memory"],
            "--mode: tracker.mode = \"registered\": needs a database that lists torrents; \
             database.url is \"memory\"",
        ),
        (
            ["--database", "db"],
            "--database: database.url = \"db\": must be sqlite:PATH, \
             mysql://USER:PASSWORD@HOST:PORT/NAME or memory",
        ),
    ];
    for (arguments, line) in rows {
        assert_eq!(refusal(&announced(arguments)), line);
    }
}

#[test]
fn a_text_that_is_too_long_is_refused_by_its_flag() {
    let long = "x".repeat(256);
    for arguments in [["torrent", "add", "--name", &long], ["torrent", "ban", "--reason", &long]] {
        let line = announced(arguments.iter().chain(&["0123456789abcdef0123456789abcdef01234567"]));
        let expected = format!("{}: {long:?}: has 256 characters; 255 is the most", arguments[2]);
        assert_eq!(refusal(&line), expected);
    }
}

#[test]
fn the_torrent_command_needs_a_database_that_lasts() {
    let memory = "database.url = \"memory\": keeps no list of torrents; name a database, for \
                  example --database sqlite:announced.db";
    let file = file("[database]\nurl = \"memory\"\n");
    let config = file.path().to_str().unwrap();
    for place in [["--database", "memory"], ["--config", config]] {
        for verb in [
            &["list"][..],
            &["add", "0123456789abcdef0123456789abcdef01234567"],
            &["import", "/nowhere"],
        ] {
            assert_eq!(refusal(&announced(["torrent"].iter().chain(verb).chain(&place))), memory);
            assert_eq!(refusal(&announced(["torrent"].iter().chain(&place).chain(verb))), memory);
        }
    }
    let variable =
        command().args(["torrent", "list"]).env("ANNOUNCED_DATABASE", "memory").spawn().unwrap();
    let variable = wait(variable);
    assert_eq!(refusal(&variable), memory);
    assert_eq!(
        refusal(&announced(["torrent", "list", "--config", "/nowhere/x.toml"])),
        "/nowhere/x.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn no_message_shows_a_password() {
    let file = file(&format!("[database]\nurl = \"{DATABASE}\"\n"));
    let misplaced = self::file(&format!("[server]\nlisten = [\"{DATABASE}\"]\n"));
    let [file, misplaced] = [&file, &misplaced].map(|file| file.path().to_str().unwrap());
    let rows = [
        vec!["--database", DATABASE],
        vec!["--listen", DATABASE],
        vec!["--mode", DATABASE],
        vec!["--workers", DATABASE],
        vec!["--databse", DATABASE],
        vec!["--databse=mysqli://root:hunter2@db/tracker"],
        vec![DATABASE],
        vec!["config", DATABASE],
        vec!["torrent", "list", DATABASE],
        vec!["torrent", "add", DATABASE],
        vec!["torrent", "add", "--databse", DATABASE, DATABASE],
        vec!["torrent", "import", DATABASE, "--database", "sqlite:/nowhere/x.db"],
        vec!["torrent", "list", "--database", "mysql://root:hunter2@127.0.0.1:1/tracker"],
        vec!["--config", file],
        vec!["check", file],
        vec!["check", misplaced],
    ];
    for arguments in rows {
        let output = announced(&arguments);
        assert!(!output.status.success() && !output.stderr.is_empty(), "{arguments:?}: {output:?}");
        assert!(
            !text(&output.stdout).contains(PASSWORD) && !text(&output.stderr).contains(PASSWORD),
            "{arguments:?}: {output:?}"
        );
    }
}

#[test]
fn the_environment_names_a_database_and_the_command_line_overrules_it() {
    let output = wait(command().env("ANNOUNCED_DATABASE", DATABASE).spawn().unwrap());
    let line = "ANNOUNCED_DATABASE: database.url = \"mysqli://root:***@db/tracker\": must be \
                sqlite:PATH, mysql://USER:PASSWORD@HOST:PORT/NAME or memory";
    assert_eq!(refusal(&output), line);
    let both = command()
        .env("ANNOUNCED_DATABASE", DATABASE)
        .args(["--database", "other"])
        .spawn()
        .unwrap();
    let output = wait(both);
    assert!(refusal(&output).starts_with("--database: database.url = \"other\": "));
}

#[test]
fn it_says_where_it_listens_and_stops_when_told() {
    let mut running =
        Running::start(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--workers", "2"]);
    assert_eq!(
        running.line(),
        format!(
            "announced {}: open tracker, 2 workers, database memory",
            env!("CARGO_PKG_VERSION")
        )
    );
    let addresses = [running.line(), running.line()]
        .map(|line| line.strip_prefix("listening on ").unwrap().to_owned());
    for address in &addresses {
        assert_eq!(running.line(), format!("listening on {address} for UDP"));
    }
    for scheme in ["http", "udp"] {
        for address in &addresses {
            assert_eq!(running.line(), format!("announce URL {scheme}://{address}/announce"));
        }
    }
    assert!(running.line().starts_with("status page http://127.0.0.1:"));
    for address in &addresses {
        TcpStream::connect(address.parse::<SocketAddr>().unwrap()).unwrap();
    }
    running.signal("TERM");
    assert_eq!(running.line(), "");
    let (status, log) = running.end();
    assert!(status.success() && log.contains("stopping on SIGTERM"), "{status}: {log}");
}

#[test]
fn a_hangup_is_noted_and_the_counters_are_logged_on_request() {
    let mut running = Running::start(&["--listen", "127.0.0.1:0", "--workers", "1"]);
    assert!(running.line().contains(" 1 worker, "));
    running.signal("HUP");
    while !running.log_line().contains("SIGHUP") {}
    running.signal("USR1");
    assert!(running.log_line().contains("INFO"));
    running.signal("INT");
    let (status, log) = running.end();
    assert!(status.success() && log.contains("stopping on SIGINT"), "{status}: {log}");
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = announced(["--listen", &address]);
    assert!(refusal(&line).contains(&address), "{line:?}");
}

#[test]
fn two_trackers_do_not_share_a_state_directory() {
    let home = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = command();
        command.current_dir(&home).args(["--listen", "127.0.0.1:0", "--workers", "1"]);
        command
    };
    let mut first = Running::of(&mut start());
    assert!(first.line().contains("sqlite:announced.db"));
    let directory = home.path().canonicalize().unwrap();
    let expected =
        format!("another tracker uses server.state_directory {directory:?}; give each its own");
    assert_eq!(refusal(&wait(start().spawn().unwrap())), expected);
    let without_a_list = wait(start().args(["--database", "memory"]).spawn().unwrap());
    assert_eq!(refusal(&without_a_list), expected, "whatever the database");
    first.signal("KILL");
    first.end();
    assert!(
        Running::of(&mut start()).line().contains("sqlite:announced.db"),
        "the lock ends with its holder"
    );
}
