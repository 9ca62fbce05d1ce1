//! What the main thread does when nothing happens: the line of counters, and signs of life for the
//! service manager.

use std::time::{Duration, Instant};

use announced::daemon::Daemon;

use crate::notify::SignsOfLife;

/// When each is due.
pub(crate) struct Timers {
    signs: SignsOfLife,
    /// When the last line of counters was written.
    told_at: Instant,
}

impl Timers {
    /// The first sign of life is due at once, the first line after its interval.
    pub(crate) fn start() -> Timers {
        Timers { signs: SignsOfLife::start(), told_at: Instant::now() }
    }

    /// Gives a sign of life if one is due; how long there is until something is.
    pub(crate) fn attend(&mut self, daemon: &Daemon) -> Duration {
        self.signs.give(daemon);
        self.until_line(daemon).min(self.signs.left())
    }

    /// Whether the line of counters is due; never with an interval of 0.
    pub(crate) fn line_is_due(&self, daemon: &Daemon) -> bool {
        self.until_line(daemon).is_zero()
    }

    /// The line of counters; the next one is due an interval from now.
    pub(crate) fn line(&mut self, daemon: &Daemon) -> String {
        self.told_at = Instant::now();
        daemon.report()
    }

    fn until_line(&self, daemon: &Daemon) -> Duration {
        match daemon.live().stats_interval {
            Duration::ZERO => Duration::MAX,
            interval => interval.saturating_sub(self.told_at.elapsed()),
        }
    }
}
