//! Property tests with a seed that is printed on failure and taken from the environment to replay.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

use crate::tests::seeds::for_each_seed;

/// Checks `test` on `cases` values of `strategy`.
pub(crate) fn property<S>(cases: u32, strategy: S, test: impl Fn(S::Value) -> TestCaseResult)
where
    S: Strategy,
    S::Value: Debug,
{
    for_each_seed(1, |seed| {
        let mut seed_bytes = [0; 32];
        seed_bytes[..8].copy_from_slice(&u64::to_le_bytes(seed));
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
        if let Err(error) = TestRunner::new_with_rng(config, rng).run(&strategy, &test) {
            panic!("{error}");
        }
    });
}
