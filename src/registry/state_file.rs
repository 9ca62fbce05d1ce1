//! The registry's file in the state directory.
//!
//! Owns: whose database the file is of. One that is of another database says nothing about this
//! one's torrents: if it holds counters that could not be written it is kept under another name,
//! and found again when the tracker runs on that database again. One that cannot be read is as good
//! as none, is said so, and is kept beside.
//!
//! Never: the form of the file, which is `saved`'s; how it is written, which is the directory's.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use data_encoding::HEXLOWER;

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::database::{Batch, Fingerprint};
use crate::registry::saved::{self, Saved};
use crate::state_directory::StateDirectory;

const NAME: &str = "announced.state";
/// Bytes of its fingerprint by which a file of another database is named.
const NAMING_BYTES: usize = 8;

/// See the module. Clones share the directory's lock.
#[derive(Clone)]
pub struct StateFile(Arc<Shared>);

struct Shared {
    directory: StateDirectory,
    database: Fingerprint,
    /// It could not be written when that was last tried.
    failing: AtomicBool,
}

impl StateFile {
    /// The file in `directory` for a tracker on `database`.
    pub fn new(directory: StateDirectory, database: Fingerprint) -> StateFile {
        StateFile(Arc::new(Shared { directory, database, failing: AtomicBool::new(false) }))
    }

    /// What the last run on this database has left.
    pub(super) fn load(&self) -> Saved {
        let Shared { directory, database, .. } = &*self.0;
        let own = match self.read() {
            Some((of, saved)) if of != *database => {
                self.put_aside(&of, saved.batches.len());
                None
            }
            found => found,
        };
        // What was put aside is older than what is in its place, but that is not this database's.
        let own = own
            .or_else(|| directory.rename(&name_of(database), NAME).ok().and_then(|()| self.read()));
        let mut saved = own.map(|(_, saved)| saved).unwrap_or_default();
        saved.count_unwritten();
        saved
    }

    /// Reads the file; none when it is missing or cannot be read.
    fn read(&self) -> Option<(Fingerprint, Saved)> {
        let directory = &self.0.directory;
        let error = match directory.read(NAME) {
            Ok(None) => return None,
            Ok(Some(mut file)) => match saved::read(&mut file) {
                Ok(found) => return Some(found),
                Err(error) => error,
            },
            Err(error) => error,
        };
        let path = directory.path_of(NAME);
        let is_damaged = matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
        match is_damaged.then(|| directory.set_aside(NAME)) {
            Some(Ok(kept)) => log::warn!(
                "{}: {error}; kept as {}, starting without what it holds",
                path.display(),
                kept.display()
            ),
            _ => log::warn!("{}: {error}; starting without what it holds", path.display()),
        }
        None
    }

    /// The file is another database's: kept if it holds `batches`.
    fn put_aside(&self, database: &Fingerprint, batches: usize) {
        let directory = &self.0.directory;
        let path = directory.path_of(NAME);
        let path = path.display();
        if batches == 0 {
            log::warn!("{path}: is of another database; starting without what it holds");
            return;
        }
        let name = name_of(database);
        let kept = directory.path_of(&name);
        match directory.rename(NAME, &name) {
            Ok(()) => log::warn!(
                "{path}: is of another database, and holds counters that could not be written \
                 there: kept as {}, until the tracker runs on that database again",
                kept.display()
            ),
            Err(error) => log::error!(
                "{path}: is of another database, and cannot be kept as {}: {error}",
                kept.display()
            ),
        }
    }

    /// Keeps a batch in a file of its own, for the operator; which.
    pub(super) fn put_aside_batch(&self, batch: &Batch) -> io::Result<PathBuf> {
        let directory = &self.0.directory;
        let node = HEXLOWER.encode(&batch.node.0[..NAMING_BYTES]);
        let name = format!("announced.batch-{node}-{}", batch.number);
        directory.replace(&name, |file| write_batch(file, batch))?;
        Ok(directory.path_of(&name))
    }

    /// Writes the file; whether it could be written, which is said once when it begins to fail.
    /// `records` is to call what it is given for each record.
    pub(super) fn save(
        &self,
        batches: &[Arc<Batch>],
        records: impl FnOnce(&mut dyn FnMut(&InfoHash, &Record)),
    ) -> bool {
        let Shared { directory, database, failing } = &*self.0;
        let outcome =
            directory.replace(NAME, |file| saved::write(file, database, batches, records));
        let was_failing = failing.swap(outcome.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (&outcome, was_failing) {
            log::warn!(
                "{}: {error}; what is known of torrents will not outlive the process",
                directory.path_of(NAME).display()
            );
        }
        outcome.is_ok()
    }
}

/// A batch as an operator reads it, and can write it by hand.
fn write_batch(file: &mut dyn Write, batch: &Batch) -> io::Result<()> {
    writeln!(
        file,
        "# counters of batch {} of {}, which may be in the database already, or not",
        batch.number,
        HEXLOWER.encode(&batch.node.0)
    )?;
    writeln!(file, "# info hash, downloads to be added, seeders, leechers")?;
    batch.rows.iter().try_for_each(|row| {
        let (hash, downloads) = (row.info_hash, row.downloads);
        writeln!(file, "{hash} {downloads} {} {}", row.complete, row.incomplete)
    })
}

/// What a file that is of `database` is called while the tracker runs on another one.
fn name_of(database: &Fingerprint) -> String {
    format!("{NAME}-{}", HEXLOWER.encode(&database.0[..NAMING_BYTES]))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::listing::Listing;
    use crate::registry::database::NodeId;

    fn of(name: &str) -> Fingerprint {
        Fingerprint::of("test", name.as_bytes())
    }

    fn open(folder: &Path, database: &str) -> StateFile {
        StateFile::new(StateDirectory::open(folder).unwrap().unwrap(), of(database))
    }

    fn save(file: &StateFile, batch: Option<u64>) -> bool {
        let batch =
            batch.map(|number| Arc::new(Batch { node: NodeId([7; 16]), number, rows: Vec::new() }));
        let batches: Vec<Arc<Batch>> = batch.into_iter().collect();
        file.save(&batches, |f| f(&InfoHash([1; 20]), &Record::plain(Listing::Listed)))
    }

    fn numbers(saved: &Saved) -> Vec<u64> {
        saved.batches.iter().map(|batch| batch.number).collect()
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), "a");
        assert!(file.load().records.is_empty());
        for _ in 0..2 {
            assert!(save(&file, None));
            assert_eq!(file.load().records, [(InfoHash([1; 20]), Record::plain(Listing::Listed))]);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the file and its lock");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_borne() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), "a");
        folder.close().unwrap();
        assert!(!save(&file, None));
        assert!(file.load().records.is_empty());
    }

    #[test]
    fn what_is_of_another_database_is_kept_for_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(save(&open(folder.path(), "a"), Some(1)));
        // Nothing is saved by this one: it may have been killed.
        assert!(open(folder.path(), "b").load().records.is_empty());
        assert!(save(&open(folder.path(), "b"), Some(2)));
        let of_a = open(folder.path(), "a").load();
        assert_eq!(numbers(&of_a), vec![1], "numbers of the batches");
        assert_eq!(of_a.records.len(), 1, "how many records");
        assert_eq!(numbers(&open(folder.path(), "b").load()), [2]);
        assert_eq!(numbers(&open(folder.path(), "a").load()), [1]);
    }

    #[test]
    fn of_another_database_without_anything_to_write_nothing_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert!(save(&open(folder.path(), "a"), None));
        let other = open(folder.path(), "b");
        assert!(other.load().records.is_empty());
        assert!(save(&other, None));
        drop(other);
        assert!(open(folder.path(), "a").load().records.is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the file and its lock");
    }

    #[test]
    fn a_damaged_file_is_kept_beside() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), "a");
        assert!(save(&file, Some(1)));
        let path = folder.path().join(NAME);
        let mut bytes = fs::read(&path).unwrap();
        bytes[60] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(file.load().batches.is_empty(), "what is damaged is not believed");
        assert!(save(&file, Some(2)));
        assert_eq!(numbers(&file.load()), [2]);
        let kept = folder.path().join(format!("{NAME}.damaged-1"));
        assert_eq!(fs::read(kept).unwrap(), bytes, "what was damaged is still there");
    }
}
