//! Many kept-alive connections from many addresses, each asking one thing after the other.
//!
//! Owns: the sockets, and the cutting of answers out of their streams; what is asked and what the
//! answers mean is a [`Script`]'s. One thread drives all members, so scripts may keep common books
//! without locks.
//!
//! Every request gets its answer before the crowd leaves: a connection that is refused, lost or
//! left without an answer is a failure of the test.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::PATIENCE;

/// How soon a crowd that has nothing to do notices that it is to leave.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What one member asks.
pub(crate) trait Script {
    /// The target of the next request; none when there is nothing more to ask.
    fn next(&mut self) -> Option<String>;

    /// Takes the body of its answer.
    fn answered(&mut self, body: &[u8]);
}

/// How a load goes, for whoever watches it from another thread.
#[derive(Default)]
pub(crate) struct Gauge {
    answers: AtomicU64,
    waits: Mutex<Vec<Duration>>,
}

impl Gauge {
    /// Counts an answer that was waited for.
    pub(crate) fn count(&self, wait: Duration) {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(wait);
        self.answers.fetch_add(1, Ordering::SeqCst);
    }

    /// Answers so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    /// How many answers there were since this was asked last, and how long they were waited for:
    /// half of them, 99 of 100, the longest.
    pub(crate) fn take_report(&self) -> String {
        let mut waits =
            std::mem::take(&mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner));
        waits.sort_unstable();
        let at = |hundredth: usize| {
            waits.get((waits.len() * hundredth / 100).min(waits.len().saturating_sub(1)))
        };
        match (at(50), at(99), waits.last()) {
            (Some(half), Some(most), Some(longest)) => {
                format!(
                    "{} answers, p50 {half:.1?}, p99 {most:.1?}, max {longest:.1?}",
                    waits.len()
                )
            }
            _ => "no answers".to_owned(),
        }
    }
}

struct Member<S> {
    script: S,
    stream: TcpStream,
    reply: Vec<u8>,
    /// When the request was sent that has no answer yet.
    asked_at: Option<Instant>,
}

/// Connections, each with its script.
pub(crate) struct Crowd<S> {
    poll: Poll,
    members: Vec<Member<S>>,
    /// Who asks next, and when.
    due: VecDeque<(Instant, usize)>,
    pause: Duration,
    asking: usize,
}

impl<S: Script> Crowd<S> {
    /// Connects one member for each script, each from an address of its own in 127/8. After an
    /// answer a member makes a `pause`.
    #[track_caller]
    pub(crate) fn join(
        to: SocketAddr,
        scripts: impl IntoIterator<Item = S>,
        pause: Duration,
    ) -> Crowd<S> {
        let poll = Poll::new().expect("a poll");
        let join = |(number, script)| {
            let mut stream =
                connect(Ipv4Addr::from(0x7f01_0000 + u32::try_from(number).expect("small")), to);
            poll.registry()
                .register(&mut stream, Token(number), Interest::READABLE)
                .expect("registered");
            Member { script, stream, reply: Vec::new(), asked_at: None }
        };
        let members: Vec<Member<S>> = scripts.into_iter().enumerate().map(join).collect();
        let (now, count) = (Instant::now(), u32::try_from(members.len()).expect("small"));
        let due =
            (0..count).map(|number| (now + pause * number / count, number as usize)).collect();
        Crowd { poll, members, due, pause, asking: 0 }
    }

    /// Asks until `leave` is set or the scripts have ended, then waits for the answers that are
    /// still to come; the scripts.
    #[track_caller]
    pub(crate) fn run(mut self, gauge: &Gauge, leave: &AtomicBool) -> Vec<S> {
        let mut events = Events::with_capacity(1_024);
        let mut heard_at = Instant::now();
        loop {
            if leave.load(Ordering::SeqCst) {
                self.due.clear();
            }
            self.ask_those_due();
            if self.due.is_empty() && self.asking == 0 {
                return self.members.into_iter().map(|member| member.script).collect();
            }
            let until_next = self
                .due
                .front()
                .map_or(LOOK_EVERY, |(at, _)| at.saturating_duration_since(Instant::now()));
            self.poll.poll(&mut events, Some(until_next.min(LOOK_EVERY))).expect("events");
            for event in &events {
                self.hear(event.token().0, gauge);
                heard_at = Instant::now();
            }
            if self.asking == 0 {
                heard_at = Instant::now();
            }
            assert!(
                heard_at.elapsed() < PATIENCE,
                "{} requests are without an answer",
                self.asking
            );
        }
    }

    fn ask_those_due(&mut self) {
        while let Some((_, number)) = self.due.pop_front_if(|(at, _)| *at <= Instant::now()) {
            let member = &mut self.members[number];
            let Some(target) = member.script.next() else { continue };
            let request = format!("GET {target} HTTP/1.1\r\nHost: tracker\r\n\r\n");
            member.asked_at = Some(Instant::now());
            // One request at a time always fits into the socket's buffer.
            let sent_bytes = member.stream.write(request.as_bytes()).expect("the connection lives");
            assert_eq!(sent_bytes, request.len());
            self.asking += 1;
        }
    }

    fn hear(&mut self, number: usize, gauge: &Gauge) {
        let member = &mut self.members[number];
        member.receive();
        let Some(head_bytes) = whole_reply(&member.reply) else { return };
        let asked_at = member.asked_at.take().expect("an answer follows a question");
        gauge.count(asked_at.elapsed());
        member.script.answered(&member.reply[head_bytes..]);
        member.reply.clear();
        self.asking -= 1;
        self.due.push_back((Instant::now() + self.pause, number));
    }
}

impl<S> Member<S> {
    fn receive(&mut self) {
        let mut buffer = [0; 4_096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("a connection was closed: {}", self.reply.escape_ascii()),
                Ok(read_bytes) => self.reply.extend_from_slice(&buffer[..read_bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("a connection was lost: {error}"),
            }
        }
    }
}

/// The length of the head, once head and body are there.
#[track_caller]
fn whole_reply(reply: &[u8]) -> Option<usize> {
    let head_bytes = 4 + reply.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&reply[..head_bytes]);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    (reply.len() >= head_bytes + length.expect("a length")).then_some(head_bytes)
}

#[track_caller]
fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("a loopback address");
    socket.connect_timeout(&to.into(), PATIENCE).expect("the tracker accepts");
    socket.set_nonblocking(true).expect("a socket can be told not to block");
    TcpStream::from_std(socket.into())
}
