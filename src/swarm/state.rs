//! The two bytes beside a peer's address: when it was last heard of, and what it said of
//! encryption.
//!
//! Owns: the bits of [`State`], and [`Ages`], the arithmetic between a clock and the twelve bits of
//! age they have room for.
//!
//! Limits: a unit of age is the least power of two of milliseconds of which [`AGE_UNITS_MAX`] make
//! a lifetime, so a stamp is one shift and a peer is kept at most 1/480 of a lifetime too long,
//! never too short. Twelve bits hold 4096 units. A peer that a sweep has just missed, then a pause
//! of a little less than a lifetime (longer ones clear the swarms), then a whole round: 2 +
//! 3/64 lifetimes, 3 930 units, are still told from a fresh peer.

use crate::ids::{Crypto, Millis};

const STAMP_BITS: u32 = 12;
const STAMP_MASK: u16 = (1 << STAMP_BITS) - 1;
const COUNTED: u16 = 1 << STAMP_BITS;
const SUPPORTS_CRYPTO: u16 = COUNTED << 1;
const REQUIRES_CRYPTO: u16 = SUPPORTS_CRYPTO << 1;

/// The most units of age that a lifetime is cut into.
const AGE_UNITS_MAX: u64 = 1920;

/// A point in time in units of age, modulo 4096.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp(u16);

/// How the clock of one store is cut into units of age.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    /// A unit is `1 << unit_shift` milliseconds.
    unit_shift: u32,
    /// A peer older than this many units is gone; at most [`AGE_UNITS_MAX`].
    units_max: u16,
}

impl Ages {
    /// The units for peers that live `lifetime_ms` milliseconds after they were last heard of.
    pub(super) fn new(lifetime_ms: u64) -> Ages {
        let unit_ms = lifetime_ms.div_ceil(AGE_UNITS_MAX).next_power_of_two();
        let units = lifetime_ms.div_ceil(unit_ms);
        Ages {
            unit_shift: unit_ms.trailing_zeros(),
            units_max: u16::try_from(units).unwrap_or(STAMP_MASK / 2),
        }
    }

    /// The stamp of a peer that is heard of now.
    #[expect(clippy::cast_possible_truncation, reason = "the mask leaves twelve bits")]
    pub(super) fn stamp(self, now: Millis) -> Stamp {
        Stamp((now.0 >> self.unit_shift) as u16 & STAMP_MASK)
    }

    /// Whether a peer of this state has lived its time at `now`.
    pub(super) fn is_over(self, state: State, now: Stamp) -> bool {
        (now.0.wrapping_sub(state.0) & STAMP_MASK) > self.units_max
    }
}

/// What is known about a peer besides its address, id and class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State(u16);

impl State {
    /// A peer heard of at `stamp`; `counted` when its completion is in the torrent's `downloaded`.
    pub(super) fn new(stamp: Stamp, crypto: Crypto, counted: bool) -> State {
        let crypto = match crypto {
            Crypto::None => 0,
            Crypto::Supported => SUPPORTS_CRYPTO,
            Crypto::Required => SUPPORTS_CRYPTO | REQUIRES_CRYPTO,
        };
        State(stamp.0 | crypto | if counted { COUNTED } else { 0 })
    }

    /// The state as it lies in the last two bytes of a slot.
    pub(super) fn from_bytes(bytes: [u8; 2]) -> State {
        State(u16::from_le_bytes(bytes))
    }

    /// The last two bytes of a slot.
    pub(super) fn to_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }

    /// Whether the peer's completion has been counted since it has been known.
    pub(super) fn is_counted(self) -> bool {
        self.0 & COUNTED != 0
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

    const LIFETIME_MS: u64 = 2_700_000;

    fn is_over(ages: Ages, heard_ms: u64, now_ms: u64) -> bool {
        let state = State::new(ages.stamp(Millis(heard_ms)), Crypto::Required, true);
        ages.is_over(state, ages.stamp(Millis(now_ms)))
    }

    #[test]
    fn a_peer_lives_its_lifetime_and_at_most_two_units_more_wherever_the_stamps_wrap() {
        for lifetime_ms in [1, 1919, 1920, 1921, 60_000, LIFETIME_MS, 86_400_000] {
            let ages = Ages::new(lifetime_ms);
            let unit_ms = 1 << ages.unit_shift;
            for heard_ms in (0..10_000).map(|step| step * unit_ms + step % unit_ms) {
                assert!(
                    !is_over(ages, heard_ms, heard_ms + lifetime_ms),
                    "{lifetime_ms} ms, heard at {heard_ms}"
                );
                assert!(
                    is_over(ages, heard_ms, heard_ms + lifetime_ms + 2 * unit_ms),
                    "{lifetime_ms} ms, heard at {heard_ms}"
                );
            }
        }
    }

    #[test]
    fn a_peer_missed_by_a_round_before_and_after_a_pause_is_still_old() {
        for lifetime_ms in (1920..=2 * 1920).chain([LIFETIME_MS]) {
            let latest_ms = 2 * lifetime_ms + lifetime_ms * 3 / 64;
            assert!(
                is_over(Ages::new(lifetime_ms), 12_345, 12_345 + latest_ms),
                "{lifetime_ms} ms"
            );
        }
    }

    #[test]
    fn a_unit_is_at_most_a_960th_of_a_lifetime() {
        for lifetime_ms in [1920, 1921, 3000, 3840, 3841, LIFETIME_MS] {
            let ages = Ages::new(lifetime_ms);
            assert!((960..=1920).contains(&ages.units_max), "{lifetime_ms} ms: {ages:?}");
        }
    }

    #[test]
    fn the_flags_survive_the_bytes_and_leave_the_age_alone() {
        let stamp = Stamp(STAMP_MASK);
        for (crypto, supports, requires) in [
            (Crypto::None, false, false),
            (Crypto::Supported, true, false),
            (Crypto::Required, true, true),
        ] {
            for counted in [false, true] {
                let state = State::from_bytes(State::new(stamp, crypto, counted).to_bytes());
                let flags = (state.is_counted(), state.supports_crypto(), state.requires_crypto());
                assert_eq!(
                    (flags, state.0 & STAMP_MASK),
                    ((counted, supports, requires), STAMP_MASK)
                );
            }
        }
    }
}
