//! An upgrade: another process of the program takes this one's place, and no client notices.
//!
//! Owns: the start of the successor, and what the two say to each other. The successor gets all
//! sockets. It checks settings, database and sockets, says [`READY`], and waits. This process then
//! stops serving, saves, lets the state directory go, and says [`GO`]. What comes meanwhile waits
//! in the sockets. Where this process ends without a word, the channel ends, which means the same.
//!
//! The program is started by the path that it was started by itself, so that a newer file in that
//! place is what runs: /proc/self/exe would name the old one.
//!
//! Never: serves, or touches the state directory.
//!
//! Limits: a successor that is not ready after [`READY_MAX`] is ended.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf, absolute};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};

use announced::server::HandedSocket;

use crate::inherited::{CHANNEL, OF_ONE_PROCESS, UPGRADE_VARIABLE};

/// How long a successor may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(10);
/// How long the end of a process may take that has closed the channel, and how often to look.
const END_MAX: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The successor could start.
const READY: &[u8] = b"ready\n";
/// The state directory is the successor's.
const GO: &[u8] = b"go\n";

/// How this process was started.
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// This one. To be called before anything changes the working directory.
    pub(crate) fn of_this_process() -> Program {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let path = located(&name, &env::var_os("PATH").unwrap_or_default())
            .or_else(|| env::current_exe().ok());
        Program { path: path.unwrap_or_else(|| name.into()), arguments: arguments.collect() }
    }
}

/// The absolute path of a program that was started as `name`, as a shell finds it.
fn located(name: &OsStr, search: &OsStr) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return absolute(name).ok();
    }
    let found = env::split_paths(search).map(|folder| folder.join(name));
    found.filter_map(|path| absolute(path).ok()).find(|path| path.is_file())
}

/// A process that is to take this one's place. Dropping it ends it, unless it was told to go on.
pub(crate) struct Successor {
    process: Option<Child>,
    channel: UnixStream,
}

impl Successor {
    /// Starts it.
    ///
    /// # Errors
    /// One line that says what was not possible.
    pub(crate) fn start(
        program: &Program,
        sockets: Vec<HandedSocket>,
    ) -> Result<Successor, String> {
        let (channel, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        let words: Vec<String> = sockets.iter().map(HandedSocket::word).collect();
        let descriptors = std::iter::once(theirs.into()).chain(sockets.into_iter().map(Into::into));
        let mappings = descriptors.zip(CHANNEL..);
        let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env(UPGRADE_VARIABLE, words.join(" "));
        OF_ONE_PROCESS.iter().for_each(|name| _ = command.env_remove(name));
        command.fd_mappings(mappings.collect()).map_err(|error| error.to_string())?;
        let process = command.spawn();
        let process = process.map_err(|error| failed_to_run(&program.path, &error))?;
        Ok(Successor { process: Some(process), channel })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// What is to be waited for until it is ready.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn readiness(&self) -> Result<Readiness, String> {
        self.channel.try_clone().map(Readiness).map_err(|error| error.to_string())
    }

    /// Why it is not ready.
    pub(crate) fn failure(&mut self, heard: Heard) -> String {
        match (heard, self.status()) {
            (_, Some(status)) => format!("it ended with {status}"),
            (Heard::Nothing, None) => format!("it was not ready within {} s", READY_MAX.as_secs()),
            _ => "it does not speak to this process".to_owned(),
        }
    }

    /// How it ended, if it did: its end of the channel is closed a moment before.
    fn status(&mut self) -> Option<ExitStatus> {
        let end = Instant::now() + END_MAX;
        loop {
            let status = self.process.as_mut().and_then(|process| process.try_wait().ok())?;
            if status.is_some() || Instant::now() >= end {
                return status;
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Tells it that everything is its own now.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn go(mut self) -> Result<(), String> {
        self.channel.write_all(GO).map_err(|error| format!("the successor is gone: {error}"))?;
        // It goes on when this process ends.
        self.process = None;
        Ok(())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // One that has ended already is only to be waited for.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The sign that a successor could start.
pub(crate) struct Readiness(UnixStream);

impl Readiness {
    /// Waits for it.
    pub(crate) fn wait(mut self) -> Heard {
        hear(&mut self.0, READY, READY_MAX)
    }
}

fn failed_to_run(path: &Path, error: &std::io::Error) -> String {
    format!("cannot run {}: {error}", path.display())
}

/// The process whose place this one is to take.
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// At the other end of a channel.
    pub(crate) fn new(channel: UnixStream) -> Predecessor {
        Predecessor(channel)
    }

    /// Tells it that this process could start. One that has gone needs no telling.
    pub(crate) fn say_ready(&mut self) {
        let _ = self.0.write_all(READY);
    }

    /// Waits until the state directory is this process's: it says so, or ends.
    pub(crate) fn wait_go(mut self) {
        while let Heard::Nothing = hear(&mut self.0, GO, READY_MAX) {}
    }
}

/// What came over a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// What was to come.
    Word,
    /// The other process has closed the channel, or said something else.
    End,
    /// Nothing, or too little, in the time for it.
    Nothing,
}

/// Waits for a word, for `limit` at most.
fn hear(channel: &mut UnixStream, word: &[u8], limit: Duration) -> Heard {
    let end = Instant::now() + limit;
    let mut said = Vec::new();
    while said.len() < word.len() {
        let left = end.saturating_duration_since(Instant::now());
        // A limit of zero would be none.
        if left.is_zero() || channel.set_read_timeout(Some(left)).is_err() {
            return Heard::Nothing;
        }
        let mut bytes = [0; 16];
        match channel.read(&mut bytes) {
            Ok(0) => return Heard::End,
            Ok(count) => {
                said.extend_from_slice(&bytes[..count]);
                if !word.starts_with(&said) {
                    return Heard::End;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
            Err(_) => return Heard::End,
        }
    }
    Heard::Word
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("announced");
        fs::write(&program, "").unwrap();
        let search = env::join_paths(["/nowhere".as_ref(), folder.path()]).unwrap();
        let here = env::current_dir().unwrap();
        let rows = [
            ("/usr/bin/announced", Some("/usr/bin/announced".into())),
            ("./announced", Some(here.join("announced"))),
            ("target/announced", Some(here.join("target/announced"))),
            ("announced", Some(program)),
            ("another", None),
        ];
        for (name, expected) in rows {
            assert_eq!(located(name.as_ref(), &search), expected, "{name}");
        }
    }

    #[test]
    fn a_word_is_heard_whole_or_not_at_all() {
        let limit = Duration::from_millis(50);
        let rows: [(&str, &[&[u8]], bool, Heard); 5] = [
            ("at once", &[READY], true, Heard::Word),
            ("in two pieces", &[b"rea", b"dy\n"], true, Heard::Word),
            ("half of it", &[b"rea"], true, Heard::Nothing),
            ("half of it, then the end", &[b"rea"], false, Heard::End),
            ("something else", &[b"no\n"], true, Heard::End),
        ];
        for (what, pieces, stays, expected) in rows {
            let (mut own, mut other) = UnixStream::pair().unwrap();
            pieces.iter().for_each(|piece| other.write_all(piece).unwrap());
            let other = stays.then_some(other);
            assert_eq!(hear(&mut own, READY, limit), expected, "{what}");
            drop(other);
        }
    }
}
