//! The state directory: what outlives the process is kept there, and one tracker has the right to
//! it.
//!
//! Owns: the lock, as two trackers that save into one directory would lose each other's counters;
//! how a file is replaced: whole, written beside it and brought to the disk before it takes its
//! place, so that there is never half of it; where a damaged file goes, so that nothing is lost
//! that somebody could still read; room on the disk that is kept for a file's next form
//! ([`StateDirectory::reserve`]), so that a disk that has become full does not keep it from being
//! written; and checksums behind records, so that a flipped bit is found ([`RecordWriter`],
//! [`RecordReader`]).
//!
//! Never: the form or the meaning of a file, which is whose the file is. Never waits for what has
//! a file's name and is none, as a FIFO.
//!
//! Limits: [`DAMAGED_FILES_MAX`] damaged files of one name are kept.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;
use parking_lot::{RwLock, RwLockReadGuard};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::files;

const LOCK: &str = "announced.state.lock";
/// Kept of each name; past it, a damaged file stays where it is.
pub const DAMAGED_FILES_MAX: u32 = 100;

/// See the module. Clones share the lock, which lasts until one of them lets it go, the last of
/// them is dropped, or the process ends.
#[derive(Clone)]
pub struct StateDirectory(Arc<Locked>);

struct Locked {
    path: PathBuf,
    /// None when it was let go. Held by readers while something is changed in the directory.
    lock: RwLock<Option<File>>,
}

/// Why a directory cannot be a tracker's.
#[derive(Debug)]
pub enum Unfit {
    /// Another process has the lock.
    InUse(PathBuf),
    /// It is not there.
    Missing(PathBuf),
    /// It is something else than a directory.
    NoDirectory(PathBuf),
    /// The tracker's user may not write into it.
    Denied(PathBuf),
    /// What has the lock's name is no regular file.
    OddLock(PathBuf),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::InUse(path) => {
                write!(f, "another tracker uses server.state_directory {path:?}; give each its own")
            }
            Unfit::Missing(path)
            | Unfit::NoDirectory(path)
            | Unfit::Denied(path)
            | Unfit::OddLock(path) => {
                write!(f, "server.state_directory = {path:?}: {}", self.rule())
            }
        }
    }
}

impl std::error::Error for Unfit {}

impl Unfit {
    /// What is wrong with the directory, and what to do.
    pub fn rule(&self) -> String {
        match self {
            Unfit::InUse(_) => "another tracker uses it; give each its own".to_owned(),
            Unfit::Missing(path) => {
                format!("there is no such directory; make it: mkdir -p {}", in_shell(path))
            }
            Unfit::NoDirectory(_) => "is no directory".to_owned(),
            Unfit::Denied(path) => format!(
                "this user may not write there; as root: chown USER {}, with the user that the \
                 tracker runs as",
                in_shell(path)
            ),
            Unfit::OddLock(path) => {
                let lock = path.join(LOCK);
                format!("{LOCK} is no regular file; remove it: rm -r {}", in_shell(&lock))
            }
        }
    }

    fn of(path: &Path, error: &io::Error) -> Option<Unfit> {
        match error.kind() {
            ErrorKind::NotFound => Some(Unfit::Missing(path.to_owned())),
            ErrorKind::NotADirectory => Some(Unfit::NoDirectory(path.to_owned())),
            ErrorKind::PermissionDenied => Some(Unfit::Denied(path.to_owned())),
            ErrorKind::InvalidData => Some(Unfit::OddLock(path.to_owned())),
            _ => None,
        }
    }
}

/// A path as it is written in a shell.
pub fn in_shell(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@".contains(&byte);
    match path.bytes().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

impl StateDirectory {
    /// What is wrong with the directory at `path`, as far as can be seen without touching it.
    ///
    /// # Errors
    /// When it is not there, or no directory.
    pub fn look(path: &Path) -> Result<(), Unfit> {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => Err(Unfit::NoDirectory(path.to_owned())),
            Err(error) => Unfit::of(path, &error).map_or(Ok(()), Err),
            Ok(_) => Ok(()),
        }
    }

    /// Takes the directory at `path`. None, with a warning, where no file can be made though it may
    /// be: the disk is full, or can only be read.
    ///
    /// # Errors
    /// When another tracker has it, it is missing, or it may not be written to.
    pub fn open(path: &Path) -> Result<Option<StateDirectory>, Unfit> {
        let lock = path.join(LOCK);
        let mut options = File::options();
        options.create(true).write(true).truncate(false);
        let file = files::open_regular(&lock, &mut options).map_err(TryLockError::Error);
        match file.and_then(|file| file.try_lock().map(|()| file)) {
            Ok(file) => {
                let locked = Locked { path: path.to_owned(), lock: RwLock::new(Some(file)) };
                Ok(Some(StateDirectory(Arc::new(locked))))
            }
            Err(TryLockError::WouldBlock) => {
                Err(Unfit::InUse(path.canonicalize().unwrap_or_else(|_| path.to_owned())))
            }
            Err(TryLockError::Error(error)) => {
                if let Some(unfit) = Unfit::of(path, &error) {
                    return Err(unfit);
                }
                log::warn!(
                    "{}: {error}; what is known of torrents will not outlive the process",
                    lock.display()
                );
                Ok(None)
            }
        }
    }

    /// Lets the next process have the directory. From now on nothing is changed in it, whoever
    /// tries; what is being changed is waited for.
    pub fn let_go(&self) {
        *self.0.lock.write() = None;
    }

    /// Whether it is still this process's to change, for as long as what this gives is kept.
    fn held(&self) -> io::Result<RwLockReadGuard<'_, Option<File>>> {
        let lock = self.0.lock.read();
        let gone = || io::Error::other("the state directory has been let go");
        lock.is_some().then_some(lock).ok_or_else(gone)
    }

    /// Where a file of this name is.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.0.path.join(name)
    }

    /// A file to read; none when there is none.
    ///
    /// # Errors
    /// When it is there, and cannot be opened or is no regular file.
    pub fn read(&self, name: &str) -> io::Result<Option<BufReader<File>>> {
        match files::open_regular(&self.path_of(name), File::options().read(true)) {
            Ok(file) => Ok(Some(BufReader::new(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps room on the disk for the next form of a file, so that [`StateDirectory::replace`]
    /// needs none when the disk has become full: `bytes` of it. The room lies where that writes.
    ///
    /// # Errors
    /// When there is no room. A file system that cannot keep any is no error.
    pub fn reserve(&self, name: &str, bytes: u64) -> io::Result<()> {
        let _held = self.held()?;
        let path = self.path_of(&beside(name));
        let mut options = File::options();
        let file = open_beside(&path, options.create(true).write(true).truncate(false))?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => {
                if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                    let _ = fs::remove_file(&path);
                }
                Err(error.into())
            }
        }
    }

    /// Puts what `write` writes in the place of a file. When this returns without an error, it
    /// outlives a power cut.
    ///
    /// # Errors
    /// When that was not possible; until then the file is the old one.
    pub fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.replace_by(name, File::options().create(true), write)
    }

    /// As [`StateDirectory::replace`], for a file that only the tracker's own user may read.
    ///
    /// # Errors
    /// As [`StateDirectory::replace`].
    pub fn replace_private(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        // The mode counts for a file that is made: one that a power cut has left keeps its own.
        let _ = fs::remove_file(self.path_of(&beside(name)));
        self.replace_by(name, File::options().create_new(true).mode(0o600), write)
    }

    fn replace_by(
        &self,
        name: &str,
        options: &mut OpenOptions,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let _held = self.held()?;
        let beside = beside(name);
        let has_room = self.path_of(&beside).exists();
        let opened = open_beside(&self.path_of(&beside), options.write(true));
        let written = opened.and_then(|file| {
            let mut file = BufWriter::new(file);
            write(&mut file)?;
            file.flush()?;
            // What is behind it is room that was kept, or half a file that a power cut has left.
            let length = file.stream_position()?;
            file.get_ref().set_len(length)?;
            file.get_ref().sync_all()
        });
        if let Err(error) = written {
            // A disk that is full is not made fuller by it; room that was kept stays.
            if !has_room {
                let _ = fs::remove_file(self.path_of(&beside));
            }
            return Err(error);
        }
        self.rename_held(&beside, name)
    }

    /// Gives a file another name, in the place of one that has it.
    ///
    /// # Errors
    /// When there is no such file, or the directory cannot be written to.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let _held = self.held()?;
        self.rename_held(from, to)
    }

    fn rename_held(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path_of(from), self.path_of(to))?;
        File::open(&self.0.path)?.sync_all()
    }

    /// Gives a damaged file a name that nobody uses, so that it is not overwritten; which.
    ///
    /// # Errors
    /// When the directory cannot be written to, or [`DAMAGED_FILES_MAX`] are there.
    pub fn set_aside(&self, name: &str) -> io::Result<PathBuf> {
        let free = (1..=DAMAGED_FILES_MAX)
            .map(|number| format!("{name}.damaged-{number}"))
            .find(|name| fs::symlink_metadata(self.path_of(name)).is_err())
            .ok_or_else(|| io::Error::other("there are too many damaged files"))?;
        self.rename(name, &free)?;
        Ok(self.path_of(&free))
    }
}

/// Where a file is written before it takes its place.
fn beside(name: &str) -> String {
    format!("{name}-new")
}

fn open_beside(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    files::open_regular(path, options).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => io::Error::other(format!("{} {error}", path.display())),
        _ => error,
    })
}

/// Writes records, each with the checksum of its bytes behind it.
pub struct RecordWriter<W> {
    file: W,
    sum: Hasher,
}

impl<W: Write> RecordWriter<W> {
    /// Begins with the first record.
    pub fn new(file: W) -> RecordWriter<W> {
        RecordWriter { file, sum: Hasher::new() }
    }

    /// Ends a record.
    ///
    /// # Errors
    /// When its checksum cannot be written.
    pub fn end_record(&mut self) -> io::Result<()> {
        let sum = std::mem::take(&mut self.sum).finalize();
        self.file.write_all(&sum.to_le_bytes())
    }
}

impl<W: Write> Write for RecordWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads what a [`RecordWriter`] has written.
pub struct RecordReader<R> {
    file: R,
    /// None when the file has no checksums.
    sum: Option<Hasher>,
}

impl<R: Read> RecordReader<R> {
    /// Begins with the first record.
    pub fn new(file: R) -> RecordReader<R> {
        RecordReader { file, sum: Some(Hasher::new()) }
    }

    /// The file has turned out to be of a form without checksums.
    pub fn without_checksums(self) -> RecordReader<R> {
        RecordReader { sum: None, ..self }
    }

    /// Ends a record.
    ///
    /// # Errors
    /// When its checksum is missing, or another one than that of the bytes read.
    pub fn end_record(&mut self) -> io::Result<()> {
        let Some(sum) = &mut self.sum else { return Ok(()) };
        let read = std::mem::take(sum).finalize();
        let mut written = [0; 4];
        self.file.read_exact(&mut written)?;
        if u32::from_le_bytes(written) != read {
            return Err(io::Error::new(ErrorKind::InvalidData, "is damaged"));
        }
        Ok(())
    }
}

impl<R: Read> Read for RecordReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if let Some(sum) = &mut self.sum {
            sum.update(&buffer[..read]);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fifo;

    fn open(folder: &Path) -> StateDirectory {
        StateDirectory::open(folder).unwrap().unwrap()
    }

    fn put(directory: &StateDirectory, text: &str) -> io::Result<()> {
        directory.replace("a", |file| file.write_all(text.as_bytes()))
    }

    fn text(directory: &StateDirectory) -> Option<String> {
        directory.read("a").unwrap().map(|file| io::read_to_string(file).unwrap())
    }

    #[test]
    fn who_has_let_the_directory_go_changes_nothing_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let before = open(folder.path());
        put(&before, "before").unwrap();
        assert!(StateDirectory::open(folder.path()).is_err(), "it is taken");
        before.clone().let_go();
        let next = open(folder.path());
        put(&next, "next").unwrap();
        let changes = [
            ("replace", put(&before, "late")),
            ("rename", before.rename("a", "b")),
            ("reserve", before.reserve("a", 4_096)),
            ("set aside", before.set_aside("a").map(drop)),
        ];
        for (what, outcome) in changes {
            let error = outcome.expect_err(what).to_string();
            assert_eq!(error, "the state directory has been let go", "{what}");
        }
        assert_eq!(fs::read_to_string(next.path_of("a")).unwrap(), "next");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 2, "the file and the lock: {names:?}");
    }

    #[test]
    fn a_directory_is_one_trackers() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path());
        let second = first.clone();
        drop(first);
        let refused =
            StateDirectory::open(folder.path()).err().expect("a clone has it").to_string();
        let named = folder.path().canonicalize().unwrap();
        assert!(refused.contains(named.to_str().unwrap()), "{refused}");
        drop(second);
        open(folder.path());
    }

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(folder.path());
        assert_eq!(text(&directory), None, "there is none yet");
        put(&directory, "one").unwrap();
        put(&directory, "two").unwrap();
        let failed = directory.replace("a", |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err(), "the error is the caller's");
        assert_eq!(text(&directory).as_deref(), Some("two"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the file and the lock");
    }

    #[test]
    fn a_directory_that_is_missing_or_none_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "").unwrap();
        for (name, rule) in [
            (
                "new",
                format!(
                    "there is no such directory; make it: mkdir -p {}",
                    folder.path().join("new").display()
                ),
            ),
            (
                "it's new",
                format!(
                    "there is no such directory; make it: mkdir -p '{}/it'\\''s new'",
                    folder.path().display()
                ),
            ),
            ("file", "is no directory".to_owned()),
        ] {
            let expected = format!("server.state_directory = {:?}: {rule}", path(name));
            let looked = StateDirectory::look(&path(name)).unwrap_err();
            assert_eq!(looked.to_string(), expected, "a look at {name:?}");
            let opened = StateDirectory::open(&path(name)).err().expect("it is unfit");
            assert_eq!(opened.to_string(), expected, "the start in {name:?}");
        }
        StateDirectory::look(folder.path()).unwrap();
    }

    /// Blocks that a file has on the disk, in bytes, and which file it is.
    fn room(path: &Path) -> (u64, u64) {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path).unwrap();
        (512 * metadata.blocks(), metadata.ino())
    }

    #[test]
    fn what_is_written_takes_the_room_that_was_kept_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(folder.path());
        let kept = folder.path().join("a-new");
        for (round, text_of_round) in ["one", "three", "two"].into_iter().enumerate() {
            directory.reserve("a", 100_000).unwrap();
            let (bytes, file) = room(&kept);
            assert!(bytes >= 100_000, "round {round}: {bytes} bytes are kept");
            let failed = directory.replace("a", |_| Err(io::Error::other("no more")));
            assert!(failed.is_err(), "round {round}: the error is the caller's");
            assert_eq!(room(&kept), (bytes, file), "round {round}: the room stays");
            put(&directory, text_of_round).unwrap();
            assert_eq!(text(&directory).as_deref(), Some(text_of_round), "round {round}");
            assert_eq!(room(&folder.path().join("a")).1, file, "round {round}: the file written");
            assert!(!kept.exists(), "round {round}: what is not needed is given back");
        }
    }

    #[test]
    fn a_directory_that_goes_is_borne() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(folder.path());
        folder.close().unwrap();
        assert!(put(&directory, "one").is_err());
        assert_eq!(text(&directory), None);
    }

    #[test]
    fn damaged_files_are_kept_beside_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let directory = open(folder.path());
        assert!(directory.set_aside("a").is_err(), "there is none");
        for number in 1..=2 {
            put(&directory, &number.to_string()).unwrap();
            let kept = directory.set_aside("a").unwrap();
            assert_eq!(kept, folder.path().join(format!("a.damaged-{number}")));
            assert_eq!(fs::read_to_string(kept).unwrap(), number.to_string());
        }
        assert_eq!(text(&directory), None);
    }

    /// Whoever opened a FIFO would wait for ever.
    #[test]
    fn what_is_no_regular_file_is_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fifo::make(&path(LOCK));
        let refused = StateDirectory::open(folder.path()).err().expect("its lock is a FIFO");
        let rule = format!(
            "server.state_directory = {:?}: announced.state.lock is no regular file; remove it: rm \
             -r {}",
            folder.path(),
            path(LOCK).display()
        );
        assert_eq!(refused.to_string(), rule);
        fs::remove_file(path(LOCK)).unwrap();
        let directory = open(folder.path());
        fifo::make(&path("a"));
        let problem = directory.read("a").expect_err("it is a FIFO");
        assert_eq!(problem.to_string(), "is no regular file");
        directory.set_aside("a").unwrap();
        put(&directory, "one").unwrap();
        fifo::make(&path("a-new"));
        let odd = format!("{} is no regular file", path("a-new").display());
        let problems = [put(&directory, "two"), directory.reserve("a", 1)];
        for problem in problems {
            assert_eq!(problem.unwrap_err().to_string(), odd, "where the next form is written");
        }
        assert_eq!(text(&directory).as_deref(), Some("one"), "the form before stays");
    }

    #[test]
    fn any_flipped_bit_of_a_record_is_found() {
        let mut file = Vec::new();
        let mut writer = RecordWriter::new(&mut file);
        for record in [b"first".as_slice(), b"", b"third"] {
            writer.write_all(record).unwrap();
            writer.end_record().unwrap();
        }
        let read = |file: &[u8]| {
            let mut reader = RecordReader::new(file);
            for length in [5, 0, 5] {
                reader.read_exact(&mut vec![0; length])?;
                reader.end_record()?;
            }
            io::Result::Ok(())
        };
        read(&file).unwrap();
        for bit in 0..8 * file.len() {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged).is_err(), "bit {bit} is flipped");
        }
    }
}
