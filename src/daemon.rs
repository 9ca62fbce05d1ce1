//! The composition root: settings in, a running tracker out.
//!
//! Owns: the order of start-up (sockets, state directory, database, swarms, registry, tracker,
//! snapshot, frontends, workers) and of shutdown (workers, registry, snapshot), what a reload of
//! the settings means, and the line of counters. The only room that knows every other.
//!
//! Whatever can fail fails in [`Daemon::start`], with one line that names the address or the thing.
//!
//! Never: reads a file of settings or a signal; the program does, and tells.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{
    AdminConfig, Config, DatabaseConfig, Live, LiveSettings, Problem, Reload, millis,
};
use crate::counters::Counters;
use crate::frontend::{
    ConnectionIds, FULL_SCRAPES_MAX, FullScrape, Http, Status, StatusSource, Udp,
};
use crate::ids::Millis;
use crate::mailbox::{Clock, Mailboxes};
use crate::registry::{
    Databases, Fingerprint, PoolSettings, Registry, RegistrySettings, StateFile,
};
use crate::secrets::{self, Secret};
use crate::server::{Admin, ListenError, Server, Sockets, WorkerShared, affordable_connections};
use crate::snapshots::{SnapshotSettings, Snapshots};
use crate::state_directory::{StateDirectory, Unfit};
use crate::swarm::{SOURCE_BYTES, Store, StoreSettings};
use crate::tracker::Tracker;
use crate::wire::http::fault::HttpFault;
use crate::wire::http::response::{self, Framing, LINE_BYTES_MAX};

/// The registry gets what the workers have left of the time for stopping, but so long at least:
/// usually it needs a moment.
const CLOSE_GRACE_MIN: Duration = Duration::from_secs(1);
/// The workers start when the last snapshot is taken in, but after so long at the latest: the rest
/// is taken in while they serve. Connections wait for them meanwhile.
const LOAD_WAIT_MAX: Duration = Duration::from_secs(1);

/// Why the tracker could not start; one clear line.
#[derive(Debug)]
pub enum StartError {
    /// A socket could not be opened.
    Listen(ListenError),
    /// The database cannot be used. One that is away is no reason not to start.
    Database(String),
    /// The state directory cannot be had.
    State(Unfit),
    /// The status pages' address could not be listened on.
    Admin(String, io::Error),
    /// Threads could not be made, or the system has no randomness.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen(error) => {
                error.fmt(f)?;
                f.write_str(low_port(error).unwrap_or_default())
            }
            StartError::Database(error) => write!(f, "cannot use the database: {error}"),
            StartError::State(error) => error.fmt(f),
            StartError::Admin(address, error) => {
                write!(f, "cannot listen on {address}, which admin.listen names: {error}")
            }
            StartError::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// What to do where a port is only for those who have a right to it.
fn low_port(error: &ListenError) -> Option<&'static str> {
    let (ListenError::Address(address, error) | ListenError::Udp(address, error)) = error else {
        return None;
    };
    (error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024).then_some(
        "; ports below 1024 need a right: sudo setcap cap_net_bind_service=+ep with the path of \
         this program, or AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit",
    )
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::System(error)
    }
}

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
    /// None where there is no state directory.
    snapshots: Option<Snapshots>,
    /// Whose lock is held for as long as the tracker runs.
    _state_directory: Option<StateDirectory>,
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
    databases: Option<Databases>,
    kept: Kept,
}

impl Daemon {
    /// Opens everything and starts the workers. `worker_ended` is called with the index of each
    /// worker that ends, in order or by panic.
    ///
    /// # Errors
    /// When an address is taken or bad, the database cannot be used, or the system is out of
    /// something.
    #[cfg(feature = "databases")]
    pub fn start(
        config: &Config,
        worker_ended: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Daemon, StartError> {
        let live = LiveSettings::new(Live::of(config));
        // First, so that connections queue from here on.
        let sockets = Sockets::open(config).map_err(StartError::Listen)?;
        // Before the database: where there is none, no database is made either.
        let directory = StateDirectory::open(&config.server.state_directory);
        let directory = directory.map_err(StartError::State)?;
        let (databases, fingerprint) = open_database(config, &live)?.unzip();
        let secret = directory.as_ref().map_or_else(Secret::random, Secret::kept_in)?;
        let kept = Kept { directory, fingerprint, secret };
        let opened = Opened { live, sockets, databases, kept };
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
        let live = LiveSettings::new(Live::of(config));
        let sockets = Sockets::open(config).map_err(StartError::Listen)?;
        let kept = Kept { directory: None, fingerprint: None, secret: Secret::random()? };
        let opened = Opened { live, sockets, databases, kept };
        Daemon::launch(config, opened, worker_ended)
    }

    fn launch(
        config: &Config,
        opened: Opened,
        worker_ended: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Daemon, StartError> {
        let Opened { live, sockets, databases, kept } = opened;
        let epoch = Instant::now();
        let admin = open_admin(&config.admin)?;
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
            per_address_max: config.server.connections_per_address_max as usize,
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
        Ok(Daemon {
            server,
            admin,
            tracker,
            counters,
            live,
            started: config.clone(),
            current: config.clone(),
            status,
            snapshots,
            _state_directory: kept.directory,
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

    /// Takes over what may change of settings that have been checked. Workers work by it from their
    /// next round on.
    ///
    /// # Errors
    /// What cannot count before a restart that the rest needs; nothing is taken over then.
    pub fn reload(&mut self, newer: Config) -> Result<Reload, Vec<Problem>> {
        let reload = Reload::of(&self.started, &self.current, &newer)?;
        self.live.replace(reload.live.clone());
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

    /// The line of counters: what is there, how much is asked, and what has been counted.
    pub fn report(&self) -> String {
        self.status.report()
    }

    /// Stops accepting, lets what is being answered be answered, for `grace` at most, and waits for
    /// the workers; then has the registry write what was counted, in what is left of `grace`, or in
    /// a second. The last is the snapshot of the swarms, which takes as long as it takes.
    ///
    /// # Errors
    /// The first worker's that ended badly; or what outlives the process could not be saved.
    pub fn stop_and_join(self, grace: Duration) -> io::Result<()> {
        let end = Instant::now() + grace;
        let stopped = self.server.stop_and_join(grace);
        let left = end.saturating_duration_since(Instant::now());
        let closed = self.tracker.registry().close(left.max(CLOSE_GRACE_MIN));
        let saved = self.snapshots.map_or(Ok(()), Snapshots::close);
        stopped.and(closed.map_err(io::Error::other)).and(saved.map_err(io::Error::other))
    }
}

/// The listener of the status pages. Where the default address is taken, there are none.
fn open_admin(admin: &AdminConfig) -> Result<Option<TcpListener>, StartError> {
    let error = |error| StartError::Admin(admin.listen.clone(), error);
    let address = admin.address().map_err(|wrong| error(io::Error::other(wrong.to_string())))?;
    match address.map(Admin::listen).transpose() {
        Ok(listener) => Ok(listener),
        Err(why) if admin.is_default() => {
            log::warn!("no status pages: {}, the default of admin.listen: {why}", admin.listen);
            Ok(None)
        }
        Err(why) => Err(error(why)),
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

fn pool_settings(database: &DatabaseConfig) -> PoolSettings {
    PoolSettings {
        threads: usize::from(database.lookup_threads),
        queue_max: database.lookup_queue_max as usize,
    }
}

/// How the registry comes by its connections, and which database they lead to; none for `memory`.
#[cfg(feature = "databases")]
fn open_database(
    config: &Config,
    live: &LiveSettings,
) -> Result<Option<(Databases, Fingerprint)>, StartError> {
    use crate::registry::Source;
    let source = Source::parse(&config.database.url).map_err(StartError::Database)?;
    let Some(source) = source else { return Ok(None) };
    source.prepare().map_err(|error| StartError::Database(error.to_string()))?;
    let fingerprint = source.fingerprint();
    let databases = Databases::of(&source, live);
    Ok(Some((databases, fingerprint)))
}

/// What is sent to a connection that is turned away.
fn overloaded() -> Arc<[u8]> {
    let mut answer = [0; LINE_BYTES_MAX];
    let bytes = response::fault(HttpFault::Overloaded, Framing::LAST, &mut answer).unwrap_or(0);
    answer[..bytes].into()
}

/// The time by the workers' clock.
fn clock(epoch: Instant) -> Clock {
    Arc::new(move || Millis(millis(epoch.elapsed())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_needs_a_right_is_refused_with_how_to_get_it() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for error in
            [ListenError::Address(address(80), denied()), ListenError::Udp(address(1023), denied())]
        {
            let told = StartError::Listen(error).to_string();
            assert!(told.contains("permission denied; ports below 1024"), "{told}");
            assert!(told.contains("setcap cap_net_bind_service=+ep"), "{told}");
        }
        let other = StartError::Listen(ListenError::Address(address(1024), denied())).to_string();
        assert!(!other.contains("setcap"), "{other}");
    }
}
