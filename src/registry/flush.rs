//! Counters, written to the database.
//!
//! Owns: the thread `flush`. Every interval it walks the swarms for what is to be written, makes a
//! batch of it, writes the batch, and tells the swarms once the database is known to have applied
//! it; then the next batch, until nothing is left. Between two rounds the thread tidies up
//! (`cleaning`). Every few minutes, during an outage too, it saves the known records and the batch
//! under way.
//!
//! A batch is numbered and never changes. When the acknowledgement of its commit is lost, the same
//! batch is written again under the same number, and the database says whether it has it already.
//! So nothing is lost, and nothing is counted twice.
//!
//! At the end of the process, what could not be written is made into batches and saved with their
//! numbers and the node's name. The next process writes them first, under that name, and takes a
//! new name for its own batches. So a copied state directory makes no two writers of one name.
//!
//! A database that was set back (a restored backup) gets a batch under a new name. One that may be
//! applied or not, since somebody has written a later one, goes into a file for the operator.
//!
//! Never: takes a batch before the last one is written, but at the end. While the database is away,
//! the swarms keep what is to be written.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::config::LiveSettings;
use crate::mailbox::Clock;
use crate::registry::cleaning::{Cleaning, CleaningPace, Tidied};
use crate::registry::database::{
    BATCH_ROWS_MAX, Batch, BatchOutcome, Counted, Ledger, NodeId, RefusedRow,
};
use crate::registry::databases::Databases;
use crate::registry::health::{Backoff, Health, Part};
use crate::registry::known_records::KnownRecords;
use crate::registry::refused_rows::RefusedRows;
use crate::registry::settings::RegistrySettings;
use crate::registry::state_file::StateFile;
use crate::registry::unwritten_batches::{UnwrittenBatches, put_aside, say_set_back};
use crate::secrets;
use crate::swarm::{Unwritten, Walk};

/// How often the known records are saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(300);

/// Handle to the thread; dropping it tells it to end.
pub(super) struct Flusher(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    known: Arc<KnownRecords>,
    health: Arc<Health>,
    clock: Clock,
    live: LiveSettings,
    state_file: Option<StateFile>,
    save_interval: Duration,
    /// When the state was last saved; held while it is.
    saved_at: Mutex<Instant>,
    /// Whose the thread is.
    refused: Mutex<RefusedRows>,
}

/// What the thread and whoever closes share.
struct State {
    unwritten: UnwrittenBatches,
    /// The last try to write was in vain.
    away: bool,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// One more round is asked for.
    Closing,
    /// That round is done.
    Finished,
    /// Nobody makes a batch any more.
    Closed,
}

impl Flusher {
    pub(super) fn start(
        settings: &RegistrySettings,
        open: &Arc<Databases>,
        known: Arc<KnownRecords>,
        health: Arc<Health>,
        unwritten: Vec<Batch>,
    ) -> io::Result<Flusher> {
        Flusher::spawn(Shared::new(settings, known, health, unwritten)?, open)
    }

    fn spawn(shared: Shared, open: &Arc<Databases>) -> io::Result<Flusher> {
        let shared = Arc::new(shared);
        let (thread, open) = (Arc::clone(&shared), Arc::clone(open));
        thread::Builder::new()
            .name("flush".into())
            .spawn(move || thread.run((open.ledger)().as_mut()))?;
        Ok(Flusher(shared))
    }

    /// Has the pause between two rounds be what the latest settings say.
    pub(super) fn look_at_settings(&self) {
        self.0.changed.notify_all();
    }

    /// How many batches are not known to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.0.state.lock().unwritten.len()
    }

    /// Has everything written, for `grace` at most, and saves what outlives the process. A
    /// database that is known to be away is not waited for.
    ///
    /// # Errors
    /// When that could not be saved; one line.
    pub(super) fn close(&self, grace: Duration) -> Result<(), String> {
        let shared = &*self.0;
        let mut state = shared.state.lock();
        let end = Instant::now() + if state.away { Duration::ZERO } else { grace };
        state.stage = Stage::Closing;
        shared.changed.notify_all();
        while state.stage != Stage::Finished
            && !shared.changed.wait_until(&mut state, end).timed_out()
        {}
        state.stage = Stage::Closed;
        shared.changed.notify_all();
        let in_doubt = state.unwritten.len();
        drop(state);
        // What the thread could not take or write is made into batches of its own, to be written by
        // the next process; and what was counted behind a batch that is in doubt.
        shared.make_rest();
        let mut walk = Walk::default();
        while shared.make_batch(&mut walk, Stage::Closed).is_some() {}
        let unwritten = shared.state.lock().unwritten.len();
        let is_saved = shared.save(&mut shared.saved_at.lock());
        let counters = format!(
            "the counters of {unwritten} {}",
            if unwritten == 1 { "batch" } else { "batches" }
        );
        if unwritten > 0 && is_saved {
            log::warn!(
                "{counters} ({in_doubt} in doubt) are saved, to be written at the next start"
            );
        }
        match is_saved {
            true => Ok(()),
            false if unwritten > 0 => {
                Err(format!("{counters} are lost: they could be neither written nor saved"))
            }
            // Nobody expects it to outlive a process without a state directory.
            false if shared.state_file.is_none() => Ok(()),
            false => Err("what is known of torrents could not be saved".to_owned()),
        }
    }
}

/// A thread that nobody has closed ends, too; what it could not write is then lost.
impl Drop for Flusher {
    fn drop(&mut self) {
        self.0.state.lock().stage = Stage::Closed;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn new(
        settings: &RegistrySettings,
        known: Arc<KnownRecords>,
        health: Arc<Health>,
        unwritten: Vec<Batch>,
    ) -> io::Result<Shared> {
        for batch in &unwritten {
            let counted = batch.rows.iter().filter(|row| row.downloads > 0);
            known.recent.expect(counted.map(|row| row.info_hash));
        }
        // Two trackers with one name would lose each other's counts.
        let unwritten = UnwrittenBatches::new(NodeId(secrets::bytes()?), unwritten);
        let state = State { unwritten, away: false, stage: Stage::Running };
        Ok(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            known,
            health,
            clock: Arc::clone(&settings.clock),
            live: settings.live.clone(),
            state_file: settings.state_file.clone(),
            save_interval: SAVE_INTERVAL,
            saved_at: Mutex::new(Instant::now()),
            refused: Mutex::default(),
        })
    }

    fn run(&self, ledger: &mut dyn Ledger) {
        self.reserve();
        let mut cleaning = Cleaning::new(CleaningPace::default());
        // A file that still holds batches of the last process says so until it is written anew.
        let mut inherited = self.state.lock().unwritten.len() > 0;
        loop {
            let closing = inherited || self.wait_for_round();
            // A walk passes by what changes behind it: at the end there is no next one, so it is
            // repeated.
            while self.flush(ledger) && closing && !inherited {}
            if self.state.lock().stage == Stage::Closed {
                return;
            }
            self.save_when_due(if inherited { Duration::ZERO } else { self.save_interval });
            inherited = false;
            let (live, own) = (self.live.latest(), self.state.lock().unwritten.node());
            let tidied = Tidied { store: &self.known.store, live: &live, own };
            if let Some(outcome) = cleaning.round(tidied, ledger) {
                self.health.note(Part::Writing, outcome.as_ref().map(|_| ()));
            }
            let mut state = self.state.lock();
            if closing && state.stage == Stage::Closing {
                state.stage = Stage::Finished;
                self.changed.notify_all();
            }
            if state.stage != Stage::Running && state.stage != Stage::Closing {
                return;
            }
        }
    }

    /// Waits for the next round, by the latest interval whenever something has changed; whether it
    /// is the last.
    fn wait_for_round(&self) -> bool {
        let mut state = self.state.lock();
        let begin = Instant::now();
        while state.stage == Stage::Running {
            let end = begin + self.live.latest().registry.flush_interval;
            if self.changed.wait_until(&mut state, end).timed_out() {
                break;
            }
        }
        state.stage != Stage::Running
    }

    /// Writes what is to be written, and does not give up before that is done or the process ends.
    /// Whether there was something.
    fn flush(&self, ledger: &mut dyn Ledger) -> bool {
        let (mut walk, mut wrote) = (Walk::default(), false);
        loop {
            let oldest = self.state.lock().unwritten.first();
            let Some(batch) = oldest.or_else(|| self.make_batch(&mut walk, Stage::Running)) else {
                return wrote;
            };
            if !self.write(&batch, ledger) {
                return false;
            }
            wrote = true;
        }
    }

    /// Takes what is to be written in one batch; none when the walk is over. Made by the thread
    /// (`stage` Running) or, once that may make no more, by whoever closes.
    fn make_batch(&self, walk: &mut Walk, stage: Stage) -> Option<Arc<Batch>> {
        let mut state = self.state.lock();
        if (state.stage == Stage::Closed) != (stage == Stage::Closed) {
            return None;
        }
        let mut taken = Vec::new();
        self.known.store.take_unwritten(walk, (self.clock)(), BATCH_ROWS_MAX, &mut taken);
        state.unwritten.add(&taken)
    }

    /// Makes a batch of what has been counted of the torrents in batches that are in doubt since
    /// those were made. Once nobody confirms a batch any more.
    fn make_rest(&self) {
        let (mut state, now) = (self.state.lock(), (self.clock)());
        let rows = state.unwritten.own_rows();
        let rest = |row: &Counted| self.known.store.take_rest(&row.info_hash, row.downloads, now);
        let taken: Vec<Unwritten> = rows.iter().filter_map(rest).collect();
        state.unwritten.add(&taken);
    }

    /// Writes a batch, however long it takes, and does what follows; false when the process ends
    /// before.
    fn write(&self, batch: &Batch, ledger: &mut dyn Ledger) -> bool {
        let mut backoff = Backoff::default();
        loop {
            let outcome = ledger.write(batch);
            self.health.note(Part::Writing, outcome.as_ref().map(|_| ()));
            self.state.lock().away = outcome.is_err();
            match outcome {
                Ok(written) => break self.settle(batch, &written),
                Err(_) if self.pause(backoff.next_pause()) => {}
                Err(_) => break false,
            }
        }
    }

    /// It is known what has become of a batch. False when the process has given it up for the next
    /// one, which finds that out as well.
    fn settle(&self, batch: &Batch, written: &BatchOutcome) -> bool {
        match written {
            BatchOutcome::Applied { refused } => {
                self.refused.lock().tell(batch, refused);
                self.confirm(batch, refused)
            }
            // Its process has gone on after it was saved.
            BatchOutcome::Overtaken { .. } if !self.state.lock().unwritten.is_own(batch) => {
                self.confirm(batch, &[])
            }
            BatchOutcome::Overtaken { last } => {
                put_aside(batch, *last, self.state_file.as_ref());
                self.confirm(batch, &[]) && self.rename(batch.node)
            }
            BatchOutcome::SetBack { last } => {
                say_set_back(batch, *last);
                self.rename(batch.node)
            }
        }
    }

    /// The batch is applied, but for `refused`, whose downloads stay with their swarms. False when
    /// the process has given it up.
    fn confirm(&self, batch: &Batch, refused: &[RefusedRow]) -> bool {
        // Held to the end: whoever closes finds the swarms either told of it or not.
        let mut state = self.state.lock();
        if state.stage == Stage::Closed {
            return false;
        }
        let is_refused = |row: &Counted| refused.iter().any(|no| no.info_hash == row.info_hash);
        let written = batch.rows.iter().filter(|row| row.downloads > 0).map(|row| row.info_hash);
        // First, so that who reads a count from here on knows that it may have been read too early.
        self.known.recent.note(written.collect(), !state.unwritten.is_own(batch));
        for row in &batch.rows {
            let downloads = if is_refused(row) { 0 } else { row.downloads };
            self.known.confirm_written(&row.info_hash, downloads);
        }
        state.unwritten.take_first();
        true
    }

    /// Has batches of `node` written under a new name. That is saved first: a process that found
    /// them under the old one would write them a second time. False when the process has given
    /// them up.
    fn rename(&self, node: NodeId) -> bool {
        // Without randomness there is no new name yet.
        let Ok(new) = secrets::bytes().map(NodeId) else { return self.pause(SAVE_INTERVAL) };
        let mut state = self.state.lock();
        if state.stage == Stage::Closed {
            return false;
        }
        state.unwritten.rename(node, new);
        drop(state);
        self.save_when_due(Duration::ZERO);
        true
    }

    /// Between two tries; false at once when the process is given up.
    fn pause(&self, pause: Duration) -> bool {
        self.save_when_due(self.save_interval);
        let mut state = self.state.lock();
        let end = Instant::now() + pause;
        while state.stage != Stage::Closed && !self.changed.wait_until(&mut state, end).timed_out()
        {
        }
        state.stage != Stage::Closed
    }

    /// The thread saves when `interval` has passed, and sees to the room for the next save; not
    /// once somebody closes, whose file it would put an older one in the place of.
    fn save_when_due(&self, interval: Duration) {
        let mut saved_at = self.saved_at.lock();
        if self.state.lock().stage == Stage::Closed {
            return;
        }
        if saved_at.elapsed() >= interval {
            self.save(&mut saved_at);
        }
        self.reserve();
    }

    /// Sees to the room for a save.
    fn reserve(&self) {
        if let Some(file) = &self.state_file {
            file.reserve(self.known.size().1);
        }
    }

    /// Whether the next process will find what is known and what is not written.
    fn save(&self, saved_at: &mut Instant) -> bool {
        *saved_at = Instant::now();
        let Some(file) = &self.state_file else { return false };
        let state = self.state.lock();
        let (batches, earlier) = (state.unwritten.all(), state.unwritten.earlier_downloads());
        drop(state);
        file.save(&batches, |f| {
            self.known.for_each_listed(|hash, record| f(hash, &earlier.taken_from(hash, record)));
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use super::*;
    use crate::ids::{InfoHash, Millis};
    use crate::listing::Listing;
    use crate::registry::Fingerprint;
    use crate::registry::database::DatabaseError;
    use crate::registry::known_records::CacheSettings;
    use crate::state_directory::StateDirectory;
    use crate::tests::announcement;
    use crate::tests::harness;
    use crate::tests::paper_ledger::PaperLedger;

    const WAIT_MAX: Duration = Duration::from_secs(30);

    /// What comes of writing a batch.
    trait OnBatch:
        Fn(&Batch) -> Result<BatchOutcome, DatabaseError> + Clone + Send + Sync + 'static
    {
    }

    impl<F> OnBatch for F where
        F: Fn(&Batch) -> Result<BatchOutcome, DatabaseError> + Clone + Send + Sync + 'static
    {
    }

    fn state_file(folder: &Path) -> StateFile {
        let directory = StateDirectory::open(folder).unwrap().unwrap();
        StateFile::new(directory, Fingerprint::of("test", b""))
    }

    /// A thread that has one batch to write at first, and a database that takes it as `on_write`
    /// says.
    fn start(state_file: &StateFile, save_interval: Duration, on_write: impl OnBatch) -> Flusher {
        let mut live = harness::registry_live();
        live.registry.flush_interval = Duration::from_millis(1);
        let live = LiveSettings::new(live);
        let settings = RegistrySettings {
            live: live.clone(),
            state_file: Some(state_file.clone()),
            ..harness::registry_settings()
        };
        let cache = CacheSettings { bytes_max: 1 << 20, seed: 7 };
        let known = KnownRecords::new(cache, live, harness::store(&harness::policy(), 7));
        let (known, health) = (Arc::new(known), Arc::new(Health::new(Arc::new(|| Millis(0)))));
        let batch = Batch { node: NodeId([7; 16]), number: 1, rows: Vec::new() };
        let shared = Shared::new(&settings, known, health, vec![batch]).unwrap();
        let shared = Shared { save_interval, ..shared };
        let ledger = move || {
            let on_write = on_write.clone();
            Box::new(PaperLedger { on_write: Some(Box::new(on_write)), ..PaperLedger::default() })
                as Box<dyn Ledger>
        };
        let databases = Databases {
            backend: Box::new(|| panic!("nothing is looked up")),
            ledger: Box::new(ledger),
        };
        Flusher::spawn(shared, &Arc::new(databases)).unwrap()
    }

    #[track_caller]
    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + WAIT_MAX;
        while !holds() {
            assert!(Instant::now() < end, "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn during_an_outage_the_state_is_saved_and_its_end_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = state_file(folder.path());
        let flusher = start(&file, Duration::ZERO, |_| Err(DatabaseError::Away("gone".to_owned())));
        wait_until("the batch is saved", || !file.load().batches.is_empty());
        let closing = Instant::now();
        flusher.close(2 * WAIT_MAX).unwrap();
        assert!(closing.elapsed() < WAIT_MAX);
        assert_eq!(file.load().batches[0].number, 1);
    }

    #[test]
    fn what_was_counted_behind_a_batch_in_doubt_is_saved_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = state_file(folder.path());
        let settings =
            RegistrySettings { state_file: Some(file.clone()), ..harness::registry_settings() };
        let store = harness::store(&harness::policy(), 7);
        let cache = CacheSettings { bytes_max: 1 << 20, seed: 7 };
        let known = KnownRecords::new(cache, settings.live.clone(), Arc::clone(&store));
        let health = Arc::new(Health::new(Arc::new(|| Millis(0))));
        let shared = Shared::new(&settings, Arc::new(known), health, Vec::new()).unwrap();
        let complete = |peer| {
            harness::complete_as(Listing::Listed, &store, announcement::hash(1), peer);
        };
        complete(1);
        let batch = shared.make_batch(&mut Walk::default(), Stage::Running).unwrap();
        (2..4).for_each(complete);
        let flusher = Flusher(Arc::new(shared));
        flusher.close(Duration::ZERO).unwrap();
        assert!(!flusher.0.confirm(&batch, &[]), "a batch is confirmed after the end");
        let batches = file.load().batches;
        let downloads: Vec<u32> = batches.iter().map(|batch| batch.rows[0].downloads).collect();
        assert_eq!(downloads, [1, 2], "downloads in each batch");
        let seeders = batches.last().map(|batch| batch.rows[0].complete);
        assert_eq!(seeders, Some(3), "seeders in the last");
    }

    #[test]
    fn once_closed_the_state_is_not_saved_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = state_file(folder.path());
        let (begin, begun) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let answers = Arc::new(Mutex::new(answers));
        let flusher = start(&file, WAIT_MAX, move |_| {
            begin.send(()).unwrap();
            answers.lock().recv().unwrap()
        });
        begun.recv_timeout(WAIT_MAX).unwrap();
        flusher.close(Duration::ZERO).unwrap();
        let path = folder.path().join("announced.state");
        std::fs::remove_file(&path).unwrap();
        answer.send(Ok(BatchOutcome::WHOLE)).unwrap();
        wait_until("the thread ends", || Arc::strong_count(&flusher.0) == 1);
        assert!(!path.exists());
    }

    #[test]
    fn what_cannot_be_saved_is_not_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let flusher = start(&state_file(folder.path()), WAIT_MAX, |_| Ok(BatchOutcome::WHOLE));
        // Once the batch is written the thread saves that there is none, and then not for long.
        let path = folder.path().join("announced.state");
        wait_until("the batch is written and the file anew", || path.exists());
        // The thread may be writing a file there.
        wait_until("the directory is gone", || std::fs::remove_dir_all(folder.path()).is_ok());
        assert!(!flusher.0.save(&mut Instant::now()));
        let error = flusher.close(WAIT_MAX).unwrap_err();
        assert_eq!(error, "what is known of torrents could not be saved");
    }

    #[test]
    fn a_shorter_interval_counts_in_the_pause_that_has_begun() {
        let folder = tempfile::tempdir().unwrap();
        let flusher = start(&state_file(folder.path()), WAIT_MAX, |_| Ok(BatchOutcome::WHOLE));
        let shared = &flusher.0;
        let path = folder.path().join("announced.state");
        wait_until("the first batch is written and the file anew", || path.exists());
        let interval = |interval| {
            let mut live = harness::registry_live();
            live.registry.flush_interval = interval;
            shared.live.replace(live);
            flusher.look_at_settings();
        };
        interval(2 * WAIT_MAX);
        let batch = Batch { node: NodeId([7; 16]), number: 2, rows: Vec::new() };
        shared.state.lock().unwritten.push(batch);
        interval(Duration::from_millis(1));
        wait_until("the next batch is written", || shared.state.lock().unwritten.len() == 0);
    }

    fn row(n: u8) -> Counted {
        let info_hash = InfoHash([n; 20]);
        Counted { info_hash, downloads: 2, complete: 3, incomplete: 4, active: true }
    }

    #[test]
    fn a_database_that_was_set_back_gets_the_batch_under_a_new_name_that_is_saved_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = state_file(folder.path());
        let (told, tries) = mpsc::channel();
        let saved = file.clone();
        let flusher = start(&file, WAIT_MAX, move |batch| {
            let is_old = batch.node == NodeId([7; 16]);
            let saved = if is_old { None } else { saved.load().batches.first().cloned() };
            told.send((batch.clone(), saved)).unwrap();
            Ok(if is_old { BatchOutcome::SetBack { last: 3 } } else { BatchOutcome::WHOLE })
        });
        let (refused, _) = tries.recv_timeout(WAIT_MAX).unwrap();
        let (written, saved) = tries.recv_timeout(WAIT_MAX).unwrap();
        assert_ne!(written.node, refused.node, "the name");
        assert_eq!(written.number, 1, "the number");
        assert_eq!(written.rows, refused.rows, "what is written");
        assert_eq!(saved, Some(written), "what the next process would find meanwhile");
        wait_until("the batch is settled", || flusher.unwritten() == 0);
    }

    #[test]
    fn a_later_batch_says_that_one_is_applied_only_if_an_earlier_process_left_it() {
        let folder = tempfile::tempdir().unwrap();
        let (told, tries) = mpsc::channel();
        let flusher = start(&state_file(folder.path()), WAIT_MAX, move |batch| {
            told.send((batch.node, batch.number)).unwrap();
            Ok(match batch.rows.first() {
                Some(row) if row.info_hash.0[0] == 2 => BatchOutcome::WHOLE,
                _ => BatchOutcome::Overtaken { last: 9 },
            })
        });
        let kept = || {
            let mut names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
            let is_kept = |name: &str| name.starts_with("announced.batch-");
            names.find(|entry| is_kept(entry.file_name().to_str().unwrap()))
        };
        assert_eq!(tries.recv_timeout(WAIT_MAX), Ok((NodeId([7; 16]), 1)), "the one that was left");
        wait_until("it counts as applied", || flusher.unwritten() == 0);
        assert!(kept().is_none(), "nothing is in doubt");
        let shared = &flusher.0;
        shared.state.lock().unwritten.add_rows(vec![row(1)]);
        let (own, number) = tries.recv_timeout(WAIT_MAX).unwrap();
        assert_eq!(number, 1, "its own first batch");
        wait_until("it is put aside", || flusher.unwritten() == 0);
        let text = std::fs::read_to_string(kept().expect("a file").path()).unwrap();
        assert!(text.contains(&format!("{} 2 3 4", InfoHash([1; 20]))), "{text}");
        shared.state.lock().unwritten.add_rows(vec![row(2)]);
        let (new, number) = tries.recv_timeout(WAIT_MAX).unwrap();
        assert_eq!(number, 1, "the first under a new name");
        assert_ne!(own, new, "the name");
    }
}
