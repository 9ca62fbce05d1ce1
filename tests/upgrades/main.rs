//! The built tracker, replaced while clients announce: by upgrades, which hand the sockets over,
//! and by restarts under a service manager that holds them. Nobody is refused, reset or left
//! without an answer, and what was counted is exact.
//!
//! `ANNOUNCED_SIEGE_ROUNDS` says how often it is replaced under the crowd; `tests/siege.sh
//! restarts` has it so ten times.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing helper fails its test, with a text"
)]

mod crowd;
mod line;
#[path = "../support/mariadb.rs"]
mod mariadb;
#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crowd::{Crowd, TORRENTS, Tally, hash};
use line::{Line, activated, built, loopback, set};
use mariadb::Mariadb;
use support::http::{Connection, get, percent_encoded};
use support::process::{command, program};
use support::{PATIENCE, wait_equal};

const DATABASE: &str = "sqlite:torrents.db";
const SETTINGS: &str = "[database]\nflush_interval = \"200ms\"\n";
/// How often the tracker is replaced under the crowd, unless the environment says so.
const ROUNDS: usize = 2;
/// How long the crowd announces to each process.
const UNDISTURBED: Duration = Duration::from_millis(700);

fn rounds() -> usize {
    let rounds = env::var("ANNOUNCED_SIEGE_ROUNDS").ok();
    rounds.map_or(ROUNDS, |rounds| rounds.parse().expect("a number in ANNOUNCED_SIEGE_ROUNDS"))
}

/// A folder with a settings file, and a database in which the crowd's torrents are listed.
fn home() -> TempDir {
    let home = tempfile::tempdir().expect("a temporary directory");
    set(home.path(), SETTINGS);
    let hashes: Vec<String> = (0..TORRENTS).map(|torrent| hex(&hash(torrent))).collect();
    let output = command(built(), home.path())
        .args(["torrent", "add", "--database", DATABASE])
        .args(hashes)
        .output()
        .expect("the program can be run");
    assert!(output.status.success(), "torrents can be listed: {output:?}");
    home
}

fn hex(hash: &[u8; 20]) -> String {
    percent_encoded(hash).replace('%', "").to_lowercase()
}

/// The built program, in a home.
fn tracker(home: &Path) -> Command {
    let mut command = command(built(), home);
    command.args(["--database", DATABASE]);
    command
}

/// Downloads of each of the crowd's torrents, as the database has them.
fn downloads_written(home: &Path) -> Vec<u64> {
    let output = command(built(), home)
        .args(["torrent", "list", "--json", "--database", DATABASE])
        .output()
        .expect("the program can be run");
    let list: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list of torrents");
    let of = |torrent: usize| {
        let hash = hex(&hash(torrent));
        let row = list.iter().find(|row| row["info_hash"] == hash.as_str());
        row.and_then(|row| row["downloaded"].as_u64()).expect("each is listed")
    };
    (0..TORRENTS).map(of).collect()
}

/// Seeders, downloads and leechers of a torrent, as a scrape has them.
fn scrape(tracker: SocketAddr, hash: &[u8; 20]) -> [i64; 3] {
    let target = format!("/scrape?info_hash={}", percent_encoded(hash));
    let body = get(tracker, &target).body;
    let text = String::from_utf8_lossy(&body).into_owned();
    ["8:completei", "10:downloadedi", "10:incompletei"].map(|key| {
        let number = text.split_once(key).and_then(|(_, rest)| rest.split('e').next());
        number
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no {key} in {text}"))
    })
}

/// What the crowd has done is what the tracker counts.
#[track_caller]
fn assert_counted(tracker: SocketAddr, tally: &Tally) {
    for torrent in 0..TORRENTS {
        let downloads = i64::try_from(tally.downloads[torrent]).expect("a small number");
        let expected = [downloads, downloads, 0];
        let found = scrape(tracker, &hash(torrent));
        assert_eq!(found, expected, "seeders, downloads and leechers of torrent {torrent}");
    }
}

#[test]
fn upgrades_under_a_crowd_lose_no_request_and_no_count() {
    let home = home();
    let mut line = Line::start(tracker(home.path()), home.path());
    let crowd = Crowd::start(line.address);
    for round in 0..rounds() {
        thread::sleep(UNDISTURBED);
        // More sockets than workers, and more workers than sockets.
        set(home.path(), &format!("[server]\nworkers = {}\n{SETTINGS}", [3, 1, 2][round % 3]));
        line.upgrade();
    }
    thread::sleep(UNDISTURBED);
    let tally = crowd.stop();
    tally.assert_nothing_lost("upgrades");
    assert_counted(line.address, &tally);
    line.stop();
    assert_eq!(downloads_written(home.path()), tally.downloads, "downloads in the database");
}

/// A listening TCP socket and a UDP socket on one port, of which there may be more.
fn sockets_at(port: u16) -> (OwnedFd, OwnedFd, u16) {
    let socket = |kind| {
        let socket = Socket::new(Domain::IPV4, kind, None).expect("a socket");
        socket.set_reuse_port(true).expect("Linux has it");
        socket
    };
    let (tcp, udp) = (socket(Type::STREAM), socket(Type::DGRAM));
    tcp.bind(&loopback(port).into()).expect("a port of ours");
    tcp.listen(1_024).expect("a bound socket");
    let port = TcpListener::from(tcp.try_clone().expect("a descriptor")).local_addr();
    let port = port.expect("a bound socket").port();
    udp.bind(&loopback(port).into()).expect("a port of ours");
    (tcp.into(), udp.into(), port)
}

/// What a service manager holds: `pairs` sockets of each kind on one port.
struct Held {
    sockets: Vec<OwnedFd>,
    names: String,
    address: SocketAddr,
}

impl Held {
    fn new(pairs: usize) -> Held {
        let (tcp, udp, port) = sockets_at(0);
        let mut held =
            Held { sockets: vec![tcp, udp], names: "http:udp".into(), address: loopback(port) };
        for _ in 1..pairs {
            let (tcp, udp, _) = sockets_at(port);
            held.sockets.extend([tcp, udp]);
            // As systemd names what the unit does not.
            held.names += ":announced.socket:announced.socket";
        }
        held
    }

    fn start(&self, home: &Path) -> Line {
        let sockets = self.sockets.iter().map(|socket| socket.try_clone().expect("a descriptor"));
        let mut command = activated(home, sockets.collect(), &self.names);
        command.args(["--database", DATABASE]);
        Line::start(command, home)
    }
}

#[test]
fn restarts_with_inherited_sockets_under_a_crowd_lose_no_request_and_no_count() {
    // Fewer sockets than workers, then more.
    for (pairs, workers) in [(1, 2), (3, 2)] {
        let home = home();
        set(home.path(), &format!("[server]\nworkers = {workers}\n{SETTINGS}"));
        let held = Held::new(pairs);
        let mut line = held.start(home.path());
        assert_eq!(line.address, held.address, "it listens where the sockets are");
        let crowd = Crowd::start(held.address);
        for _ in 0..rounds() {
            thread::sleep(UNDISTURBED);
            line.stop();
            line = held.start(home.path());
        }
        // Inherited sockets go over in an upgrade as well.
        line.upgrade();
        thread::sleep(UNDISTURBED);
        let tally = crowd.stop();
        tally.assert_nothing_lost(&format!("restarts with {pairs} sockets for {workers} workers"));
        assert_counted(held.address, &tally);
        line.stop();
        assert_eq!(downloads_written(home.path()), tally.downloads, "downloads in the database");
    }
}

#[test]
fn a_new_program_that_fails_leaves_the_old_one_serving() {
    let home = home();
    let program = home.path().join("announced");
    let put = |bytes: &[u8]| {
        // A program that runs cannot be written to, but another can take its name.
        let newer = home.path().join("newer");
        fs::write(&newer, bytes).expect("a temporary directory can be written to");
        fs::set_permissions(&newer, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::rename(newer, &program).expect("a temporary directory can be written to");
    };
    let good = fs::read(built()).expect("the built program");
    put(&good);
    let mut command = command(&program, home.path());
    command.args(["--database", DATABASE]);
    let mut line = Line::start(command, home.path());
    let pid = line.pid;
    let rows: [(&str, &[u8], &str); 4] = [
        ("no program", b"rubbish", "exit status: 127"),
        ("one that fails", b"#!/bin/sh\necho these words >&2\nexit 3\n", "exit status: 3"),
        ("one that says something else", b"#!/bin/sh\necho no >&3; sleep 60\n", "does not speak"),
        ("one that never is ready", b"#!/bin/sh\nexec sleep 60\n", "not ready within 10 s"),
    ];
    for (count, (what, bytes, why)) in (1..).zip(rows) {
        put(bytes);
        line.signal(Signal::USR2);
        line.wait_log("this process goes on", count);
        line.wait_log(why, 1);
        assert_eq!(get(line.address, "/").status(), 200, "after {what}");
    }
    line.wait_log("these words", 1);
    put(&good);
    set(home.path(), "[server]\nworkers = 5000\n");
    line.signal(Signal::USR2);
    line.wait_log("this process goes on", rows.len() + 1);
    line.wait_log("server.workers = 5000: must be from", 1);
    assert_eq!(get(line.address, "/").status(), 200, "after wrong settings");
    assert_eq!(line.pid, pid, "the process is the first one");
    set(home.path(), SETTINGS);
    line.upgrade();
    assert_eq!(get(line.address, "/").status(), 200, "after a good program");
    line.stop();
}

#[test]
fn an_upgrade_tells_the_service_manager_and_passes_on_what_is_for_the_service() {
    let home = home();
    let path = home.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a temporary directory");
    manager.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let mut command = tracker(home.path());
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "30000000");
    command.env("WATCHDOG_PID", "1").env("LISTEN_PID", "1").env("LISTEN_FDS", "7");
    let mut line = Line::start(command, home.path());
    line.upgrade();
    let expected = format!("MAINPID={}", line.pid.as_raw_nonzero());
    let mut bytes = [0; 512];
    loop {
        let count = manager.recv(&mut bytes).expect("the service manager is told");
        let told = String::from_utf8_lossy(&bytes[..count]).into_owned();
        if told.contains("MAINPID") {
            assert_eq!(told.trim(), expected, "the main process");
            break;
        }
    }
    let environment = fs::read(format!("/proc/{}/environ", line.pid.as_raw_nonzero()));
    let environment = environment.expect("the successor runs");
    let has = |name: &str| {
        environment
            .split(|byte| *byte == 0)
            .any(|word| word.starts_with(format!("{name}=").as_bytes()))
    };
    for (name, expected) in [
        ("NOTIFY_SOCKET", true),
        ("WATCHDOG_USEC", true),
        ("WATCHDOG_PID", false),
        ("LISTEN_PID", false),
        ("LISTEN_FDS", false),
    ] {
        assert_eq!(has(name), expected, "{name} in the successor's environment");
    }
    line.stop();
}

#[test]
fn a_kept_connection_gets_one_more_answer_from_a_tracker_that_stops() {
    let home = home();
    set(home.path(), "[server]\ndrain = \"20s\"\n");
    let line = Line::start(tracker(home.path()), home.path());
    let mut kept = Connection::open(line.address);
    assert_eq!(kept.get("/").header("Connection"), None, "before the end");
    line.signal(Signal::TERM);
    line.wait_log("stopping on SIGTERM", 1);
    // The signal is on its way to the workers: every answer from then on is the last.
    let mut answers = 0;
    loop {
        let reply = kept.get("/");
        assert_eq!(reply.status(), 200, "an answer while it stops");
        answers += 1;
        if reply.header("Connection") == Some("close") {
            break;
        }
    }
    assert!(kept.rest().is_empty(), "the end, after {answers} answers");
    // It has not waited for the 20 s: nobody else has a connection.
    line.stop();
}

/// What an announce of a download that begins, or is complete, is answered with.
#[track_caller]
fn announce(tracker: SocketAddr, port: u16, rest: &str) {
    let target = format!(
        "/announce?info_hash={}&peer_id=-XX0001-abcdefghijkl&port={port}&uploaded=0&downloaded=0&\
         {rest}",
        percent_encoded(&hash(0))
    );
    let body = get(tracker, &target).body;
    assert!(body.starts_with(b"d8:complete"), "{port}, {rest}: {}", body.escape_ascii());
}

#[test]
fn an_upgrade_during_an_outage_of_mariadb_loses_no_count_and_without_its_tables_there_is_none() {
    let mut server = Mariadb::start();
    server.client("CREATE DATABASE site");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/mysql.sql");
    server.client_in("site", &fs::read_to_string(schema).expect("schema/mysql.sql"));
    server.client_in(
        "site",
        &format!("INSERT INTO torrents (infohash, name) VALUES (X'{}', '')", hex(&hash(0))),
    );
    let home = tempfile::tempdir().expect("a temporary directory");
    set(home.path(), SETTINGS);
    let mut command = command(built(), home.path());
    command.env("ANNOUNCED_DATABASE", server.url("site"));
    let mut line = Line::start(command, home.path());
    server.client_in("site", "RENAME TABLE torrents TO elsewhere");
    line.signal(Signal::USR2);
    line.wait_log("this process goes on", 1);
    line.wait_log("cannot use the database", 1);
    server.client_in("site", "RENAME TABLE elsewhere TO torrents");
    let mut port = 1_024;
    let mut complete = |tracker: SocketAddr| {
        for _ in 0..10 {
            port += 1;
            announce(tracker, port, "left=1&event=started");
            announce(tracker, port, "left=0&event=completed");
        }
    };
    complete(line.address);
    server.kill();
    complete(line.address);
    line.upgrade();
    complete(line.address);
    line.upgrade();
    let away = scrape(line.address, &hash(0));
    assert_eq!(away, [30, 30, 0], "seeders, downloads and leechers while the database is away");
    server.restart();
    let written = || {
        let sql = "SELECT downloaded FROM torrents";
        server.client_in("site", sql).split_whitespace().last().map(str::to_owned)
    };
    wait_equal(PATIENCE, &Some("30".to_owned()), written);
    assert_eq!(scrape(line.address, &hash(0)), [30, 30, 0], "seeders, downloads and leechers");
    line.stop();
    assert_eq!(written().as_deref(), Some("30"), "downloads after the end");
}

/// Loopback's UDP is as reliable as the kernel's queue is long.
#[test]
fn datagrams_that_come_while_nobody_serves_are_answered() {
    let home = home();
    let held = Held::new(1);
    let line = held.start(home.path());
    line.stop();
    let client = UdpSocket::bind(loopback(0)).expect("a free port");
    client.connect(held.address).expect("loopback");
    client.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let connect = [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 8]].concat();
    client.send(&connect).expect("the socket is open");
    let mut waiting = Connection::open(held.address);
    waiting.send(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    let line = held.start(home.path());
    let mut answer = [0; 64];
    assert_eq!(client.recv(&mut answer).expect("an answer"), 16, "an answer to a connect");
    assert_eq!(waiting.reply().status(), 200, "an answer to a request");
    line.stop();
}

#[test]
fn process_1_is_not_succeeded() {
    let home = home();
    let unshare = program("unshare", "util-linux");
    let mut command = command(&unshare, home.path());
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]).arg(built());
    command.args(["--database", DATABASE]);
    let mut line = Line::start(command, home.path());
    let outside = line.pid.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{outside}/task/{outside}/children"));
    let child = children.expect("unshare runs").trim().parse().expect("it has one child");
    line.pid = Pid::from_raw(child).expect("not 0");
    line.signal(Signal::USR2);
    line.wait_log("this process goes on: it is a container's process 1", 1);
    assert_eq!(get(line.address, "/").status(), 200, "it serves");
    line.signal(Signal::TERM);
    line.wait_log("stopping on SIGTERM", 1);
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind(loopback(0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

#[test]
fn an_upgrade_takes_up_other_addresses() {
    let home = home();
    let [first, second] = [free_port(), free_port()];
    let listen = |ports: &[u16]| {
        let addresses: Vec<String> = ports.iter().map(|port| loopback(*port).to_string()).collect();
        set(home.path(), &format!("[server]\nlisten = {addresses:?}\n{SETTINGS}"));
    };
    listen(&[first]);
    let mut line = Line::start_by_settings(tracker(home.path()), home.path());
    listen(&[first, second]);
    line.upgrade();
    for port in [first, second] {
        assert_eq!(get(loopback(port), "/").status(), 200, "an address that is listed");
    }
    let taken = TcpListener::bind(loopback(0)).expect("a free port");
    listen(&[second, taken.local_addr().expect("it is bound").port()]);
    line.signal(Signal::USR2);
    line.wait_log("another program has port", 1);
    line.wait_log("this process goes on", 1);
    listen(&[second]);
    line.upgrade();
    assert_eq!(get(loopback(second), "/").status(), 200, "the address that is left");
    line.wait_log(&format!("{} is no longer listened on", loopback(first)), 2);
    let refused = TcpStream::connect(loopback(first)).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused), "an address that was listed");
    line.stop();
}
