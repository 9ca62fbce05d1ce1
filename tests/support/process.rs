//! Outside programs: found, started, listened to, ended.
//!
//! Owns: one child and what it has printed so far, both streams, line by line. The child is killed
//! by its own pid when its [`Running`] is dropped, whatever ended the test; a test that fails shows
//! everything its children printed.
//!
//! Limits: the environment of a child is empty but for what makes a program run, so neither a proxy
//! nor a user's settings come in.

use std::env;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_until};

/// Where programs are looked for after `PATH`: a plain user's often lacks the directories of the
/// system's tools.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// For the rest of an ended child's output; a grandchild may hold the streams open for longer.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// The path of an installed program. Never skips: a machine without it fails the test and learns
/// which package to install.
#[track_caller]
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: install the Debian package {package}"))
}

/// A command that inherits nothing but `PATH`, speaks English, and takes `home` for its working
/// directory and its user's home.
pub(crate) fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C.UTF-8")
        // Its default port can be one tracker's only.
        .env("ANNOUNCED_ADMIN__LISTEN", "127.0.0.1:0");
    command.env("HOME", home).current_dir(home);
    command
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stream {
    Out,
    Err,
}

#[derive(Default)]
struct Transcript {
    lines: Vec<(Stream, String)>,
    streams_open: usize,
}

#[derive(Default)]
struct Output {
    transcript: Mutex<Transcript>,
    changed: Condvar,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Transcript> {
        self.transcript.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(self: Arc<Self>, stream: Stream, bytes: impl Read + Send + 'static) {
        self.lock().streams_open += 1;
        thread::spawn(move || {
            // Bytes, not `lines()`: a client may print a peer id as it stands.
            for line in BufReader::new(bytes).split(b'\n').map_while(Result::ok) {
                self.lock().lines.push((stream, String::from_utf8_lossy(&line).into_owned()));
                self.changed.notify_all();
            }
            self.lock().streams_open -= 1;
            self.changed.notify_all();
        });
    }
}

/// A child process. Dropping it kills it.
pub(crate) struct Running {
    name: String,
    child: Child,
    output: Arc<Output>,
}

impl Running {
    /// Starts `command`, with all three standard streams in the test's hands.
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Running {
        let name = Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let end = Instant::now() + PATIENCE;
        let mut child = loop {
            match command.spawn() {
                // A program that this test has just written is still open in a process that
                // another test is starting.
                Err(error)
                    if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < end =>
                {
                    thread::yield_now();
                }
                child => {
                    break child.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
                }
            }
        };
        let output = Arc::new(Output::default());
        Arc::clone(&output).collect(Stream::Out, child.stdout.take().expect("stdout is piped"));
        Arc::clone(&output).collect(Stream::Err, child.stderr.take().expect("stderr is piped"));
        Running { name, child, output }
    }

    /// The first line on standard output, past or to come, of which `pick` makes something.
    #[track_caller]
    pub(crate) fn wait_line<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        self.wait_in(Stream::Out, what, pick)
    }

    /// The first line on standard error, past or to come, of which `pick` makes something.
    #[track_caller]
    pub(crate) fn wait_log<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        self.wait_in(Stream::Err, what, pick)
    }

    #[track_caller]
    fn wait_in<T>(&self, of: Stream, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let mut found = None;
        let waiting =
            self.output.changed.wait_timeout_while(self.output.lock(), PATIENCE, |transcript| {
                found = transcript
                    .lines
                    .iter()
                    .filter(|(stream, _)| *stream == of)
                    .find_map(|(_, line)| pick(line));
                found.is_none() && transcript.streams_open > 0
            });
        drop(waiting);
        found.unwrap_or_else(|| panic!("{} did not print {what}", self.name))
    }

    /// Sends `signal` to the child.
    pub(crate) fn signal(&self, signal: Signal) {
        // The child is reaped only through `self`, so its pid cannot have passed to another
        // process. One that has ended by itself is told by its exit status.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// The child's process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Writes to the child's standard input.
    #[track_caller]
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("stdin is not closed");
        stdin.write_all(bytes).expect("the child reads");
    }

    /// Ends the child's standard input.
    pub(crate) fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// How the child ended, with its whole transcript collected; panics when it still runs after
    /// `limit`.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        wait_until(limit, &format!("{} ends", self.name), || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        self.drain();
        status.expect("the wait ends with a status or a panic")
    }

    /// Lets the readers reach the end of what an ended child has printed.
    fn drain(&self) {
        drop(self.output.changed.wait_timeout_while(self.output.lock(), DRAIN_MAX, |transcript| {
            transcript.streams_open > 0
        }));
    }

    /// Everything printed so far, both streams in the order of arrival.
    pub(crate) fn transcript(&self) -> String {
        self.output
            .lock()
            .lines
            .iter()
            .map(|(stream, line)| format!("{} {stream:?}| {line}\n", self.name))
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.drain();
            eprint!("{}", self.transcript());
        }
    }
}
