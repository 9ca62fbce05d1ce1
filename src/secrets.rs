//! What strangers must not be able to guess, and what must be new in every process.
//!
//! Owns: the one way to the system's randomness. Keys of hash tables and the seeds of choices come
//! from here: info hashes and ports are chosen by strangers, and the intervals in answers show what
//! follows from a guessed seed.

use std::io;

/// So many random bytes.
///
/// # Errors
/// When the system has no randomness to give.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// A random key or seed.
///
/// # Errors
/// As [`bytes`].
pub fn key() -> io::Result<u64> {
    bytes().map(u64::from_ne_bytes)
}
