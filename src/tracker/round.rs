//! What comes with a request: who asks, when, and by which settings.

use std::net::IpAddr;

use crate::config::Live;
use crate::counters::{Counter, LocalCounters};
use crate::ids::{Family, Millis, Ticket};
use crate::swarm::Chosen;
use crate::tracker::recent_announcers::RecentAnnouncers;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The address that counts, IPv4-mapped ones as IPv4.
    pub ip: IpAddr,
    /// Whether the address is the client's. One whose proxy does not say who it is is answered with
    /// peers of the proxy's family, and not stored.
    pub is_known: bool,
    /// Where a late answer goes.
    pub ticket: Ticket,
}

impl Client {
    /// The family of its address.
    pub fn family(&self) -> Family {
        Family::of(self.ip)
    }
}

/// What one worker keeps for itself: nothing here is shared or locked.
pub struct Scratch {
    /// What every choice is drawn with.
    pub rng: fastrand::Rng,
    /// The peers for the last announce.
    pub chosen: Box<Chosen>,
    /// What this worker counts.
    pub counters: LocalCounters,
    /// Requests that it has answered since connections that go on had their turn.
    pub answered: u32,
    /// Its slots are so full that kept-alive connections close with their next answer, but for
    /// those of trusted proxies.
    pub crowded: bool,
    /// Where its announces come from.
    pub recent_announcers: RecentAnnouncers,
}

impl Scratch {
    /// Scratch memory whose choices follow from `seed`.
    pub fn new(seed: u64, counters: LocalCounters) -> Scratch {
        Scratch {
            rng: fastrand::Rng::with_seed(seed),
            chosen: Box::default(),
            counters,
            answered: 0,
            crowded: false,
            recent_announcers: RecentAnnouncers::default(),
        }
    }
}

/// One round of a worker's loop, lent to what it calls.
pub struct Round<'r> {
    /// The time of this round.
    pub now: Millis,
    /// The settings of this round.
    pub live: &'r Live,
    /// The worker is about to stop: kept-alive connections close with their next answer.
    pub closing: bool,
    /// The worker's own.
    pub scratch: &'r mut Scratch,
}

impl Round<'_> {
    /// Counts one event; how many this worker has counted.
    #[inline]
    pub fn count(&mut self, counter: Counter) -> u64 {
        self.scratch.counters.count(counter)
    }
}
