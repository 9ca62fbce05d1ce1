//! A copy of the full scrape on its way, and how many may be sent at once.
//!
//! Owns: a copy's two forms, the permits of those who send it, and how long sending may take.
//!
//! Limits: [`FULL_SCRAPES_MAX`] answers waiting for a copy or being sent, each for
//! [`LargeBody::ms_max`]. A copy is both its forms: gzip is kept beside the plain one, since both
//! may be on their way, and is never larger, so a copy is twice its plain bytes at most (1.4 times
//! as a rule).

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use flate2::{Compression, write::GzEncoder};

use crate::frontend::full_scrape::pace::Pace;
use crate::ids::Millis;

/// Answers waiting for the copy or being sent, at once.
pub const FULL_SCRAPES_MAX: usize = 4;
/// The least time a body has to be through, milliseconds.
const BODY_MS_MIN: u64 = 60_000;
/// A reader may be so many times slower than its share of the rate.
const SLOWNESS_MAX: u64 = 4;
/// The rate that a reader's time is reckoned from where there is no limit.
const UNLIMITED_BYTES_PER_S: u64 = 8_000_000;

/// The body of a full scrape, shared with whoever else is sending it.
pub struct LargeBody {
    copy: Arc<FullCopy>,
    gzip: bool,
    permit: Permit,
}

impl LargeBody {
    /// The body for one sender; gzipped if the copy has been compressed by then.
    pub(in crate::frontend) fn new(copy: Arc<FullCopy>, gzip: bool, permit: Permit) -> LargeBody {
        LargeBody { copy, gzip, permit }
    }

    /// What goes out behind the head.
    pub fn bytes(&self) -> &[u8] {
        match self.copy.gzip.get() {
            Some(gzip) if self.gzip => gzip,
            _ => &self.copy.plain,
        }
    }

    /// Whether a piece may be sent now: if so, it is paid for.
    pub fn take(&self, bytes: usize, now: Millis, bytes_per_s: u64) -> bool {
        self.permit.0.pace.take(bytes, now, bytes_per_s)
    }

    /// Part of a piece that was paid for has not been sent.
    pub fn give_back(&self, bytes: usize, bytes_per_s: u64) {
        self.permit.0.pace.give_back(bytes, bytes_per_s);
    }

    /// How long sending may take in all, milliseconds: `SLOWNESS_MAX` times as long as its share of
    /// the rate takes when all senders are at it, and a minute at least.
    pub fn ms_max(&self, bytes_per_s: u64) -> u64 {
        let bytes_per_s = if bytes_per_s == 0 { UNLIMITED_BYTES_PER_S } else { bytes_per_s };
        let bytes = self.bytes().len() as u64;
        (bytes * FULL_SCRAPES_MAX as u64 * SLOWNESS_MAX * 1_000 / bytes_per_s).max(BODY_MS_MIN)
    }

    /// The same body, gzipped only if the client has asked for that.
    pub(in crate::frontend) fn gzipped_if(mut self, asked: bool) -> LargeBody {
        self.gzip &= asked;
        self
    }

    /// Whether [`LargeBody::bytes`] are gzipped.
    pub(in crate::frontend) fn is_gzipped(&self) -> bool {
        self.gzip
    }

    #[cfg(test)]
    pub(in crate::frontend) fn of(plain: &[u8], gzip: bool) -> LargeBody {
        let copy = FullCopy::new(plain.to_vec(), &Arc::default());
        copy.compress();
        LargeBody::new(Arc::new(copy), gzip, Permit::take(&Arc::default()).unwrap())
    }

    /// Bodies of one copy, as many as may be sent at once.
    #[cfg(test)]
    pub(crate) fn all_of(plain: &[u8]) -> Vec<LargeBody> {
        let copy = Arc::new(FullCopy::new(plain.to_vec(), &Arc::default()));
        let senders = Arc::default();
        let permits = std::iter::from_fn(|| Permit::take(&senders)).take(FULL_SCRAPES_MAX);
        permits.map(|permit| LargeBody::new(Arc::clone(&copy), false, permit)).collect()
    }
}

/// Everything, once, and gzipped for those who want it so.
pub(in crate::frontend) struct FullCopy {
    plain: Vec<u8>,
    gzip: OnceLock<Vec<u8>>,
    /// Goes last: there is one of it for each copy in memory.
    _counted: Arc<()>,
}

impl FullCopy {
    /// A copy that is not compressed yet; as long as it lives `copies` has one owner more.
    pub(in crate::frontend) fn new(mut plain: Vec<u8>, copies: &Arc<()>) -> FullCopy {
        plain.shrink_to_fit();
        FullCopy { plain, gzip: OnceLock::new(), _counted: Arc::clone(copies) }
    }

    /// Bytes of its plain form.
    pub(in crate::frontend) fn plain_bytes(&self) -> u64 {
        self.plain.len() as u64
    }

    /// Compresses it, once.
    pub(in crate::frontend) fn compress(&self) {
        self.gzip.get_or_init(|| compress(&self.plain));
    }

    /// Whether it has been compressed.
    pub(in crate::frontend) fn is_compressed(&self) -> bool {
        self.gzip.get().is_some()
    }
}

fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to a Vec cannot fail; an empty body would be the only trace if it did.
    let mut gzip = encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default();
    gzip.shrink_to_fit();
    gzip
}

/// What all senders share: how many they are, and how fast they send together.
#[derive(Default)]
pub(in crate::frontend) struct Senders {
    count: AtomicUsize,
    pace: Pace,
}

/// One of [`FULL_SCRAPES_MAX`]; given back when dropped, wherever that happens.
pub(in crate::frontend) struct Permit(Arc<Senders>);

impl Permit {
    /// Takes a permit; none when all are taken.
    pub(in crate::frontend) fn take(senders: &Arc<Senders>) -> Option<Permit> {
        let permit = Permit(Arc::clone(senders));
        let before = senders.count.fetch_add(1, Ordering::Relaxed);
        (before < FULL_SCRAPES_MAX).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_has_a_minute_and_for_a_large_body_four_times_its_share_of_the_rate() {
        let rows = [
            (1_000, 8_000_000, 60_000),
            (30_000_000, 8_000_000, 60_000),
            (64_000_000, 8_000_000, 128_000),
            (64_000_000, 0, 128_000),
            (8_000_000, 65_536, 1_953_125),
        ];
        for (bytes, bytes_per_s, expected) in rows {
            let copy = FullCopy::new(vec![0; bytes], &Arc::default());
            let permit = Permit::take(&Arc::default()).unwrap();
            let body = LargeBody::new(Arc::new(copy), false, permit);
            assert_eq!(body.ms_max(bytes_per_s), expected, "{bytes} bytes at {bytes_per_s}/s");
        }
    }
}
