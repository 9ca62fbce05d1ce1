//! The path of an SQLite file, and whether the file that was opened is still the one there.
//!
//! Processes that have a file open keep it when it is deleted or replaced: what they write is lost,
//! and they see an old list. Owns: the check of the path that finds this out, before each
//! transaction. Never: opens the file.
//!
//! SQLite takes the write-ahead log that lies beside a file for that file's. So a file that was put
//! in the place of another one is refused for as long as the other one's log is still there: what
//! it holds would be written into the new file.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// See the module.
pub(super) struct SqliteFile {
    path: PathBuf,
    opened: Option<Opened>,
}

/// What was opened last. ext4 gives the number of a file that is gone to the next one that is made,
/// maybe within the same tick of the clock that stamps both. So both files are held here: a file
/// that is held keeps its number, also when its name is gone and SQLite has closed it.
struct Opened {
    file: FileId,
    log: Option<FileId>,
    _held: [Option<File>; 2],
}

/// A file, by its device and its number there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    fn of(path: &Path) -> io::Result<FileId> {
        Ok(FileId::from(&fs::metadata(path)?))
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), number: metadata.ino() }
    }
}

/// A hold on a file that neither reads it nor, when it is dropped, takes SQLite's locks on it away,
/// as closing any ordinary descriptor of the file would.
fn hold(path: &Path) -> Option<(FileId, File)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).ok()?;
    let id = FileId::from(&file.metadata().ok()?);
    Some((id, file))
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
        let Some(opened) = &self.opened else { return Ok(Found { file, is_same: false }) };
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
        if found.is_same {
            return;
        }
        let file = hold(&self.path).filter(|(id, _)| *id == found.file).map(|(_, file)| file);
        let (log_id, log) = hold(&self.beside("-wal")).unzip();
        self.opened = Some(Opened { file: found.file, log: log_id, _held: [file, log] });
    }

    /// Whether there is a write-ahead log beside the file with something in it.
    pub(super) fn has_log(&self) -> bool {
        fs::metadata(self.beside("-wal")).is_ok_and(|log| log.len() > 0)
    }

    /// A URI by which SQLite reads the file without a lock or a log.
    pub(super) fn uri_as_it_stands(&self) -> OsString {
        let mut uri = OsString::from("file:");
        for byte in self.path.as_os_str().as_bytes() {
            match byte {
                b'%' | b'?' | b'#' => uri.push(format!("%{byte:02x}")),
                byte => uri.push(OsStr::from_bytes(&[*byte])),
            }
        }
        uri.push("?immutable=1");
        uri
    }

    /// What SQLite keeps beside the file.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_made_in_the_place_of_others_at_once_are_not_taken_for_those() {
        let home = tempfile::tempdir().unwrap();
        let mut place = SqliteFile::new(&home.path().join("announced.db"));
        let files = [place.path().to_owned(), place.beside("-wal")];
        files.iter().for_each(|file| fs::write(file, "").unwrap());
        for round in 0..20 {
            place.note_open(place.look().unwrap());
            assert!(place.look().unwrap().is_same, "round {round}: nothing was replaced");
            files.iter().for_each(|file| fs::remove_file(file).unwrap());
            files.iter().for_each(|file| fs::write(file, "").unwrap());
            match place.look() {
                Ok(found) => assert!(!found.is_same, "round {round}: the file was replaced"),
                Err(problem) => panic!("round {round}, and the log is not the old one: {problem}"),
            }
        }
    }
}
