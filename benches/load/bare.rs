//! The bare server: what an answer costs at the least. It reads and writes as the tracker does and
//! does nothing else: no parsing, no clock, no memory beyond its buffers, and the same bytes for
//! everybody.
//!
//! Its system calls for an answer are the fewest there are: a read and a write and a share of a
//! wait; for a connection of its own accept, read, write, close. Where requests are pipelined it
//! counts their bytes, for they are all equally long.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread;

use clap::Parser;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::{Errno, read, write};
use rustix::net::{SocketFlags, accept_with};
use socket2::{Domain, Socket, Type};

use crate::sockopt;

/// First argument of this program when it is to be the bare server.
pub(crate) const BARE_SERVER: &str = "--bare-server";

const LISTENER: u64 = u64::MAX;
const ACCEPTS_PER_ROUND_MAX: usize = 256;
const EVENTS_MAX: usize = 1_024;
const BACKLOG: i32 = 4_096;
const DEFER_ACCEPT_S: i32 = 5;
const INPUT_BYTES: usize = 8 * 1_024;
/// Answers that can be written at once.
const BATCH_MAX: usize = 64;

/// How the bare server is to be.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Bare {
    #[arg(long)]
    pub(crate) port: u16,
    /// Bytes of an answer with its head.
    #[arg(long)]
    pub(crate) answer_bytes: usize,
    /// Bytes of a request; without it every read is one.
    #[arg(long)]
    pub(crate) request_bytes: Option<usize>,
    /// Close after an answer.
    #[arg(long)]
    pub(crate) close: bool,
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: u16,
}

impl Bare {
    /// The command line that makes this one.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![BARE_SERVER.to_owned()];
        let mut add =
            |name: &str, value: usize| arguments.extend([name.to_owned(), value.to_string()]);
        add("--port", usize::from(self.port));
        add("--answer-bytes", self.answer_bytes);
        add("--workers", usize::from(self.workers));
        self.request_bytes.into_iter().for_each(|bytes| add("--request-bytes", bytes));
        arguments.extend(self.close.then(|| "--close".to_owned()));
        arguments
    }

    /// Serves for good.
    pub(crate) fn serve(&self) -> io::Result<()> {
        let workers =
            (0..self.workers).map(|_| Worker::new(self)).collect::<io::Result<Vec<_>>>()?;
        let threads: Vec<_> =
            workers.into_iter().map(|worker| thread::spawn(move || worker.run())).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
        })
    }

    /// An answer with as many bytes as asked for, if that is enough for a head.
    fn answer(&self) -> Vec<u8> {
        let ending = if self.close { "Connection: close\r\n\r\n" } else { "\r\n" };
        let head = |body_bytes| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: \
                 {body_bytes}\r\n{ending}"
            )
        };
        let body_bytes = self.answer_bytes.saturating_sub(head(100).len());
        let mut answer = head(body_bytes).into_bytes();
        answer.resize(answer.len() + body_bytes, b'x');
        answer
    }
}

struct Worker {
    listener: Socket,
    epoll: OwnedFd,
    /// By the number of their descriptor: the connections, and bytes of requests that are not
    /// complete.
    connections: Vec<Option<(OwnedFd, usize)>>,
    input: Vec<u8>,
    answers: Vec<u8>,
    answer_bytes: usize,
    request_bytes: Option<usize>,
    close: bool,
}

impl Worker {
    fn new(bare: &Bare) -> io::Result<Worker> {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        listener.set_reuse_port(true)?;
        listener.set_tcp_nodelay(true)?;
        listener.set_nonblocking(true)?;
        listener.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, bare.port).into())?;
        sockopt::defer_accept(listener.as_fd(), DEFER_ACCEPT_S)?;
        listener.listen(BACKLOG)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN | EventFlags::ET,
        )?;
        let answer = bare.answer();
        Ok(Worker {
            listener,
            epoll,
            connections: Vec::new(),
            input: vec![0; INPUT_BYTES],
            answers: answer.repeat(BATCH_MAX),
            answer_bytes: answer.len(),
            request_bytes: bare.request_bytes,
            close: bare.close,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut listening = false;
        loop {
            let at_once = rustix::event::Timespec::default();
            match epoll::wait(
                &self.epoll,
                spare_capacity(&mut events),
                listening.then_some(&at_once),
            ) {
                Err(error) if error != Errno::INTR => return Err(error.into()),
                _ => {}
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => listening = true,
                    descriptor => self.ready(usize::try_from(descriptor).unwrap_or(usize::MAX)),
                }
            }
            if listening {
                listening = self.accept()?;
            }
        }
    }

    /// Accepts those who wait; whether there may be more.
    fn accept(&mut self) -> io::Result<bool> {
        for _ in 0..ACCEPTS_PER_ROUND_MAX {
            match accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(connection) => self.welcome(connection)?,
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    fn welcome(&mut self, connection: OwnedFd) -> io::Result<()> {
        let mut pending_bytes = 0;
        if !self.exchange(&connection, &mut pending_bytes) {
            return Ok(());
        }
        let descriptor = connection.as_raw_fd().unsigned_abs();
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &connection, EventData::new_u64(u64::from(descriptor)), flags)?;
        let place = descriptor as usize;
        if self.connections.len() <= place {
            self.connections.resize_with(place + 1, || None);
        }
        self.connections[place] = Some((connection, pending_bytes));
        Ok(())
    }

    fn ready(&mut self, place: usize) {
        let Some((connection, mut pending_bytes)) =
            self.connections.get_mut(place).and_then(Option::take)
        else {
            return;
        };
        if self.exchange(&connection, &mut pending_bytes) {
            self.connections[place] = Some((connection, pending_bytes));
        }
    }

    /// Answers what has arrived; whether the connection stays.
    fn exchange(&mut self, connection: &OwnedFd, pending_bytes: &mut usize) -> bool {
        let bytes = match read(connection, &mut self.input) {
            Ok(0) => return false,
            Ok(bytes) => bytes,
            Err(error) => return error == Errno::AGAIN || error == Errno::INTR,
        };
        let answers = match self.request_bytes {
            None => 1,
            Some(request_bytes) => {
                *pending_bytes += bytes;
                let whole = *pending_bytes / request_bytes;
                *pending_bytes %= request_bytes;
                whole
            }
        };
        let answers = &self.answers[..answers.min(BATCH_MAX) * self.answer_bytes];
        answers.is_empty() || (write(connection, answers) == Ok(answers.len()) && !self.close)
    }
}
