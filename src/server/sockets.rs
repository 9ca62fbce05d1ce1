//! The sockets of all workers, opened before anybody serves them.
//!
//! Owns: the order of opening (all addresses are probed before any is opened, so that an own
//! listener does not pass for another program's), the polls, and how many connections the limit on
//! open files allows.
//!
//! Limits: the process's file descriptors.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use mio::{Poll, Waker};

use crate::config::{Config, Listen, ServerConfig};
use crate::mailbox::Wake;
use crate::server::listener::{self, Listener, ListenerOptions};
use crate::server::worker::WAKER;

/// Descriptors that no worker owns: standard streams, the signals' pipe, files of the database and
/// of the log.
const PROCESS_DESCRIPTORS: usize = 32;

/// An address that could not be listened on, or a poll that could not be made.
#[derive(Debug)]
pub enum ListenError {
    /// The address, and what the system said.
    Address(SocketAddr, io::Error),
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
            ListenError::Poll(error) => write!(f, "cannot start polling: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// What one worker will serve.
pub(in crate::server) struct WorkerSockets {
    pub(in crate::server) poll: Poll,
    pub(in crate::server) listeners: Vec<Listener>,
}

/// Every socket, and a poll for each worker; see the module.
pub struct Sockets {
    pub(in crate::server) workers: Vec<WorkerSockets>,
    pub(in crate::server) addresses: Vec<SocketAddr>,
    pub(in crate::server) wakes: Vec<Wake>,
}

impl Sockets {
    /// Opens the sockets of as many workers as the settings ask for.
    ///
    /// # Errors
    /// When an address is taken or bad, or the system is out of something.
    pub fn open(server: &ServerConfig) -> Result<Sockets, ListenError> {
        let workers = worker_count(server);
        let (listeners, addresses) = open_listeners(server, workers)?;
        let polls = (0..workers).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>();
        let polls = polls.map_err(ListenError::Poll)?;
        let wakes = polls.iter().map(wake).collect::<io::Result<Vec<_>>>();
        let wakes = wakes.map_err(ListenError::Poll)?;
        let own = polls.into_iter().zip(listeners);
        let workers = own.map(|(poll, listeners)| WorkerSockets { poll, listeners }).collect();
        Ok(Sockets { workers, addresses, wakes })
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
    // One IPv4 address beside `[::]` does not serve the others: only `0.0.0.0` takes all of IPv4
    // over.
    let all_of_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let only_v6 =
        address.port() != 0 && server.listen.iter().any(|other| other.address == all_of_ipv4);
    ListenerOptions {
        address,
        only_v6,
        backlog: i32::from(server.backlog),
        proxy_protocol: listen.proxy_protocol,
    }
}

fn wake(poll: &Poll) -> io::Result<Wake> {
    let waker = Waker::new(poll.registry(), WAKER)?;
    Ok(Arc::new(move || {
        // Fails only when the worker is gone, and then nobody needs waking.
        let _ = waker.wake();
    }))
}

/// Connections of each worker: what the settings ask for, as far as the descriptor limit, raised as
/// far as it goes, allows.
pub fn affordable_connections(config: &Config, workers: usize) -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1_024);
    let wanted = config.server.connections_max as usize;
    let affordable =
        connections_within(usize::try_from(limit).unwrap_or(usize::MAX), config, workers);
    if affordable < wanted {
        log::info!(
            "{limit} file descriptors (ulimit -n) are enough for {affordable} connections a \
             worker, not {wanted}"
        );
    }
    affordable.min(wanted).max(1)
}

/// Connections of each worker when the process may have `descriptors`. The rest: a worker has a
/// poll, the poll's double and a waker, and with each listener a spare; a lookup thread has a
/// connection to the database.
fn connections_within(descriptors: usize, config: &Config, workers: usize) -> usize {
    let per_worker = 3 + 2 * config.server.listen.len();
    let others = usize::from(config.database.lookup_threads) + 3 + workers * per_worker;
    descriptors.saturating_sub(PROCESS_DESCRIPTORS + others) / workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_need_beside_connections_is_left_to_them() {
        let mut config = Config::default();
        let one_worker = 1_024 - PROCESS_DESCRIPTORS - 7 - 5;
        assert_eq!(connections_within(1_024, &config, 1), one_worker);
        let more: SocketAddr = "127.0.0.1:80".parse().unwrap();
        config.server.listen.push(more.into());
        let many_workers = (1_024 - PROCESS_DESCRIPTORS - 7 - 64 * 7) / 64;
        assert_eq!(connections_within(1_024, &config, 64), many_workers);
        assert_eq!(connections_within(256, &config, 64), 0, "not enough for the workers alone");
    }
}
