//! Who is in which torrent.
//!
//! Owns: every peer, in memory only. [`Store`] is 1024 shards, each a lock around its torrents, chosen by a keyed hash of the info hash.
//! An announce locks one shard, once: it updates the peer and copies the chosen ones out. A re-announce allocates nothing and writes to
//! no memory that other shards share.
//!
//! Never: reads a clock, has randomness of its own, logs, or knows of requests and answers: `now` and the random numbers are arguments.
//!
//! Limits: [`Settings::peers_max`] and [`Settings::torrents_max`]. Past a cap a peer is answered, but not stored. An empty torrent is
//! forgotten at once, its `downloaded` too.
//!
//! From the outside in: `shard` (the torrents of one lock), `torrent` (one swarm, one cache line), `peers` (one family: few or many),
//! `table` (many: linear hashing), `run` (few: dense bytes), `state` (two bytes a peer), `select` and `chosen` (the answer), `sweep`
//! (expiry).

mod chosen;
mod peers;
mod population;
mod room;
mod rules;
mod run;
mod select;
mod shard;
mod state;
mod sweep;
mod table;
mod torrent;

use parking_lot::{Mutex, MutexGuard};

pub use self::chosen::{Chosen, PEERS_MAX};
pub use self::sweep::Sweep;

use self::peers::Place;
use self::population::Gauge;
use self::rules::Rules;
use self::run::Class;
use self::select::Want;
use self::shard::Shard;
use self::state::Stamp;
use self::torrent::Torrent;
use crate::ids::{Crypto, Event, InfoHash, Millis, PeerAddr, PeerId};

/// Locks in a store: enough that two of 64 workers rarely meet, few enough that all fit the second-level cache.
const SHARDS: usize = 1024;
/// The bits of a torrent's hash that choose its shard, from this one up: `hashbrown` uses the lowest and the seven highest.
const SHARD_SHIFT: u32 = 40;

/// What a store is made for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Milliseconds after its last announce that a peer is gone: the minimum and the maximum interval together.
    pub lifetime_ms: u64,
    /// Whether to keep peer ids, 20 bytes a peer, for dictionary answers.
    pub peer_ids: bool,
    /// Peers that are stored, at most.
    pub peers_max: u64,
    /// Torrents that are stored, at most.
    pub torrents_max: u64,
}

/// What a peer announces, as far as the swarms care.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Where the peer listens, which is its identity and the family of its answer.
    pub peer: PeerAddr,
    /// What the peer calls itself.
    pub peer_id: PeerId,
    /// Whether `left` is 0.
    pub seeder: bool,
    /// What has happened.
    pub event: Event,
    /// What the peer says of encryption; one that requires it is given only peers that support it.
    pub crypto: Crypto,
    /// Whether the peer can be connected to. One that cannot (libtorrent's port 1) is answered, never stored.
    pub listening: bool,
    /// Peers wanted, at most; [`PEERS_MAX`] is the end of it.
    pub numwant: usize,
    /// Whether [`Chosen::ids`] is wanted.
    pub want_ids: bool,
    /// Whether [`Chosen::crypto_flags`] is wanted.
    pub want_crypto_flags: bool,
}

/// The counters of one torrent, both families together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Seeders.
    pub complete: u32,
    /// Leechers.
    pub incomplete: u32,
    /// Completions since the torrent has been in memory.
    pub downloaded: u32,
}

/// What a store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Torrents with a peer at least.
    pub torrents: u64,
    /// Peers; one in two torrents counts twice.
    pub peers: u64,
}

/// A shard on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Line(Mutex<Shard>);

const _: () = assert!(size_of::<Line>() == 64);

/// Every swarm. Shared by all workers.
pub struct Store {
    shards: Box<[Line]>,
    rules: Rules,
    lifetime_ms: u64,
    peers: Gauge,
    torrents: Gauge,
}

impl Store {
    /// An empty store. The keys of its hashes derive from `seed`, which strangers must not be able to guess.
    pub fn new(settings: Settings, seed: u64) -> Store {
        Store {
            shards: (0..SHARDS).map(|_| Line::default()).collect(),
            rules: Rules::new(settings.lifetime_ms, settings.peer_ids, seed),
            lifetime_ms: settings.lifetime_ms,
            peers: Gauge::new(settings.peers_max),
            torrents: Gauge::new(settings.torrents_max),
        }
    }

    /// Stores what a peer announces, and puts peers for it into `chosen`. The counts are those after the announce.
    pub fn announce(&self, announce: &Announcement, now: Millis, rng: &mut fastrand::Rng, chosen: &mut Chosen) -> Counts {
        chosen.clear(announce.peer.family(), announce.want_crypto_flags);
        let hash = self.rules.torrent_hash(&announce.info_hash);
        let now = self.rules.ages.stamp(now);
        let want = Want::of(announce, self.rules.ids);
        let mut shard = self.lock(hash);
        match (shard.find(hash, &announce.info_hash), announce.event) {
            (None, Event::Stopped) => Counts::default(),
            (None, _) => self.begin(&mut shard, hash, announce, now),
            (Some(at), Event::Stopped) => self.leave(&mut shard, at, announce),
            (Some(at), _) => {
                let torrent = &mut shard.torrents_mut()[at];
                let asker = self.update(torrent, announce, now);
                torrent.choose(asker, want, rng, chosen);
                torrent.counts()
            }
        }
    }

    /// The counters of a torrent, None when nobody is in it.
    pub fn scrape(&self, info_hash: &InfoHash) -> Option<Counts> {
        let hash = self.rules.torrent_hash(info_hash);
        let shard = self.lock(hash);
        shard.find(hash, info_hash).map(|at| shard.torrents()[at].counts())
    }

    /// Forgets a torrent and its peers.
    pub fn remove(&self, info_hash: &InfoHash) {
        let hash = self.rules.torrent_hash(info_hash);
        let mut shard = self.lock(hash);
        let removed = shard.find(hash, info_hash).map(|at| shard.remove(at, &self.rules));
        // What a large swarm owns is freed after the lock.
        drop(shard);
        if let Some(torrent) = removed {
            self.peers.release(torrent.len());
            self.torrents.release(1);
        }
    }

    /// Calls `f` for every torrent, in no order. No lock is held then: a shard is copied first, so what `f` sees is a moment old.
    pub fn for_each(&self, mut f: impl FnMut(&InfoHash, Counts)) {
        let mut copied = Vec::new();
        for shard in &self.shards {
            copied.extend(shard.0.lock().torrents().iter().map(|torrent| (torrent.info_hash, torrent.counts())));
            copied.drain(..).for_each(|(info_hash, counts)| f(&info_hash, counts));
        }
    }

    /// What is stored now.
    pub fn totals(&self) -> Totals {
        Totals { torrents: self.torrents.count(), peers: self.peers.count() }
    }

    /// Panics when something is not where it would be looked for, or was miscounted. Looks at everything: for tests, with nobody else
    /// at work.
    pub fn check_invariants(&self) {
        let mut counted = Totals::default();
        for (at, shard) in self.shards.iter().enumerate() {
            let shard = shard.0.lock();
            shard.check_invariants(&self.rules);
            for torrent in shard.torrents() {
                assert_eq!(
                    shard_of(self.rules.torrent_hash(&torrent.info_hash)),
                    at,
                    "{} is in another's shard",
                    torrent.info_hash
                );
                counted.torrents += 1;
                counted.peers += torrent.len() as u64;
            }
        }
        assert_eq!(self.totals(), counted, "the population was miscounted");
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, Shard> {
        self.shards[shard_of(hash)].0.lock()
    }

    /// The first announce of a torrent: alone, so no peers are chosen.
    fn begin(&self, shard: &mut Shard, hash: u64, announce: &Announcement, now: Stamp) -> Counts {
        if !announce.listening || shard.is_full() || !self.torrents.admit() {
            return Counts::default();
        }
        let mut torrent = Torrent::new(announce.info_hash);
        if self.update(&mut torrent, announce, now).is_none() {
            self.torrents.release(1);
            return Counts::default();
        }
        let counts = torrent.counts();
        shard.insert(hash, torrent, &self.rules);
        counts
    }

    /// Updates the asker in its torrent, within the cap on peers.
    fn update(&self, torrent: &mut Torrent, announce: &Announcement, now: Stamp) -> Option<Place> {
        let mut admitted = false;
        let place = torrent.update(announce, now, &self.rules, || {
            admitted = self.peers.admit();
            admitted
        });
        if admitted && place.is_none() {
            self.peers.release(1);
        }
        place
    }

    /// Takes the asker out of its torrent, and the torrent out of the store when that was the last peer.
    fn leave(&self, shard: &mut Shard, at: usize, announce: &Announcement) -> Counts {
        let torrent = &mut shard.torrents_mut()[at];
        let known = torrent.leave(&announce.peer, Class::of(announce.seeder), &self.rules);
        let (counts, is_empty) = (torrent.counts(), torrent.len() == 0);
        self.peers.release(usize::from(known));
        if is_empty {
            shard.remove(at, &self.rules);
            self.torrents.release(1);
        }
        counts
    }
}

/// The shard of a torrent with this hash.
fn shard_of(hash: u64) -> usize {
    (hash >> SHARD_SHIFT) as usize & (SHARDS - 1)
}
