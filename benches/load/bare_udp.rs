//! The bare server of datagrams: what an answer over UDP costs at the least. It receives and sends
//! in batches as the tracker does and does nothing else: no parsing, no clock, no connection ids,
//! no local addresses, and the same bytes for everybody.
//!
//! Its system calls are the fewest there are for a server that has other sockets too: a
//! `recvmmsg` and a `sendmmsg` a batch, and a wait when the batch before was not full. A request of
//! 16 bytes is taken for a connect. Of all others it copies the transaction id, by which a client
//! knows an answer.

use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use clap::Parser;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

/// First argument of this program when it is to be the bare server of datagrams.
pub(crate) const BARE_UDP_SERVER: &str = "--bare-udp-server";

const BATCH_MAX: usize = 32;
const REQUEST_BYTES_MAX: usize = 25 * 64;
const ANSWER_BYTES_MAX: usize = 1_472;
const CONNECT_BYTES: usize = 16;
/// Room for what is under way; the kernel grants less if net.core.rmem_max says so.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// How the bare server is to be.
#[derive(Parser, Clone, Debug)]
pub(crate) struct BareUdp {
    #[arg(long)]
    pub(crate) port: u16,
    /// Bytes of an answer.
    #[arg(long)]
    pub(crate) answer_bytes: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: u16,
}

impl BareUdp {
    /// The command line that makes this one.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let pairs = [
            ("--port", usize::from(self.port)),
            ("--answer-bytes", self.answer_bytes),
            ("--workers", usize::from(self.workers)),
        ];
        let pairs = pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]);
        [BARE_UDP_SERVER.to_owned()].into_iter().chain(pairs).collect()
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
}

struct Worker {
    socket: Socket,
    epoll: OwnedFd,
    requests: Box<[[u8; REQUEST_BYTES_MAX]; BATCH_MAX]>,
    answers: Box<[[u8; ANSWER_BYTES_MAX]; BATCH_MAX]>,
    answer_bytes: usize,
    /// Of the batch at hand: who asked, and how many bytes the answer has.
    from: [Option<SockaddrIn>; BATCH_MAX],
    bytes: [usize; BATCH_MAX],
}

impl Worker {
    fn new(bare: &BareUdp) -> io::Result<Worker> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, bare.port).into())?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &socket, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?;
        let mut answer = [b'x'; ANSWER_BYTES_MAX];
        answer[..4].copy_from_slice(&1_u32.to_be_bytes());
        Ok(Worker {
            socket,
            epoll,
            requests: Box::new([[0; REQUEST_BYTES_MAX]; BATCH_MAX]),
            answers: Box::new([answer; BATCH_MAX]),
            answer_bytes: bare.answer_bytes.clamp(CONNECT_BYTES, ANSWER_BYTES_MAX),
            from: [None; BATCH_MAX],
            bytes: [0; BATCH_MAX],
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(1);
        let mut incoming = MultiHeaders::preallocate(BATCH_MAX, None);
        let mut outgoing = MultiHeaders::preallocate(BATCH_MAX, None);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(error) if error != rustix::io::Errno::INTR => return Err(error.into()),
                _ => events.clear(),
            }
            loop {
                let count = self.receive(&mut incoming)?;
                self.answer(count);
                self.send(count, &mut outgoing);
                if count < BATCH_MAX {
                    break;
                }
            }
        }
    }

    fn receive(&mut self, headers: &mut MultiHeaders<SockaddrIn>) -> io::Result<usize> {
        let mut requests = self.requests.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH_MAX] = array::from_fn(|_| {
            [IoSliceMut::new(requests.next().map(|request| &mut request[..]).unwrap_or_default())]
        });
        let descriptor = self.socket.as_raw_fd();
        match recvmmsg(descriptor, headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(received) => {
                let places = self.from.iter_mut().zip(&mut self.bytes);
                Ok(received
                    .zip(places)
                    .map(|(request, place)| (*place.0, *place.1) = (request.address, request.bytes))
                    .count())
            }
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the answers of a batch out of its requests.
    fn answer(&mut self, count: usize) {
        let parts = self.requests.iter().zip(&mut *self.answers).zip(&mut self.bytes);
        for ((request, answer), bytes) in parts.take(count) {
            let is_connect = *bytes == CONNECT_BYTES;
            answer[3] = u8::from(!is_connect);
            answer[4..8].copy_from_slice(&request[12..16]);
            *bytes = if is_connect { CONNECT_BYTES } else { self.answer_bytes };
        }
    }

    /// What the socket does not take is lost.
    fn send(&self, count: usize, headers: &mut MultiHeaders<SockaddrIn>) {
        let mut parts = self.answers.iter().zip(&self.bytes);
        let slices: [[IoSlice<'_>; 1]; BATCH_MAX] = array::from_fn(|_| {
            [IoSlice::new(
                parts.next().map(|(answer, bytes)| &answer[..*bytes]).unwrap_or_default(),
            )]
        });
        if count > 0 {
            let flags = MsgFlags::MSG_DONTWAIT;
            let (slices, from) = (&slices[..count], &self.from[..count]);
            let _ = sendmmsg(self.socket.as_raw_fd(), headers, slices, from, [], flags);
        }
    }
}
