//! One swarm: who is in it, and how often it was completed.
//!
//! Owns: what an announce changes. A peer is one address and port (PROTOCOL.md); its class, age,
//! peer id and encryption are rewritten by each announce. `downloaded` grows when a peer known as a
//! leecher reports `completed`, once for as long as the peer is known.
//!
//! Never: decides who is let in (the cap is its caller's), or is kept without a peer longer than
//! its books owe something to the database.
//!
//! Limits: one cache line, so that a torrent costs one miss and 64 bytes; a torrent of one or two
//! IPv4 peers without ids costs nothing beside it. Swarms of IPv6 peers are rarer and lie in an
//! allocation of their own.

use std::mem;

use super::books::Books;
use super::chosen::Chosen;
use super::peers::{Peers, Place, Progress};
use super::rules::Rules;
use super::run::{Class, Peer, SLOT_V4, SLOT_V6, slot};
use super::select::{self, Want};
use super::state::{Expiry, Stamp, State};
use super::{Announcement, Counts};
use crate::ids::{Event, Family, INFO_HASH_BYTES, InfoHash, PeerAddr};
use crate::listing::Verdict;

/// See the module.
#[repr(align(64))]
pub(super) struct Torrent {
    /// Which torrent.
    pub(super) info_hash: InfoHash,
    /// What the database says of it, and is to be told.
    pub(super) books: Books,
    v4: Peers<SLOT_V4>,
    v6: Option<Box<Peers<SLOT_V6>>>,
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
        Torrent { info_hash, books: Books::new(verdict), v4: Peers::default(), v6: None }
    }

    /// All peers, of both families.
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.as_ref().map_or(0, |peers| peers.len())
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_disposable(&self) -> bool {
        self.len() == 0 && !self.books.owes()
    }

    /// The torrent is banned: lets all peers go. What is given back is to be dropped outside the
    /// lock.
    pub(super) fn ban(&mut self) -> Torrent {
        self.books.ban();
        self.vacate()
    }

    /// Lets all peers go; see [`Torrent::ban`].
    pub(super) fn vacate(&mut self) -> Torrent {
        if self.len() > 0 {
            self.books.note_change(false);
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
            downloaded: self.books.downloaded(),
        }
    }

    /// Stores what a peer announces. `admit` is asked before a peer is added; None is a peer that
    /// is not stored.
    pub(super) fn update(
        &mut self,
        announce: &Announcement,
        now: Stamp,
        rules: &Rules,
        admit: impl FnOnce() -> bool,
    ) -> Option<Place> {
        let news = News { announce, now, rules };
        let (place, change) = match announce.peer {
            PeerAddr::V4(wire) => news.apply(&mut self.v4, padded(&wire), admit),
            PeerAddr::V6(wire) => {
                let result = news.apply(self.v6.get_or_insert_default(), padded(&wire), admit);
                self.fit();
                result
            }
        };
        match change {
            Change::None => {}
            Change::Counts => self.books.note_change(true),
            Change::Completed => self.books.count_download(),
        }
        self.check_after_change(rules);
        place
    }

    /// Chooses peers of the family of `chosen`, for an asker that [`Torrent::update`] has put at
    /// `asker`.
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

    /// Forgets a peer that leaves; false when it was not known.
    pub(super) fn leave(&mut self, peer: &PeerAddr, likely: Class, rules: &Rules) -> bool {
        let left = match (peer, &mut self.v6) {
            (PeerAddr::V4(wire), _) => leave(&mut self.v4, &padded(wire), likely, rules),
            (PeerAddr::V6(wire), Some(v6)) => leave(v6, &padded(wire), likely, rules),
            (PeerAddr::V6(_), None) => false,
        };
        self.fit();
        if left {
            self.books.note_change(true);
        }
        self.check_after_change(rules);
        left
    }

    /// Forgets peers that have lived their time, until about `budget` peers have been looked at,
    /// which it lowers. Says what is left to do.
    pub(super) fn expire(
        &mut self,
        rest: Rest,
        budget: &mut usize,
        expiry: Expiry,
        rules: &Rules,
    ) -> Option<Rest> {
        let peers = self.len();
        let rest = self.expire_families(rest, budget, expiry, rules);
        if self.len() < peers {
            self.books.note_change(false);
        }
        self.fit();
        self.check_after_change(rules);
        rest
    }

    fn expire_families(
        &mut self,
        rest: Rest,
        budget: &mut usize,
        expiry: Expiry,
        rules: &Rules,
    ) -> Option<Rest> {
        let mut progress = rest.progress;
        if rest.family == Family::V6 {
            if let Some(v6) = &mut self.v6
                && let Some(progress) = v6.expire(progress, budget, expiry, rules)
            {
                return Some(Rest { family: Family::V6, progress });
            }
            progress = Progress::START;
        }
        let rest = self.v4.expire(progress, budget, expiry, rules);
        rest.map(|progress| Rest { family: Family::V4, progress })
    }

    fn fit(&mut self) {
        if self.v6.as_ref().is_some_and(|peers| peers.len() == 0) {
            self.v6 = None;
        }
    }

    fn check_after_change(&self, rules: &Rules) {
        if cfg!(debug_assertions) {
            self.check_invariants(rules, false);
        }
    }

    /// Panics when the peers are not where they would be looked for. Looks at every peer only of a
    /// small swarm, unless `thorough`.
    pub(super) fn check_invariants(&self, rules: &Rules, thorough: bool) {
        self.v4.check_invariants(rules, thorough);
        if let Some(v6) = &self.v6 {
            assert!(v6.len() > 0, "an empty allocation for IPv6 peers");
            v6.check_invariants(rules, thorough);
        }
    }
}

/// What an announce has changed in the counts of its torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    /// Nothing.
    None,
    /// Seeders or leechers.
    Counts,
    /// Those, and the completions.
    Completed,
}

/// What one announce says about its peer.
struct News<'a> {
    announce: &'a Announcement,
    now: Stamp,
    rules: &'a Rules,
}

impl News<'_> {
    /// Stores the peer whose address is in `key`. Gives its place, and what that changed.
    fn apply<const SLOT: usize>(
        &self,
        peers: &mut Peers<SLOT>,
        key: [u8; SLOT],
        admit: impl FnOnce() -> bool,
    ) -> (Option<Place>, Change) {
        let class = Class::of(self.announce.seeder);
        let peer = |counted| Peer {
            slot: slot(&key, State::new(self.now, self.announce.crypto, counted)),
            id: self.announce.peer_id.0,
        };
        match peers.find(&key, class, self.rules) {
            Some(place) => {
                let counted = peers.state(place).is_counted();
                let becomes_seeder = place.class == Class::Leecher && class == Class::Seeder;
                let completed =
                    becomes_seeder && self.announce.event == Event::Completed && !counted;
                let change = match completed {
                    true => Change::Completed,
                    false if place.class != class => Change::Counts,
                    false => Change::None,
                };
                (Some(peers.write(place, class, &peer(counted || completed), self.rules)), change)
            }
            None if self.announce.listening && admit() => {
                (peers.insert(class, &peer(false), self.rules), Change::Counts)
            }
            None => (None, Change::None),
        }
    }
}

fn leave<const SLOT: usize>(
    peers: &mut Peers<SLOT>,
    key: &[u8; SLOT],
    likely: Class,
    rules: &Rules,
) -> bool {
    let place = peers.find(key, likely, rules);
    if let Some(place) = place {
        peers.remove(place, rules);
    }
    place.is_some()
}

/// A wire address followed by the zeros of an empty state.
fn padded<const SLOT: usize>(wire: &[u8]) -> [u8; SLOT] {
    let mut key = [0; SLOT];
    key[..wire.len()].copy_from_slice(wire);
    key
}
