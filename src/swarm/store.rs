//! All swarms behind their locks, and the way of one announce.
//!
//! Owns: which shard a torrent is in, what happens in which order under its lock, and that the
//! population is counted with every change. A torrent without peers is forgotten when nothing is
//! to be written of it.
//!
//! Never: takes a second lock under one, but for what the closure given to [`Store::learn`] takes,
//! and that of the notes while a snapshot is taken in (`early`); or frees under a lock what a large
//! swarm owned.

use parking_lot::{Mutex, MutexGuard};

#[cfg(any(test, feature = "fuzzing"))]
use crate::ids::PeerAddr;
use crate::ids::{Event, InfoHash};
use crate::listing::{Listing, Verdict};
use crate::secrets;
use crate::swarm::announcement::{Announced, Announcement, Counts, Moment, Newcomer};
use crate::swarm::chosen::Chosen;
use crate::swarm::completions::Completions;
use crate::swarm::early::Early;
use crate::swarm::fair::FairWant;
use crate::swarm::hosts::Hosts;
use crate::swarm::peers::{FEW_MAX, Place};
use crate::swarm::population::{Kind, PeerCounts, Population, Totals};
use crate::swarm::rules::Rules;
use crate::swarm::run::Class;
use crate::swarm::select::Want;
use crate::swarm::shard::Shard;
use crate::swarm::state::Stamp;
use crate::swarm::torrent::Torrent;

/// Locks in a store: enough that two of 64 workers rarely meet, few enough that all fit the
/// second-level cache.
pub(super) const SHARDS: usize = 1024;
/// The bits of a torrent's hash that choose its shard, from this one up: `hashbrown` uses the
/// lowest and the seven highest.
const SHARD_SHIFT: u32 = 40;

/// What a store is made for, from its begin.
#[derive(Clone, Copy, Debug)]
pub struct StoreSettings {
    /// Whether to keep peer ids, 20 bytes a peer, for dictionary answers.
    pub peer_ids: bool,
}

/// Who announces, and when.
pub(super) struct Asker<'a> {
    pub(super) announce: &'a Announcement,
    pub(super) moment: Moment<'a>,
}

/// What the peers of an answer are drawn with, and put into.
struct Draw<'d> {
    rng: &'d mut fastrand::Rng,
    chosen: &'d mut Chosen,
}

/// A shard on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Line(pub(super) Mutex<Shard>);

const _: () = assert!(size_of::<Line>() == 64);

/// Every swarm. Shared by all workers.
pub struct Store {
    pub(super) shards: Box<[Line]>,
    pub(super) rules: Rules,
    pub(super) population: Population,
    pub(super) hosts: Hosts,
    pub(super) completions: Completions,
    /// Who made room since it was asked last, for a model that cannot know.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) gone: Mutex<Vec<(InfoHash, PeerAddr)>>,
    pub(super) early: Early,
}

impl Store {
    /// An empty store. The keys of its hashes derive from `seed`, which strangers must not be able
    /// to guess.
    pub fn new(settings: StoreSettings, seed: u64) -> Store {
        let rules = Rules::new(settings.peer_ids, seed);
        let [early_keys] = secrets::table_keys(seed.rotate_left(32));
        Store {
            shards: (0..SHARDS).map(|_| Line::default()).collect(),
            hosts: Hosts::new(rules.random(0)),
            rules,
            population: Population::default(),
            completions: Completions::new(),
            #[cfg(any(test, feature = "fuzzing"))]
            gone: Mutex::default(),
            early: Early::new(early_keys),
        }
    }

    /// Stores what a peer announces for a torrent that has a swarm and is served, and puts peers
    /// for it into `chosen`. Where there is none, whether one may begin is not known here:
    /// [`Store::enter`] goes on then.
    pub fn announce(
        &self,
        announce: &Announcement,
        moment: Moment<'_>,
        rng: &mut fastrand::Rng,
        chosen: &mut Chosen,
    ) -> Announced {
        let hash = self.rules.torrent_hash(&announce.info_hash);
        let mut shard = self.lock(hash);
        let Some(at) = shard.find(hash, &announce.info_hash) else { return Announced::Absent };
        let registration = &mut shard.torrent_mut(at).registration;
        if !moment.served.contains(registration.listing()) {
            return Announced::Absent;
        }
        if registration.take_stale(moment.now) {
            return Announced::Stale;
        }
        let (asker, draw) = (Asker { announce, moment }, Draw { rng, chosen });
        Announced::Served(self.serve(&mut shard, at, &asker, draw))
    }

    /// Like [`Store::announce`], but begins the swarm when there is none, and asks for no newer
    /// verdict or whether the torrent is served. None when it has been banned since.
    pub fn enter(
        &self,
        newcomer: &Newcomer<'_>,
        moment: Moment<'_>,
        rng: &mut fastrand::Rng,
        chosen: &mut Chosen,
    ) -> Option<Counts> {
        let announce = newcomer.announce;
        let hash = self.rules.torrent_hash(&announce.info_hash);
        let mut shard = self.lock(hash);
        match shard.find(hash, &announce.info_hash) {
            Some(at) if shard.torrent(at).registration.listing() == Listing::Banned => None,
            Some(at) => {
                let (asker, draw) = (Asker { announce, moment }, Draw { rng, chosen });
                Some(self.serve(&mut shard, at, &asker, draw))
            }
            None => {
                chosen.clear(announce, self.rules.ids);
                Some(self.begin(&mut shard, hash, newcomer, moment))
            }
        }
    }

    /// Stores what a peer of a known torrent announces, and draws the peers for it.
    fn serve(&self, shard: &mut Shard, at: usize, asker: &Asker<'_>, draw: Draw<'_>) -> Counts {
        let (announce, Draw { rng, chosen }) = (asker.announce, draw);
        chosen.clear(announce, self.rules.ids);
        if announce.event == Event::Stopped {
            return self.leave(shard, at, announce);
        }
        let torrent = shard.torrent_mut(at);
        torrent.registration.note_activity(asker.moment.now);
        let place = self.update(torrent, asker);
        if torrent.registration.is_choosy() {
            choose_with_care(torrent, place, asker, Draw { rng, chosen });
        } else {
            torrent.choose(place, Want::of(announce), rng, chosen);
        }
        torrent.counts()
    }

    /// The counters of a torrent, None when it is not in memory.
    pub fn scrape(&self, info_hash: &InfoHash) -> Option<Counts> {
        let hash = self.rules.torrent_hash(info_hash);
        let shard = self.lock(hash);
        shard.find(hash, info_hash).map(|at| shard.torrent(at).counts())
    }

    /// What is known of the registration of a torrent in memory.
    pub fn listing(&self, info_hash: &InfoHash) -> Option<Listing> {
        let hash = self.rules.torrent_hash(info_hash);
        let shard = self.lock(hash);
        shard.find(hash, info_hash).map(|at| shard.torrent(at).registration.listing())
    }

    /// Takes note of what the database says of a torrent that is not banned, whatever it said
    /// before. Its count is taken over if `count_is_current`, which is asked under the lock.
    pub fn learn(
        &self,
        info_hash: &InfoHash,
        verdict: Verdict,
        count_is_current: impl FnOnce() -> bool,
    ) {
        let hash = self.rules.torrent_hash(info_hash);
        let mut shard = self.lock(hash);
        if let Some(at) = shard.find(hash, info_hash) {
            shard.torrent_mut(at).registration.learn(verdict, count_is_current);
            self.forget_if_disposable(&mut shard, at);
        }
    }

    /// Takes note that a torrent is banned: lets all its peers go, and nobody in until it is
    /// learned otherwise. What was counted of it is still written.
    pub fn ban(&self, info_hash: &InfoHash) {
        let hash = self.rules.torrent_hash(info_hash);
        let mut shard = self.lock(hash);
        let gone = shard.find(hash, info_hash).map(|at| {
            let gone = shard.torrent_mut(at).ban();
            self.forget_if_disposable(&mut shard, at);
            gone
        });
        // What a large swarm owns is freed after the lock.
        drop(shard);
        if let Some(torrent) = gone {
            self.forget_hosts(&torrent);
            self.population.release_peers(torrent.peer_counts());
        }
    }

    /// What is stored now.
    pub fn totals(&self) -> Totals {
        self.population.totals()
    }

    /// Whether it keeps peer ids.
    pub fn keeps_ids(&self) -> bool {
        self.rules.ids
    }

    /// Announces so far that were answered, but whose peer was not stored: it does not listen, or a
    /// cap was reached.
    pub fn not_stored(&self) -> u64 {
        self.population.not_stored()
    }

    /// Whether a cap has been reached for the first time: true for one caller, once.
    pub fn take_full(&self) -> bool {
        self.population.take_full()
    }

    /// Peers so far that made room for others at a cap.
    pub fn evicted(&self) -> u64 {
        self.population.evicted()
    }

    /// Who made room since this was asked last.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn take_gone(&self) -> Vec<(InfoHash, PeerAddr)> {
        std::mem::take(&mut self.gone.lock())
    }

    /// Panics when something is not where it would be looked for, or was miscounted. Looks at
    /// everything: for tests, with nobody else at work.
    pub fn check_invariants(&self) {
        let (mut torrents, mut peers) = (0, PeerCounts::default());
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
                torrents += 1;
                peers.add_gone(torrent.peer_counts(), PeerCounts::default());
            }
        }
        assert_eq!(self.totals(), Totals::of(torrents, peers), "the population was miscounted");
    }

    /// The shard of a torrent with this hash, locked.
    pub(super) fn lock(&self, hash: u64) -> MutexGuard<'_, Shard> {
        self.shards[shard_of(hash)].0.lock()
    }

    /// The first announce of a torrent: alone, so no peers are chosen.
    fn begin(
        &self,
        shard: &mut Shard,
        hash: u64,
        newcomer: &Newcomer<'_>,
        moment: Moment<'_>,
    ) -> Counts {
        let Newcomer { announce, verdict } = *newcomer;
        let nobody = Counts { downloaded: verdict.downloaded, ..Counts::default() };
        if announce.event == Event::Stopped {
            if announce.is_known {
                self.early.note(announce);
            }
            return nobody;
        }
        let is_listed = verdict.listing == Listing::Listed;
        if !announce.listening
            || !announce.is_known
            || shard.is_full()
            || !self.admit_torrent(is_listed, newcomer, moment)
        {
            self.population.count_not_stored();
            return nobody;
        }
        let mut torrent = Torrent::new(announce.info_hash, verdict);
        if self.update(&mut torrent, &Asker { announce, moment }).is_none() {
            self.population.release_torrents(1);
            return nobody;
        }
        let counts = torrent.counts();
        shard.insert(hash, torrent, &self.rules);
        counts
    }

    /// Stores what the asker says of itself, if it is known or there is room for it below the cap.
    /// One whose address is not known changes nothing: the peer at the proxy's address is another.
    fn update(&self, torrent: &mut Torrent, asker: &Asker<'_>) -> Option<Place> {
        let (announce, now) = (asker.announce, Stamp::of(asker.moment.now));
        if !announce.is_known {
            self.population.count_not_stored();
            return None;
        }
        // Who starts is mostly new, which one look at the addresses of a small swarm tells.
        let starts = announce.event == Event::Started && torrent.len() <= FEW_MAX;
        if starts {
            let neighbours = torrent.neighbours(&announce.peer, &self.rules);
            if neighbours.are_none() {
                return self.add(torrent, asker, neighbours);
            }
        }
        let Some(rewritten) = torrent.rewrite(announce, now, &self.rules) else {
            let neighbours = torrent.neighbours(&announce.peer, &self.rules);
            return self.add(torrent, asker, neighbours);
        };
        if rewritten.is_completed && self.admit_completion(asker) {
            torrent.registration.count_download();
        }
        if rewritten.has_changed_class {
            let (family, class) = (announce.peer.family(), rewritten.place.class);
            self.population.change_class(Kind { family, class });
        }
        Some(rewritten.place)
    }

    /// Takes the asker out of its torrent, and the torrent out of the store when that was the last
    /// peer and nothing is to be written.
    fn leave(&self, shard: &mut Shard, at: usize, announce: &Announcement) -> Counts {
        let torrent = shard.torrent_mut(at);
        if !announce.is_known {
            return torrent.counts();
        }
        let left = torrent.leave(&announce.peer, Class::of(announce.seeder), &self.rules);
        let counts = torrent.counts();
        if let Some(class) = left {
            self.population.release_peer(Kind { family: announce.peer.family(), class });
            self.hosts.remove(&announce.info_hash, &announce.peer);
        }
        // Known or not: what was saved of it may be still to be taken in.
        self.early.note(announce);
        self.forget_if_disposable(shard, at);
        counts
    }

    /// Forgets the torrent at a position if nothing would be lost with it.
    pub(super) fn forget_if_disposable(&self, shard: &mut Shard, at: usize) {
        if shard.torrent(at).is_disposable() {
            shard.remove(at, &self.rules);
            self.population.release_torrents(1);
        }
    }
}

/// Chooses peers in a torrent that holds many of one address, or private ones. An asker outside the
/// tracker's network is given those under its public address, and none where it has none of the
/// asker's family.
#[inline(never)]
fn choose_with_care(
    torrent: &Torrent,
    place: Option<Place>,
    asker: &Asker<'_>,
    Draw { rng, chosen }: Draw<'_>,
) {
    let Asker { announce, moment } = *asker;
    let mut want = Want::of(announce);
    let is_outside = torrent.registration.holds_private_peer() && announce.is_outside();
    let public = moment.limits.public_addresses.of_family(announce.peer.family());
    want.public = is_outside && public.is_none();
    if torrent.registration.holds_crowd() {
        let exempt = &moment.limits.shares_exempt;
        torrent.choose_fairly(place, FairWant { want, exempt }, rng, chosen);
    } else {
        torrent.choose(place, want, rng, chosen);
    }
    if let Some(public) = public.filter(|_| is_outside) {
        chosen.show_outside(public, &announce.peer);
    }
}

/// The shard of a torrent with this hash.
fn shard_of(hash: u64) -> usize {
    (hash >> SHARD_SHIFT) as usize & (SHARDS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PublicAddresses, SwarmLimits};
    use crate::ids::{Crypto, Millis, PeerAddr, PeerId, is_private};
    use crate::swarm::early::Note;
    use crate::swarm::state::UNIT_MS;
    use crate::swarm::sweep::Sweep;
    use crate::tests::announcement::{self, LIMITS, open_at};

    const LEECHER: Announcement = Announcement {
        event: Event::Update,
        numwant: 50,
        want_ids: true,
        want_crypto_flags: true,
        ..announcement::of(1, 1)
    };
    const SEEDER: Announcement =
        Announcement { seeder: true, peer: announcement::addr(2), ..LEECHER };

    fn store() -> Store {
        Store::new(StoreSettings { peer_ids: true }, 5)
    }

    fn announce(store: &Store, announce: Announcement) -> (Counts, Chosen) {
        announce_within(&LIMITS, store, announce)
    }

    fn announce_within(
        limits: &SwarmLimits,
        store: &Store,
        announce: Announcement,
    ) -> (Counts, Chosen) {
        let mut chosen = Chosen::new();
        let counts = store.enter(
            &Newcomer::without_list(&announce),
            Moment { limits, ..open_at(Millis(0)) },
            &mut fastrand::Rng::with_seed(1),
            &mut chosen,
        );
        let counts = counts.expect("nothing is banned");
        store.check_invariants();
        (counts, chosen)
    }

    fn counts(complete: u32, incomplete: u32, downloaded: u32) -> Counts {
        Counts { complete, incomplete, downloaded }
    }

    #[test]
    fn two_peers_find_each_other() {
        let store = store();
        let (alone, chosen) =
            announce(&store, Announcement { crypto: Crypto::Required, ..LEECHER });
        assert_eq!(alone, counts(0, 1, 0), "counts for the first");
        assert!(chosen.wire().is_empty(), "peers for the first: {:?}", chosen.wire());
        let (both, chosen) = announce(&store, SEEDER);
        assert_eq!(both, counts(1, 1, 0), "counts for the second");
        assert_eq!(chosen.wire(), [10, 0, 0, 1, 0x1a, 0xe1].as_slice(), "peers for the second");
        assert_eq!(chosen.ids(), Some([PeerId([b'p'; 20])].as_slice()), "peer ids for the second");
        assert_eq!(chosen.crypto_flags(), Some([1].as_slice()), "encryption flags for the second");
        assert_eq!(store.scrape(&LEECHER.info_hash), Some(both));
    }

    #[test]
    fn a_completion_is_counted_once_and_only_of_a_peer_that_was_a_leecher() {
        let store = store();
        let completed = Announcement { seeder: true, event: Event::Completed, ..LEECHER };
        let story = [
            (completed, counts(1, 0, 0), "not known before"),
            (LEECHER, counts(0, 1, 0), "a leecher again"),
            (Announcement { seeder: false, ..completed }, counts(0, 1, 0), "something is left"),
            (completed, counts(1, 0, 1), "the first completion"),
            (completed, counts(1, 0, 1), "said twice"),
            (LEECHER, counts(0, 1, 1), "a leecher again"),
            (completed, counts(1, 0, 1), "counted already"),
            (
                Announcement { event: Event::Stopped, ..completed },
                counts(0, 0, 1),
                "gone, and the torrent with it",
            ),
            (LEECHER, counts(0, 1, 0), "a leecher of a new swarm"),
            (SEEDER, counts(1, 1, 0), "somebody who keeps it"),
            (Announcement { seeder: true, ..LEECHER }, counts(2, 0, 0), "an update between"),
            (Announcement { seeder: true, ..LEECHER }, counts(2, 0, 0), "another update"),
            (completed, counts(2, 0, 1), "completed after it"),
            (completed, counts(2, 0, 1), "completed twice after it"),
        ];
        for (said, expected, why) in story {
            assert_eq!(announce(&store, said).0, expected, "{why}");
        }
    }

    /// What the second client says on the address of the first, whose completion was counted, and
    /// the downloads after it where peer ids are kept and where not.
    #[test]
    fn another_client_on_a_known_address_counts_anew_where_peer_ids_are_kept() {
        let completed = Announcement { seeder: true, event: Event::Completed, ..LEECHER };
        let other = |said| Announcement { peer_id: PeerId([b'o'; 20]), ..said };
        let seeding = Announcement { event: Event::Update, ..completed };
        let rows: [(&str, &[Announcement], u32, u32); 6] = [
            ("the same client again", &[LEECHER, completed], 1, 1),
            ("another leecher that completes", &[other(LEECHER), other(completed)], 2, 1),
            ("another that nobody saw leech", &[other(completed)], 1, 1),
            ("another seeder that completes later", &[other(seeding), other(completed)], 1, 1),
            (
                "another leecher with an update between",
                &[other(LEECHER), other(seeding), other(completed), other(completed)],
                2,
                1,
            ),
            ("another that leaves it to the first", &[other(LEECHER), LEECHER, completed], 2, 1),
        ];
        for (name, said, with_ids, without_ids) in rows {
            for (peer_ids, downloads) in [(true, with_ids), (false, without_ids)] {
                let store = Store::new(StoreSettings { peer_ids }, 5);
                announce(&store, LEECHER);
                announce(&store, completed);
                let counts = said.iter().map(|said| announce(&store, *said).0).last();
                let told = counts.map(|counts| counts.downloaded);
                assert_eq!(told, Some(downloads), "{name}, peer ids {peer_ids}");
            }
        }
    }

    #[test]
    fn the_last_to_stop_takes_the_torrent_along() {
        let store = store();
        announce(&store, LEECHER);
        announce(&store, SEEDER);
        let (left, chosen) = announce(&store, Announcement { event: Event::Stopped, ..SEEDER });
        assert_eq!(left, counts(0, 1, 0), "counts for one that stops");
        assert_eq!(chosen.count(), 0, "peers for one that stops");
        // It may stop as another class than it was known as.
        announce(&store, Announcement { event: Event::Stopped, seeder: true, ..LEECHER });
        assert_eq!(store.scrape(&LEECHER.info_hash), None, "the torrent after the last stop");
        assert_eq!(store.totals(), Totals::default(), "totals after the last stop");
    }

    #[test]
    fn at_a_cap_somebody_makes_room_or_the_peer_is_answered_but_not_stored() {
        let (store, limits) = (store(), SwarmLimits { peers_max: 3, torrents_max: 1, ..LIMITS });
        let say = |said| {
            let (counts, chosen) = announce_within(&limits, &store, said);
            (counts, chosen.count())
        };
        let of =
            |torrent| move |said| Announcement { info_hash: announcement::hash(torrent), ..said };
        say(of(2)(LEECHER));
        assert_eq!(say(LEECHER).0, counts(0, 1, 0), "a torrent at the cap");
        assert_eq!(store.scrape(&announcement::hash(2)), None, "the one that made room");
        say(SEEDER);
        assert_eq!(say(of(2)(LEECHER)).0, Counts::default(), "nobody is alone in a torrent");
        let third = Announcement { peer: announcement::addr(3), ..LEECHER };
        say(third);
        let fourth = Announcement { peer: announcement::addr(4), ..LEECHER };
        assert_eq!(say(fourth), (counts(1, 2, 0), 3), "a peer at the cap, with no other torrent");
        assert_eq!(say(LEECHER).0, counts(1, 2, 0), "a stored peer is still updated");
        assert_eq!(store.not_stored(), 2, "announces at a cap whose peer was not stored");
        assert_eq!(store.evicted(), 1, "peers that made room");
        let listed = Verdict { listing: Listing::Listed, ..Verdict::NO_LIST };
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        let said = of(5)(LEECHER);
        let newcomer = Newcomer { announce: &said, verdict: listed };
        let moment = Moment { limits: &limits, ..open_at(Millis(0)) };
        store.enter(&newcomer, moment, &mut rng, &mut chosen);
        assert_eq!(
            store.scrape(&announcement::hash(5)).map(|counts| counts.incomplete),
            Some(1),
            "a torrent that the database lists gets in, whatever the cap"
        );
        assert_eq!(store.totals().peers(), 3, "peers, one of whom made room");
        announce(&store, fourth);
        announce(&store, of(7)(LEECHER));
        assert_eq!(store.totals().torrents, 3, "torrents, with caps that were raised");
        store.check_invariants();
    }

    #[test]
    fn a_peer_that_does_not_listen_is_answered_but_not_stored() {
        let store = store();
        let deaf =
            Announcement { listening: false, peer: PeerAddr::V4([10, 0, 0, 9, 0, 1]), ..LEECHER };
        assert_eq!(announce(&store, deaf).0, Counts::default());
        announce(&store, SEEDER);
        let (counts_then, chosen) = announce(&store, deaf);
        assert_eq!(counts_then, counts(1, 0, 0), "counts");
        assert_eq!(chosen.count(), 1, "peers given");
        assert_eq!(store.totals().peers(), 1, "peers in all");
        assert_eq!(store.not_stored(), 2, "announces of a peer that does not listen");
    }

    /// Behind a proxy that does not name its clients somebody announces from the proxy's address,
    /// where a peer listens on the same port.
    #[test]
    fn an_asker_whose_address_is_not_known_changes_nothing() {
        let unknown = Announcement { is_known: false, listening: false, ..LEECHER };
        let said = [
            ("an update", Announcement { event: Event::Update, ..unknown }),
            ("nothing left", Announcement { seeder: true, ..unknown }),
            ("a completion", Announcement { seeder: true, event: Event::Completed, ..unknown }),
            ("a stop", Announcement { event: Event::Stopped, ..unknown }),
        ];
        for (name, said) in said {
            let store = store();
            announce(&store, LEECHER);
            announce(&store, SEEDER);
            store.early.open();
            let stored = counts(1, 1, 0);
            assert_eq!(announce(&store, said).0, stored, "{name}: what is answered");
            let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
            store.announce(&said, open_at(Millis(LIMITS.lifetime_ms)), &mut rng, &mut chosen);
            assert_eq!(store.scrape(&said.info_hash), Some(stored), "{name}: who is stored");
            let elsewhere = announcement::hash(2);
            announce(&store, Announcement { info_hash: elsewhere, ..said });
            for hash in [said.info_hash, elsewhere] {
                let note = store.early.notes().of(&hash, &said.peer);
                assert_eq!(note, Note::default(), "{name}: what is noted of {hash}");
            }
            let old = Millis(LIMITS.lifetime_ms + 2 * UNIT_MS);
            store.sweep(&mut Sweep::new(0, 1), old, &LIMITS);
            assert_eq!(store.totals().peers(), 0, "{name}: somebody was refreshed");
        }
    }

    #[test]
    fn each_family_is_given_its_own_but_counted_together() {
        let store = store();
        announce(&store, LEECHER);
        let (both, chosen) =
            announce(&store, Announcement { peer: PeerAddr::V6([9; 18]), ..LEECHER });
        assert_eq!(both, counts(0, 2, 0), "counts");
        assert_eq!(chosen.count(), 0, "peers given");
        let (_, chosen) = announce(&store, Announcement { peer: PeerAddr::V6([8; 18]), ..SEEDER });
        assert_eq!(chosen.wire(), [9; 18]);
    }

    /// Peers of both families from inside and outside, who come, go and ask in whatever way: no
    /// answer to somebody outside holds a private address.
    #[test]
    fn no_private_address_reaches_anybody_outside() {
        let mut rng = fastrand::Rng::with_seed(9);
        for (v4, v6) in [(false, false), (true, false), (false, true), (true, true)] {
            let public_addresses = PublicAddresses {
                v4: v4.then_some([198, 51, 100, 7].into()),
                v6: v6.then_some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into()),
            };
            let (store, limits) = (store(), SwarmLimits { public_addresses, ..LIMITS });
            let mut chosen = Chosen::new();
            let mut handed_out = 0;
            for _ in 0..20_000 {
                let ips = ["10.0.0", "100.64.0", "9.9.9", "fd00::", "fe80::", "2a00::"];
                let text = ips[rng.usize(..ips.len())];
                let dot = if text.contains(':') { "" } else { "." };
                let ip = format!("{text}{dot}{}", rng.u8(10..99)).parse().unwrap();
                let said = Announcement {
                    info_hash: announcement::hash(rng.u16(..4)),
                    peer: PeerAddr::new(ip, rng.u16(1_000..1_020)),
                    seeder: rng.bool(),
                    event: if rng.u8(..8) == 0 { Event::Stopped } else { Event::Update },
                    crypto: [Crypto::None, Crypto::Supported, Crypto::Required][rng.usize(..3)],
                    is_known: rng.u8(..4) > 0,
                    numwant: rng.usize(..100),
                    ..LEECHER
                };
                let said = Announcement { listening: said.is_known, ..said };
                let moment = Moment { limits: &limits, ..open_at(Millis(0)) };
                let newcomer = Newcomer::without_list(&said);
                store.enter(&newcomer, moment, &mut rng, &mut chosen);
                if said.is_known && is_private(ip) {
                    continue;
                }
                let wires = chosen.wire().chunks_exact(chosen.family().peer_bytes());
                for peer in wires.map(|wire| PeerAddr::of_wire(wire).unwrap()) {
                    assert!(!is_private(peer.ip()), "{} was given to {said:?}", peer.ip());
                    handed_out += 1;
                }
            }
            assert!(handed_out > 10_000, "{handed_out} peers, public {v4} {v6}");
            store.check_invariants();
        }
    }

    #[test]
    fn a_banned_torrent_takes_its_peers_along() {
        let store = store();
        announce(&store, LEECHER);
        announce(&store, Announcement { info_hash: announcement::hash(2), ..SEEDER });
        let listed = Verdict { listing: Listing::Listed, ..Verdict::NO_LIST };
        store.learn(&LEECHER.info_hash, listed, || true);
        store.ban(&LEECHER.info_hash);
        store.ban(&LEECHER.info_hash);
        assert_eq!(
            store.scrape(&LEECHER.info_hash),
            Some(Counts::default()),
            "until it is written"
        );
        let newcomer = Newcomer::without_list(&LEECHER);
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        assert_eq!(store.enter(&newcomer, open_at(Millis(0)), &mut rng, &mut chosen), None);
        let mut left = Vec::new();
        store.for_each(|info_hash, counts| left.push((*info_hash, counts)));
        left.sort_unstable_by_key(|(info_hash, _)| *info_hash);
        let expected =
            [(LEECHER.info_hash, Counts::default()), (announcement::hash(2), counts(1, 0, 0))];
        assert_eq!(left, expected, "who is left");
        assert_eq!(store.totals().peers(), 1, "how many are left");
        store.check_invariants();
    }

    #[test]
    fn workers_share_a_store() {
        let store = store();
        std::thread::scope(|scope| {
            for worker in 0..4_u8 {
                let store = &store;
                scope.spawn(move || {
                    let (mut rng, mut chosen) =
                        (fastrand::Rng::with_seed(u64::from(worker)), Chosen::new());
                    for _ in 0..5000 {
                        let info_hash = InfoHash([rng.u8(..8); 20]);
                        let peer = PeerAddr::V4([10, 0, worker, rng.u8(..), 0, 80]);
                        let event = if rng.u8(..4) == 0 { Event::Stopped } else { Event::Update };
                        let announce =
                            Announcement { info_hash, peer, event, seeder: rng.bool(), ..LEECHER };
                        store.enter(
                            &Newcomer::without_list(&announce),
                            open_at(Millis(0)),
                            &mut rng,
                            &mut chosen,
                        );
                    }
                });
            }
        });
        store.check_invariants();
        assert!(store.totals().peers() > 4000, "{:?}", store.totals());
    }
}
