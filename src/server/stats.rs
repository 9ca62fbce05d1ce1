//! Counters: each worker writes its own, without locks or shared cache lines; they are summed only
//! when somebody reads them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tracker::{Tallied, Tally};

/// What a worker counts about its sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A connection was accepted.
    Accepted,
    /// A connection was turned away: too many, or out of descriptors.
    TurnedAway,
    /// A connection was closed because its time was up.
    TimedOut,
    /// An answer came for a connection that had gone.
    Late,
}

const EVENTS: [(Event, &str); 4] = [
    (Event::Accepted, "connections"),
    (Event::TurnedAway, "turned away"),
    (Event::TimedOut, "timed out"),
    (Event::Late, "late answers"),
];
const KINDS: usize = EVENTS.len() + Tallied::ALL.len();

/// One worker's counters as others may read them, on cache lines of their own.
#[repr(align(128))]
#[derive(Default)]
struct Published([AtomicU64; KINDS]);

/// The counters of all workers.
#[derive(Clone)]
pub struct Stats(Arc<[Published]>);

impl Stats {
    /// Zeros for `workers` workers.
    pub fn new(workers: usize) -> Stats {
        Stats((0..workers).map(|_| Published::default()).collect())
    }

    /// Each counter's name and its sum over the workers.
    pub fn sums(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names =
            EVENTS.iter().map(|(_, name)| *name).chain(Tallied::ALL.iter().map(|(_, name)| *name));
        names.enumerate().map(|(kind, name)| {
            (name, self.0.iter().map(|worker| worker.0[kind].load(Ordering::Relaxed)).sum())
        })
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, count)) in self.sums().enumerate() {
            write!(f, "{}{count} {name}", if position == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// One worker's side: plain numbers, published once a round.
pub(super) struct Counter {
    stats: Stats,
    worker: usize,
    events: [u64; EVENTS.len()],
}

impl Counter {
    /// The counter of the worker with this index.
    pub(super) fn new(stats: Stats, worker: usize) -> Counter {
        Counter { stats, worker, events: [0; EVENTS.len()] }
    }

    /// Counts one event.
    pub(super) fn count(&mut self, event: Event) {
        self.events[event as usize] += 1;
    }

    /// Lets others see where the counts stand.
    pub(super) fn publish(&self, tally: &Tally) {
        let Some(published) = self.stats.0.get(self.worker) else { return };
        let counts = self.events.iter().chain(tally.counts());
        published
            .0
            .iter()
            .zip(counts)
            .for_each(|(place, count)| place.store(*count, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_workers_are_summed_under_their_names() {
        let stats = Stats::new(2);
        for worker in 0..2 {
            let mut counter = Counter::new(stats.clone(), worker);
            counter.count(Event::TimedOut);
            let mut tally = Tally::default();
            tally.count(Tallied::Scrape);
            counter.publish(&tally);
        }
        let text = stats.to_string();
        assert!(
            text.contains("0 connections")
                && text.contains("2 timed out")
                && text.contains("2 scrapes"),
            "{text}"
        );
    }
}
