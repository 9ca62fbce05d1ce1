//! The swarms as bytes that outlive the process, and back.
//!
//! Owns: which part of a swarm is saved (who is in it, as what, since when, and how often it was
//! completed), and what becomes of it when a later process takes it in. [`SnapshotSaver`] copies
//! the swarms a little at a time and makes blocks of what it has copied; [`SnapshotBlock`] is one
//! of them read back; [`Store::restore`](crate::swarm::Store::restore) takes in a torrent of it.
//!
//! Never: does I/O, reads a clock, or decides which torrents are let in again; or allocates under a
//! lock while it saves.
//!
//! Limits: locks are held for some 2000 peers at a time, blocks are [`BLOCK_BYTES`] long. While
//! the swarms change, a snapshot holds every peer that stays from its begin to its end, some of
//! them twice. Of a swarm of thousands, a seeder that becomes a leecher meanwhile may be missing.
//!
//! `format` has the bytes, `copy` the walk, `save` both together, `restore` the way back.

mod copy;
mod format;
mod restore;
mod save;

pub use self::format::{
    BLOCK_BYTES, BlockFault, SOURCE_BYTES, SavedPeer, SavedTorrent, SnapshotBlock, SnapshotHead,
};
pub use self::restore::{Readmission, Restored};
pub use self::save::{SnapshotSaver, SnapshotTotals};
