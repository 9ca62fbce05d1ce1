//! The sockets of all workers, opened before anybody serves them.
//!
//! Owns: the order of opening (all addresses of a protocol are probed before any is opened, so that
//! an own socket does not pass for another program's; HTTP's first, whose ports UDP takes), the
//! polls, and how many connections the limit on open files allows.
//!
//! Limits: the process's file descriptors.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use mio::{Poll, Waker};

use crate::config::{Config, ServerConfig, UdpListen};
use crate::mailbox::Wake;
use crate::server::datagrams::{self, DatagramSocket};
use crate::server::inherited::{HandedSocket, Purpose};
use crate::server::listen_error::ListenError;
use crate::server::listener::{self, Listener};
use crate::server::places::{Place, places, probe_places, probe_udp_places, udp_places};
use crate::server::spread::{Share, Spread, spread};
use crate::server::worker::WAKER;

/// Descriptors that no worker owns: standard streams, the signals' pipe, files of the database and
/// of the log.
const PROCESS_DESCRIPTORS: usize = 32;

/// How often the kernel may choose a port that UDP cannot have.
const PORT_CHOICES_MAX: u32 = 16;

/// What one worker will serve.
pub(in crate::server) struct WorkerSockets {
    pub(in crate::server) poll: Poll,
    pub(in crate::server) listeners: Vec<Listener>,
    pub(in crate::server) datagram_sockets: Vec<DatagramSocket>,
}

/// Every socket, and a poll for each worker; see the module.
pub struct Sockets {
    pub(in crate::server) workers: Vec<WorkerSockets>,
    pub(in crate::server) addresses: Vec<SocketAddr>,
    pub(in crate::server) udp_addresses: Vec<SocketAddr>,
    pub(in crate::server) wakes: Vec<Wake>,
    /// Each socket once more, for a successor: while one of these is there, the socket is open.
    pub(in crate::server) for_successor: Vec<HandedSocket>,
}

impl Sockets {
    /// Opens the sockets of as many workers as the settings ask for, and takes over those that are
    /// there already.
    ///
    /// # Errors
    /// When an address is taken or bad, or the system is out of something.
    pub fn open(config: &Config, there: &[HandedSocket]) -> Result<Sockets, ListenError> {
        let workers = worker_count(&config.server);
        let (listeners, datagram_sockets) = open_both(config, there, workers)?;
        let polls = (0..workers).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>();
        let polls = polls.map_err(ListenError::Poll)?;
        let wakes = polls.iter().map(wake).collect::<io::Result<Vec<_>>>();
        let wakes = wakes.map_err(ListenError::Poll)?;
        let own = polls.into_iter().zip(listeners.own).zip(datagram_sockets.own);
        let workers = own.map(|((poll, listeners), datagram_sockets)| WorkerSockets {
            poll,
            listeners,
            datagram_sockets,
        });
        let for_successor = [listeners.for_successor, datagram_sockets.for_successor];
        Ok(Sockets {
            workers: workers.collect(),
            addresses: listeners.addresses,
            udp_addresses: datagram_sockets.addresses,
            wakes,
            for_successor: for_successor.into_iter().flatten().collect(),
        })
    }

    /// Whether [`Sockets::open`] would succeed, as far as that can be found out without opening
    /// any.
    ///
    /// # Errors
    /// As [`Sockets::open`].
    pub fn check(config: &Config, there: &[HandedSocket]) -> Result<(), ListenError> {
        let places = places(config, there)?;
        probe_places(&places)?;
        let addresses: Vec<SocketAddr> = places.iter().map(|place| place.options.address).collect();
        // A port that the system is to choose is one that UDP can have, or another one.
        if !addresses.iter().any(|address| address.port() == 0) {
            probe_udp_places(&udp_places(config, there, &addresses)?)?;
        }
        Ok(())
    }

    /// How many workers they are for.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// What wakes each worker, by its index.
    pub fn wakes(&self) -> &[Wake] {
        &self.wakes
    }
}

fn worker_count(server: &ServerConfig) -> usize {
    match server.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => usize::from(workers),
    }
}

/// The sockets of one protocol.
struct Opened<T> {
    /// Each worker's.
    own: Vec<Vec<T>>,
    addresses: Vec<SocketAddr>,
    for_successor: Vec<HandedSocket>,
}

impl<T> Opened<T> {
    fn nothing(workers: usize) -> Opened<T> {
        let own = (0..workers).map(|_| Vec::new()).collect();
        Opened { own, addresses: Vec::new(), for_successor: Vec::new() }
    }

    /// Takes in one address, of whose sockets `over` makes a worker's.
    fn add(
        &mut self,
        address: SocketAddr,
        (purpose, activated): (Purpose, bool),
        spread: Spread,
        over: impl Fn(Share) -> io::Result<T>,
    ) -> io::Result<()> {
        let Spread { shares, all } = spread;
        if shares.iter().flatten().any(|share| share.is_counted_elsewhere) {
            let (workers, sockets) = (shares.len(), all.len());
            log::info!(
                "{address}: {workers} workers share {sockets} {}; a socket for each worker spreads \
                 the work better",
                if sockets == 1 { "socket" } else { "sockets" }
            );
        }
        for (own, shares) in self.own.iter_mut().zip(shares) {
            for share in shares {
                own.push(over(share)?);
            }
        }
        self.addresses.push(address);
        let handed = all.into_iter().map(|socket| HandedSocket { purpose, activated, socket });
        self.for_successor.extend(handed);
        Ok(())
    }
}

/// A port that the kernel chooses for HTTP may be another program's for UDP: then it chooses again.
fn open_both(
    config: &Config,
    there: &[HandedSocket],
    workers: usize,
) -> Result<(Opened<Listener>, Opened<DatagramSocket>), ListenError> {
    let chooses = config.server.listen.iter().any(|listen| listen.address.port() == 0)
        && config.udp.listen == UdpListen::AsServer;
    let mut choices = if chooses { PORT_CHOICES_MAX } else { 1 };
    loop {
        choices -= 1;
        let listeners = open_listeners(config, there, workers)?;
        match open_datagram_sockets(config, there, (&listeners.addresses, workers)) {
            Ok(datagram_sockets) => return Ok((listeners, datagram_sockets)),
            Err(ListenError::Udp(_, error))
                if choices > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

/// `listeners` are the addresses that HTTP has got.
fn open_datagram_sockets(
    config: &Config,
    there: &[HandedSocket],
    (listeners, workers): (&[SocketAddr], usize),
) -> Result<Opened<DatagramSocket>, ListenError> {
    let places = udp_places(config, there, listeners)?;
    probe_udp_places(&places)?;
    let mut opened = Opened::nothing(workers);
    for Place { mut options, there, activated } in places {
        let address = options.address;
        let failed = |error| ListenError::Udp(address, error);
        // Port 0 is chosen by the kernel for the first worker; the others share it.
        let bind = || {
            let socket = datagrams::bind(&options)?;
            options.address = socket.local_addr()?.as_socket().unwrap_or(options.address);
            Ok(socket)
        };
        let spread = spread(&there, workers, (!activated).then_some(bind)).map_err(failed)?;
        let address = options.address;
        let over = |share: Share| DatagramSocket::over(share, &options);
        opened.add(address, (Purpose::Udp, activated), spread, over).map_err(failed)?;
    }
    note_receive_buffer(config, opened.own.first().and_then(|sockets| sockets.first()));
    Ok(opened)
}

fn note_receive_buffer(config: &Config, socket: Option<&DatagramSocket>) {
    let wanted = config.udp.receive_buffer;
    if let Some(got) = socket.map(|socket| socket.receive_buffer_bytes)
        && got < wanted as usize
    {
        log::info!(
            "udp.receive_buffer: the kernel gives {got} bytes of {wanted}; a busy tracker wants \
             them all: sysctl -w net.core.rmem_max={wanted}"
        );
    }
}

fn open_listeners(
    config: &Config,
    there: &[HandedSocket],
    workers: usize,
) -> Result<Opened<Listener>, ListenError> {
    let places = places(config, there)?;
    probe_places(&places)?;
    let mut opened = Opened::nothing(workers);
    for Place { mut options, there, activated } in places {
        let address = options.address;
        let failed = |error| ListenError::Address(address, error);
        // Port 0 is chosen by the kernel for the first worker; the others share it.
        let bind = || {
            let socket = listener::bind(&options)?;
            options.address = socket.local_addr()?.as_socket().unwrap_or(options.address);
            Ok(socket)
        };
        let spread = spread(&there, workers, (!activated).then_some(bind)).map_err(failed)?;
        let purpose = if options.proxy_protocol { Purpose::Proxied } else { Purpose::Http };
        let address = options.address;
        let over = |share: Share| Listener::over(share.socket, &options);
        opened.add(address, (purpose, activated), spread, over).map_err(failed)?;
    }
    Ok(opened)
}

fn wake(poll: &Poll) -> io::Result<Wake> {
    let waker = Waker::new(poll.registry(), WAKER)?;
    Ok(Arc::new(move || {
        // Fails only when the worker is gone, and then nobody needs waking.
        let _ = waker.wake();
    }))
}

/// Connections of each worker: what the settings ask for, as far as the descriptor limit, raised as
/// far as it goes, allows. That the default is not met is nothing to be told of.
///
/// # Errors
/// When there would be none.
pub fn affordable_connections(config: &Config, workers: usize) -> io::Result<usize> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1_024);
    let wanted = config.server.connections_max as usize;
    let affordable =
        connections_within(usize::try_from(limit).unwrap_or(usize::MAX), config, workers);
    if affordable == 0 {
        return Err(io::Error::other(format!(
            "{limit} file descriptors (ulimit -n) are not enough for one connection a worker; \
             raise the limit: ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit"
        )));
    }
    if affordable < wanted && wanted != ServerConfig::default().connections_max as usize {
        log::info!(
            "server.connections_max: {limit} file descriptors (ulimit -n) are enough for \
             {affordable} connections a worker, not {wanted}"
        );
    }
    Ok(affordable.min(wanted))
}

/// Connections of each worker when the process may have `descriptors`. The rest: a worker has a
/// poll, the poll's double and a waker, with each listener a spare, and its datagram sockets, each
/// of them once more for a successor; a lookup thread has a connection to the database.
fn connections_within(descriptors: usize, config: &Config, workers: usize) -> usize {
    let datagram_sockets = match &config.udp.listen {
        UdpListen::AsServer => config.server.listen.len(),
        UdpListen::Addresses(addresses) => addresses.len(),
    };
    let per_worker = 3 + 3 * config.server.listen.len() + 2 * datagram_sockets;
    let others = usize::from(config.database.lookup_threads) + 3 + workers * per_worker;
    descriptors.saturating_sub(PROCESS_DESCRIPTORS + others) / workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_need_beside_connections_is_left_to_them() {
        let mut config = Config::default();
        let one_worker = 1_024 - PROCESS_DESCRIPTORS - 7 - 8;
        assert_eq!(connections_within(1_024, &config, 1), one_worker);
        let more: SocketAddr = "127.0.0.1:80".parse().unwrap();
        config.server.listen.push(more.into());
        let many_workers = (1_024 - PROCESS_DESCRIPTORS - 7 - 64 * 13) / 64;
        assert_eq!(connections_within(1_024, &config, 64), many_workers);
        assert_eq!(connections_within(256, &config, 64), 0, "not enough for the workers alone");
    }
}
