//! What a worker is made of: what all workers share, and what is one worker's own.
//!
//! Never: does anything.

use std::net::IpAddr;
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

/// A connection just accepted, beside its stream.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The address at its other end, IPv4-mapped ones as IPv4.
    pub ip: IpAddr,
    /// Whether trusted proxies begin each connection with a preface where it came in.
    pub proxy_protocol: bool,
}

/// Why a connection was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There are as many as there may be.
    Full,
    /// There are as many of its address as there may be, or it opens them too often.
    PerAddress,
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
