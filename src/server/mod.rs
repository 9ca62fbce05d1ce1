//! Sockets and threads: a worker per core, and what starts and stops them.
//!
//! Owns: the order of start-up (probe, listeners, registry, tracker, workers) and of shutdown.
//! Whatever can fail fails in [`Server::start`], with one line that names the address or the thing;
//! after it, a worker that ends unasked ends the process. Knows nothing of the protocol.

mod batch;
mod connection;
mod datagrams;
mod deadline;
mod listener;
mod per_address;
mod resident;
mod slots;
mod sockopt;
mod stats;
mod worker;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};

use crate::config::{Config, Mode};
use crate::ids::Millis;

use crate::registry::{
    self, Clock, Databases, InUse, Mailboxes, PoolSettings, Registry, StateFile, Wake,
};
use crate::swarm::{self, Store};
use crate::tracker::{FullScrape, FullScrapeSettings, Policy, Tracker};
use crate::wire::frame::{self, Framing};
use crate::wire::http::HttpFault;

pub use connection::{Connection, Limits, Next, Round};
pub use slots::{SlotId, Slots};
pub use stats::Stats;

use listener::{Listener, Options};
use worker::{Common, Stop, WAKER, Worker};

/// Descriptors that no worker owns: standard streams, the signals' pipe, files of the database and
/// of the log.
const PROCESS_DESCRIPTORS: usize = 32;

/// How long writing counters to the database may take, step by step: nobody waits for it.
#[cfg(feature = "databases")]
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The registry gets what the workers have left of the time for stopping, but so long at least:
/// usually it needs a moment.
const CLOSE_GRACE_MIN: Duration = Duration::from_secs(1);

/// Why the server could not start; one clear line.
#[derive(Debug)]
pub enum StartError {
    /// An address could not be listened on.
    Listen(SocketAddr, io::Error),
    /// The database cannot be used. One that is away is no reason not to start.
    Database(String),
    /// Another tracker has the state directory.
    State(InUse),
    /// Threads, polls or wakers could not be made.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {address}: another program has port {} already",
                    address.port()
                )
            }
            StartError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            StartError::Database(error) => write!(f, "cannot use the database: {error}"),
            StartError::State(error) => error.fmt(f),
            StartError::System(what, error) => write!(f, "cannot start {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running tracker; dropping it without [`Server::stop_and_join`] leaves the workers running.
pub struct Server {
    addresses: Vec<SocketAddr>,
    workers: Vec<JoinHandle<io::Result<()>>>,
    wakes: Vec<Wake>,
    stop: Arc<Stop>,
    stats: Stats,
    tracker: Arc<Tracker>,
}

impl Server {
    /// Opens the sockets and starts the workers. `worker_ended` is called with the index of each
    /// worker that ends, in order or by panic.
    ///
    /// # Errors
    /// When an address is taken or bad, or the system is out of something.
    #[cfg(feature = "databases")]
    pub fn start(
        config: &Config,
        worker_ended: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Server, StartError> {
        let (databases, state_file) = open_database(config)?;
        Server::launch(config, databases, state_file, worker_ended)
    }

    /// Like [`Server::start`], with a database of the caller's behind the registry, or none;
    /// nothing outlives the process.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(
        config: &Config,
        databases: Option<Databases>,
        worker_ended: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Server, StartError> {
        Server::launch(config, databases, None, worker_ended)
    }

    fn launch(
        config: &Config,
        databases: Option<Databases>,
        state_file: Option<StateFile>,
        worker_ended: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Server, StartError> {
        let (workers, epoch) = (worker_count(config), Instant::now());
        let listeners = open_listeners(config, workers)?;
        let addresses = listeners
            .first()
            .map(|own| own.iter().map(|(_, address)| *address).collect())
            .unwrap_or_default();
        let (polls, wakes) =
            make_polls(workers).map_err(|error| StartError::System("polling", error))?;
        let settings = registry_settings(config, epoch, state_file);
        let tracker = make_tracker(config, &settings, databases, &wakes)
            .map_err(|error| StartError::System("threads", error))?;
        let tracker = Arc::new(tracker);
        let common = common(config, workers, Arc::clone(&tracker), epoch);
        let (stop, stats) = (Arc::clone(&common.stop), common.stats.clone());
        let worker_ended: WorkerEnded = Arc::new(worker_ended);
        let mut server = Server { addresses, workers: Vec::new(), wakes, stop, stats, tracker };
        for (index, (poll, own)) in polls.into_iter().zip(listeners).enumerate() {
            let own = own.into_iter().map(|(listener, _)| listener).collect();
            let worker = u16::try_from(index)
                .map_err(io::Error::other)
                .and_then(|number| Worker::new(common.clone(), number, poll, own))
                .and_then(|worker| spawn(index, worker, Arc::clone(&worker_ended)))
                .map_err(|error| StartError::System("a worker", error))?;
            server.workers.push(worker);
        }
        Ok(server)
    }

    /// Where the server listens, with the ports the kernel chose for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The counters of all workers.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The tracker that all workers share.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Stops accepting, lets what is being answered be answered, for `grace` at most, and waits for
    /// the workers; then has the registry write what was counted, in what is left of `grace`,
    /// or in a second.
    ///
    /// # Errors
    /// The first worker's that ended badly.
    pub fn stop_and_join(self, grace: Duration) -> io::Result<()> {
        let end = Instant::now() + grace;
        self.stop.begin(grace);
        self.wakes.iter().for_each(|wake| wake());
        let ends = self.workers.into_iter().map(|worker| match worker.join() {
            Ok(end) => end,
            Err(_) => Err(io::Error::other("a worker panicked")),
        });
        let mut worst = Ok(());
        for end in ends {
            worst = worst.and(end);
        }
        self.tracker
            .registry()
            .close(end.saturating_duration_since(Instant::now()).max(CLOSE_GRACE_MIN));
        worst
    }
}

type WorkerEnded = Arc<dyn Fn(usize) + Send + Sync>;

/// Tells of a worker's end however its thread ends.
struct EndNotice(usize, WorkerEnded);

impl Drop for EndNotice {
    fn drop(&mut self) {
        (self.1)(self.0);
    }
}

fn spawn(
    index: usize,
    worker: Worker,
    worker_ended: WorkerEnded,
) -> io::Result<JoinHandle<io::Result<()>>> {
    thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let _notice = EndNotice(index, worker_ended);
        let end = worker.run();
        if let Err(error) = &end {
            log::error!("worker {index} cannot go on: {error}");
        }
        end
    })
}

fn worker_count(config: &Config) -> usize {
    match config.server.workers {
        0 => thread::available_parallelism().map_or(1, usize::from),
        workers => usize::from(workers),
    }
}

/// Each worker's listeners with their addresses.
type Listeners = Vec<Vec<(Listener, SocketAddr)>>;

fn open_listeners(config: &Config, workers: usize) -> Result<Listeners, StartError> {
    let mut all: Listeners = (0..workers).map(|_| Vec::new()).collect();
    let listen = &config.server.listen;
    // All are probed before any is opened: an own listener on one address would pass for another
    // program's on all of them.
    for configured in listen {
        listener::probe(&listen_options(config, *configured))
            .map_err(|error| StartError::Listen(*configured, error))?;
    }
    for configured in listen {
        let mut options = listen_options(config, *configured);
        let failed = |error| StartError::Listen(*configured, error);
        for own in &mut all {
            let listener = Listener::open(&options).map_err(failed)?;
            // Port 0 is chosen by the kernel for the first worker; the others share it.
            options.address = listener.address().map_err(failed)?;
            own.push((listener, options.address));
        }
    }
    Ok(all)
}

fn listen_options(config: &Config, configured: SocketAddr) -> Options {
    let address = listener::without_ipv6(configured).unwrap_or(configured);
    // One IPv4 address beside `[::]` does not serve the others: only `0.0.0.0` takes all of IPv4
    // over.
    let all_of_ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let only_v6 = address.port() != 0 && config.server.listen.contains(&all_of_ipv4);
    Options { address, only_v6, backlog: i32::from(config.server.backlog) }
}

fn make_polls(workers: usize) -> io::Result<(Vec<Poll>, Vec<Wake>)> {
    let polls = (0..workers).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
    let wake = |poll: &Poll| {
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok(Arc::new(move || {
            // Fails only when the worker is gone, and then nobody needs waking.
            let _ = waker.wake();
        }) as Wake)
    };
    let wakes = polls.iter().map(wake).collect::<io::Result<Vec<_>>>()?;
    Ok((polls, wakes))
}

fn make_tracker(
    config: &Config,
    settings: &registry::Settings,
    databases: Option<Databases>,
    wakes: &[Wake],
) -> io::Result<Tracker> {
    let tracker = &config.tracker;
    let swarms = swarm::Settings {
        lifetime_ms: millis(tracker.min_interval + tracker.max_interval),
        peer_ids: tracker.peer_ids,
        peers_max: tracker.peers_max,
        torrents_max: tracker.torrents_max,
    };
    let store = Arc::new(Store::new(swarms, secret()));
    let lookups = Mailboxes::new(wakes.iter().cloned());
    let registry = match databases {
        None => Registry::memory(),
        Some(databases) => {
            Registry::start(settings, databases, Arc::clone(&store), lookups.clone())?
        }
    };
    let registry = Arc::new(registry);
    let full_scrape = FullScrapeSettings {
        who: tracker.full_scrape.clone(),
        interval_ms: millis(tracker.full_scrape_interval),
        scrape_interval_s: seconds(tracker.scrape_interval),
        listed_only: tracker.mode == Mode::Registered,
    };
    let full_scrape =
        FullScrape::start(full_scrape, &store, &registry, Mailboxes::new(wakes.iter().cloned()))?;
    Ok(Tracker::new(policy(config), store, registry, lookups, full_scrape))
}

fn policy(config: &Config) -> Policy {
    let tracker = &config.tracker;
    Policy {
        registered_only: tracker.mode == Mode::Registered,
        max_interval_s: seconds(tracker.max_interval),
        min_interval_s: seconds(tracker.min_interval),
        numwant_default: tracker.numwant_default,
        numwant_max: tracker.numwant_max,
        external_ip: tracker.external_ip,
        ip_parameter: tracker.ip_parameter.clone(),
        crypto_flags: tracker.crypto_flags,
        peer_ids: tracker.peer_ids,
        scrape_interval_s: seconds(tracker.scrape_interval),
    }
}

fn registry_settings(
    config: &Config,
    epoch: Instant,
    state_file: Option<StateFile>,
) -> registry::Settings {
    let database = &config.database;
    let clock: Clock = Arc::new(move || now(epoch));
    registry::Settings {
        cache_ttl_ms: millis(database.cache_ttl),
        cache_bytes_max: usize::try_from(database.cache_bytes_max).unwrap_or(usize::MAX),
        listed_only: config.tracker.mode == Mode::Registered,
        pool: PoolSettings {
            threads: usize::from(database.lookup_threads),
            queue_max: database.lookup_queue_max as usize,
        },
        seed: secret(),
        flush_interval: database.flush_interval,
        torrent_ttl: database.torrent_ttl,
        state_file,
        clock,
    }
}

/// How the registry comes by its connections, and where it saves what outlives the process; neither
/// for the database `memory`.
#[cfg(feature = "databases")]
fn open_database(config: &Config) -> Result<(Option<Databases>, Option<StateFile>), StartError> {
    use crate::registry::{Source, database::TimeLimits};
    let Some(source) = Source::parse(&config.database.url).map_err(StartError::Database)? else {
        return Ok((None, None));
    };
    source.prepare().map_err(|error| StartError::Database(error.to_string()))?;
    let state_file = StateFile::open(&config.server.state_directory, source.fingerprint())
        .map_err(StartError::State)?;
    let lookup = TimeLimits {
        connect: config.database.lookup_timeout,
        answer: config.database.lookup_timeout,
    };
    let write = TimeLimits { connect: WRITE_TIMEOUT, answer: WRITE_TIMEOUT };
    let ledger = source.clone();
    let databases = Databases {
        backend: Box::new(move || source.backend(lookup)),
        ledger: Some(Box::new(move || ledger.ledger(write))),
    };
    Ok((Some(databases), state_file))
}

fn common(config: &Config, workers: usize, tracker: Arc<Tracker>, epoch: Instant) -> Common {
    let server = &config.server;
    let mut farewell = [0; 512];
    let length = frame::fault(HttpFault::Overloaded, Framing::LAST, &mut farewell).unwrap_or(0);
    Common {
        tracker,
        limits: Limits {
            request_bytes_max: server.request_bytes_max as usize,
            idle_ms: millis(server.idle_timeout),
            request_ms: millis(server.request_timeout),
            send_ms: millis(server.send_timeout),
            lookup_ms: millis(config.database.lookup_timeout),
        },
        workers,
        stats: Stats::new(workers),
        connections_max: affordable_connections(config, workers),
        per_address_max: server.connections_per_address_max as usize,
        stop: Arc::default(),
        epoch,
        farewell: farewell[..length].into(),
    }
}

/// What the descriptor limit, raised as far as it goes, leaves for each worker's connections.
fn affordable_connections(config: &Config, workers: usize) -> usize {
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
/// poll and a waker, and with each listener a spare; a lookup thread has a connection to the
/// database.
fn connections_within(descriptors: usize, config: &Config, workers: usize) -> usize {
    let others = usize::from(config.database.lookup_threads)
        + 3
        + workers * (2 + 2 * config.server.listen.len());
    descriptors.saturating_sub(PROCESS_DESCRIPTORS + others) / workers
}

/// A number that strangers cannot guess: std takes the keys of its hasher from the system's
/// randomness. fastrand's own seed is the clock, and the intervals in the answers show what follows
/// from it.
fn secret() -> u64 {
    RandomState::new().hash_one(0)
}

/// The time by the workers' clock.
fn now(epoch: Instant) -> Millis {
    Millis(millis(epoch.elapsed()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn addresses_of_one_port_stand_beside_each_other() {
        let rows: [(&[&str], &[&str]); 5] = [
            (&["[::]", "0.0.0.0"], &["[::1]", "127.0.0.1", "127.0.0.9"]),
            (&["[::]", "127.0.0.1"], &["[::1]", "127.0.0.1", "127.0.0.9"]),
            (&["[::]", "[::1]"], &["[::1]", "127.0.0.1"]),
            (&["127.0.0.1", "0.0.0.0"], &["127.0.0.1", "127.0.0.9"]),
            (&["127.0.0.1", "127.0.0.9"], &["127.0.0.1", "127.0.0.9"]),
        ];
        for (listen, reached) in rows {
            let port = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
            let with_port = |ip: &&str| format!("{ip}:{port}").parse::<SocketAddr>().unwrap();
            let mut config = Config::default();
            config.server.workers = 2;
            config.server.listen = listen.iter().map(with_port).collect();
            let server = Server::start_with(&config, None, |_| ())
                .unwrap_or_else(|error| panic!("{listen:?}: {error}"));
            for address in reached.iter().map(with_port) {
                assert!(TcpStream::connect(address).is_ok(), "{address} with {listen:?}");
            }
            server.stop_and_join(Duration::ZERO).unwrap();
        }
    }

    #[test]
    fn what_workers_need_beside_connections_is_left_to_them() {
        let mut config = Config::default();
        assert_eq!(connections_within(1_024, &config, 1), 1_024 - PROCESS_DESCRIPTORS - 7 - 4);
        config.server.listen.push("127.0.0.1:80".parse().unwrap());
        assert_eq!(
            connections_within(1_024, &config, 64),
            (1_024 - PROCESS_DESCRIPTORS - 7 - 64 * 6) / 64
        );
        assert_eq!(connections_within(256, &config, 64), 0);
    }
}
