//! What the service manager is told (sd_notify(3)): which the main process is.
//!
//! Never: fails. Without a service manager there is nobody to tell, and one that does not listen
//! must not keep the tracker from its work.

use std::env;
use std::process;

use sd_notify::NotifyState;

/// The process `id` takes this one's place.
pub(crate) fn main_process(id: u32) {
    tell(&[NotifyState::MainPid(id)]);
}

/// Whether the service manager would take this process's end for the service's, as it cannot be
/// told of a successor.
pub(crate) fn cannot_hear() -> bool {
    let is_main = env::var("SYSTEMD_EXEC_PID").is_ok_and(|id| id == process::id().to_string());
    is_main && env::var_os("NOTIFY_SOCKET").is_none()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}
