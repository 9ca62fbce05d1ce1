//! An operator's first mistakes, each made on the built binary: every one is one line that says
//! where it is, what is wrong and what to write instead, and exit code 1.

#![allow(clippy::expect_used, clippy::panic, reason = "a failing test says so by a panic")]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use support::PATIENCE;
use support::process::{Running, command};

const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

/// A place to make mistakes in.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().expect("a temporary directory"))
    }

    fn run(&self, variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), self.0.path());
        command.args(arguments).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be run");
        // It may have ended without reading.
        let _ = child.stdin.take().expect("stdin is piped").write_all(input.as_bytes());
        child.wait_with_output().expect("the program ends")
    }

    /// What the check of these settings says on stderr, and its exit code.
    fn check(&self, settings: &str) -> (String, Option<i32>) {
        fs::write(self.0.path().join("x.toml"), settings).expect("a file can be written");
        let output = self.run(&[], &["check", "x.toml"], "");
        (text(&output.stderr), output.status.code())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Settings, and what is said of them.
const FIRST_MISTAKES: &[(&str, &str)] = &[
    (
        "[tracker]\nmax_interval = 30",
        "line 2: tracker.max_interval: 30 has no unit; write \"30s\" for seconds or \"30m\" \
             for minutes",
    ),
    (
        "[tracker]\nmax_interval = \"30\"",
        "line 2: tracker.max_interval: 30 has no unit; write \"30s\" for seconds or \"30m\" \
             for minutes",
    ),
    (
        "[tracker]\nmax_interval = \"soon\"",
        "line 2: tracker.max_interval: \"soon\" is no duration; write it as \"30s\", \"15m\" \
             or \"1h 30m\"",
    ),
    ("[tracker]\nmax_interval = 30m", "line 2: a text stands in quotes: max_interval = \"30m\""),
    ("[server]\nworker = 2", "line 2: unknown key 'worker' in [server]; did you mean workers?"),
    (
        "workers = 3",
        "line 1: 'workers' stands outside its section: write server.workers = 3, or put it \
             below a line [server]",
    ),
    (
        "[server]\nmode = \"open\"",
        "line 2: unknown key 'mode' in [server]; it belongs into [tracker]",
    ),
    ("[trackers]", "line 1: unknown section [trackers]; did you mean [tracker]?"),
    ("server = 3", "line 1: 'server' is a section: write a line [server], and its keys below it"),
    (
        "[tracker]\nmode = \"closed\"",
        "line 2: tracker.mode: \"closed\" is not known; write \"open\" or \"registered\"",
    ),
    (
        "[server]\nlog_level = \"trace\"",
        "line 2: server.log_level: \"trace\" is not known; write \"error\", \"warn\", \
             \"info\" or \"debug\"",
    ),
    (
        "[server]\nworkers = 1\nbacklog = 7\nworkers = 2",
        "line 4: 'workers' is there twice, first in line 2; leave one of them out",
    ),
    (
        "[server]\nlisten = \":99999\"",
        "line 2: server.listen: \":99999\" is not an address with a port: ports end at \
             65535; write :6969",
    ),
    (
        "[database]\nurl = \"mysql://u:hunter2@db:99999/x\"",
        "line 2: database.url = \"mysql://u:***@db:99999/x\": has the port 99999, but ports \
             end at 65535; MySQL's is 3306",
    ),
    (
        "[database]\nurl = \"mysql://db/x\"",
        "line 2: database.url = \"mysql://db/x\": names no user: \
             mysql://USER:PASSWORD@HOST/NAME, or mysql://USER@HOST/NAME without a password",
    ),
    (
        "[database]\nurl = \"mysql://u:hunter2@db\"",
        "line 2: database.url = \"mysql://u:***@db\": names no database: it ends with /NAME, \
             as in mysql://USER:PASSWORD@HOST/NAME",
    ),
    (
        "[database]\nurl = mysql://u:hunter2@db/x",
        "line 2: a text stands in quotes: url = \"mysql://u:***@db/x\"",
    ),
    (
        "[server]\nstate_directory = \"/no/state\"",
        "line 2: server.state_directory = \"/no/state\": there is no such directory; make \
             it: mkdir -p /no/state",
    ),
    (
        "[database]\nurl = \"sqlite:/no/db/x.db\"",
        "line 2: database.url = \"sqlite:/no/db/x.db\": the file's directory: there is no \
             such directory; make it: mkdir -p /no/db",
    ),
];

#[test]
fn a_first_mistake_in_the_settings_is_one_line_that_cures_it() {
    let desk = Desk::new();
    for (settings, line) in FIRST_MISTAKES {
        let (told, code) = desk.check(settings);
        assert_eq!(told, format!("announced: x.toml: {line}\n"), "{settings:?}");
        assert_eq!(code, Some(1), "exit code for {settings:?}");
        let started = desk.run(&[], &["-c", "x.toml", "--listen", "127.0.0.1:0"], "");
        assert_eq!(started.status.code(), Some(1), "exit code of the start with {settings:?}");
        assert_eq!(text(&started.stderr), told, "the start with {settings:?}");
    }
}

#[test]
fn what_can_only_be_meant_in_one_way_is_taken() {
    let desk = Desk::new();
    for settings in [
        "[server]\nlisten = \":6969\"",
        "[server]\nlisten = 6969",
        "server.listen = \"127.0.0.1:6969\"",
        "[server]\nlisten = { address = \":6969\" }",
        "[udp]\nlisten = \":6969\"",
        "[server]\ntrusted_proxies = \"127.0.0.1\"",
        "[tracker]\nfull_scrape = \"10.0.0.0/8\"",
        "[tracker]\nip_parameter = \"10.0.0.0/8\"",
        "[tracker]\npublic_address = \"198.51.100.7\"",
        "[database]\nurl = \"mariadb://u:p@localhost/x\"",
    ] {
        assert_eq!(desk.check(settings), (String::new(), Some(0)), "{settings:?}");
    }
}

#[test]
fn several_mistakes_are_told_at_once() {
    let settings = "workers = 3\n[server]\nworker = 2\nbacklog = \"x\"\nbacklog = 7\n[tracker]\n\
                    mode = \"closed\"\nmax_interval = 5\nmin_interval = \"50m\"\n\
                    numwant_max = 501\n";
    let (told, code) = Desk::new().check(settings);
    let lines: Vec<&str> = told.lines().collect();
    let expected = [
        "line 1: 'workers' stands outside its section",
        "line 3: unknown key 'worker' in [server]",
        "line 4: server.backlog: ",
        "line 5: 'backlog' is there twice, first in line 4",
        "line 7: tracker.mode: \"closed\" is not known",
        "line 8: tracker.max_interval: 5 has no unit",
        "line 10: tracker.numwant_max = 501: must be from 1 to 500",
    ];
    assert_eq!(lines.len(), expected.len(), "{told}");
    for (line, expected) in lines.iter().zip(expected) {
        let expected = format!("announced: x.toml: {expected}");
        assert!(line.starts_with(&expected), "{line:?} is not {expected:?}");
    }
    assert_eq!(code, Some(1), "exit code");
}

#[test]
fn the_command_line_and_the_environment_are_told_in_the_same_way() {
    let desk = Desk::new();
    let one = |name, value| vec![(name, value)];
    let rows = [
        (
            vec![],
            vec!["--workers", "-1"],
            "--workers: \"-1\": must be a whole number from 0 to 1024, for example --workers 4",
        ),
        (
            one("ANNOUNCED_SERVER__LISTN", ":80"),
            vec![],
            "ANNOUNCED_SERVER__LISTN: unknown setting server.listn; did you mean \
             ANNOUNCED_SERVER__LISTEN?",
        ),
        (
            one("ANNOUNCED_TRACKER__MAX_INTERVAL", "30"),
            vec![],
            "ANNOUNCED_TRACKER__MAX_INTERVAL: tracker.max_interval: 30 has no unit; write \
             \"30s\" for seconds or \"30m\" for minutes",
        ),
        (
            one("ANNOUNCED_SERVER__WORKERS", "5000"),
            vec![],
            "ANNOUNCED_SERVER__WORKERS: server.workers = 5000: must be from 0 to 1024",
        ),
        (
            vec![("ANNOUNCED_DATABASE", "memory"), ("ANNOUNCED_DATABASE__URL", "sqlite:x.db")],
            vec![],
            "ANNOUNCED_DATABASE and ANNOUNCED_DATABASE__URL are the same setting; leave one of \
             them out",
        ),
        (
            one("ANNOUNCED_DATABASE__URL", "mysql://u:hunter2@db:1/x"),
            vec!["--database", "mysql://u:hunter2@db"],
            "--database: database.url = \"mysql://u:***@db\": names no database: it ends with \
             /NAME, as in mysql://USER:PASSWORD@HOST/NAME",
        ),
    ];
    for (variables, arguments, line) in rows {
        let output = desk.run(&variables, &arguments, "");
        let told = text(&output.stderr);
        assert_eq!(told, format!("announced: {line}\n"), "{variables:?} {arguments:?}");
        assert_eq!(output.status.code(), Some(1), "exit code of {variables:?} {arguments:?}");
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let desk = Desk::new();
    let settings =
        "[server]\nworkers = 5001\n[tracker]\nnumwant_max = 501\n[udp]\nreceive_buffer = 1";
    fs::write(desk.0.path().join("x.toml"), settings).expect("a file can be written");
    let variables =
        [("ANNOUNCED_SERVER__WORKERS", "5002"), ("ANNOUNCED_TRACKER__NUMWANT_MAX", "502")];
    let output = desk.run(&variables, &["-c", "x.toml", "--workers", "5003"], "");
    let expected = "announced: --workers: server.workers = 5003: must be from 0 to 1024\n\
                    announced: x.toml: line 6: udp.receive_buffer = 1: must be from 4096 to \
                    1073741824\n\
                    announced: ANNOUNCED_TRACKER__NUMWANT_MAX: tracker.numwant_max = 502: must be \
                    from 1 to 500\n";
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn a_check_reads_stdin_and_asks_the_database() {
    let desk = Desk::new();
    let settings = "[tracker]\nmodes = 1";
    let output = desk.run(&[], &["check", "-"], settings);
    let line = "announced: stdin: line 2: unknown key 'modes' in [tracker]; did you mean mode?\n";
    assert_eq!(text(&output.stderr), line);
    let nobody = "[database]\nurl = \"mysql://u:hunter2@127.0.0.1:1/x\"";
    let output = desk.run(&[], &["check", "-"], nobody);
    assert_eq!(text(&output.stdout), "stdin: ok\n", "nobody is asked without --connect");
    let output = desk.run(&[], &["check", "--connect", "-"], nobody);
    let told = text(&output.stderr);
    assert!(told.starts_with("announced: ") && told.contains("127.0.0.1:1"), "{told}");
    assert_eq!((told.lines().count(), output.status.code()), (1, Some(1)), "{told}");
    let output = desk.run(&[], &["check", "--connect", "-"], "");
    assert_eq!(text(&output.stdout), "stdin: ok\n", "an SQLite file is made at the start");
    assert!(!desk.0.path().join("announced.db").exists(), "a check makes nothing");
    fs::write(desk.0.path().join("announced.db"), "no database").expect("a file can be written");
    let output = desk.run(&[], &["check", "--connect", "-"], "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

#[test]
fn the_schema_is_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for kind in ["mysql", "sqlite", "from-php-tracker"] {
        let file = fs::read_to_string(root.join(format!("schema/{kind}.sql"))).expect("a file");
        assert_eq!(text(&Desk::new().run(&[], &["schema", kind], "").stdout), file, "{kind}");
    }
}

#[test]
fn a_database_that_is_made_in_the_wrong_directory_is_named() {
    let desk = Desk::new();
    let made = desk.0.path().canonicalize().expect("it is there").join("announced.db");
    let output = desk.run(&[], &["torrent", "add", HASH], "");
    let expected = format!("announced: there was no database: made {}\n", made.display());
    assert_eq!(text(&output.stderr), expected);
    assert_eq!(text(&output.stdout), format!("added {HASH}\n"));
    assert_eq!(output.status.code(), Some(0), "exit code");
    let output = desk.run(&[], &["torrent", "add", HASH], "");
    assert_eq!(text(&output.stderr), "", "it is there now");
}

#[test]
fn a_limit_of_descriptors_is_told_when_a_setting_is_not_met_or_nothing_works() {
    let desk = Desk::new();
    let run = |maximum: u64, settings: &str| {
        let limits = format!("ulimit -n {maximum} && exec \"$0\" \"$@\"");
        fs::write(desk.0.path().join("x.toml"), settings).expect("a file can be written");
        let mut shell = command(Path::new("/bin/sh"), desk.0.path());
        shell.args(["-c", &limits, env!("CARGO_BIN_EXE_announced"), "-c", "x.toml"]);
        shell.args(["--workers", "1", "--listen", "127.0.0.1:0", "--database", "memory"]);
        Running::start(shell)
    };
    let mut tracker = run(40, "");
    let status = tracker.wait_exit(PATIENCE);
    let told = tracker.transcript();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("not enough for one connection a worker; raise the limit"), "{told}");
    for (settings, is_told) in [("", false), ("[server]\nconnections_max = 1000", true)] {
        let tracker = run(200, settings);
        tracker.wait_log("that it listens", |line| line.contains("listening on").then_some(()));
        let told = tracker.transcript();
        assert_eq!(told.contains("server.connections_max: 200 file"), is_told, "{told}");
    }
}
