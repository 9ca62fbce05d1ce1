//! Who is let in: the caps on torrents and peers, and what one address may have of them.
//!
//! Owns: the order of the questions, the cheap ones first. An address in an exempt network may have
//! what it likes of a swarm and of the caps. A torrent that the database lists is let in whatever
//! the cap: the list is its bound.

use crate::config::SwarmLimits;
use crate::ids::PeerAddr;
use crate::swarm::announcement::{Moment, Newcomer};
use crate::swarm::evict::Room;
use crate::swarm::peers::Place;
use crate::swarm::population::Kind;
use crate::swarm::run::Class;
use crate::swarm::shares::{Host, Neighbours};
use crate::swarm::state::Stamp;
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

    /// Adds the asker, who is not known yet. Kept out of `Store::update`, whose usual way is
    /// shorter without it.
    #[inline(never)]
    pub(super) fn add(
        &self,
        torrent: &mut Torrent,
        asker: &Asker<'_>,
        neighbours: Neighbours,
    ) -> Option<Place> {
        let Asker { announce, moment } = *asker;
        self.early.note(announce);
        let kind = Kind { family: announce.peer.family(), class: Class::of(announce.seeder) };
        if !announce.listening
            || !self.admit_address(torrent, &announce.peer, neighbours, moment.limits)
            || !self.admit_peer(kind, &announce.peer, moment.limits.peers_max)
        {
            self.population.count_not_stored();
            return None;
        }
        let place = torrent.insert(announce, Stamp::of(moment.now), &self.rules);
        if place.is_none() {
            self.population.release_peer(kind);
            self.population.count_not_stored();
        } else {
            self.hosts.add(&announce.info_hash, &announce.peer);
        }
        place
    }

    /// Whether an address may have one more peer in a torrent, where it has `neighbours`. Has the
    /// torrent know of it when this is more than an answer should hold.
    fn admit_address(
        &self,
        torrent: &mut Torrent,
        peer: &PeerAddr,
        neighbours: Neighbours,
        limits: &SwarmLimits,
    ) -> bool {
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

    /// A peer that was admitted before has been stored again: has what is kept of its address know.
    pub(super) fn note_stored(&self, torrent: &mut Torrent, peer: &PeerAddr, limits: &SwarmLimits) {
        self.hosts.add(&torrent.info_hash, peer);
        // It is among them itself.
        if !torrent.registration.holds_crowd()
            && torrent.neighbours(peer, &self.rules).found > 2
            && !limits.shares_exempt.contain(peer.ip())
        {
            torrent.registration.note_crowd();
        }
    }

    /// Counts one more peer, if there is room or somebody makes room.
    fn admit_peer(&self, kind: Kind, peer: &PeerAddr, max: u64) -> bool {
        self.population.admit_peer(kind, max)
            || self.make_room(Room::Peer, Host::of(peer)) && self.population.admit_peer(kind, max)
    }

    /// Completions that were counted since the start.
    pub fn completed(&self) -> u64 {
        self.population.completed()
    }

    /// Whether a completion that the asker reports is counted.
    pub(super) fn admit_completion(&self, asker: &Asker<'_>) -> bool {
        let Asker { announce, moment } = *asker;
        let limits = moment.limits;
        let pair = self.rules.pair_hash(&announce.info_hash, Host::of(&announce.peer).0);
        let is_counted = limits.shares_exempt.contain(announce.peer.ip())
            || self.completions.admit(pair, moment.now, limits.lifetime_ms);
        if is_counted {
            self.population.count_completed();
        }
        is_counted
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Networks;
    use crate::ids::{Event, Millis};
    use crate::swarm::{Announcement, Chosen, StoreSettings};
    use crate::tests::announcement::{self, LIMITS, hash, open_at};

    /// What is stored when one address comes with so many ports to a swarm of so many others.
    fn stored(others: u32, ports: u16, limits: &SwarmLimits) -> usize {
        let store = Store::new(StoreSettings { peer_ids: false }, 5);
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        let mut say = |peer| {
            let announce = Announcement { peer, ..announcement::of(7, 0) };
            let moment = Moment { limits, ..open_at(Millis(0)) };
            store.enter(&Newcomer::without_list(&announce), moment, &mut rng, &mut chosen);
        };
        let address = |number: u32| std::net::Ipv4Addr::from(0x0a00_0000 + number).into();
        (0..others).for_each(|other| say(PeerAddr::new(address(other), 6881)));
        (0..ports).for_each(|port| say(PeerAddr::new([9, 9, 9, 9].into(), 1_024 + port)));
        store.check_invariants();
        usize::try_from(store.totals().peers()).unwrap() - others as usize
    }

    /// At most 64 peers of one address.
    fn limited() -> SwarmLimits {
        SwarmLimits { peers_per_address_max: 64, ..LIMITS }
    }

    #[test]
    fn in_a_small_swarm_an_address_has_exactly_as_many_as_it_may() {
        for others in [0, 20, 200, 400] {
            assert_eq!(stored(others, 1_000, &limited()), 64, "beside {others} others");
        }
        let unlimited = SwarmLimits { peers_per_address_max: 0, ..limited() };
        assert_eq!(stored(20, 1_000, &unlimited), 1_000, "without a limit");
        let exempt = SwarmLimits {
            shares_exempt: Networks::from(vec!["9.0.0.0/8".parse().unwrap()]),
            ..limited()
        };
        assert_eq!(stored(20, 1_000, &exempt), 1_000, "of an exempt network");
    }

    #[test]
    fn in_a_large_swarm_an_address_is_bounded_by_an_estimate() {
        for (others, ports, fewest, most) in
            [(2_000, 40, 40, 40), (2_000, 5_000, 64, 200), (20_000, 40, 40, 40)]
        {
            let stored = stored(others, ports, &limited());
            let row = format!("{ports} ports beside {others}: {stored} are stored");
            assert!((fewest..=most).contains(&stored), "{row}");
        }
        let stored = stored(20_000, 10_000, &limited());
        assert!(stored < 600, "{stored} are stored beside 20 000 others");
    }

    #[test]
    fn a_torrent_knows_of_the_third_peer_of_an_address() {
        let store = Store::new(StoreSettings { peer_ids: false }, 5);
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        for (port, event, is_crowd) in [
            (1, Event::Started, false),
            (2, Event::Started, false),
            (2, Event::Update, false),
            (2, Event::Stopped, false),
            (4, Event::Started, false),
            (5, Event::Started, true),
        ] {
            let peer = PeerAddr::new([9, 9, 9, 9].into(), 6_000 + port);
            let announce = Announcement { peer, event, ..announcement::of(7, 0) };
            let newcomer = Newcomer::without_list(&announce);
            store.enter(&newcomer, open_at(Millis(0)), &mut rng, &mut chosen);
            let torrent_hash = store.rules.torrent_hash(&hash(7));
            let shard = store.lock(torrent_hash);
            let at = shard.find(torrent_hash, &hash(7)).expect("a torrent");
            let told = shard.torrent(at).registration.holds_crowd();
            assert_eq!(told, is_crowd, "after port {port}, {event:?}");
        }
    }
}
