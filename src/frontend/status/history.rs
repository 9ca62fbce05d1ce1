//! Requests a second over the last minutes, for the line that the page draws.
//!
//! Owns: a sample for each second, [`SECONDS`] of them; older ones are overwritten.

use std::collections::VecDeque;

/// Five minutes.
pub(super) const SECONDS: usize = 300;

/// See the module.
#[derive(Default)]
pub(super) struct History {
    /// The counter at the last sample; none before the first.
    total: Option<u64>,
    per_second: VecDeque<u64>,
}

impl History {
    /// A second has gone by; so many requests there have been since the start.
    pub(super) fn sample(&mut self, total: u64) {
        if let Some(before) = self.total.replace(total) {
            if self.per_second.len() == SECONDS {
                self.per_second.pop_front();
            }
            self.per_second.push_back(total.saturating_sub(before));
        }
    }

    /// Requests in each second, the latest last.
    pub(super) fn per_second(&self) -> impl Iterator<Item = u64> {
        self.per_second.iter().copied()
    }

    /// Requests in the latest second.
    pub(super) fn latest(&self) -> u64 {
        self.per_second.back().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_what_was_counted_in_it_and_old_ones_go() {
        let mut history = History::default();
        assert_eq!(history.latest(), 0, "before the first sample");
        history.sample(1_000);
        assert_eq!(history.per_second().count(), 0, "what was before the first is in no second");
        [1_007, 1_007, 1_010].into_iter().for_each(|total| history.sample(total));
        assert_eq!(history.per_second().collect::<Vec<_>>(), [7, 0, 3]);
        assert_eq!(history.latest(), 3);
        (0..SECONDS as u64).for_each(|second| history.sample(1_010 + second));
        assert_eq!(history.per_second().count(), SECONDS, "no more than five minutes");
        assert!(history.per_second().skip(1).all(|requests| requests == 1), "older ones are gone");
    }
}
