//! What has changed in the database, found by asking for changes.
//!
//! Owns: the thread `watch`. At the start it reads the whole list, so that a flood of random hashes
//! cannot keep requests for listed torrents waiting. Then it asks for new rows of the table of
//! changes twice a second, and looks up at once each changed torrent of which anything is known.
//!
//! The database gives out numbers of changes before it commits them, so a lower number may appear
//! after a higher one: a number that is missing is asked for again for a while. And a lookup that
//! began before a change may end after it: so each changed torrent is looked up a second time, a
//! little later.
//!
//! Limits: changes read at once and not looked up yet, missing numbers
//! ([`MISSING_MAX`]) and how long each is waited for.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::ids::InfoHash;
use crate::mailbox::Clock;
use crate::registry::database::{
    Backend, CHANGES_MAX, DatabaseError, LOOKUP_HASHES_MAX, Ledger, ListChange,
};
use crate::registry::health::{Backoff, Health, Part};
use crate::registry::known_records::KnownRecords;
use crate::registry::read_list::read_pages;
use crate::registry::shared_ledger::SharedLedger;
use crate::swarm::Walk;

/// How often changes are asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Missing numbers that are asked for again.
const MISSING_MAX: usize = 2_000;
/// How long a missing number is waited for: longer than a transaction of the `torrent` command
/// takes.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// After so long an answer to a question of before a change has come or been given up: the limit of
/// a lookup, and then some.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(3);
/// Polls without a change after which the table is checked for having been begun anew.
const QUIET_POLLS: u32 = 20;

/// Handle to the thread; dropping it tells it to end.
pub(super) struct Watcher(Arc<Shared>);

struct Shared {
    commands: Mutex<Commands>,
    changed: Condvar,
    known: Arc<KnownRecords>,
    health: Arc<Health>,
    clock: Clock,
}

#[derive(Default)]
struct Commands {
    reload: bool,
    restored: bool,
    stopping: bool,
}

/// What has been read, and is to be done.
#[derive(Default)]
struct Progress {
    /// None before the list has been read for the first time.
    cursor: Option<Cursor>,
    /// The list is to be read again.
    reload: bool,
    /// Swarms have come back that may no longer be listed.
    restored: bool,
    /// Torrents that have changed, to be looked up at once.
    changed: Vec<InfoHash>,
    /// Torrents that have been looked up, to be looked up once more at this time.
    again: VecDeque<(Instant, Vec<InfoHash>)>,
    quiet_polls: u32,
}

/// How far the table of changes has been read.
#[derive(Default)]
struct Cursor {
    last: u64,
    missing: Vec<(u64, Instant)>,
}

impl Cursor {
    /// Takes note of what was read; the torrents that have changed.
    fn take(&mut self, changes: &[ListChange], now: Instant) -> Vec<InfoHash> {
        for change in changes {
            if change.number > self.last {
                let room = MISSING_MAX.saturating_sub(self.missing.len());
                self.missing.extend(
                    (self.last + 1..change.number).rev().take(room).map(|number| (number, now)),
                );
                self.last = change.number;
            }
            self.missing.retain(|(number, _)| *number != change.number);
        }
        self.missing.retain(|(_, since)| now.duration_since(*since) < MISSING_FOR);
        changes.iter().map(|change| change.info_hash).collect()
    }

    fn missing(&self) -> Vec<u64> {
        self.missing.iter().map(|(number, _)| *number).collect()
    }
}

impl Watcher {
    pub(super) fn start(
        clock: Clock,
        reading: SharedLedger,
        known: Arc<KnownRecords>,
        health: Arc<Health>,
    ) -> io::Result<Watcher> {
        let shared = Arc::new(Shared {
            commands: Mutex::default(),
            changed: Condvar::new(),
            known,
            health,
            clock,
        });
        let (thread, mut ledger, mut backend) = (Arc::clone(&shared), reading.clone(), reading);
        thread::Builder::new()
            .name("watch".into())
            .spawn(move || thread.run(&mut ledger, &mut backend))?;
        Ok(Watcher(shared))
    }

    /// Has those torrents looked up, once the list has been read, that it did not hold though their
    /// swarms were listed when they were saved.
    pub(super) fn look_at_restored(&self) {
        self.0.commands.lock().restored = true;
    }

    /// Has everything read anew.
    pub(super) fn reload(&self) {
        self.0.commands.lock().reload = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.commands.lock().stopping = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn run(&self, ledger: &mut dyn Ledger, backend: &mut dyn Backend) {
        let (mut progress, mut backoff) = (Progress::default(), Backoff::default());
        loop {
            let outcome = self.round(&mut progress, ledger, backend);
            self.health.note(Part::Watching, outcome.as_ref().map(|_| ()));
            let pause = match outcome {
                Ok(true) => Duration::ZERO,
                Ok(false) => {
                    backoff.reset();
                    POLL_INTERVAL
                }
                Err(_) => backoff.next_pause(),
            };
            if !self.wait(pause) {
                return;
            }
            let mut commands = self.commands.lock();
            progress.reload |= std::mem::take(&mut commands.reload);
            progress.restored |= std::mem::take(&mut commands.restored);
        }
    }

    /// False at the end.
    fn wait(&self, pause: Duration) -> bool {
        let mut commands = self.commands.lock();
        let end = Instant::now() + pause;
        while !commands.stopping
            && !commands.reload
            && !self.changed.wait_until(&mut commands, end).timed_out()
        {}
        !commands.stopping
    }

    /// Reads the list if that is to be done, and what has changed; whether there is more to read at
    /// once.
    fn round(
        &self,
        progress: &mut Progress,
        ledger: &mut dyn Ledger,
        backend: &mut dyn Backend,
    ) -> Result<bool, DatabaseError> {
        if progress.reload {
            self.reload(ledger, backend)?;
            progress.reload = false;
        }
        let Some(cursor) = &mut progress.cursor else {
            // What changes while the list is read is read again.
            let last = ledger.last_change()?;
            self.read_list(true, ledger)?;
            progress.cursor = Some(Cursor { last, missing: Vec::new() });
            return Ok(true);
        };
        if progress.restored {
            let now = (self.clock)();
            self.ask_for_all(backend, |walk, found| {
                self.known.store.find_stale_listed(walk, now, LOOKUP_HASHES_MAX, found);
            })?;
            progress.restored = false;
        }
        let mut more = false;
        if progress.changed.is_empty() {
            let changes = ledger.changes(cursor.last, &cursor.missing())?;
            progress.changed = cursor.take(&changes, Instant::now());
            more = changes.len() >= CHANGES_MAX;
            progress.quiet_polls = if changes.is_empty() { progress.quiet_polls + 1 } else { 0 };
        }
        if progress.quiet_polls >= QUIET_POLLS {
            progress.quiet_polls = 0;
            // Emptied or restored: the numbers begin anew, and what they have told of is not known.
            progress.reload = ledger.last_change()? < cursor.last;
            if progress.reload {
                *cursor = Cursor::default();
            }
        }
        self.look_up_changed(progress, backend)?;
        self.ask_for_unasked(backend)?;
        Ok(more || progress.reload)
    }

    fn reload(
        &self,
        ledger: &mut dyn Ledger,
        backend: &mut dyn Backend,
    ) -> Result<(), DatabaseError> {
        let now = (self.clock)();
        self.known.make_all_stale(now);
        self.read_list(false, ledger)?;
        // Those that the list did not hold are no longer listed.
        self.ask_for_all(backend, |walk, found| {
            self.known.store.find_stale(walk, now, LOOKUP_HASHES_MAX, found);
        })
    }

    /// Looks up what has changed, and once more what had changed a while ago.
    fn look_up_changed(
        &self,
        progress: &mut Progress,
        backend: &mut dyn Backend,
    ) -> Result<(), DatabaseError> {
        if !progress.changed.is_empty() {
            self.ask_if_known(&progress.changed, backend)?;
            let changed = std::mem::take(&mut progress.changed);
            progress.again.push_back((Instant::now() + SECOND_LOOK_AFTER, changed));
        }
        while let Some((_, changed)) =
            progress.again.front().filter(|(due, _)| *due <= Instant::now())
        {
            self.ask_if_known(changed, backend)?;
            progress.again.pop_front();
        }
        Ok(())
    }

    /// Looks up the swarms that began while nobody could be asked.
    fn ask_for_unasked(&self, backend: &mut dyn Backend) -> Result<(), DatabaseError> {
        if !self.known.take_unasked() {
            return Ok(());
        }
        let store = &self.known.store;
        self.ask_for_all(backend, |walk, found| store.find_unasked(walk, LOOKUP_HASHES_MAX, found))
            .inspect_err(|_| self.known.put_back_unasked())
    }

    /// Reads the list: at the start as much as there is room for, later what is known of already.
    fn read_list(&self, starting: bool, ledger: &mut dyn Ledger) -> Result<(), DatabaseError> {
        let (mut count, mut full) = (0, false);
        let mut asked = self.known.mark().at((self.clock)());
        let passed_over = read_pages(ledger, |rows| {
            for row in rows.iter().filter(|row| starting || self.known.holds(&row.info_hash)) {
                self.known.take_answer(&row.info_hash, &row.record(), asked);
            }
            count += rows.len();
            full = starting && !self.known.has_room();
            asked = self.known.mark().at((self.clock)());
            !full && !self.commands.lock().stopping
        })?;
        if let Some(line) = passed_over.line() {
            log::warn!("{line}");
        }
        if starting && !full {
            self.known.forget_saved();
        }
        if full {
            log::info!(
                "cache_bytes_max is reached: {count} torrents are at hand, others are looked up \
                 when they are asked for"
            );
        } else if starting {
            log::info!("{count} {} listed", if count == 1 { "torrent is" } else { "torrents are" });
        }
        Ok(())
    }

    fn ask_if_known(
        &self,
        hashes: &[InfoHash],
        backend: &mut dyn Backend,
    ) -> Result<(), DatabaseError> {
        let known: Vec<InfoHash> =
            hashes.iter().copied().filter(|hash| self.known.holds(hash)).collect();
        self.ask(&known, backend)
    }

    /// Looks up all torrents that `find` finds on a walk.
    fn ask_for_all(
        &self,
        backend: &mut dyn Backend,
        mut find: impl FnMut(&mut Walk, &mut Vec<InfoHash>),
    ) -> Result<(), DatabaseError> {
        let mut walk = Walk::default();
        while !walk.is_over() {
            let mut found = Vec::new();
            find(&mut walk, &mut found);
            self.ask(&found, backend)?;
        }
        Ok(())
    }

    fn ask(&self, hashes: &[InfoHash], backend: &mut dyn Backend) -> Result<(), DatabaseError> {
        for hashes in hashes.chunks(LOOKUP_HASHES_MAX) {
            let asked = self.known.mark().at((self.clock)());
            let records = backend.lookup(hashes)?;
            hashes.iter().zip(&records).for_each(|(hash, record)| {
                self.known.take_answer(hash, record, asked);
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Millis;
    use crate::listing::{Listing, Record};
    use crate::registry::known_records::CacheSettings;
    use crate::tests::harness;
    use crate::tests::paper_ledger::{PaperLedger, row};

    const HASH: InfoHash = InfoHash([9; 20]);

    /// What the database says of every torrent, or that it does not answer.
    struct Says(Option<Listing>);

    impl Backend for Says {
        fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
            let listing = self.0.ok_or_else(|| DatabaseError::Away("gone".to_owned()))?;
            Ok(hashes.iter().map(|_| Record::plain(listing)).collect())
        }
    }

    /// The thread's part without the thread, and a database that lists one torrent.
    struct Site {
        shared: Shared,
        progress: Progress,
        ledger: PaperLedger,
    }

    impl Site {
        fn new() -> Site {
            let cache = CacheSettings { bytes_max: 1 << 20, seed: 1 };
            let shared = Shared {
                commands: Mutex::default(),
                changed: Condvar::new(),
                known: Arc::new(KnownRecords::new(
                    cache,
                    harness::registry_settings().live,
                    harness::store(&harness::policy(), 1),
                )),
                health: Arc::new(Health::new(Arc::new(|| Millis(1_000)))),
                clock: Arc::new(|| Millis(1_000)),
            };
            let mut site = Site {
                shared,
                progress: Progress::default(),
                ledger: PaperLedger::of(vec![row(HASH)]),
            };
            assert_eq!(site.round(None), Ok(true));
            assert_eq!(site.listing(), Some(Listing::Listed));
            site
        }

        fn round(&mut self, says: Option<Listing>) -> Result<bool, DatabaseError> {
            self.shared.round(&mut self.progress, &mut self.ledger, &mut Says(says))
        }

        fn listing(&self) -> Option<Listing> {
            self.shared.known.last_known(&HASH).map(|record| record.listing)
        }

        fn tell(&mut self, number: u64) {
            self.ledger.changes.push(ListChange { number, info_hash: HASH });
        }
    }

    #[test]
    fn a_change_is_looked_up_until_that_has_worked_and_once_more() {
        let mut site = Site::new();
        site.tell(1);
        assert!(site.round(None).is_err() && site.listing() == Some(Listing::Listed));
        assert_eq!(site.round(Some(Listing::Banned)), Ok(false));
        assert_eq!(site.listing(), Some(Listing::Banned));
        // An answer of before the change may still be on its way: the second look sets it right.
        for (due, _) in &mut site.progress.again {
            *due = Instant::now();
        }
        assert_eq!(
            (site.round(Some(Listing::Listed)), site.listing()),
            (Ok(false), Some(Listing::Listed))
        );
        assert!(site.progress.again.is_empty());
    }

    #[test]
    fn a_change_of_what_nobody_has_asked_for_is_not_looked_up() {
        let mut site = Site::new();
        site.ledger.changes.push(ListChange { number: 1, info_hash: InfoHash([1; 20]) });
        assert_eq!(site.round(None), Ok(false));
    }

    #[test]
    fn a_table_of_changes_that_begins_anew_is_noticed_and_everything_read_again() {
        let mut site = Site::new();
        site.tell(700);
        assert_eq!(site.round(Some(Listing::Listed)), Ok(false));
        site.ledger.changes.clear();
        site.ledger.rows[0].banned = true;
        let rounds =
            (0..QUIET_POLLS).map(|_| site.round(Some(Listing::Listed))).collect::<Vec<_>>();
        assert_eq!(rounds.last(), Some(&Ok(true)));
        assert_eq!(
            (site.round(Some(Listing::Listed)), site.listing()),
            (Ok(false), Some(Listing::Banned))
        );
        site.tell(1);
        assert_eq!(
            (site.round(Some(Listing::Listed)), site.listing()),
            (Ok(false), Some(Listing::Listed))
        );
    }

    #[test]
    fn what_an_earlier_run_knew_and_the_list_does_not_hold_is_forgotten() {
        let mut site = Site::new();
        let other = InfoHash([3; 20]);
        site.shared.known.insert_saved(other, Record::plain(Listing::Listed));
        site.progress = Progress::default();
        assert_eq!(site.round(None), Ok(true));
        assert_eq!(
            (site.listing(), site.shared.known.last_known(&other)),
            (Some(Listing::Listed), None)
        );
    }

    #[test]
    fn swarms_that_began_without_a_verdict_are_asked_for_when_somebody_can_be() {
        let mut site = Site::new();
        site.shared.known.unasked(Millis(1_000));
        // Nobody is asked in vain when there is no such swarm, and it is tried again when there was
        // no answer.
        assert_eq!((site.round(None), site.shared.known.take_unasked()), (Ok(false), false));
        harness::begin_unasked(&site.shared.known.store, HASH);
        site.shared.known.unasked(Millis(1_000));
        assert!(site.round(None).is_err());
        assert_eq!(site.round(Some(Listing::Listed)), Ok(false));
        let mut unasked = Vec::new();
        site.shared.known.store.find_unasked(&mut Walk::default(), 9, &mut unasked);
        assert!(unasked.is_empty() && !site.shared.known.take_unasked());
    }

    fn change(number: u64) -> ListChange {
        ListChange { number, info_hash: InfoHash([u8::try_from(number).unwrap(); 20]) }
    }

    #[test]
    fn a_number_that_commits_late_is_asked_for_until_it_comes_or_is_given_up() {
        let (begin, mut cursor) = (Instant::now(), Cursor { last: 3, missing: Vec::new() });
        assert_eq!(cursor.take(&[change(4), change(7)], begin).len(), 2);
        assert_eq!((cursor.last, cursor.missing()), (7, vec![6, 5]));
        assert_eq!(cursor.take(&[change(5)], begin + Duration::from_secs(1)), [InfoHash([5; 20])]);
        assert_eq!((cursor.last, cursor.missing()), (7, vec![6]));
        cursor.take(&[], begin + MISSING_FOR);
        assert!(cursor.missing().is_empty());
    }

    #[test]
    fn a_gap_of_any_size_costs_no_more_than_its_bound() {
        let mut cursor = Cursor::default();
        cursor
            .take(&[ListChange { number: u64::MAX, info_hash: InfoHash([1; 20]) }], Instant::now());
        assert_eq!((cursor.last, cursor.missing().len()), (u64::MAX, MISSING_MAX));
    }
}
