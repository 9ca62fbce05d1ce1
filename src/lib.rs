//! `announced`, an announce daemon: a BitTorrent tracker for bare metal.
//!
//! One mio event loop a core, httparse into borrowed structs, a bencode writer over a preallocated
//! buffer, swarms in memory, and registration and bans seen through a cache that a small thread
//! pool keeps. Modules stand in the order of their dependencies; imports point up this list:
//!
//! | module | owns | never |
//! |---|---|---|
//! | [`ids`] | the small values all pass around | has logic |
//! | [`bounds`] | limits that several modules must agree on | has logic |
//! | [`mailbox`] | where answers from other threads wait for their worker | looks into them |
//! | [`config`] | the settings, their defaults and reasons | reads a clock or a socket |
//! | [`listing`] | what a database says of a torrent, in one vocabulary | asks, decides who is served |
//! | [`state_directory`] | the lock on what outlives the process, files replaced whole, checksums | knows what is in a file |
//! | [`wire`] | bytes to values and back | allocates, locks, waits |
//! | [`swarm`] | who is in which torrent | reads a clock, draws its own randomness |
//! | [`registry`] | registration, bans, names, counts written back; the only layer that waits | decides who is served |
//! | [`tracker`] | the announce story and the site's policy | does I/O |
//! | [`server`] | sockets and threads | knows the protocol |
//! | [`metainfo`] | which torrent a .torrent file, a magnet link or a written hash means | opens a file |
//! | [`operator`] | the `torrent` command: listing, banning, importing | touches a swarm |
//!
//! The last two are what an operator's command line needs of the database, without a tracker.
//!
//! The way of one announce, in four screens: `server::worker` (`Worker::run`), `server::batch`
//! (`Batch::answer`), `tracker` (`Tracker::announce`), [`swarm::Store::announce`]. Between its read
//! and its write nothing is allocated, formatted or logged.

pub mod ids;

pub mod bounds;

pub mod mailbox;

pub mod config;

pub mod listing;

pub mod state_directory;

pub mod wire;

pub mod swarm;

pub mod registry;

pub mod tracker;

pub mod server;

pub mod metainfo;

pub mod operator;

#[cfg(any(test, feature = "fuzzing"))]
pub mod tests;
