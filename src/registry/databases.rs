//! How the registry's threads come by their connections.
//!
//! Owns: what opens one, and the time limits it gets. Never: a connection; each thread has its own,
//! and makes it when it first asks something.

#[cfg(feature = "databases")]
use std::sync::Arc;
#[cfg(feature = "databases")]
use std::time::Duration;

#[cfg(feature = "databases")]
use crate::config::LiveSettings;
#[cfg(feature = "databases")]
use crate::registry::database::{AskLimits, Source, TimeLimits};
use crate::registry::database::{Backend, Ledger};

/// How long writing counters to the database may take, step by step: nobody waits for it.
#[cfg(feature = "databases")]
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens one connection to the database, for a thread of the pool.
pub type OpenBackend = Box<dyn Fn() -> Box<dyn Backend> + Send + Sync>;
/// Opens one connection to the database, for what is not a lookup.
pub type OpenLedger = Box<dyn Fn() -> Box<dyn Ledger> + Send + Sync>;

/// How the registry's threads come by their connections.
pub struct Databases {
    /// For lookups.
    pub backend: OpenBackend,
    /// For the rest.
    pub ledger: OpenLedger,
}

#[cfg(feature = "databases")]
impl Databases {
    /// Connections to `source`. Lookups take no longer than the latest of `live` says.
    pub fn of(source: &Source, live: &LiveSettings) -> Databases {
        let (live, other) = (live.clone(), TimeLimits::both(WRITE_TIMEOUT));
        let (backend, ledger) = (source.clone(), source.clone());
        let limits: AskLimits =
            Arc::new(move || TimeLimits::both(live.latest().registry.lookup_timeout));
        Databases {
            backend: Box::new(move || backend.backend(Arc::clone(&limits))),
            ledger: Box::new(move || ledger.ledger(other)),
        }
    }
}
