//! Where answers are written: a worker's one buffer, as a bounded sequence of whole answers.

use crate::wire::bencode::Full;

/// Answers one behind the other in a borrowed buffer. Never grows, and an answer is in it whole or
/// not at all.
pub struct Output<'b> {
    buffer: &'b mut [u8],
    bytes: usize,
}

impl<'b> Output<'b> {
    /// An empty output over `buffer`.
    pub fn new(buffer: &'b mut [u8]) -> Output<'b> {
        Output { buffer, bytes: 0 }
    }

    /// Bytes that still fit.
    pub fn free(&self) -> usize {
        self.buffer.len() - self.bytes
    }

    /// The answers so far.
    pub fn filled(&self) -> &[u8] {
        &self.buffer[..self.bytes]
    }

    /// Has `write` put one answer into the free space and say how long it is.
    ///
    /// # Panics
    /// In debug builds when the answer does not fit: the caller makes room for the largest one
    /// first.
    #[inline]
    pub fn write(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, Full>) {
        let written = write(&mut self.buffer[self.bytes..]);
        debug_assert!(written.is_ok(), "an answer did not fit {} bytes", self.free());
        self.bytes += written.unwrap_or(0);
    }
}
