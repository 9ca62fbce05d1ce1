//! The snapshot of the swarms in the state directory.
//!
//! Owns: the thread `snapshot`, which takes in at the start what the last process has left, and
//! saves the swarms every `server.snapshot_interval` and once more at the end (`thread`); and the
//! file with all that may be wrong with it (`file`).
//!
//! Never: the form of the file, which is `swarm`'s; which torrents are let in again, which is
//! `tracker`'s; or the way it is replaced, which is the state directory's. No worker saves or waits
//! for it.
//!
//! Limits: one block in memory. While announces are answered, saving takes a quarter of a core.

mod file;
mod thread;

pub use self::thread::{SnapshotSettings, Snapshots};
