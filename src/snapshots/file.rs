//! The file of the snapshot.
//!
//! Owns: what is done about a file that is cut, damaged or of a newer form, and how often the
//! counts of one are taken over. Downloads that only the last process knew of are to be written to
//! the database by the next one, but by no other: that they have been taken over is noted beside
//! the file before they are. After a crash, of which a snapshot is left that is not the last word,
//! they are only shown.
//!
//! Never: holds a lock, or more than one block.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::state_directory::StateDirectory;
use crate::swarm::{
    BLOCK_BYTES, BlockFault, SOURCE_BYTES, SnapshotBlock, SnapshotHead, SnapshotTotals,
};

const NAME: &str = "announced.swarms";
/// Holds the id of the snapshot whose counts were taken over last.
const TAKEN_NAME: &str = "announced.swarms-taken";
/// Damaged blocks that get a line of their own.
const NAMED_MAX: u32 = 8;

/// See the module.
pub(super) struct SnapshotFile {
    directory: StateDirectory,
    source: [u8; SOURCE_BYTES],
    /// What is there could not be opened, nor put aside: nothing is saved in its place.
    in_the_way: AtomicBool,
}

impl SnapshotFile {
    /// The file in `directory` of a tracker on the database that `source` tells from others.
    pub(super) fn new(directory: StateDirectory, source: [u8; SOURCE_BYTES]) -> SnapshotFile {
        SnapshotFile { directory, source, in_the_way: AtomicBool::default() }
    }

    /// Calls `take` with each block that can be read, and whether its counts are still to be
    /// written. False when there is no file to take anything from.
    pub(super) fn load(&self, mut take: impl FnMut(&SnapshotBlock<'_>, Origin)) -> bool {
        let mut file = match self.directory.read(NAME) {
            Ok(Some(file)) => file,
            Ok(None) => return false,
            Err(error) => {
                self.set_aside(&error);
                return false;
            }
        };
        let (mut bytes, mut offset) = (vec![0; BLOCK_BYTES], 0);
        let mut end = End { is_open: true, is_damaged: false, damaged: 0 };
        let mut origin = None;
        loop {
            let length = match read_block(&mut file, &mut bytes) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => {
                    log::warn!("{}: {error}; what is behind byte {offset} is lost", self.path());
                    return true;
                }
            };
            match SnapshotBlock::decode(&bytes[..length]) {
                Ok(block) => {
                    let origin = *origin.get_or_insert_with(|| self.origin_of(&block.head));
                    take(&block, origin);
                    end.note_block(block.is_last);
                }
                Err(BlockFault::Newer(version)) if offset == 0 => {
                    self.put_aside(version);
                    return false;
                }
                Err(_) => self.note_damage(&mut end, offset, length),
            }
            offset += length as u64;
        }
        self.note_end(&end, offset);
        true
    }

    /// The file cannot be opened, or is something else than a file.
    fn set_aside(&self, error: &io::Error) {
        match self.directory.set_aside(NAME) {
            Ok(kept) => log::warn!(
                "{}: {error}; kept as {}, starting without the peers in it",
                self.path(),
                kept.display()
            ),
            Err(trouble) => {
                self.in_the_way.store(true, Ordering::Relaxed);
                log::error!(
                    "{}: {error}; starting without the peers in it, and it cannot be put aside \
                     ({trouble}): no peers are saved in this run",
                    self.path()
                );
            }
        }
    }

    fn note_damage(&self, end: &mut End, offset: u64, length: usize) {
        end.damaged += 1;
        end.is_open = true;
        end.is_damaged = true;
        if end.damaged <= NAMED_MAX {
            log::warn!(
                "{}: bytes {offset} to {} are damaged; the peers in them are left out",
                self.path(),
                offset + length as u64
            );
        }
    }

    fn note_end(&self, end: &End, offset: u64) {
        if end.damaged > NAMED_MAX {
            log::warn!("{}: {} parts are damaged in all", self.path(), end.damaged);
        }
        if end.is_open && !end.is_damaged {
            log::warn!("{}: is cut off at byte {offset}; what it holds is kept", self.path());
        }
    }

    fn origin_of(&self, head: &SnapshotHead) -> Origin {
        let same_database = head.source == self.source;
        let counts_are_new = same_database && head.is_final && self.take_counts(head.id);
        Origin { same_database, counts_are_new }
    }

    /// Notes that the counts of the snapshot of this id are taken over. False when they have been
    /// before, or that could not be noted.
    fn take_counts(&self, id: u64) -> bool {
        let mut taken = Vec::new();
        let note = format!("{id:016x}\n");
        let read = self.directory.read(TAKEN_NAME).and_then(|file| match file {
            Some(file) => file.take(note.len() as u64).read_to_end(&mut taken),
            None => Ok(0),
        });
        if read.is_ok() && taken == note.as_bytes() {
            return false;
        }
        let written =
            self.directory.replace_private(TAKEN_NAME, |file| file.write_all(note.as_bytes()));
        if let Err(error) = &written {
            log::warn!(
                "{}: {error}; downloads that were not written to a database are only shown",
                self.directory.path_of(TAKEN_NAME).display()
            );
        }
        written.is_ok()
    }

    /// The file is of a newer form: whoever goes back to the newer program finds it.
    fn put_aside(&self, version: u16) {
        let name = format!("{NAME}.version-{version}");
        let kept = self.directory.path_of(&name);
        match self.directory.rename(NAME, &name) {
            Ok(()) => log::warn!(
                "{}: is of version {version}, which is newer than this program; kept as {}, \
                 starting without the peers in it",
                self.path(),
                kept.display()
            ),
            Err(error) => log::warn!(
                "{}: is of version {version}, which is newer than this program, and cannot be \
                 kept as {}: {error}; starting without the peers in it",
                self.path(),
                kept.display()
            ),
        }
    }

    /// What is in the file of the next snapshot.
    pub(super) fn head(&self, id: u64, is_final: bool, peer_ids: bool) -> SnapshotHead {
        SnapshotHead { id, source: self.source, is_final, peer_ids }
    }

    /// Puts what `write` writes in the place of the last snapshot, whole or not at all. Nobody else
    /// may read it: it says who shares what.
    pub(super) fn replace(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<SnapshotTotals>,
    ) -> io::Result<SnapshotTotals> {
        if self.in_the_way.load(Ordering::Relaxed) {
            return Err(io::Error::other("is in the way of the peers"));
        }
        let mut totals = SnapshotTotals::default();
        self.directory.replace_private(NAME, |file| {
            totals = write(file)?;
            Ok(())
        })?;
        Ok(totals)
    }

    /// Where it is, for the log.
    pub(super) fn path(&self) -> String {
        self.directory.path_of(NAME).display().to_string()
    }
}

/// What is known of the process that wrote a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// It was on the database of this one.
    pub(super) same_database: bool,
    /// What only it counted has not been taken over yet.
    pub(super) counts_are_new: bool,
}

/// How a file ended.
struct End {
    damaged: u32,
    /// The last block says that another follows.
    is_open: bool,
    /// The last block is damaged.
    is_damaged: bool,
}

impl End {
    fn note_block(&mut self, is_last: bool) {
        self.is_open = !is_last;
        self.is_damaged = false;
    }
}

/// Reads a block, or what there is of it; how many bytes.
fn read_block(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::ids::Millis;
    use crate::swarm::{Chosen, Newcomer, SnapshotSaver, Store, StoreSettings};
    use crate::tests::announcement::{self, open_at};

    const SOURCE: [u8; SOURCE_BYTES] = [3; SOURCE_BYTES];

    fn open(folder: &Path, source: [u8; SOURCE_BYTES]) -> SnapshotFile {
        SnapshotFile::new(StateDirectory::open(folder).unwrap().unwrap(), source)
    }

    /// Saves a store with so many peers in one torrent.
    fn save(file: &SnapshotFile, id: u64, is_final: bool, peers: u32) {
        let store = Store::new(StoreSettings { peer_ids: true }, 5);
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        for peer in 0..peers {
            let announce = announcement::of(1, peer);
            let newcomer = Newcomer::without_list(&announce);
            store.enter(&newcomer, open_at(Millis(0)), &mut rng, &mut chosen);
        }
        let head = file.head(id, is_final, true);
        let outcome = file.replace(|file| {
            let mut write = |block: &[u8]| file.write_all(block);
            let mut saver = SnapshotSaver::new(head);
            while !saver.is_over() {
                saver.copy(&store);
                saver.encode(Millis(0), 0, &mut write)?;
            }
            saver.finish(Millis(0), 0, &mut write)
        });
        assert_eq!(outcome.unwrap().peers, u64::from(peers), "peers that were saved");
    }

    /// How many peers can be read, and where they come from.
    fn load(file: &SnapshotFile) -> (usize, Vec<Origin>) {
        let (mut peers, mut origins) = (0, Vec::new());
        file.load(|block, origin| {
            peers += block.torrents().map(|torrent| torrent.peers().count()).sum::<usize>();
            origins.push(origin);
        });
        (peers, origins)
    }

    #[test]
    fn the_counts_of_a_last_word_on_the_same_database_are_taken_over_once() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [
            ("no last word", 1, false, SOURCE, (true, false)),
            ("another database's", 2, true, [4; SOURCE_BYTES], (false, false)),
            ("a last word", 2, true, SOURCE, (true, true)),
            ("the same again", 2, true, SOURCE, (true, false)),
            ("another last word", 3, true, SOURCE, (true, true)),
            ("an older one again", 2, true, SOURCE, (true, true)),
        ];
        for (name, id, is_final, source, (same_database, counts_are_new)) in rows {
            save(&open(folder.path(), SOURCE), id, is_final, 4_000);
            let (peers, origins) = load(&open(folder.path(), source));
            assert_eq!(peers, 4_000, "{name}: peers");
            // Two blocks, which are one snapshot.
            let origin = Origin { same_database, counts_are_new };
            assert_eq!(origins, [origin, origin], "{name}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_empty_is_nothing_to_start_with() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), SOURCE);
        assert!(!file.load(|_, _| panic!("there is nothing")), "there is no file");
        fs::write(folder.path().join(NAME), b"").unwrap();
        assert_eq!(load(&file), (0, Vec::new()), "the file is empty");
        fs::write(folder.path().join(NAME), vec![7; 3 * BLOCK_BYTES]).unwrap();
        assert_eq!(load(&file), (0, Vec::new()), "the file is none of the tracker's");
    }

    #[test]
    fn a_snapshot_that_is_given_up_leaves_the_last_one_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path(), SOURCE);
        save(&file, 1, true, 100);
        let before = fs::read(folder.path().join(NAME)).unwrap();
        let outcome = file.replace(|file| {
            file.write_all(&before[..50])?;
            Err(io::Error::other("given up"))
        });
        assert!(outcome.is_err(), "it says so");
        assert_eq!(fs::read(folder.path().join(NAME)).unwrap(), before, "the last one");
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "the snapshot and the lock");
    }
}
