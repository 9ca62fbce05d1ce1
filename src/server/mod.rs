//! Sockets and threads: a worker for each core, and what starts and stops them.
//!
//! Owns: the sockets ([`Sockets`], probed and opened before anything else is made, so that a taken
//! port is found out first) and the threads ([`Server`]). A worker that ends unasked is told of.
//!
//! Never: turns settings into parts (`daemon`), or knows what an announce is: bytes are found and
//! answered by `frontend::http`. The one thing said here is 503, to connections turned away.
//!
//! From the outside in: `worker` (the loop), `listener`, `connections` (all of a worker's),
//! `batch`, `connection` (one with its stream), `conversation` (its state machine; `phase`,
//! `standing`, `unsent`), `slots`, `crowd`, `deadline`; `meter` (what a worker shows of its
//! rounds).
//! Apart from them: `admin`, the status pages' listener.

mod admin;
mod batch;
mod connection;
mod connections;
mod conversation;
mod crowd;
mod datagrams;
mod deadline;
mod inherited;
mod listen_error;
mod listener;
mod meter;
mod parts;
mod per_address;
mod phase;
mod places;
mod preface;
mod slots;
mod sockets;
mod sockopt;
mod spread;
mod standing;
mod standstill;
mod stop;
mod stream;
mod threads;
mod unsent;
mod worker;

pub use admin::Admin;
pub use connection::{Broken, Buffers, Connection, Progress};
pub use connections::Connections;
pub use conversation::Conversation;
#[cfg(test)]
pub(crate) use datagrams::{
    BatchSocket, Datagrams, ReceiveBatch, Received, SendBatch, is_of_datagram,
};
pub use inherited::{HandedSocket, Purpose};
pub use listen_error::ListenError;
pub use parts::{Arrival, ConnectionSettings, Refused, WorkerShared};
pub use per_address::PerAddress;
pub use phase::Next;
pub use slots::{SlotId, Slots, VacantSlot};
pub use sockets::{Sockets, affordable_connections};
pub use stop::StopOptions;
pub use stream::{Readiness, Stream};
pub use threads::Server;
