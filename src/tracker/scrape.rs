//! Scrapes of named torrents (BEP 48): counts from the swarms, names from the registry.
//!
//! Owns: which torrents a scrape shows. A torrent that is banned, or in registered mode not listed,
//! is left out; one that is known and has no peers is shown with zeros. A scrape waits until the
//! registry has spoken of every torrent in it, or for its time.

use smallvec::SmallVec;

use crate::ids::{InfoHash, Ticket};
use crate::listing::{Listing, Record};
use crate::registry::{self, LookupError};
use crate::swarm::Counts;
use crate::tracker::{Answer, Client, Parked, Tallied, Tracker, Turn, temporary};
use crate::wire::frame::Framing;
use crate::wire::head::Head;
use crate::wire::reply::{self, ScrapeEntry};
use crate::wire::scrape::Hashes;

/// A scrape that waits for the registry.
pub struct ParkedScrape {
    torrents: Torrents,
    framing: Framing,
}

/// The torrents of one scrape in the order of their hashes, each with the registry's word once it
/// has spoken. Most scrapes name one.
type Torrents = SmallVec<[(InfoHash, Option<Record>); 2]>;

impl Tracker {
    pub(super) fn scrape(
        &self,
        query: &[u8],
        head: &Head<'_>,
        client: Client,
        turn: &mut Turn<'_>,
    ) -> Answer {
        let hashes = match Hashes::parse(query) {
            Ok(None) => return self.full_scrape(head, client, turn),
            Ok(Some(hashes)) => hashes,
            Err(failure) => return self.refuse(failure, None, Framing::of(head), turn),
        };
        turn.desk.tally.count(Tallied::Scrape);
        let torrents = hashes
            .as_slice()
            .iter()
            .map(|hash| (*hash, self.registry.record(hash, turn.now)))
            .collect();
        let scrape = ParkedScrape { torrents, framing: Framing::of(head) };
        match self.request_missing(&scrape, client.ticket, turn) {
            Ok(true) => self.answer_scrape(&scrape, turn),
            Ok(false) => {
                turn.desk.tally.count(Tallied::Parked);
                Answer::Wait(Box::new(Parked::Scrape(scrape)))
            }
            Err(error) => self.scrape_without_records(scrape, error, turn),
        }
    }

    /// Asks for the records that are not at hand; whether there was none to ask for. A scrape that
    /// is refused half-way is answered at once, and what comes later for its ticket finds
    /// nobody waiting for it.
    fn request_missing(
        &self,
        scrape: &ParkedScrape,
        ticket: Ticket,
        turn: &Turn<'_>,
    ) -> Result<bool, LookupError> {
        let mut complete = true;
        for (hash, _) in scrape.torrents.iter().filter(|(_, record)| record.is_none()) {
            complete = false;
            self.registry.request(hash, ticket, turn.now)?;
        }
        Ok(complete)
    }

    pub(super) fn resume_scrape(
        &self,
        mut scrape: ParkedScrape,
        lookup: registry::Completion,
        turn: &mut Turn<'_>,
    ) -> Answer {
        let Ok(position) =
            scrape.torrents.binary_search_by_key(&lookup.info_hash, |(hash, _)| *hash)
        else {
            return Answer::Wait(Box::new(Parked::Scrape(scrape)));
        };
        match lookup.outcome {
            Ok(record) => scrape.torrents[position].1 = Some(record),
            Err(error) => return self.scrape_without_records(scrape, error, turn),
        }
        match scrape.torrents.iter().all(|(_, record)| record.is_some()) {
            true => self.answer_scrape(&scrape, turn),
            false => Answer::Wait(Box::new(Parked::Scrape(scrape))),
        }
    }

    /// The registry cannot tell: what it said last counts, however old. An open tracker shows the
    /// rest without names; a registered one shows those it knows of, and asks to come back if
    /// that is none.
    pub(super) fn scrape_without_records(
        &self,
        mut scrape: ParkedScrape,
        error: LookupError,
        turn: &mut Turn<'_>,
    ) -> Answer {
        for (hash, record) in scrape.torrents.iter_mut().filter(|(_, record)| record.is_none()) {
            *record = self.registry.last_known(hash);
        }
        match self.policy.registered_only
            && scrape.torrents.iter().all(|(_, record)| record.is_none())
        {
            true => self.refuse(temporary(error), None, scrape.framing, turn),
            false => self.answer_scrape(&scrape, turn),
        }
    }

    fn answer_scrape(&self, scrape: &ParkedScrape, turn: &mut Turn<'_>) -> Answer {
        let entries = scrape
            .torrents
            .iter()
            .filter_map(|(hash, record)| self.scrape_entry(hash, record.as_ref()));
        let interval_s = self.policy.scrape_interval_s;
        turn.out.write(|buffer| reply::scrape(entries, interval_s, scrape.framing, buffer));
        Answer::Done
    }

    fn scrape_entry<'r>(
        &self,
        hash: &InfoHash,
        record: Option<&'r Record>,
    ) -> Option<ScrapeEntry<'r>> {
        let listing = record.map_or(Listing::Unlisted, |record| record.listing);
        let counts = match (listing, self.store.scrape(hash)) {
            _ if !self.served().contains(listing) => return None,
            (_, Some(counts)) => counts,
            (Listing::Listed, None) => Counts {
                downloaded: record.map_or(0, |record| record.downloaded),
                ..Counts::default()
            },
            (_, None) => return None,
        };
        let name = record
            .filter(|record| record.listing == Listing::Listed)
            .and_then(|record| record.text.as_deref());
        Some(ScrapeEntry {
            hash: *hash,
            complete: counts.complete,
            downloaded: counts.downloaded,
            incomplete: counts.incomplete,
            name: name.map(str::as_bytes),
        })
    }
}
