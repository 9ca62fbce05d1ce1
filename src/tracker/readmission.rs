//! Which swarms of an earlier process are let in again.
//!
//! Owns: that decision. A torrent that is banned, or in registered mode not listed, has no swarm,
//! whatever a snapshot holds. What the registry knows counts; where it knows nothing, what the
//! earlier process knew of the same database counts until the database has been asked. Of another
//! database it knew nothing: then an open tracker lets the swarm in, and has the torrent looked up.
//!
//! Never: reads a snapshot.

use crate::config::Live;
use crate::ids::Millis;
use crate::listing::Listing;
use crate::swarm::{Readmission, Restored, SavedTorrent};
use crate::tracker::announce::{Tracker, is_registered, served_listings};

/// Where a saved torrent comes from.
#[derive(Clone, Copy, Debug)]
pub struct SavedBy {
    /// Whether the listing is by the database that is asked now.
    pub same_database: bool,
    /// Whether what only that process counted is still to be written; see [`Readmission`].
    pub counts_are_new: bool,
    /// Whether the process went on after the snapshot.
    pub is_outdated: bool,
    /// How long ago the time is from which the ages count, milliseconds.
    pub since_ms: u64,
}

impl Tracker {
    /// Takes in what a snapshot holds of a torrent, if it is served.
    pub fn readmit(
        &self,
        saved: &SavedTorrent<'_>,
        by: SavedBy,
        live: &Live,
        now: Millis,
    ) -> Restored {
        let known = by.same_database.then_some(saved.listing);
        let downloaded = match by.counts_are_new {
            true => saved.base,
            false => saved.base.saturating_add(saved.own),
        };
        let verdict = self.registry.verdict_on_saved(&saved.info_hash, known, downloaded, now);
        let is_served = match verdict.listing {
            Listing::Unasked if is_registered(live) => known == Some(Listing::Unasked),
            listing => served_listings(live).contains(listing),
        };
        if !is_served {
            return Restored { left_out: saved.peers().count() as u64, ..Restored::default() };
        }
        let restored = self.store.restore(
            saved,
            &Readmission {
                now,
                since_ms: by.since_ms,
                limits: &live.swarm,
                verdict,
                counts_are_new: by.counts_are_new,
                is_outdated: by.is_outdated,
            },
        );
        // What was learned meanwhile found no swarm yet.
        let known = self.registry.last_known(&saved.info_hash);
        if known.is_some_and(|record| record.listing == Listing::Banned) {
            self.store.ban(&saved.info_hash);
        }
        restored
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Mode, Policy};
    use crate::ids::{InfoHash, Ticket};
    use crate::listing::Record;
    use crate::mailbox::{Mailboxes, Wake};
    use crate::registry::database::DatabaseError;
    use crate::registry::{Backend, Databases, OpenBackend, Registry};
    use crate::swarm::SnapshotBlock;
    use crate::tests::announcement::hash;
    use crate::tests::harness;
    use crate::tests::paper_ledger;
    use crate::tests::snapshots;

    /// Says the same of every torrent.
    struct Says(Record);

    impl Backend for Says {
        fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
            Ok(hashes.iter().map(|_| self.0.clone()).collect())
        }
    }

    /// A tracker that knows of the torrent what `known` says, from its database.
    fn tracker(known: Option<Record>) -> Tracker {
        let mail = Mailboxes::new([Arc::new(|| ()) as Wake], harness::MAIL_MAX);
        let backend: OpenBackend = Box::new(|| Box::new(Says(Record::plain(Listing::Unlisted))));
        let databases = Databases { backend, ledger: paper_ledger::away() };
        let store = harness::store(&harness::policy(), 7);
        let settings = harness::registry_settings();
        let registry = Registry::start(&settings, databases, Arc::clone(&store), mail).unwrap();
        if let Some(record) = known {
            let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
            registry.request(&hash(1), ticket, Millis(1)).unwrap();
            registry.ask_once(&mut Says(record));
        }
        Tracker::new(store, Arc::new(registry))
    }

    /// The snapshot of a torrent with three seeders, whose downloads only the last process knew of.
    fn snapshot(listing: Listing) -> Vec<u8> {
        let store = harness::store(&harness::policy(), 7);
        (1..4).for_each(|peer| harness::complete_as(listing, &store, hash(1), peer));
        snapshots::save(&store, Millis(0), 0)
    }

    /// By what the torrent was, by what is known of it now, and by the mode: whether it comes back,
    /// as what, and with how many downloads.
    #[test]
    fn who_comes_back_is_decided_by_the_registry_and_else_by_what_was_known() {
        let listed = Record { downloaded: 70, ..Record::plain(Listing::Listed) };
        let [unlisted, banned] = [Listing::Unlisted, Listing::Banned].map(Record::plain);
        let [open, registered] = [Mode::Open, Mode::Registered];
        let back = |listing, downloads| Some((listing, downloads));
        let (was_listed, was_not) = (Listing::Listed, Listing::Unlisted);
        let rows = [
            (was_listed, None, true, open, back(Listing::Listed, 3)),
            (was_listed, None, true, registered, back(Listing::Listed, 3)),
            (was_listed, None, false, open, back(Listing::Unasked, 3)),
            (was_listed, None, false, registered, None),
            (was_listed, Some(&listed), true, registered, back(Listing::Listed, 73)),
            (was_listed, Some(&unlisted), true, open, back(Listing::Unlisted, 3)),
            (was_listed, Some(&unlisted), true, registered, None),
            (was_listed, Some(&banned), true, open, None),
            (was_listed, Some(&banned), false, registered, None),
            (was_not, None, true, open, back(Listing::Unlisted, 3)),
            (was_not, None, true, registered, None),
            (was_not, Some(&listed), true, registered, back(Listing::Listed, 73)),
            (Listing::Unasked, None, true, registered, back(Listing::Unasked, 3)),
            (Listing::NoList, None, false, open, back(Listing::Unasked, 3)),
            (Listing::NoList, None, false, registered, None),
        ];
        for (was, known, same_database, mode, expected) in rows {
            let name = format!("{was:?}, now {known:?}, same {same_database}, {mode:?}");
            let tracker = tracker(known.cloned());
            let live = harness::live(Policy { mode, ..harness::policy() });
            let file = snapshot(was);
            let block = SnapshotBlock::decode(&file).unwrap();
            let by =
                SavedBy { same_database, counts_are_new: true, is_outdated: false, since_ms: 0 };
            let restored = block
                .torrents()
                .map(|saved| tracker.readmit(&saved, by, &live, Millis(2)))
                .fold(Restored::default(), Restored::and);
            let came_back = tracker.store().scrape(&hash(1)).zip(tracker.store().listing(&hash(1)));
            let found = came_back.map(|(counts, listing)| (listing, counts.downloaded));
            assert_eq!(found, expected, "{name}");
            let peers = if expected.is_some() { 3 } else { 0 };
            assert_eq!(restored.peers, peers, "peers, {name}");
            assert_eq!(restored.left_out, 3 - peers, "peers left out, {name}");
        }
    }
}
