//! What the expiry of peers hands down: who is too old, how many may still be looked at, and whom
//! to tell of those who go.
//!
//! Never: tells anybody under a lock. Who has gone is noted, and told when the lock is released.

use crate::ids::InfoHash;
use crate::swarm::hosts::Hosts;
use crate::swarm::shares::Host;
use crate::swarm::state::Expiry;

/// See the module.
pub(super) struct Work<'h> {
    /// Which peers have lived their time.
    pub(super) expiry: Expiry,
    /// Peers that may still be looked at, about.
    pub(super) budget: usize,
    /// The torrent they are of.
    pub(super) info_hash: InfoHash,
    hosts: &'h Hosts,
    gone: Vec<Host>,
}

impl<'h> Work<'h> {
    /// As much work as `budget`, begun with no torrent yet.
    pub(super) fn new(expiry: Expiry, budget: usize, hosts: &'h Hosts) -> Work<'h> {
        // One peer of sixteen is counted; not under the lock.
        let gone = Vec::with_capacity(budget / 8);
        Work { expiry, budget, info_hash: InfoHash([0; 20]), hosts, gone }
    }

    /// A peer goes.
    pub(super) fn note_gone(&mut self, wire: &[u8]) {
        if self.hosts.counts(&self.info_hash, wire) {
            self.gone.push(Host::of_wire(wire));
        }
    }

    /// Takes the work from what may still be done.
    pub(super) fn spend(&mut self, units: usize) {
        self.budget = self.budget.saturating_sub(units);
    }

    /// Tells of those who went, once no lock is held.
    pub(super) fn tell(&mut self) {
        let hosts = self.hosts;
        self.gone.drain(..).for_each(|host| hosts.remove_counted(host));
    }
}
