//! Clients at full speed, while the tracker under them is replaced: some with a connection for
//! each announce, some that keep theirs, some over UDP.
//!
//! Owns: what was asked, and what was not answered as it must be. A client is one download after
//! the other: a new peer starts, and completes. So what the tracker must count at the end is known
//! to the peer, whoever counted it.
//!
//! Limits: an answer is waited for as long as anything in the tests. Nobody asks twice.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::support::PATIENCE;
use crate::support::http::percent_encoded;
use crate::support::udp::UdpClient;

/// Clients in all.
const CLIENTS: u16 = 64;
/// What they announce.
pub(crate) const TORRENTS: usize = 4;
/// The port of a client's first peer.
const PORT_MIN: u16 = 1_024;
/// Downloads of one client, each of a port of its own.
const DOWNLOADS_MAX: u16 = 60_000;
/// Downloads over UDP with one connection id, which is good for two minutes.
const DOWNLOADS_PER_ID: u16 = 200;
/// Where an announce over UDP has its event, and what says that the download is complete.
const EVENT_AT: usize = 80;
const COMPLETED: u32 = 1;
/// The action of an answer to an announce.
const ANNOUNCED: [u8; 4] = 1_u32.to_be_bytes();

/// A torrent by its number.
pub(crate) fn hash(torrent: usize) -> [u8; 20] {
    [b'a' + u8::try_from(torrent).expect("few torrents"); 20]
}

/// How a client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    NewConnections,
    KeptConnection,
    Udp,
}

/// What has come of the clients' announces.
#[derive(Default)]
pub(crate) struct Tally {
    /// Announces that were sent.
    pub(crate) announces: u64,
    /// Downloads that were completed, of each torrent.
    pub(crate) downloads: [u64; TORRENTS],
    /// What was refused, reset, or answered wrongly.
    pub(crate) failures: Vec<String>,
    /// The longest time for an answer.
    pub(crate) longest: Duration,
}

/// Clients that announce until they are told to stop.
pub(crate) struct Crowd {
    stopping: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Crowd {
    /// Begins to announce to the tracker at an address, over TCP and UDP.
    pub(crate) fn start(tracker: SocketAddr) -> Crowd {
        let stopping = Arc::new(AtomicBool::new(false));
        let client = |number: u16| {
            let manner = match number % 4 {
                0 | 1 => Manner::NewConnections,
                2 => Manner::KeptConnection,
                _ => Manner::Udp,
            };
            let [high, low] = (256 + number).to_be_bytes();
            let client = Client { manner, tracker, ip: Ipv4Addr::new(127, 0, high, low) };
            let stopping = Arc::clone(&stopping);
            thread::spawn(move || client.run(usize::from(number) % TORRENTS, &stopping))
        };
        Crowd { clients: (1..=CLIENTS).map(client).collect(), stopping: Arc::clone(&stopping) }
    }

    /// Has each client finish its download, and sums up.
    pub(crate) fn stop(self) -> Tally {
        self.stopping.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for client in self.clients {
            match client.join() {
                Ok(tally) => sum.add(tally),
                Err(_) => sum.failures.push("a client gave up, see its panic".to_owned()),
            }
        }
        sum
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.announces += other.announces;
        self.failures.extend(other.failures);
        self.longest = self.longest.max(other.longest);
        for (sum, downloads) in self.downloads.iter_mut().zip(other.downloads) {
            *sum += downloads;
        }
    }

    /// Expects that everybody was answered.
    #[track_caller]
    pub(crate) fn assert_nothing_lost(&self, what: &str) {
        let Tally { announces, failures, longest, .. } = self;
        eprintln!("{what}: {announces} announces, {} failed, {longest:?} at most", failures.len());
        let first: Vec<&String> = failures.iter().take(10).collect();
        assert!(failures.is_empty(), "{what}: {} of {announces}: {first:#?}", failures.len());
        assert!(*announces > 1_000, "{what}: only {announces} announces: hardly a crowd");
    }
}

#[derive(Clone, Copy)]
struct Client {
    manner: Manner,
    tracker: SocketAddr,
    ip: Ipv4Addr,
}

/// One peer's announce.
#[derive(Clone, Copy)]
struct Announce {
    torrent: usize,
    port: u16,
    completed: bool,
}

impl Client {
    fn run(self, torrent: usize, stopping: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        let mut kept = None;
        let mut udp = None;
        for download in 0..DOWNLOADS_MAX {
            if stopping.load(Ordering::Relaxed) {
                break;
            }
            if self.manner == Manner::Udp && download % DOWNLOADS_PER_ID == 0 {
                udp = Some(UdpClient::connect(IpAddr::V4(self.ip), self.tracker));
            }
            for completed in [false, true] {
                let announce = Announce { torrent, port: PORT_MIN + download, completed };
                let begun = Instant::now();
                let outcome = match &udp {
                    Some(udp) => ask_by_udp(udp, announce),
                    None => self.ask(&mut kept, announce),
                };
                tally.announces += 1;
                tally.longest = tally.longest.max(begun.elapsed());
                match outcome {
                    Ok(()) => tally.downloads[torrent] += u64::from(completed),
                    Err(error) => tally.failures.push(format!("{:?}: {error}", self.manner)),
                }
            }
        }
        tally
    }

    fn ask(self, kept: &mut Option<BufReader<TcpStream>>, announce: Announce) -> io::Result<()> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => BufReader::new(self.connect()?),
        };
        let keeps = self.manner == Manner::KeptConnection;
        connection.get_mut().write_all(request(announce, keeps).as_bytes())?;
        let is_kept = read_reply(&mut connection)?;
        *kept = (keeps && is_kept).then_some(connection);
        Ok(())
    }

    fn connect(self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from((self.ip, 0)).into())?;
        socket.connect_timeout(&self.tracker.into(), PATIENCE)?;
        let stream: TcpStream = socket.into();
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

fn request(announce: Announce, keeps: bool) -> String {
    let Announce { torrent, port, completed } = announce;
    let (left, event) = if completed { (0, "completed") } else { (1, "started") };
    let connection = if keeps { "" } else { "Connection: close\r\n" };
    format!(
        "GET /announce?info_hash={}&peer_id=-XX0001-abcdefghijkl&port={port}&uploaded=0\
         &downloaded=0&left={left}&event={event} HTTP/1.1\r\nHost: tracker\r\n{connection}\r\n",
        percent_encoded(&hash(torrent))
    )
}

/// Reads the answer to an announce; whether the connection stays.
fn read_reply(connection: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            let said = if head.is_empty() { "before the answer" } else { "in the answer" };
            return Err(io::Error::other(format!("the connection was closed {said}")));
        }
        head += &line;
    }
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let bytes = header("Content-Length: ").and_then(|bytes| bytes.parse().ok());
    let mut body = vec![0; bytes.ok_or(ErrorKind::InvalidData)?];
    connection.read_exact(&mut body)?;
    let is_good = head.starts_with("HTTP/1.1 200 ") && body.starts_with(b"d8:complete");
    if !is_good {
        return Err(io::Error::other(format!("{head}{}", body.escape_ascii())));
    }
    Ok(header("Connection: close").is_none())
}

fn ask_by_udp(client: &UdpClient, announce: Announce) -> io::Result<()> {
    let Announce { torrent, port, completed } = announce;
    let mut packet = client.announce_packet(&hash(torrent), port, u64::from(!completed));
    if completed {
        packet[EVENT_AT..EVENT_AT + 4].copy_from_slice(&COMPLETED.to_be_bytes());
    }
    client.send(&packet);
    let answer = client.receive();
    match answer.starts_with(&ANNOUNCED) {
        true => Ok(()),
        false => Err(io::Error::other(format!("{}", answer.escape_ascii()))),
    }
}
