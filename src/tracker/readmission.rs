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
