//! Why the tracker could not start, as one line for who starts it.
//!
//! Owns: what to do about a port that needs a right. Never: guesses elsewhere what to do, where the
//! layer below does not say.

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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

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
