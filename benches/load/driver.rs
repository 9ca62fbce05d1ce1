//! The load of either protocol.

use std::io;
use std::time::Instant;

use crate::client::{Client, Tally};
use crate::udp_client::UdpClient;

/// See the module.
pub(crate) enum Driver<'p> {
    /// Over TCP.
    Http(Box<Client<'p>>),
    /// Over UDP.
    Udp(Box<UdpClient<'p>>),
}

impl Driver<'_> {
    /// Sends until `until`, or until every peer has had its turn, and waits for the answers.
    pub(crate) fn run(&mut self, until: Option<Instant>) -> io::Result<Tally> {
        match self {
            Driver::Http(client) => client.run(until),
            Driver::Udp(client) => client.run(until),
        }
    }
}
