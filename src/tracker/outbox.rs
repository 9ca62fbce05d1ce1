//! Where replies are written: a worker's one buffer, seen as a bounded queue of whole replies.

use crate::wire::bencode::Full;

/// Replies one behind the other in a borrowed buffer. Never grows, and a reply is in it whole or
/// not at all.
pub struct Outbox<'b> {
    buffer: &'b mut [u8],
    bytes: usize,
}

impl<'b> Outbox<'b> {
    /// An empty outbox over `buffer`.
    pub fn new(buffer: &'b mut [u8]) -> Outbox<'b> {
        Outbox { buffer, bytes: 0 }
    }

    /// Bytes that still fit.
    pub fn free(&self) -> usize {
        self.buffer.len() - self.bytes
    }

    /// The replies so far.
    pub fn filled(&self) -> &[u8] {
        &self.buffer[..self.bytes]
    }

    /// Has `write` put one reply into the free space and say how long it is.
    ///
    /// # Panics
    /// In debug builds when the reply does not fit: the caller makes room for the largest one
    /// first.
    pub fn write(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, Full>) {
        let written = write(&mut self.buffer[self.bytes..]);
        debug_assert!(written.is_ok(), "a reply did not fit {} bytes", self.free());
        self.bytes += written.unwrap_or(0);
    }
}
