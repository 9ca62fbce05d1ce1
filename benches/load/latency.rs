//! Latencies, counted in buckets that are at most a 32nd wide, so that a quantile is right to three
//! percent.

/// Buckets of each doubling.
const BUCKETS: usize = 32;
/// Doublings: up to 2^40 ns, a quarter of an hour.
const DOUBLINGS: usize = 40;

/// See the module.
#[derive(Clone)]
pub(crate) struct Latencies {
    counts: Box<[u32]>,
    total: u64,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Latencies {
        Latencies { counts: vec![0; BUCKETS * DOUBLINGS].into(), total: 0 }
    }

    /// Counts one of `ns` nanoseconds.
    pub(crate) fn add(&mut self, ns: u64) {
        let bucket = bucket_of(ns).min(self.counts.len() - 1);
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// Counts all that another has counted.
    pub(crate) fn add_all(&mut self, other: &Latencies) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
    }

    /// The latency in microseconds that a share of `quantile` keeps below.
    #[allow(clippy::cast_precision_loss, reason = "counts and nanoseconds are far below 2^52")]
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        let wanted = self.total as f64 * quantile;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen as f64 >= wanted && seen > 0
        });
        bucket.map_or(0.0, |bucket| end_of(bucket) as f64 / 1_000.0)
    }
}

/// Small values have a bucket each; above, the five bits behind the highest one say which.
fn bucket_of(ns: u64) -> usize {
    let doubling = (ns | 1).ilog2().saturating_sub(BUCKETS.ilog2());
    let within = usize::try_from(ns >> doubling).unwrap_or(usize::MAX);
    doubling as usize * BUCKETS + within
}

/// The first value past a bucket.
fn end_of(bucket: usize) -> u64 {
    let doubling = (bucket / BUCKETS).saturating_sub(1);
    ((bucket - doubling * BUCKETS) as u64 + 1) << doubling
}
