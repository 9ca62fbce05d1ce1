//! Listening sockets: one of each address for each worker (SO_REUSEPORT), so that the kernel
//! spreads connections and no lock is shared.
//!
//! Owns: opening them with the right options, and accepting without ever spinning or losing the
//! edge when descriptors run out. mio is edge-triggered: after EMFILE no event comes for what is
//! already queued, so a spare descriptor is kept. It is given up to take the connection at the head
//! of the queue, which is told to go away (503), and taken again.
//!
//! SO_REUSEPORT would let a second tracker bind the same port in silence and take half of the
//! swarms: before the real sockets, a probe without it must succeed.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::server::sockopt;

/// How long the kernel holds a silent connection back before it hands it over all the same,
/// seconds.
const DEFER_ACCEPT_S: i32 = 5;
/// Bytes of answers that the kernel takes of a connection beyond what is on its way. Without it the
/// kernel lets a client that never reads have a whole send buffer, which grows to megabytes.
const UNSENT_BYTES_MAX: u32 = 16 * 1024;
/// The least time after which the kernel gives a connection up: below it a single lost packet
/// would end one.
const GIVE_UP_MIN: Duration = Duration::from_secs(1);
/// Bytes of a request that are read before its connection is turned away: the default limit of a
/// whole one.
const TURN_AWAY_READ_BYTES: usize = 8 * 1024;

/// How a listening socket is to be opened.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct ListenerOptions {
    /// Address and port; port 0 lets the kernel choose.
    pub(in crate::server) address: SocketAddr,
    /// An IPv6 socket that leaves IPv4 alone, because another one serves it.
    pub(in crate::server) only_v6: bool,
    /// Connections the kernel queues (bounded by net.core.somaxconn too).
    pub(in crate::server) backlog: i32,
    /// Trusted proxies begin each connection with a PROXY protocol preface.
    pub(in crate::server) proxy_protocol: bool,
}

/// Binds without SO_REUSEPORT and lets go again: fails when anybody else holds the port.
///
/// # Errors
/// What bind says, `AddrInUse` above all.
pub(in crate::server) fn probe(options: &ListenerOptions) -> io::Result<()> {
    socket(options)?.bind(&options.address.into())
}

/// Whether this machine has no IPv6 at all, and `address` is the unspecified one: then IPv4's
/// serves instead.
pub(in crate::server) fn without_ipv6(address: SocketAddr) -> Option<SocketAddr> {
    let unspecified = address.is_ipv6() && address.ip().is_unspecified();
    let absent =
        unspecified && Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).is_err();
    absent.then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
}

fn socket(options: &ListenerOptions) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(options.address), Type::STREAM, Some(Protocol::TCP))?;
    if options.address.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// A socket that shares its port with the other workers' ones.
///
/// # Errors
/// What the system says.
pub(in crate::server) fn bind(options: &ListenerOptions) -> io::Result<Socket> {
    let socket = socket(options)?;
    socket.set_reuse_port(true)?;
    socket.bind(&options.address.into())?;
    Ok(socket)
}

/// What [`Listener::accept`] came to.
#[derive(Debug)]
pub(in crate::server) enum Accepted {
    /// A connection and its peer.
    Connection(TcpStream, SocketAddr),
    /// Nobody is waiting: the next edge will tell.
    Drained,
    /// One connection was turned away for want of a descriptor; others may be waiting.
    TurnedAway,
    /// Descriptors or memory have run out and nobody could even be turned away: try again later, no
    /// edge will tell.
    Exhausted,
}

/// One listening socket of one worker.
pub(in crate::server) struct Listener {
    /// For the poll's registry.
    pub(in crate::server) socket: TcpListener,
    spare: Option<File>,
    /// See [`ListenerOptions::proxy_protocol`].
    pub(in crate::server) proxy_protocol: bool,
}

impl Listener {
    /// Listens on a socket from [`bind`], or on another process's.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::server) fn over(
        socket: Socket,
        options: &ListenerOptions,
    ) -> io::Result<Listener> {
        // Accepted sockets inherit both. Without the first an answer waits for the acknowledgement
        // of the one before.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        socket.set_nonblocking(true)?;
        sockopt::defer_accept(socket.as_fd(), DEFER_ACCEPT_S)?;
        // A socket that listens already takes over the backlog.
        socket.listen(options.backlog)?;
        Ok(Listener {
            socket: TcpListener::from_std(socket.into()),
            spare: spare_descriptor(),
            proxy_protocol: options.proxy_protocol,
        })
    }

    /// Has the kernel give up connections that are accepted from now on when their peer takes
    /// nothing for so long, also those that are closed here already: what they had still to send
    /// would stay in memory for minutes.
    pub(in crate::server) fn give_up_after(&self, send_timeout: Duration) {
        let timeout = send_timeout.max(GIVE_UP_MIN);
        // A kernel that does not know the option keeps them for its own time.
        let _ = SockRef::from(&self.socket).set_tcp_user_timeout(Some(timeout));
    }

    /// Takes one connection. Connections that died while queued are passed over.
    pub(in crate::server) fn accept(&mut self, answer: &[u8]) -> Accepted {
        loop {
            match self.socket.accept() {
                Ok((stream, peer)) => return Accepted::Connection(stream, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Accepted::Drained,
                Err(error) if out_of_descriptors(&error) => return self.turn_away(answer),
                Err(error) if of_one_connection(&error) => {}
                Err(_) => return Accepted::Exhausted,
            }
        }
    }

    fn turn_away(&mut self, answer: &[u8]) -> Accepted {
        if self.spare.take().is_none() {
            self.spare = spare_descriptor();
            return Accepted::Exhausted;
        }
        let outcome = match self.socket.accept() {
            Ok((stream, _)) => {
                turn_away(stream, answer);
                Accepted::TurnedAway
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Accepted::Drained,
            Err(_) => Accepted::Exhausted,
        };
        self.spare = spare_descriptor();
        outcome
    }
}

/// Tells a connection to come back later and closes it. What has arrived is read first: closing
/// over unread bytes resets the connection, and the reset would overtake the answer.
pub(in crate::server) fn turn_away(mut stream: TcpStream, answer: &[u8]) {
    let _ = stream.read(&mut [0; TURN_AWAY_READ_BYTES]);
    // Best effort: whoever it is must come back later either way.
    let _ = stream.write(answer);
    let _ = stream.shutdown(Shutdown::Both);
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// ECONNABORTED, EINTR, and the pending network errors that accept(2) names: that connection is
/// gone, the next may be well.
fn of_one_connection(error: &io::Error) -> bool {
    let errors = [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::ENETDOWN,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
        libc::EPERM,
        libc::ETIMEDOUT,
    ];
    error.raw_os_error().is_some_and(|number| errors.contains(&number))
}
