//! Torrents whose counts the database refuses by a rule of the site's: a CHECK, a trigger, a key.
//!
//! Owns: which of them the log has named, so that each is named once until it is written again.
//! Their downloads stay with the swarm, and are tried again when something of it changes.
//!
//! Limits: [`NAMED_MAX`] torrents are remembered; past it, others are refused without a word.

use ahash::RandomState;
use hashbrown::HashSet;

use crate::ids::InfoHash;
use crate::registry::database::{Batch, RefusedRow};

const NAMED_MAX: usize = 10_000;

/// See the module.
#[derive(Default)]
pub(super) struct RefusedRows {
    named: HashSet<InfoHash, RandomState>,
}

impl RefusedRows {
    /// A batch is applied without these rows; logs it, unless that has been said.
    pub(super) fn tell(&mut self, batch: &Batch, refused: &[RefusedRow]) {
        if let Some(line) = self.take(batch, refused) {
            log::error!("{line}");
        }
    }

    /// A batch is applied without these rows; the line that names those that are new, if any is.
    fn take(&mut self, batch: &Batch, refused: &[RefusedRow]) -> Option<String> {
        if self.named.is_empty() && refused.is_empty() {
            return None;
        }
        for row in &batch.rows {
            if !refused.iter().any(|refused| refused.info_hash == row.info_hash) {
                self.named.remove(&row.info_hash);
            }
        }
        let mut new = refused
            .iter()
            .filter(|row| self.named.len() < NAMED_MAX && self.named.insert(row.info_hash));
        let first = new.next()?;
        let others = match new.count() {
            0 => String::new(),
            1 => ", and those of another torrent".to_owned(),
            others => format!(", and those of {others} other torrents"),
        };
        Some(format!(
            "the database refuses the counts of torrent {}{others}: {}; the others are written",
            first.info_hash, first.why
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::database::{Counted, NodeId};

    fn batch(torrents: &[u8]) -> Batch {
        let row = |n: &u8| Counted {
            info_hash: InfoHash([*n; 20]),
            downloads: 1,
            complete: 0,
            incomplete: 0,
            active: true,
        };
        Batch { node: NodeId([0; 16]), number: 1, rows: torrents.iter().map(row).collect() }
    }

    fn refused(torrents: &[u8]) -> Vec<RefusedRow> {
        let row = |n: &u8| RefusedRow { info_hash: InfoHash([*n; 20]), why: "no".to_owned() };
        torrents.iter().map(row).collect()
    }

    #[test]
    fn each_is_named_once_until_it_is_written() {
        let mut rows = RefusedRows::default();
        let mut take = |torrents: &[u8], refusals: &[u8]| {
            rows.take(&batch(torrents), &refused(refusals)).is_some()
        };
        assert!(!take(&[1, 2], &[]), "nothing is refused");
        assert!(take(&[1, 2], &[1]), "the first is refused");
        assert!(!take(&[1, 2], &[1]), "it is refused again");
        assert!(take(&[1, 2], &[1, 2]), "the second is refused too");
        assert!(!take(&[2], &[2]), "the first is in no batch");
        assert!(!take(&[1], &[]), "the first is written");
        assert!(take(&[1], &[1]), "the first is refused anew");
        let line = rows.take(&batch(&[1, 3, 4]), &refused(&[1, 3, 4])).unwrap();
        let hash = InfoHash([3; 20]);
        assert!(
            line.contains(&format!("torrent {hash}, and those of another torrent: no")),
            "{line}"
        );
    }
}
