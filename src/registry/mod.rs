//! Which torrents are registered, and which are banned: what the database says, without waiting for
//! it; and what it is told.
//!
//! Owns: the records at hand, and the threads that talk to the database. [`Registry::peek`] never
//! waits: it is a hit, or a miss that the caller turns into a [`Registry::request`]. The answer to
//! a request arrives in the mailbox of the worker named in the ticket, whose waker is called once a
//! batch.
//!
//! Never: decides who is served (open and registered mode are `tracker`'s business), reads a
//! ticket, or touches a worker's socket.
//!
//! Limits: hashes queued, tickets waiting, hashes in one question to the database (`pool`), bytes
//! of cached records (`cache`), counters to be written (the torrents in memory, one batch, and
//! those of an earlier run).
//!
//! `known_records` has what is known, in `cache` and with the swarms; `pool` asks, `flush` writes,
//! `watch` asks for changes; `recent_batches` and `health` keep these three in step;
//! `unwritten_batches`, `refused_rows` and `cleaning` is what `flush` keeps in mind; `database` is
//! what they ask of MySQL or SQLite, `databases` how they come by a connection; `saved`, in a
//! `state_file`, is what outlives the process. `registry` is all of it as a worker sees it;
//! `lookup`, `settings` and `gauges` are the words that come in and go out.

mod cache;
mod cleaning;
pub mod database;
mod databases;
mod flush;
mod gauges;
mod health;
mod known_records;
mod lookup;
mod lookup_times;
mod pool;
mod read_list;
mod recent_batches;
mod refused_rows;
#[expect(clippy::module_inception, reason = "the folder is named for it")]
mod registry;
mod saved;
mod settings;
mod shared_ledger;
mod state_file;
mod unwritten_batches;
mod watch;

pub use self::database::{Backend, DatabaseError, Fingerprint};
#[cfg(feature = "databases")]
pub use self::database::{Source, panic_is_fenced};
pub use self::databases::{Databases, OpenBackend, OpenLedger};
pub use self::gauges::RegistryGauges;
pub use self::lookup::{Completion, LookupError};
pub use self::lookup_times::{BOUNDS_US as LOOKUP_BOUNDS_US, LookupFigures};
pub use self::registry::Registry;
pub use self::settings::{PoolSettings, RegistrySettings};
pub use self::state_file::StateFile;
