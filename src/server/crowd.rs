//! Who makes room when every slot is taken: the connection that has been idle longest.
//!
//! Owns: some of those that were idle longest when all connections were last looked at. They are
//! closed one by one for newcomers, unless they have done something since. Looking at all of them
//! is paid for by those that are closed before the next look, or comes once a tick.
//!
//! Never: names a connection whose request is being answered, or waits for another thread; or one
//! of a trusted proxy, whose next request may be on its way already.
//!
//! Limits: a quarter of the slots is remembered.

use crate::ids::Millis;
use crate::server::batch::Batch;
use crate::server::connection::Connection;
use crate::server::deadline::TICK_MS;
use crate::server::slots::{SlotId, Slots};
use crate::server::stream::Stream;
use crate::tracker::Round;

/// Which part of all connections is remembered.
const REMEMBERED_PART: usize = 4;
/// Below so many slots nothing is done before they are all taken.
const SLOTS_MIN: usize = 16;

/// After so long without a connection turned away or kept waiting there is room again,
/// milliseconds.
const CROWDED_MS: u64 = 10_000;

/// Whether more than three quarters of the slots are taken.
pub(in crate::server) fn is_crowded<T>(slots: &Slots<T>) -> bool {
    let most = slots.occupied_max();
    most >= SLOTS_MIN && slots.len() * 4 > most * 3
}

/// See the module.
#[derive(Default)]
pub(in crate::server) struct Crowd {
    /// Those that were idle longest, with since when; the one to close first is the last.
    idle: Vec<(SlotId, Millis)>,
    looked_at: Option<Millis>,
    /// Closed since then.
    closed: usize,
    /// Connections that there were then.
    seen: usize,
}

impl Crowd {
    /// The connection to close for a newcomer.
    pub(in crate::server) fn choose<S: Stream>(
        &mut self,
        slots: &mut Slots<Connection<S>>,
        batch: &Batch,
        round: &Round<'_>,
    ) -> Option<SlotId> {
        let (now, times) = (round.now, &round.live.connection_times);
        let idle_since = |connection: &Connection<S>| match connection.listed {
            true => None,
            false => connection.conversation.idle_since(now, times),
        };
        let mut looked = false;
        loop {
            while let Some((id, since)) = self.idle.pop() {
                let found = slots.find(id).and_then(|connection| idle_since(connection));
                if found == Some(since) && !batch.holds(id) {
                    self.closed += 1;
                    return Some(id);
                }
            }
            if looked || !self.may_look(now) {
                return None;
            }
            let idle = slots.iter().filter_map(|(id, found)| Some((id, idle_since(found)?)));
            self.look(idle, now);
            looked = true;
        }
    }

    /// Whether it is time to look at all connections again.
    fn may_look(&self, now: Millis) -> bool {
        let paid = self.closed > 0 && self.closed >= self.seen / (2 * REMEMBERED_PART);
        paid || self.looked_at.is_none_or(|at| now.since(at) >= TICK_MS)
    }

    /// Takes in all connections that are idle, with since when.
    fn look(&mut self, idle: impl Iterator<Item = (SlotId, Millis)>, now: Millis) {
        self.idle.clear();
        self.idle.extend(idle);
        let part = (self.idle.len() / REMEMBERED_PART).max(1);
        if part < self.idle.len() {
            self.idle.select_nth_unstable_by_key(part - 1, |(_, since)| *since);
        }
        (self.seen, self.closed, self.looked_at) = (self.idle.len(), 0, Some(now));
        self.idle.truncate(part);
        self.idle.sort_unstable_by_key(|(_, since)| std::cmp::Reverse(*since));
    }
}

/// Whether connections are being turned away or kept waiting: logged once for as long as it goes
/// on.
#[derive(Default)]
pub(in crate::server) struct TurningAway {
    last_at: Option<Millis>,
}

impl TurningAway {
    /// A connection of a worker was turned away or kept waiting.
    pub(in crate::server) fn note(&mut self, now: Millis, worker: u16, why: &str) {
        if self.last_at.replace(now).is_none() {
            log::warn!("worker {worker} turns connections away: {why}");
        }
    }

    /// Looks whether it is over.
    pub(in crate::server) fn look(&mut self, now: Millis, worker: u16) {
        if self.last_at.is_some_and(|at| now.since(at) > CROWDED_MS) {
            self.last_at = None;
            log::info!("worker {worker} has room for connections again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: u32) -> SlotId {
        SlotId { index, generation: 0 }
    }

    #[test]
    fn those_idle_longest_are_named_first_and_the_next_look_has_to_be_paid_for() {
        let mut crowd = Crowd::default();
        assert!(crowd.may_look(Millis(0)), "nobody has looked yet");
        crowd.look((0..16).map(|n| (slot(n), Millis(u64::from(100 - n)))), Millis(100));
        let named: Vec<u32> = crowd.idle.drain(..).rev().map(|(id, _)| id.index).collect();
        assert_eq!(named, [15, 14, 13, 12], "a quarter, the longest idle first");
        assert!(!crowd.may_look(Millis(100)), "none of them was closed");
        crowd.closed += 2;
        assert!(crowd.may_look(Millis(100)), "an eighth was closed");
        crowd.look(std::iter::empty(), Millis(100));
        assert!(crowd.idle.is_empty(), "nobody is idle");
        assert!(!crowd.may_look(Millis(199)), "before the tick");
        assert!(crowd.may_look(Millis(200)), "after a tick");
    }
}
