//! Tells one database from others, so that what was kept of one is not taken for another's.
//!
//! Never: a user or a password in it.

use sha2::{Digest, Sha256};

/// Tells one database from others: a hash of where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub(in crate::registry) [u8; 32]);

impl Fingerprint {
    /// Of the database at `place`, which names neither a user nor a password.
    pub fn of(kind: &str, place: &[u8]) -> Fingerprint {
        Fingerprint(
            Sha256::new()
                .chain_update(kind)
                .chain_update([0])
                .chain_update(place)
                .finalize()
                .into(),
        )
    }
}
