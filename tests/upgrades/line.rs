//! A tracker and its successors.
//!
//! Owns: which process serves now. The first one is the test's child; the others are children of
//! their predecessors, and write to the same streams. Dropping it kills the one that serves.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, set_child_subreaper, waitpid,
};

use crate::support::process::{Running, command};
use crate::support::{PATIENCE, wait_until};

/// The built program.
pub(crate) fn built() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_announced"))
}

/// See the module.
pub(crate) struct Line {
    running: Running,
    /// The process that serves.
    pub(crate) pid: Pid,
    /// Where it listens, over TCP and UDP.
    pub(crate) address: SocketAddr,
    /// Every process so far.
    pids: BTreeSet<i32>,
}

impl Line {
    /// Starts the first: `command` with the settings of the file in `home`.
    #[track_caller]
    pub(crate) fn start(mut command: Command, home: &Path) -> Line {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string();
        command.args(["--listen", &listen]);
        Line::start_by_settings(command, home)
    }

    /// The same with the addresses of the settings file.
    #[track_caller]
    pub(crate) fn start_by_settings(mut command: Command, home: &Path) -> Line {
        // A successor whose predecessor has ended is the test's to wait for.
        set_child_subreaper(Some(rustix::process::getpid())).expect("it is always possible");
        command.arg("--config").arg(settings_file(home));
        let running = Running::start(command);
        let address = running
            .wait_line("where it listens", |line| line.strip_prefix("listening on ")?.parse().ok());
        let pid = running.pid();
        Line { running, pid, address, pids: [pid.as_raw_nonzero().get()].into() }
    }

    /// SIGUSR2; returns when the successor serves, and the process before has ended well.
    #[track_caller]
    pub(crate) fn upgrade(&mut self) {
        let before = self.pid;
        self.signal(Signal::USR2);
        let number = self.running.wait_log("which process takes over", |line| {
            let (_, rest) = line.split_once(" process ")?;
            let number = rest.strip_suffix(" takes over")?.parse().ok()?;
            (!self.pids.contains(&number)).then_some(number)
        });
        self.pids.insert(number);
        self.pid = Pid::from_raw(number).expect("not 0");
        wait_end(before);
        let starts = self.pids.len();
        wait_until(PATIENCE, "the successor serves", || {
            self.transcript().matches("Out| announced ").count() == starts
        });
    }

    /// Sends a signal to the process that serves.
    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended shows so by what the test expects of it.
        let _ = kill_process(self.pid, signal);
    }

    /// Ends it as a service manager does.
    #[track_caller]
    pub(crate) fn stop(&self) {
        self.signal(Signal::TERM);
        wait_end(self.pid);
    }

    /// Waits until so many lines of the log contain `words`.
    #[track_caller]
    pub(crate) fn wait_log(&self, words: &str, count: usize) {
        wait_until(PATIENCE, &format!("the log has {words:?} {count} times"), || {
            let transcript = self.transcript();
            transcript.lines().filter(|line| line.contains(words)).count() >= count
        });
    }

    /// All that they have printed.
    pub(crate) fn transcript(&self) -> String {
        self.running.transcript()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

/// Waits until a process has ended, well.
#[track_caller]
fn wait_end(pid: Pid) {
    let wait = Timespec { tv_sec: PATIENCE.as_secs().try_into().expect("small"), tv_nsec: 0 };
    if let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) {
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&wait));
        assert_eq!(ended, Ok(1), "{pid:?} has not ended");
    }
    if let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::empty()) {
        assert_eq!(status.exit_status(), Some(0), "how {pid:?} ended");
    }
}

/// The settings file in a folder.
pub(crate) fn settings_file(home: &Path) -> std::path::PathBuf {
    home.join("announced.toml")
}

/// Writes it.
#[track_caller]
pub(crate) fn set(home: &Path, settings: &str) {
    fs::write(settings_file(home), settings).expect("a temporary directory can be written to");
}

/// A command that starts the tracker with sockets as systemd does.
pub(crate) fn activated(home: &Path, sockets: Vec<OwnedFd>, names: &str) -> Command {
    let mut command = command(Path::new("/bin/sh"), home);
    // The process that the shell becomes is the one that the sockets are for.
    command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(built());
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    let mappings = sockets.into_iter().zip(3..);
    let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).expect("each has its own number");
    command
}

/// The address of loopback at a port.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
