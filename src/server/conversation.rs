//! One connection as a state machine: bytes in, bytes out, no socket and no clock of its own.
//!
//! Owns: what is kept between two events (a partial request, an unsent answer, a request that
//! waits), in which order answers leave, and when the connection is over. Its connection asks
//! [`Conversation::next`] what to do, does it, and reports what came of it.
//!
//! Never: knows what an announce is. `wire::http` finds the requests, `frontend::http` answers them
//! and says how long each may wait.
//!
//! Limits: the order of answers is the order of requests. While one request waits nothing behind it
//! is parsed or read, and while an answer waits for a slow reader likewise. So a conversation never
//! holds more than one request limit of input and one [`Output`] of output.

use crate::config::ConnectionTimes;
use crate::counters::Gauge;
use crate::frontend::{Answer, Http, LateAnswer, Output, Pending};
use crate::ids::Millis;
use crate::server::phase::{Ending, LINGER_MS, Next, Phase, Waited};
use crate::server::unsent::Unsent;
use crate::tracker::{Client, Round};
use crate::wire::http::fault::HttpFault;
use crate::wire::http::reply::REPLY_BYTES_MAX;
use crate::wire::http::request::{Parsed, parse};

/// Bytes of unread input that a lingering close takes in before it closes all the same.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Requests of one connection that are answered before others get their turn.
const REQUESTS_PER_TURN_MAX: u32 = 16;

/// See the module.
pub struct Conversation {
    /// Who is at the other end; behind a proxy each request says more.
    pub(in crate::server) client: Client,
    /// The other end is a trusted proxy, which brings many clients.
    pub(in crate::server) of_proxy: bool,
    pub(in crate::server) phase: Phase,
    /// Input that is not parsed yet: part of a request, or what came behind one that waits.
    pub(super) tail: Vec<u8>,
    /// The tail may hold a whole request.
    pub(in crate::server) unparsed: bool,
    /// The peer will send no more.
    half_closed: bool,
    pub(in crate::server) unsent: Unsent,
    /// When the first byte of a partial request came.
    pub(in crate::server) request_since: Option<Millis>,
    pub(in crate::server) deadline: Millis,
}

impl Conversation {
    /// The conversation of a connection just accepted from `client`, whose ticket is what the
    /// layers below know it by.
    pub fn new(client: Client, now: Millis, times: &ConnectionTimes) -> Conversation {
        Conversation {
            client,
            of_proxy: false,
            phase: Phase::Open,
            tail: Vec::new(),
            unparsed: false,
            half_closed: false,
            unsent: Unsent::default(),
            request_since: None,
            deadline: now.plus(times.idle_ms),
        }
    }

    /// The same of a trusted proxy's connection: it is never closed to make room.
    pub fn of_proxy(self) -> Conversation {
        Conversation { of_proxy: true, ..self }
    }

    /// What is to be done now.
    pub fn next(&self) -> Next {
        if !self.unsent.is_empty() {
            return Next::Write;
        }
        match self.phase {
            Phase::Open if self.unparsed => Next::Parse,
            Phase::Open if self.half_closed => Next::Close,
            Phase::Preface { .. } if self.half_closed => Next::Close,
            Phase::Open | Phase::Preface { .. } => Next::Read,
            Phase::Named(ip) => Next::Admit(ip),
            Phase::Waiting { .. } => Next::Wait,
            Phase::Ending { linger: true } if !self.half_closed => Next::ShutDown,
            Phase::Ending { .. } => Next::Close,
            Phase::Draining { bytes } if bytes > LINGER_BYTES_MAX => Next::Close,
            Phase::Draining { .. } => Next::Drain,
        }
    }

    /// When [`Conversation::expire`] is due.
    pub fn deadline(&self) -> Millis {
        self.deadline
    }

    /// Input that came earlier and is not used up.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Answers every whole request of `input`, which is the tail and what was read behind it, and
    /// keeps the rest.
    pub fn receive(
        &mut self,
        input: &[u8],
        http: &Http,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) {
        let behind_preface = match self.phase {
            Phase::Preface { is_counted } => {
                self.take_preface(input, http.request_bytes_max(), is_counted)
            }
            _ => input,
        };
        let unused = match self.phase {
            Phase::Preface { .. } | Phase::Named(_) => behind_preface.len(),
            _ => self.answer_all(behind_preface, http, round, out),
        };
        self.keep_tail(&input[input.len() - unused..]);
        self.note_partial_request(unused == input.len(), round.now);
        self.set_deadline(round);
        if self.half_closed {
            self.end_of_input(http, round, out);
        }
    }

    /// Keeps the time at which the request that the tail begins with has begun: now, unless
    /// `nothing_used` says that the tail is still what it was before and more.
    fn note_partial_request(&mut self, nothing_used: bool, now: Millis) {
        if matches!(self.phase, Phase::Preface { .. }) {
            return;
        }
        // Old clients send an empty line behind a request (RFC 9112, section 2.2): it is not the
        // beginning of another one.
        let is_empty = self.tail.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        self.request_since = match self.request_since {
            _ if is_empty => None,
            Some(since) if nothing_used => Some(since),
            _ => Some(now),
        };
    }

    /// Answers requests until input, output space, the turn or the registry's knowledge ends; the
    /// number of bytes left over.
    fn answer_all(
        &mut self,
        mut input: &[u8],
        http: &Http,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) -> usize {
        self.unparsed = false;
        let request_bytes_max = http.request_bytes_max();
        // A full read: the socket may hold more, and closing over it would reset the connection.
        let full = input.len() >= request_bytes_max;
        let closing = round.closing || (round.scratch.crowded && !self.of_proxy);
        let answered_max = round.scratch.answered + REQUESTS_PER_TURN_MAX;
        while matches!(self.phase, Phase::Open) && !input.is_empty() {
            if out.free() < REPLY_BYTES_MAX
                || self.unsent.has_body()
                || round.scratch.answered >= answered_max
            {
                self.unparsed = true;
                return input.len();
            }
            match parse(input, request_bytes_max) {
                Ok(Parsed::Partial) => return input.len(),
                Ok(Parsed::Complete { ref mut head, consumed }) => {
                    input = &input[consumed..];
                    let is_last = input.is_empty() && !full;
                    round.scratch.answered += 1;
                    let ending = Ending::of(head, is_last, closing);
                    let answer = http.answer(head, self.client, round, out);
                    self.take_answer(answer, ending, round);
                }
                Err(fault) => self.fault(fault, http, round, out),
            }
        }
        match self.phase {
            Phase::Open | Phase::Waiting { .. } | Phase::Preface { .. } | Phase::Named(_) => {
                self.unparsed = !input.is_empty();
                input.len()
            }
            // Whatever follows the last answer is thrown away.
            Phase::Ending { .. } | Phase::Draining { .. } => 0,
        }
    }

    #[inline]
    fn take_answer(&mut self, answer: Answer, ending: Ending, round: &mut Round<'_>) {
        match answer {
            Answer::Done => self.phase = Phase::after(ending),
            unfinished => self.take_unfinished(unfinished, ending, round),
        }
    }

    #[inline(never)]
    fn take_unfinished(&mut self, answer: Answer, ending: Ending, round: &mut Round<'_>) {
        match answer {
            Answer::Done => {}
            Answer::Body(body) => {
                self.unsent.begin_body(body, round);
                self.phase = Phase::after(ending);
            }
            Answer::Wait { pending, wait_ms } => {
                round.scratch.counters.raise(Gauge::WaitingRequests);
                let until = round.now.plus(wait_ms);
                self.phase = Phase::Waiting { pending, ending, until };
            }
        }
    }

    pub(super) fn fault(
        &mut self,
        fault: HttpFault,
        http: &Http,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) {
        http.fault(fault, round, out);
        self.phase = Phase::Ending { linger: true };
    }

    pub(super) fn keep_tail(&mut self, rest: &[u8]) {
        match rest.is_empty() {
            true => self.tail = Vec::new(),
            false => {
                self.tail.clear();
                self.tail.extend_from_slice(rest);
            }
        }
    }

    pub(super) fn set_deadline(&mut self, round: &Round<'_>) {
        let (now, times) = (round.now, &round.live.connection_times);
        self.deadline = match (&self.phase, self.request_since) {
            _ if !self.unsent.is_empty() => self.unsent.deadline(now, times.send_ms),
            (Phase::Waiting { until, .. }, _) => *until,
            // The preface comes with the connection, or the proxy is broken.
            (Phase::Preface { .. } | Phase::Named(_), since) => {
                since.unwrap_or(now).plus(times.request_ms)
            }
            (Phase::Open, Some(since)) if !self.unparsed => since.plus(times.request_ms),
            (Phase::Open, _) => now.plus(times.idle_ms),
            (Phase::Ending { .. }, _) => now.plus(times.send_ms),
            (Phase::Draining { .. }, _) => now.plus(LINGER_MS),
        };
    }

    /// The peer has shut down its sending side. It still gets the answers to what it asked; half a
    /// request is answered too.
    pub fn end_of_input(&mut self, http: &Http, round: &mut Round<'_>, out: &mut Output<'_>) {
        self.half_closed = true;
        if matches!(self.phase, Phase::Open) && !self.unparsed && self.request_since.is_some() {
            self.fault(HttpFault::BadRequest, http, round, out);
            self.tail = Vec::new();
        }
    }

    /// Another thread's answer; nothing happens when it is not the one that is waited for.
    pub fn complete(
        &mut self,
        late: LateAnswer,
        http: &Http,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) {
        if let Some((pending, waited)) = self.take_pending(round) {
            let answer = http.resume(pending, late, round, out);
            self.end_wait(answer, waited, round);
        }
    }

    /// The request that waits, and what was to follow.
    fn take_pending(&mut self, round: &mut Round<'_>) -> Option<(Pending, Waited)> {
        match std::mem::replace(&mut self.phase, Phase::Open) {
            Phase::Waiting { pending, ending, until } => {
                round.scratch.counters.lower(Gauge::WaitingRequests);
                Some((*pending, Waited { ending, until }))
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// What has come of a request that waited. One that goes on waiting keeps its time.
    fn end_wait(&mut self, answer: Answer, waited: Waited, round: &mut Round<'_>) {
        self.take_answer(answer, waited.ending, round);
        if let Phase::Waiting { until, .. } = &mut self.phase {
            *until = waited.until;
        }
        self.set_deadline(round);
    }

    /// What is still to be written.
    pub fn unsent(&self) -> &[u8] {
        self.unsent.rest()
    }

    /// Keeps the part of the round's answers that the socket did not take.
    pub fn keep_unsent(&mut self, rest: &[u8], round: &Round<'_>) {
        self.unsent.bytes.extend_from_slice(rest);
        self.set_deadline(round);
    }

    /// How much of [`Conversation::unsent`] may be written now, `bytes_max` at most; none while a
    /// large body has to wait. That is not its reader's fault: the time for the next byte begins
    /// anew.
    pub fn take_piece(&mut self, bytes_max: usize, round: &Round<'_>) -> Option<usize> {
        let piece = self.unsent.take_piece(bytes_max, round);
        if piece.is_none() {
            self.set_deadline(round);
        }
        piece
    }

    /// The socket took `bytes` of [`Conversation::unsent`], of a piece of `taken`.
    pub fn sent(&mut self, bytes: usize, taken: usize, round: &Round<'_>) {
        self.unsent.give_back(taken - bytes, round);
        if bytes == 0 {
            return;
        }
        self.unsent.advance(bytes);
        self.set_deadline(round);
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

    /// The deadline has passed: half a request and one that waits get their answer, everything else
    /// is over.
    pub fn expire(&mut self, http: &Http, round: &mut Round<'_>, out: &mut Output<'_>) {
        if !self.unsent.is_empty() {
            return self.abandon();
        }
        if let Some((pending, waited)) = self.take_pending(round) {
            let answer = http.give_up(pending, round, out);
            return self.end_wait(answer, waited, round);
        }
        match self.phase {
            Phase::Open if self.request_since.is_some() => {
                self.fault(HttpFault::Timeout, http, round, out);
                self.keep_tail(&[]);
                self.set_deadline(round);
            }
            _ => self.abandon(),
        }
    }

    fn abandon(&mut self) {
        self.unsent = Unsent::default();
        self.phase = Phase::Ending { linger: false };
    }
}
