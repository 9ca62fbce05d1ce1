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

/// Peers in one answer, whatever the settings say: what the preallocated answer holds.
pub const PEERS_PER_REPLY_MAX: usize = 500;

/// Characters of a torrent's name or of the reason for a ban: what their columns hold,
/// `varchar(255)`.
pub const TEXT_CHARS_MAX: usize = 255;

/// Bytes of such a text in an answer: as many characters of MySQL's three-byte UTF-8. What is
/// longer is cut.
pub const TEXT_BYTES_MAX: usize = 3 * TEXT_CHARS_MAX;
