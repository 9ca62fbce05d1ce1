//! Seeds of the random tests; the one reader of `ANNOUNCED_SEED`.
//!
//! Owns: where a run's seed comes from, and that a run that fails says which it was. With
//! `ANNOUNCED_SEED` set, every random test makes one run with that seed.
//!
//! Stands alone, so that tests inside the crate can take it by `#[path]` as well.
#![allow(dead_code, reason = "every test program takes what it needs")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing helper fails its test, with a text"
)]

use std::env;
use std::panic::{self, AssertUnwindSafe};

/// The seed to replay, where there is one.
fn replayed() -> Option<u64> {
    let text = env::var("ANNOUNCED_SEED").ok()?;
    Some(text.parse().expect("ANNOUNCED_SEED is a decimal number below 2^64"))
}

/// The seed of a test that makes one run. It is printed, and the test harness shows it on failure.
pub(crate) fn seed() -> u64 {
    let seed = replayed().unwrap_or_else(|| fastrand::u64(..));
    eprintln!("to replay: ANNOUNCED_SEED={seed}");
    seed
}

/// Runs `test` with `runs` seeds in a row from a random one on, and says which one failed; with
/// the seed to replay alone, where there is one.
pub(crate) fn for_each_seed(runs: u64, test: impl Fn(u64)) {
    if let Some(seed) = replayed() {
        return test(seed);
    }
    let first = fastrand::u64(..);
    for seed in (0..runs).map(|run| first.wrapping_add(run)) {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| test(seed)));
        assert!(outcome.is_ok(), "to replay: ANNOUNCED_SEED={seed}");
    }
}
