//! The two bytes beside a peer's address: when it was last heard of, what it said of encryption,
//! and what counts for its completion.
//!
//! Owns: the bits of [`State`], and the arithmetic between a clock and the twelve bits of age they
//! have room for.
//!
//! Limits: a unit of age is 2^14 ms, 16 s, whatever the lifetime of peers, so that it may change
//! while they live. A stamp is one shift, and a peer is kept at most two units too long, never too
//! short. Twelve bits hold 4096 units. A peer that a sweep has just missed, then a pause of a
//! little less than a lifetime (longer ones clear the swarms), then a whole round: 2 + 3/64
//! lifetimes are still told from a fresh peer.

use crate::bounds::LIFETIME_MS_MAX;
use crate::ids::{Crypto, Millis};

const STAMP_BITS: u32 = 12;
const STAMP_MASK: u16 = (1 << STAMP_BITS) - 1;
const COUNTED: u16 = 1 << STAMP_BITS;
const SUPPORTS_CRYPTO: u16 = COUNTED << 1;
const REQUIRES_CRYPTO: u16 = SUPPORTS_CRYPTO << 1;
const HAS_LEECHED: u16 = REQUIRES_CRYPTO << 1;
const HISTORY_MASK: u16 = COUNTED | HAS_LEECHED;

/// A unit of age is `1 << UNIT_MS_SHIFT` milliseconds.
const UNIT_MS_SHIFT: u32 = 14;
/// A unit of age, milliseconds.
pub(super) const UNIT_MS: u64 = 1 << UNIT_MS_SHIFT;
/// The longest lifetime in units.
const UNITS_MAX: u64 = LIFETIME_MS_MAX.div_ceil(1 << UNIT_MS_SHIFT);
/// Ages from here on are of peers that were heard of by a clock that was read a little later.
const LATER_MIN: u16 = STAMP_MASK - 64;
const _: () = assert!(UNITS_MAX * (2 * 64 + 3) / 64 + 2 < LATER_MIN as u64);

/// A point in time in units of age, modulo 4096.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp(u16);

impl Stamp {
    /// The stamp of a peer that is heard of now.
    #[expect(clippy::cast_possible_truncation, reason = "the mask leaves twelve bits")]
    pub(super) fn of(now: Millis) -> Stamp {
        Stamp((now.0 >> UNIT_MS_SHIFT) as u16 & STAMP_MASK)
    }

    /// The stamp of a peer that was heard of at most `age_ms` ago, by this process or an earlier
    /// one: up to a unit too late, never too early.
    #[expect(clippy::cast_possible_truncation, reason = "the mask leaves twelve bits")]
    pub(super) fn of_earlier(now: Millis, age_ms: u64) -> Stamp {
        let heard_ms = now.0.cast_signed().wrapping_sub_unsigned(age_ms);
        let units = heard_ms.wrapping_add_unsigned(UNIT_MS - 1) >> UNIT_MS_SHIFT;
        let latest = (now.0 >> UNIT_MS_SHIFT).cast_signed();
        Stamp(units.min(latest) as u16 & STAMP_MASK)
    }
}

/// Which peers have lived their time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    now: Stamp,
    /// A peer older than this many units is gone; at most [`UNITS_MAX`].
    lifetime_units: u16,
}

impl Expiry {
    /// Those that were last heard of more than `lifetime_ms` before `now`; at most
    /// [`LIFETIME_MS_MAX`].
    pub(super) fn new(now: Millis, lifetime_ms: u64) -> Expiry {
        let units = lifetime_ms.div_ceil(1 << UNIT_MS_SHIFT).min(UNITS_MAX);
        Expiry { now: Stamp::of(now), lifetime_units: units as u16 }
    }

    /// Whether a peer of this state has. One that another worker has just heard of, by a clock that
    /// was read a little later, has not.
    pub(super) fn is_over(self, state: State) -> bool {
        state.age_units(self.now) > self.lifetime_units
    }
}

/// What a peer has been since it has been known: what its completion is judged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct History(u16);

impl History {
    /// Nothing that counts: a peer that has only been a seeder.
    pub(super) const NONE: History = History(0);
    /// A leecher, whose completion has not been counted.
    pub(super) const LEECHED: History = History(HAS_LEECHED);

    /// That of a peer which is known to have been a leecher, to have had its completion counted.
    pub(super) fn of(has_leeched: bool, is_counted: bool) -> History {
        let leeched = if has_leeched { HAS_LEECHED } else { 0 };
        History(leeched | if is_counted { COUNTED } else { 0 })
    }

    /// Whether the peer has been a leecher.
    pub(super) fn has_leeched(self) -> bool {
        self.0 & HAS_LEECHED != 0
    }

    /// Whether its completion has been counted.
    pub(super) fn is_counted(self) -> bool {
        self.0 & COUNTED != 0
    }

    /// What the peer has been by two reports together.
    pub(super) fn and(self, other: History) -> History {
        History(self.0 | other.0)
    }

    /// Whether a completion of the peer would be counted now.
    pub(super) fn may_complete(self) -> bool {
        self == History::LEECHED
    }

    /// The same with a completion that has been counted.
    pub(super) fn counted(self) -> History {
        History(self.0 | COUNTED)
    }

    /// The same after an announce as a leecher.
    pub(super) fn leeched(self) -> History {
        History(self.0 | HAS_LEECHED)
    }
}

/// What is known about a peer besides its address, id and class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State(u16);

impl State {
    /// A peer heard of at `stamp`.
    pub(super) fn new(stamp: Stamp, crypto: Crypto, history: History) -> State {
        let crypto = match crypto {
            Crypto::None => 0,
            Crypto::Supported => SUPPORTS_CRYPTO,
            Crypto::Required => SUPPORTS_CRYPTO | REQUIRES_CRYPTO,
        };
        State(stamp.0 | crypto | history.0)
    }

    /// The state as it lies in the last two bytes of a slot.
    pub(super) fn from_bytes(bytes: [u8; 2]) -> State {
        State(u16::from_le_bytes(bytes))
    }

    /// The last two bytes of a slot.
    pub(super) fn to_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }

    /// What the peer has been since it has been known.
    pub(super) fn history(self) -> History {
        History(self.0 & HISTORY_MASK)
    }

    /// The same with another history.
    pub(super) fn with_history(self, history: History) -> State {
        State(self.0 & !HISTORY_MASK | history.0)
    }

    /// How long ago the peer was last heard of, in units of age.
    pub(super) fn age_units(self, now: Stamp) -> u16 {
        let units = now.0.wrapping_sub(self.0) & STAMP_MASK;
        if units >= LATER_MIN { 0 } else { units }
    }

    /// Whether the peer takes encrypted connections.
    pub(super) fn supports_crypto(self) -> bool {
        self.0 & SUPPORTS_CRYPTO != 0
    }

    /// Whether the peer takes nothing but encrypted connections.
    pub(super) fn requires_crypto(self) -> bool {
        self.0 & REQUIRES_CRYPTO != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_over(lifetime_ms: u64, heard_ms: u64, now_ms: u64) -> bool {
        let state =
            State::new(Stamp::of(Millis(heard_ms)), Crypto::Required, History::LEECHED.counted());
        Expiry::new(Millis(now_ms), lifetime_ms).is_over(state)
    }

    #[test]
    fn a_peer_lives_its_lifetime_and_at_most_two_units_more_wherever_the_stamps_wrap() {
        for lifetime_ms in [1, UNIT_MS, UNIT_MS + 1, 61_000, 2_700_000, LIFETIME_MS_MAX] {
            for heard_ms in (0..10_000).map(|step| step * UNIT_MS + step % UNIT_MS) {
                assert!(
                    !is_over(lifetime_ms, heard_ms, heard_ms + lifetime_ms),
                    "{lifetime_ms} ms, heard at {heard_ms}: it has not lived its time"
                );
                assert!(
                    is_over(lifetime_ms, heard_ms, heard_ms + lifetime_ms + 2 * UNIT_MS),
                    "{lifetime_ms} ms, heard at {heard_ms}: it has"
                );
            }
        }
    }

    #[test]
    fn a_peer_that_a_later_clock_has_stamped_is_fresh() {
        for lifetime_ms in [1, UNIT_MS, 2_700_000, LIFETIME_MS_MAX] {
            for now_ms in (0..10_000).map(|step| step * UNIT_MS + UNIT_MS - 1) {
                for later_ms in [1, UNIT_MS, 63 * UNIT_MS] {
                    assert!(
                        !is_over(lifetime_ms, now_ms + later_ms, now_ms),
                        "{lifetime_ms} ms, heard {later_ms} ms after {now_ms} ms: it is gone"
                    );
                }
            }
        }
    }

    #[test]
    fn a_peer_missed_by_a_round_before_and_after_a_pause_is_still_old() {
        for lifetime_ms in [61_000, 2_700_000, LIFETIME_MS_MAX - 1, LIFETIME_MS_MAX] {
            let latest_ms = 2 * lifetime_ms + lifetime_ms * 3 / 64;
            assert!(is_over(lifetime_ms, 12_345, 12_345 + latest_ms), "{lifetime_ms} ms");
        }
    }

    #[test]
    fn a_shorter_lifetime_counts_for_peers_that_were_heard_of_under_a_longer_one() {
        let latest_ms = 2 * LIFETIME_MS_MAX + LIFETIME_MS_MAX * 3 / 64;
        assert!(is_over(61_000, 12_345, 12_345 + latest_ms), "its age has not wrapped");
    }

    #[test]
    fn the_flags_survive_the_bytes_and_leave_the_age_alone() {
        let stamp = Stamp(STAMP_MASK);
        for (crypto, supports, requires) in [
            (Crypto::None, false, false),
            (Crypto::Supported, true, false),
            (Crypto::Required, true, true),
        ] {
            let leeched = History::LEECHED;
            for history in [History::NONE, leeched, leeched.counted(), History::NONE.counted()] {
                let state = State::from_bytes(State::new(stamp, crypto, history).to_bytes());
                let flags = (state.history(), state.supports_crypto(), state.requires_crypto());
                assert_eq!(
                    (flags, state.0 & STAMP_MASK),
                    ((history, supports, requires), STAMP_MASK)
                );
            }
        }
    }
}
