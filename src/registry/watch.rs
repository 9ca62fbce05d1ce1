//! What has changed in the database, heard of without being asked.
//!
//! Owns: the thread that reads the whole list once at the start, so that a flood of random hashes cannot keep the real ones waiting, and
//! then asks for the table of changes twice a second. A change of a torrent that is known of is looked up at once.
//!
//! Numbers of changes are given out before they are committed, so a lower one may appear after a higher one: a number that is missing is
//! asked for again for a while.
//!
//! Limits: rows read at once, changes read at once, missing numbers ([`MISSING_MAX`]) and how long each is waited for.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::ids::InfoHash;
use crate::registry::database::{Backend, CHANGES_MAX, Change, DatabaseError, LOOKUP_HASHES_MAX, Ledger, Row};
use crate::registry::health::{Backoff, Health, Part};
use crate::registry::verdicts::Verdicts;
use crate::registry::{Clock, Databases, Record, bookkeeping};
use crate::swarm::Walk;

/// How often changes are asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Rows of the list read at once.
const PAGE_ROWS: usize = 1_000;
/// Missing numbers that are asked for again.
const MISSING_MAX: usize = 500;
/// How long a missing number is waited for: longer than a transaction of the `torrent` command takes.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// Handle to the thread; dropping it tells it to end.
pub(super) struct Watcher(Arc<Shared>);

struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
    verdicts: Arc<Verdicts>,
    health: Arc<Health>,
    clock: Clock,
}

#[derive(Default)]
struct Orders {
    reload: bool,
    stopping: bool,
}

/// What has been read, and is to be read.
#[derive(Default)]
struct Progress {
    /// None before the list has been read for the first time.
    cursor: Option<Cursor>,
    /// The list is to be read again.
    reload: bool,
    /// The database was away: swarms may have begun without a verdict.
    was_away: bool,
}

/// How far the table of changes has been read.
#[derive(Default)]
struct Cursor {
    last: u64,
    missing: Vec<(u64, Instant)>,
}

impl Cursor {
    /// Takes note of what was read; the torrents that have changed.
    fn take(&mut self, changes: &[Change], now: Instant) -> Vec<InfoHash> {
        for change in changes {
            if change.number > self.last {
                let room = MISSING_MAX.saturating_sub(self.missing.len());
                self.missing.extend((self.last + 1..change.number).rev().take(room).map(|number| (number, now)));
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
        open: &Arc<Databases>,
        verdicts: Arc<Verdicts>,
        health: Arc<Health>,
    ) -> io::Result<Watcher> {
        let shared = Arc::new(Shared { orders: Mutex::default(), changed: Condvar::new(), verdicts, health, clock });
        let (thread, open) = (Arc::clone(&shared), Arc::clone(open));
        thread::Builder::new().name("watch".into()).spawn(move || {
            if let Some(ledger) = &open.ledger {
                thread.run(ledger().as_mut(), (open.backend)().as_mut());
            }
        })?;
        Ok(Watcher(shared))
    }

    /// Has everything read anew.
    pub(super) fn reload(&self) {
        self.0.orders.lock().reload = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.orders.lock().stopping = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn run(&self, ledger: &mut dyn Ledger, backend: &mut dyn Backend) {
        let (mut progress, mut backoff) = (Progress::default(), Backoff::default());
        loop {
            let outcome = self.round(&mut progress, ledger, backend);
            self.health.note(Part::Watching, outcome.as_ref().map(|_| ()));
            progress.was_away |= outcome.is_err();
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
            progress.reload |= std::mem::take(&mut self.orders.lock().reload);
        }
    }

    /// False at the end.
    fn wait(&self, pause: Duration) -> bool {
        let mut orders = self.orders.lock();
        let end = Instant::now() + pause;
        while !orders.stopping && !orders.reload && !self.changed.wait_until(&mut orders, end).timed_out() {}
        !orders.stopping
    }

    /// Reads the list if that is to be done, and what has changed; whether there is more to read at once.
    fn round(&self, progress: &mut Progress, ledger: &mut dyn Ledger, backend: &mut dyn Backend) -> Result<bool, DatabaseError> {
        if progress.reload {
            self.verdicts.make_all_stale((self.clock)());
            self.read_list(false, ledger)?;
            let (store, now) = (&self.verdicts.store, (self.clock)());
            // Those that the list did not hold are no longer listed.
            self.ask_for_all(backend, |walk, found| store.find_stale(walk, now, LOOKUP_HASHES_MAX, found))?;
            progress.reload = false;
        }
        if progress.was_away {
            let store = &self.verdicts.store;
            self.ask_for_all(backend, |walk, found| store.find_unasked(walk, LOOKUP_HASHES_MAX, found))?;
            progress.was_away = false;
        }
        let Some(cursor) = &mut progress.cursor else {
            // What changes while the list is read is read again.
            let last = ledger.last_change()?;
            self.read_list(true, ledger)?;
            progress.cursor = Some(Cursor { last, missing: Vec::new() });
            return Ok(true);
        };
        let changes = ledger.changes(cursor.last, &cursor.missing())?;
        let changed = cursor.take(&changes, Instant::now());
        let known: Vec<InfoHash> = changed.into_iter().filter(|hash| self.verdicts.holds(hash)).collect();
        self.ask(&known, backend)?;
        Ok(changes.len() >= CHANGES_MAX)
    }

    /// Reads the list page by page: at the start as much as there is room for, later what is known of already.
    fn read_list(&self, starting: bool, ledger: &mut dyn Ledger) -> Result<(), DatabaseError> {
        let (mut after, mut count) = (None, 0);
        loop {
            let asked = self.verdicts.ask((self.clock)());
            let rows = ledger.page(after.as_ref(), PAGE_ROWS)?;
            for row in &rows {
                if starting || self.verdicts.holds(&row.info_hash) {
                    self.verdicts.hear(&row.info_hash, &record(row), asked);
                }
            }
            count += rows.len();
            after = rows.last().map(|row| row.info_hash);
            if rows.len() < PAGE_ROWS || self.orders.lock().stopping {
                break;
            }
            if starting && !self.verdicts.has_room() {
                log::info!("cache_bytes_max is reached: {count} torrents are at hand, the others are looked up when asked for");
                return Ok(());
            }
        }
        if starting {
            log::info!("{count} {} listed", if count == 1 { "torrent is" } else { "torrents are" });
        }
        Ok(())
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
            let asked = self.verdicts.ask((self.clock)());
            let records = backend.lookup(hashes)?;
            hashes.iter().zip(&records).for_each(|(hash, record)| {
                self.verdicts.hear(hash, record, asked);
            });
        }
        Ok(())
    }
}

/// Calls `f` for every torrent that is listed, in the order of their hashes.
pub(super) fn read_all(ledger: &mut dyn Ledger, mut f: impl FnMut(InfoHash, Record)) -> Result<(), DatabaseError> {
    let mut after = None;
    loop {
        let rows = ledger.page(after.as_ref(), PAGE_ROWS)?;
        rows.iter().for_each(|row| f(row.info_hash, record(row)));
        after = rows.last().map(|row| row.info_hash);
        if rows.len() < PAGE_ROWS {
            return Ok(());
        }
    }
}

fn record(row: &Row) -> Record {
    let reason = row.ban_reason.as_deref().unwrap_or_default();
    bookkeeping::record(row.name.as_bytes(), row.downloaded.into(), row.banned, reason.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u64) -> Change {
        Change { number, info_hash: InfoHash([u8::try_from(number).unwrap(); 20]) }
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
        cursor.take(&[Change { number: u64::MAX, info_hash: InfoHash([1; 20]) }], Instant::now());
        assert_eq!((cursor.last, cursor.missing().len()), (u64::MAX, MISSING_MAX));
    }
}
