//! The registry's file in the state directory.
//!
//! Owns: whose database the file is of. One that is of another database says nothing about this
//! one's torrents: if it holds counters that could not be written it is kept under another name,
//! and found again when the tracker runs on that database again. One that cannot be read is as good
//! as none, is said so, and is kept beside; where even that cannot be done it stays, and nothing is
//! saved in its place.
//!
//! Never: the form of the file, which is `saved`'s; how it is written, which is the directory's.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use data_encoding::HEXLOWER;

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::database::{Batch, Fingerprint};
use crate::registry::saved::{self, Saved};
use crate::state_directory::StateDirectory;

const NAME: &str = "announced.state";
/// Bytes of its fingerprint by which a file of another database is named.
const NAMING_BYTES: usize = 8;
/// What a record and the counter of its torrent take in the file, with a name of usual length.
const RECORD_BYTES: u64 = 35 + 60 + 33;
/// In which the room for it grows.
const RESERVE_STEP: u64 = 1 << 20;

/// See the module. Clones share the directory's lock.
#[derive(Clone)]
pub struct StateFile(Arc<Shared>);

struct Shared {
    directory: StateDirectory,
    database: Fingerprint,
    /// It could not be written when that was last tried.
    failing: AtomicBool,
    /// What is there has not been read, and could not be put aside.
    in_the_way: AtomicBool,
    /// Bytes on the disk that are kept for the next form of it.
    reserved: AtomicU64,
    /// There was no room for it when that was last tried.
    without_room: AtomicBool,
}

impl StateFile {
    /// The file in `directory` for a tracker on `database`.
    pub fn new(directory: StateDirectory, database: Fingerprint) -> StateFile {
        StateFile(Arc::new(Shared {
            directory,
            database,
            failing: AtomicBool::default(),
            in_the_way: AtomicBool::default(),
            reserved: AtomicU64::default(),
            without_room: AtomicBool::default(),
        }))
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
        let own = own.or_else(|| match self.0.in_the_way.load(Ordering::Relaxed) {
            true => None,
            false => directory.rename(&name_of(database), NAME).ok().and_then(|()| self.read()),
        });
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
        let error = match error.kind() {
            ErrorKind::UnexpectedEof => "is cut off".to_owned(),
            _ => error.to_string(),
        };
        match directory.set_aside(NAME) {
            Ok(kept) => log::warn!(
                "{}: {error}; kept as {}, starting without what it holds",
                path.display(),
                kept.display()
            ),
            Err(trouble) => {
                self.0.in_the_way.store(true, Ordering::Relaxed);
                log::error!(
                    "{}: {error}; starting without what it holds, and it cannot be put aside \
                     ({trouble}): nothing is saved until it is gone",
                    path.display()
                );
            }
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
            Err(error) => {
                self.0.in_the_way.store(true, Ordering::Relaxed);
                log::error!(
                    "{path}: is of another database, and cannot be kept as {}: {error}; nothing \
                     is saved until it is gone",
                    kept.display()
                );
            }
        }
    }

    /// Keeps room on the disk for a file of `records` records and as many counters. That there is
    /// none is said once.
    pub(super) fn reserve(&self, records: usize) {
        let Shared { directory, reserved, without_room, .. } = &*self.0;
        let bytes = (records as u64 * RECORD_BYTES).next_multiple_of(RESERVE_STEP) + RESERVE_STEP;
        if reserved.load(Ordering::Relaxed) >= bytes {
            return;
        }
        let outcome = directory.reserve(NAME, bytes);
        if outcome.is_ok() {
            reserved.store(bytes, Ordering::Relaxed);
        }
        let was_without = without_room.swap(outcome.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (outcome, was_without) {
            log::warn!(
                "{}: no room for {bytes} bytes can be kept: {error}; what is known of torrents \
                 may not outlive the process",
                directory.path_of(NAME).display()
            );
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
        let Shared { directory, database, failing, in_the_way, reserved, .. } = &*self.0;
        let outcome = match in_the_way.load(Ordering::Relaxed) {
            true => directory.set_aside(NAME).map(drop),
            false => Ok(()),
        };
        let outcome = outcome.and_then(|()| {
            in_the_way.store(false, Ordering::Relaxed);
            directory.replace(NAME, |file| saved::write(file, database, batches, records))
        });
        if outcome.is_ok() {
            reserved.store(0, Ordering::Relaxed);
        }
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
    use crate::state_directory::DAMAGED_FILES_MAX;

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

    type Damage = (&'static str, fn(&mut Vec<u8>));

    /// What may have become of a file's bytes.
    const DAMAGES: [Damage; 4] = [
        ("a flipped bit", |bytes| bytes[60] ^= 1),
        ("cut", |bytes| bytes.truncate(70)),
        ("empty", Vec::clear),
        ("newer", |bytes| bytes[17] = b'9'),
    ];

    #[test]
    fn a_damaged_file_is_kept_beside() {
        for (what, damage) in DAMAGES {
            let folder = tempfile::tempdir().unwrap();
            let file = open(folder.path(), "a");
            assert!(save(&file, Some(1)), "{what}");
            let path = folder.path().join(NAME);
            let mut bytes = fs::read(&path).unwrap();
            damage(&mut bytes);
            fs::write(&path, &bytes).unwrap();
            assert!(file.load().batches.is_empty(), "{what}: it is not believed");
            assert!(save(&file, Some(2)), "{what}");
            assert_eq!(numbers(&file.load()), [2], "{what}");
            let kept = folder.path().join(format!("{NAME}.damaged-1"));
            assert_eq!(fs::read(kept).unwrap(), bytes, "{what}: it is still there");
        }
    }

    #[test]
    fn a_file_that_can_be_neither_read_nor_put_aside_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, "no state").unwrap();
        let aside = |number| folder.path().join(format!("{NAME}.damaged-{number}"));
        for number in 1..=DAMAGED_FILES_MAX {
            fs::write(aside(number), "").unwrap();
        }
        let file = open(folder.path(), "a");
        assert!(file.load().records.is_empty(), "there is nothing to believe");
        assert!(!save(&file, Some(1)), "nothing is saved in its place");
        assert_eq!(fs::read_to_string(&path).unwrap(), "no state");
        fs::remove_file(aside(7)).unwrap();
        assert!(save(&file, Some(2)), "there is a name for it now");
        assert_eq!(fs::read_to_string(aside(7)).unwrap(), "no state");
        assert_eq!(numbers(&file.load()), [2]);
    }

    #[test]
    fn room_is_kept_for_what_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), "a");
        let kept = folder.path().join(format!("{NAME}-new"));
        let bytes = || fs::metadata(&kept).unwrap().len();
        file.reserve(0);
        assert_eq!(bytes(), RESERVE_STEP, "at the start");
        file.reserve(100_000);
        assert!(bytes() > 100_000 * RECORD_BYTES, "{} bytes for 100 000 records", bytes());
        assert!(save(&file, Some(1)));
        assert!(!kept.exists(), "the last save leaves nothing");
        file.reserve(0);
        assert_eq!(bytes(), RESERVE_STEP, "and the next one has room again");
    }
}
