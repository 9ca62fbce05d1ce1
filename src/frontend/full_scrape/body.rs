//! The copy of a full scrape that is being sent, and how many may be at once.
//!
//! Limits: [`FULL_SCRAPES_MAX`] answers waiting for a copy or being sent. The copy goes when its interval
//! is over and the last sender is done.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use flate2::{Compression, write::GzEncoder};

/// Answers waiting for the copy or being sent, at once.
pub const FULL_SCRAPES_MAX: usize = 4;

/// The body of a full scrape, shared with whoever else is sending it.
pub struct LargeBody {
    copy: Arc<FullCopy>,
    gzip: bool,
    _permit: Permit,
}

impl LargeBody {
    /// The body for one sender; gzipped if the copy has been compressed by then.
    pub(in crate::frontend) fn new(copy: Arc<FullCopy>, gzip: bool, permit: Permit) -> LargeBody {
        LargeBody { copy, gzip, _permit: permit }
    }

    /// What goes out behind the head.
    pub fn bytes(&self) -> &[u8] {
        match self.copy.gzip.get() {
            Some(gzip) if self.gzip => gzip,
            _ => &self.copy.plain,
        }
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
        let copy = FullCopy::new(plain.to_vec());
        copy.compress();
        LargeBody::new(Arc::new(copy), gzip, Permit::take(&Arc::default()).unwrap())
    }
}

/// Everything, once, and gzipped for those who want it so.
pub(in crate::frontend) struct FullCopy {
    plain: Vec<u8>,
    gzip: OnceLock<Vec<u8>>,
}

impl FullCopy {
    /// A copy that is not compressed yet.
    pub(in crate::frontend) fn new(plain: Vec<u8>) -> FullCopy {
        FullCopy { plain, gzip: OnceLock::new() }
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
    encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// One of [`FULL_SCRAPES_MAX`]; given back when dropped, wherever that happens.
pub(in crate::frontend) struct Permit(Arc<AtomicUsize>);

impl Permit {
    /// Takes a permit; none when all are taken.
    pub(in crate::frontend) fn take(senders: &Arc<AtomicUsize>) -> Option<Permit> {
        let permit = Permit(Arc::clone(senders));
        let before = senders.fetch_add(1, Ordering::Relaxed);
        (before < FULL_SCRAPES_MAX).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
