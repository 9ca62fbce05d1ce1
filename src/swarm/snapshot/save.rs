//! A snapshot in the making.
//!
//! Owns: the order: copy under a lock, then make blocks of the copies under none. The caller has
//! the clock, and the file.

use crate::ids::Millis;
use crate::swarm::snapshot::copy::Copier;
use crate::swarm::snapshot::format::{BlockWriter, SnapshotHead};
use crate::swarm::store::Store;

/// What a snapshot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SnapshotTotals {
    /// Peers.
    pub peers: u64,
    /// Torrents.
    pub torrents: u64,
    /// Bytes.
    pub bytes: u64,
}

/// See the module. [`SnapshotSaver::copy`] and [`SnapshotSaver::encode`] by turns until
/// [`SnapshotSaver::is_over`], then [`SnapshotSaver::finish`].
pub struct SnapshotSaver {
    copier: Copier,
    block: BlockWriter,
    totals: SnapshotTotals,
}

impl SnapshotSaver {
    /// Begins a snapshot of a store that keeps peer ids if `head` says so.
    pub fn new(head: SnapshotHead) -> SnapshotSaver {
        SnapshotSaver {
            copier: Copier::new(),
            block: BlockWriter::new(head),
            totals: SnapshotTotals::default(),
        }
    }

    /// Whether all of the store has been copied.
    pub fn is_over(&self) -> bool {
        self.copier.is_over()
    }

    /// Copies what is next, under one lock, once.
    pub fn copy(&mut self, store: &Store) {
        self.copier.copy(store);
    }

    /// Makes blocks of what was copied, and hands out those that are full. `now` and `unix_ms` are
    /// the same moment by both clocks, after the copying.
    ///
    /// # Errors
    /// Whatever `write` says.
    pub fn encode<E>(
        &mut self,
        now: Millis,
        unix_ms: u64,
        write: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let SnapshotSaver { copier, block, totals } = self;
        for mut piece in copier.pieces() {
            totals.peers += piece.groups.iter().sum::<usize>() as u64;
            totals.torrents += u64::from(piece.is_first);
            block.begin(now, unix_ms);
            while !block.write(&mut piece) {
                seal(block, false, totals, write)?;
                block.begin(now, unix_ms);
            }
        }
        Ok(())
    }

    /// Hands out the last block; what the snapshot holds.
    ///
    /// # Errors
    /// Whatever `write` says.
    pub fn finish<E>(
        mut self,
        now: Millis,
        unix_ms: u64,
        write: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<SnapshotTotals, E> {
        self.block.begin(now, unix_ms);
        seal(&mut self.block, true, &mut self.totals, write)?;
        Ok(self.totals)
    }
}

fn seal<E>(
    block: &mut BlockWriter,
    is_last: bool,
    totals: &mut SnapshotTotals,
    write: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    block.seal(is_last, |bytes| {
        totals.bytes += bytes.len() as u64;
        write(bytes)
    })
}
