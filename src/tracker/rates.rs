//! How often an address has asked lately, where the settings limit it.
//!
//! Owns: a token bucket for each address (over IPv6, each /64) that asked lately, shared by all
//! workers without a lock. A bucket is one word: who it is of, and when it will be full again
//! (GCRA). A bucket that is full again is no information, and the next address takes its place; if
//! none in its line is, the one that is nearest to full goes. Places follow from a keyed hash, so
//! nobody can choose addresses that push a certain other one out.
//!
//! Never: reads a clock.
//!
//! Limits: [`LINES`] lines of eight addresses, 512 KiB for each kind of request, taken when its
//! limit is first set. Two workers that take from one bucket at the same moment may both succeed.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;

use crate::config::Rate;
use crate::ids::{Millis, host};

const LINES: usize = 1 << 13;
const BUCKETS_PER_LINE: usize = 8;
/// The time of a bucket: sixteenths of a millisecond in 40 bits, two years until they begin anew.
const UNITS_PER_MS: u64 = 16;
const TIME_MASK: u64 = (1 << 40) - 1;
/// What is taken of a bucket that others may not have any more: this many times what it holds.
const PATIENT_FACTOR: u64 = 4;

/// Buckets that share a cache line.
#[repr(align(64))]
#[derive(Default)]
struct Line([AtomicU64; BUCKETS_PER_LINE]);

/// The buckets of one kind of request.
pub struct Buckets {
    keys: RandomState,
    lines: OnceLock<Box<[Line]>>,
}

/// See the module: the buckets of each kind.
#[derive(Default)]
pub struct Rates {
    /// Announces.
    pub announces: Buckets,
    /// New TCP connections.
    pub connections: Buckets,
    /// UDP packets that ask for a connection id.
    pub connects: Buckets,
}

/// Whether a request may be refused as soon as the rate is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strictness {
    /// It may.
    Plain,
    /// What it reports is worth more than others: only far above the rate.
    Patient,
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets { keys: RandomState::new(), lines: OnceLock::new() }
    }
}

impl Buckets {
    /// Takes one from the bucket of `ip`, if there is one left.
    pub fn take(&self, ip: IpAddr, rate: Rate, strictness: Strictness, now: Millis) -> bool {
        let count = u64::from(rate.count.get());
        let step = (rate.period_ms() * UNITS_PER_MS / count).max(1);
        let whole = step * count;
        let debt_max = match strictness {
            Strictness::Plain => whole,
            Strictness::Patient => PATIENT_FACTOR * whole,
        };
        let lines = self.lines.get_or_init(|| (0..LINES).map(|_| Line::default()).collect());
        let hash = self.keys.hash_one(host(ip));
        // The position is the lower half's, so the name must not be.
        let name = hash | 1 << 40;
        let position = usize::try_from(hash % LINES as u64).unwrap_or_default();
        let now = (now.0 * UNITS_PER_MS) & TIME_MASK;
        let debt_of = |bucket: u64| match bucket.wrapping_sub(now) & TIME_MASK {
            debt if debt <= PATIENT_FACTOR * whole => debt,
            // In the past, or of a slower rate than now.
            _ => 0,
        };
        let (bucket, seen, debt) = find(&lines[position], name, debt_of);
        if debt + step > debt_max {
            return false;
        }
        let full_at = (now + debt + step) & TIME_MASK;
        let taken = name & !TIME_MASK | full_at;
        // Somebody else took from it meanwhile: one too many is let in.
        let _ = bucket.compare_exchange(seen, taken, Ordering::Relaxed, Ordering::Relaxed);
        true
    }
}

/// The bucket of `name`, its value and its debt; else the one in its line that is nearest to full,
/// as a full one.
fn find(line: &Line, name: u64, debt_of: impl Fn(u64) -> u64) -> (&AtomicU64, u64, u64) {
    let mut replaced = (&line.0[0], 0, u64::MAX);
    for bucket in &line.0 {
        let seen = bucket.load(Ordering::Relaxed);
        // Nobody's bucket has a name without the lowest bit.
        let debt = if seen & !TIME_MASK == 0 { 0 } else { debt_of(seen) };
        if seen & !TIME_MASK == name & !TIME_MASK {
            return (bucket, seen, debt);
        }
        if debt < replaced.2 {
            replaced = (bucket, seen, debt);
        }
    }
    (replaced.0, replaced.1, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse::<crate::config::RateSetting>().unwrap().0.unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `tries` in `ms` milliseconds were let in.
    fn taken(buckets: &Buckets, ip: IpAddr, rate: Rate, (tries, ms): (u64, u64)) -> u64 {
        let take = |n| buckets.take(ip, rate, Strictness::Plain, Millis(1_000 + n * ms / tries));
        (0..tries).filter(|n| take(*n)).count() as u64
    }

    #[test]
    fn an_address_has_its_rate_and_as_many_at_once() {
        let rows = [
            ("10/s", (1_000, 0), 10..=10),
            ("10/s", (1_000, 1_000), 19..=20),
            ("10/s", (100, 10_000), 100..=100),
            ("10/s", (1_000, 10_000), 108..=110),
            ("60/m", (1_000, 0), 60..=60),
            ("60/m", (10_000, 60_000), 118..=120),
            ("1/m", (1_000, 59_000), 1..=1),
            ("1000/s", (10_000, 1_000), 1_990..=2_000),
            ("1000000/s", (10_000, 1_000), 10_000..=10_000),
        ];
        for (text, tries, expected) in rows {
            let taken = taken(&Buckets::default(), ip("192.0.2.1"), rate(text), tries);
            assert!(expected.contains(&taken), "{text}: {taken} of {tries:?}, not {expected:?}");
        }
    }

    #[test]
    fn addresses_do_not_share_a_bucket_but_those_of_a_64_do() {
        let (buckets, rate) = (Buckets::default(), rate("1/m"));
        let take = |text| buckets.take(ip(text), rate, Strictness::Plain, Millis(5));
        assert!(take("192.0.2.1") && !take("192.0.2.1"), "one, and no more");
        assert!(take("192.0.2.2"), "another address");
        assert!(take("2001:db8::1") && !take("2001:db8::2"), "two of a /64");
        assert!(take("2001:db8:0:1::1"), "another /64");
        let patient = |n| buckets.take(ip("192.0.2.1"), rate, Strictness::Patient, Millis(n));
        let exempt = (5..15).filter(|n| patient(*n)).count();
        assert_eq!(exempt, 3, "what is exempt is so up to four times the rate");
    }

    #[test]
    fn who_asks_most_is_remembered_whatever_else_comes() {
        let (buckets, rate) = (Buckets::default(), rate("100/m"));
        let heavy = ip("192.0.2.1");
        assert_eq!(taken(&buckets, heavy, rate, (200, 0)), 100);
        for n in 0..1_000_000_u32 {
            buckets.take(IpAddr::from(n.to_be_bytes()), rate, Strictness::Plain, Millis(1_000));
        }
        assert!(
            !buckets.take(heavy, rate, Strictness::Plain, Millis(1_000)),
            "a million others made it forgotten"
        );
    }
}
