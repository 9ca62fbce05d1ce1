//! What any room counts: plain adds of a thread's own, summed only when somebody reads them.
//!
//! Owns: the list of everything that is counted, with the names it goes by in the log. A thread has
//! [`LocalCounters`], which nobody else writes, and publishes them when it suits: a worker once a
//! round. [`Counters`] sums what all threads have published.
//!
//! Never: a lock, an allocation or a shared cache line where something is counted.
//!
//! Limits: the sums are as old as each thread's last [`LocalCounters::publish`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Makes an enum and the names of its values from one list, so that neither can get out of step.
macro_rules! counted {
    ($(#[$doc:meta])* $kind:ident { $($(#[$value_doc:meta])* $value:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $kind {
            $($(#[$value_doc])* $value,)*
        }

        impl $kind {
            /// Every value, in the order of the list.
            pub const ALL: &[$kind] = &[$($kind::$value,)*];

            /// The name it goes by in the log.
            pub fn name(self) -> &'static str {
                match self {
                    $($kind::$value => $name,)*
                }
            }
        }
    };
}

counted! {
    /// Something that happens, and is counted for as long as the process lives.
    Counter {
        /// A connection was accepted.
        Accepted = "connections",
        /// A connection was turned away: too many, or out of descriptors.
        TurnedAway = "turned away",
        /// A connection was closed because its time was up.
        TimedOut = "timed out",
        /// An answer came for a connection that had gone.
        LateAnswer = "late answers",
        /// An announce, whatever came of it.
        Announce = "announces",
        /// A scrape of named torrents, whatever came of it.
        Scrape = "scrapes",
        /// A full scrape, whatever came of it.
        FullScrape = "full scrapes",
        /// A request answered with a failure.
        Refused = "refused",
        /// A request of which a trusted proxy did not say whose it is.
        UnknownClient = "of unknown clients",
        /// A request that was not HTTP, or not for this program.
        Fault = "faults",
        /// A datagram was received, whatever came of it.
        Datagram = "datagrams",
        /// One that asked for a connection id.
        Connect = "connects",
        /// One that asked for nothing, and got no answer.
        NoRequest = "senseless datagrams",
        /// One whose connection id is not its source's, or too old.
        WrongConnectionId = "wrong connection ids",
        /// A datagram that the kernel dropped, because the receive buffer was full.
        DatagramDropped = "datagrams dropped",
        /// An answer that the kernel did not take.
        AnswerUnsent = "answers unsent",
        /// A request that had to wait for the registry.
        Parked = "parked",
        /// One that waited in vain.
        GivenUp = "given up",
        /// A snapshot of the swarms was written.
        Snapshot = "snapshots",
        /// One could not be written.
        SnapshotFailed = "snapshots failed",
        /// A connection that was idle was closed to make room for another.
        Displaced = "closed for others",
        /// A request or a connection past the rate of its address.
        OverRate = "over a rate",
    }
}

counted! {
    /// A number that goes up and down.
    Gauge {
        /// Connections that are open.
        OpenConnections = "open connections",
        /// Requests that wait for the registry or for a full scrape.
        WaitingRequests = "waiting requests",
    }
}

const COUNTERS: usize = Counter::ALL.len();
const GAUGES: usize = Gauge::ALL.len();

/// One thread's numbers as others may read them, on cache lines of their own.
#[repr(align(128))]
#[derive(Default)]
struct Published {
    counters: [AtomicU64; COUNTERS],
    gauges: [AtomicU64; GAUGES],
}

/// The numbers of all threads; clones share them.
#[derive(Clone, Default)]
pub struct Counters(Arc<Mutex<Vec<Arc<Published>>>>);

impl Counters {
    /// Numbers for one more thread, all zero.
    pub fn local(&self) -> LocalCounters {
        let published = Arc::new(Published::default());
        self.0.lock().push(Arc::clone(&published));
        LocalCounters { counters: [0; COUNTERS], gauges: [0; GAUGES], published }
    }

    /// How often something has happened.
    pub fn count(&self, counter: Counter) -> u64 {
        self.sum(|published| &published.counters[counter as usize])
    }

    /// Where a gauge stands.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.sum(|published| &published.gauges[gauge as usize])
    }

    fn sum(&self, number: impl Fn(&Published) -> &AtomicU64) -> u64 {
        self.0.lock().iter().map(|published| number(published).load(Ordering::Relaxed)).sum()
    }
}

/// One thread's numbers.
pub struct LocalCounters {
    counters: [u64; COUNTERS],
    gauges: [u64; GAUGES],
    published: Arc<Published>,
}

impl LocalCounters {
    /// Counts one event; how many there have been.
    #[inline]
    pub fn count(&mut self, counter: Counter) -> u64 {
        let count = &mut self.counters[counter as usize];
        *count += 1;
        *count
    }

    /// Counts several events at once.
    pub fn add(&mut self, counter: Counter, events: usize) {
        self.counters[counter as usize] += events as u64;
    }

    /// Sets a gauge.
    pub fn set(&mut self, gauge: Gauge, value: usize) {
        self.gauges[gauge as usize] = value as u64;
    }

    /// Where this thread's part of a gauge stands.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize]
    }

    /// Moves a gauge one up.
    pub fn raise(&mut self, gauge: Gauge) {
        self.gauges[gauge as usize] += 1;
    }

    /// Moves a gauge one down.
    pub fn lower(&mut self, gauge: Gauge) {
        self.gauges[gauge as usize] = self.gauges[gauge as usize].saturating_sub(1);
    }

    /// Lets others see where the numbers stand.
    pub fn publish(&self) {
        let pairs = self.published.counters.iter().zip(&self.counters);
        pairs.for_each(|(place, number)| place.store(*number, Ordering::Relaxed));
        let pairs = self.published.gauges.iter().zip(&self.gauges);
        pairs.for_each(|(place, number)| place.store(*number, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_is_summed_once_it_is_published() {
        let counters = Counters::default();
        let mut threads = [counters.local(), counters.local()];
        for thread in &mut threads {
            thread.count(Counter::Scrape);
            thread.raise(Gauge::WaitingRequests);
        }
        assert_eq!(counters.count(Counter::Scrape), 0, "before it is published");
        threads.iter().for_each(LocalCounters::publish);
        assert_eq!(counters.count(Counter::Scrape), 2, "scrapes of both threads");
        assert_eq!(counters.gauge(Gauge::WaitingRequests), 2, "waiting requests of both threads");
        threads[0].lower(Gauge::WaitingRequests);
        threads[0].publish();
        assert_eq!(counters.gauge(Gauge::WaitingRequests), 1, "one is answered");
        assert_eq!(counters.count(Counter::Announce), 0, "nobody announced");
    }

    #[test]
    fn every_value_stands_at_its_own_index_and_has_a_name_of_its_own() {
        assert!(Counter::ALL.iter().enumerate().all(|(at, counter)| *counter as usize == at));
        assert!(Gauge::ALL.iter().enumerate().all(|(at, gauge)| *gauge as usize == at));
        let names = Counter::ALL.iter().map(|counter| counter.name());
        let mut names: Vec<_> = names.chain(Gauge::ALL.iter().map(|gauge| gauge.name())).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a name stands twice: {names:?}");
    }
}
