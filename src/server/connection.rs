//! One connection as a state machine: bytes in, bytes out, no socket and no clock of its own.
//!
//! Owns: what is kept between two events (a partial request, an unsent answer, a parked request),
//! in which order answers leave, and when the connection is over. The event loop asks
//! [`Connection::next`] what to do, does it, and reports what came of it.
//!
//! Never: parses a query or knows what an announce is; `wire::http` finds the heads, `tracker`
//! answers them.
//!
//! The order of answers is the order of requests. While one request waits for the registry nothing
//! behind it is parsed or read, and while an answer waits for a slow reader likewise, so a
//! connection never holds more than one request limit of input and one
//! [`Outbox`](crate::tracker::Outbox) of output.

use std::net::IpAddr;

use crate::ids::{Millis, Ticket};
use crate::tracker::{Answer, Client, Completion, LargeBody, Parked, Tracker, Turn};
use crate::wire::frame::Framing;
use crate::wire::head::Head;
use crate::wire::http::{self, HttpFault, Parsed};
use crate::wire::reply::REPLY_BYTES_MAX;

/// How long a lingering close waits for the peer to take note, milliseconds.
const LINGER_MS: u64 = 2_000;
/// How long a request waits for the full scrape to be made: seconds, with ten million torrents.
const FULL_SCRAPE_MS_MAX: u64 = 30_000;
/// Bytes of unread input that a lingering close takes in before it closes all the same.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Time limits and sizes every connection keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one request: line, headers and blank line.
    pub request_bytes_max: usize,
    /// A kept-alive connection without a request is closed after this, milliseconds.
    pub idle_ms: u64,
    /// From the first byte of a request to its last, milliseconds.
    pub request_ms: u64,
    /// From one byte of an answer taken by the peer to the next, milliseconds.
    pub send_ms: u64,
    /// How long a request waits for the registry, milliseconds.
    pub lookup_ms: u64,
}

/// What a connection needs from its worker to make progress.
pub struct Round<'r> {
    /// Answers requests.
    pub tracker: &'r Tracker,
    /// Time, scratch and the [`Outbox`](crate::tracker::Outbox) for answers. The caller sends what
    /// is in it and gives back what the socket did not take, by [`Connection::keep_unsent`].
    pub turn: Turn<'r>,
    /// The same for all connections.
    pub limits: &'r Limits,
}

/// What the event loop is to do for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Write [`Connection::unsent`], then report by [`Connection::sent`].
    Write,
    /// Parse what is kept: pass [`Connection::tail`] to [`Connection::receive`] as it is.
    Parse,
    /// Read behind [`Connection::tail`] and pass both to [`Connection::receive`]; at the end of
    /// input, [`Connection::end_of_input`].
    Read,
    /// Nothing: the registry's answer comes by [`Connection::complete`].
    Wait,
    /// Shut down the sending side, then [`Connection::start_draining`].
    ShutDown,
    /// Read and throw away; report by [`Connection::drained`].
    Drain,
    /// Close.
    Close,
}

/// See the module.
pub struct Connection {
    ip: IpAddr,
    ticket: Ticket,
    phase: Phase,
    /// Input that is not parsed yet: part of a request, or what came behind a parked one.
    tail: Vec<u8>,
    /// The tail may hold a whole request.
    unparsed: bool,
    /// The peer will send no more.
    half_closed: bool,
    unsent: Unsent,
    /// When the first byte of a partial request came.
    request_since: Option<Millis>,
    deadline: Millis,
}

enum Phase {
    Open,
    Parked { parked: Box<Parked>, ending: Ending, until: Millis },
    Ending { linger: bool },
    Draining { bytes: usize },
}

/// What follows the answer to a request.
#[derive(Clone, Copy)]
enum Ending {
    KeepAlive,
    Close { linger: bool },
}

#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    bytes_sent: usize,
    body: Option<(LargeBody, usize)>,
}

impl Unsent {
    fn rest(&self) -> &[u8] {
        match &self.body {
            _ if self.bytes_sent < self.bytes.len() => &self.bytes[self.bytes_sent..],
            Some((body, sent)) => &body.bytes()[*sent..],
            None => &[],
        }
    }

    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Memory goes as soon as what it held has gone.
    fn advance(&mut self, bytes: usize) {
        if self.bytes_sent < self.bytes.len() {
            self.bytes_sent += bytes;
            if self.bytes_sent >= self.bytes.len() {
                (self.bytes, self.bytes_sent) = (Vec::new(), 0);
            }
        } else if let Some((_, sent)) = &mut self.body {
            *sent += bytes;
        }
        if self.is_empty() {
            self.body = None;
        }
    }
}

impl Connection {
    /// A connection just accepted from `ip`; `ticket` is what the layers below know it by.
    pub fn new(ip: IpAddr, ticket: Ticket, now: Millis, limits: &Limits) -> Connection {
        Connection {
            ip,
            ticket,
            phase: Phase::Open,
            tail: Vec::new(),
            unparsed: false,
            half_closed: false,
            unsent: Unsent::default(),
            request_since: None,
            deadline: now.plus(limits.idle_ms),
        }
    }

    /// What is to be done now.
    pub fn next(&self) -> Next {
        if !self.unsent.is_empty() {
            return Next::Write;
        }
        match self.phase {
            Phase::Open if self.unparsed => Next::Parse,
            Phase::Open if self.half_closed => Next::Close,
            Phase::Open => Next::Read,
            Phase::Parked { .. } => Next::Wait,
            Phase::Ending { linger: true } if !self.half_closed => Next::ShutDown,
            Phase::Ending { .. } => Next::Close,
            Phase::Draining { bytes } if bytes > LINGER_BYTES_MAX => Next::Close,
            Phase::Draining { .. } => Next::Drain,
        }
    }

    /// When [`Connection::expire`] is due.
    pub fn deadline(&self) -> Millis {
        self.deadline
    }

    /// Whether an answer is on its way: at shutdown such connections are waited for.
    pub fn is_answering(&self) -> bool {
        !self.unsent.is_empty() || matches!(self.phase, Phase::Parked { .. })
    }

    /// Input that came earlier and is not used up.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Answers every whole request of `input`, which is the tail and what was read behind it, and
    /// keeps the rest.
    pub fn receive(&mut self, input: &[u8], round: &mut Round<'_>) {
        let unused = self.answer_all(input, round);
        self.keep_tail(&input[input.len() - unused..]);
        // Old clients send an empty line behind a request (RFC 9112, section 2.2): it is not the
        // beginning of another one.
        self.request_since = match self.tail.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            true => None,
            false => self.request_since.filter(|_| unused == input.len()).or(Some(round.turn.now)),
        };
        self.set_deadline(round.turn.now, round.limits);
        if self.half_closed {
            self.end_of_input(round);
        }
    }

    /// Answers requests until input, output space or the registry's knowledge ends; the number of
    /// bytes left over.
    fn answer_all(&mut self, mut input: &[u8], round: &mut Round<'_>) -> usize {
        self.unparsed = false;
        // A full read: the socket may hold more, and closing over it would reset the connection.
        let full = input.len() >= round.limits.request_bytes_max;
        while matches!(self.phase, Phase::Open) && !input.is_empty() {
            if round.turn.out.free() < REPLY_BYTES_MAX || self.unsent.body.is_some() {
                self.unparsed = true;
                return input.len();
            }
            match http::parse(input, round.limits.request_bytes_max) {
                Ok(Parsed::Partial) => return input.len(),
                Ok(Parsed::Complete { head, consumed }) => {
                    input = &input[consumed..];
                    self.answer(&head, input.is_empty() && !full, round);
                }
                Err(fault) => self.fault(fault, round),
            }
        }
        match self.phase {
            Phase::Open | Phase::Parked { .. } => {
                self.unparsed = !input.is_empty();
                input.len()
            }
            // Whatever follows the last answer is thrown away.
            Phase::Ending { .. } | Phase::Draining { .. } => 0,
        }
    }

    fn answer(&mut self, head: &Head<'_>, last: bool, round: &mut Round<'_>) {
        let client = Client { ip: self.ip, ticket: self.ticket };
        let ending = match head.keep_alive && !head.has_body {
            true => Ending::KeepAlive,
            false => Ending::Close { linger: head.has_body || !last },
        };
        match round.tracker.answer(head, client, &mut round.turn) {
            Answer::Done => self.end_of_answer(ending),
            Answer::Body(body) => {
                self.unsent.body = Some((body, 0));
                self.end_of_answer(ending);
            }
            Answer::Wait(parked) => {
                let patience_ms = match *parked {
                    Parked::Announce(_) | Parked::Scrape(_) => round.limits.lookup_ms,
                    Parked::FullScrape(_) => FULL_SCRAPE_MS_MAX,
                };
                let until = round.turn.now.plus(patience_ms);
                self.phase = Phase::Parked { parked, ending, until };
            }
        }
    }

    fn end_of_answer(&mut self, ending: Ending) {
        self.phase = match ending {
            Ending::KeepAlive => Phase::Open,
            Ending::Close { linger } => Phase::Ending { linger },
        };
    }

    fn fault(&mut self, fault: HttpFault, round: &mut Round<'_>) {
        round.tracker.fault(fault, Framing::LAST, &mut round.turn);
        self.phase = Phase::Ending { linger: true };
    }

    fn keep_tail(&mut self, rest: &[u8]) {
        match rest.is_empty() {
            true => self.tail = Vec::new(),
            false => {
                self.tail.clear();
                self.tail.extend_from_slice(rest);
            }
        }
    }

    fn set_deadline(&mut self, now: Millis, limits: &Limits) {
        self.deadline = match (&self.phase, self.request_since) {
            _ if !self.unsent.is_empty() => now.plus(limits.send_ms),
            (Phase::Parked { until, .. }, _) => *until,
            (Phase::Open, Some(since)) if !self.unparsed => since.plus(limits.request_ms),
            (Phase::Open, _) => now.plus(limits.idle_ms),
            (Phase::Ending { .. }, _) => now.plus(limits.send_ms),
            (Phase::Draining { .. }, _) => now.plus(LINGER_MS),
        };
    }

    /// The peer has shut down its sending side. It still gets the answers to what it asked; half a
    /// request is answered too.
    pub fn end_of_input(&mut self, round: &mut Round<'_>) {
        self.half_closed = true;
        if matches!(self.phase, Phase::Open) && !self.unparsed && self.request_since.is_some() {
            self.fault(HttpFault::BadRequest, round);
            self.tail = Vec::new();
        }
    }

    /// The registry's answer; nothing happens when it is not the one that is waited for.
    pub fn complete(&mut self, completion: Completion, round: &mut Round<'_>) {
        self.unpark(round, |parked, round| {
            round.tracker.resume(parked, completion, &mut round.turn)
        });
    }

    fn unpark(
        &mut self,
        round: &mut Round<'_>,
        resume: impl FnOnce(Parked, &mut Round<'_>) -> Answer,
    ) {
        let (parked, ending, until) = match std::mem::replace(&mut self.phase, Phase::Open) {
            Phase::Parked { parked, ending, until } => (parked, ending, until),
            other => {
                self.phase = other;
                return;
            }
        };
        match resume(*parked, round) {
            Answer::Wait(parked) => self.phase = Phase::Parked { parked, ending, until },
            Answer::Done => self.end_of_answer(ending),
            Answer::Body(body) => {
                self.unsent.body = Some((body, 0));
                self.end_of_answer(ending);
            }
        }
        self.set_deadline(round.turn.now, round.limits);
    }

    /// What is still to be written.
    pub fn unsent(&self) -> &[u8] {
        self.unsent.rest()
    }

    /// Keeps the part of the round's answers that the socket did not take.
    pub fn keep_unsent(&mut self, rest: &[u8], now: Millis, limits: &Limits) {
        self.unsent.bytes.extend_from_slice(rest);
        self.set_deadline(now, limits);
    }

    /// The socket took `bytes` of [`Connection::unsent`].
    pub fn sent(&mut self, bytes: usize, now: Millis, limits: &Limits) {
        self.unsent.advance(bytes);
        self.set_deadline(now, limits);
    }

    /// The sending side is shut down: from here on only the peer's reset or end of input is
    /// awaited.
    pub fn start_draining(&mut self, now: Millis) {
        self.phase = Phase::Draining { bytes: 0 };
        self.deadline = now.plus(LINGER_MS);
    }

    /// `bytes` were read and thrown away.
    pub fn drained(&mut self, bytes: usize) {
        if let Phase::Draining { bytes: total } = &mut self.phase {
            *total += bytes;
        }
    }

    /// Whether answers may be written as they come: nothing older waits to be sent.
    pub fn may_send_now(&self) -> bool {
        self.unsent.bytes.is_empty()
    }

    /// The deadline has passed: half a request and a parked one get their answer, everything else
    /// is over.
    pub fn expire(&mut self, round: &mut Round<'_>) {
        match self.phase {
            _ if !self.unsent.is_empty() => self.abandon(),
            Phase::Parked { .. } => {
                self.unpark(round, |parked, round| round.tracker.give_up(parked, &mut round.turn));
            }
            Phase::Open if self.request_since.is_some() => {
                self.fault(HttpFault::Timeout, round);
                self.keep_tail(&[]);
                self.set_deadline(round.turn.now, round.limits);
            }
            Phase::Open | Phase::Ending { .. } | Phase::Draining { .. } => self.abandon(),
        }
    }

    fn abandon(&mut self) {
        self.unsent = Unsent::default();
        self.phase = Phase::Ending { linger: false };
    }
}
