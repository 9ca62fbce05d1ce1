//! What the database is to be told, and what it is to be asked: found by walking all torrents, as
//! nothing is noted anywhere else.
//!
//! Owns: the taking of what is to be written. A torrent that was taken stays in memory until that
//! is confirmed to be written, and is not taken again before.
//!
//! Never: writes or asks anything; `registry` does.
//!
//! Limits: the caller says how many torrents it takes at a time.

use crate::ids::{InfoHash, Millis};
use crate::listing::Listing;
use crate::swarm::announcement::Counts;
use crate::swarm::registration::{Registration, Taken};
use crate::swarm::store::Store;
use crate::swarm::torrent::Torrent;
use crate::swarm::walk::Walk;

/// What is to be written of one torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unwritten {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Downloads to be added to the database's count.
    pub downloads: u32,
    /// The counters as they are now.
    pub counts: Counts,
    /// Whether there was an announce since it was last taken.
    pub active: bool,
}

impl Store {
    /// Goes on with a walk until `room` torrents have been taken, which are appended to `taken`, or
    /// it is over. Each must be given to [`Store::confirm_written`] once it is written.
    pub fn take_unwritten(
        &self,
        walk: &mut Walk,
        now: Millis,
        room: usize,
        taken: &mut Vec<Unwritten>,
    ) {
        let full = taken.len() + room;
        self.walk(walk, |torrent| {
            if let Some(Taken { downloads, active }) = torrent.registration.take_unwritten(now) {
                taken.push(Unwritten {
                    info_hash: torrent.info_hash,
                    downloads,
                    counts: torrent.counts(),
                    active,
                });
            }
            taken.len() < full
        });
    }

    /// What has been counted of a torrent since it was taken with `downloads`, of which nobody will
    /// say whether it was written. Nothing if the torrent has not changed since.
    pub fn take_rest(
        &self,
        info_hash: &InfoHash,
        downloads: u32,
        now: Millis,
    ) -> Option<Unwritten> {
        let hash = self.rules.torrent_hash(info_hash);
        let mut shard = self.lock(hash);
        let at = shard.find(hash, info_hash)?;
        let torrent = shard.torrent_mut(at);
        let Taken { downloads, active } = torrent.registration.take_rest(downloads, now)?;
        Some(Unwritten { info_hash: *info_hash, downloads, counts: torrent.counts(), active })
    }

    /// Torrents, up to `room`, whose verdict is past its time. Goes on with a walk as
    /// [`Store::take_unwritten`] does.
    pub fn find_stale(&self, walk: &mut Walk, now: Millis, room: usize, found: &mut Vec<InfoHash>) {
        self.find(walk, room, found, |registration| registration.is_stale(now));
    }

    /// Those of them that are listed.
    pub fn find_stale_listed(
        &self,
        walk: &mut Walk,
        now: Millis,
        room: usize,
        found: &mut Vec<InfoHash>,
    ) {
        self.find(walk, room, found, |registration| {
            registration.listing() == Listing::Listed && registration.is_stale(now)
        });
    }

    /// Torrents, up to `room`, that were served while nobody could be asked about them. Goes on
    /// with a walk as [`Store::take_unwritten`] does.
    pub fn find_unasked(&self, walk: &mut Walk, room: usize, found: &mut Vec<InfoHash>) {
        self.find(walk, room, found, |registration| registration.listing() == Listing::Unasked);
    }

    fn find(
        &self,
        walk: &mut Walk,
        room: usize,
        found: &mut Vec<InfoHash>,
        is_wanted: impl Fn(&Registration) -> bool,
    ) {
        let full = found.len() + room;
        self.walk(walk, |torrent| {
            if torrent.registration.listing() != Listing::Banned && is_wanted(&torrent.registration)
            {
                found.push(torrent.info_hash);
            }
            found.len() < full
        });
    }

    /// Has every torrent's next announcer ask for its verdict.
    pub fn make_all_stale(&self, now: Millis) {
        self.walk(&mut Walk::default(), |torrent| {
            torrent.registration.make_stale(now);
            true
        });
    }

    /// Calls `f` for every torrent that the database lists and does not ban, with the database's
    /// count of its downloads. No lock is held then.
    pub fn for_each_listed(&self, f: impl FnMut(&InfoHash, u32)) {
        let count = |torrent: &Torrent| {
            let is_listed = torrent.registration.listing() == Listing::Listed;
            is_listed.then(|| torrent.registration.written())
        };
        self.for_each_copy(count, f);
    }

    /// Whether a torrent is in memory.
    pub fn holds(&self, info_hash: &InfoHash) -> bool {
        let hash = self.rules.torrent_hash(info_hash);
        self.lock(hash).find(hash, info_hash).is_some()
    }

    /// What was taken of a torrent is in the database now. Says what its count there must be, None
    /// when the torrent is not here. It stays, so that nobody has its count from elsewhere
    /// before that is set right too: [`Store::forget_written`] follows.
    pub fn confirm_written(&self, info_hash: &InfoHash, downloads: u32) -> Option<u32> {
        let hash = self.rules.torrent_hash(info_hash);
        let mut shard = self.lock(hash);
        let at = shard.find(hash, info_hash)?;
        let registration = &mut shard.torrent_mut(at).registration;
        registration.confirm_written(downloads);
        Some(registration.written())
    }

    /// Forgets a torrent after that, if it has no peers and nothing more is to be written of it.
    pub fn forget_written(&self, info_hash: &InfoHash) {
        let hash = self.rules.torrent_hash(info_hash);
        let mut shard = self.lock(hash);
        if let Some(at) = shard.find(hash, info_hash) {
            self.forget_if_disposable(&mut shard, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Event;
    use crate::listing::Verdict;
    use crate::swarm::{Announcement, Chosen, Newcomer, StoreSettings, Sweep};
    use crate::tests::announcement::{self, LIMITS, open_at};

    const LISTED: Verdict =
        Verdict { listing: Listing::Listed, downloaded: 7, fresh_until: Millis(30_000) };

    fn store() -> Store {
        Store::new(StoreSettings { peer_ids: false }, 5)
    }

    fn say(store: &Store, torrent: u16, seeder: bool, event: Event) -> Counts {
        let announce = Announcement { seeder, event, ..announcement::of(torrent, 0) };
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        let counts = store.enter(
            &Newcomer { announce: &announce, verdict: LISTED },
            open_at(Millis(0)),
            &mut rng,
            &mut chosen,
        );
        store.check_invariants();
        counts.unwrap_or_default()
    }

    fn take(store: &Store) -> Vec<Unwritten> {
        let (mut walk, mut taken) = (Walk::default(), Vec::new());
        while !walk.is_over() {
            store.take_unwritten(&mut walk, Millis(0), 100, &mut taken);
        }
        taken
    }

    #[test]
    fn an_empty_torrent_stays_until_it_is_written_and_keeps_its_count() {
        let store = store();
        say(&store, 1, false, Event::Started);
        say(&store, 1, true, Event::Completed);
        let left = say(&store, 1, true, Event::Stopped);
        assert_eq!(
            left,
            Counts { downloaded: 8, ..Counts::default() },
            "counts after the last stop"
        );
        assert_eq!(store.totals().torrents, 1, "torrents kept");
        let taken = take(&store);
        assert_eq!(taken.len(), 1, "torrents taken");
        assert_eq!(taken[0].downloads, 1, "downloads taken");
        assert_eq!(taken[0].counts, left, "counts taken");
        assert!(taken[0].active, "the torrent was active");
        assert_eq!(take(&store), []);
        assert_eq!(
            say(&store, 1, false, Event::Started).downloaded,
            8,
            "somebody comes back while it is written"
        );
        say(&store, 1, false, Event::Stopped);
        assert_eq!(store.confirm_written(&taken[0].info_hash, 1), Some(8));
        store.forget_written(&taken[0].info_hash);
        assert_eq!(store.totals().torrents, 1, "who came and went since is to be written too");
        let again = take(&store);
        assert_eq!(again.len(), 1, "torrents taken again");
        assert_eq!(again[0].downloads, 0, "downloads taken again");
        store.confirm_written(&again[0].info_hash, 0);
        assert_eq!(
            store.totals().torrents,
            1,
            "until the count has been told to whoever is asked next"
        );
        store.forget_written(&again[0].info_hash);
        assert_eq!(store.totals().torrents, 0);
    }

    #[test]
    fn expired_and_banned_torrents_are_written_before_they_go() {
        let store = store();
        for torrent in 0..3_000 {
            say(&store, torrent, true, Event::Started);
        }
        take(&store).iter().for_each(|taken| {
            store.confirm_written(&taken.info_hash, 0);
        });
        let mut sweep = Sweep::new(0, 1);
        store.sweep(&mut sweep, Millis(1), &LIMITS);
        store.sweep(&mut sweep, Millis(2 * LIMITS.lifetime_ms), &LIMITS);
        assert_eq!(store.totals().torrents, 3_000, "torrents");
        assert_eq!(store.totals().peers(), 0, "peers");
        let taken = take(&store);
        assert!(
            taken.len() == 3_000
                && taken.iter().all(|torrent| !torrent.active && torrent.counts.complete == 0)
        );
        taken.iter().for_each(|torrent| {
            store.confirm_written(&torrent.info_hash, 0);
            store.forget_written(&torrent.info_hash);
        });
        assert_eq!(store.totals().torrents, 0);
        say(&store, 9, true, Event::Started);
        store.ban(&announcement::hash(9));
        assert_eq!(store.totals().torrents, 1, "torrents");
        assert_eq!(store.totals().peers(), 0, "peers");
        assert_eq!(take(&store).len(), 1, "torrents to be written");
    }

    #[test]
    fn who_reads_the_list_holds_no_lock() {
        let store = store();
        for torrent in 0..2_000 {
            say(&store, torrent, true, Event::Started);
        }
        let mut listed = 0;
        store.for_each_listed(|hash, downloads| {
            assert_eq!(downloads, 7, "downloads taken");
            assert_eq!(store.scrape(hash).map(|counts| counts.complete), Some(1), "seeders");
            listed += 1;
        });
        assert_eq!(listed, 2_000);
    }

    #[test]
    fn a_batch_takes_as_many_as_there_is_room_for_and_the_walk_goes_on_behind_them() {
        let store = store();
        for torrent in 0..500 {
            say(&store, torrent, true, Event::Started);
        }
        let (mut walk, mut all) = (Walk::default(), Vec::new());
        while !walk.is_over() {
            let mut batch = Vec::new();
            store.take_unwritten(&mut walk, Millis(0), 64, &mut batch);
            assert!(batch.len() <= 64);
            all.extend(batch.iter().map(|torrent| torrent.info_hash));
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 500);
        assert_eq!(store.confirm_written(&InfoHash([1; 20]), 3), None);
    }
}
