//! Datagrams: the sockets of UDP and how a worker serves them.
//!
//! `serving` is all of a worker's datagrams: whose turn it is, and what waits for the registry.
//! `socket` opens the sockets and has their options. `io` has the batches and their system calls,
//! `address` what they say of addresses.

mod address;
mod io;
mod serving;
mod socket;

#[cfg(test)]
pub(crate) use io::{ReceiveBatch, SendBatch};
pub(crate) use serving::{Datagrams, is_of_datagram};
#[cfg(test)]
pub(crate) use socket::{BatchSocket, Received};
pub(in crate::server) use socket::{DatagramOptions, DatagramSocket, bind, probe};
