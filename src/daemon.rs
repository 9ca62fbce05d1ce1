//! The composition root: settings in, a running tracker out.
//!
//! Owns: the order of start-up (sockets, state directory, database, swarms, registry, tracker,
//! snapshot, frontends, workers) and of shutdown (workers, registry, snapshot), what a reload of
//! the settings means, and the line of counters. The only module that knows every other.
//!
//! Whatever can fail fails in [`Daemon::start`], with one line that names the address or the thing.
//!
//! Never: reads a file of settings or a signal; the program does, and tells.

mod parts;
mod start_error;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, Live, LiveSettings, Problem, Reload};
use crate::counters::Counters;
use crate::daemon::parts::{clock, open_admin, overloaded, pool_settings};
#[cfg(feature = "databases")]
use crate::daemon::parts::{open_database, try_database};
use crate::frontend::{
    ConnectionIds, FULL_SCRAPES_MAX, FullScrape, Http, Status, StatusSource, Udp,
};
use crate::mailbox::Mailboxes;
use crate::memory::MemoryLimit;
use crate::registry::{Databases, Fingerprint, Registry, RegistrySettings, StateFile};
use crate::secrets::{self, Secret};
use crate::server::{
    Admin, HandedSocket, PerAddress, Server, Sockets, StopOptions, WorkerShared,
    affordable_connections,
};
use crate::snapshots::{SnapshotSettings, Snapshots};
use crate::state_directory::StateDirectory;
use crate::swarm::{SOURCE_BYTES, Store, StoreSettings};
use crate::tracker::Tracker;

pub use start_error::StartError;

/// The registry gets what the workers have left of the time for stopping, but so long at least:
/// usually it needs a moment.
const CLOSE_GRACE_MIN: Duration = Duration::from_secs(1);
/// The workers start when the last snapshot is taken in, but after so long at the latest: the rest
/// is taken in while they serve. Connections wait for them meanwhile.
const LOAD_WAIT_MAX: Duration = Duration::from_secs(1);

/// A running tracker; dropping it without [`Daemon::stop_and_join`] leaves its workers running.
pub struct Daemon {
    server: Server,
    admin: Option<Admin>,
    tracker: Arc<Tracker>,
    counters: Counters,
    live: LiveSettings,
    /// The settings that it was started with, and those that were loaded last.
    started: Config,
    current: Config,
    status: Arc<Status>,
    memory: MemoryLimit,
    /// None where there is no state directory.
    snapshots: Option<Snapshots>,
    /// Whose lock is held for as long as the tracker runs.
    state_directory: Option<StateDirectory>,
}

/// What comes from the state directory, or ends with the process.
struct Kept {
    directory: Option<StateDirectory>,
    /// Which database the state is of; none for `memory`.
    fingerprint: Option<Fingerprint>,
    secret: Secret,
}

impl Kept {
    fn state_file(&self) -> Option<StateFile> {
        let (directory, of) = self.directory.clone().zip(self.fingerprint)?;
        Some(StateFile::new(directory, of))
    }
}

/// What is opened before anything is made.
struct Opened {
    live: LiveSettings,
    sockets: Sockets,
    admin: Option<TcpListener>,
    databases: Option<Databases>,
    kept: Kept,
}

impl Daemon {
    /// Finds out whether [`Daemon::start`] would succeed, without taking anything from a tracker
    /// that runs.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    #[cfg(feature = "databases")]
    pub fn check(config: &Config, there: &[HandedSocket]) -> Result<(), StartError> {
        Sockets::check(config, there).map_err(StartError::Listen)?;
        let databases = open_database(config, &LiveSettings::new(Live::of(config)))?;
        databases.map_or(Ok(()), |(databases, _)| try_database(databases))
    }

    /// Opens everything but the sockets that are `there` already, and starts the workers.
    /// `worker_ended` is called with the index of each worker that ends, in order or by panic.
    ///
    /// # Errors
    /// When an address is taken or bad, the database cannot be used, or the system is out of
    /// something.
    #[cfg(feature = "databases")]
    pub fn start(
        config: &Config,
        there: &[HandedSocket],
        worker_ended: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Daemon, StartError> {
        let live = LiveSettings::new(MemoryLimit::read().live_of(config));
        // First, so that connections queue from here on.
        let sockets = Sockets::open(config, there).map_err(StartError::Listen)?;
        let admin = open_admin(&config.admin, there)?;
        // Before the database: where there is none, no database is made either.
        let directory = StateDirectory::open(&config.server.state_directory);
        let directory = directory.map_err(StartError::State)?;
        let (databases, fingerprint) = open_database(config, &live)?.unzip();
        let secret = directory.as_ref().map_or_else(Secret::random, Secret::kept_in)?;
        let kept = Kept { directory, fingerprint, secret };
        let opened = Opened { live, sockets, admin, databases, kept };
        Daemon::launch(config, opened, worker_ended)
    }

    /// Like [`Daemon::start`], with a database of the caller's behind the registry, or none;
    /// nothing outlives the process.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_with(
        config: &Config,
        databases: Option<Databases>,
        worker_ended: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Daemon, StartError> {
        let live = LiveSettings::new(MemoryLimit::read().live_of(config));
        let sockets = Sockets::open(config, &[]).map_err(StartError::Listen)?;
        let kept = Kept { directory: None, fingerprint: None, secret: Secret::random()? };
        let admin = open_admin(&config.admin, &[])?;
        let opened = Opened { live, sockets, admin, databases, kept };
        Daemon::launch(config, opened, worker_ended)
    }

    fn launch(
        config: &Config,
        opened: Opened,
        worker_ended: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Daemon, StartError> {
        let Opened { live, sockets, admin, databases, kept } = opened;
        let epoch = Instant::now();
        let settings = StoreSettings { peer_ids: config.tracker.peer_ids };
        let store = Arc::new(Store::new(settings, secrets::key()?));
        let wakes = || sockets.wakes().iter().cloned();
        let pool = pool_settings(&config.database);
        let lookups = Mailboxes::new(wakes(), pool.waiters_max());
        let registry = match databases {
            None => Registry::memory(),
            Some(databases) => {
                let settings = RegistrySettings {
                    live: live.clone(),
                    cache_bytes_max: usize::try_from(config.database.cache_bytes_max)
                        .unwrap_or(usize::MAX),
                    pool,
                    seed: secrets::key()?,
                    state_file: kept.state_file(),
                    clock: clock(epoch),
                };
                Registry::start(&settings, databases, Arc::clone(&store), lookups.clone())?
            }
        };
        let tracker = Arc::new(Tracker::new(store, Arc::new(registry)));
        let counters = Counters::default();
        let snapshots = start_snapshots(&kept, &tracker, &live, &counters, epoch)?;
        let mail = Mailboxes::new(wakes(), FULL_SCRAPES_MAX);
        let full_scrape = FullScrape::start(&tracker, live.clone(), mail)?;
        let request_bytes_max = config.server.request_bytes_max as usize;
        let http = Arc::new(Http::new(Arc::clone(&tracker), full_scrape, request_bytes_max));
        let udp = Arc::new(Udp::new(Arc::clone(&tracker), ConnectionIds::of(&kept.secret)));
        let shared = WorkerShared {
            http,
            udp,
            lookups,
            live: live.clone(),
            counters: counters.clone(),
            connections_max: affordable_connections(config, sockets.workers())?,
            per_address: PerAddress::new(config.server.connections_per_address_max as usize),
            epoch,
            overloaded: overloaded(),
        };
        let status = StatusSource {
            tracker: Arc::clone(&tracker),
            counters: counters.clone(),
            workers: sockets.workers(),
            live: live.clone(),
            epoch,
        };
        let status = Arc::new(Status::new(status, config.admin.hosts.clone()));
        if let Some(snapshots) = &snapshots {
            snapshots.wait_until_loaded(LOAD_WAIT_MAX);
        }
        let server = Server::start(sockets, &shared, worker_ended)?;
        let admin =
            admin.map(|listener| Admin::start(listener, Arc::clone(&status))).transpose()?;
        // Again, as the threads' stacks and heaps are mapped now.
        let memory = MemoryLimit::read();
        live.replace(memory.live_of(config));
        Ok(Daemon {
            server,
            admin,
            tracker,
            counters,
            live,
            started: config.clone(),
            current: config.clone(),
            status,
            memory,
            snapshots,
            state_directory: kept.directory,
        })
    }

    /// Where it listens, with the ports the kernel chose for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.server.addresses()
    }

    /// The same for UDP.
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        self.server.udp_addresses()
    }

    /// Where the status pages are.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.server.workers()
    }

    /// What has been counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The tracker that all workers share.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The settings it works by.
    pub fn live(&self) -> Arc<Live> {
        self.live.latest()
    }

    /// The settings that were loaded last, of which some may need a restart.
    pub fn settings(&self) -> &Config {
        &self.current
    }

    /// How much is kept at most, and what that follows from.
    pub fn caps(&self) -> String {
        self.memory.tell(&self.live().swarm, &self.current)
    }

    /// Takes over what may change of settings that have been checked. Workers work by it from their
    /// next round on.
    ///
    /// # Errors
    /// What cannot count before a restart that the rest needs; nothing is taken over then.
    pub fn reload(&mut self, newer: Config) -> Result<Reload, Vec<Problem>> {
        let reload = Reload::of(&self.started, &self.current, &newer)?;
        self.live.replace(self.memory.cap(reload.live.clone(), self.started.tracker.peer_ids));
        self.tracker.registry().look_at_settings();
        if let Some(snapshots) = &self.snapshots {
            snapshots.look_at_settings();
        }
        self.current = newer;
        Ok(reload)
    }

    /// Has the database asked for everything anew: the operator has changed something there.
    pub fn ask_anew(&self) {
        self.tracker.registry().reload();
    }

    /// Whether every worker has finished a round lately.
    pub fn is_going_round(&self) -> bool {
        self.status.is_going_round()
    }

    /// The line of counters: what is there, how much is asked, and what has been counted.
    pub fn report(&self) -> String {
        self.status.report()
    }

    /// Each listening and datagram socket once more, to be handed to a successor.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn sockets(&self) -> io::Result<Vec<HandedSocket>> {
        let mut sockets = self.server.sockets()?;
        sockets.extend(self.admin.as_ref().map(Admin::for_successor).transpose()?);
        Ok(sockets)
    }

    /// Lets kept-alive connections come for a last answer (`server.drain`), stops accepting, lets
    /// what is being answered be answered, all within `grace`, and waits for the workers; then has
    /// the registry write what was counted, in what is left of `grace`, or in a second. The last is
    /// the snapshot of the swarms, which takes as long as it takes. Another process may have the
    /// state directory when this returns.
    ///
    /// # Errors
    /// The first worker's that ended badly; or what outlives the process could not be saved.
    pub fn stop_and_join(self, grace: Duration) -> io::Result<()> {
        self.stop(grace, false)
    }

    /// The same while a successor has the sockets: who is queued in them is left for it.
    ///
    /// # Errors
    /// As [`Daemon::stop_and_join`].
    pub fn hand_over(self, grace: Duration) -> io::Result<()> {
        self.stop(grace, true)
    }

    fn stop(self, grace: Duration, has_successor: bool) -> io::Result<()> {
        let end = Instant::now() + grace;
        let drain = Duration::from_millis(self.live().connection_times.drain_ms);
        let stopped = self.server.stop_and_join(StopOptions { drain, grace, has_successor });
        // A successor's clients wait: what is not written soon goes over to it unwritten.
        let left = match has_successor {
            true => CLOSE_GRACE_MIN,
            false => end.saturating_duration_since(Instant::now()).max(CLOSE_GRACE_MIN),
        };
        let closed = self.tracker.registry().close(left);
        let saved = self.snapshots.map_or(Ok(()), Snapshots::close);
        if let Some(directory) = &self.state_directory {
            directory.let_go();
        }
        stopped.and(closed.map_err(io::Error::other)).and(saved.map_err(io::Error::other))
    }
}

fn start_snapshots(
    kept: &Kept,
    tracker: &Arc<Tracker>,
    live: &LiveSettings,
    counters: &Counters,
    epoch: Instant,
) -> io::Result<Option<Snapshots>> {
    let Some(directory) = &kept.directory else { return Ok(None) };
    let no_list = [0; SOURCE_BYTES];
    Snapshots::start(SnapshotSettings {
        directory: directory.clone(),
        source: kept.fingerprint.map_or(no_list, |fingerprint| fingerprint.short()),
        tracker: Arc::clone(tracker),
        live: live.clone(),
        clock: clock(epoch),
        counters: counters.local(),
    })
    .map(Some)
}
