//! What tests announce to a store.
//!
//! Owns: the moment of an announce in open mode.

use crate::ids::Millis;
use crate::listing::Served;
use crate::swarm::Moment;

/// An announce in open mode.
pub fn open_at(now: Millis) -> Moment {
    Moment { now, served: Served::OPEN }
}
