//! How many completions of one address were counted in one torrent.
//!
//! Owns: a table of fixed size with the pairs of torrent and address whose completions were counted
//! last. One client could otherwise write downloads into a database as fast as it can announce,
//! from a port or under a peer id of its own each time.
//!
//! Never: is asked but where a completion would be counted.
//!
//! Limits: [`COMPLETIONS_MAX`] in a lifetime of peers, for each of [`SETS`] times [`WAYS`] pairs.
//! Where a pair more has a completion counted, the one with the fewest of those that share its set
//! is forgotten, and begins anew. Which share one follows from a key that strangers do not know.

use parking_lot::Mutex;

use crate::ids::Millis;

/// Completions of one address in one torrent that are counted in a lifetime.
pub(super) const COMPLETIONS_MAX: u16 = 64;
const SETS: usize = 2_048;
const WAYS: usize = 8;

#[derive(Clone, Copy, Default)]
struct Entry {
    /// The pair, hashed; 0 where there is none.
    pair: u64,
    since: Millis,
    completions: u16,
}

/// See the module.
pub(super) struct Completions(Mutex<Box<[[Entry; WAYS]]>>);

const _: () = assert!(SETS * WAYS * size_of::<Entry>() <= 512 << 10);

impl Completions {
    /// None so far.
    pub(super) fn new() -> Completions {
        Completions(Mutex::new(vec![[Entry::default(); WAYS]; SETS].into_boxed_slice()))
    }

    /// Counts one more for a pair, by its hash, unless there have been enough.
    pub(super) fn admit(&self, pair: u64, now: Millis, lifetime_ms: u64) -> bool {
        let mut sets = self.0.lock();
        let Some(set) = sets.get_mut((pair >> 32) as usize % SETS) else { return true };
        let is_over = |entry: &Entry| now.since(entry.since) > lifetime_ms;
        let at = set.iter().position(|entry| entry.pair == pair).unwrap_or_else(|| {
            let fewest = |entry: &Entry| if is_over(entry) { 0 } else { entry.completions };
            (0..WAYS).min_by_key(|at| fewest(&set[*at])).unwrap_or(0)
        });
        let entry = &mut set[at];
        if entry.pair != pair || is_over(entry) {
            *entry = Entry { pair, since: now, completions: 0 };
        }
        let is_admitted = entry.completions < COMPLETIONS_MAX;
        entry.completions += u16::from(is_admitted);
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME_MS: u64 = 1_000;

    #[test]
    fn sixty_four_completions_of_a_pair_are_counted_in_a_lifetime() {
        let completions = Completions::new();
        let count = |pair: u64, at: u64, times: usize| {
            (0..times).filter(|_| completions.admit(pair, Millis(at), LIFETIME_MS)).count()
        };
        assert_eq!(count(1 << 40, 5, 1_000), 64, "of one pair");
        assert_eq!(count(2 << 40, 5, 10), 10, "of another");
        assert_eq!(count(1 << 40, 5 + LIFETIME_MS, 9), 0, "at the end of the lifetime");
        assert_eq!(count(1 << 40, 6 + LIFETIME_MS, 70), 64, "after it");
    }

    #[test]
    fn who_has_had_enough_is_not_forgotten_for_many_who_had_few() {
        let completions = Completions::new();
        let admit = |pair| completions.admit(pair, Millis(0), LIFETIME_MS);
        let full = 7 << 32 | 1;
        (0..100).for_each(|_| _ = admit(full));
        (2..1_000).for_each(|other| assert!(admit(7 << 32 | other), "the first of {other}"));
        assert!(!admit(full), "one more of who has had enough");
    }
}
