//! What the process has been given at its start: sockets of the service manager (`LISTEN_FDS`) or
//! of a predecessor, and the channel to that one.
//!
//! Owns: the descriptors, and the variables that name them. A successor gets the channel as
//! descriptor 3 and the sockets behind it, in the order in which `ANNOUNCED_UPGRADE` has a word for
//! each.
//!
//! With server/sockopt.rs and server/datagrams/io.rs the only file with `unsafe`. Invariant:
//! [`claim`] runs before anything in the process has opened a descriptor.
#![allow(unsafe_code)]

use std::env;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use command_fds::inherited::{init_inherited_fds, take_fd_ownership};

use announced::server::HandedSocket;

/// Names the sockets that a predecessor hands over, one word for each.
pub(crate) const UPGRADE_VARIABLE: &str = "ANNOUNCED_UPGRADE";
/// The successor's descriptor of the channel to its predecessor.
pub(crate) const CHANNEL: RawFd = 3;
/// The service manager's variables, of which each is for one process.
pub(crate) const OF_ONE_PROCESS: [&str; 4] =
    ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// What a process begins with.
pub(crate) struct Inherited {
    /// Its sockets.
    pub(crate) sockets: Vec<HandedSocket>,
    /// To the process that this one is to succeed.
    pub(crate) predecessor: Option<UnixStream>,
}

/// Marks all descriptors that the process was started with as not yet anybody's. First of all that
/// the program does.
///
/// # Errors
/// When /proc cannot be read.
pub(crate) fn claim() -> Result<(), String> {
    // Without these, there is nothing to be taken, and no need of /proc.
    if ["LISTEN_FDS", UPGRADE_VARIABLE].iter().all(|name| env::var_os(name).is_none()) {
        return Ok(());
    }
    // SAFETY: nothing in the process has opened a descriptor but the standard library its three
    // standard streams, which the function leaves alone.
    let claimed = unsafe { init_inherited_fds() };
    claimed.map_err(|error| format!("cannot look for sockets of another process: {error}"))
}

impl Inherited {
    /// What this process has been given.
    ///
    /// # Errors
    /// When it is not what the variables say.
    pub(crate) fn take() -> Result<Inherited, String> {
        match env::var(UPGRADE_VARIABLE) {
            Ok(words) => of_predecessor(&words),
            Err(_) => Ok(Inherited { sockets: of_service_manager()?, predecessor: None }),
        }
    }
}

fn of_predecessor(words: &str) -> Result<Inherited, String> {
    let failed = |problem| format!("{UPGRADE_VARIABLE}: {problem}");
    let predecessor = Some(take(CHANNEL).map_err(failed)?.into());
    let mut sockets = Vec::new();
    for (word, descriptor) in words.split_whitespace().zip(CHANNEL + 1..) {
        let socket = take(descriptor).map_err(failed)?;
        match HandedSocket::of_predecessor(word, socket) {
            Some(socket) => sockets.push(socket),
            None => log::warn!("a socket for {word} is closed: this version does not know it"),
        }
    }
    Ok(Inherited { sockets, predecessor })
}

fn of_service_manager() -> Result<Vec<HandedSocket>, String> {
    let failed = |problem: &dyn std::fmt::Display| format!("LISTEN_FDS: {problem}");
    let named = sd_notify::listen_fds_with_names().map_err(|error| failed(&error))?;
    let mut sockets = Vec::new();
    for (descriptor, name) in named {
        let socket = take(descriptor).map_err(|error| failed(&error))?;
        let socket = HandedSocket::activated(&name, socket)
            .map_err(|problem| failed(&format!("descriptor {descriptor} {problem}")))?;
        sockets.push(socket);
    }
    Ok(sockets)
}

fn take(descriptor: RawFd) -> Result<OwnedFd, String> {
    take_fd_ownership(descriptor).map_err(|error| error.to_string())
}
