//! What others want to know of a conversation: whether its connection may be closed, and since when
//! nothing has come of it.
//!
//! Never: changes anything.

use crate::config::ConnectionTimes;
use crate::ids::Millis;
use crate::server::conversation::Conversation;
use crate::server::phase::{LINGER_MS, Phase};

/// A request that has begun, or an answer that waits, is not given up for a newcomer before that.
const BEGUN_MS_MIN: u64 = 1_000;

impl Conversation {
    /// Whether an answer is on its way: at shutdown such connections are waited for.
    pub fn is_answering(&self) -> bool {
        !self.unsent.is_empty() || matches!(self.phase, Phase::Waiting { .. })
    }

    /// Whether the peer is in the middle of something: a request that has begun, or the end of a
    /// last answer, which a reset would overtake.
    pub fn is_under_way(&self) -> bool {
        self.request_since.is_some() || matches!(self.phase, Phase::Draining { .. })
    }

    /// Whether a request waits for another thread.
    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    /// Since when nothing has come of the connection, if it may be closed for a newcomer.
    pub fn idle_since(&self, now: Millis, times: &ConnectionTimes) -> Option<Millis> {
        let before = |ms: u64| Millis(self.deadline.0.saturating_sub(ms));
        let (since, begun) = match (&self.phase, self.request_since) {
            _ if self.of_proxy || self.unsent.has_body() => return None,
            _ if !self.unsent.is_empty() => (before(times.send_ms), true),
            (Phase::Open, _) if self.unparsed => return None,
            (Phase::Open, Some(since)) => (since, true),
            (Phase::Open, None) => (before(times.idle_ms), false),
            (Phase::Draining { .. }, _) => (before(LINGER_MS), true),
            (
                Phase::Preface { .. }
                | Phase::Named(_)
                | Phase::Waiting { .. }
                | Phase::Ending { .. },
                _,
            ) => {
                return None;
            }
        };
        (!begun || now.since(since) >= BEGUN_MS_MIN).then_some(since)
    }
}
