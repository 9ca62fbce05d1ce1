//! What the parts of an announce cost, measured one by one inside this process.
//!
//! `cargo bench --bench parts` runs all, `-- wire/` those whose names contain that, `-- --quick`
//! all of them roughly. Rows are named by what they model; requests are those of real clients
//! (`clients`).
//!
//! `wire`: bytes to values and back; `datagrams`: the same over UDP. `swarms`: the store, by the
//! size of a swarm and by how warm it is. `registry`: verdicts at hand. `threads`: two on one store.
//! `expiry`: what a million peers that leave at once do to the others. `snapshot`: millions of peers
//! saved and loaded.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "../instructions/away.rs"]
mod away;
mod clients;
mod datagrams;
mod expiry;
mod population;
mod registry;
mod snapshot;
mod swarms;
mod threads;
mod wire;

use std::env;
use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    wire::bench(&mut criterion);
    datagrams::bench(&mut criterion);
    registry::bench(&mut criterion);
    swarms::bench(&mut criterion);
    threads::bench(&mut criterion);
    // These have timers of their own, and so read the command line themselves.
    let names: Vec<String> =
        env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted =
        |bench: &str| names.is_empty() || names.iter().any(|name| bench.contains(name.as_str()));
    if is_wanted("expiry") {
        expiry::bench();
    }
    if is_wanted("snapshot") {
        snapshot::bench();
    }
    criterion.final_summary();
}
