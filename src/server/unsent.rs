//! What a connection has still to send: answers, and perhaps one large body behind them.
//!
//! Limits: the answers of one round ([`Output`](crate::frontend::Output)); the body is shared, not
//! copied.

use crate::frontend::LargeBody;

/// See the module.
#[derive(Default)]
pub(super) struct Unsent {
    pub(super) bytes: Vec<u8>,
    bytes_sent: usize,
    pub(super) body: Option<(LargeBody, usize)>,
}

impl Unsent {
    pub(super) fn rest(&self) -> &[u8] {
        match &self.body {
            _ if self.bytes_sent < self.bytes.len() => &self.bytes[self.bytes_sent..],
            Some((body, sent)) => &body.bytes()[*sent..],
            None => &[],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Memory goes as soon as what it held has gone.
    pub(super) fn advance(&mut self, bytes: usize) {
        if self.bytes_sent < self.bytes.len() {
            self.bytes_sent += bytes;
            if self.bytes_sent >= self.bytes.len() {
                (self.bytes, self.bytes_sent) = (Vec::new(), 0);
            }
        } else if let Some((_, sent)) = &mut self.body {
            *sent += bytes;
        }
        if self.is_empty() {
            self.body = None;
        }
    }
}
