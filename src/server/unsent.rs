//! What a connection has still to send: answers, and perhaps one large body behind them.
//!
//! A large body goes out in pieces, each of which is paid for by the pace that all large bodies
//! keep together; answers are not.
//!
//! Limits: the answers of one round ([`Output`](crate::frontend::Output)); the body is shared, not
//! copied, and has one total time.

use crate::frontend::LargeBody;
use crate::ids::Millis;
use crate::tracker::Round;

/// See the module.
#[derive(Default)]
pub(super) struct Unsent {
    pub(super) bytes: Vec<u8>,
    bytes_sent: usize,
    body: Option<Box<BodyOnItsWay>>,
}

struct BodyOnItsWay {
    body: LargeBody,
    sent: usize,
    /// When it must be through, however its reader dawdles: it keeps a copy in memory until then.
    until: Millis,
}

impl Unsent {
    pub(super) fn rest(&self) -> &[u8] {
        match &self.body {
            _ if self.has_answers() => &self.bytes[self.bytes_sent..],
            Some(on_its_way) => &on_its_way.body.bytes()[on_its_way.sent..],
            None => &[],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_answers() && self.body.is_none()
    }

    /// Whether answers are left; they go before the body.
    fn has_answers(&self) -> bool {
        self.bytes_sent < self.bytes.len()
    }

    pub(super) fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// A large body follows the answers.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_body(&mut self, body: LargeBody, round: &Round<'_>) {
        let until = round.now.plus(body.ms_max(round.live.full_scrape.bytes_per_s));
        self.body =
            (!body.bytes().is_empty()).then(|| Box::new(BodyOnItsWay { body, sent: 0, until }));
    }

    /// When the whole of it must be sent if the next byte is taken within `send_ms`.
    #[cold]
    #[inline(never)]
    pub(super) fn deadline(&self, now: Millis, send_ms: u64) -> Millis {
        let until = self.body.as_ref().map(|on_its_way| on_its_way.until);
        now.plus(send_ms).min(until.unwrap_or(Millis(u64::MAX)))
    }

    /// Bytes of the rest that may be written now, `bytes_max` at most; none while the body has to
    /// wait for the pace.
    pub(super) fn take_piece(&self, bytes_max: usize, round: &Round<'_>) -> Option<usize> {
        let bytes = self.rest().len().min(bytes_max);
        match &self.body {
            Some(on_its_way) if !self.has_answers() => {
                let bytes_per_s = round.live.full_scrape.bytes_per_s;
                on_its_way.body.take(bytes, round.now, bytes_per_s).then_some(bytes)
            }
            _ => Some(bytes),
        }
    }

    /// `bytes` of the piece that was taken are not written.
    pub(super) fn give_back(&self, bytes: usize, round: &Round<'_>) {
        if let Some(on_its_way) = &self.body
            && !self.has_answers()
        {
            on_its_way.body.give_back(bytes, round.live.full_scrape.bytes_per_s);
        }
    }

    /// Memory goes as soon as what it held has gone.
    pub(super) fn advance(&mut self, bytes: usize) {
        if self.has_answers() {
            self.bytes_sent += bytes;
            if self.bytes_sent >= self.bytes.len() {
                (self.bytes, self.bytes_sent) = (Vec::new(), 0);
            }
        } else if let Some(on_its_way) = &mut self.body {
            on_its_way.sent += bytes;
            if on_its_way.sent >= on_its_way.body.bytes().len() {
                self.body = None;
            }
        }
    }
}
