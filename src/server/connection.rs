//! A conversation with its stream: does what the conversation's state machine asks for.
//!
//! mio is edge-triggered, so an edge that is not followed to its end must be remembered: `readable`
//! says that the stream may hold more. A read shorter than the buffer has drained the stream, so a
//! second one is not paid for, unless the event said that the peer has closed its side: then the
//! end of input is still to be read.
//!
//! Never: answers anything itself, or waits.
//!
//! Limits: [`STEPS_PER_ROUND_MAX`] reads and writes before others get their turn, one read that is
//! parsed, one write of what was left unsent, and [`WRITE_BYTES_MAX`] bytes of it.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::ops::ControlFlow;

use mio::{Interest, Registry, Token};

use crate::counters::Counter;
use crate::frontend::{Http, Output};
use crate::server::conversation::Conversation;
use crate::server::deadline::Scheduled;
use crate::server::phase::Next;
use crate::server::stream::{Readiness, Stream};
use crate::tracker::Round;

/// Reads and writes of one connection before others get their turn.
const STEPS_PER_ROUND_MAX: usize = 32;
/// Bytes of one write: a large body is sent in pieces, so that nobody waits for the whole of it.
const WRITE_BYTES_MAX: usize = 128 * 1024;

/// A worker's buffers, lent to the connection that it serves.
pub struct Buffers {
    /// Where input is read to: room for the largest request.
    pub input: Box<[u8]>,
    /// Where answers are written: room for the largest and more.
    pub output: Box<[u8]>,
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It waits for its stream, or for another thread.
    Blocked,
    /// It has used up its turn and could go on.
    CanGoOn,
    /// It has a large body to send, and may go on at a later tick.
    Throttled,
    /// A preface has named the client at this address, which is to be counted first.
    Named(IpAddr),
    /// It is over.
    Over,
}

/// The stream is broken: the connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

/// A step of a connection; it breaks off with how far the connection has come.
type Step = ControlFlow<Progress>;

/// A conversation with its stream.
pub struct Connection<S> {
    pub(in crate::server) stream: S,
    /// The address that it is counted under, where it is.
    pub(in crate::server) counted: Option<IpAddr>,
    pub(in crate::server) conversation: Conversation,
    pub(in crate::server) scheduled: Scheduled,
    /// What the poll has been asked to tell; nothing before the stream first would have blocked.
    registered: Option<Interest>,
    /// The stream may hold more input, or the end of it.
    readable: bool,
    /// The peer has closed its sending side.
    read_closed: bool,
    /// Whether the list of connections that can go on names it already.
    pub(in crate::server) listed: bool,
}

impl<S: Stream> Connection<S> {
    /// A connection just accepted. With deferred accept its request is there already, so the first
    /// read does not wait for an event.
    pub fn new(stream: S, counted: Option<IpAddr>, conversation: Conversation) -> Connection<S> {
        Connection {
            stream,
            counted,
            conversation,
            scheduled: Scheduled::default(),
            registered: None,
            readable: true,
            read_closed: false,
            listed: false,
        }
    }

    /// Takes note of what the poll has to tell.
    ///
    /// # Errors
    /// When the stream is broken.
    pub fn note(&mut self, readiness: Readiness) -> Result<(), Broken> {
        self.readable |= readiness.readable;
        self.read_closed |= readiness.read_closed;
        if readiness.broken { Err(Broken) } else { Ok(()) }
    }

    /// Reads what has arrived into `room`, if that is what the conversation waits for and nothing
    /// is left over from before. The bytes are for [`Conversation::receive`]. None otherwise, or
    /// where there is nothing: [`Connection::advance`] finds out what to do then.
    pub fn read_ahead(&mut self, room: &mut [u8]) -> Option<usize> {
        let conversation = &self.conversation;
        if !self.readable || conversation.next() != Next::Read || !conversation.tail().is_empty() {
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
    pub fn advance(
        &mut self,
        buffers: &mut Buffers,
        http: &Http,
        round: &mut Round<'_>,
    ) -> Progress {
        for _ in 0..STEPS_PER_ROUND_MAX {
            if let ControlFlow::Break(progress) = self.step(buffers, http, round) {
                return progress;
            }
        }
        Progress::CanGoOn
    }

    fn step(&mut self, buffers: &mut Buffers, http: &Http, round: &mut Round<'_>) -> Step {
        match self.conversation.next() {
            Next::Write => self.write_unsent(round),
            Next::Parse => {
                let tail = self.conversation.tail();
                let bytes = tail.len();
                buffers.input[..bytes].copy_from_slice(tail);
                self.receive(bytes, buffers, http, round)
            }
            Next::Read => self.read(buffers, http, round),
            Next::Admit(ip) => Step::Break(Progress::Named(ip)),
            Next::Wait => Step::Break(Progress::Blocked),
            Next::ShutDown => {
                self.conversation.start_draining(round.now);
                or_over(self.stream.shut_down_sending().map_err(|_| Broken))
            }
            Next::Drain => self.drain(&mut buffers.input, round),
            Next::Close => Step::Break(Progress::Over),
        }
    }

    fn read(&mut self, buffers: &mut Buffers, http: &Http, round: &mut Round<'_>) -> Step {
        if !self.readable {
            return Step::Break(Progress::Blocked);
        }
        let tail = self.conversation.tail();
        let (kept, room) = buffers.input.split_at_mut(tail.len());
        kept.copy_from_slice(tail);
        let (kept_bytes, room_bytes) = (tail.len(), room.len());
        match self.stream.read(room) {
            Ok(0) => {
                self.readable = false;
                let mut out = Output::new(&mut buffers.output);
                self.conversation.end_of_input(http, round, &mut out);
                or_over(self.send(out.filled(), round))
            }
            Ok(bytes) => {
                round.scratch.counters.add(Counter::BytesReceivedHttp, bytes);
                self.readable = bytes == room_bytes || self.read_closed;
                self.receive(kept_bytes + bytes, buffers, http, round)
            }
            Err(error) => self.blocked_reading(error.kind()),
        }
    }

    fn drain(&mut self, input: &mut [u8], round: &mut Round<'_>) -> Step {
        if !self.readable {
            return Step::Break(Progress::Blocked);
        }
        match self.stream.read(input) {
            Ok(0) => Step::Break(Progress::Over),
            Ok(bytes) => {
                round.scratch.counters.add(Counter::BytesReceivedHttp, bytes);
                self.conversation.drained(bytes);
                Step::Continue(())
            }
            Err(error) => self.blocked_reading(error.kind()),
        }
    }

    fn blocked_reading(&mut self, kind: ErrorKind) -> Step {
        match kind {
            ErrorKind::WouldBlock => {
                self.readable = false;
                Step::Break(Progress::Blocked)
            }
            ErrorKind::Interrupted => Step::Continue(()),
            _ => Step::Break(Progress::Over),
        }
    }

    fn receive(
        &mut self,
        bytes: usize,
        buffers: &mut Buffers,
        http: &Http,
        round: &mut Round<'_>,
    ) -> Step {
        let mut out = Output::new(&mut buffers.output);
        self.conversation.receive(&buffers.input[..bytes], http, round, &mut out);
        or_over(self.send(out.filled(), round))?;
        match self.conversation.next() {
            // The rest of a pipeline is answered in turn with others.
            Next::Parse => Step::Break(Progress::CanGoOn),
            Next::Read if self.readable => Step::Break(Progress::CanGoOn),
            _ => Step::Continue(()),
        }
    }

    /// Sends fresh answers straight from the worker's buffer; only what the stream does not take is
    /// kept with the conversation.
    ///
    /// # Errors
    /// When the stream is broken.
    pub fn send(&mut self, answers: &[u8], round: &mut Round<'_>) -> Result<(), Broken> {
        if answers.is_empty() {
            return Ok(());
        }
        let mut sent = 0;
        if self.conversation.may_send_now() {
            sent = match self.stream.write(answers) {
                Ok(bytes) => bytes,
                Err(error) if is_passing(&error) => 0,
                Err(_) => return Err(Broken),
            };
        }
        round.scratch.counters.add(Counter::BytesSentHttp, sent);
        if sent < answers.len() {
            self.conversation.keep_unsent(&answers[sent..], round);
        }
        Ok(())
    }

    fn write_unsent(&mut self, round: &mut Round<'_>) -> Step {
        let Some(piece) = self.conversation.take_piece(WRITE_BYTES_MAX, round) else {
            return Step::Break(Progress::Throttled);
        };
        let written = self.stream.write(&self.conversation.unsent()[..piece]);
        let sent = *written.as_ref().unwrap_or(&0);
        round.scratch.counters.add(Counter::BytesSentHttp, sent);
        self.conversation.sent(sent, piece, round);
        match written {
            // The rest of a large body goes out in turn with others.
            Ok(_) if self.conversation.next() == Next::Write => Step::Break(Progress::CanGoOn),
            Ok(_) => Step::Continue(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Step::Continue(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Break(Progress::Blocked),
            Err(_) => Step::Break(Progress::Over),
        }
    }

    /// Has the poll tell of what the connection waits for. Writability is asked for after a short
    /// write only, and then for good: an edge comes only when a full socket buffer has emptied.
    /// (Re-)registering reports what is ready already, so no edge falls between.
    ///
    /// # Errors
    /// What the poll says.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let wanted = match self.conversation.next() {
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

fn or_over(outcome: Result<(), Broken>) -> Step {
    match outcome {
        Ok(()) => Step::Continue(()),
        Err(Broken) => Step::Break(Progress::Over),
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
