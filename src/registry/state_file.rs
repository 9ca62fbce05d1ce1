//! The file in the state directory that holds what outlives the process, and the right to it.
//!
//! Owns: the lock beside it, as two trackers that save into one file would lose each other's
//! counters; the file's reading, and its writing: whole, into a file beside it, which then takes
//! its place, so there is never half of it. One that cannot be read is as good as none, and is said
//! so. One that is of another database says nothing about this one's torrents: if it holds counters
//! that could not be written it is kept under another name, and found again when the tracker runs
//! on that database again.
//!
//! Never: the form of the file, which is `saved`'s.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use data_encoding::HEXLOWER;

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::database::{Batch, Fingerprint};
use crate::registry::saved::{self, Saved};

const NAME: &str = "announced.state";
/// Bytes of its fingerprint by which a file of another database is named.
const NAMING_BYTES: usize = 8;

/// See the module. Clones share the lock, which lasts until the last of them is dropped, or the
/// process ends.
#[derive(Clone)]
pub struct StateFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    database: Fingerprint,
    /// It could not be written when that was last tried.
    failing: AtomicBool,
    _lock: File,
}

/// Another process has the lock.
#[derive(Debug)]
pub struct InUse(PathBuf);

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another tracker uses server.state_directory {:?}; give each its own", self.0)
    }
}

impl std::error::Error for InUse {}

impl StateFile {
    /// Takes the file in `directory` for a tracker on `database`. None, with a warning, where no
    /// file can be made.
    ///
    /// # Errors
    /// When another tracker has it.
    pub fn open(directory: &Path, database: Fingerprint) -> Result<Option<StateFile>, InUse> {
        let path = directory.join(NAME);
        let lock = path.with_extension("state.lock");
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&lock)
            .map_err(TryLockError::Error);
        match file.and_then(|file| file.try_lock().map(|()| file)) {
            Ok(file) => Ok(Some(StateFile(Arc::new(Shared {
                path,
                database,
                failing: AtomicBool::new(false),
                _lock: file,
            })))),
            Err(TryLockError::WouldBlock) => {
                Err(InUse(directory.canonicalize().unwrap_or_else(|_| directory.to_owned())))
            }
            Err(TryLockError::Error(error)) => {
                log::warn!(
                    "{}: {error}; what is known of torrents will not outlive the process",
                    lock.display()
                );
                Ok(None)
            }
        }
    }

    /// What the last run on this database has left.
    pub(super) fn load(&self) -> Saved {
        let path = &self.0.path;
        let own = match read(path) {
            Some((database, saved)) if database != self.0.database => {
                self.put_aside(&database, saved.batches.len());
                None
            }
            found => found,
        };
        // What was put aside is older than what is in its place, but that is not this database's.
        let own = own.or_else(|| {
            fs::rename(self.name_of(&self.0.database), path).ok().and_then(|()| read(path))
        });
        let mut saved = own.map(|(_, saved)| saved).unwrap_or_default();
        saved.count_unwritten();
        saved
    }

    /// The file is another database's: kept if it holds `batches`.
    fn put_aside(&self, database: &Fingerprint, batches: usize) {
        let path = self.0.path.display();
        if batches == 0 {
            log::warn!("{path}: is of another database; starting without what it holds");
            return;
        }
        let name = self.name_of(database);
        match fs::rename(&self.0.path, &name) {
            Ok(()) => log::warn!(
                "{path}: is of another database, and holds counters that could not be written \
                 there: kept as {}, until the tracker runs on that database again",
                name.display()
            ),
            Err(error) => log::error!(
                "{path}: is of another database, and cannot be kept as {}: {error}",
                name.display()
            ),
        }
    }

    /// Where a file that is of `database` is kept while the tracker runs on another one.
    fn name_of(&self, database: &Fingerprint) -> PathBuf {
        self.0
            .path
            .with_extension(format!("state-{}", HEXLOWER.encode(&database.0[..NAMING_BYTES])))
    }

    /// Writes the file; whether it could be written, which is said once when it begins to fail.
    /// `records` is to call what it is given for each verdict.
    pub(super) fn save(
        &self,
        batches: &[Arc<Batch>],
        records: impl FnOnce(&mut dyn FnMut(&InfoHash, &Record)),
    ) -> bool {
        let outcome = self.replace(batches, records);
        let was_failing = self.0.failing.swap(outcome.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (&outcome, was_failing) {
            log::warn!(
                "{}: {error}; what is known of torrents will not outlive the process",
                self.0.path.display()
            );
        }
        outcome.is_ok()
    }

    fn replace(
        &self,
        batches: &[Arc<Batch>],
        records: impl FnOnce(&mut dyn FnMut(&InfoHash, &Record)),
    ) -> io::Result<()> {
        let beside = self.0.path.with_extension("state-new");
        let mut file = BufWriter::new(File::create(&beside)?);
        saved::write(&mut file, &self.0.database, batches, records)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&beside, &self.0.path)
    }
}

/// Reads a file; none when it is missing or cannot be read.
fn read(path: &Path) -> Option<(Fingerprint, Saved)> {
    let read = File::open(path).and_then(|file| saved::read(&mut BufReader::new(file)));
    if let Err(error) = &read
        && error.kind() != ErrorKind::NotFound
    {
        log::warn!("{}: {error}; starting without what it holds", path.display());
    }
    read.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;
    use crate::registry::database::NodeId;

    fn of(name: &str) -> Fingerprint {
        Fingerprint::of("test", name.as_bytes())
    }

    fn open(folder: &Path, database: &str) -> StateFile {
        StateFile::open(folder, of(database)).unwrap().unwrap()
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
    fn a_directory_is_one_trackers() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path(), "a");
        let refused = StateFile::open(folder.path(), of("b")).err().unwrap().to_string();
        assert!(
            refused.contains(folder.path().canonicalize().unwrap().to_str().unwrap()),
            "{refused}"
        );
        drop(first);
        open(folder.path(), "b");
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
        assert!(StateFile::open(Path::new("/nowhere"), of("a")).unwrap().is_none());
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
        assert_eq!((numbers(&of_a), of_a.records.len()), (vec![1], 1));
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
}
