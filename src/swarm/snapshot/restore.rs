//! Taking in what a snapshot holds.
//!
//! Owns: what becomes of a saved torrent and its peers in a store that may be serving already. A
//! peer that has announced itself since stays as it is, but for what it has been before; one that
//! has stopped since does not come back; one that has lived its time is left out. Peers are
//! admitted as those that announce themselves are.
//!
//! Never: counts an announce, or notes a torrent as to be written unless what the database has of
//! it cannot be right.
//!
//! Limits: [`HOLD_PEERS`] peers taken in under one lock.

use crate::config::SwarmLimits;
use crate::ids::{Millis, PeerAddr};
use crate::listing::{Listing, Verdict};
use crate::swarm::early::{Note, Notes};
use crate::swarm::peers::Peers;
use crate::swarm::population::Kind;
use crate::swarm::registration::Registration;
use crate::swarm::rules::Rules;
use crate::swarm::run::{Class, Peer, slot};
use crate::swarm::shard::Shard;
use crate::swarm::snapshot::format::{SavedPeer, SavedTorrent};
use crate::swarm::state::{Stamp, State, UNIT_MS};
use crate::swarm::store::Store;
use crate::swarm::torrent::{Torrent, UNKNOWN_ID, padded};

/// Peers taken in under one lock: some 50 us when nothing of their swarm is in the cache.
const HOLD_PEERS: usize = 256;

/// By what a saved torrent is taken in.
#[derive(Clone, Copy, Debug)]
pub struct Readmission<'a> {
    /// The time.
    pub now: Millis,
    /// How long ago the time is from which the ages count, milliseconds.
    pub since_ms: u64,
    /// How much is stored, and how long.
    pub limits: &'a SwarmLimits,
    /// What is known of the torrent. Its count is the database's, 0 where that has none.
    pub verdict: Verdict,
    /// Whether what nobody else knows of is still to be written.
    pub counts_are_new: bool,
    /// Whether the swarm may have changed after it was saved.
    pub is_outdated: bool,
}

/// What has become of saved peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Peers that are in their swarm again.
    pub peers: u64,
    /// Peers that have lived their time.
    pub expired: u64,
    /// Peers that have announced themselves since, or have stopped.
    pub known: u64,
    /// Peers that there was no room for, or whose torrent is not served.
    pub left_out: u64,
}

impl Restored {
    /// Both together.
    pub fn and(self, other: Restored) -> Restored {
        Restored {
            peers: self.peers + other.peers,
            expired: self.expired + other.expired,
            known: self.known + other.known,
            left_out: self.left_out + other.left_out,
        }
    }
}

impl Store {
    /// Has remembered what is announced of peers that are still to be taken in; until
    /// [`Store::end_restore`].
    pub fn begin_restore(&self) {
        self.early.open();
    }

    /// Everything is taken in. How many announces could not be remembered.
    pub fn end_restore(&self) -> u64 {
        self.early.close()
    }

    /// Takes in what a snapshot holds of a torrent.
    pub fn restore(&self, saved: &SavedTorrent<'_>, how: &Readmission<'_>) -> Restored {
        let hash = self.rules.torrent_hash(&saved.info_hash);
        let mut peers = saved.peers().peekable();
        let (mut restored, mut is_begun) = (Restored::default(), false);
        while !is_begun || peers.peek().is_some() {
            let mut shard = self.lock(hash);
            let Some(at) = self.find_or_begin(&mut shard, hash, saved, how) else {
                restored.left_out += peers.count() as u64;
                break;
            };
            let torrent = shard.torrent_mut(at);
            if !is_begun {
                begin(&mut torrent.registration, saved, how);
            }
            let mut became = Restored::default();
            let notes = self.early.notes();
            for peer in peers.by_ref().take(HOLD_PEERS) {
                became = became.and(self.restore_peer(torrent, &peer, how, &notes));
            }
            drop(notes);
            torrent.fit();
            let has_lost = became.expired > 0 || became.left_out > 0;
            if torrent.registration.listing() == Listing::Listed && (has_lost || how.is_outdated) {
                torrent.registration.note_change(false);
            }
            torrent.check_after_change(&self.rules);
            self.forget_if_disposable(&mut shard, at);
            is_begun = true;
            restored = restored.and(became);
        }
        restored
    }

    fn find_or_begin(
        &self,
        shard: &mut Shard,
        hash: u64,
        saved: &SavedTorrent<'_>,
        how: &Readmission<'_>,
    ) -> Option<usize> {
        if let Some(at) = shard.find(hash, &saved.info_hash) {
            let is_banned = shard.torrent(at).registration.listing() == Listing::Banned;
            return (!is_banned).then_some(at);
        }
        // The list is the bound of torrents that it has.
        let is_listed = how.verdict.listing == Listing::Listed;
        let torrents_max = if is_listed { u64::MAX } else { how.limits.torrents_max };
        if shard.is_full() || !self.population.admit_torrent(torrents_max) {
            return None;
        }
        shard.insert(hash, Torrent::new(saved.info_hash, how.verdict), &self.rules);
        shard.find(hash, &saved.info_hash)
    }

    fn restore_peer(
        &self,
        torrent: &mut Torrent,
        saved: &SavedPeer,
        how: &Readmission<'_>,
        notes: &Notes,
    ) -> Restored {
        let age_ms = saved.age_ms.saturating_add(how.since_ms);
        // An age is up to a unit too long.
        if age_ms > how.limits.lifetime_ms.saturating_add(UNIT_MS) {
            return Restored { expired: 1, ..Restored::default() };
        }
        let stamp = Stamp::of_earlier(how.now, age_ms);
        let note = notes.of(&torrent.info_hash, &saved.address);
        let arrival = Arrival { saved, stamp, note, rules: &self.rules };
        let kind = Kind { family: saved.address.family(), class: Class::of(saved.seeder) };
        let admit = || self.population.admit_peer(kind, how.limits.peers_max);
        let Torrent { registration, v4, v6, .. } = torrent;
        let became = match &saved.address {
            PeerAddr::V4(wire) => arrival.take_in(v4, &padded(wire), registration, admit),
            PeerAddr::V6(wire) => {
                let v6 = v6.get_or_insert_default();
                arrival.take_in(v6, &padded(wire), registration, admit)
            }
        };
        match became {
            Became::Peer => {
                if saved.address.is_private() {
                    registration.note_private_peer();
                }
                self.note_stored(torrent, &saved.address, how.limits);
            }
            Became::NotStored => self.population.release_peer(kind),
            _ => {}
        }
        match became {
            Became::Peer => Restored { peers: 1, ..Restored::default() },
            Became::Known => Restored { known: 1, ..Restored::default() },
            Became::Refused | Became::NotStored => Restored { left_out: 1, ..Restored::default() },
        }
    }
}

/// What a record says of the torrent's downloads.
fn begin(registration: &mut Registration, saved: &SavedTorrent<'_>, how: &Readmission<'_>) {
    let SavedTorrent { base, own, is_first, .. } = *saved;
    match how.counts_are_new {
        true => registration.restore(base, if is_first { own } else { 0 }),
        false => registration.restore(base.saturating_add(own), 0),
    }
}

/// What a saved peer became.
enum Became {
    /// A peer.
    Peer,
    /// Nothing: it is there already, or has left.
    Known,
    /// Nothing: it was not admitted.
    Refused,
    /// Nothing: it was admitted, but not stored.
    NotStored,
}

/// A saved peer on its way in.
struct Arrival<'a> {
    saved: &'a SavedPeer,
    stamp: Stamp,
    note: Note,
    rules: &'a Rules,
}

impl Arrival<'_> {
    fn take_in<const SLOT: usize>(
        &self,
        peers: &mut Peers<SLOT>,
        key: &[u8; SLOT],
        registration: &mut Registration,
        admit: impl FnOnce() -> bool,
    ) -> Became {
        let saved = self.saved;
        let mut history = saved.history;
        let completed = self.note.completed.is_some_and(|by| self.is_same_client(&by.0));
        if completed && history.may_complete() {
            registration.count_download();
            history = history.counted();
        }
        if self.note.stopped {
            return Became::Known;
        }
        let class = Class::of(saved.seeder);
        let id = saved.id.map_or(UNKNOWN_ID, |id| id.0);
        if let Some(place) = peers.find(key, class, self.rules) {
            let state = peers.state(place);
            let known = peers.id(place, self.rules).copied();
            let both = state.history().and(history);
            if both != state.history() && known.is_none_or(|known| self.is_same_client(&known)) {
                let slot = slot(key, state.with_history(both));
                let peer = Peer { slot, id: known.unwrap_or_default() };
                peers.write(place, place.class, &peer, self.rules);
            }
            return Became::Known;
        }
        if !admit() {
            return Became::Refused;
        }
        let state = State::new(self.stamp, saved.crypto, history);
        match peers.insert(class, &Peer { slot: slot(key, state), id }, self.rules) {
            Some(_) => Became::Peer,
            None => Became::NotStored,
        }
    }

    /// Whether the one that called itself `id` is the saved one, as far as ids tell.
    fn is_same_client(&self, id: &[u8; 20]) -> bool {
        !self.rules.ids || self.saved.id.is_none_or(|saved| saved.0 == *id)
    }
}
