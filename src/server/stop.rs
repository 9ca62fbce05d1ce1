//! How workers are told to stop, and how they learn that all of them may.
//!
//! Owns: the times. Until `drain_until` a worker serves as before, but closes each connection with
//! its next answer; it stops accepting when no worker has a connection left of those that were open
//! when the stop began. Workers do so together: a listening socket that nobody accepts from would
//! still get its share of all connections.
//!
//! Never: wakes a worker. Whoever begins the stop does.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How a tracker is to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StopOptions {
    /// How long kept-alive connections are waited for; at most `grace`.
    pub drain: Duration,
    /// How long all of it may take, for who is being answered.
    pub grace: Duration,
    /// Another process has the sockets as well and will serve who is queued in them.
    pub has_successor: bool,
}

/// The same, counted from when it began.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Stopping {
    pub(in crate::server) drain_until: Instant,
    pub(in crate::server) deadline: Instant,
    pub(in crate::server) has_successor: bool,
    /// How many workers stop.
    pub(in crate::server) workers: usize,
}

/// See the module.
#[derive(Default)]
pub(in crate::server) struct Stop {
    begun: OnceLock<Stopping>,
    /// Workers without a connection of those that were open when it began.
    drained: AtomicUsize,
}

impl Stop {
    /// Has `workers` stop.
    pub(in crate::server) fn begin(&self, options: StopOptions, workers: usize) {
        let StopOptions { drain, grace, has_successor } = options;
        let now = Instant::now();
        self.begun.get_or_init(|| Stopping {
            drain_until: now + drain.min(grace),
            deadline: now + grace,
            has_successor,
            workers,
        });
    }

    /// The times; nothing while there is no stopping.
    pub(in crate::server) fn begun(&self) -> Option<Stopping> {
        self.begun.get().copied()
    }

    /// One worker is done with its connections, if `drained` says so; gives that back.
    pub(in crate::server) fn note_drained(&self, drained: bool) -> bool {
        self.drained.fetch_add(usize::from(drained), Ordering::Relaxed);
        drained
    }

    /// Whether all workers are.
    pub(in crate::server) fn all_drained(&self, workers: usize) -> bool {
        self.drained.load(Ordering::Relaxed) >= workers
    }
}
