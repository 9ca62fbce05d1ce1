//! Whether the database answers: said once when it stops, and once when all is well again.
//!
//! Owns: which of the registry's threads got an answer when they last asked, and the pauses between
//! their tries ([`Backoff`]).
//!
//! Never: more than a line per change of state, however many threads and requests find out.

use std::time::Duration;

use parking_lot::Mutex;

use crate::ids::Millis;
use crate::mailbox::Clock;
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
pub(super) struct Health {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Default)]
struct State {
    /// A bit for each part that got no answer when it last asked.
    silent: u8,
    /// Since when there is such a part.
    away_since: Option<Millis>,
    /// The last error of each part that an operator has to act on.
    errors_told: [Option<String>; PARTS],
}

/// A change of state, which is worth a line.
#[derive(Clone, PartialEq, Eq, Debug)]
enum StateChange {
    /// Every part is answered again.
    Answering,
    /// Some part is not; the line that says so.
    Failing(String),
}

impl State {
    /// Takes note of what came of a question; the change of state that it is, if it is one. An
    /// error that several parts meet is one change.
    fn note(&mut self, part: Part, outcome: Result<(), &DatabaseError>) -> Option<StateChange> {
        let was_silent = self.silent != 0;
        let Err(error) = outcome else {
            self.silent &= !(1 << part as u8);
            let answers_again = was_silent && self.silent == 0;
            return answers_again.then(|| {
                self.errors_told = Default::default();
                StateChange::Answering
            });
        };
        self.silent |= 1 << part as u8;
        let is_new = match error {
            DatabaseError::Away(_) => !was_silent,
            DatabaseError::Refused(text)
            | DatabaseError::Denied(text)
            | DatabaseError::Unfit(text) => {
                let is_new = self.errors_told.iter().flatten().all(|told| told != text);
                self.errors_told[part as usize] = Some(text.clone());
                is_new
            }
        };
        is_new.then(|| StateChange::Failing(format!("{}: {error}", error.heading())))
    }
}

impl Health {
    /// Nobody has asked yet, so nothing has failed.
    pub(super) fn new(clock: Clock) -> Health {
        Health { state: Mutex::default(), clock }
    }

    /// Takes note of what came of a question.
    pub(super) fn note(&self, part: Part, outcome: Result<(), &DatabaseError>) {
        // Told under the lock, so that lines come in the order of what they tell.
        let mut state = self.state.lock();
        match state.note(part, outcome) {
            Some(StateChange::Answering) => log::info!("the database answers again"),
            Some(StateChange::Failing(line)) => log::warn!("{line}"),
            None => {}
        }
        match state.silent {
            0 => state.away_since = None,
            _ => state.away_since = state.away_since.or_else(|| Some((self.clock)())),
        }
    }

    /// Since when some part gets no answer; none while all do.
    pub(super) fn away_since(&self) -> Option<Millis> {
        self.state.lock().away_since
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn it_is_well_when_every_part_is() {
        let now = Arc::new(AtomicU64::new(5));
        let clock = Arc::clone(&now);
        let health = Health::new(Arc::new(move || Millis(clock.load(Ordering::Relaxed))));
        assert_eq!(health.away_since(), None, "nobody has asked yet");
        let away = DatabaseError::Away("gone".to_owned());
        health.note(Part::Lookups, Err(&away));
        health.note(Part::Writing, Err(&away));
        health.note(Part::Lookups, Ok(()));
        assert_eq!(health.away_since(), Some(Millis(5)), "writing still gets no answer");
        now.store(7, Ordering::Relaxed);
        health.note(Part::Writing, Err(&away));
        assert_eq!(health.away_since(), Some(Millis(5)), "since the first time");
        health.note(Part::Writing, Ok(()));
        assert_eq!(health.away_since(), None, "every part is answered");
    }

    #[test]
    fn each_change_is_told_once() {
        let mut state = State::default();
        let away = DatabaseError::Away("gone".to_owned());
        let [table, right] =
            ["no table", "no right"].map(|text| DatabaseError::Unfit(text.to_owned()));
        let failing = |error: &DatabaseError| {
            Some(StateChange::Failing(format!("{}: {error}", error.heading())))
        };
        assert_eq!(state.note(Part::Lookups, Err(&away)), failing(&away));
        assert_eq!(state.note(Part::Lookups, Err(&table)), failing(&table));
        assert_eq!(state.note(Part::Watching, Err(&table)), None);
        assert_eq!(state.note(Part::Writing, Err(&right)), failing(&right));
        for _ in 0..3 {
            let tries = [(Part::Lookups, &table), (Part::Writing, &right), (Part::Watching, &away)];
            assert!(tries.iter().all(|(part, error)| state.note(*part, Err(error)).is_none()));
        }
        let ends = [Part::Lookups, Part::Writing, Part::Watching, Part::Watching]
            .map(|part| state.note(part, Ok(())));
        assert_eq!(ends, [None, None, Some(StateChange::Answering), None]);
        assert_eq!(state.note(Part::Writing, Err(&right)), failing(&right));
    }

    #[test]
    fn a_line_says_whether_it_is_away_or_refuses() {
        let rows = [
            (DatabaseError::Away("gone".to_owned()), "the database does not answer: gone"),
            (DatabaseError::Refused("full".to_owned()), "the database refuses: full"),
            (DatabaseError::Denied("no right".to_owned()), "the database refuses: no right"),
            (
                DatabaseError::Unfit("no table".to_owned()),
                "the database cannot be used as it is: no table",
            ),
        ];
        for (error, line) in rows {
            let told = State::default().note(Part::Lookups, Err(&error));
            assert_eq!(told, Some(StateChange::Failing(line.to_owned())), "{error:?}");
        }
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
