//! What a worker is made of: what all workers share, and what is one worker's own.
//!
//! Never: does anything.

use std::sync::Arc;
use std::time::Instant;

use mio::Poll;

use crate::config::LiveSettings;
use crate::counters::Counters;
use crate::frontend::{Http, Udp};
use crate::mailbox::Mailboxes;
use crate::registry::Completion;
use crate::server::datagrams::DatagramSocket;
use crate::server::listener::Listener;
use crate::server::per_address::PerAddress;

/// What all workers share.
#[derive(Clone)]
pub struct WorkerShared {
    /// Answers requests.
    pub http: Arc<Http>,
    /// Answers datagrams.
    pub udp: Arc<Udp>,
    /// Where the registry's answers come.
    pub lookups: Mailboxes<Completion>,
    /// The settings that may change.
    pub live: LiveSettings,
    /// Where what is counted is summed.
    pub counters: Counters,
    /// Connections of one worker.
    pub connections_max: usize,
    /// Where the connections of each address are counted.
    pub per_address: PerAddress,
    /// What time is counted from.
    pub epoch: Instant,
    /// Sent to a connection that is turned away.
    pub overloaded: Arc<[u8]>,
}

/// Where the connections are, and how many there may be.
pub struct ConnectionSettings {
    /// Index of the worker.
    pub worker: u16,
    /// Connections at once.
    pub connections_max: usize,
    /// Where the connections of each address are counted.
    pub per_address: PerAddress,
    /// Room for answers; the largest must fit.
    pub output_bytes: usize,
}

/// What one worker is given beside what all share.
pub(in crate::server) struct Own {
    /// Its index, and how many workers there are.
    pub(in crate::server) index: u16,
    pub(in crate::server) workers: usize,
    /// Where its waker is registered already.
    pub(in crate::server) poll: Poll,
    pub(in crate::server) listeners: Vec<Listener>,
    pub(in crate::server) datagram_sockets: Vec<DatagramSocket>,
    /// What its choices follow from; nobody must be able to guess it.
    pub(in crate::server) seed: u64,
}
