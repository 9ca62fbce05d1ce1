//! A slow database behind the real server, asked over UDP: who waits is answered when it has
//! spoken, under the rules of HTTP, and nobody else waits at all.

use std::net::UdpSocket;
use std::time::Duration;

use crate::config::Mode;
use crate::counters::Counter;
use crate::daemon::Daemon;
use crate::tests::late_registry::{
    BANNED, Database, KNOWN, PATIENCE, Peer, REASON, UNKNOWN, announce as http_announce, start,
    wait_for,
};

const PROTOCOL_ID: [u8; 8] = [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80];

/// A client with a connection id.
struct Client {
    socket: UdpSocket,
    id: [u8; 8],
}

impl Client {
    fn connect(server: &Daemon) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server.udp_addresses()[0]).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client { socket, id: PROTOCOL_ID };
        client.send(0, &[]);
        client.id = client.receive()[8..].try_into().unwrap();
        client
    }

    fn send(&self, action: u8, body: &[u8]) {
        let packet = [&self.id[..], &[0, 0, 0, action, 0, 0, 0, 7], body].concat();
        self.socket.send(&packet).unwrap();
    }

    /// A leecher on port 6881 of the torrent that begins with this byte.
    fn announce(&self, first: u8) {
        let mut body = [0; 82];
        body[..20].copy_from_slice(&hash(first));
        // Something is left.
        body[55] = 1;
        body[80..].copy_from_slice(&[0x1a, 0xe1]);
        self.send(1, &body);
    }

    fn receive(&self) -> Vec<u8> {
        let mut bytes = [0; 2_048];
        let count = self.socket.recv(&mut bytes).expect("an answer");
        assert_eq!(bytes[4..8], [0, 0, 0, 7], "the transaction id");
        bytes[..count].to_vec()
    }

    /// Leechers and seeders; the text of the error when it is refused.
    fn announced(&self) -> Result<(u8, u8), String> {
        let answer = self.receive();
        match answer[3] {
            1 => Ok((answer[15], answer[19])),
            3 => Err(String::from_utf8(answer[8..].to_vec()).unwrap()),
            action => panic!("an answer to {action}"),
        }
    }
}

/// As [`http_announce`] has it.
fn hash(first: u8) -> [u8; 20] {
    let mut hash = [b'a'; 20];
    hash[0] = first;
    hash
}

fn stop(server: Daemon, database: Database) {
    drop(database);
    server.stop_and_join(PATIENCE).unwrap();
}

#[test]
fn an_announce_waits_until_the_database_has_spoken_and_nobody_else_does() {
    let served = Ok((1, 0));
    let not_registered = Err("#5 this torrent is not registered with this tracker".to_owned());
    let banned = Err(format!("#6 this torrent is banned from this tracker: {REASON}"));
    for (mode, torrent, expected) in [
        (Mode::Registered, KNOWN, &served),
        (Mode::Registered, UNKNOWN, &not_registered),
        (Mode::Registered, BANNED, &banned),
        (Mode::Open, KNOWN, &served),
        (Mode::Open, UNKNOWN, &served),
        (Mode::Open, BANNED, &banned),
    ] {
        let (server, database) = start(mode, |_| ());
        let client = Client::connect(&server);
        client.announce(torrent);
        assert_eq!(database.question().len(), 1);
        // Its answer would be the first to come.
        let other = Client::connect(&server);
        let port_0 = [&hash(torrent)[..], &[0; 62]].concat();
        other.send(1, &port_0);
        assert!(other.announced().is_err_and(|text| text.starts_with("#4")), "nobody else waits");
        client.send(1, &port_0);
        assert!(client.announced().is_err_and(|text| text.starts_with("#4")), "nor its next one");
        database.answer();
        assert_eq!(client.announced(), *expected, "{mode}, {}", char::from(torrent));
        stop(server, database);
    }
}

#[test]
fn a_connection_and_a_datagram_that_wait_get_their_own_answers() {
    let (server, database) = start(Mode::Registered, |_| ());
    let (mut peer, client) = (Peer::connect(&server), Client::connect(&server));
    // Each is in the first slot of its kind.
    peer.send(&[&http_announce(KNOWN)]);
    database.question();
    client.announce(BANNED);
    wait_for(&server, Counter::Parked, 2);
    database.answer();
    assert!(peer.reply().contains("10:incompletei1e"), "the connection's answer");
    database.question();
    database.answer();
    assert!(client.announced().is_err_and(|text| text.starts_with("#6")), "the datagram's");
    assert_eq!(server.counters().count(Counter::LateAnswer), 0, "all have found their way");
    stop(server, database);
}

#[test]
fn a_scrape_waits_for_all_its_torrents_and_keeps_their_order() {
    let (server, database) = start(Mode::Registered, |_| ());
    let client = Client::connect(&server);
    client.announce(KNOWN);
    database.question();
    database.answer();
    assert_eq!(client.announced(), Ok((1, 0)));
    let hashes = [UNKNOWN, KNOWN, BANNED, KNOWN];
    client.send(2, &hashes.map(hash).concat());
    let mut asked = 0;
    while asked < 2 {
        asked += database.question().len();
        database.answer();
    }
    let answer = client.receive();
    let leechers: Vec<u8> = answer[8..].chunks(12).map(|entry| entry[11]).collect();
    assert_eq!((answer[3], leechers), (2, vec![0, 1, 0, 1]), "{answer:?}");
    stop(server, database);
}

#[test]
fn without_an_answer_in_time_open_mode_serves_and_registered_mode_says_so() {
    let away = Err("the tracker's database is away, please try again later".to_owned());
    for (mode, expected) in [(Mode::Open, Ok((1, 0))), (Mode::Registered, away)] {
        let (server, database) =
            start(mode, |config| config.database.lookup_timeout = Duration::from_millis(200));
        let client = Client::connect(&server);
        client.announce(KNOWN);
        assert_eq!(client.announced(), expected, "{mode}");
        stop(server, database);
    }
}

#[test]
fn who_waits_when_the_tracker_stops_is_still_answered() {
    let (server, database) = start(Mode::Registered, |_| ());
    let client = Client::connect(&server);
    client.announce(KNOWN);
    database.question();
    let stopping = std::thread::spawn(move || server.stop_and_join(PATIENCE));
    database.answer();
    assert_eq!(client.announced(), Ok((1, 0)), "the late answer");
    stopping.join().unwrap().unwrap();
    drop(database);
}
