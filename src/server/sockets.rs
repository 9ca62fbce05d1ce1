//! The sockets of all workers, opened before anybody serves them.
//!
//! Owns: the order of opening (all addresses of a protocol are probed before any is opened, so that
//! an own socket does not pass for another program's; HTTP's first, whose ports UDP takes), the
//! polls, and how many connections the limit on open files allows.
//!
//! Limits: the process's file descriptors.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use mio::{Poll, Waker};

use crate::config::{Config, Listen, ServerConfig, UdpListen};
use crate::mailbox::Wake;
use crate::server::datagrams::{self, DatagramOptions, DatagramSocket};
use crate::server::listener::{self, Listener, ListenerOptions};
use crate::server::worker::WAKER;

/// Descriptors that no worker owns: standard streams, the signals' pipe, files of the database and
/// of the log.
const PROCESS_DESCRIPTORS: usize = 32;

/// How often the kernel may choose a port that UDP cannot have.
const PORT_CHOICES_MAX: u32 = 16;

/// An address that could not be listened on, or a poll that could not be made.
#[derive(Debug)]
pub enum ListenError {
    /// The address, and what the system said.
    Address(SocketAddr, io::Error),
    /// The address for UDP, and what the system said.
    Udp(SocketAddr, io::Error),
    /// What the system said of a poll.
    Poll(io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Address(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                let port = address.port();
                write!(f, "cannot listen on {address}: another program has port {port} already")
            }
            ListenError::Address(address, error) => {
                write!(f, "cannot listen on {address}: {error}")
            }
            ListenError::Udp(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                let port = address.port();
                write!(
                    f,
                    "cannot listen on {address} for UDP: another program has UDP port {port} \
                     already; udp.listen names other addresses, or none"
                )
            }
            ListenError::Udp(address, error) => {
                write!(f, "cannot listen on {address} for UDP: {error}")
            }
            ListenError::Poll(error) => write!(f, "cannot start polling: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

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
}

impl Sockets {
    /// Opens the sockets of as many workers as the settings ask for.
    ///
    /// # Errors
    /// When an address is taken or bad, or the system is out of something.
    pub fn open(config: &Config) -> Result<Sockets, ListenError> {
        let workers = worker_count(&config.server);
        let ((listeners, addresses), (datagram_sockets, udp_addresses)) =
            open_both(config, workers)?;
        let polls = (0..workers).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>();
        let polls = polls.map_err(ListenError::Poll)?;
        let wakes = polls.iter().map(wake).collect::<io::Result<Vec<_>>>();
        let wakes = wakes.map_err(ListenError::Poll)?;
        let own = polls.into_iter().zip(listeners).zip(datagram_sockets);
        let workers = own.map(|((poll, listeners), datagram_sockets)| WorkerSockets {
            poll,
            listeners,
            datagram_sockets,
        });
        Ok(Sockets { workers: workers.collect(), addresses, udp_addresses, wakes })
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

/// Each worker's listeners, and the addresses they share.
type Listeners = (Vec<Vec<Listener>>, Vec<SocketAddr>);

/// Each worker's datagram sockets, and the addresses they share.
type DatagramSockets = (Vec<Vec<DatagramSocket>>, Vec<SocketAddr>);

/// A port that the kernel chooses for HTTP may be another program's for UDP: then it chooses again.
fn open_both(config: &Config, workers: usize) -> Result<(Listeners, DatagramSockets), ListenError> {
    let chooses = config.server.listen.iter().any(|listen| listen.address.port() == 0)
        && config.udp.listen == UdpListen::AsServer;
    let mut choices = if chooses { PORT_CHOICES_MAX } else { 1 };
    loop {
        choices -= 1;
        let listeners = open_listeners(&config.server, workers)?;
        match open_datagram_sockets(config, &listeners.1, workers) {
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
    listeners: &[SocketAddr],
    workers: usize,
) -> Result<DatagramSockets, ListenError> {
    let wanted = udp_addresses(config, listeners);
    let options: Vec<DatagramOptions> = wanted
        .iter()
        .map(|address| DatagramOptions {
            address: *address,
            only_v6: has_all_of_ipv4(&wanted, *address),
            receive_buffer_bytes: config.udp.receive_buffer as usize,
        })
        .collect();
    for options in &options {
        let failed = |error| ListenError::Udp(options.address, error);
        datagrams::probe(options).map_err(failed)?;
    }
    let mut sockets: Vec<Vec<DatagramSocket>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for mut options in options {
        for own in &mut sockets {
            let failed = |error| ListenError::Udp(options.address, error);
            let socket = DatagramSocket::open(&options).map_err(failed)?;
            // Port 0 is chosen by the kernel for the first worker; the others share it.
            options.address = socket.address().map_err(failed)?;
            own.push(socket);
        }
        addresses.push(options.address);
    }
    note_receive_buffer(config, sockets.first().and_then(|sockets| sockets.first()));
    Ok((sockets, addresses))
}

/// Where UDP is listened for when HTTP has got the addresses `listeners`.
fn udp_addresses(config: &Config, listeners: &[SocketAddr]) -> Vec<SocketAddr> {
    match &config.udp.listen {
        UdpListen::AsServer => {
            let listed = config.server.listen.iter().zip(listeners);
            let direct = listed.filter(|(listen, _)| !listen.proxy_protocol);
            direct.map(|(_, address)| *address).collect()
        }
        UdpListen::Addresses(addresses) => {
            let usable = |address| listener::without_ipv6(address).unwrap_or(address);
            addresses.iter().map(|address| usable(*address)).collect()
        }
    }
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

fn open_listeners(server: &ServerConfig, workers: usize) -> Result<Listeners, ListenError> {
    let mut listeners: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for listen in &server.listen {
        let failed = |error| ListenError::Address(listen.address, error);
        listener::probe(&listener_options(server, *listen)).map_err(failed)?;
    }
    for listen in &server.listen {
        let failed = |error| ListenError::Address(listen.address, error);
        let mut options = listener_options(server, *listen);
        for own in &mut listeners {
            let listener = Listener::open(&options).map_err(failed)?;
            // Port 0 is chosen by the kernel for the first worker; the others share it.
            options.address = listener.address().map_err(failed)?;
            own.push(listener);
        }
        addresses.push(options.address);
    }
    Ok((listeners, addresses))
}

fn listener_options(server: &ServerConfig, listen: Listen) -> ListenerOptions {
    let address = listener::without_ipv6(listen.address).unwrap_or(listen.address);
    let listed: Vec<SocketAddr> = server.listen.iter().map(|listen| listen.address).collect();
    ListenerOptions {
        address,
        only_v6: has_all_of_ipv4(&listed, address),
        backlog: i32::from(server.backlog),
        proxy_protocol: listen.proxy_protocol,
    }
}

/// Whether another address of those listed takes over what `address` would have of IPv4. One IPv4
/// address beside `[::]` does not serve the others: only `0.0.0.0` does.
fn has_all_of_ipv4(listed: &[SocketAddr], address: SocketAddr) -> bool {
    let all_of_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    address.port() != 0 && listed.contains(&all_of_ipv4)
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
/// poll, the poll's double and a waker, with each listener a spare, and its datagram sockets; a
/// lookup thread has a connection to the database.
fn connections_within(descriptors: usize, config: &Config, workers: usize) -> usize {
    let datagram_sockets = match &config.udp.listen {
        UdpListen::AsServer => config.server.listen.len(),
        UdpListen::Addresses(addresses) => addresses.len(),
    };
    let per_worker = 3 + 2 * config.server.listen.len() + datagram_sockets;
    let others = usize::from(config.database.lookup_threads) + 3 + workers * per_worker;
    descriptors.saturating_sub(PROCESS_DESCRIPTORS + others) / workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_need_beside_connections_is_left_to_them() {
        let mut config = Config::default();
        let one_worker = 1_024 - PROCESS_DESCRIPTORS - 7 - 6;
        assert_eq!(connections_within(1_024, &config, 1), one_worker);
        let more: SocketAddr = "127.0.0.1:80".parse().unwrap();
        config.server.listen.push(more.into());
        let many_workers = (1_024 - PROCESS_DESCRIPTORS - 7 - 64 * 9) / 64;
        assert_eq!(connections_within(1_024, &config, 64), many_workers);
        assert_eq!(connections_within(256, &config, 64), 0, "not enough for the workers alone");
    }
}
