//! Whether the database answers: said once when it stops, and once when all is well again.
//!
//! Owns: which of the registry's threads have the database's ear at the moment, and the pauses between their tries.
//!
//! Never: more than a line per change of state, however many threads and requests find out.

use std::time::Duration;

use parking_lot::Mutex;

use crate::registry::database::DatabaseError;

const PAUSE_MS_MIN: u64 = 100;
const PAUSE_MS_MAX: u64 = 10_000;

/// Who talks to the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// The threads that look up torrents.
    Lookups,
    /// The thread that writes counters.
    Writing,
    /// The thread that watches for changes.
    Watching,
}

/// See the module.
#[derive(Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Default)]
struct State {
    /// A bit for each part that got no answer when it last asked.
    silent: u8,
    /// What the database last said about itself that somebody has to act on.
    unfit: Option<String>,
}

impl Health {
    /// Takes note of what came of a question.
    pub(super) fn note(&self, part: Part, outcome: Result<(), &DatabaseError>) {
        let mut state = self.0.lock();
        let was_silent = state.silent != 0;
        match outcome {
            Ok(()) => {
                state.silent &= !(1 << part as u8);
                if was_silent && state.silent == 0 {
                    state.unfit = None;
                    log::info!("the database answers again");
                }
            }
            Err(error) => {
                state.silent |= 1 << part as u8;
                let news = match error {
                    DatabaseError::Away(_) => !was_silent,
                    DatabaseError::Unfit(text) => state.unfit.as_ref() != Some(text),
                };
                if let DatabaseError::Unfit(text) = error {
                    state.unfit = Some(text.clone());
                }
                if news {
                    log::warn!("the database does not answer: {error}");
                }
            }
        }
    }

    #[cfg(test)]
    fn is_well(&self) -> bool {
        self.0.lock().silent == 0
    }
}

/// Pauses between tries: from 100 ms, doubled each time, to 10 s, each shortened by up to a half so that trackers do not come back in step.
#[derive(Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// How long to wait before the next try.
    pub(super) fn next_pause(&mut self) -> Duration {
        let pause_ms = PAUSE_MS_MIN.saturating_mul(1 << self.tries.min(10)).min(PAUSE_MS_MAX);
        self.tries += 1;
        Duration::from_millis(pause_ms - fastrand::u64(0..=pause_ms / 2))
    }

    /// A try has gone well.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_well_when_every_part_is() {
        let health = Health::default();
        let away = DatabaseError::Away("gone".to_owned());
        health.note(Part::Lookups, Err(&away));
        health.note(Part::Writing, Err(&away));
        health.note(Part::Lookups, Ok(()));
        assert!(!health.is_well());
        health.note(Part::Writing, Ok(()));
        assert!(health.is_well());
    }

    #[test]
    fn pauses_grow_to_ten_seconds_and_start_again() {
        let mut backoff = Backoff::default();
        for expected_ms in [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let pause = backoff.next_pause();
            assert!((expected_ms / 2..=expected_ms).contains(&pause.as_millis()), "{pause:?}, not {expected_ms} ms");
        }
        (0..100).for_each(|_| assert!(backoff.next_pause() <= Duration::from_secs(10)));
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(100));
    }
}
