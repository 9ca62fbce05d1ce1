//! Deadlines of connections: a lazy timing wheel.
//!
//! Owns: when each connection is to be looked at again. Moving a deadline back, which every request
//! does, costs nothing: the entry stays where it is, and when it comes due the connection says
//! whether its time has really come or where to look next. Only a deadline that moves forward past
//! its entry is entered anew; the older entry is recognised and dropped.
//!
//! Limits: one live entry a connection, and one dead one for each time its deadline moved forward
//! within the wheel's turn.

use crate::ids::Millis;
use crate::server::slots::SlotId;

/// Width of one bucket: deadlines are met within this much, never early.
pub(in crate::server) const TICK_MS: u64 = 100;
/// Buckets of the wheel; a deadline further away is looked at once a turn.
const BUCKETS: usize = 512;

/// What is kept with a connection for the wheel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) struct Scheduled(u64);

impl Default for Scheduled {
    /// Not in the wheel yet.
    fn default() -> Self {
        Scheduled(u64::MAX)
    }
}

/// The wheel.
pub(in crate::server) struct Deadlines {
    buckets: Vec<Vec<(SlotId, u64)>>,
    /// The next tick to look at.
    next_tick: u64,
}

impl Deadlines {
    /// An empty wheel that starts turning at `now`.
    pub(in crate::server) fn new(now: Millis) -> Deadlines {
        Deadlines { buckets: vec![Vec::new(); BUCKETS], next_tick: now.0 / TICK_MS }
    }

    /// Sees to it that `slot` comes up no later than the tick after `deadline`.
    pub(in crate::server) fn set(
        &mut self,
        slot: SlotId,
        deadline: Millis,
        scheduled: &mut Scheduled,
    ) {
        let tick = self.tick_of(deadline);
        if scheduled.0 < self.next_tick || tick < scheduled.0 {
            scheduled.0 = tick;
            self.bucket(tick).push((slot, tick));
        }
        debug_assert!(self.is_in_time(deadline, *scheduled), "{slot:?} is looked at too late");
    }

    /// Takes the entries of every tick that has passed by `now` into `due`; [`Scheduled::is`] tells
    /// a live one from a dead one. Whether a tick has passed at all.
    pub(in crate::server) fn take_due(
        &mut self,
        now: Millis,
        due: &mut Vec<(SlotId, u64)>,
    ) -> bool {
        let past = now.0 / TICK_MS;
        // After a long pause every bucket is due, once.
        let first = self.next_tick.max(past.saturating_sub(BUCKETS as u64));
        for tick in first..past {
            due.append(self.bucket(tick));
        }
        self.next_tick = self.next_tick.max(past);
        first < past
    }

    /// Whether a connection will be looked at no later than [`Deadlines::set`] promises.
    pub(in crate::server) fn is_in_time(&self, deadline: Millis, scheduled: Scheduled) -> bool {
        (self.next_tick..=self.tick_of(deadline)).contains(&scheduled.0)
    }

    /// Whether the wheel holds the live entry of `slot`.
    pub(in crate::server) fn holds(&self, slot: SlotId, scheduled: Scheduled) -> bool {
        self.buckets[bucket_of(scheduled.0)].contains(&(slot, scheduled.0))
    }

    /// The bucket after the one `deadline` falls in, so that it never comes up early; at most one
    /// turn away.
    fn tick_of(&self, deadline: Millis) -> u64 {
        (deadline.0 / TICK_MS).clamp(self.next_tick, self.next_tick + BUCKETS as u64 - 1)
    }

    fn bucket(&mut self, tick: u64) -> &mut Vec<(SlotId, u64)> {
        &mut self.buckets[bucket_of(tick)]
    }
}

fn bucket_of(tick: u64) -> usize {
    usize::try_from(tick % BUCKETS as u64).unwrap_or_default()
}

impl Scheduled {
    /// Whether an entry that came up for `tick` is the connection's live one.
    pub(in crate::server) fn is(self, tick: u64) -> bool {
        self.0 == tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotId = SlotId { index: 3, generation: 1 };

    fn due(wheel: &mut Deadlines, now: u64, scheduled: Scheduled) -> usize {
        let mut entries = Vec::new();
        wheel.take_due(Millis(now), &mut entries);
        entries.iter().filter(|(slot, tick)| *slot == SLOT && scheduled.is(*tick)).count()
    }

    #[test]
    fn a_deadline_comes_up_once_within_a_tick_and_never_early() {
        let (mut wheel, mut scheduled) = (Deadlines::new(Millis(0)), Scheduled::default());
        wheel.set(SLOT, Millis(1_050), &mut scheduled);
        assert_eq!(due(&mut wheel, 1_050, scheduled), 0);
        assert_eq!(due(&mut wheel, 1_050 + TICK_MS, scheduled), 1);
        assert_eq!(due(&mut wheel, 90_000, scheduled), 0);
    }

    #[test]
    fn moving_a_deadline_back_makes_no_second_entry() {
        let (mut wheel, mut scheduled) = (Deadlines::new(Millis(0)), Scheduled::default());
        (0..1_000).for_each(|n| wheel.set(SLOT, Millis(1_000 + n), &mut scheduled));
        assert_eq!(wheel.buckets.iter().map(Vec::len).sum::<usize>(), 1);
    }

    #[test]
    fn an_earlier_deadline_wins_and_the_later_entry_is_dead() {
        let (mut wheel, mut scheduled) = (Deadlines::new(Millis(0)), Scheduled::default());
        wheel.set(SLOT, Millis(20_000), &mut scheduled);
        wheel.set(SLOT, Millis(2_000), &mut scheduled);
        assert_eq!(due(&mut wheel, 2_100, scheduled), 1);
        assert_eq!(due(&mut wheel, 30_000, scheduled), 0);
    }

    #[test]
    fn a_deadline_beyond_the_wheel_is_looked_at_once_a_turn() {
        let (mut wheel, mut scheduled) = (Deadlines::new(Millis(0)), Scheduled::default());
        wheel.set(SLOT, Millis(3_600_000), &mut scheduled);
        assert_eq!(due(&mut wheel, BUCKETS as u64 * TICK_MS, scheduled), 1);
    }

    #[test]
    fn a_long_pause_brings_everything_up_once() {
        let (mut wheel, mut scheduled) = (Deadlines::new(Millis(0)), Scheduled::default());
        wheel.set(SLOT, Millis(5_000), &mut scheduled);
        assert_eq!(due(&mut wheel, 100_000_000, scheduled), 1);
    }
}
