//! BEP 15 by hand over a blocking socket: the packets that go out are the test's own, and answers
//! are taken apart here, without the tracker's code.
//!
//! Owns: one client's socket and its connection id. It is connected to the address that it asks, so
//! an answer from another address never arrives. Limits: every read is bounded by [`PATIENCE`].

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::PATIENCE;

const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;
/// The last byte of the event.
const COMPLETED: u8 = 1;

/// The answer to an announce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Announced {
    pub(crate) interval_s: u32,
    pub(crate) leechers: u32,
    pub(crate) seeders: u32,
    pub(crate) peers: Vec<SocketAddr>,
}

/// One client.
pub(crate) struct UdpClient {
    socket: UdpSocket,
    /// Its connection id.
    pub(crate) id: u64,
}

impl UdpClient {
    /// A client at `from` that has no connection id yet.
    #[track_caller]
    pub(crate) fn bind(from: IpAddr, tracker: SocketAddr) -> UdpClient {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).expect("a free port");
        socket.connect(tracker).expect("a loopback address");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit that is not 0");
        UdpClient { socket, id: 0 }
    }

    /// A client at `from` that the tracker has given a connection id.
    #[track_caller]
    pub(crate) fn connect(from: IpAddr, tracker: SocketAddr) -> UdpClient {
        let mut client = UdpClient::bind(from, tracker);
        client.ask_for_id();
        let answer = client.receive();
        assert_eq!(answer.len(), 16, "the answer to a connect: {answer:?}");
        assert_eq!(number(&answer, 0), CONNECT, "its action: {answer:?}");
        assert_eq!(number(&answer, 4), 77, "its transaction id: {answer:?}");
        client.id = u64::from_be_bytes(answer[8..].try_into().expect("8 bytes"));
        client
    }

    /// Asks for a connection id.
    #[track_caller]
    pub(crate) fn ask_for_id(&self) {
        self.send(&packet(PROTOCOL_ID, CONNECT, 77, &[]));
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.socket.send(bytes).expect("the tracker listens");
    }

    /// The next answer.
    #[track_caller]
    pub(crate) fn receive(&self) -> Vec<u8> {
        let mut bytes = [0; 2_048];
        let count = self.socket.recv(&mut bytes).expect("an answer");
        bytes[..count].to_vec()
    }

    /// The next answer, if one comes within `limit`.
    #[track_caller]
    pub(crate) fn try_receive(&self, limit: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(limit)).expect("a limit that is not 0");
        let mut bytes = [0; 2_048];
        let answer = self.socket.recv(&mut bytes).ok().map(|count| bytes[..count].to_vec());
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a limit that is not 0");
        answer
    }

    /// Announces as a peer on `port` that starts; the text of the error when it is refused.
    #[track_caller]
    pub(crate) fn announce(
        &self,
        hash: &[u8; 20],
        port: u16,
        left: u64,
    ) -> Result<Announced, String> {
        self.exchange(&self.announce_packet(hash, port, left))
    }

    /// Announces that the peer on `port` has completed; the text of the error when it is refused.
    #[track_caller]
    pub(crate) fn complete(&self, hash: &[u8; 20], port: u16) -> Result<Announced, String> {
        let mut packet = self.announce_packet(hash, port, 0);
        packet[83] = COMPLETED;
        self.exchange(&packet)
    }

    /// Sends an announce, and reads its answer.
    #[track_caller]
    fn exchange(&self, packet: &[u8]) -> Result<Announced, String> {
        self.send(packet);
        let answer = self.answer(ANNOUNCE)?;
        let peer_bytes = if self.ip().is_ipv4() { 6 } else { 18 };
        Ok(Announced {
            interval_s: number(&answer, 8),
            leechers: number(&answer, 12),
            seeders: number(&answer, 16),
            peers: answer[20..].chunks(peer_bytes).map(peer).collect(),
        })
    }

    /// The packet of an announce that says `started`.
    pub(crate) fn announce_packet(&self, hash: &[u8; 20], port: u16, left: u64) -> Vec<u8> {
        let mut body = [&hash[..], b"-XX0001-abcdefghijkl", &[0; 8]].concat();
        body.extend(left.to_be_bytes());
        // Uploaded; the event; address and key; as many peers as by default.
        body.extend([0; 8]);
        body.extend(2_u32.to_be_bytes());
        body.extend([0; 8]);
        body.extend((-1_i32).to_be_bytes());
        body.extend(port.to_be_bytes());
        packet(self.id, ANNOUNCE, 78, &body)
    }

    /// Seeders, completed downloads and leechers of each torrent; the text of the error when it is
    /// refused.
    #[track_caller]
    pub(crate) fn scrape(&self, hashes: &[[u8; 20]]) -> Result<Vec<[u32; 3]>, String> {
        self.send(&packet(self.id, SCRAPE, 78, &hashes.concat()));
        let answer = self.answer(SCRAPE)?;
        let entries = answer[8..].chunks(12);
        Ok(entries.map(|entry| [0, 4, 8].map(|at| number(entry, at))).collect())
    }

    /// The answer to a request, with its first fields checked.
    #[track_caller]
    fn answer(&self, action: u32) -> Result<Vec<u8>, String> {
        let answer = self.receive();
        assert_eq!(number(&answer, 4), 78, "its transaction id: {answer:?}");
        match number(&answer, 0) {
            ERROR => Err(String::from_utf8_lossy(&answer[8..]).into_owned()),
            answered => {
                assert_eq!(answered, action, "its action: {answer:?}");
                Ok(answer)
            }
        }
    }

    fn ip(&self) -> IpAddr {
        self.socket.peer_addr().expect("it is connected").ip()
    }
}

fn packet(id: u64, action: u32, transaction_id: u32, body: &[u8]) -> Vec<u8> {
    let head = [&id.to_be_bytes()[..], &action.to_be_bytes(), &transaction_id.to_be_bytes()];
    [&head.concat(), body].concat()
}

#[track_caller]
fn number(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..at + 4).unwrap_or_else(|| panic!("too short: {bytes:?}"));
    u32::from_be_bytes(field.try_into().expect("4 bytes"))
}

#[track_caller]
fn peer(bytes: &[u8]) -> SocketAddr {
    let (ip, port) = bytes.split_at(bytes.len() - 2);
    let port = u16::from_be_bytes(port.try_into().expect("2 bytes"));
    match <[u8; 4]>::try_from(ip) {
        Ok(ip) => SocketAddr::new(ip.into(), port),
        Err(_) => SocketAddr::new(<[u8; 16]>::try_from(ip).expect("a whole peer").into(), port),
    }
}
