//! Limits that several modules must agree on.
//!
//! Owns: one definition of each. Whoever packs a value into fewer bits, or offers a setting for it,
//! takes the bound from here and joins the two by a `const` assert.

/// The longest lifetime of a peer after its last announce, milliseconds: the minimum and the
/// maximum interval together, of which neither is above three hours (newTrackon's limit for an
/// interval). The age of a peer is kept in twelve bits (`swarm::state`).
pub const LIFETIME_MS_MAX: u64 = 2 * 3 * 3_600_000;

/// The shortest such lifetime, milliseconds. Clients come back when they like: libtorrent never
/// sooner than after 5 minutes and rTorrent after 10, whatever they are told. Twice the longer one
/// gives a peer a second chance.
pub const LIFETIME_MS_MIN: u64 = 20 * 60_000;

/// The longest time for which an answer of the database is believed, milliseconds. Its end is kept
/// in twenty bits of a swarm's cache line (`swarm::registration`).
pub const VERDICT_MS_MAX: u64 = 12 * 3_600_000;
