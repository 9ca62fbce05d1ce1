//! The registry as workers see it: what is known without waiting, and the way to the rest.
//!
//! Owns: what belongs together when there is a database, and what is answered when there is none.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{InfoHash, Millis, Ticket};
use crate::listing::{Listing, Record, Verdict};
use crate::mailbox::Mailboxes;
use crate::registry::database::Backend;
use crate::registry::databases::{Databases, OpenBackend};
use crate::registry::flush::Flusher;
use crate::registry::gauges::RegistryGauges;
use crate::registry::health::Health;
use crate::registry::known_records::{CacheSettings, KnownRecords, verdict};
use crate::registry::lookup::{Completion, LookupError};
use crate::registry::pool::Pool;
use crate::registry::read_list;
use crate::registry::settings::RegistrySettings;
use crate::registry::shared_ledger::SharedLedger;
use crate::registry::state_file::StateFile;
use crate::registry::watch::Watcher;
use crate::swarm::Store;

/// The records at hand and the way to those that are not.
pub struct Registry(Option<Parts>);

/// The parts of a registry with a database behind it.
struct Parts {
    known: Arc<KnownRecords>,
    pool: Pool,
    reading: SharedLedger,
    flusher: Flusher,
    watcher: Watcher,
    health: Arc<Health>,
}

impl Registry {
    /// The registry of the `memory` database: there is no list.
    pub fn memory() -> Registry {
        Registry(None)
    }

    /// Starts the threads that talk to the database; answers go to the mailbox of the worker in the
    /// ticket.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        settings: &RegistrySettings,
        open: Databases,
        store: Arc<Store>,
        mailboxes: Mailboxes<Completion>,
    ) -> io::Result<Registry> {
        let RegistrySettings { cache_bytes_max: bytes_max, seed, .. } = *settings;
        let cache = CacheSettings { bytes_max, seed };
        let known = Arc::new(KnownRecords::new(cache, settings.live.clone(), store));
        let health = Arc::new(Health::new(Arc::clone(&settings.clock)));
        let saved = settings.state_file.as_ref().map(StateFile::load).unwrap_or_default();
        saved.records.into_iter().for_each(|(hash, record)| known.insert_saved(hash, record));
        let open = Arc::new(open);
        let backend: OpenBackend = {
            let open = Arc::clone(&open);
            Box::new(move || (open.backend)())
        };
        let pool = Pool::start(
            settings.pool,
            backend,
            mailboxes,
            Arc::clone(&known),
            Arc::clone(&health),
        )?;
        let flusher = Flusher::start(
            settings,
            &open,
            Arc::clone(&known),
            Arc::clone(&health),
            saved.batches,
        )?;
        let reading = SharedLedger::new((open.ledger)());
        let watcher = Watcher::start(
            Arc::clone(&settings.clock),
            reading.clone(),
            Arc::clone(&known),
            Arc::clone(&health),
        )?;
        Ok(Registry(Some(Parts { known, pool, reading, flusher, watcher, health })))
    }

    /// Puts the next question to `backend` on the caller's thread, as a thread of the pool would:
    /// with a pool of no threads, under a virtual clock, answers come exactly when this is
    /// called. False when there is nothing to ask.
    pub fn ask_once(&self, backend: &mut dyn Backend) -> bool {
        self.0.as_ref().is_some_and(|parts| parts.pool.ask_once(backend))
    }

    /// What is known of a torrent without waiting, as its swarm is to know it; `None` is a miss.
    /// A record past its time is a miss for one caller, who asks for a newer one, and meanwhile a
    /// hit for the others.
    pub fn peek(&self, hash: &InfoHash, now: Millis) -> Option<Verdict> {
        match &self.0 {
            None => Some(Verdict::NO_LIST),
            Some(parts) => parts.known.peek(hash, now, verdict),
        }
    }

    /// Like [`Registry::peek`], with the name or the reason of the ban.
    pub fn record(&self, hash: &InfoHash, now: Millis) -> Option<Record> {
        match &self.0 {
            None => Some(Record::plain(Listing::NoList)),
            Some(parts) => parts.known.peek(hash, now, |record, _| record.clone()),
        }
    }

    /// What was last said of a torrent, however long ago: for when no newer word is to be had.
    pub fn last_known(&self, hash: &InfoHash) -> Option<Record> {
        self.0.as_ref().and_then(|parts| parts.known.last_known(hash))
    }

    /// What a swarm is to keep of a torrent that was looked up, and believe until `fresh_until`.
    /// Its downloads are the latest known: while the record was on its way, a batch may have been
    /// written of a swarm that has ended since.
    pub fn verdict(&self, hash: &InfoHash, record: &Record, fresh_until: Millis) -> Verdict {
        let Some(Parts { known, .. }) = &self.0 else { return Verdict::NO_LIST };
        let latest = known.last_known(hash).filter(|latest| latest.listing == record.listing);
        let downloaded = latest.map_or(record.downloaded, |latest| latest.downloaded);
        Verdict { downloaded, ..verdict(record, fresh_until) }
    }

    /// What a swarm is to keep that begins while the database cannot be asked.
    pub fn unasked(&self, now: Millis) -> Verdict {
        self.0.as_ref().map_or(Verdict::NO_LIST, |parts| parts.known.unasked(now))
    }

    /// What a swarm is to know that an earlier process has left: what is known of its torrent here,
    /// else what that process knew of this database, which counts as past its time. `downloaded`
    /// is the database's count then, if the torrent is listed.
    pub fn verdict_on_saved(
        &self,
        hash: &InfoHash,
        listing: Option<Listing>,
        downloaded: u32,
        now: Millis,
    ) -> Verdict {
        let Some(Parts { known, .. }) = &self.0 else { return Verdict::NO_LIST };
        match (known.last_verdict(hash), listing) {
            (Some(verdict), _) => verdict,
            (None, None | Some(Listing::NoList | Listing::Unasked)) => known.unasked(now),
            (None, Some(listing)) => {
                let downloaded = if listing == Listing::Listed { downloaded } else { 0 };
                Verdict { listing, downloaded, fresh_until: now }
            }
        }
    }

    /// Swarms have come back from an earlier process: has those looked up of which the list does
    /// not say that they are still listed.
    pub fn look_at_restored(&self) {
        if let Some(parts) = &self.0 {
            parts.watcher.look_at_restored();
        }
    }

    /// Asks the database for a torrent; a [`Completion`] with this ticket follows. A hash that is
    /// being asked for is not asked twice.
    ///
    /// # Errors
    /// [`LookupError::QueueFull`] at once when too many are waiting, [`LookupError::Unavailable`]
    /// when the database is known to be away; then no completion follows.
    pub fn request(&self, hash: &InfoHash, ticket: Ticket, now: Millis) -> Result<(), LookupError> {
        match &self.0 {
            None => Err(LookupError::Unavailable),
            Some(parts) => parts.pool.request(hash, ticket, now),
        }
    }

    /// Has everything asked for again at once: the operator has changed something.
    pub fn reload(&self) {
        if let Some(parts) = &self.0 {
            parts.watcher.reload();
        }
    }

    /// Has the live settings looked for by who would otherwise do so only after a pause.
    pub fn look_at_settings(&self) {
        if let Some(parts) = &self.0 {
            parts.flusher.look_at_settings();
        }
    }

    /// Where it stands now. Takes all its locks, one after the other: not for a worker.
    pub fn gauges(&self) -> RegistryGauges {
        let Some(Parts { known, pool, flusher, health, .. }) = &self.0 else {
            return RegistryGauges::default();
        };
        let (cache_bytes, listed) = known.size();
        let mut gauges = RegistryGauges {
            listed,
            cache_bytes,
            unwritten_batches: flusher.unwritten(),
            away_since: health.away_since(),
            ..RegistryGauges::default()
        };
        pool.measure(&mut gauges);
        gauges
    }

    /// Calls `f` for every torrent that the database lists, banned ones included; when it does not
    /// answer, for those that are at hand. Blocks: not for a worker.
    pub fn for_each_listed(&self, mut f: impl FnMut(&InfoHash, &Record)) {
        let Some(parts) = &self.0 else { return };
        if read_list::read_all(&mut parts.reading.clone(), &mut f).is_err() {
            parts.known.for_each_listed(f);
        }
    }

    /// Writes what is to be written, for `grace` at most, and saves what outlives the process,
    /// with what could not be written.
    ///
    /// # Errors
    /// When it could not be saved; one line.
    pub fn close(&self, grace: Duration) -> Result<(), String> {
        self.0.as_ref().map_or(Ok(()), |parts| parts.flusher.close(grace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::Wake;
    use crate::registry::database::DatabaseError;
    use crate::registry::databases::OpenLedger;
    use crate::tests::harness;
    use crate::tests::paper_ledger::{self, PaperLedger};

    /// Lists every torrent with so many downloads.
    struct Counts(u32);

    impl Backend for Counts {
        fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
            Ok(hashes
                .iter()
                .map(|_| Record { downloaded: self.0, ..Record::plain(Listing::Listed) })
                .collect())
        }
    }

    #[test]
    fn a_record_that_was_long_on_its_way_brings_no_old_count() {
        let mail = Mailboxes::new([Arc::new(|| ()) as Wake], harness::MAIL_MAX);
        let backend: OpenBackend = Box::new(|| Box::new(Counts(0)));
        let databases = Databases { backend, ledger: paper_ledger::away() };
        let registry = Registry::start(
            &harness::registry_settings(),
            databases,
            harness::store(&harness::policy(), 7),
            mail.clone(),
        )
        .unwrap();
        let (hash, ticket) = (InfoHash([1; 20]), Ticket { worker: 0, slot: 0, generation: 0 });
        registry.request(&hash, ticket, Millis(1)).unwrap();
        registry.ask_once(&mut Counts(5));
        let mailed = mail.take(0).unwrap().outcome.unwrap();
        registry.request(&hash, ticket, Millis(2)).unwrap();
        registry.ask_once(&mut Counts(8));
        assert_eq!(mailed.downloaded, 5, "downloads in the answer");
        assert_eq!(
            registry.verdict(&hash, &mailed, Millis(3)).downloaded,
            8,
            "downloads in the verdict"
        );
    }

    /// Answers nothing.
    struct Silent;

    impl Backend for Silent {
        fn lookup(&mut self, _: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
            Err(DatabaseError::Away("gone".to_owned()))
        }
    }

    #[test]
    fn gauges_say_where_it_stands() {
        assert_eq!(Registry::memory().gauges(), RegistryGauges::default());
        let mail = Mailboxes::new([Arc::new(|| ()) as Wake], 1);
        let backend: OpenBackend = Box::new(|| Box::new(Silent));
        let ledger: OpenLedger = Box::new(|| Box::new(PaperLedger::default()));
        let settings =
            RegistrySettings { clock: Arc::new(|| Millis(9)), ..harness::registry_settings() };
        let store = harness::store(&harness::policy(), 7);
        let registry =
            Registry::start(&settings, Databases { backend, ledger }, store, mail).unwrap();
        let ticket = |slot| Ticket { worker: 0, slot, generation: 0 };
        for (hash, slot) in [(1, 0), (1, 1), (2, 2)] {
            registry.request(&InfoHash([hash; 20]), ticket(slot), Millis(1)).unwrap();
        }
        let gauges = registry.gauges();
        assert_eq!(gauges.hashes_queued, 2, "torrents in the queue");
        assert_eq!(gauges.requests_waiting, 3, "requests that wait");
        registry.ask_once(&mut Counts(5));
        let gauges = registry.gauges();
        assert_eq!(gauges.hashes_queued, 0, "torrents in the queue at the end");
        assert_eq!(gauges.requests_waiting, 0, "requests that wait at the end");
        assert_eq!(gauges.listed, 2, "both are listed");
        assert!(gauges.cache_bytes > 0, "{gauges:?}");
        assert_eq!(gauges.answers_dropped, 2, "the mailbox has room for one of three");
        assert_eq!(gauges.away_since, None, "the database has answered");
        registry.request(&InfoHash([3; 20]), ticket(0), Millis(2)).unwrap();
        registry.ask_once(&mut Silent);
        assert_eq!(registry.gauges().away_since, Some(Millis(9)));
    }
}
