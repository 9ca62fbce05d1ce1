//! Who is let in: the caps on torrents and peers, and what one address may have of them.
//!
//! Owns: the order of the questions, the cheap ones first. An address in an exempt network may have
//! what it likes of a swarm and of the caps. A torrent that the database lists is let in whatever
//! the cap: the list is its bound.

use crate::config::SwarmLimits;
use crate::ids::PeerAddr;
use crate::swarm::announcement::{Moment, Newcomer};
use crate::swarm::evict::Room;
use crate::swarm::population::Kind;
use crate::swarm::shares::Host;
use crate::swarm::store::{Asker, Store};
use crate::swarm::torrent::Torrent;

impl Store {
    /// Counts one more torrent, if there is room or somebody makes room.
    pub(super) fn admit_torrent(
        &self,
        is_listed: bool,
        newcomer: &Newcomer<'_>,
        moment: Moment<'_>,
    ) -> bool {
        let limits = moment.limits;
        if is_listed {
            return self.population.admit_torrent(u64::MAX);
        }
        let peer = &newcomer.announce.peer;
        let host = Host::of(peer);
        if self.hosts.has_share(host, limits.torrents_max)
            && !limits.shares_exempt.contain(peer.ip())
        {
            return false;
        }
        self.population.admit_torrent(limits.torrents_max)
            || self.make_room(Room::Torrent, host)
                && self.population.admit_torrent(limits.torrents_max)
    }

    /// Whether an address may have one more peer in a torrent. Has the torrent know of it when this
    /// is more than an answer should hold.
    pub(super) fn admit_address(
        &self,
        torrent: &mut Torrent,
        peer: &PeerAddr,
        limits: &SwarmLimits,
    ) -> bool {
        let neighbours = torrent.neighbours(peer, &self.rules);
        let has_share = self.hosts.has_share(Host::of(peer), limits.peers_max);
        let reaches_max = neighbours.reach(limits.peers_per_address_max as usize);
        let is_more = neighbours.are_crowd() || has_share || reaches_max;
        if !is_more || limits.shares_exempt.contain(peer.ip()) {
            return true;
        }
        if neighbours.are_crowd() {
            torrent.registration.note_crowd();
        }
        !reaches_max && !has_share
    }

    /// Counts one more peer, if there is room or somebody makes room.
    pub(super) fn admit_peer(&self, kind: Kind, peer: &PeerAddr, max: u64) -> bool {
        self.population.admit_peer(kind, max)
            || self.make_room(Room::Peer, Host::of(peer)) && self.population.admit_peer(kind, max)
    }

    /// Whether a completion that the asker reports is counted.
    pub(super) fn admit_completion(&self, asker: &Asker<'_>) -> bool {
        let Asker { announce, moment } = *asker;
        let limits = moment.limits;
        let pair = self.rules.pair_hash(&announce.info_hash, Host::of(&announce.peer).0);
        limits.shares_exempt.contain(announce.peer.ip())
            || self.completions.admit(pair, moment.now, limits.lifetime_ms)
    }

    /// The peers of a torrent have gone.
    pub(super) fn forget_hosts(&self, gone: &Torrent) {
        gone.for_each_wire(|wire| {
            if self.hosts.counts(&gone.info_hash, wire) {
                self.hosts.remove_counted(Host::of_wire(wire));
            }
        });
    }
}
