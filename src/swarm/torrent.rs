//! One swarm: who is in it, and how often it was completed.
//!
//! Owns: what an announce changes. A peer is one address and port (PROTOCOL.md); its class, age,
//! peer id and encryption are rewritten by each announce. A peer that has been a leecher completes
//! once for as long as it is known. Another peer id on the same address and port is a new client,
//! which is judged as if it were not known yet.
//!
//! Never: decides who is let in (the cap is its caller's), or is kept without a peer longer than
//! something of it is to be written to the database.
//!
//! Limits: one cache line: a torrent costs one miss and 64 bytes, and one or two IPv4 peers without
//! ids nothing beside it. IPv6 peers are rarer and lie in an allocation of their own.

use std::mem;

use crate::ids::{Event, Family, INFO_HASH_BYTES, InfoHash, PEER_ID_BYTES, PeerAddr};
use crate::listing::Verdict;
use crate::swarm::announcement::{Announcement, Counts};
use crate::swarm::chosen::Chosen;
use crate::swarm::fair::{self, FairWant};
use crate::swarm::peers::{Peers, Place, Progress};
use crate::swarm::population::{Kind, PeerCounts};
use crate::swarm::registration::Registration;
use crate::swarm::rules::Rules;
use crate::swarm::run::{Class, Peer, SLOT_V4, SLOT_V6, slot, wire};
use crate::swarm::select::{self, Want};
use crate::swarm::shares::Neighbours;
use crate::swarm::state::{History, Stamp, State};
use crate::swarm::work::Work;

/// The id of a peer that was saved by a process that kept no ids: not one that a client has.
pub(super) const UNKNOWN_ID: [u8; PEER_ID_BYTES] = *b"\0announced: unknown\0";

/// See the module.
#[repr(align(64))]
pub(super) struct Torrent {
    /// Which torrent.
    pub(super) info_hash: InfoHash,
    /// What the database says of it, and is to be told.
    pub(super) registration: Registration,
    pub(super) v4: Peers<SLOT_V4>,
    pub(super) v6: Option<Box<Peers<SLOT_V6>>>,
}

const _: () = assert!(size_of::<Torrent>() == 64 && align_of::<Torrent>() == 64);

/// Where the expiry of one torrent goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    family: Family,
    progress: Progress,
}

impl Rest {
    /// Nothing has been visited.
    pub(super) const ALL: Rest = Rest { family: Family::V6, progress: Progress::START };
}

impl Torrent {
    /// What lies where no torrent is.
    pub(super) fn vacant() -> Torrent {
        Torrent::new(InfoHash([0; INFO_HASH_BYTES]), Verdict::NO_LIST)
    }

    /// A torrent without peers: one must follow at once.
    pub(super) fn new(info_hash: InfoHash, verdict: Verdict) -> Torrent {
        Torrent {
            info_hash,
            registration: Registration::new(verdict),
            v4: Peers::default(),
            v6: None,
        }
    }

    /// All peers, of both families.
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.as_ref().map_or(0, |peers| peers.len())
    }

    /// All peers, by kind.
    pub(super) fn peer_counts(&self) -> PeerCounts {
        let mut counts = PeerCounts::default();
        for class in [Class::Leecher, Class::Seeder] {
            counts.add(Kind { family: Family::V4, class }, self.v4.count(class));
            if let Some(v6) = &self.v6 {
                counts.add(Kind { family: Family::V6, class }, v6.count(class));
            }
        }
        counts
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_disposable(&self) -> bool {
        self.len() == 0 && !self.registration.has_unwritten()
    }

    /// The torrent is banned: lets all peers go. What is given back is to be dropped outside the
    /// lock.
    pub(super) fn ban(&mut self) -> Torrent {
        self.registration.ban();
        self.vacate()
    }

    /// Lets all peers go; see [`Torrent::ban`].
    pub(super) fn vacate(&mut self) -> Torrent {
        if self.len() > 0 {
            self.registration.note_change(false);
        }
        let (v4, v6) = (mem::take(&mut self.v4), self.v6.take());
        Torrent { v4, v6, ..Torrent::new(self.info_hash, Verdict::NO_LIST) }
    }

    /// What announces and scrapes are told.
    pub(super) fn counts(&self) -> Counts {
        let count = |class| {
            let peers =
                self.v4.count(class) + self.v6.as_ref().map_or(0, |peers| peers.count(class));
            u32::try_from(peers).unwrap_or(u32::MAX)
        };
        Counts {
            complete: count(Class::Seeder),
            incomplete: count(Class::Leecher),
            downloaded: self.registration.downloaded(),
        }
    }

    /// Rewrites a peer that is known as it announces itself now.
    pub(super) fn rewrite(
        &mut self,
        announce: &Announcement,
        now: Stamp,
        rules: &Rules,
    ) -> Option<Rewritten> {
        let news = News { announce, now, rules };
        let registration = &mut self.registration;
        let rewritten = match (&announce.peer, &mut self.v6) {
            (PeerAddr::V4(wire), _) => news.rewrite(&mut self.v4, &padded(wire), registration),
            (PeerAddr::V6(wire), Some(v6)) => news.rewrite(v6, &padded(wire), registration),
            (PeerAddr::V6(_), None) => None,
        };
        self.check_after_change(rules);
        rewritten
    }

    /// Adds a peer that is not known yet. None when it could not be stored.
    pub(super) fn insert(
        &mut self,
        announce: &Announcement,
        now: Stamp,
        rules: &Rules,
    ) -> Option<Place> {
        let news = News { announce, now, rules };
        let class = Class::of(announce.seeder);
        let place = match announce.peer {
            PeerAddr::V4(wire) => self.v4.insert(class, &news.first(&padded(&wire)), rules),
            PeerAddr::V6(wire) => {
                let v6 = self.v6.get_or_insert_default();
                v6.insert(class, &news.first(&padded(&wire)), rules)
            }
        };
        self.fit();
        if place.is_some() {
            self.registration.note_change(true);
            if announce.peer.is_private() {
                self.registration.note_private_peer();
            }
        }
        self.check_after_change(rules);
        place
    }

    /// Chooses peers of the family of `chosen`, for an asker that is stored at `asker`.
    pub(super) fn choose(
        &self,
        asker: Option<Place>,
        want: Want,
        rng: &mut fastrand::Rng,
        chosen: &mut Chosen,
    ) {
        match (chosen.family(), &self.v6) {
            (Family::V4, _) => select::choose(&self.v4, asker, want, rng, chosen),
            (Family::V6, Some(v6)) => select::choose(v6, asker, want, rng, chosen),
            (Family::V6, None) => {}
        }
    }

    /// The same, with at most two peers of one address while there are others.
    pub(super) fn choose_fairly(
        &self,
        asker: Option<Place>,
        fair: FairWant<'_>,
        rng: &mut fastrand::Rng,
        chosen: &mut Chosen,
    ) {
        match (chosen.family(), &self.v6) {
            (Family::V4, _) => _ = fair::choose(&self.v4, asker, fair, rng, chosen),
            (Family::V6, Some(v6)) => _ = fair::choose(v6, asker, fair, rng, chosen),
            (Family::V6, None) => {}
        }
    }

    /// What is found of a peer's address.
    pub(super) fn neighbours(&self, peer: &PeerAddr, rules: &Rules) -> Neighbours {
        match (peer, &self.v6) {
            (PeerAddr::V4(wire), _) => self.v4.neighbours(&padded(wire), rules),
            (PeerAddr::V6(wire), Some(v6)) => v6.neighbours(&padded(wire), rules),
            (PeerAddr::V6(_), None) => Neighbours { found: 0, runs: 1, of_runs: 1 },
        }
    }

    /// A peer, by any number; None when there is nobody.
    pub(super) fn any_peer(&self, number: usize) -> Option<PeerAddr> {
        let v4 = || self.v4.any(number).map(wire);
        let v6 = || self.v6.as_ref()?.any(number).map(wire);
        PeerAddr::of_wire(if number & 1 == 0 { v4().or_else(v6) } else { v6().or_else(v4) }?)
    }

    /// Every peer's wire address.
    pub(super) fn for_each_wire(&self, mut f: impl FnMut(&[u8])) {
        self.v4.for_each_slot(&mut |slot| f(wire(slot)));
        if let Some(v6) = &self.v6 {
            v6.for_each_slot(&mut |slot| f(wire(slot)));
        }
    }

    /// Forgets a peer that leaves. Says what it was, None when it was not known.
    pub(super) fn leave(&mut self, peer: &PeerAddr, likely: Class, rules: &Rules) -> Option<Class> {
        let left = match (peer, &mut self.v6) {
            (PeerAddr::V4(wire), _) => leave(&mut self.v4, &padded(wire), likely, rules),
            (PeerAddr::V6(wire), Some(v6)) => leave(v6, &padded(wire), likely, rules),
            (PeerAddr::V6(_), None) => None,
        };
        self.fit();
        if left.is_some() {
            self.registration.note_change(true);
        }
        self.check_after_change(rules);
        left
    }

    /// Forgets peers that have lived their time, as far as the work's budget goes. Says what is
    /// left to do.
    pub(super) fn expire(
        &mut self,
        rest: Rest,
        work: &mut Work<'_>,
        rules: &Rules,
    ) -> Option<Rest> {
        let peers = self.len();
        work.info_hash = self.info_hash;
        let rest = self.expire_families(rest, work, rules);
        if self.len() < peers {
            self.registration.note_change(false);
        }
        self.fit();
        self.check_after_change(rules);
        rest
    }

    fn expire_families(&mut self, rest: Rest, work: &mut Work<'_>, rules: &Rules) -> Option<Rest> {
        let mut progress = rest.progress;
        if rest.family == Family::V6 {
            if let Some(v6) = &mut self.v6
                && let Some(progress) = v6.expire(progress, work, rules)
            {
                return Some(Rest { family: Family::V6, progress });
            }
            progress = Progress::START;
        }
        let rest = self.v4.expire(progress, work, rules);
        rest.map(|progress| Rest { family: Family::V4, progress })
    }

    /// Gives back what no IPv6 peer needs.
    pub(super) fn fit(&mut self) {
        if self.v6.as_ref().is_some_and(|peers| peers.len() == 0) {
            self.v6 = None;
        }
    }

    /// Looks after a change, in a debug build, whether everything is where it would be looked for.
    pub(super) fn check_after_change(&self, rules: &Rules) {
        if cfg!(debug_assertions) {
            self.check_invariants(rules, false);
        }
    }

    /// Panics when the peers are not where they would be looked for. Looks at every peer only of a
    /// small swarm, unless `thorough`.
    pub(super) fn check_invariants(&self, rules: &Rules, thorough: bool) {
        let has_private_peer = || {
            self.v4.holds_private_peer()
                || self.v6.as_ref().is_some_and(|peers| peers.holds_private_peer())
        };
        assert!(
            self.registration.holds_private_peer() || !thorough || !has_private_peer(),
            "{} holds a private peer and does not know it",
            self.info_hash
        );
        self.v4.check_invariants(rules, thorough);
        if let Some(v6) = &self.v6 {
            assert!(v6.len() > 0, "an empty allocation for IPv6 peers");
            v6.check_invariants(rules, thorough);
        }
    }
}

/// A peer that was known, after an announce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewritten {
    /// Where it is now.
    pub(super) place: Place,
    /// Whether it has become a seeder, or a leecher.
    pub(super) has_changed_class: bool,
    /// Whether it reports a completion that has not been counted.
    pub(super) is_completed: bool,
}

/// What one announce says about its peer.
struct News<'a> {
    announce: &'a Announcement,
    now: Stamp,
    rules: &'a Rules,
}

impl News<'_> {
    /// The peer, whose address is in `key`, when nothing was known of it.
    fn first<const SLOT: usize>(&self, key: &[u8; SLOT]) -> Peer<SLOT> {
        let seeder = self.announce.seeder;
        self.peer(key, if seeder { History::NONE } else { History::LEECHED })
    }

    /// The peer, whose address is in `key`.
    fn peer<const SLOT: usize>(&self, key: &[u8; SLOT], history: History) -> Peer<SLOT> {
        Peer {
            slot: slot(key, State::new(self.now, self.announce.crypto, history)),
            id: self.announce.peer_id.0,
        }
    }

    fn rewrite<const SLOT: usize>(
        &self,
        peers: &mut Peers<SLOT>,
        key: &[u8; SLOT],
        registration: &mut Registration,
    ) -> Option<Rewritten> {
        let class = Class::of(self.announce.seeder);
        let before = peers.find(key, class, self.rules)?;
        let mut history = self.history(peers, before);
        let is_seeder = class == Class::Seeder;
        let is_completed =
            is_seeder && self.announce.event == Event::Completed && history.may_complete();
        if is_completed {
            history = history.counted();
        } else if !is_seeder {
            history = history.leeched();
        }
        let place = peers.write(before, class, &self.peer(key, history), self.rules);
        let has_changed_class = place.class != before.class;
        if has_changed_class {
            registration.note_change(true);
        }
        Some(Rewritten { place, has_changed_class, is_completed })
    }

    /// What the peer at a place has been, nothing if another client was there.
    fn history<const SLOT: usize>(&self, peers: &Peers<SLOT>, place: Place) -> History {
        let history = peers.state(place).history();
        // The id is looked at only where it makes a difference.
        let matters = if self.announce.seeder {
            history != History::NONE
        } else {
            history != History::LEECHED
        };
        let is_another =
            |known: &[u8; PEER_ID_BYTES]| *known != self.announce.peer_id.0 && *known != UNKNOWN_ID;
        if matters && peers.id(place, self.rules).is_some_and(is_another) {
            return History::NONE;
        }
        history
    }
}

fn leave<const SLOT: usize>(
    peers: &mut Peers<SLOT>,
    key: &[u8; SLOT],
    likely: Class,
    rules: &Rules,
) -> Option<Class> {
    let place = peers.find(key, likely, rules)?;
    peers.remove(place, rules);
    Some(place.class)
}

/// A wire address followed by the zeros of an empty state.
pub(super) fn padded<const SLOT: usize>(wire: &[u8]) -> [u8; SLOT] {
    let mut key = [0; SLOT];
    key[..wire.len()].copy_from_slice(wire);
    key
}
