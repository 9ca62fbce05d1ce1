//! Property tests with a seed that is printed on failure and taken from the environment to replay.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

/// Checks `test` on `cases` values of `strategy`. On failure the seed is printed; `ANNOUNCED_SEED`
/// set to it repeats the run.
pub(crate) fn property<S>(cases: u32, strategy: S, test: impl Fn(S::Value) -> TestCaseResult)
where
    S: Strategy,
    S::Value: Debug,
{
    let seed = std::env::var("ANNOUNCED_SEED")
        .map_or_else(|_| RandomState::new().hash_one(0), |seed| seed.parse().unwrap());
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&u64::to_le_bytes(seed));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes));
    if let Err(error) = runner.run(&strategy, test) {
        panic!("ANNOUNCED_SEED={seed}: {error}");
    }
}
