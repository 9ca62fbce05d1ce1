//! What the database is to be told, and what it is to be asked: found by walking all torrents, as
//! nothing is noted anywhere else.
//!
//! Owns: the taking of what is owed. A torrent that was taken stays in memory until it is settled,
//! and is not taken again before.
//!
//! Never: writes or asks anything; `registry` does.
//!
//! Limits: the caller says how many torrents it takes at a time.

use crate::ids::{InfoHash, Millis};
use crate::listing::Listing;
use crate::swarm::announcement::Counts;
use crate::swarm::books::{self, Books};
use crate::swarm::store::Store;
use crate::swarm::torrent::Torrent;
use crate::swarm::walk::Walk;

/// What is owed of one torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owed {
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
    /// it is over. Each must be given to [`Store::settle`] once it is written.
    pub fn take_owed(&self, walk: &mut Walk, now: Millis, room: usize, taken: &mut Vec<Owed>) {
        let full = taken.len() + room;
        self.walk(walk, |torrent| {
            if let Some(books::Owed { downloads, active }) = torrent.books.take_owed(now) {
                taken.push(Owed {
                    info_hash: torrent.info_hash,
                    downloads,
                    counts: torrent.counts(),
                    active,
                });
            }
            taken.len() < full
        });
    }

    /// Torrents, up to `room`, whose verdict is past its time. Goes on with a walk as
    /// [`Store::take_owed`] does.
    pub fn find_stale(&self, walk: &mut Walk, now: Millis, room: usize, found: &mut Vec<InfoHash>) {
        self.find(walk, room, found, |books| books.is_stale(now));
    }

    /// Torrents, up to `room`, that were served while nobody could be asked about them. Goes on
    /// with a walk as [`Store::take_owed`] does.
    pub fn find_unasked(&self, walk: &mut Walk, room: usize, found: &mut Vec<InfoHash>) {
        self.find(walk, room, found, |books| books.listing() == Listing::Unasked);
    }

    fn find(
        &self,
        walk: &mut Walk,
        room: usize,
        found: &mut Vec<InfoHash>,
        is_wanted: impl Fn(&Books) -> bool,
    ) {
        let full = found.len() + room;
        self.walk(walk, |torrent| {
            if torrent.books.listing() != Listing::Banned && is_wanted(&torrent.books) {
                found.push(torrent.info_hash);
            }
            found.len() < full
        });
    }

    /// Has every torrent's next announcer ask for its verdict.
    pub fn make_all_stale(&self, now: Millis) {
        self.walk(&mut Walk::default(), |torrent| {
            torrent.books.make_stale(now);
            true
        });
    }

    /// Calls `f` for every torrent that the database lists and does not ban, with the database's
    /// count of its downloads. No lock is held then.
    pub fn for_each_listed(&self, f: impl FnMut(&InfoHash, u32)) {
        let count = |torrent: &Torrent| {
            let is_listed = torrent.books.listing() == Listing::Listed;
            is_listed.then(|| torrent.books.written())
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
    /// before that is set right too: [`Store::forget_settled`] follows.
    pub fn settle(&self, info_hash: &InfoHash, downloads: u32) -> Option<u32> {
        let hash = self.rules.torrent_hash(info_hash);
        let mut shard = self.lock(hash);
        let at = shard.find(hash, info_hash)?;
        let books = &mut shard.torrent_mut(at).books;
        books.settle(downloads);
        Some(books.written())
    }

    /// Forgets a torrent that is settled, if it has no peers and nothing is owed of it.
    pub fn forget_settled(&self, info_hash: &InfoHash) {
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
    use crate::ids::{Crypto, Event, PeerAddr, PeerId};
    use crate::listing::Verdict;
    use crate::swarm::{Announcement, Chosen, Newcomer, StoreSettings, Sweep};
    use crate::tests::announcement::{LIMITS, open_at};

    const LISTED: Verdict =
        Verdict { listing: Listing::Listed, downloaded: 7, fresh_until: Millis(30_000) };

    fn store() -> Store {
        Store::new(StoreSettings { peer_ids: false }, 5)
    }

    fn say(store: &Store, torrent: u16, seeder: bool, event: Event) -> Counts {
        let mut info_hash = InfoHash([0; 20]);
        info_hash.0[..2].copy_from_slice(&torrent.to_be_bytes());
        let announce = Announcement {
            info_hash,
            peer: PeerAddr::V4([192, 0, 2, 1, 0x1a, 0xe1]),
            peer_id: PeerId([b'p'; 20]),
            seeder,
            event,
            crypto: Crypto::None,
            listening: true,
            numwant: 0,
            want_ids: false,
            want_crypto_flags: false,
        };
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

    fn take(store: &Store) -> Vec<Owed> {
        let (mut walk, mut taken) = (Walk::default(), Vec::new());
        while !walk.is_over() {
            store.take_owed(&mut walk, Millis(0), 100, &mut taken);
        }
        taken
    }

    #[test]
    fn an_empty_torrent_stays_until_it_is_settled_and_keeps_its_count() {
        let store = store();
        say(&store, 1, false, Event::Started);
        say(&store, 1, true, Event::Completed);
        let left = say(&store, 1, true, Event::Stopped);
        assert_eq!(
            (left, store.totals().torrents),
            (Counts { downloaded: 8, ..Counts::default() }, 1)
        );
        let taken = take(&store);
        assert_eq!(
            (taken.len(), taken[0].downloads, taken[0].counts, taken[0].active),
            (1, 1, left, true)
        );
        assert_eq!(take(&store), []);
        assert_eq!(
            say(&store, 1, false, Event::Started).downloaded,
            8,
            "somebody comes back while it is written"
        );
        say(&store, 1, false, Event::Stopped);
        assert_eq!(store.settle(&taken[0].info_hash, 1), Some(8));
        store.forget_settled(&taken[0].info_hash);
        assert_eq!(store.totals().torrents, 1, "who came and went since is to be written too");
        let again = take(&store);
        assert_eq!((again.len(), again[0].downloads), (1, 0));
        store.settle(&again[0].info_hash, 0);
        assert_eq!(
            store.totals().torrents,
            1,
            "until the count has been told to whoever is asked next"
        );
        store.forget_settled(&again[0].info_hash);
        assert_eq!(store.totals().torrents, 0);
    }

    #[test]
    fn expired_and_banned_torrents_are_written_before_they_go() {
        let store = store();
        for torrent in 0..3_000 {
            say(&store, torrent, true, Event::Started);
        }
        take(&store).iter().for_each(|owed| {
            store.settle(&owed.info_hash, 0);
        });
        let mut sweep = Sweep::new(0, 1);
        store.sweep(&mut sweep, Millis(1), &LIMITS);
        store.sweep(&mut sweep, Millis(2 * LIMITS.lifetime_ms), &LIMITS);
        assert_eq!((store.totals().torrents, store.totals().peers()), (3_000, 0));
        let taken = take(&store);
        assert!(
            taken.len() == 3_000
                && taken.iter().all(|owed| !owed.active && owed.counts.complete == 0)
        );
        taken.iter().for_each(|owed| {
            store.settle(&owed.info_hash, 0);
            store.forget_settled(&owed.info_hash);
        });
        assert_eq!(store.totals().torrents, 0);
        say(&store, 9, true, Event::Started);
        store.ban(&InfoHash([0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(
            (store.totals().torrents, store.totals().peers(), take(&store).len()),
            (1, 0, 1)
        );
    }

    #[test]
    fn who_reads_the_list_holds_no_lock() {
        let store = store();
        for torrent in 0..2_000 {
            say(&store, torrent, true, Event::Started);
        }
        let mut listed = 0;
        store.for_each_listed(|hash, downloads| {
            assert_eq!((downloads, store.scrape(hash).map(|counts| counts.complete)), (7, Some(1)));
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
            store.take_owed(&mut walk, Millis(0), 64, &mut batch);
            assert!(batch.len() <= 64);
            all.extend(batch.iter().map(|owed| owed.info_hash));
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 500);
        assert_eq!(store.settle(&InfoHash([1; 20]), 3), None);
    }
}
