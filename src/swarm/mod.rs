//! Who is in which torrent.
//!
//! Owns: every peer, in memory only. [`Store`] is 1024 shards, each a lock around its torrents,
//! chosen by a keyed hash of the info hash. An announce locks one shard, once: it updates the peer
//! and copies the chosen ones out. A re-announce allocates nothing and writes to no memory that
//! other shards share.
//!
//! Never: reads a clock, has randomness of its own, logs, or knows of requests and answers: the
//! time and the random numbers are arguments.
//!
//! Limits: those of `config::SwarmLimits`, an argument too, as they may change. At a
//! cap a newcomer pushes out whose address has the most, and one that cannot is answered, but not
//! stored. An empty torrent is forgotten as soon as the database has what was
//! counted of it; at once where there is none.
//!
//! From the outside in: `announcement` (what is said, and what is answered), `store` (the locks and
//! the way of an announce), `shard` (the torrents of one lock), `torrent` (one swarm, one cache
//! line), `peers` (one family: few or many), `table` (many: linear hashing), `run` (few: dense
//! bytes), `state` (two bytes a peer); `select`, `fair`, `tally`, `chosen` (the answer); `shares`,
//! `hosts`, `completions`, `admit`, `evict` (what one address may have); `sweep` (expiry), `walk`
//! (over all torrents); `registration` (what the database says of a torrent and is to be told) and
//! `unwritten` (telling it); `snapshot` (what outlives the process) and `early` (who leaves before
//! having been taken in from it).

mod admit;
mod announcement;
mod capacity;
mod chosen;
mod completions;
mod early;
mod evict;
mod fair;
mod hosts;
mod peers;
mod population;
mod registration;
mod rules;
mod run;
mod select;
mod shard;
mod shares;
mod snapshot;
mod state;
mod store;
mod sweep;
mod table;
mod tally;
mod torrent;
mod unwritten;
mod walk;
mod work;

pub use self::announcement::{Announced, Announcement, Counts, Moment, Newcomer};
pub use self::chosen::Chosen;
pub use self::population::Totals;
pub use self::snapshot::{
    BLOCK_BYTES, BlockFault, Readmission, Restored, SOURCE_BYTES, SavedPeer, SavedTorrent,
    SnapshotBlock, SnapshotHead, SnapshotSaver, SnapshotTotals,
};
pub use self::store::{Store, StoreSettings};
pub use self::sweep::Sweep;
pub use self::unwritten::Unwritten;
pub use self::walk::Walk;
