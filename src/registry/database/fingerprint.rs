//! Tells one database from others, so that what was kept of one is not taken for another's.
//!
//! Never: a user or a password in it.

use sha2::{Digest, Sha256};

/// Tells one database from others: a hash of where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub(in crate::registry) [u8; 32]);

impl Fingerprint {
    /// The first bytes of it: enough to tell the databases of one tracker from each other.
    pub fn short<const N: usize>(&self) -> [u8; N] {
        let mut short = [0; N];
        short.iter_mut().zip(self.0).for_each(|(short, byte)| *short = byte);
        short
    }

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
