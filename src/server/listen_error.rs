//! Why an address cannot be listened on, as one line for who starts the tracker.
//!
//! Never: names a setting but the one that helps.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// An address that could not be listened on, or a poll that could not be made.
#[derive(Debug)]
pub enum ListenError {
    /// The address, and what the system said.
    Address(SocketAddr, io::Error),
    /// The address for UDP, and what the system said.
    Udp(SocketAddr, io::Error),
    /// What the system said of a socket that another process has opened.
    Handed(io::Error),
    /// What the system said of a poll.
    Poll(io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Address(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                let port = address.port();
                write!(f, "cannot listen on {address}: another program has port {port} already")
            }
            ListenError::Address(address, error) => {
                write!(f, "cannot listen on {address}: {error}")
            }
            ListenError::Udp(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                let port = address.port();
                write!(
                    f,
                    "cannot listen on {address} for UDP: another program has UDP port {port} \
                     already; udp.listen names other addresses, or none"
                )
            }
            ListenError::Udp(address, error) => {
                write!(f, "cannot listen on {address} for UDP: {error}")
            }
            ListenError::Handed(error) => write!(f, "cannot take over a socket: {error}"),
            ListenError::Poll(error) => write!(f, "cannot start polling: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}
