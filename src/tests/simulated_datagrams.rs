//! The half of the simulated site that speaks UDP: sockets that are none, and clients whose packets
//! a network loses, doubles and delivers in any order.
//!
//! Every client has an address, a torrent and one of the tracker's addresses of its own, so what it
//! must be told follows from its own requests alone. It sends from another port each time, as
//! behind a NAT. Checked: each packet that the tracker takes is answered once, now or when the
//! registry has spoken; the answer goes back where the packet came from, by the socket and from the
//! local address that it came to; an id is believed for its time and for its address alone; no
//! stranger gets more than he sent.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;
use mio::Registry;

use crate::frontend::Udp;
use crate::ids::InfoHash;
use crate::listing::Listing;
use crate::server::{BatchSocket, Datagrams, ReceiveBatch, Received, SendBatch};
use crate::tracker::Round;
use crate::wire::udp::{CONNECTION_ID_INVALID, PROTOCOL_ID};

const SOCKETS: usize = 2;
const CLIENTS: u8 = 6;
const SLOT_S: u64 = 60;
/// Requests of one client; its ports are counted by them.
const ASKED_MAX: u16 = 40;

/// What a packet asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    Connect,
    /// As the peer on this port.
    Announce(u16),
    /// Its own torrent, one that nobody has, and its own again.
    Scrape,
    Nonsense,
}

/// One datagram on its way to the tracker.
#[derive(Clone)]
struct Datagram {
    number: u32,
    bytes: Vec<u8>,
    from: SocketAddr,
    to: IpAddr,
    socket: usize,
}

/// A request, and what it has come to. Its number is its transaction id.
struct Request {
    client: usize,
    ask: Ask,
    packet: Datagram,
    /// The slot of time that its connection id was given out in; none when nobody gave it out.
    id_slot: Option<u64>,
    /// Answers that are to come, and those that have.
    expected: Answers,
    seen: Answers,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Answers {
    /// That its connection id is not valid.
    strangers: u32,
    others: u32,
}

/// What lies between clients and tracker.
#[derive(Default)]
struct Network {
    /// At the sockets, and not received yet.
    arrived: [VecDeque<Datagram>; SOCKETS],
    /// Datagrams that have been received since somebody looked.
    received: Vec<u32>,
    /// Answers since somebody looked: socket, bytes, where to, and from which local address.
    answers: Vec<(usize, Vec<u8>, SocketAddr, IpAddr)>,
    /// Sockets that tell an error when they are received from next.
    broken: [bool; SOCKETS],
    /// Sockets of which there is something to tell.
    edges: [bool; SOCKETS],
}

pub(super) struct SimulatedSocket {
    network: Rc<RefCell<Network>>,
    position: usize,
}

impl BatchSocket for SimulatedSocket {
    fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<Received> {
        let mut network = self.network.borrow_mut();
        if std::mem::take(&mut network.broken[self.position]) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let arrived = &network.arrived[self.position];
        let parts = arrived.iter().map(|packet| (&packet.bytes[..], packet.from, packet.to));
        let count = batch.fill(parts);
        let numbers: Vec<u32> =
            network.arrived[self.position].drain(..count).map(|packet| packet.number).collect();
        network.received.extend(numbers);
        Ok(Received { count, drops: 0 })
    }

    fn send(&self, batch: &mut SendBatch) -> usize {
        let mut network = self.network.borrow_mut();
        batch.hand_over(|bytes, to, from| {
            let (to, from) = (to.expect("a destination"), from.expect("a local address"));
            network.answers.push((self.position, bytes.to_vec(), to, from));
        });
        0
    }

    fn unwatch(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

struct Client {
    torrent: InfoHash,
    /// The connection id it uses, and the slot of time it was given out in.
    id: Option<(u64, u64)>,
    asked: u16,
    /// Ports that are in its torrent's swarm.
    entered: BTreeSet<u16>,
}

/// Clients, network, and the tracker's datagrams.
pub(super) struct SimulatedDatagrams {
    pub(super) datagrams: Datagrams<SimulatedSocket>,
    network: Rc<RefCell<Network>>,
    clients: Vec<Client>,
    requests: HashMap<u32, Request>,
    /// Numbers of datagrams that are under way to a socket.
    under_way: Vec<u32>,
    unix_s: u64,
    listing: fn(&InfoHash) -> Listing,
}

impl SimulatedDatagrams {
    /// `listing` is what the database says of a torrent.
    pub(super) fn new(udp: Arc<Udp>, listing: fn(&InfoHash) -> Listing, rng: &mut Rng) -> Self {
        let network = Rc::<RefCell<Network>>::default();
        let sockets = (0..SOCKETS)
            .map(|position| SimulatedSocket { network: Rc::clone(&network), position })
            .collect();
        let client = |number: u8| {
            let mut torrent = InfoHash([rng.u8(..); 20]);
            torrent.0[1..3].copy_from_slice(&[0xff, number]);
            Client { torrent, id: None, asked: 0, entered: BTreeSet::new() }
        };
        SimulatedDatagrams {
            datagrams: Datagrams::new(0, udp, sockets),
            network,
            clients: (0..CLIENTS).map(client).collect(),
            requests: HashMap::new(),
            under_way: Vec::new(),
            unix_s: 1_700_000_000,
            listing,
        }
    }

    /// A client sends something.
    pub(super) fn ask(&mut self, rng: &mut Rng) {
        let at = rng.usize(..self.clients.len());
        let number = u32::try_from(self.requests.len()).unwrap();
        let client = &mut self.clients[at];
        if client.asked == ASKED_MAX {
            return;
        }
        client.asked += 1;
        let last = u8::try_from(at).unwrap();
        let ask = match rng.u8(..20) {
            0..3 => Ask::Connect,
            _ if client.id.is_none() => Ask::Connect,
            3..13 => Ask::Announce(1_000 + client.asked),
            13..19 => Ask::Scrape,
            _ => Ask::Nonsense,
        };
        let (id, id_slot) = match client.id {
            // A bit turned makes it nobody's.
            Some((id, _)) if rng.u8(..10) == 0 => (id ^ 1 << rng.u8(2..64), None),
            Some((id, slot)) => (id, Some(slot)),
            None => (0, None),
        };
        let bytes = packet_of(ask, number, id, &client.torrent);
        let packet = Datagram {
            number,
            bytes,
            from: SocketAddr::new([192, 0, 2, 100 + last].into(), rng.u16(1..)),
            to: IpAddr::V4(Ipv4Addr::new(198, 51, 100, last)),
            socket: at % SOCKETS,
        };
        let [expected, seen] = [Answers::default(); 2];
        self.requests.insert(number, Request { client: at, ask, packet, id_slot, expected, seen });
        self.under_way.push(number);
    }

    /// One of the packets under way arrives, is lost, or arrives and comes again.
    pub(super) fn deliver(&mut self, rng: &mut Rng) {
        if self.under_way.is_empty() {
            return;
        }
        let at = rng.usize(..self.under_way.len());
        let fate = rng.u8(..10);
        let number = match fate {
            0 => self.under_way[at],
            _ => self.under_way.swap_remove(at),
        };
        if fate > 1 {
            self.arrive(number);
        }
    }

    fn arrive(&mut self, number: u32) {
        let packet = self.requests[&number].packet.clone();
        let mut network = self.network.borrow_mut();
        network.edges[packet.socket] = true;
        network.arrived[packet.socket].push_back(packet);
    }

    /// Somebody turns the wall clock, mostly forward.
    pub(super) fn turn_clock(&mut self, rng: &mut Rng) {
        self.unix_s = self.unix_s + rng.u64(..100) - 20;
    }

    /// A socket has an error to tell, and the poll tells of the socket.
    pub(super) fn break_socket(&mut self, rng: &mut Rng) {
        let mut network = self.network.borrow_mut();
        let position = rng.usize(..SOCKETS);
        (network.broken[position], network.edges[position]) = (true, true);
    }

    /// One turn of a worker's loop: the poll tells of some edges, and who has something gets its
    /// turn.
    pub(super) fn poll(&mut self, rng: &mut Rng, round: &mut Round<'_>) {
        for position in 0..SOCKETS {
            if rng.u8(..4) > 0 && std::mem::take(&mut self.network.borrow_mut().edges[position]) {
                self.datagrams.note(position);
            }
        }
        if self.datagrams.can_go_on() {
            self.datagrams.serve(self.unix_s, round);
        }
        self.look();
    }

    /// Looks at what the tracker has received and answered since the last time.
    pub(super) fn look(&mut self) {
        let (received, answers) = {
            let mut network = self.network.borrow_mut();
            (std::mem::take(&mut network.received), std::mem::take(&mut network.answers))
        };
        for number in received {
            let now = self.unix_s / SLOT_S;
            let request = self.requests.get_mut(&number).unwrap();
            match request.ask {
                Ask::Nonsense => {}
                Ask::Connect => request.expected.others += 1,
                // Of this slot, the two before, or the one to come: the clock was set back.
                _ if request.id_slot.is_some_and(|slot| slot <= now + 1 && now <= slot + 2) => {
                    request.expected.others += 1;
                }
                _ => request.expected.strangers += 1,
            }
        }
        for answer in answers {
            self.check(&answer);
        }
    }

    fn check(&mut self, (socket, bytes, to, from): &(usize, Vec<u8>, SocketAddr, IpAddr)) {
        let request = self.requests.get_mut(&number(bytes, 4)).expect("an answer to nobody");
        let what = format!("{:?} of client {}: {bytes:?}", request.ask, request.client);
        assert_eq!(*socket, request.packet.socket, "the socket of {what}");
        assert_eq!(*to, request.packet.from, "the destination of {what}");
        assert_eq!(*from, request.packet.to, "the local address of {what}");
        let action = number(bytes, 0);
        let text = String::from_utf8_lossy(&bytes[8..]);
        if action == 3 && CONNECTION_ID_INVALID.starts_with(&*text) {
            request.seen.strangers += 1;
            assert!(bytes.len() <= request.packet.bytes.len(), "more than was sent: {what}");
        } else {
            request.seen.others += 1;
        }
        let (seen, expected) = (request.seen, request.expected);
        let too_many = seen.strangers > expected.strangers || seen.others > expected.others;
        assert!(!too_many, "{seen:?} of {expected:?}: {what}");
        if action == 3
            && (CONNECTION_ID_INVALID.starts_with(&*text) || text.contains("the tracker"))
        {
            return;
        }
        let client = &mut self.clients[request.client];
        match (request.ask, (self.listing)(&client.torrent)) {
            (Ask::Connect, _) => {
                assert_eq!((action, bytes.len()), (0, 16), "{what}");
                let id = u64::from_be_bytes(bytes[8..].try_into().unwrap());
                client.id = Some((id, self.unix_s / SLOT_S));
            }
            (Ask::Announce(port), Listing::Listed) => {
                client.entered.insert(port);
                assert_eq!(action, 1, "{what}");
                let counts = (number(bytes, 12) as usize, number(bytes, 16));
                assert_eq!(counts, (client.entered.len(), 0), "leechers and seeders: {what}");
            }
            (Ask::Announce(_), listing) => {
                let reason = if listing == Listing::Banned { "#6" } else { "#5" };
                assert!(action == 3 && text.starts_with(reason), "no {reason}: {what}");
            }
            (Ask::Scrape, _) => {
                let counts: Vec<u32> = (0..9).map(|at| number(bytes, 8 + 4 * at)).collect();
                let own = u32::try_from(client.entered.len()).unwrap();
                assert_eq!(counts, [0, 0, own, 0, 0, 0, 0, 0, own], "{what}");
                assert_eq!((action, bytes.len()), (2, 44), "{what}");
            }
            (Ask::Nonsense, _) => panic!("an answer: {what}"),
        }
    }

    /// All that is under way arrives, once.
    pub(super) fn deliver_all(&mut self) {
        for number in std::mem::take(&mut self.under_way) {
            self.arrive(number);
        }
    }

    /// Whatever has been received has been answered.
    pub(super) fn check_all_answered(&self) {
        let left: usize = self.network.borrow().arrived.iter().map(VecDeque::len).sum();
        assert_eq!(left, 0, "datagrams that nobody has received");
        assert!(!self.datagrams.is_waiting(), "somebody still waits");
        for (number, request) in &self.requests {
            let Request { client, ask, expected, seen, .. } = request;
            assert_eq!(seen, expected, "answers to {ask:?} of client {client}, number {number}");
        }
    }
}

fn packet_of(ask: Ask, number: u32, id: u64, torrent: &InfoHash) -> Vec<u8> {
    let (id, action, body) = match ask {
        Ask::Connect => (PROTOCOL_ID, 0_u32, vec![]),
        Ask::Announce(port) => {
            let mut body = [&torrent.0[..], &[b'p'; 20], &[0; 42]].concat();
            // Something is left; as many peers as by default.
            body[55] = 1;
            body[76..80].fill(0xff);
            body[80..].copy_from_slice(&port.to_be_bytes());
            (id, 1, body)
        }
        Ask::Scrape => (id, 2, [torrent.0, [0xfe; 20], torrent.0].concat()),
        Ask::Nonsense => (id, 7, vec![7; 82]),
    };
    let head = [&id.to_be_bytes()[..], &action.to_be_bytes(), &number.to_be_bytes()];
    [&head.concat()[..], &body].concat()
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let field = bytes[at..].first_chunk().expect("a whole number");
    u32::from_be_bytes(*field)
}
