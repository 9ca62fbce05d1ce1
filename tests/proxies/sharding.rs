//! Several trackers as one: HAProxy by `deploy/haproxy.cfg`, three nodes, one MariaDB.
//!
//! Which node has a torrent's swarm is seen by scrapes of the nodes themselves, which show zeros
//! for a torrent that is listed and has no peers.

use std::net::{Ipv4Addr, SocketAddr};

use serde_bencode::value::Value;
use tempfile::TempDir;

use crate::proxy::{Proxy, own_address};
use crate::site::{Hash, Schema, Site, hash, project_file, settings};
use crate::support::http::{Connection, Dict, percent_encoded};
use crate::support::tracker::Tracker;
use crate::support::{PATIENCE, wait_equal};

const TORRENTS: u64 = 200;
const NODES: usize = 3;
/// The fewest torrents that a node of three may have by chance; a node that is never chosen has
/// none.
const TORRENTS_OF_A_NODE_MIN: usize = 30;
/// Torrents in one scrape.
const HASHES_PER_SCRAPE: usize = 100;

/// What stands in every spelling as it is.
const UNRESERVED: &[u8] = b"-_.~";
/// What some clients escape and others do not.
const SOMETIMES_RAW: &[u8] = b"!*()'";

/// A torrent whose hash has a NUL, a space, an ampersand, a plus, a letter, and bytes that differ
/// by the case of their escapes.
fn torrent(number: u64) -> Hash {
    let mut torrent = hash(number);
    torrent[12..19].copy_from_slice(b"\0 &+a\xab\xcd");
    torrent
}

/// How clients write one hash, each of which is one of a swarm's peers.
fn spellings(hash: &Hash) -> [String; 5] {
    let spelling = |is_raw: &dyn Fn(u8) -> bool, is_lower: bool| -> String {
        let escape = |byte: &u8| match is_raw(*byte) {
            true => char::from(*byte).to_string(),
            false if is_lower => percent_encoded(&[*byte]).to_lowercase(),
            false => percent_encoded(&[*byte]),
        };
        hash.iter().map(escape).collect()
    };
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte);
    [
        spelling(&is_unreserved, true),
        spelling(&is_unreserved, false),
        spelling(&|byte| is_unreserved(byte) || SOMETIMES_RAW.contains(&byte), true),
        spelling(&|_| false, false),
        spelling(&is_unreserved, false).replace("%20", "+"),
    ]
}

#[test]
fn five_spellings_of_one_hash() {
    let [lower, upper, letters, all, plus] = spellings(b"aZ09 -\0&+\xab\xcd(!'~zzzzz");
    assert_eq!(lower, "aZ09%20-%00%26%2b%ab%cd%28%21%27~zzzzz");
    assert_eq!(upper, "aZ09%20-%00%26%2B%AB%CD%28%21%27~zzzzz");
    assert_eq!(letters, "aZ09%20-%00%26%2b%ab%cd(!'~zzzzz");
    assert_eq!(all, "%61%5A%30%39%20%2D%00%26%2B%AB%CD%28%21%27%7E%7A%7A%7A%7A%7A");
    assert_eq!(plus, "aZ09+-%00%26%2B%AB%CD%28%21%27~zzzzz");
}

/// A tracker whose address outlives it.
struct Node {
    home: TempDir,
    /// Where HAProxy finds it, also after a restart.
    address: SocketAddr,
    tracker: Option<Tracker>,
}

impl Node {
    fn new() -> Node {
        let home = tempfile::tempdir().expect("a temporary directory");
        Node { home, address: own_address(), tracker: None }
    }

    #[track_caller]
    fn start(&mut self, site: &Schema) {
        let settings = settings("registered", "flush_interval = \"1s\"\ncache_ttl = \"1s\"");
        let (home, ip) = (self.home.path(), Ipv4Addr::LOCALHOST.into());
        self.tracker = Some(Tracker::start_in(home, ip, &settings, |command| {
            command.env("ANNOUNCED_DATABASE", site.url());
            command.arg("--listen").arg(self.address.to_string());
        }));
    }

    /// As a machine that loses its power.
    fn kill(&mut self) {
        self.tracker = None;
    }

    /// Peers of each torrent here; none of all where it does not run.
    #[track_caller]
    fn peers(&self, torrents: &[Hash]) -> Vec<i64> {
        if self.tracker.is_none() {
            return vec![0; torrents.len()];
        }
        let mut connection = Connection::open(self.address);
        let scrapes = torrents.chunks(HASHES_PER_SCRAPE);
        scrapes.flat_map(|torrents| peers(&mut connection, torrents)).collect()
    }
}

/// What a scrape says of torrents that are all listed.
#[track_caller]
fn peers(connection: &mut Connection, torrents: &[Hash]) -> Vec<i64> {
    let query: String =
        torrents.iter().map(|torrent| format!("&info_hash={}", percent_encoded(torrent))).collect();
    let reply = connection.get(&format!("/scrape?{}", &query[1..])).dict();
    let Some(Value::Dict(files)) = reply.get(b"files".as_slice()) else {
        panic!("no files in {reply:?}");
    };
    let count = |file: &Dict, key: &str| match file.get(key.as_bytes()) {
        Some(Value::Int(count)) => *count,
        other => panic!("{key} is {other:?}"),
    };
    let of = |torrent: &Hash| match files.get(torrent.as_slice()) {
        Some(Value::Dict(file)) => count(file, "complete") + count(file, "incomplete"),
        other => panic!("a listed torrent is {other:?}"),
    };
    torrents.iter().map(of).collect()
}

struct Cluster {
    site: Schema,
    nodes: Vec<Node>,
    proxy: Proxy,
    torrents: Vec<Hash>,
}

impl Cluster {
    fn start() -> Cluster {
        let site = Schema::create();
        let torrents: Vec<Hash> = (0..TORRENTS).map(torrent).collect();
        let rows: Vec<(Hash, &str)> = torrents.iter().map(|torrent| (*torrent, "")).collect();
        site.list(&rows);
        let mut nodes: Vec<Node> = (0..NODES).map(|_| Node::new()).collect();
        nodes.iter_mut().for_each(|node| node.start(&site));
        let proxy = Proxy::haproxy(&deployed(&nodes));
        Cluster { site, nodes, proxy, torrents }
    }

    /// Five clients of each torrent announce through HAProxy, each in a spelling of its own, and
    /// then one of them, the `round`th, has completed its download.
    #[track_caller]
    fn announce(&self, torrents: &[Hash], round: usize) {
        let mut connection = Connection::open(self.proxy.address);
        for torrent in torrents {
            for (client, spelling) in spellings(torrent).iter().enumerate() {
                announce(&mut connection, spelling, client, "left=1");
            }
            let spelling = &spellings(torrent)[round];
            announce(&mut connection, spelling, round, "left=0&event=completed");
        }
    }

    /// The node that has all five peers of each torrent. No other node but `stale` has any.
    #[track_caller]
    fn homes(&self, torrents: &[Hash], stale: &[usize]) -> Vec<usize> {
        let peers: Vec<Vec<i64>> = self.nodes.iter().map(|node| node.peers(torrents)).collect();
        let home = |at: usize| {
            let found: Vec<i64> = peers.iter().map(|peers| peers[at]).collect();
            let fresh = (0..NODES).filter(|node| !stale.contains(node));
            let homes: Vec<usize> = fresh.filter(|node| found[*node] != 0).collect();
            assert_eq!(homes.len(), 1, "nodes with peers of torrent {at}: {found:?}");
            assert_eq!(found[homes[0]], 5, "peers of torrent {at} on node {}", homes[0]);
            homes[0]
        };
        (0..torrents.len()).map(home).collect()
    }

    /// Waits until the database has so many downloads in all.
    #[track_caller]
    fn wait_downloaded(&self, downloads: u64) {
        let downloads = i64::try_from(downloads).expect("a small number");
        wait_equal(PATIENCE, &downloads, || self.site.sum("downloaded"));
    }
}

#[track_caller]
fn announce(connection: &mut Connection, spelling: &str, client: usize, rest: &str) {
    let reply = connection.get(&format!(
        "/announce?info_hash={spelling}&peer_id=-XX0001-abcdefghijkl&port={}&uploaded=0&\
         downloaded=0&compact=1&{rest}",
        7_001 + client
    ));
    let dict = reply.dict();
    assert!(dict.contains_key(b"peers".as_slice()), "{spelling}: {reply:?}");
}

/// The file that operators copy, with this test's addresses, and with checks that come sooner.
#[track_caller]
fn deployed(nodes: &[Node]) -> String {
    let mut settings = project_file("deploy/haproxy.cfg");
    let mut replacements = vec![
        ("bind 192.0.2.10:6969".to_owned(), "bind LISTEN".to_owned()),
        ("inter 2s".to_owned(), "inter 100ms".to_owned()),
        ("maxconn 100000".to_owned(), "maxconn 100".to_owned()),
    ];
    for (number, node) in nodes.iter().enumerate() {
        let name = format!("server node{} ", number + 1);
        let deployed = format!("{name}192.0.2.1{}:6969", number + 1);
        replacements.push((deployed, format!("{name}{}", node.address)));
    }
    for (deployed, replacement) in replacements {
        assert_eq!(settings.matches(&deployed).count(), 1, "{deployed:?} in deploy/haproxy.cfg");
        settings = settings.replace(&deployed, &replacement);
    }
    settings
}

#[test]
fn a_torrent_lives_on_one_node_however_its_hash_is_written() {
    let mut cluster = Cluster::start();
    cluster.announce(&cluster.torrents, 0);
    let homes = cluster.homes(&cluster.torrents, &[]);
    for node in 0..NODES {
        let torrents = homes.iter().filter(|home| **home == node).count();
        assert!(torrents >= TORRENTS_OF_A_NODE_MIN, "node {node} has only {torrents} torrents");
    }
    cluster.wait_downloaded(TORRENTS);
    a_scrape_of_several_torrents_reaches_the_node_of_the_first(&cluster, &homes);

    let victim = homes[0];
    let (moving, staying): (Vec<_>, Vec<_>) = cluster
        .torrents
        .iter()
        .copied()
        .zip(homes.iter().copied())
        .partition(|(_, home)| *home == victim);
    let (moving, _): (Vec<Hash>, Vec<usize>) = moving.into_iter().unzip();
    let (staying, homes_of_staying): (Vec<Hash>, Vec<usize>) = staying.into_iter().unzip();

    cluster.nodes[victim].kill();
    // Before HAProxy knows of it: a request finds its node dead, and goes to the next one.
    let mut connection = Connection::open(cluster.proxy.address);
    announce(&mut connection, &spellings(&moving[0])[0], 0, "left=1");
    cluster.proxy.wait_printed(&format!("nodes/node{} is DOWN", victim + 1), 1);
    cluster.announce(&cluster.torrents, 1);
    assert_eq!(cluster.homes(&staying, &[]), homes_of_staying, "torrents of the other nodes move");
    let refuges = cluster.homes(&moving, &[]);
    for node in (0..NODES).filter(|node| *node != victim) {
        assert!(refuges.contains(&node), "no torrent of the dead node went to node {node}");
    }
    cluster.wait_downloaded(2 * TORRENTS);

    cluster.nodes[victim].start(&cluster.site);
    cluster.proxy.wait_printed(&format!("nodes/node{} is UP", victim + 1), 1);
    cluster.announce(&cluster.torrents, 2);
    let survivors: Vec<usize> = (0..NODES).filter(|node| *node != victim).collect();
    assert_eq!(cluster.homes(&moving, &survivors), vec![victim; moving.len()], "who came back");
    assert_eq!(cluster.homes(&staying, &[]), homes_of_staying, "torrents of the other nodes move");
    cluster.wait_downloaded(3 * TORRENTS);
    let exact = cluster.site.number("SELECT COUNT(*) FROM torrents WHERE downloaded = 3");
    assert_eq!(exact, i64::try_from(TORRENTS).ok(), "torrents that were downloaded three times");
}

/// What README says of scrapes: the other torrents' peers are on other nodes.
#[track_caller]
fn a_scrape_of_several_torrents_reaches_the_node_of_the_first(cluster: &Cluster, homes: &[usize]) {
    let elsewhere = homes.iter().position(|home| *home != homes[0]).expect("there are three nodes");
    let asked = [cluster.torrents[0], cluster.torrents[elsewhere]];
    let mut connection = Connection::open(cluster.proxy.address);
    assert_eq!(peers(&mut connection, &asked), [5, 0], "the first torrent's peers, the second's");
}
