//! Raw requests in, exact reply bytes out: the whole way of a request but for the socket.
//!
//! Every trap of the protocol and every mistake seen in another tracker is a row with a name. Each
//! row is a site of its own: what was asked before, by whom, and what the last one is told. With a
//! maximum interval under ten seconds there is no random part in an answer.

use std::net::IpAddr;

use crate::config::{Mode, Networks, Policy, PublicAddresses};
use crate::frontend::{Http, Output};
use crate::ids::Millis;
use crate::server::Conversation;
use crate::swarm::Sweep;
use crate::tests::harness::{self, REQUEST_BYTES_MAX, TIMES, policy};
use crate::tracker::{Client, Round, Scratch};
use crate::wire::http::reply::REPLY_BYTES_MAX;

/// An announce that lacks only `port` and `left`.
const START: &str =
    "/announce?info_hash=hhhhhhhhhhhhhhhhhhhh&peer_id=-XX0001-abcdefghijkl&uploaded=0&downloaded=0";

/// A tracker without a database, and one worker's scratch.
pub(super) struct Site {
    site: harness::Site,
    scratch: Scratch,
    pub(super) now: Millis,
}

impl Site {
    pub(super) fn new(policy: Policy) -> Site {
        Site::of(harness::Site::new(policy))
    }

    fn without_peer_ids(policy: Policy) -> Site {
        Site::of(harness::Site::of(harness::live(policy), false, REQUEST_BYTES_MAX))
    }

    fn of(site: harness::Site) -> Site {
        Site { site, scratch: harness::scratch(harness::SEED), now: Millis(1_000) }
    }

    pub(super) fn connect(&self, from: &str) -> Conversation {
        let ip: IpAddr = from.parse().unwrap();
        Conversation::new(harness::client(ip), self.now, &TIMES)
    }

    /// Everything that is sent when `work` is done to a conversation.
    pub(super) fn in_round(
        &mut self,
        work: impl FnOnce(&Http, &mut Round<'_>, &mut Output<'_>),
    ) -> String {
        let mut output = vec![0; 4 * REPLY_BYTES_MAX];
        let mut out = Output::new(&mut output);
        let mut round = self.site.round(self.now, &mut self.scratch);
        work(&self.site.http, &mut round, &mut out);
        out.filled().escape_ascii().to_string().replace("\\r\\n", "\n")
    }

    /// Everything that is sent back when `from` sends `bytes`.
    pub(super) fn exchange(&mut self, from: &str, bytes: &[u8]) -> String {
        let mut connection = self.connect(from);
        self.in_round(|http, round, out| connection.receive(bytes, http, round, out))
    }

    fn get(&mut self, from: &str, target: &str) -> String {
        self.exchange(from, format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes())
    }

    /// The body of the answer to an announce: [`START`] and `rest`.
    fn announce(&mut self, from: &str, rest: &str) -> String {
        let reply = self.get(from, &format!("{START}{rest}"));
        let (head, body) = reply.split_once("\n\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: "),
            "{head}"
        );
        body.to_owned()
    }
}

pub(super) fn exact() -> Policy {
    let ip_parameter = vec!["192.168.0.0/16".parse().unwrap()].into();
    Policy { mode: Mode::Open, max_interval_s: 9, min_interval_s: 5, ip_parameter, ..policy() }
}

const LEECH: &str = "&port=6881&left=1";
const SEED: &str = "&port=6881&left=0";

/// A name, the announces before, the last one, and the body of its answer. `A`, `B`, … stand for
/// addresses 9.9.9.1, 9.9.9.2, …
type Row = (
    &'static str,
    &'static [(&'static str, &'static str)],
    (&'static str, &'static str),
    &'static str,
);

const ROWS: &[Row] = &[
    (
        "a lone peer is not given itself (chihaya)",
        &[("A", LEECH)],
        ("A", LEECH),
        "d8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei1e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "a second peer is given the first (the PHP tracker gave none)",
        &[("A", SEED)],
        ("B", LEECH),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei1e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x1a\\xe1e",
    ),
    (
        "no seeder to a seeder",
        &[("A", SEED)],
        ("B", SEED),
        "d8:completei2e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "stopped gets no peers, and the key all the same (uTorrent 2.2.1, rTorrent)",
        &[("A", SEED), ("B", LEECH)],
        ("B", "&port=6881&left=1&event=stopped"),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "left of 2^32 is a leecher's (opentracker keeps 32 bits)",
        &[],
        ("A", "&port=6881&left=4294967296"),
        "d8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei1e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "left of -1 is a leecher's",
        &[],
        ("A", "&port=6881&left=-1"),
        "d8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei1e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "a bare left is a leecher's (old WebTorrent)",
        &[],
        ("A", "&port=6881&left&"),
        "d8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei1e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "a missing left is #1 (torrust takes it for a seeder's)",
        &[],
        ("A", "&port=6881"),
        "d14:failure reason37:#1 the required field left is missing8:intervali1800e12:min \
         intervali1800e8:retry in5:nevere",
    ),
    (
        "numwant=-1 and event=paused are regular (aquatic refuses both)",
        &[("A", SEED)],
        ("B", "&port=6881&left=1&numwant=-1&event=paused"),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei1e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x1a\\xe1e",
    ),
    (
        "numwant=0 gets none",
        &[("A", SEED)],
        ("B", "&port=6881&left=1&numwant=0"),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei1e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "port 1 is answered in full and never stored (libtorrent that does not listen)",
        &[("A", SEED), ("B", "&port=1&left=1")],
        ("C", "&port=1&left=1"),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0310:incompletei0e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x1a\\xe1e",
    ),
    (
        "port 0 is #4, and passes: the client does not listen yet",
        &[],
        ("A", "&port=0&left=1"),
        "d14:failure reason43:#4 the port is not a number from 1 to 655358:intervali300e12:min \
         intervali300e8:retry ini5ee",
    ),
    (
        "a port that is no number is #4 for good",
        &[],
        ("A", "&port=x&left=1"),
        "d14:failure reason43:#4 the port is not a number from 1 to 655358:intervali1800e12:min \
         intervali1800e8:retry in5:nevere",
    ),
    (
        "cryptoport stands in for port 0 (BiglyBT)",
        &[("A", "&port=0&cryptoport=258&left=0")],
        ("B", LEECH),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei1e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x01\\x02e",
    ),
    (
        "a leecher's completed counts, once",
        &[("A", LEECH), ("A", "&port=6881&left=0&event=completed"), ("A", LEECH)],
        ("A", "&port=6881&left=0&event=completed"),
        "d8:completei1e10:downloadedi1e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "completed after a regular update with nothing left counts",
        &[("A", LEECH), ("A", SEED), ("A", "&port=6881&left=0&event=completed")],
        ("A", "&port=6881&left=0&event=completed"),
        "d8:completei1e10:downloadedi1e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "completed from a seeder that was never a leecher does not count",
        &[("A", SEED)],
        ("A", "&port=6881&left=0&event=completed"),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "completed from somebody unknown does not count",
        &[],
        ("A", "&port=6881&left=0&event=completed"),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "completed with something left does not count",
        &[("A", LEECH)],
        ("A", "&port=6881&left=1&event=completed"),
        "d8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei1e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "two announces milliseconds apart are one peer",
        &[("A", SEED), ("A", SEED)],
        ("A", SEED),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "the dictionary model",
        &[("A", SEED)],
        ("B", "&port=6881&left=1&compact=0"),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei1e8:intervali9e12:min \
         intervali5e5:peersld2:ip7:9.9.9.17:peer id20:-XX0001-abcdefghijkl4:porti6881eeee",
    ),
    (
        "the dictionary model without peer ids",
        &[("A", SEED)],
        ("B", "&port=6881&left=1&compact=0&no_peer_id=1"),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei1e8:intervali9e12:min \
         intervali5e5:peersld2:ip7:9.9.9.14:porti6881eeee",
    ),
    (
        "an empty dictionary answer is an empty list",
        &[],
        ("A", "&port=6881&left=1&compact=0"),
        "d8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei1e8:intervali9e12:min intervali5e5:peerslee",
    ),
    (
        "an IPv6 announcer gets peers6, an empty peers, and nobody of the other family",
        &[("A", SEED), ("2a00::1", SEED)],
        ("2a00::2", LEECH),
        "d8:completei2e10:downloadedi0e11:external \
         ip16:*\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x0210:\
         incompletei1e8:intervali9e12:min \
         intervali5e5:peers0:6:peers618:*\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\\
         x00\\x00\\x00\\x01\\x1a\\xe1e",
    ),
    (
        "ip= from a listed network is believed",
        &[("192.168.0.9", "&port=6881&left=0&ip=9.9.9.77")],
        ("B", LEECH),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei1e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\tM\\x1a\\xe1e",
    ),
    (
        "ip= from the internet is not, and external ip tells the truth",
        &[],
        ("A", "&port=6881&left=0&ip=9.9.9.77&ipv4=9.9.9.78"),
        "d8:completei1e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0110:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
];

/// A name, the tracker's public addresses, the announces before, the last one, and the peers of its
/// answer, from `crypto_flags` on. `A` and others as in [`Row`].
type NetworkRow = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    (&'static str, &'static str),
    &'static str,
);

const PUBLIC: &[&str] = &["198.51.100.7", "2001:db8::7"];
const LISTED: &str = "&port=6881&left=1&compact=0&no_peer_id=1";

const NETWORK_ROWS: &[NetworkRow] = &[
    (
        "a private peer is not given to a public one",
        &[],
        &[("10.0.0.1", SEED)],
        ("A", LISTED),
        "le",
    ),
    (
        "a public peer is given to a private one",
        &[],
        &[("A", SEED)],
        ("10.0.0.1", LISTED),
        "ld2:ip7:9.9.9.14:porti6881eee",
    ),
    (
        "a private peer is given to a private one, as it is",
        PUBLIC,
        &[("10.0.0.1", SEED)],
        ("192.168.0.1", LISTED),
        "ld2:ip8:10.0.0.14:porti6881eee",
    ),
    (
        "a private peer is given to a public one under the public address, with its port",
        PUBLIC,
        &[("10.0.0.1", "&port=257&left=0")],
        ("A", LISTED),
        "ld2:ip12:198.51.100.74:porti257eee",
    ),
    (
        "the same in the compact form",
        PUBLIC,
        &[("10.0.0.1", "&port=257&left=0")],
        ("A", LEECH),
        "6:\\xc63d\\x07\\x01\\x01",
    ),
    (
        "a carrier's NAT, the machine itself and a link are private too",
        &[],
        &[("100.64.0.1", SEED), ("127.0.0.1", SEED), ("169.254.0.1", SEED)],
        ("A", LISTED),
        "le",
    ),
    (
        "an address of the other family is of no use",
        &["2001:db8::7"],
        &[("10.0.0.1", SEED)],
        ("A", LISTED),
        "le",
    ),
    (
        "a private IPv6 peer is not given either",
        &[],
        &[("fd00::1", SEED)],
        ("2a00::1", LISTED),
        "le",
    ),
    ("nor one of the link", &["198.51.100.7"], &[("fe80::1", SEED)], ("2a00::1", LISTED), "le"),
    (
        "a private IPv6 peer is given under the public IPv6 address",
        PUBLIC,
        &[("fd00::1", "&port=257&left=0")],
        ("2a00::1", LISTED),
        "ld2:ip11:2001:db8::74:porti257eee",
    ),
    (
        "a private IPv6 peer is given to a private one, as it is",
        PUBLIC,
        &[("fd00::1", "&port=257&left=0")],
        ("fd00::2", LISTED),
        "ld2:ip7:fd00::14:porti257eee",
    ),
    (
        "two private peers on one port are one outside",
        PUBLIC,
        &[("10.0.0.1", "&port=257&left=0"), ("10.0.0.2", "&port=257&left=0")],
        ("A", LISTED),
        "ld2:ip12:198.51.100.74:porti257eee",
    ),
    (
        "nobody is given itself, seen from inside before",
        PUBLIC,
        &[("10.0.0.1", SEED), ("A", SEED)],
        ("198.51.100.7", LISTED),
        "ld2:ip7:9.9.9.14:porti6881eee",
    ),
    (
        "encryption is asked for beside",
        PUBLIC,
        &[
            ("10.0.0.1", "&port=257&left=0"),
            ("10.0.0.2", "&port=258&left=0&supportcrypto=1"),
            ("10.0.0.3", "&port=258&left=0"),
        ],
        ("A", "&port=6881&left=1&compact=0&no_peer_id=1&requirecrypto=1"),
        "ld2:ip12:198.51.100.74:porti258eee",
    ),
    (
        "the peer id is that of the peer which is left",
        &[],
        &[("10.0.0.1", SEED), ("A", SEED), ("10.0.0.2", SEED)],
        ("B", "&port=6881&left=1&compact=0"),
        "ld2:ip7:9.9.9.17:peer id20:-XX0001-abcdefghijkl4:porti6881eee",
    ),
];

#[test]
fn what_is_private_stays_inside_unless_it_has_a_public_address() {
    for (name, public, before, (from, last), expected) in NETWORK_ROWS {
        let mut live = harness::live(exact());
        let addresses = public.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        live.swarm.public_addresses = PublicAddresses::of(&addresses);
        let mut site = Site::of(harness::Site::of(live, true, REQUEST_BYTES_MAX));
        for (from, rest) in *before {
            site.announce(&address(from), rest);
        }
        let body = site.announce(&address(from), last);
        let (counts, peers) = body.split_once("5:peers").unwrap();
        assert_eq!(peers, format!("{expected}e"), "{name}");
        let all = before.len() + 1;
        let count = |key: &str| {
            let (_, rest) = counts.split_once(key).unwrap();
            rest.split('e').next().unwrap().parse::<usize>().unwrap()
        };
        let told = count("8:completei") + count("10:incompletei");
        assert_eq!(told, all, "{name}: all are counted, whoever is handed out");
        site.site.tracker.store().check_invariants();
    }
}

/// A proxy's own address says nothing of who is behind it.
#[test]
fn who_is_behind_a_proxy_that_does_not_say_is_given_nothing_private() {
    let mut site = Site::new(exact());
    for from in ["10.0.0.1", "9.9.9.1"] {
        site.announce(from, SEED);
    }
    for (is_known, expected) in [(true, 2), (false, 1)] {
        let client = Client { is_known, ..harness::client("10.0.0.9".parse().unwrap()) };
        let mut connection = Conversation::new(client, site.now, &TIMES);
        let request = format!("GET {START}&port=1&left=1 HTTP/1.1\r\n\r\n");
        let reply = site.in_round(|http, round, out| {
            connection.receive(request.as_bytes(), http, round, out);
        });
        let peers = format!("5:peers{}:", 6 * expected);
        assert!(reply.contains(&peers), "known {is_known}: {reply} is not {peers}");
    }
}

fn address(letter: &str) -> String {
    match letter.as_bytes() {
        [letter @ b'A'..=b'Z'] => format!("9.9.9.{}", letter - b'@'),
        _ => letter.to_owned(),
    }
}

#[test]
fn announces_are_answered_to_the_byte() {
    for (name, before, (from, last), expected) in ROWS {
        let mut site = Site::new(exact());
        for (from, rest) in *before {
            site.announce(&address(from), rest);
        }
        assert_eq!(site.announce(&address(from), last), *expected, "{name}");
        site.site.tracker.store().check_invariants();
    }
}

#[test]
fn who_requires_encryption_is_given_nobody_who_cannot() {
    let mut site = Site::new(Policy { crypto_flags: true, ..exact() });
    site.announce("9.9.9.1", "&port=257&left=0");
    site.announce("9.9.9.2", "&port=257&left=0&supportcrypto=1");
    site.announce("9.9.9.3", "&port=257&left=0&requirecrypto=1");
    let requiring = site.announce("9.9.9.4", "&port=6881&left=1&requirecrypto=1&numwant=9");
    assert!(
        requiring.contains("12:crypto_flags2:") && requiring.contains("5:peers12:"),
        "{requiring}"
    );
    assert!(!requiring.contains("\\t\\t\\t\\x01\\x01\\x01"), "{requiring}");
    let flags = requiring.split("crypto_flags2:").nth(1).unwrap();
    assert!(flags.starts_with("\\x00\\x01") || flags.starts_with("\\x01\\x00"), "{requiring}");
    let silent = site.announce("9.9.9.5", LEECH);
    assert!(!silent.contains("crypto_flags") && silent.contains("5:peers24:"), "{silent}");
}

#[test]
fn a_header_cannot_move_a_peer_as_in_ocelot() {
    let mut site = Site::new(exact());
    for header in [
        "X-Forwarded-For: 9.9.9.77",
        "Forwarded: for=9.9.9.77",
        "X-Real-IP: 9.9.9.77",
        "Via: 1.1 proxy",
    ] {
        let request = format!("GET {START}&port=6881&left=0 HTTP/1.1\r\n{header}\r\n\r\n");
        let reply = site.exchange("10.0.0.1", request.as_bytes());
        assert!(reply.contains("11:external ip4:\\n\\x00\\x00\\x01"), "{header}: {reply}");
    }
}

#[test]
fn a_victim_is_named_by_nobody_but_from_a_listed_network() {
    let listed = Networks::from(vec!["192.168.0.0/16".parse().unwrap()]);
    let rows = [
        ("a stranger behind a proxy that adds no header", Networks::default(), "10.0.0.1", false),
        ("a stranger on the machine itself", Networks::default(), "127.0.0.1", false),
        ("a private network that is not listed", listed.clone(), "10.0.0.1", false),
        ("the internet", listed.clone(), "9.9.9.1", false),
        ("a client behind the tracker's NAT", listed, "192.168.0.1", true),
    ];
    for (name, ip_parameter, connection, believed) in rows {
        let mut site = Site::new(Policy { ip_parameter, ..exact() });
        let reply = site.announce(connection, "&port=6881&left=0&ip=9.9.9.78");
        let victim = "11:external ip4:\\t\\t\\tN";
        assert_eq!(reply.contains(victim), believed, "{name}: {reply}");
    }
}

#[test]
fn refusals_are_bencoded_where_opentracker_sends_html() {
    let mut site = Site::new(exact());
    let rows = [
        ("/announce", "#1 the required field info_hash is missing", "5:never"),
        (
            "/announce?info_hash=short&peer_id=short&port=0&uploaded&downloaded&left",
            "#2 the info_hash is not 20 bytes",
            "5:never",
        ),
        (
            "/announce?info_hash=hhhhhhhhhhhhhhhhhhhh&peer_id=short&port=0&uploaded&downloaded&\
             left",
            "#3 the peer_id",
            "5:never",
        ),
        ("/scrape?info_hash=short", "#2 the info_hash is not 20 bytes long", "5:never"),
        ("/scrape", "full scrapes are not offered here", "i30e"),
    ];
    for (target, text, retry) in rows {
        let reply = site.get("9.9.9.1", target);
        assert!(
            reply.starts_with("HTTP/1.1 200 OK\n") && reply.contains("\n\nd14:failure reason"),
            "{target}: {reply}"
        );
        assert!(
            reply.contains(text) && reply.ends_with(&format!("8:retry in{retry}e")),
            "{target}: {reply}"
        );
    }
}

#[test]
fn every_path_that_real_clients_use_leads_somewhere() {
    let mut site = Site::new(exact());
    let query = START.split_once('?').unwrap().1.to_owned() + LEECH;
    for path in [
        "/announce",
        "/announce.php",
        "//announce",
        "/any/thing/announce",
        "/",
        "http://tracker:6969/announce",
    ] {
        let reply = site.get("9.9.9.1", &format!("{path}?{query}"));
        assert!(reply.contains("d8:completei0e"), "{path}: {reply}");
    }
    for (target, status) in
        [("/", "200 OK"), ("/favicon.ico", "404 Not Found"), ("/ANNOUNCE", "404 Not Found")]
    {
        assert!(
            site.get("9.9.9.1", target).starts_with(&format!("HTTP/1.1 {status}\n")),
            "{target}"
        );
    }
}

#[test]
fn an_open_tracker_knows_every_torrent_that_it_is_asked_for() {
    let mut site = Site::new(exact());
    let zeros = "20:zzzzzzzzzzzzzzzzzzzzd8:completei0e10:downloadedi0e10:incompletei0ee";
    let flags = "5:flagsd20:min_request_intervali1800ee";
    let alone = site.get("9.9.9.2", "/scrape?info_hash=zzzzzzzzzzzzzzzzzzzz");
    assert!(alone.ends_with(&format!("\n\nd5:filesd{zeros}e{flags}e")), "nobody is there: {alone}");
    site.announce("9.9.9.1", SEED);
    let both = site
        .get("9.9.9.2", "/scrape?info_hash=zzzzzzzzzzzzzzzzzzzz&info_hash=hhhhhhhhhhhhhhhhhhhh");
    let one = "20:hhhhhhhhhhhhhhhhhhhhd8:completei1e10:downloadedi0e10:incompletei0ee";
    assert!(both.ends_with(&format!("\n\nd5:filesd{one}{zeros}e{flags}e")), "one is there: {both}");
    site.announce("9.9.9.1", "&port=6881&left=0&event=stopped");
    let left = site.get("9.9.9.2", "/scrape?info_hash=hhhhhhhhhhhhhhhhhhhh");
    let gone = "20:hhhhhhhhhhhhhhhhhhhhd8:completei0e10:downloadedi0e10:incompletei0ee";
    assert!(left.ends_with(&format!("\n\nd5:filesd{gone}e{flags}e")), "the last has left: {left}");
}

#[test]
fn a_peer_outlives_the_time_it_is_told_to_come_back_in_unlike_the_php_trackers() {
    let mut site = Site::new(policy());
    let (mut sweep, limits) = (Sweep::new(0, 1), site.site.live.swarm.clone());
    let interval_ms = u64::from(policy().max_interval_s) * 1_000;
    assert!(limits.lifetime_ms > interval_ms, "it may come late");
    site.announce("9.9.9.1", SEED);
    let begin = site.now;
    let mut sweep_until = |end_ms| {
        while site.now < begin.plus(end_ms) {
            site.now = site.now.plus(1_000);
            site.site.tracker.store().sweep(&mut sweep, site.now, &limits);
        }
        site.site.tracker.store().totals().peers()
    };
    assert_eq!(sweep_until(limits.lifetime_ms), 1, "it has not lived its time");
    // Two units of age, 16 s each, and a round of the sweep, a 64th of its life.
    assert_eq!(sweep_until(limits.lifetime_ms * 65 / 64 + 33_000), 0, "its time is over");
}

#[test]
fn a_pipeline_is_answered_request_by_request_where_aquatic_drops_all_but_the_first() {
    let requests = [
        format!("{START}{SEED}"),
        "/".to_owned(),
        format!("{START}&port=2&left=1"),
        "/scrape?info_hash=x".to_owned(),
    ];
    let (mut one_by_one, mut at_once) = (Site::new(exact()), Site::new(exact()));
    let single: String = requests.iter().map(|target| one_by_one.get("9.9.9.1", target)).collect();
    let pipeline: String =
        requests.iter().map(|target| format!("GET {target} HTTP/1.1\r\n\r\n")).collect();
    assert_eq!(at_once.exchange("9.9.9.1", pipeline.as_bytes()), single);
}

#[test]
fn settings_change_the_answers() {
    let three = |site: &mut Site| {
        for (port, extra) in [("257", ""), ("258", "&supportcrypto=1"), ("259", "&requirecrypto=1")]
        {
            site.announce("9.9.9.1", &format!("&port={port}&left=0{extra}"));
        }
    };
    let rows: [(&str, Policy, &str, &str, &str); 7] = [
        (
            "above the maximum is the maximum",
            Policy { numwant_max: 2, ..exact() },
            "&numwant=3",
            "5:peers12:",
            "?",
        ),
        (
            "no numwant is the default",
            Policy { numwant_default: 1, ..exact() },
            "",
            "5:peers6:",
            "?",
        ),
        (
            "garbage is the default",
            Policy { numwant_default: 1, ..exact() },
            "&numwant=-7",
            "5:peers6:",
            "?",
        ),
        (
            "no external ip",
            Policy { external_ip: false, ..exact() },
            "",
            "10:incomplete",
            "external ip",
        ),
        ("crypto_flags are off", exact(), "&supportcrypto=1", "5:peers18:", "crypto_flags"),
        (
            "requirecrypto narrows all the same",
            exact(),
            "&requirecrypto=1",
            "5:peers12:",
            "crypto_flags",
        ),
        (
            "crypto_flags are on",
            Policy { crypto_flags: true, ..exact() },
            "&supportcrypto=1",
            "12:crypto_flags3:",
            "?",
        ),
    ];
    for (name, policy, rest, present, absent) in rows {
        let mut site = Site::new(policy);
        three(&mut site);
        let body = site.announce("9.9.9.2", &format!("&port=6881&left=1{rest}"));
        assert!(body.contains(present) && !body.contains(absent), "{name}: {body}");
    }
}

#[test]
fn without_peer_ids_dictionaries_go_without() {
    let mut site = Site::without_peer_ids(exact());
    site.announce("9.9.9.1", "&port=257&left=0");
    let body = site.announce("9.9.9.2", "&port=6881&left=1&compact=0");
    assert!(body.contains("d2:ip7:9.9.9.14:porti257ee") && !body.contains("peer id"), "{body}");
}

#[test]
fn an_unknown_path_does_not_cost_the_pipeline_its_rest() {
    let mut site = Site::new(exact());
    let replies = site.exchange(
        "9.9.9.1",
        format!("GET /x HTTP/1.1\r\n\r\nPUT / HTTP/1.1\r\n\r\nGET {START}{SEED} HTTP/1.1\r\n\r\n")
            .as_bytes(),
    );
    assert!(
        replies.contains("404 Not Found")
            && replies.contains("405 Method")
            && replies.contains("d8:completei1e"),
        "{replies}"
    );
}

#[test]
fn the_interval_is_spread_over_a_tenth_below_the_maximum() {
    let mut site = Site::new(Policy { mode: Mode::Open, ..policy() });
    let interval =
        |answer: String| answer.split("8:intervali").nth(1)?.split('e').next()?.parse::<u32>().ok();
    let intervals: Vec<u32> =
        (0..200).filter_map(|_| interval(site.announce("9.9.9.1", SEED))).collect();
    assert!(
        intervals.len() == 200
            && intervals.iter().all(|interval| (1_620..=1_800).contains(interval)),
        "{intervals:?}"
    );
    let (least, most) = (intervals.iter().min().unwrap(), intervals.iter().max().unwrap());
    assert!(most - least > 120, "200 draws from {least} to {most}");
}

#[test]
fn a_scrape_tells_the_interval_of_the_settings() {
    let mut site = Site::new(Policy { scrape_interval_s: 77, ..exact() });
    assert!(
        site.get("9.9.9.1", "/scrape?info_hash=hhhhhhhhhhhhhhhhhhhh")
            .contains("20:min_request_intervali77e")
    );
}

#[test]
fn a_client_on_both_families_completes_twice() {
    let mut site = Site::new(exact());
    for from in ["9.9.9.1", "2a00::1"] {
        site.announce(from, LEECH);
        site.announce(from, "&port=6881&left=0&event=completed");
    }
    assert!(site.announce("9.9.9.1", SEED).contains("10:downloadedi2e"));
}
