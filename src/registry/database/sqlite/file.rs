//! The path of an SQLite file, and whether the file that was opened is still the one there.
//!
//! Processes that have a file open keep it when it is deleted or replaced: what they write is lost,
//! and they see an old list. Owns: the check of the path that finds this out, before each
//! transaction. Never: opens the file.
//!
//! SQLite takes the write-ahead log that lies beside a file for that file's. So a file that was put
//! in the place of another one is refused for as long as the other one's log is still there: what
//! it holds would be written into the new file.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// See the module.
pub(super) struct SqliteFile {
    path: PathBuf,
    opened: Option<Opened>,
}

/// What was opened last.
#[derive(Clone, Copy)]
struct Opened {
    file: FileId,
    log: Option<FileId>,
}

/// A file, by its device and its number there. A number is given out again once its file is gone,
/// so the time the file was made belongs to it, where the file system keeps that.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    number: u64,
    made: Option<SystemTime>,
}

impl FileId {
    fn of(path: &Path) -> io::Result<FileId> {
        let metadata = fs::metadata(path)?;
        let made = metadata.created().ok();
        Ok(FileId { device: metadata.dev(), number: metadata.ino(), made })
    }
}

/// A file that may be asked.
#[derive(Clone, Copy)]
pub(super) struct Found {
    file: FileId,
    /// It is the one that was opened last.
    pub(super) is_same: bool,
}

impl SqliteFile {
    pub(super) fn new(path: &Path) -> SqliteFile {
        SqliteFile { path: path.to_owned(), opened: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Which file is there now.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub(super) fn look(&self) -> Result<Found, String> {
        let file = FileId::of(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound if self.opened.is_some() => {
                "is gone; restore it, or start the tracker anew to have an empty one made"
                    .to_owned()
            }
            ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        })?;
        let Some(opened) = self.opened else { return Ok(Found { file, is_same: false }) };
        let log = self.beside("-wal");
        if file != opened.file && opened.log.is_some() && FileId::of(&log).ok() == opened.log {
            let (log, index) = (log.display(), self.beside("-shm"));
            return Err(format!(
                "was replaced, and {log} beside it is still the old one's; remove that and {}",
                index.display()
            ));
        }
        Ok(Found { file, is_same: file == opened.file })
    }

    /// Takes note that what was found is open now. It was looked at before it was opened: if it has
    /// been replaced in between, the next look finds that out.
    pub(super) fn note_open(&mut self, found: Found) {
        if !found.is_same {
            self.opened =
                Some(Opened { file: found.file, log: FileId::of(&self.beside("-wal")).ok() });
        }
    }

    /// What SQLite keeps beside the file.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }
}
