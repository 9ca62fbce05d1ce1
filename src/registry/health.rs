//! Whether the database answers: said once when it stops, and once when all is well again.
//!
//! Owns: which of the registry's threads have the database's ear at the moment, and the pauses
//! between their tries.
//!
//! Never: more than a line per change of state, however many threads and requests find out.

use std::time::Duration;

use parking_lot::Mutex;

use crate::registry::database::DatabaseError;

const PAUSE_MS_MIN: u64 = 100;
const PAUSE_MS_MAX: u64 = 10_000;
const PARTS: usize = 3;

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
    /// What each part was last told that somebody has to act on.
    unfit: [Option<String>; PARTS],
}

/// A change of state, which is worth a line.
#[derive(Clone, PartialEq, Eq, Debug)]
enum News {
    Well,
    Ill(String),
}

impl State {
    /// Takes note of what came of a question; what is new about it. Parts that are told the same
    /// are told it once.
    fn note(&mut self, part: Part, outcome: Result<(), &DatabaseError>) -> Option<News> {
        let was_silent = self.silent != 0;
        let Err(error) = outcome else {
            self.silent &= !(1 << part as u8);
            let is_well = was_silent && self.silent == 0;
            return is_well.then(|| {
                self.unfit = Default::default();
                News::Well
            });
        };
        self.silent |= 1 << part as u8;
        let is_new = match error {
            DatabaseError::Away(_) => !was_silent,
            DatabaseError::Unfit(text) => {
                let is_new = self.unfit.iter().flatten().all(|told| told != text);
                self.unfit[part as usize] = Some(text.clone());
                is_new
            }
        };
        is_new.then(|| News::Ill(error.to_string()))
    }
}

impl Health {
    /// Takes note of what came of a question.
    pub(super) fn note(&self, part: Part, outcome: Result<(), &DatabaseError>) {
        // Told under the lock, so that lines come in the order of what they tell.
        let mut state = self.0.lock();
        match state.note(part, outcome) {
            Some(News::Well) => log::info!("the database answers again"),
            Some(News::Ill(why)) => log::warn!("the database does not answer: {why}"),
            None => {}
        }
    }

    #[cfg(test)]
    fn is_well(&self) -> bool {
        self.0.lock().silent == 0
    }
}

/// Pauses between tries: from 100 ms, doubled each time, to 10 s, each shortened by up to a half so
/// that trackers do not come back in step.
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
    fn each_change_is_told_once() {
        let mut state = State::default();
        let away = DatabaseError::Away("gone".to_owned());
        let [table, right] =
            ["no table", "no right"].map(|text| DatabaseError::Unfit(text.to_owned()));
        let ill = |error: &DatabaseError| Some(News::Ill(error.to_string()));
        assert_eq!(state.note(Part::Lookups, Err(&away)), ill(&away));
        assert_eq!(state.note(Part::Lookups, Err(&table)), ill(&table));
        assert_eq!(state.note(Part::Watching, Err(&table)), None);
        assert_eq!(state.note(Part::Writing, Err(&right)), ill(&right));
        for _ in 0..3 {
            let tries = [(Part::Lookups, &table), (Part::Writing, &right), (Part::Watching, &away)];
            assert!(tries.iter().all(|(part, error)| state.note(*part, Err(error)).is_none()));
        }
        let ends = [Part::Lookups, Part::Writing, Part::Watching, Part::Watching]
            .map(|part| state.note(part, Ok(())));
        assert_eq!(ends, [None, None, Some(News::Well), None]);
        assert_eq!(state.note(Part::Writing, Err(&right)), ill(&right));
    }

    #[test]
    fn pauses_grow_to_ten_seconds_and_start_again() {
        let mut backoff = Backoff::default();
        for expected_ms in [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let pause = backoff.next_pause();
            assert!(
                (expected_ms / 2..=expected_ms).contains(&pause.as_millis()),
                "{pause:?}, not {expected_ms} ms"
            );
        }
        (0..100).for_each(|_| assert!(backoff.next_pause() <= Duration::from_secs(10)));
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(100));
    }
}
