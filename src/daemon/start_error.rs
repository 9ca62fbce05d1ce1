//! Why the tracker could not start, as one line for who starts it.
//!
//! Never: a text of more than one line.

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
