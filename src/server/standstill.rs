//! After a standstill of the whole process (SIGSTOP, a suspended machine) the clock has gone on,
//! and sockets hold what clients sent meanwhile: it is read before any deadline is judged.
//!
//! Never: reads the clock itself.
//!
//! Limits: deadlines wait for [`READ_MS_MAX`] at most, however much there is to read.

use crate::ids::Millis;

/// A round takes milliseconds and a wait a tick: what takes longer was no work of this thread.
const STANDSTILL_MS: u64 = 500;
/// How long is read at most before deadlines count again, milliseconds.
const READ_MS_MAX: u64 = 2_000;

/// See the module.
#[derive(Default)]
pub(in crate::server) struct Standstill {
    /// When the last one was noticed, while what came meanwhile is read.
    noticed_at: Option<Millis>,
    /// Whether the poll was asked since then.
    polled: bool,
}

impl Standstill {
    /// The poll has returned at `now`, and the time before was `before`; `is_complete` says that it
    /// was not broken off.
    pub(in crate::server) fn note_poll(&mut self, before: Millis, now: Millis, is_complete: bool) {
        self.polled = self.noticed_at.is_some() && is_complete;
        if now.since(before) >= STANDSTILL_MS {
            (self.noticed_at, self.polled) = (Some(now), false);
        }
    }

    /// Whether what came during a standstill is still being read.
    pub(in crate::server) fn lasts(&self) -> bool {
        self.noticed_at.is_some()
    }

    /// Ends it if `all_read` says that the last poll told everything, and that all of it was read.
    pub(in crate::server) fn end_if(&mut self, all_read: bool, now: Millis) {
        let is_late = self.noticed_at.is_some_and(|at| now.since(at) >= READ_MS_MAX);
        if is_late || (self.polled && all_read) {
            self.noticed_at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_until_a_whole_poll_later_everything_is_read_but_not_for_ever() {
        let mut standstill = Standstill::default();
        standstill.note_poll(Millis(0), Millis(100), true);
        assert!(!standstill.lasts(), "a tick is no standstill");
        standstill.note_poll(Millis(100), Millis(9_000), true);
        standstill.end_if(true, Millis(9_000));
        assert!(standstill.lasts(), "this poll may have been asked before");
        standstill.note_poll(Millis(9_000), Millis(9_001), false);
        standstill.end_if(true, Millis(9_001));
        assert!(standstill.lasts(), "a poll was broken off by a signal");
        standstill.note_poll(Millis(9_001), Millis(9_002), true);
        standstill.end_if(false, Millis(9_002));
        assert!(standstill.lasts(), "there is more to read");
        standstill.note_poll(Millis(9_002), Millis(9_003), true);
        standstill.end_if(true, Millis(9_003));
        assert!(!standstill.lasts(), "everything is read");
        standstill.note_poll(Millis(9_003), Millis(20_000), true);
        standstill.end_if(false, Millis(22_000));
        assert!(!standstill.lasts(), "there is always more to read");
    }
}
