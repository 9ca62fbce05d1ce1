//! What any module counts: plain adds of a thread's own, summed only when somebody reads them.
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

use crate::ids::{Family, Millis};

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

            /// The name it goes by in the log. Neighbours that share one are told as their sum.
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
        /// An announce over HTTP from an IPv4 client, whatever came of it.
        AnnounceHttpV4 = "announces",
        /// The same from an IPv6 client.
        AnnounceHttpV6 = "announces",
        /// An announce over UDP from an IPv4 client, whatever came of it.
        AnnounceUdpV4 = "announces",
        /// The same from an IPv6 client.
        AnnounceUdpV6 = "announces",
        /// A scrape of named torrents over HTTP from an IPv4 client, whatever came of it.
        ScrapeHttpV4 = "scrapes",
        /// The same from an IPv6 client.
        ScrapeHttpV6 = "scrapes",
        /// A scrape over UDP from an IPv4 client, whatever came of it.
        ScrapeUdpV4 = "scrapes",
        /// The same from an IPv6 client.
        ScrapeUdpV6 = "scrapes",
        /// A full scrape from an IPv4 client, whatever came of it.
        FullScrapeV4 = "full scrapes",
        /// The same from an IPv6 client.
        FullScrapeV6 = "full scrapes",
        /// A packet from an IPv4 client that asked for a connection id.
        ConnectV4 = "connects",
        /// The same from an IPv6 client.
        ConnectV6 = "connects",
        /// A request answered with a failure: a field is missing.
        RefusedField = "refused",
        /// The info hash is not 20 bytes.
        RefusedInfoHash = "refused",
        /// The peer id is not 20 bytes.
        RefusedPeerId = "refused",
        /// The port is no port.
        RefusedPort = "refused",
        /// The torrent is not registered.
        RefusedNotRegistered = "refused",
        /// The torrent is banned.
        RefusedBanned = "refused",
        /// The database is away, and nothing is known of the torrent.
        RefusedUnavailable = "refused",
        /// A queue is full.
        RefusedBusy = "refused",
        /// More announces have come from the address than it may make.
        RefusedTooOften = "refused",
        /// The full scrape is off, too large, or was asked for too soon.
        RefusedFullScrape = "refused",
        /// A request of which a trusted proxy did not say whose it is.
        UnknownClient = "of unknown clients",
        /// A request that was not HTTP: 400.
        FaultBadRequest = "faults",
        /// One for another path: 404.
        FaultNotFound = "faults",
        /// One with another method: 405.
        FaultMethod = "faults",
        /// One of which the rest did not come: 408.
        FaultTimeout = "faults",
        /// One with too long a target: 414.
        FaultTarget = "faults",
        /// One with too many headers, or too long ones: 431.
        FaultHeaders = "faults",
        /// One that there was no room for: 503.
        FaultOverloaded = "faults",
        /// Bytes read from connections.
        BytesReceivedHttp = "bytes received over HTTP",
        /// Bytes written to connections.
        BytesSentHttp = "bytes sent over HTTP",
        /// Bytes of datagrams that were read.
        BytesReceivedUdp = "bytes received over UDP",
        /// Bytes of datagrams that were sent.
        BytesSentUdp = "bytes sent over UDP",
        /// A datagram was received, whatever came of it.
        Datagram = "datagrams",
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
        /// A connection was past the rate of its address, and was turned away.
        ConnectionOverRate = "connections over a rate",
        /// A packet that asked for a connection id was past the rate of its address.
        ConnectOverRate = "connects over a rate",
    }
}

counted! {
    /// A number that goes up and down.
    Gauge {
        /// Connections that are open.
        OpenConnections = "open connections",
        /// Requests that wait for the registry or for a full scrape.
        WaitingRequests = "waiting requests",
        /// When the swarms were last saved, seconds by the wall clock; 0 before the first time.
        SnapshotUnixS = "is when the last snapshot was made",
        /// Bytes of that snapshot.
        SnapshotBytes = "bytes of the last snapshot",
    }
}

/// How the tracker was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP.
    Http,
    /// UDP (BEP 15).
    Udp,
}

impl Counter {
    /// An announce.
    #[inline]
    pub fn announce(protocol: Protocol, family: Family) -> Counter {
        match (protocol, family) {
            (Protocol::Http, Family::V4) => Counter::AnnounceHttpV4,
            (Protocol::Http, Family::V6) => Counter::AnnounceHttpV6,
            (Protocol::Udp, Family::V4) => Counter::AnnounceUdpV4,
            (Protocol::Udp, Family::V6) => Counter::AnnounceUdpV6,
        }
    }

    /// A scrape of named torrents.
    #[inline]
    pub fn scrape(protocol: Protocol, family: Family) -> Counter {
        match (protocol, family) {
            (Protocol::Http, Family::V4) => Counter::ScrapeHttpV4,
            (Protocol::Http, Family::V6) => Counter::ScrapeHttpV6,
            (Protocol::Udp, Family::V4) => Counter::ScrapeUdpV4,
            (Protocol::Udp, Family::V6) => Counter::ScrapeUdpV6,
        }
    }

    /// A full scrape.
    pub fn full_scrape(family: Family) -> Counter {
        match family {
            Family::V4 => Counter::FullScrapeV4,
            Family::V6 => Counter::FullScrapeV6,
        }
    }

    /// A question for a connection id.
    #[inline]
    pub fn connect(family: Family) -> Counter {
        match family {
            Family::V4 => Counter::ConnectV4,
            Family::V6 => Counter::ConnectV6,
        }
    }

    /// Whether it counts announces and scrapes: what clients come for.
    pub fn is_request(self) -> bool {
        matches!(self.name(), "announces" | "scrapes" | "full scrapes")
    }
}

counted! {
    /// A number of which the largest so far is kept.
    Peak {
        /// Microseconds of the longest round of an event loop, of those that moved some kilobytes.
        RoundUs = "microseconds of the longest round",
    }
}

const COUNTERS: usize = Counter::ALL.len();
const GAUGES: usize = Gauge::ALL.len();
const PEAKS: usize = Peak::ALL.len();

/// One thread's numbers as others may read them, on cache lines of their own.
#[repr(align(128))]
struct Published {
    counters: [AtomicU64; COUNTERS],
    gauges: [AtomicU64; GAUGES],
    peaks: [AtomicU64; PEAKS],
    /// When the thread's last round was, milliseconds; 0 for one that has no rounds.
    round_at: AtomicU64,
}

impl Default for Published {
    fn default() -> Published {
        Published {
            counters: [const { AtomicU64::new(0) }; COUNTERS],
            gauges: [const { AtomicU64::new(0) }; GAUGES],
            peaks: [const { AtomicU64::new(0) }; PEAKS],
            round_at: AtomicU64::new(0),
        }
    }
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

    /// How often clients have asked for something, over any protocol.
    pub fn requests(&self) -> u64 {
        let all = Counter::ALL.iter().filter(|counter| counter.is_request());
        all.map(|counter| self.count(*counter)).sum()
    }

    /// Every name with how often that has happened, in the order of the list.
    pub fn by_name(&self) -> Vec<(&'static str, u64)> {
        let mut named: Vec<(&'static str, u64)> = Vec::new();
        for counter in Counter::ALL {
            let count = self.count(*counter);
            match named.last_mut() {
                Some((name, sum)) if *name == counter.name() => *sum += count,
                _ => named.push((counter.name(), count)),
            }
        }
        named
    }

    /// Where a gauge stands.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.sum(|published| &published.gauges[gauge as usize])
    }

    /// Workers that have said at this time or later that they go round.
    pub fn going_round_since(&self, since: Millis) -> usize {
        let threads = self.0.lock();
        let times = threads.iter().map(|thread| thread.round_at.load(Ordering::Relaxed));
        times.filter(|at| *at > 0 && *at >= since.0).count()
    }

    /// The largest value of any thread so far.
    pub fn peak(&self, peak: Peak) -> u64 {
        let threads = self.0.lock();
        let values = threads.iter().map(|published| &published.peaks[peak as usize]);
        values.map(|value| value.load(Ordering::Relaxed)).max().unwrap_or(0)
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

    /// How often this thread has counted something.
    pub fn so_far(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Takes note of a value, of which the largest is kept.
    pub fn note(&self, peak: Peak, value: u64) {
        self.published.peaks[peak as usize].fetch_max(value, Ordering::Relaxed);
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

    /// Lets others see that this worker goes round.
    pub fn note_round(&self, now: Millis) {
        // Never 0, which stands for a thread without rounds.
        self.published.round_at.store(now.0.max(1), Ordering::Relaxed);
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
            thread.count(Counter::ScrapeUdpV6);
            thread.raise(Gauge::WaitingRequests);
        }
        assert_eq!(counters.count(Counter::ScrapeUdpV6), 0, "before it is published");
        threads.iter().for_each(LocalCounters::publish);
        assert_eq!(counters.going_round_since(Millis(0)), 0, "none has rounds");
        assert_eq!(counters.count(Counter::ScrapeUdpV6), 2, "scrapes of both threads");
        assert_eq!(counters.requests(), 2, "requests of both threads");
        assert_eq!(counters.gauge(Gauge::WaitingRequests), 2, "waiting requests of both threads");
        for (thread, value) in [(0, 7), (1, 9), (1, 3)] {
            threads[thread].note(Peak::RoundUs, value);
        }
        assert_eq!(counters.peak(Peak::RoundUs), 9, "the largest of both threads");
        threads[0].lower(Gauge::WaitingRequests);
        threads[0].note_round(Millis(9));
        assert_eq!(counters.going_round_since(Millis(6)), 1, "one goes round");
        assert_eq!(counters.going_round_since(Millis(10)), 0, "it has stopped");
        threads[0].publish();
        assert_eq!(counters.gauge(Gauge::WaitingRequests), 1, "one is answered");
        assert_eq!(counters.count(Counter::AnnounceUdpV6), 0, "nobody announced");
    }

    #[test]
    fn every_value_stands_at_its_own_index_and_has_a_name_of_its_own() {
        assert!(Counter::ALL.iter().enumerate().all(|(at, counter)| *counter as usize == at));
        assert!(Gauge::ALL.iter().enumerate().all(|(at, gauge)| *gauge as usize == at));
        let counters = Counters::default().by_name();
        let names = counters.iter().map(|(name, _)| *name);
        let mut names: Vec<_> = names.chain(Gauge::ALL.iter().map(|gauge| gauge.name())).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a name stands twice: {names:?}");
    }

    #[test]
    fn neighbours_of_one_name_are_told_as_their_sum() {
        let counters = Counters::default();
        let mut thread = counters.local();
        for protocol in [Protocol::Http, Protocol::Udp] {
            for family in [Family::V4, Family::V6] {
                thread.count(Counter::announce(protocol, family));
                thread.count(Counter::scrape(protocol, family));
            }
        }
        thread.publish();
        let told = counters.by_name();
        assert!(told.contains(&("announces", 4)) && told.contains(&("scrapes", 4)), "{told:?}");
    }
}
