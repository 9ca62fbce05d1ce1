//! The kinds of announces whose instructions are counted.
//!
//! Every peer of a swarm has a public address of its own, as on the internet: peers that share one,
//! or are exempt from what an address may have, take another way.

use std::fmt::Write;

use announced::wire::udp::PROTOCOL_ID;

/// Times every shape is answered while it is counted.
pub(crate) const ANSWERS: usize = 1_000;

/// One kind of announce.
pub(crate) struct Shape {
    /// What the row is called, here and in the baseline.
    pub(crate) name: &'static str,
    /// Torrents that are announced in turns.
    torrents: usize,
    /// Peers of each torrent.
    pub(crate) peers: usize,
    ask: Ask,
    /// Requests that are received at once.
    pub(crate) depth: usize,
    /// Whether every request comes over a connection of its own.
    pub(crate) reconnects: bool,
    /// Peers that share an address.
    pub(crate) of_one_address: usize,
    /// Whether this is as dear as a stranger can make it, and only held below [`DEAR_MAX`].
    pub(crate) is_dear: bool,
    /// Whether only what a database lists is served; it has been asked for every torrent before.
    pub(crate) registered: bool,
}

/// What is received at once.
pub(crate) struct Input {
    /// Whose connection it comes over: the number of the peer in its swarms.
    pub(crate) peer: usize,
    /// The requests.
    pub(crate) bytes: Vec<u8>,
}

/// Who asks for what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// qBittorrent, of a peer that is there.
    Again,
    /// qBittorrent, of a peer that is new.
    Started,
    /// qBittorrent, of a peer that leaves.
    Stopped,
    /// Transmission, of a peer that is there.
    Transmission,
    /// A client that wants peers as dictionaries with their ids.
    Dictionary,
    /// qBittorrent scrapes a torrent.
    Scrape,
    /// A peer that requires encryption, among those that do not support it.
    Encrypted,
    /// Over UDP: a connection id.
    UdpConnect,
    /// Over UDP: libtorrent, of a peer that is there.
    UdpAgain,
    /// Over UDP: a scrape of so many torrents.
    UdpScrape(usize),
}

const USUAL: Shape = Shape {
    name: "",
    torrents: 20,
    peers: 50,
    ask: Ask::Again,
    depth: 1,
    reconnects: false,
    of_one_address: 1,
    is_dear: false,
    registered: false,
};

/// No answer may be as dear as so many announces of [`OPEN`].
pub(crate) const DEAR_MAX: u64 = 30;

/// The shape that an open tracker and one that serves only what is listed are compared by.
pub(crate) const OPEN: &str = "qBittorrent, in a swarm of 50";
/// Its other half.
pub(crate) const REGISTERED: &str = "registered, in a swarm of 50";

/// Every shape.
pub(crate) const SHAPES: &[Shape] = &[
    Shape { name: "qBittorrent, alone in a swarm", torrents: ANSWERS, peers: 1, ..USUAL },
    Shape { name: OPEN, ..USUAL },
    Shape { name: "qBittorrent, in a swarm of 10000", torrents: 1, peers: 10_000, ..USUAL },
    Shape { name: "qBittorrent, a connection for each", reconnects: true, ..USUAL },
    // A connection's requests are one peer's, and eight divide its torrents.
    Shape { name: "qBittorrent, eight pipelined", torrents: 24, depth: 8, ..USUAL },
    Shape { name: "qBittorrent, a new peer", torrents: ANSWERS, ask: Ask::Started, ..USUAL },
    Shape { name: "qBittorrent, a peer that stops", torrents: ANSWERS, ask: Ask::Stopped, ..USUAL },
    Shape { name: "Transmission, in a swarm of 50", ask: Ask::Transmission, ..USUAL },
    Shape { name: "dictionary, in a swarm of 50", ask: Ask::Dictionary, ..USUAL },
    Shape { name: REGISTERED, registered: true, ..USUAL },
    Shape { name: "scrape of one torrent", ask: Ask::Scrape, ..USUAL },
    Shape { name: "three of an address, in a swarm of 50", of_one_address: 3, ..USUAL },
    Shape {
        name: "dear: none takes encryption, of 10000",
        torrents: 1,
        peers: 10_000,
        ask: Ask::Encrypted,
        is_dear: true,
        ..USUAL
    },
    Shape {
        name: "dear: 64 addresses with 64 peers each",
        torrents: 1,
        peers: 4_096,
        of_one_address: 64,
        is_dear: true,
        ..USUAL
    },
    Shape { name: "UDP, connect", ask: Ask::UdpConnect, ..USUAL },
    Shape { name: "UDP, announce in a swarm of 50", ask: Ask::UdpAgain, ..USUAL },
    Shape { name: "UDP, scrape of one torrent", ask: Ask::UdpScrape(1), ..USUAL },
    Shape { name: "UDP, scrape of 74 torrents", torrents: 74, ask: Ask::UdpScrape(74), ..USUAL },
];

impl Shape {
    /// Whether the inputs are datagrams.
    pub(crate) fn is_udp(&self) -> bool {
        matches!(self.ask, Ask::UdpConnect | Ask::UdpAgain | Ask::UdpScrape(_))
    }

    /// What fills the swarms: everybody's first announce, over HTTP.
    pub(crate) fn first(&self) -> impl Iterator<Item = Input> + '_ {
        let everybody =
            (0..self.torrents).flat_map(|torrent| (0..self.peers).map(move |peer| (torrent, peer)));
        everybody.map(|(torrent, peer)| {
            let text = qbittorrent(torrent, peer, "&event=started", false);
            let text = if self.ask == Ask::Encrypted { text.replace(CRYPTO, "") } else { text };
            Input { peer, bytes: text.into_bytes() }
        })
    }

    /// What is received one after the other while it is counted: [`ANSWERS`] requests in all. Those
    /// over UDP carry the `connection_id` of their peer.
    pub(crate) fn inputs(&self, connection_id: impl Fn(usize) -> u64) -> Vec<Input> {
        let request = |number: usize| {
            let (torrent, known) = (number % self.torrents, number / self.torrents % self.peers);
            let peer = if self.ask == Ask::Started { self.peers } else { known };
            let text = match self.ask {
                Ask::Again => qbittorrent(torrent, peer, "", self.reconnects),
                Ask::Started => qbittorrent(torrent, peer, "&event=started", false),
                Ask::Stopped => qbittorrent(torrent, peer, "&event=stopped", false),
                Ask::Transmission => transmission(torrent, peer),
                Ask::Dictionary => dictionary(torrent, peer),
                Ask::Scrape => scrape(torrent),
                Ask::Encrypted => {
                    qbittorrent(torrent, peer, "", false).replace(CRYPTO, "&requirecrypto=1")
                }
                Ask::UdpConnect => return Input { peer, bytes: packet(PROTOCOL_ID, 0, &[]) },
                Ask::UdpAgain => {
                    let announce = udp_announce(torrent, peer);
                    return Input { peer, bytes: packet(connection_id(peer), 1, &announce) };
                }
                Ask::UdpScrape(torrents) => {
                    let hashes = (0..torrents).map(|at| hash((torrent + at) % self.torrents));
                    let hashes = hashes.collect::<Vec<_>>().concat();
                    return Input { peer, bytes: packet(connection_id(peer), 2, &hashes) };
                }
            };
            Input { peer, bytes: text.into_bytes() }
        };
        let requests: Vec<Input> = (0..ANSWERS).map(request).collect();
        let together = |some: &[Input]| Input {
            peer: some.first().map_or(0, |input| input.peer),
            bytes: some.iter().flat_map(|input| input.bytes.iter().copied()).collect(),
        };
        requests.chunks(self.depth).map(together).collect()
    }

    /// Whether receiving the inputs once changes nothing for the second time, so that it can be
    /// done before, to warm up.
    pub(crate) fn repeats(&self) -> bool {
        !matches!(self.ask, Ask::Started | Ask::Stopped)
    }
}

/// What a client says that supports encryption.
const CRYPTO: &str = "&supportcrypto=1";

/// Twenty bytes of which five need no escape, the mean of random ones.
fn hash(torrent: usize) -> [u8; 20] {
    let mut hash = [b'a'; 20];
    for at in 0..15_usize {
        // An `a` stays behind every third byte.
        let byte = 0x80 | (torrent >> (7 * (at % 3)) & 0x7f) ^ at;
        hash[at + at.div_ceil(3)] = u8::try_from(byte).unwrap_or_default();
    }
    hash
}

/// The same in a query.
fn escaped(torrent: usize, upper: bool) -> String {
    let mut text = String::new();
    for byte in hash(torrent) {
        let _ = match byte {
            b'a' => write!(text, "a"),
            byte if upper => write!(text, "%{byte:02X}"),
            byte => write!(text, "%{byte:02x}"),
        };
    }
    text
}

/// Every other peer is a seeder.
fn fields(peer: usize) -> String {
    let progress = if peer.is_multiple_of(2) {
        "downloaded=1483407360&left=0"
    } else {
        "downloaded=0&left=1483407360"
    };
    format!("&port={}&uploaded=0&{progress}", 10_000 + peer)
}

fn qbittorrent(torrent: usize, peer: usize, event: &str, closes: bool) -> String {
    let numwant = if event == "&event=stopped" { 0 } else { 200 };
    format!(
        "GET /announce?info_hash={}&peer_id=-qB4650-EXuLFbgw!r!_{}&corrupt=0&key=C87A7012{event}&\
         numwant={numwant}&compact=1&no_peer_id=1&supportcrypto=1&redundant=0 HTTP/1.1\r\nHost: \
         tracker.example:6969\r\nUser-Agent: qBittorrent/4.6.5\r\nAccept-Encoding: gzip\r\n{}\r\n",
        escaped(torrent, false),
        fields(peer),
        if closes { "Connection: close\r\n" } else { "" },
    )
}

fn transmission(torrent: usize, peer: usize) -> String {
    format!(
        "GET /announce?info_hash={}&peer_id=-TR4060-5b9w3lrqj8xo{}&numwant=80&key=0AA3C86F&\
         compact=1&supportcrypto=1 HTTP/1.1\r\nHost: tracker.example:6969\r\nUser-Agent: \
         Transmission/4.0.6\r\nAccept: */*\r\nAccept-Encoding: deflate, gzip, br, zstd\r\n\r\n",
        escaped(torrent, true),
        fields(peer),
    )
}

fn dictionary(torrent: usize, peer: usize) -> String {
    format!(
        "GET /announce?info_hash={}&peer_id=bbbbbbbbbbbbbbbbbbbb{}&compact=0 HTTP/1.1\r\nHost: \
         tracker.example:6969\r\n\r\n",
        escaped(torrent, true),
        fields(peer),
    )
}

fn scrape(torrent: usize) -> String {
    format!(
        "GET /scrape?info_hash={} HTTP/1.1\r\nHost: tracker.example:6969\r\nUser-Agent: \
         qBittorrent/4.6.5\r\nAccept-Encoding: gzip\r\n\r\n",
        escaped(torrent, false),
    )
}

fn packet(connection_id: u64, action: u32, body: &[u8]) -> Vec<u8> {
    let transaction_id = 0x1234_5678_u32;
    let head = [&connection_id.to_be_bytes()[..], &action.to_be_bytes()];
    [&head.concat(), &transaction_id.to_be_bytes()[..], body].concat()
}

/// As libtorrent 2.0.8 announces, with its option; the peer is the one of [`fields`].
fn udp_announce(torrent: usize, peer: usize) -> Vec<u8> {
    let (downloaded, left) =
        if peer.is_multiple_of(2) { (1_483_407_360, 0) } else { (0, 1_483_407_360_u64) };
    let mut body = [&hash(torrent)[..], b"-LT2080-EXuLFbgw!r!_"].concat();
    body.extend(u64::to_be_bytes(downloaded));
    body.extend(left.to_be_bytes());
    // Uploaded; no event, no address.
    body.extend([0; 16]);
    body.extend(0xc87a_7012_u32.to_be_bytes());
    body.extend(200_u32.to_be_bytes());
    body.extend(u16::try_from(10_000 + peer).unwrap_or_default().to_be_bytes());
    body.extend(b"\x02\x09/announce");
    body
}
