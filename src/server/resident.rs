//! A connection and its socket: does what the connection's state machine asks for.
//!
//! mio is edge-triggered, so an edge that is not followed to its end must be remembered: `readable`
//! says that the socket may hold more. A read shorter than the buffer has drained the socket, so a
//! second one is not paid for, unless the event said that the peer has closed its side: then the
//! end of input is still to be read.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown};

use mio::event::Event as Readiness;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::ids::Millis;
use crate::server::connection::{Connection, Limits, Next, Round};
use crate::server::deadline::Scheduled;
use crate::tracker::{Desk, Outbox, Tracker, Turn};

/// Reads and writes of one connection before others get their turn.
const STEPS_PER_ROUND_MAX: usize = 32;
/// Bytes of one write: a large body is sent in pieces, so that nobody waits for the whole of it.
const WRITE_BYTES_MAX: usize = 128 * 1024;

/// What a worker lends to the connection it is serving.
pub(super) struct Bench {
    /// Scratch, randomness, counters.
    pub(super) desk: Desk,
    /// Where input is read to.
    pub(super) input: Box<[u8]>,
    /// Where answers are written.
    pub(super) output: Box<[u8]>,
    /// Time of the round.
    pub(super) now: Millis,
}

/// What all connections of a worker share unchanged.
pub(super) struct Shared<'s> {
    pub(super) tracker: &'s Tracker,
    pub(super) limits: &'s Limits,
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It waits for its socket, or for the registry.
    Blocked,
    /// It has used up its turn and could go on.
    Busy,
    /// It is over.
    Over,
}

/// A connection and its socket.
pub(super) struct Resident {
    stream: TcpStream,
    pub(super) ip: IpAddr,
    pub(super) connection: Connection,
    pub(super) scheduled: Scheduled,
    /// What the poll has been asked to tell; nothing before the socket first would have blocked.
    registered: Option<Interest>,
    /// The socket may hold more input, or the end of it.
    readable: bool,
    /// The peer has closed its sending side.
    read_closed: bool,
    /// Whether the worker's list of those who can go on names it already.
    pub(super) listed: bool,
}

impl Resident {
    /// A connection just accepted. With deferred accept its request is there already, so the first
    /// read does not wait for an event.
    pub(super) fn new(stream: TcpStream, ip: IpAddr, connection: Connection) -> Resident {
        let scheduled = Scheduled::default();
        let (registered, readable, read_closed, listed) = (None, true, false, false);
        Resident { stream, ip, connection, scheduled, registered, readable, read_closed, listed }
    }

    /// Takes note of an event; false when the connection is broken and nobody is left to answer.
    pub(super) fn note(&mut self, event: &Readiness) -> bool {
        self.readable |= event.is_readable() || event.is_read_closed();
        self.read_closed |= event.is_read_closed();
        !(event.is_error() || event.is_write_closed())
    }

    /// Reads what has arrived into `room`, if that is what the connection waits for and nothing is
    /// left over from before; the bytes are for [`Connection::receive`]. None otherwise, or
    /// where there is nothing: [`Resident::advance`] finds out what to do then.
    pub(super) fn read_ahead(&mut self, room: &mut [u8]) -> Option<usize> {
        if !self.readable
            || self.connection.next() != Next::Read
            || !self.connection.tail().is_empty()
        {
            return None;
        }
        match self.stream.read(room) {
            Ok(bytes) if bytes > 0 => {
                self.readable = bytes == room.len() || self.read_closed;
                Some(bytes)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                None
            }
            _ => None,
        }
    }

    /// Goes on until the connection blocks, ends, or has used up its turn.
    pub(super) fn advance(&mut self, bench: &mut Bench, shared: &Shared<'_>) -> Fate {
        for _ in 0..STEPS_PER_ROUND_MAX {
            if let Some(fate) = self.step(bench, shared) {
                return fate;
            }
        }
        Fate::Busy
    }

    /// One step; `None` when another one can follow.
    fn step(&mut self, bench: &mut Bench, shared: &Shared<'_>) -> Option<Fate> {
        match self.connection.next() {
            Next::Write => self.write_unsent(bench.now, shared.limits),
            Next::Parse => {
                let tail = self.connection.tail();
                let length = tail.len();
                bench.input[..length].copy_from_slice(tail);
                self.receive(length, bench, shared)
            }
            Next::Read => self.read(bench, shared),
            Next::Wait => Some(Fate::Blocked),
            Next::ShutDown => {
                self.connection.start_draining(bench.now);
                self.stream.shutdown(Shutdown::Write).err().map(|_| Fate::Over)
            }
            Next::Drain => self.drain(bench),
            Next::Close => Some(Fate::Over),
        }
    }

    fn read(&mut self, bench: &mut Bench, shared: &Shared<'_>) -> Option<Fate> {
        if !self.readable {
            return Some(Fate::Blocked);
        }
        let tail = self.connection.tail();
        let (kept, room) = bench.input.split_at_mut(tail.len());
        kept.copy_from_slice(tail);
        let (length, room_bytes) = (tail.len(), room.len());
        match self.stream.read(room) {
            Ok(0) => {
                self.readable = false;
                self.in_round(bench, shared, |connection, _, round| connection.end_of_input(round))
            }
            Ok(bytes) => {
                self.readable = bytes == room_bytes || self.read_closed;
                self.receive(length + bytes, bench, shared)
            }
            Err(error) => self.blocked_reading(error.kind()),
        }
    }

    fn drain(&mut self, bench: &mut Bench) -> Option<Fate> {
        if !self.readable {
            return Some(Fate::Blocked);
        }
        match self.stream.read(&mut bench.input) {
            Ok(0) => Some(Fate::Over),
            Ok(bytes) => {
                self.connection.drained(bytes);
                None
            }
            Err(error) => self.blocked_reading(error.kind()),
        }
    }

    fn blocked_reading(&mut self, kind: ErrorKind) -> Option<Fate> {
        match kind {
            ErrorKind::WouldBlock => {
                self.readable = false;
                Some(Fate::Blocked)
            }
            ErrorKind::Interrupted => None,
            _ => Some(Fate::Over),
        }
    }

    fn receive(&mut self, length: usize, bench: &mut Bench, shared: &Shared<'_>) -> Option<Fate> {
        self.in_round(bench, shared, |connection, input, round| {
            connection.receive(&input[..length], round);
        })
    }

    /// Lets `work` write answers, then sends them.
    pub(super) fn in_round(
        &mut self,
        bench: &mut Bench,
        shared: &Shared<'_>,
        work: impl FnOnce(&mut Connection, &[u8], &mut Round<'_>),
    ) -> Option<Fate> {
        let Bench { desk, input, output, now } = bench;
        let turn = Turn { now: *now, desk, out: Outbox::new(output) };
        let mut round = Round { tracker: shared.tracker, turn, limits: shared.limits };
        work(&mut self.connection, input, &mut round);
        self.send(round.turn.out.filled(), *now, shared.limits)
    }

    /// Sends fresh answers straight from the worker's buffer; only what the socket does not take is
    /// kept with the connection.
    pub(super) fn send(&mut self, answers: &[u8], now: Millis, limits: &Limits) -> Option<Fate> {
        if answers.is_empty() {
            return None;
        }
        let mut sent = 0;
        if self.connection.may_send_now() {
            sent = match self.stream.write(answers) {
                Ok(bytes) => bytes,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    0
                }
                Err(_) => return Some(Fate::Over),
            };
        }
        if sent < answers.len() {
            self.connection.keep_unsent(&answers[sent..], now, limits);
        }
        None
    }

    fn write_unsent(&mut self, now: Millis, limits: &Limits) -> Option<Fate> {
        let unsent = self.connection.unsent();
        match self.stream.write(&unsent[..unsent.len().min(WRITE_BYTES_MAX)]) {
            Ok(bytes) => {
                self.connection.sent(bytes, now, limits);
                None
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(Fate::Blocked),
            Err(_) => Some(Fate::Over),
        }
    }

    /// Has the poll tell of what the connection waits for. Writability is asked for after a short
    /// write only, and then for good: an edge comes only when a full socket buffer has emptied.
    /// (Re-)registering reports what is ready already, so no edge falls between.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> std::io::Result<()> {
        let wanted = match self.connection.next() {
            Next::Write => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::READABLE,
        };
        match self.registered {
            None => registry.register(&mut self.stream, token, wanted)?,
            Some(interest) if wanted.is_writable() && !interest.is_writable() => {
                registry.reregister(&mut self.stream, token, wanted)?;
            }
            Some(_) => return Ok(()),
        }
        self.registered = Some(wanted);
        Ok(())
    }
}
