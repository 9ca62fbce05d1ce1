//! The load over UDP: some sockets with a window of requests under way on each, driven from one
//! epoll loop.
//!
//! Owns: the sockets of one server, their connection ids, and what came of their requests. An
//! answer is known by its transaction id, and checked to be no error. Requests and answers of a
//! socket go in batches, so that the load costs less than any server that looks at what it reads.
//!
//! What is not answered in [`LOST_AFTER`] counts as an error and is not asked again: its peer comes
//! back with its next turn. Each socket begins with one request and has one more under way with
//! each answer, up to its window; otherwise the first burst would overrun the server's socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::client::Tally;
use crate::population::{Peer, Population, address};
use crate::udp_request::{ConnectionId, Packet, UdpAnswer};
use crate::walk::Walk;

/// Answers read at once.
const BATCH_MAX: usize = 16;
const ANSWER_BYTES_MAX: usize = 2_048;
/// A request without an answer is given up after so long.
const LOST_AFTER: Duration = Duration::from_millis(250);
/// How often that is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A server is asked for connection ids so often before it is said not to answer.
const CONNECTS_MAX: usize = 4;
/// Clients may use an id for a minute (BEP 15).
const ID_LIFE: Duration = Duration::from_secs(30);
/// Failures of a round that make it pointless to go on with it.
const ERRORS_MAX: u64 = 100_000;
/// The transaction id of a connect that stands for itself; no other is so small.
const CONNECT_TRANSACTION: u32 = 1;
/// Low bits of a transaction id: the place in the window.
const PLACE_BITS: u32 = 8;

/// What is sent over UDP, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UdpTraffic {
    pub(crate) sockets: usize,
    /// Requests under way on each.
    pub(crate) window: usize,
    /// Whether each announce has a connect of its own.
    pub(crate) connects: bool,
    /// Whether to look for answers all the time instead of sleeping until there are some.
    pub(crate) spins: bool,
    pub(crate) numwant: u16,
    /// Whether peers are new.
    pub(crate) started: bool,
    /// A scrape in place of one announce of so many.
    pub(crate) scrape_in: Option<usize>,
}

/// What a place in a window waits for.
#[derive(Clone, Copy)]
enum Stage {
    Free,
    /// The connection id, for the announce of this peer.
    Connecting(Peer),
    Asked,
}

/// A place in a window.
#[derive(Clone, Copy)]
struct Place {
    stage: Stage,
    transaction: u32,
    since: Instant,
}

/// One socket.
struct Port {
    socket: OwnedFd,
    id: Option<ConnectionId>,
    places: Vec<Place>,
    /// Places in use.
    under_way: usize,
    /// Places that may be in use.
    open: usize,
    /// Requests so far.
    turns: u32,
}

/// See the module.
pub(crate) struct UdpClient<'p> {
    population: &'p Population,
    traffic: UdpTraffic,
    walk: Walk,
    epoll: OwnedFd,
    ports: Vec<Port>,
    incoming: MultiHeaders<SockaddrIn>,
    outgoing: MultiHeaders<SockaddrIn>,
    answers: Vec<[u8; ANSWER_BYTES_MAX]>,
    /// Written, and not yet sent.
    packets: Vec<Packet>,
    /// When the sockets got their connection ids.
    connected: Option<Instant>,
    until: Option<Instant>,
    tally: Tally,
    /// Requests under way on all sockets.
    under_way: usize,
    requests: usize,
}

impl<'p> UdpClient<'p> {
    /// A load that has not begun.
    pub(crate) fn new(
        population: &'p Population,
        server: SocketAddrV4,
        traffic: UdpTraffic,
        walk: Walk,
    ) -> io::Result<UdpClient<'p>> {
        let window = traffic.window.clamp(1, 1 << PLACE_BITS);
        let free = Place { stage: Stage::Free, transaction: 0, since: Instant::now() };
        let port = |from| {
            Ok(Port {
                socket: open(from, server)?,
                id: None,
                places: vec![free; window],
                under_way: 0,
                open: 1,
                turns: 0,
            })
        };
        let ports = (0..traffic.sockets.min(population.addresses())).map(port);
        let ports = ports.collect::<io::Result<Vec<Port>>>()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (at, port) in ports.iter().enumerate() {
            let flags = EventFlags::IN | EventFlags::ET;
            epoll::add(&epoll, &port.socket, EventData::new_u64(at as u64), flags)?;
        }
        Ok(UdpClient {
            population,
            traffic,
            walk,
            epoll,
            ports,
            incoming: MultiHeaders::preallocate(BATCH_MAX, None),
            outgoing: MultiHeaders::preallocate(window, None),
            answers: vec![[0; ANSWER_BYTES_MAX]; BATCH_MAX],
            packets: Vec::with_capacity(window),
            connected: None,
            until: None,
            tally: Tally::new(),
            under_way: 0,
            requests: 0,
        })
    }

    /// Sends until `until`, or until every peer has had its turn, and waits for the answers.
    pub(crate) fn run(&mut self, until: Option<Instant>) -> io::Result<Tally> {
        let begun = Instant::now();
        self.connect()?;
        (self.until, self.tally) = (until.map(|until| until + begun.elapsed()), Tally::new());
        self.ports.iter_mut().for_each(|port| port.open = 1);
        (0..self.ports.len()).for_each(|at| self.refill(at));
        let mut events = Vec::with_capacity(self.ports.len());
        let wait = match self.traffic.spins {
            true => Timespec::default(),
            false => Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.subsec_nanos().into() },
        };
        let mut looked = Instant::now();
        while self.under_way > 0 {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Err(error) if error != Errno::INTR => return Err(error.into()),
                _ => {}
            }
            for event in events.drain(..) {
                self.ready(usize::try_from(event.data.u64()).unwrap_or(usize::MAX));
            }
            let now = Instant::now();
            if now.duration_since(looked) > LOOK_EVERY {
                looked = now;
                self.give_up_lost(now);
            }
        }
        Ok(std::mem::replace(&mut self.tally, Tally::new()))
    }

    /// Asks for connection ids on all sockets, unless those they have will do, and waits for them.
    fn connect(&mut self) -> io::Result<()> {
        if self.connected.is_some_and(|connected| connected.elapsed() < ID_LIFE) {
            return Ok(());
        }
        self.ports.iter_mut().for_each(|port| port.id = None);
        for _ in 0..CONNECTS_MAX {
            self.ports.iter_mut().for_each(Port::ask_for_id);
            let begun = Instant::now();
            while begun.elapsed() < LOST_AFTER {
                self.ports.iter_mut().for_each(Port::take_id);
                if self.ports.iter().all(|port| port.id.is_some()) {
                    self.connected = Some(Instant::now());
                    return Ok(());
                }
                std::thread::yield_now();
            }
        }
        Err(io::Error::other("not available: it does not answer over UDP"))
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until) || self.tally.errors > ERRORS_MAX
    }

    /// Sends the next requests of a socket, as many as it has room for.
    fn refill(&mut self, at: usize) {
        while !self.is_over() && self.ports[at].under_way < self.ports[at].open {
            let Some(peer) = self.walk.next_of(at, self.population) else { break };
            self.requests += 1;
            let scrapes =
                self.traffic.scrape_in.is_some_and(|one_in| self.requests.is_multiple_of(one_in));
            let port = &mut self.ports[at];
            let stage = if self.traffic.connects { Stage::Connecting(peer) } else { Stage::Asked };
            let Some(transaction) = port.take_place(stage) else { break };
            self.under_way += 1;
            let id = port.id.unwrap_or_default();
            self.packets.push(match stage {
                Stage::Connecting(_) => Packet::connect(transaction),
                _ if scrapes => Packet::scrape(id, transaction, peer, self.population),
                _ => self.announce(id, transaction, peer),
            });
        }
        self.send(at);
    }

    fn announce(&self, id: ConnectionId, transaction: u32, peer: Peer) -> Packet {
        let UdpTraffic { numwant, started, .. } = self.traffic;
        Packet::announce((id, transaction), peer, self.population, numwant, started)
    }

    /// Sends what has been written. What the socket does not take is lost, and noticed later.
    fn send(&mut self, at: usize) {
        let socket = self.ports[at].socket.as_raw_fd();
        for packets in self.packets.chunks(BATCH_MAX) {
            let mut next = packets.iter();
            let slices: [[IoSlice<'_>; 1]; BATCH_MAX] = std::array::from_fn(|_| {
                [IoSlice::new(next.next().map(Packet::bytes).unwrap_or_default())]
            });
            let (slices, to) = (&slices[..packets.len()], &[None; BATCH_MAX][..packets.len()]);
            let _ = sendmmsg(socket, &mut self.outgoing, slices, to, [], MsgFlags::MSG_DONTWAIT);
        }
        self.packets.clear();
    }

    /// Takes in the answers of a socket and sends the next requests.
    fn ready(&mut self, at: usize) {
        loop {
            let (lengths, count) = self.receive(at);
            let now = Instant::now();
            for (place, bytes) in lengths[..count].iter().enumerate() {
                self.take(at, place, *bytes, now);
            }
            if count < BATCH_MAX {
                break;
            }
        }
        self.refill(at);
    }

    /// Reads a batch of answers; their lengths, and how many they are.
    fn receive(&mut self, at: usize) -> ([usize; BATCH_MAX], usize) {
        let mut answers = self.answers.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH_MAX] = std::array::from_fn(|_| {
            [IoSliceMut::new(answers.next().map(|answer| &mut answer[..]).unwrap_or_default())]
        });
        let socket = self.ports[at].socket.as_raw_fd();
        let (mut lengths, flags) = ([0; BATCH_MAX], MsgFlags::MSG_DONTWAIT);
        let received = recvmmsg(socket, &mut self.incoming, slices.iter_mut(), flags, None);
        let count = received.map_or(0, |received| {
            received.zip(&mut lengths).map(|(answer, length)| *length = answer.bytes).count()
        });
        (lengths, count)
    }

    /// Takes in one answer.
    fn take(&mut self, at: usize, answer: usize, bytes: usize, now: Instant) {
        let parsed = UdpAnswer::of(&self.answers[answer][..bytes]);
        // One that was given up may still be answered.
        let Some((answer, transaction)) = parsed else { return };
        let port = &mut self.ports[at];
        let Some(place) = port.place_of(transaction) else { return };
        match (place.stage, answer) {
            (Stage::Connecting(peer), UdpAnswer::Connected(id)) => {
                place.stage = Stage::Asked;
                let packet = self.announce(id, transaction, peer);
                self.packets.push(packet);
                return;
            }
            (Stage::Asked, UdpAnswer::Good) => {
                let latency = now.duration_since(place.since).as_nanos();
                self.tally.latencies.add(u64::try_from(latency).unwrap_or(u64::MAX));
                self.tally.answers += 1;
                self.tally.reply_bytes += bytes as u64;
            }
            _ => self.tally.errors += 1,
        }
        place.stage = Stage::Free;
        port.under_way -= 1;
        port.open = (port.open + 1).min(port.places.len());
        self.under_way -= 1;
    }

    /// Gives up what has waited for too long.
    fn give_up_lost(&mut self, now: Instant) {
        for at in 0..self.ports.len() {
            let port = &mut self.ports[at];
            let mut lost = 0;
            for place in &mut port.places {
                let is_lost = !matches!(place.stage, Stage::Free)
                    && now.duration_since(place.since) > LOST_AFTER;
                if is_lost {
                    place.stage = Stage::Free;
                    lost += 1;
                }
            }
            if lost > 0 {
                port.under_way -= lost;
                self.under_way -= lost;
                self.tally.errors += lost as u64;
                self.refill(at);
            }
        }
    }
}

impl Port {
    /// Asks for a connection id, if there is none.
    fn ask_for_id(&mut self) {
        if self.id.is_none() {
            // What is lost is asked for again.
            let _ = write(&self.socket, Packet::connect(CONNECT_TRANSACTION).bytes());
        }
    }

    /// Takes in a connection id, if one has come.
    fn take_id(&mut self) {
        let mut answer = [0; ANSWER_BYTES_MAX];
        if self.id.is_none()
            && let Ok(bytes) = read(&self.socket, &mut answer)
            && let Some((UdpAnswer::Connected(id), CONNECT_TRANSACTION)) =
                UdpAnswer::of(&answer[..bytes])
        {
            self.id = Some(id);
        }
    }

    /// Takes a free place of the window; the transaction id that belongs to it.
    fn take_place(&mut self, stage: Stage) -> Option<u32> {
        let at = self.places.iter().position(|place| matches!(place.stage, Stage::Free))?;
        self.turns += 1;
        let transaction = self.turns << PLACE_BITS | u32::try_from(at).ok()?;
        self.places[at] = Place { stage, transaction, since: Instant::now() };
        self.under_way += 1;
        Some(transaction)
    }

    /// The place that waits for this transaction.
    fn place_of(&mut self, transaction: u32) -> Option<&mut Place> {
        let at = (transaction & ((1 << PLACE_BITS) - 1)) as usize;
        let waits = |place: &&mut Place| {
            place.transaction == transaction && !matches!(place.stage, Stage::Free)
        };
        self.places.get_mut(at).filter(waits)
    }
}

/// A socket at an address of the population that knows only the server.
fn open(from: usize, server: SocketAddrV4) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    let from: Ipv4Addr = address(from);
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &server)?;
    Ok(socket)
}

/// Whether a server answers over UDP, tried once.
pub(crate) fn serves_udp(server: SocketAddrV4) -> bool {
    const WAIT: Duration = Duration::from_millis(20);
    let asked = || {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(WAIT))?;
        socket.send(Packet::connect(CONNECT_TRANSACTION).bytes())?;
        let mut answer = [0; ANSWER_BYTES_MAX];
        let bytes = socket.recv(&mut answer)?;
        Ok::<_, io::Error>(UdpAnswer::of(&answer[..bytes]))
    };
    matches!(asked(), Ok(Some((UdpAnswer::Connected(_), CONNECT_TRANSACTION))))
}
