//! The status pages of the built binary: figures that move, health, and who is refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy takes the helpers of an integration test for production code"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use support::http::get;
use support::process::{Running, command};
use support::tracker::Tracker;
use support::{PATIENCE, wait_until};

/// An announce of a seeder, but for its port.
const SEEDER: &str = "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-XX0001-abcdefghijkl\
                      &uploaded=0&downloaded=0&left=0";
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Where a tracker's pages are.
fn pages(tracker: &Tracker) -> SocketAddr {
    tracker.wait_line("its status page", |line| {
        line.strip_prefix("status page http://")?.trim_end_matches('/').parse().ok()
    })
}

/// Status line, then body.
fn ask(pages: SocketAddr, path: &str, host: &str) -> (String, String) {
    let mut stream = TcpStream::connect(pages).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn stats(pages: SocketAddr) -> Value {
    serde_json::from_str(&ask(pages, "/stats.json", "localhost").1).unwrap()
}

fn health(pages: SocketAddr) -> Command {
    let mut health = command(Path::new(env!("CARGO_BIN_EXE_announced")), Path::new("/"));
    health.arg("health").arg(pages.to_string());
    health
}

#[test]
fn the_figures_move_with_announces_and_metrics_count_them() {
    let tracker = Tracker::start(LOOPBACK.into(), "");
    let pages = pages(&tracker);
    assert_eq!(stats(pages)["peers"], 0, "before anybody has announced");
    for port in 1..=3 {
        get(tracker.address, &format!("{SEEDER}&port={}", 6880 + port)).dict();
    }
    wait_until(PATIENCE, "three announces are counted", || {
        let stats = stats(pages);
        stats["counters"]["announces"] == 3 && stats["seeders"]["ipv4"] == 3
    });
    wait_until(PATIENCE, "they are in the line of requests a second", || {
        let history = stats(pages)["history"].clone();
        let seconds = history.as_array().into_iter().flatten().filter_map(Value::as_u64);
        seconds.sum::<u64>() == 3
    });
    let leecher = SEEDER.replace("left=0", "left=5");
    get(tracker.address, &format!("{leecher}&port=7000")).dict();
    get(tracker.address, &format!("{SEEDER}&port=7000&event=completed")).dict();
    assert_eq!(stats(pages)["completed"], 1, "a leecher has completed");
    wait_until(PATIENCE, "all five are published", || stats(pages)["counters"]["announces"] == 5);
    let (status, metrics) = ask(pages, "/metrics", &pages.to_string());
    assert_eq!(status, "HTTP/1.1 200 OK");
    let row = "announced_requests_total{protocol=\"http\",kind=\"announce\",family=\"ipv4\"} 5";
    assert!(metrics.lines().any(|line| line == row), "no line {row} in {metrics}");
    let row = "announced_peers{family=\"ipv4\",role=\"seeder\"} 4";
    assert!(metrics.lines().any(|line| line == row), "no line {row} in {metrics}");
}

#[test]
fn health_is_asked_by_page_and_by_command() {
    let tracker = Tracker::start(LOOPBACK.into(), "");
    let pages = pages(&tracker);
    wait_until(PATIENCE, "all workers go round", || {
        ask(pages, "/health", "localhost").0 == "HTTP/1.1 200 OK"
    });
    let output = health(pages).output().unwrap();
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && line.contains("\"healthy\":true"), "{line}");
    drop(tracker);
    let output = health(pages).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "nobody is there any more");
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(line.starts_with(&format!("announced: {pages}: ")), "{line}");
}

#[test]
fn strangers_names_are_refused_and_the_public_port_has_no_pages() {
    let tracker = Tracker::start(LOOPBACK.into(), "[admin]\nhosts = [\"stats.example\"]\n");
    let pages = pages(&tracker);
    assert_eq!(ask(pages, "/stats.json", "stats.example").0, "HTTP/1.1 200 OK");
    assert_eq!(ask(pages, "/stats.json", "evil.example").0, "HTTP/1.1 403 Forbidden");
    for path in ["/metrics", "/health", "/stats.json"] {
        let (status, _) = ask(tracker.address, path, "localhost");
        assert_eq!(status, "HTTP/1.1 404 Not Found", "{path} on the public port");
    }
}

#[test]
fn an_address_that_is_taken_is_an_error_but_for_the_default() {
    let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let home = tempfile::tempdir().unwrap();
    let start = |admin: &str| {
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_announced")), home.path());
        command.args(["--listen", "127.0.0.1:0", "--database", "memory"]);
        command.env("ANNOUNCED_ADMIN__LISTEN", admin);
        command
    };
    let output = start(&address.to_string()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "it starts without the pages it was told to have");
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(line.contains(&format!("cannot listen on {address}, which admin.listen")), "{line}");
    // Whoever has the default's port, this test or another program.
    let _taken = TcpListener::bind((LOOPBACK, 6970));
    let running = Running::start(start("127.0.0.1:6970"));
    running
        .wait_log("that there are no pages", |line| line.contains("no status pages").then_some(()));
    running.wait_line("that it listens", |line| line.starts_with("listening on ").then_some(()));
}
