//! The `torrent` command: what an operator adds to the database's list of torrents, bans, takes off
//! and reads there.
//!
//! Owns: what the arguments mean (`subject`), the edits that follow and what is said of each
//! ([`Change`], [`apply`]), the list as a table and as JSON ([`list()`]), and the import of many
//! from a file ([`import()`]). Everything is written to where the caller says: results to a writer,
//! problems, one line each, to a function; a caller that was told of a problem ends with exit code
//! 1.
//!
//! Never: opens a database, reads the command line or the terminal, or touches a swarm. A running
//! tracker learns of changes from the database.
//!
//! Limits: a page of rows or a batch of edits in memory at a time
//! ([`BATCH_ROWS_MAX`](crate::registry::database::BATCH_ROWS_MAX)).

mod change;
mod import;
mod json_list;
mod list;
mod output;
mod subject;

pub use change::{Change, apply};
pub use import::{Import, Imported, import};
pub use list::{Format, list};
pub use output::{Complain, Trouble};
