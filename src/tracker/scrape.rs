//! Scrapes of named torrents (BEP 48): counts from the swarms, names from the registry.
//!
//! Owns: which torrents a scrape shows. A torrent that is banned, or in registered mode not listed,
//! is left out; one that is known and has no peers is shown with zeros. In open mode every torrent
//! is known that is not banned: an error between two scrapes, because the last peer has left,
//! breaks scripts and scraping libraries. A scrape waits until the registry has spoken of every
//! torrent in it, or for its time.

use smallvec::SmallVec;

use crate::config::Live;
use crate::counters::Counter;
use crate::ids::{InfoHash, Ticket};
use crate::listing::{Listing, Record};
use crate::registry::{Completion, LookupError};
use crate::swarm::Counts;
use crate::tracker::announce::{Tracker, is_registered, served_listings, temporary};
use crate::tracker::round::{Client, Round};
use crate::wire::failure::Failure;
use crate::wire::scrape::{Hashes, ScrapeEntry};

/// What became of a scrape.
pub enum Scraped {
    /// [`Tracker::entries`] gives what it shows.
    Ready(Torrents),
    /// It is refused.
    Refused(Failure),
    /// The registry has to ask the database. [`Tracker::resume_scrape`] or
    /// [`Tracker::give_up_scrape`] goes on from here.
    Wait(WaitingScrape),
}

/// A scrape that waits for the registry.
pub struct WaitingScrape(Torrents);

/// The torrents of one scrape in the order of their hashes, each with the registry's word once it
/// has spoken. Most scrapes name one.
pub struct Torrents(SmallVec<[(InfoHash, Option<Record>); 2]>);

impl Tracker {
    /// Answers one scrape.
    pub fn scrape(&self, hashes: &Hashes, client: Client, round: &mut Round<'_>) -> Scraped {
        let record = |hash: &InfoHash| (*hash, self.registry.record(hash, round.now));
        let torrents = Torrents(hashes.as_slice().iter().map(record).collect());
        match self.request_missing(&torrents, client.ticket, round) {
            Ok(true) => Scraped::Ready(torrents),
            Ok(false) => {
                round.scratch.counters.count(Counter::Parked);
                Scraped::Wait(WaitingScrape(torrents))
            }
            Err(error) => self.scrape_without_records(torrents, error, round.live),
        }
    }

    /// Asks for the records that are not at hand; whether there was none to ask for. A scrape that
    /// is refused half-way is answered at once, and what comes later for its ticket finds nobody
    /// waiting for it.
    fn request_missing(
        &self,
        torrents: &Torrents,
        ticket: Ticket,
        round: &Round<'_>,
    ) -> Result<bool, LookupError> {
        let mut complete = true;
        for (hash, _) in torrents.0.iter().filter(|(_, record)| record.is_none()) {
            complete = false;
            self.registry.request(hash, ticket, round.now)?;
        }
        Ok(complete)
    }

    /// Goes on with a scrape that waited. An answer that it did not wait for changes nothing.
    pub fn resume_scrape(
        &self,
        waiting: WaitingScrape,
        completion: Completion,
        round: &mut Round<'_>,
    ) -> Scraped {
        let WaitingScrape(mut torrents) = waiting;
        let place = torrents.0.binary_search_by_key(&completion.info_hash, |(hash, _)| *hash);
        let Ok(place) = place else { return Scraped::Wait(WaitingScrape(torrents)) };
        match completion.outcome {
            Ok(record) => torrents.0[place].1 = Some(record),
            Err(error) => return self.scrape_without_records(torrents, error, round.live),
        }
        match torrents.0.iter().all(|(_, record)| record.is_some()) {
            true => Scraped::Ready(torrents),
            false => Scraped::Wait(WaitingScrape(torrents)),
        }
    }

    /// The time of a scrape that waited is up: answers without what it waited for.
    pub fn give_up_scrape(&self, waiting: WaitingScrape, round: &mut Round<'_>) -> Scraped {
        round.scratch.counters.count(Counter::GivenUp);
        self.scrape_without_records(waiting.0, LookupError::Unavailable, round.live)
    }

    /// The registry cannot tell: what it said last counts, however old. An open tracker shows the
    /// rest without names; a registered one shows those it knows of, and asks to come back if that
    /// is none.
    fn scrape_without_records(
        &self,
        mut torrents: Torrents,
        error: LookupError,
        live: &Live,
    ) -> Scraped {
        for (hash, record) in torrents.0.iter_mut().filter(|(_, record)| record.is_none()) {
            *record = self.registry.last_known(hash);
        }
        let nothing_known = torrents.0.iter().all(|(_, record)| record.is_none());
        match is_registered(live) && nothing_known {
            true => Scraped::Refused(temporary(error)),
            false => Scraped::Ready(torrents),
        }
    }

    /// What a scrape shows, ascending by hash.
    pub fn entries<'t>(
        &'t self,
        torrents: &'t Torrents,
        live: &'t Live,
    ) -> impl Iterator<Item = ScrapeEntry<'t>> {
        let entry = |(hash, record): &'t (InfoHash, Option<Record>)| {
            self.entry(hash, record.as_ref(), live)
        };
        torrents.0.iter().filter_map(entry)
    }

    fn entry<'t>(
        &self,
        hash: &InfoHash,
        record: Option<&'t Record>,
        live: &Live,
    ) -> Option<ScrapeEntry<'t>> {
        let listing = record.map_or(Listing::Unlisted, |record| record.listing);
        if !served_listings(live).contains(listing) {
            return None;
        }
        let counts = self.store.scrape(hash).unwrap_or_else(|| Counts {
            downloaded: record.map_or(0, |record| record.downloaded),
            ..Counts::default()
        });
        let name = record.filter(|_| listing == Listing::Listed);
        Some(ScrapeEntry {
            hash: *hash,
            complete: counts.complete,
            downloaded: counts.downloaded,
            incomplete: counts.incomplete,
            name: name.and_then(|record| record.text.as_deref()).map(str::as_bytes),
        })
    }
}
