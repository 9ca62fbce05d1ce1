//! Files by name, where something else than a file may have the name.
//!
//! To open a FIFO waits for somebody at its other end, and to read from one waits for what they
//! say: a thread that does so by mistake stands still. Owns: opening without waiting, the check
//! that what was opened is a regular file, and reading a text of it; or from a pipe that is meant
//! to be read, within a time.
//!
//! Never: makes, locks or removes a file.
//!
//! Limits: the caller's for the bytes of a text; [`SILENCE_S_MAX`] for each piece of a pipe's.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// For so long a pipe's next byte is waited for: it may come from a program that decrypts, or asks
/// another machine.
pub const SILENCE_S_MAX: i64 = 60;

/// Opens a regular file by the `options`; symbolic links are followed.
///
/// # Errors
/// When there is none, it is something else, or it cannot be opened.
pub fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Whoever opens a FIFO or a socket without waiting is told of a missing device.
    let opened = open_at_once(path, options);
    match opened.as_ref().map_or_else(|_| path.metadata(), File::metadata) {
        Ok(metadata) if !metadata.is_file() => {
            Err(io::Error::new(ErrorKind::InvalidData, "is no regular file"))
        }
        Ok(_) | Err(_) => opened,
    }
}

/// The text of a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// As [`open_regular`]; when it is larger, or no text.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let file = open_regular(path, OpenOptions::new().read(true))?;
    let bytes = file.take(bytes_max + 1).read_to_string(&mut text)?;
    if bytes as u64 > bytes_max {
        return Err(io::Error::other(format!("larger than {bytes_max} bytes")));
    }
    Ok(text)
}

fn open_at_once(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(libc::O_NONBLOCK).open(path)
}

/// Whatever has a file's name, to be read from the beginning to the end: what comes through a pipe
/// is waited for, but not who opens its other end.
pub struct Patient(File);

impl Patient {
    /// Opens it.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Patient> {
        open_at_once(path, OpenOptions::new().read(true)).map(Patient)
    }

    /// Whether it is a regular file.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_regular(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.is_file())
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&self.0)?,
                read => return read,
            }
        }
    }
}

fn wait(file: &File) -> io::Result<()> {
    let limit = Timespec { tv_sec: SILENCE_S_MAX, tv_nsec: 0 };
    match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&limit)) {
        Ok(0) => {
            let silence = format!("nothing came from it for {SILENCE_S_MAX} seconds");
            Err(io::Error::new(ErrorKind::TimedOut, silence))
        }
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::thread;

    use super::*;
    use crate::tests::fifo;

    const BYTES_MAX: u64 = 100;

    /// A folder with one of each kind.
    fn folder() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let path = move |name: &str| root.join(name);
        fs::write(path("file"), "text").unwrap();
        fs::write(path("empty"), "").unwrap();
        fs::write(path("long"), "x".repeat(101)).unwrap();
        fs::create_dir(path("directory")).unwrap();
        fifo::make(&path("fifo"));
        UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        std::os::unix::fs::symlink("fifo", path("link to a fifo")).unwrap();
        (folder, path)
    }

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let (_folder, path) = folder();
        let odd = Err("is no regular file".to_owned());
        let rows = [
            ("file", Ok("text".to_owned())),
            ("link", Ok("text".to_owned())),
            ("empty", Ok(String::new())),
            ("long", Err("larger than 100 bytes".to_owned())),
            ("none", Err("No such file or directory (os error 2)".to_owned())),
            ("directory", odd.clone()),
            ("fifo", odd.clone()),
            ("link to a fifo", odd.clone()),
            ("socket", odd.clone()),
            ("/dev/null", odd.clone()),
        ];
        for (name, expected) in rows {
            let read = read_text(&path(name), BYTES_MAX).map_err(|error| error.to_string());
            assert_eq!(read, expected, "{name} is read");
        }
        for name in ["directory", "fifo", "socket"] {
            let opened = open_regular(&path(name), OpenOptions::new().write(true).create(true));
            let problem = opened.map(drop).map_err(|error| error.to_string());
            assert_eq!(problem, odd.clone().map(drop), "{name} is written");
        }
    }

    #[test]
    fn what_comes_through_a_pipe_is_waited_for() {
        let (readable, mut writable) = io::pipe().unwrap();
        let name = PathBuf::from(format!("/dev/fd/{}", readable.as_raw_fd()));
        // More than a pipe holds, so that each end waits for the other.
        let text = "0123456789".repeat(30_000);
        let bytes = text.clone();
        let writer = thread::spawn(move || writable.write_all(bytes.as_bytes()).unwrap());
        let mut pipe = Patient::open(&name).unwrap();
        assert!(!pipe.is_regular().unwrap(), "it is a pipe");
        let read = io::read_to_string(&mut pipe).unwrap();
        assert!(read == text, "{} bytes were written, {} read", text.len(), read.len());
        writer.join().unwrap();
    }
}
