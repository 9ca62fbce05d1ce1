//! What tests announce to a store.
//!
//! Owns: the moment of an announce in open mode, and the limits that usually hold then.

use crate::config::SwarmLimits;
use crate::ids::Millis;
use crate::listing::Served;
use crate::swarm::Moment;

/// Whatever fits, for 64 units of age.
pub const LIMITS: SwarmLimits =
    SwarmLimits { lifetime_ms: 1 << 20, peers_max: u64::MAX, torrents_max: u64::MAX };

/// An announce in open mode, within [`LIMITS`].
pub fn open_at(now: Millis) -> Moment<'static> {
    Moment { now, limits: &LIMITS, served: Served::OPEN }
}
