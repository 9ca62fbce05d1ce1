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
mod list;
mod subject;

use std::fmt;
use std::io::{self, Write};

use crate::config::redact;
use crate::registry::database::DatabaseError;

pub use change::{Change, apply};
pub use import::{Imported, import};
pub use list::{Format, list};

/// Characters of somebody else's text that a message quotes.
const QUOTED_CHARS_MAX: usize = 255;

/// Is told of each problem that does not end the command.
pub type Complain<'c> = dyn FnMut(&str) + 'c;

/// Why a command ended before its end.
#[derive(Debug)]
pub enum Trouble {
    /// The database could not be asked.
    Database(DatabaseError),
    /// The file to import could not be read on.
    Input(io::Error),
    /// Nothing can be written any more.
    Output(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Database(error) => error.fmt(f),
            Trouble::Input(error) => error.fmt(f),
            Trouble::Output(error) => write!(f, "cannot write to stdout: {error}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Trouble {
        Trouble::Database(error)
    }
}

/// Writes a line about a change that has been made. A reader who has seen enough does not keep the
/// rest from being made.
fn say(out: &mut dyn Write, line: &str) -> Result<(), Trouble> {
    match writeln!(out, "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Trouble::Output(error)),
        _ => Ok(()),
    }
}

/// Text from a stranger as a terminal can bear it: no control characters, and no password where a
/// URL has gone astray.
fn printable(text: &str) -> String {
    redact(text)
        .chars()
        .take(QUOTED_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
