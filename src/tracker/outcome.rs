//! What becomes of an announce.

use std::net::IpAddr;
use std::sync::Arc;

use crate::swarm::{Announcement, Counts};
use crate::wire::failure::Failure;

/// What became of an announce.
pub enum Outcome {
    /// It is stored and answered. The peers for it are in the worker's scratch
    /// ([`Scratch::chosen`](crate::tracker::Scratch::chosen)) until its next announce.
    Served(ServedAnnounce),
    /// It is refused; a ban with the operator's reason, when one is stored.
    Refused(Failure, Option<Arc<str>>),
    /// The registry has to ask the database. [`Tracker::resume`](crate::tracker::Tracker::resume)
    /// or [`Tracker::give_up`](crate::tracker::Tracker::give_up) goes on from here.
    Wait(Waiting),
}

/// What an announcer is told beside the peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServedAnnounce {
    /// The torrent's counters after the announce.
    pub counts: Counts,
    /// When to announce next, seconds.
    pub interval_s: u32,
    /// How soon to announce again at the earliest, seconds.
    pub min_interval_s: u32,
    /// The address the announcer is known by (BEP 24), where the site tells it.
    pub external_ip: Option<IpAddr>,
}

/// An announce that waits for the registry: all that is needed to answer it, and nothing borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub(in crate::tracker) announcement: Announcement,
}
