//! The load: some connections with requests under way on each, driven from one epoll loop.
//!
//! Owns: the connections of one server, and what came of their requests. A reply is checked for its
//! status, its length, and that it is no failure. Requests are made by filling in a form, and a
//! connection that stays costs a read and a write for each exchange, so the load costs less than
//! any server that looks at what it reads.
//!
//! On a core of its own it never sleeps: a server would pay for waking it, the more often the
//! slower the server is.
//!
//! A connection for one request ends as the server ends it, so that the server is who waits out the
//! connection's last minutes (`TIME_WAIT`), and ports do not run out.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::{Errno, read, write};
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::latency::Latencies;
use crate::population::{Population, address};
use crate::reply::{Reader, Reply};
use crate::request::Form;
use crate::walk::Walk;

const INPUT_BYTES: usize = 256 * 1_024;
/// Without any event for so long, what is under way is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Failures of a round that make it pointless to go on with it.
const ERRORS_MAX: u64 = 10_000;

/// How requests are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exchange {
    /// So many at a time on a connection that stays.
    KeptAlive { depth: usize },
    /// One a connection.
    Reconnecting,
}

/// What is sent, and how.
pub(crate) struct Traffic {
    pub(crate) exchange: Exchange,
    pub(crate) connections: usize,
    /// Whether to look for replies all the time instead of sleeping until there are some.
    pub(crate) spins: bool,
    pub(crate) announce: Form,
    /// A scrape, in place of one announce of so many.
    pub(crate) scrape: Option<(Form, usize)>,
}

/// What came of a round.
pub(crate) struct Tally {
    /// Replies that are what was asked for.
    pub(crate) answers: u64,
    /// Bytes of all replies.
    pub(crate) reply_bytes: u64,
    /// Failures, resets, and what was given up.
    pub(crate) errors: u64,
    /// From the writing of a request to the reading of its reply.
    pub(crate) latencies: Latencies,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Tally {
        Tally { answers: 0, reply_bytes: 0, errors: 0, latencies: Latencies::new() }
    }
}

/// One connection.
struct Seat {
    socket: Option<OwnedFd>,
    address: usize,
    /// What is to be written, and how much has been.
    out: Vec<u8>,
    written: usize,
    /// The beginning of a reply.
    kept: Vec<u8>,
    /// Requests without a reply.
    under_way: usize,
    /// Whether a reply, or the end of the connection, is waited for.
    busy: bool,
    since: Instant,
}

/// See the module.
pub(crate) struct Client<'p> {
    population: &'p Population,
    server: SocketAddrV4,
    traffic: Traffic,
    walk: Walk,
    requests: usize,
    epoll: OwnedFd,
    seats: Vec<Seat>,
    input: Vec<u8>,
    reader: Reader,
    /// Addresses that have a connection, or had one.
    addresses_taken: usize,
    /// When to stop sending.
    until: Option<Instant>,
    tally: Tally,
    /// Seats with requests under way.
    busy: usize,
}

impl<'p> Client<'p> {
    /// A load that has not begun.
    pub(crate) fn new(
        population: &'p Population,
        server: SocketAddrV4,
        traffic: Traffic,
        walk: Walk,
    ) -> io::Result<Client<'p>> {
        let seat = |address| Seat {
            socket: None,
            address,
            out: Vec::new(),
            written: 0,
            kept: Vec::new(),
            under_way: 0,
            busy: false,
            since: Instant::now(),
        };
        let seats: Vec<Seat> =
            (0..traffic.connections.min(population.addresses())).map(seat).collect();
        Ok(Client {
            population,
            server,
            traffic,
            walk,
            requests: 0,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            addresses_taken: seats.len(),
            seats,
            input: vec![0; INPUT_BYTES],
            reader: Reader::new(),
            until: None,
            tally: Tally::new(),
            busy: 0,
        })
    }

    /// Sends until `until`, or until every peer has had its turn, and waits for the replies.
    pub(crate) fn run(&mut self, until: Option<Instant>) -> io::Result<Tally> {
        (self.until, self.tally) = (until, Tally::new());
        (0..self.seats.len()).try_for_each(|seat| self.begin(seat))?;
        let mut events = Vec::with_capacity(1_024);
        let patience = if self.traffic.spins {
            Timespec::default()
        } else {
            Timespec { tv_sec: 1, tv_nsec: 0 }
        };
        let mut heard = Instant::now();
        while self.busy > 0 {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&patience)) {
                Ok(0) if heard.elapsed() > PATIENCE => self.give_up(),
                Ok(0) => std::hint::spin_loop(),
                Ok(_) => heard = Instant::now(),
                Err(error) if error != Errno::INTR => return Err(error.into()),
                _ => {}
            }
            for event in events.drain(..) {
                let seat = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.ready(seat, event.flags)?;
            }
        }
        Ok(std::mem::replace(&mut self.tally, Tally::new()))
    }

    /// Sends the next requests of a seat, if there are any.
    fn begin(&mut self, seat: usize) -> io::Result<()> {
        let over = self.until.is_some_and(|until| Instant::now() >= until)
            || self.tally.errors > ERRORS_MAX;
        if over || !self.write_requests(seat) {
            return Ok(());
        }
        let is_new = self.seats[seat].socket.is_none();
        if is_new {
            self.seats[seat].socket = Some(self.open(self.seats[seat].address)?);
        }
        self.busy += 1;
        let own = &mut self.seats[seat];
        (own.busy, own.written, own.since) = (true, 0, Instant::now());
        self.send(seat);
        if is_new { self.register(seat) } else { Ok(()) }
    }

    /// Fills in the next requests of a seat; false when there are none.
    fn write_requests(&mut self, seat: usize) -> bool {
        let (walk, population, own) = (&mut self.walk, self.population, &mut self.seats[seat]);
        own.out.clear();
        match self.traffic.exchange {
            Exchange::Reconnecting => {
                let Some(peer) = walk.next(population) else { return false };
                own.address = usize::from(peer.address);
                own.under_way = 1;
                self.traffic.form(&mut self.requests).append(peer, population, &mut own.out);
            }
            Exchange::KeptAlive { depth } => {
                while own.under_way < depth {
                    if let Some(peer) = walk.next_of(own.address, population) {
                        self.traffic.form(&mut self.requests).append(
                            peer,
                            population,
                            &mut own.out,
                        );
                        own.under_way += 1;
                    } else if own.under_way > 0 || self.addresses_taken >= population.addresses() {
                        break;
                    } else {
                        // All of this address have had their turn: on with the next address.
                        (own.address, own.socket) = (self.addresses_taken, None);
                        self.addresses_taken += 1;
                    }
                }
            }
        }
        own.under_way > 0
    }

    fn open(&self, from: usize) -> io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        let from: Ipv4Addr = address(from);
        bind(&socket, &SocketAddrV4::new(from, 0))?;
        if matches!(self.traffic.exchange, Exchange::KeptAlive { .. }) {
            set_tcp_nodelay(&socket, true)?;
        }
        match connect(&socket, &self.server) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what the socket takes. A broken one is noticed when it is read.
    fn send(&mut self, seat: usize) {
        let own = &mut self.seats[seat];
        if let Some(socket) = &own.socket
            && let Ok(bytes) = write(socket, &own.out[own.written..])
        {
            own.written += bytes;
        }
    }

    /// Has the events of a new connection told; writability only when it could not take everything.
    fn register(&mut self, seat: usize) -> io::Result<()> {
        let own = &self.seats[seat];
        let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        if own.written < own.out.len()
            || matches!(self.traffic.exchange, Exchange::KeptAlive { depth: 2.. })
        {
            flags |= EventFlags::OUT;
        }
        if let Some(socket) = &own.socket {
            epoll::add(&self.epoll, socket, EventData::new_u64(seat as u64), flags)?;
        }
        Ok(())
    }

    fn ready(&mut self, seat: usize, flags: EventFlags) -> io::Result<()> {
        if self.seats[seat].written < self.seats[seat].out.len() {
            self.send(seat);
        }
        while let Some(socket) = &self.seats[seat].socket {
            let outcome = read(socket, &mut self.input);
            let full = outcome == Ok(self.input.len());
            match outcome {
                Ok(0) => return self.end(seat),
                Ok(bytes) => self.take(seat, bytes),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(_) => return self.end(seat),
            }
            if full {
                continue;
            }
            if flags.contains(EventFlags::RDHUP) {
                return self.end(seat);
            }
            if self.seats[seat].under_way == 0 && self.traffic.exchange != Exchange::Reconnecting {
                self.rest(seat);
                return self.begin(seat);
            }
            return Ok(());
        }
        Ok(())
    }

    /// Takes in the replies of what has been read.
    fn take(&mut self, seat: usize, bytes: usize) {
        let (own, now) = (&mut self.seats[seat], Instant::now());
        let latency_ns =
            u64::try_from(now.duration_since(own.since).as_nanos()).unwrap_or(u64::MAX);
        let mut kept = std::mem::take(&mut own.kept);
        let mut rest = &self.input[..bytes];
        if !kept.is_empty() {
            kept.extend_from_slice(rest);
            rest = &kept;
        }
        while !rest.is_empty() {
            match self.reader.first(rest) {
                Reply::Whole(bytes, good) if own.under_way > 0 => {
                    rest = &rest[bytes..];
                    own.under_way -= 1;
                    self.tally.reply_bytes += bytes as u64;
                    self.tally.answers += u64::from(good);
                    self.tally.errors += u64::from(!good);
                    self.tally.latencies.add(latency_ns);
                }
                Reply::Partial => {
                    own.kept = rest.to_vec();
                    return;
                }
                Reply::Whole(..) | Reply::Garbage => {
                    self.tally.errors += 1;
                    return;
                }
            }
        }
    }

    /// The server has ended a connection, which is in order after the only reply of one that was
    /// not to stay.
    fn end(&mut self, seat: usize) -> io::Result<()> {
        let own = &mut self.seats[seat];
        let was_busy = own.busy;
        self.tally.errors += own.under_way as u64;
        (own.socket, own.under_way) = (None, 0);
        own.kept.clear();
        self.rest(seat);
        if was_busy { self.begin(seat) } else { Ok(()) }
    }

    /// A seat waits for nothing any more.
    fn rest(&mut self, seat: usize) {
        self.busy -= usize::from(std::mem::take(&mut self.seats[seat].busy));
    }

    /// Nothing has come for too long.
    fn give_up(&mut self) {
        for seat in 0..self.seats.len() {
            let own = &mut self.seats[seat];
            self.tally.errors += own.under_way as u64;
            own.under_way = 0;
            if own.busy {
                own.socket = None;
            }
            self.rest(seat);
        }
        self.until = Some(Instant::now());
    }

    /// How long a round of `seconds` is from now.
    pub(crate) fn end_of_round(seconds: f64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs_f64(seconds))
    }
}

impl Traffic {
    /// The form of the next request.
    fn form(&self, requests: &mut usize) -> &Form {
        *requests += 1;
        match &self.scrape {
            Some((scrape, one_in)) if requests.is_multiple_of(*one_in) => scrape,
            _ => &self.announce,
        }
    }
}
