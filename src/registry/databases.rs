//! How the registry's threads come by their connections.
//!
//! Owns: what opens one, and the time limits it gets. Never: a connection; each thread has its own,
//! and makes it when it first asks something.

#[cfg(feature = "databases")]
use std::time::Duration;

use crate::registry::database::{Backend, Ledger};
#[cfg(feature = "databases")]
use crate::registry::database::{Source, TimeLimits};

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
    /// Connections to `source`, of which nobody waits longer than `lookup_timeout` for a lookup.
    pub fn of(source: &Source, lookup_timeout: Duration) -> Databases {
        let lookup = TimeLimits { connect: lookup_timeout, answer: lookup_timeout };
        let other = TimeLimits { connect: WRITE_TIMEOUT, answer: WRITE_TIMEOUT };
        let (backend, ledger) = (source.clone(), source.clone());
        Databases {
            backend: Box::new(move || backend.backend(lookup)),
            ledger: Box::new(move || ledger.ledger(other)),
        }
    }
}
