//! Why the tracker could not start, as one line for who starts it.
//!
//! Never: guesses what to do about it where the layer below does not say.

use std::fmt;
use std::io;

use crate::server::ListenError;
use crate::state_directory::Unfit;

/// Why the tracker could not start; one clear line.
#[derive(Debug)]
pub enum StartError {
    /// A socket could not be opened.
    Listen(ListenError),
    /// The database cannot be used. One that is away is no reason not to start.
    Database(String),
    /// The state directory cannot be had.
    State(Unfit),
    /// Threads could not be made, or the system has no randomness.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen(error) => error.fmt(f),
            StartError::Database(error) => write!(f, "cannot use the database: {error}"),
            StartError::State(error) => error.fmt(f),
            StartError::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::System(error)
    }
}
