//! What two clients behind a proxy are told: the stories that every setup must tell alike.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_bencode::value::Value;

use crate::proxy::{Behind, OUTSIDE};
use crate::support::http::{Connection, Dict, Reply};
use crate::support::process::{command, program};

/// The clients, each at an address of its own. Nobody trusts them.
pub(crate) const SEEDER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
pub(crate) const LEECHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);
/// One who reaches the tracker without a proxy.
const DIRECT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 13);
/// The port of them all.
const PORT: u16 = 6881;

/// The header that is believed by default.
pub(crate) const HEADER: &str = "X-Forwarded-For";

const HASH: &str = "%02%e9%b0%01aaaaaaaaaaaaaaa%26";

fn announce_target(rest: &str) -> String {
    format!(
        "/announce?info_hash={HASH}&peer_id=-XX0001-abcdefghijkl&port={PORT}&uploaded=0&\
         downloaded=0&compact=1&{rest}"
    )
}

fn scrape_target() -> String {
    format!("/scrape?info_hash={HASH}")
}

/// How a client sends a target from an address, and what comes back.
pub(crate) type Ask<'a> = &'a dyn Fn(Ipv4Addr, &str) -> Dict;

/// A GET on a connection of its own, with `headers` of the client's (each with its line end).
pub(crate) fn over_http(to: SocketAddr, headers: &'static str) -> impl Fn(Ipv4Addr, &str) -> Dict {
    move |from, target| {
        let mut connection = Connection::open_from(from, to);
        connection.send(
            format!(
                "GET {target} HTTP/1.1\r\nHost: tracker.example\r\n{headers}Connection: \
                 close\r\n\r\n"
            )
            .as_bytes(),
        );
        connection.reply().dict()
    }
}

/// The same through TLS, by curl.
pub(crate) fn over_tls(to: SocketAddr) -> impl Fn(Ipv4Addr, &str) -> Dict {
    move |from, target| {
        let mut curl = command(&program("curl", "curl"), Path::new("/"));
        curl.args(["--silent", "--show-error", "--insecure", "--http1.1", "--max-time", "30"]);
        curl.arg("--interface").arg(from.to_string()).arg(format!("https://{to}{target}"));
        let output = curl.output().expect("curl can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Reply { head: String::new(), body: output.stdout }.dict()
    }
}

/// What a reply says of a number.
#[track_caller]
fn number(reply: &Dict, key: &str) -> i64 {
    match reply.get(key.as_bytes()) {
        Some(Value::Int(number)) => *number,
        other => panic!("{key} is {other:?} in {reply:?}"),
    }
}

#[track_caller]
fn bytes<'r>(reply: &'r Dict, key: &str) -> &'r [u8] {
    match reply.get(key.as_bytes()) {
        Some(Value::Bytes(bytes)) => bytes,
        other => panic!("{key} is {other:?} in {reply:?}"),
    }
}

fn peer(ip: Ipv4Addr) -> Vec<u8> {
    [ip.octets().as_slice(), &PORT.to_be_bytes()].concat()
}

/// Seeders and leechers, by a scrape.
#[track_caller]
fn counts(ask: Ask<'_>, from: Ipv4Addr) -> (i64, i64) {
    let reply = ask(from, &scrape_target());
    let Some(Value::Dict(files)) = reply.get(b"files".as_slice()) else {
        panic!("no files in {reply:?}");
    };
    match files.values().next() {
        Some(Value::Dict(file)) => (number(file, "complete"), number(file, "incomplete")),
        _ => (0, 0),
    }
}

/// Two clients on one port are two peers, each at its own address; one leaves, the other stays.
#[track_caller]
pub(crate) fn two_clients_meet(ask: Ask<'_>) {
    let started = ask(SEEDER, &announce_target("left=0&event=started"));
    assert_eq!(bytes(&started, "external ip"), SEEDER.octets(), "the seeder's address");
    let met = ask(LEECHER, &announce_target("left=1&event=started"));
    assert_eq!(bytes(&met, "external ip"), LEECHER.octets(), "the leecher's address");
    assert_eq!(bytes(&met, "peers"), peer(SEEDER), "what the leecher is given");
    let told = ask(SEEDER, &announce_target("left=0"));
    assert_eq!(bytes(&told, "peers"), peer(LEECHER), "what the seeder is given");
    assert_eq!(counts(ask, LEECHER), (1, 1), "seeders and leechers while both are there");
    ask(LEECHER, &announce_target("left=1&event=stopped"));
    assert_eq!(counts(ask, SEEDER), (1, 0), "seeders and leechers when the leecher has left");
}

/// A proxy that does not say who its clients are: they are given peers, as somebody from outside
/// the tracker's network is, and are nobody's peers. `tracker` listens for direct clients as well.
#[track_caller]
pub(crate) fn nobody_is_stored(tracker: &Behind, ask: Ask<'_>) {
    let direct = over_http(tracker.address, "");
    direct(DIRECT, &announce_target("left=0&event=started"));
    for _ in 0..2 {
        let answered = ask(LEECHER, &announce_target("left=1&event=started"));
        assert_eq!(bytes(&answered, "peers"), peer(OUTSIDE), "what the leecher is given");
    }
    assert_eq!(counts(&direct, DIRECT), (1, 0), "seeders and leechers: only the direct one");
    ask(SEEDER, &announce_target("left=0&event=stopped"));
    assert_eq!(counts(&direct, DIRECT), (1, 0), "nobody is who leaves");
    tracker.wait_log(HEADER);
    let transcript = tracker.transcript();
    let said = transcript.lines().filter(|line| line.contains("Err|") && line.contains(HEADER));
    assert_eq!(said.count(), 1, "lines of the log that tell of the missing {HEADER}");
}

/// A client without a proxy is who it is, whatever its headers say.
#[track_caller]
pub(crate) fn a_direct_client_is_itself(tracker: &Behind, headers: &'static str) {
    let ask = over_http(tracker.address, headers);
    let answered = ask(DIRECT, &announce_target("left=0&event=started"));
    assert_eq!(bytes(&answered, "external ip"), DIRECT.octets(), "the address it comes from");
}
