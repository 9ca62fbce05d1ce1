//! What the service manager is told (sd_notify(3)): which the main process is, whether it serves,
//! reads its settings or stops, and from time to time that it is alive and what it holds.
//!
//! Owns: when the next sign of life is due ([`SignsOfLife`]). There is none while an event loop
//! hangs, so that the watchdog finds out.
//!
//! Never: fails. Without a service manager there is nobody to tell, and one that does not listen
//! must not keep the tracker from its work.

use std::env;
use std::process;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use announced::daemon::Daemon;

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

/// It serves.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It reads its settings, until `reload` returns.
pub(crate) fn while_reloading(reload: impl FnOnce()) {
    let since = NotifyState::monotonic_usec_now();
    tell(
        &since.map_or_else(|_| vec![NotifyState::Reloading], |at| vec![NotifyState::Reloading, at]),
    );
    reload();
    ready();
}

/// It stops.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How often the status is told where no watchdog asks for more.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The signs of life, for which the main thread has the time.
pub(crate) struct SignsOfLife {
    interval: Option<Duration>,
    due: Instant,
}

impl SignsOfLife {
    /// The first is due at once; none is where there is no service manager.
    pub(crate) fn start() -> SignsOfLife {
        let watchdog = sd_notify::watchdog_enabled();
        let wanted = watchdog.map_or(STATUS_INTERVAL, |timeout| (timeout / 3).min(STATUS_INTERVAL));
        let interval = env::var_os("NOTIFY_SOCKET").map(|_| wanted);
        SignsOfLife { interval, due: Instant::now() }
    }

    /// How long there is until the next.
    pub(crate) fn left(&self) -> Duration {
        let left = self.due.saturating_duration_since(Instant::now());
        if self.interval.is_some() { left } else { Duration::MAX }
    }

    /// Tells the manager what the daemon holds, and that it is alive if it is, when that is due.
    pub(crate) fn give(&mut self, daemon: &Daemon) {
        let Some(interval) = self.interval.filter(|_| Instant::now() >= self.due) else { return };
        self.due = Instant::now() + interval;
        let totals = daemon.tracker().store().totals();
        let status = format!("{} torrents, {} peers", totals.torrents, totals.peers());
        tell(&[NotifyState::Status(&status)]);
        if daemon.is_going_round() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}
