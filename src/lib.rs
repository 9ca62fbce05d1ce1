//! `announced`, an announce daemon: a BitTorrent tracker for bare metal.
//!
//! Modules stand in the order of their dependencies, and imports point up this list only. Read
//! `docs/ARCHITECTURE.md` first: the way of an announce, of a miss and of a scrape through them,
//! function by function; the threads, all locks and their order, and a glossary.
//!
//! | module | owns | never |
//! |---|---|---|
//! | [`ids`] | the small values all pass around | has logic |
//! | [`bounds`] | limits that several modules must agree on | has logic |
//! | [`files`] | opening what may be no regular file | makes a file, waits for ever |
//! | [`mailbox`] | where answers from other threads wait for their worker | looks into them |
//! | [`counters`] | what any module counts | locks, allocates where it counts |
//! | [`config`] | the settings, their defaults and reasons | reads a clock or a socket |
//! | [`listing`] | what a database says of a torrent | asks, decides who is served |
//! | [`state_directory`] | the lock and the files of what outlives the process | knows what is in
//! one |
//! | [`secrets`] | the system's randomness and the kept secret: keys, seeds, names | makes a choice
//! |
//! | [`memory`] | how much memory there may be, and the caps that follow | fails |
//! | [`wire`] | bytes to values and back | allocates, locks, waits |
//! | [`swarm`] | who is in which torrent | reads a clock, draws its own randomness |
//! | [`registry`] | registration, bans, names, counts | decides who is served |
//! | [`tracker`] | the announce story, the site's policy, in values | does I/O, knows a protocol |
//! | [`snapshots`] | saving the swarms, and taking them in at the start | decides who is let in |
//! | [`frontend`] | the ways in, one for each protocol | owns a socket, decides |
//! | [`server`] | sockets and threads | knows what an announce is |
//! | `daemon` | settings to a running tracker | reads a file or a signal |
//! | [`metainfo`] | which torrent a file, a link or a written hash means | opens a file |
//! | [`operator`] | the `torrent` command: list, ban, import | touches a swarm |
//!
//! The last two are what an operator's command line needs of the database, without a tracker. Of
//! all modules only the registry and the maker of full scrapes wait for the database.

pub mod ids;

pub mod bounds;

pub mod files;

pub mod mailbox;

pub mod counters;

pub mod config;

pub mod listing;

pub mod state_directory;

pub mod secrets;

pub mod memory;

pub mod wire;

pub mod swarm;

pub mod registry;

pub mod tracker;

pub mod snapshots;

pub mod frontend;

pub mod server;

#[cfg(feature = "databases")]
pub mod foresight;

pub mod daemon;

pub mod metainfo;

pub mod operator;

#[cfg(any(test, feature = "fuzzing"))]
pub mod tests;
