//! Parts of a tracker that are made of the settings alone.
//!
//! Never: starts a thread that stays, or decides in which order things are made.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
#[cfg(feature = "databases")]
use std::sync::mpsc;
#[cfg(feature = "databases")]
use std::thread;
#[cfg(feature = "databases")]
use std::time::Duration;
use std::time::Instant;

use crate::config::{AdminConfig, DatabaseConfig, millis};
#[cfg(feature = "databases")]
use crate::config::{Config, LiveSettings};
use crate::daemon::start_error::StartError;
#[cfg(feature = "databases")]
use crate::ids::InfoHash;
use crate::ids::Millis;
use crate::mailbox::Clock;
use crate::registry::PoolSettings;
#[cfg(feature = "databases")]
use crate::registry::{DatabaseError, Databases, Fingerprint};
use crate::server::{Admin, HandedSocket};
use crate::wire::http::fault::HttpFault;
use crate::wire::http::response::{self, Framing, LINE_BYTES_MAX};

/// How long the database may take to say that this cannot work: an upgrade waits for it, and the
/// process before waits for no more than 10 s in all.
#[cfg(feature = "databases")]
const TRY_MAX: Duration = Duration::from_secs(3);

pub(super) fn pool_settings(database: &DatabaseConfig) -> PoolSettings {
    PoolSettings {
        threads: usize::from(database.lookup_threads),
        queue_max: database.lookup_queue_max as usize,
    }
}

/// How the registry comes by its connections, and which database they lead to; none for `memory`.
#[cfg(feature = "databases")]
pub(super) fn open_database(
    config: &Config,
    live: &LiveSettings,
) -> Result<Option<(Databases, Fingerprint)>, StartError> {
    use crate::registry::Source;
    let source = Source::parse(&config.database.url).map_err(StartError::Database)?;
    let Some(source) = source else { return Ok(None) };
    match source.prepare() {
        Err(error) if error.lasts() && !config.database.wait_at_start => {
            return Err(StartError::Database(error.to_string()));
        }
        // The registry's threads find it out again, and say when it is over.
        Ok(()) | Err(_) => {}
    }
    let fingerprint = source.fingerprint();
    let databases = Databases::of(&source, live);
    Ok(Some((databases, fingerprint)))
}

/// Asks the database for a torrent, and whether it says that this cannot work. One that does not
/// say anything in time is away, which is no reason not to start.
#[cfg(feature = "databases")]
pub(super) fn try_database(databases: Databases) -> Result<(), StartError> {
    let (said, heard) = mpsc::channel();
    thread::Builder::new().name("try-database".to_owned()).spawn(move || {
        let outcome = (databases.backend)().lookup(&[InfoHash([0; 20])]);
        // Nobody listens when it took too long.
        let _ = said.send(outcome.map(|_| ()));
    })?;
    match heard.recv_timeout(TRY_MAX) {
        Ok(Err(DatabaseError::Unfit(text))) => Err(StartError::Database(text)),
        _ => Ok(()),
    }
}

/// What is sent to a connection that is turned away.
pub(super) fn overloaded() -> Arc<[u8]> {
    let mut answer = [0; LINE_BYTES_MAX];
    let bytes = response::fault(HttpFault::Overloaded, Framing::LAST, &mut answer).unwrap_or(0);
    answer[..bytes].into()
}

/// The time by the workers' clock.
pub(super) fn clock(epoch: Instant) -> Clock {
    Arc::new(move || Millis(millis(epoch.elapsed())))
}

/// The listener of the status pages, one that is `there` already or a new one. Where the default
/// address is taken, there are none.
pub(super) fn open_admin(
    admin: &AdminConfig,
    there: &[HandedSocket],
) -> Result<Option<TcpListener>, StartError> {
    let error = |error| StartError::Admin(admin.listen.clone(), error);
    let address = admin.address().map_err(|wrong| error(io::Error::other(wrong.to_string())))?;
    let Some(address) = address else { return Ok(None) };
    match Admin::listen(address, there) {
        Ok(listener) => Ok(Some(listener)),
        Err(why) if admin.is_default() => {
            log::warn!("no status pages: {}, the default of admin.listen: {why}", admin.listen);
            Ok(None)
        }
        Err(why) => Err(error(why)),
    }
}
