//! What the tests from outside share: the built tracker as a child process, HTTP by hand, and other
//! people's programs.
//!
//! Owns: starting and ending children by their own pid, reading what they print, and judging
//! replies with a bencode parser that is not ours. Never imports the tracker's own code: whatever
//! is checked here is checked as a client sees it.
//!
//! Nothing here waits without a limit. A child that says what it does is waited for by its output;
//! polling is for outside programs and for the tracker's counts, which nobody announces.
#![allow(dead_code, reason = "every test program takes what it needs")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing helper fails its test, with a text"
)]

pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod seeds;
pub(crate) mod tracker;
pub(crate) mod udp;

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take. Most takes a fraction of a second; a client that looks at its peers
/// every ten seconds, as aria2 and Transmission do before they unchoke one or show interest, may
/// take two such rounds, and a busy machine the rest.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at a condition that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `condition` holds; panics with `what` was expected when it does not within `limit`.
/// Only for outside programs that tell of the change in no other way.
#[track_caller]
pub(crate) fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "after {limit:?}, still waiting until {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Looks until it sees `expected`; panics with what it saw last when it does not within `limit`.
#[track_caller]
pub(crate) fn wait_equal<T: PartialEq + Debug>(
    limit: Duration,
    expected: &T,
    mut look: impl FnMut() -> T,
) {
    let deadline = Instant::now() + limit;
    loop {
        let seen = look();
        if seen == *expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "after {limit:?}, {seen:?} is seen, still waiting for {expected:?}"
        );
        thread::sleep(LOOK_EVERY);
    }
}
