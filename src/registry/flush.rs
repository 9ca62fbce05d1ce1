//! Counters written back.
//!
//! Owns: the thread that does it. Every interval it walks the swarms for what is to be written, a
//! batch at a time, writes each batch, and tells the swarms when it is known to be applied. A batch
//! is numbered and never changes: when the acknowledgement of its commit is lost it is written
//! again, under the same number, until the database says that it has it. So nothing is lost, and
//! nothing counted twice. Between two rounds it deletes torrents that are past their time, where
//! that is asked for. Now and then, and during an outage too, it saves the verdicts and the batch
//! that is under way.
//!
//! At the end of the process all that could not be written is made into batches and saved, with the
//! numbers and the node's name that they were made under, and is the first thing to be written by
//! the next process. That one takes a new name for its own: a state directory that was copied
//! cannot make two writers of one name, and each batch is still applied once.
//!
//! Never: takes a batch of its own before the last one is written, but at the end. What a database
//! that is away cannot be told stays with the swarms.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::config::LiveSettings;
use crate::ids::InfoHash;
use crate::mailbox::Clock;
use crate::registry::database::{BATCH_ROWS_MAX, Batch, Counted, DatabaseError, Ledger, NodeId};
use crate::registry::databases::Databases;
use crate::registry::health::{Backoff, Health, Part};
use crate::registry::settings::RegistrySettings;
use crate::registry::state_file::StateFile;
use crate::registry::verdicts::Verdicts;
use crate::swarm::{Unwritten, Walk};

/// How often the verdicts are saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(300);
/// How often torrents past their time are looked for.
const DELETE_INTERVAL: Duration = Duration::from_secs(60);

/// Handle to the thread; dropping it tells it to end.
pub(super) struct Flusher(Arc<Shared>);

struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
    verdicts: Arc<Verdicts>,
    health: Arc<Health>,
    clock: Clock,
    live: LiveSettings,
    state_file: Option<StateFile>,
    save_interval: Duration,
    /// When the state was last saved; held while it is.
    saved_at: Mutex<Instant>,
}

/// What the thread and whoever closes share.
struct Desk {
    node: NodeId,
    /// The number of the last batch that was made.
    number: u64,
    /// Batches that are not known to be applied, in the order of their numbers.
    unwritten: VecDeque<Arc<Batch>>,
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
        verdicts: Arc<Verdicts>,
        health: Arc<Health>,
        unwritten: Vec<Batch>,
    ) -> io::Result<Flusher> {
        Flusher::spawn(Shared::new(settings, verdicts, health, unwritten), open)
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
        self.0.desk.lock().unwritten.len()
    }

    /// Has everything written, for `patience` at most, and saves what outlives the process. A
    /// database that is known to be away is not waited for.
    pub(super) fn close(&self, patience: Duration) {
        let shared = &*self.0;
        let mut desk = shared.desk.lock();
        let end = Instant::now() + if desk.away { Duration::ZERO } else { patience };
        desk.stage = Stage::Closing;
        shared.changed.notify_all();
        while desk.stage != Stage::Finished
            && !shared.changed.wait_until(&mut desk, end).timed_out()
        {}
        desk.stage = Stage::Closed;
        shared.changed.notify_all();
        let in_doubt = desk.unwritten.len();
        drop(desk);
        // What the thread could not take or write is made into batches of its own, to be written by
        // the next process.
        let mut walk = Walk::default();
        while shared.make_batch(&mut walk, Stage::Closed).is_some() {}
        let unwritten = shared.desk.lock().unwritten.len();
        let is_saved = shared.save(&mut shared.saved_at.lock());
        let counters = format!(
            "the counters of {unwritten} {}",
            if unwritten == 1 { "batch" } else { "batches" }
        );
        if unwritten > 0 && is_saved {
            log::warn!(
                "{counters} ({in_doubt} in doubt) are saved, to be written at the next start"
            );
        } else if unwritten > 0 {
            log::error!("{counters} are lost: they could be neither written nor saved");
        }
    }
}

/// A thread that nobody has closed ends, too; what it could not write is then lost.
impl Drop for Flusher {
    fn drop(&mut self) {
        self.0.desk.lock().stage = Stage::Closed;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn new(
        settings: &RegistrySettings,
        verdicts: Arc<Verdicts>,
        health: Arc<Health>,
        unwritten: Vec<Batch>,
    ) -> Shared {
        for batch in &unwritten {
            let counted = batch.rows.iter().filter(|row| row.downloads > 0);
            verdicts.recent.expect(counted.map(|row| row.info_hash));
        }
        let unwritten = unwritten.into_iter().map(Arc::new).collect();
        let desk = Desk {
            node: NodeId(random()),
            number: 0,
            unwritten,
            away: false,
            stage: Stage::Running,
        };
        Shared {
            desk: Mutex::new(desk),
            changed: Condvar::new(),
            verdicts,
            health,
            clock: Arc::clone(&settings.clock),
            live: settings.live.clone(),
            state_file: settings.state_file.clone(),
            save_interval: SAVE_INTERVAL,
            saved_at: Mutex::new(Instant::now()),
        }
    }

    fn run(&self, ledger: &mut dyn Ledger) {
        let mut deleted_at = None::<Instant>;
        // A file that still holds batches of the last process says so until it is written anew.
        let mut inherited = !self.desk.lock().unwritten.is_empty();
        loop {
            let closing = inherited || self.wait_for_round();
            // A walk passes by what changes behind it: at the end there is no next one, so it is
            // repeated.
            while self.flush(ledger) && closing && !inherited {}
            if self.desk.lock().stage == Stage::Closed {
                return;
            }
            self.save_when_due(if inherited { Duration::ZERO } else { self.save_interval });
            inherited = false;
            let torrent_ttl = self.live.latest().registry.torrent_ttl;
            if !torrent_ttl.is_zero() && deleted_at.is_none_or(|at| at.elapsed() >= DELETE_INTERVAL)
            {
                let outcome = self.delete_idle(torrent_ttl, ledger);
                self.health.note(Part::Writing, outcome.as_ref().map(|_| ()));
                deleted_at = Some(Instant::now());
            }
            let mut desk = self.desk.lock();
            if closing && desk.stage == Stage::Closing {
                desk.stage = Stage::Finished;
                self.changed.notify_all();
            }
            if desk.stage != Stage::Running && desk.stage != Stage::Closing {
                return;
            }
        }
    }

    /// Waits for the next round, by the latest interval whenever something has changed; whether it
    /// is the last.
    fn wait_for_round(&self) -> bool {
        let mut desk = self.desk.lock();
        let begin = Instant::now();
        while desk.stage == Stage::Running {
            let end = begin + self.live.latest().registry.flush_interval;
            if self.changed.wait_until(&mut desk, end).timed_out() {
                break;
            }
        }
        desk.stage != Stage::Running
    }

    /// Writes what is to be written, and does not give up before that is done or the process ends.
    /// Whether there was something.
    fn flush(&self, ledger: &mut dyn Ledger) -> bool {
        let (mut walk, mut wrote) = (Walk::default(), false);
        loop {
            let oldest = self.desk.lock().unwritten.front().cloned();
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
        let mut desk = self.desk.lock();
        if (desk.stage == Stage::Closed) != (stage == Stage::Closed) {
            return None;
        }
        let mut taken = Vec::new();
        self.verdicts.store.take_unwritten(walk, (self.clock)(), BATCH_ROWS_MAX, &mut taken);
        if taken.is_empty() {
            return None;
        }
        desk.number += 1;
        let mut rows: Vec<Counted> = taken.iter().map(counted).collect();
        // In one order for every tracker on a database, so that two do not lock each other out.
        rows.sort_unstable_by_key(|row| row.info_hash);
        let batch = Arc::new(Batch { node: desk.node, number: desk.number, rows });
        desk.unwritten.push_back(Arc::clone(&batch));
        Some(batch)
    }

    /// Writes a batch, however long it takes, and confirms it; false when the process ends before.
    fn write(&self, batch: &Batch, ledger: &mut dyn Ledger) -> bool {
        let mut backoff = Backoff::default();
        loop {
            let outcome = ledger.write(batch);
            self.health.note(Part::Writing, outcome.as_ref().map(|_| ()));
            self.desk.lock().away = outcome.is_err();
            match outcome {
                Ok(()) => break self.confirm(batch),
                Err(_) if self.pause(backoff.next_pause()) => {}
                Err(_) => break false,
            }
        }
    }

    /// The batch is applied. False when the process has given it up for the next one to write,
    /// which finds that out as well.
    fn confirm(&self, batch: &Batch) -> bool {
        let written = batch.rows.iter().filter(|row| row.downloads > 0).map(|row| row.info_hash);
        // First, so that who reads a count from here on knows that it may have been read too early.
        self.verdicts.recent.note(written.collect(), batch.node != self.desk.lock().node);
        batch
            .rows
            .iter()
            .for_each(|row| self.verdicts.confirm_written(&row.info_hash, row.downloads));
        let mut desk = self.desk.lock();
        if desk.stage == Stage::Closed {
            return false;
        }
        desk.unwritten.pop_front();
        true
    }

    /// Between two tries; false at once when the process is given up.
    fn pause(&self, pause: Duration) -> bool {
        self.save_when_due(self.save_interval);
        let mut desk = self.desk.lock();
        let end = Instant::now() + pause;
        while desk.stage != Stage::Closed && !self.changed.wait_until(&mut desk, end).timed_out() {}
        desk.stage != Stage::Closed
    }

    /// Deletes torrents that are past their time, but none that is in memory: it has peers, or
    /// something to be written.
    fn delete_idle(
        &self,
        torrent_ttl: Duration,
        ledger: &mut dyn Ledger,
    ) -> Result<(), DatabaseError> {
        let idle_s = torrent_ttl.as_secs();
        let idle: Vec<InfoHash> = ledger.idle(idle_s)?;
        let idle: Vec<InfoHash> =
            idle.into_iter().filter(|hash| !self.verdicts.store.holds(hash)).collect();
        if !idle.is_empty() {
            let deleted = ledger.delete_idle(&idle, idle_s)?;
            log::info!("{deleted} torrents without peers for {idle_s} s are deleted");
        }
        Ok(())
    }

    /// The thread saves when `interval` has passed; not once somebody closes, whose file it would
    /// put an older one in the place of.
    fn save_when_due(&self, interval: Duration) {
        let mut saved_at = self.saved_at.lock();
        if saved_at.elapsed() >= interval && self.desk.lock().stage != Stage::Closed {
            self.save(&mut saved_at);
        }
    }

    /// Whether the next process will find what is known and what is not written.
    fn save(&self, saved_at: &mut Instant) -> bool {
        *saved_at = Instant::now();
        let Some(file) = &self.state_file else { return false };
        let batches: Vec<Arc<Batch>> = self.desk.lock().unwritten.iter().cloned().collect();
        file.save(&batches, |f| self.verdicts.for_each_listed(f))
    }
}

fn counted(torrent: &Unwritten) -> Counted {
    let Unwritten { info_hash, downloads, counts, active } = *torrent;
    Counted {
        info_hash,
        downloads,
        complete: counts.complete,
        incomplete: counts.incomplete,
        active,
    }
}

/// Different in every process: from the system's randomness, as two trackers with one name would
/// lose each other's counts.
fn random() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let [high, low] =
        [(); 2].map(|()| RandomState::new().hash_one(std::process::id()).to_be_bytes());
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high);
    bytes[8..].copy_from_slice(&low);
    bytes
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use super::*;
    use crate::ids::Millis;
    use crate::registry::Fingerprint;
    use crate::registry::verdicts::Terms;
    use crate::state_directory::StateDirectory;
    use crate::tests::harness;
    use crate::tests::paper_ledger::PaperLedger;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn state_file(folder: &Path) -> StateFile {
        let directory = StateDirectory::open(folder).unwrap().unwrap();
        StateFile::new(directory, Fingerprint::of("test", b""))
    }

    /// A thread that has one batch to write at first, and a database that takes it as `on_write`
    /// says.
    fn start(
        state_file: &StateFile,
        save_interval: Duration,
        on_write: impl Fn() -> Result<(), DatabaseError> + Clone + Send + Sync + 'static,
    ) -> Flusher {
        let mut live = harness::registry_live();
        live.registry.flush_interval = Duration::from_millis(1);
        let live = LiveSettings::new(live);
        let settings = RegistrySettings {
            live: live.clone(),
            state_file: Some(state_file.clone()),
            ..harness::registry_settings()
        };
        let terms = Terms { bytes_max: 1 << 20, seed: 7 };
        let verdicts = Verdicts::new(terms, live, harness::store(&harness::policy(), 7));
        let (verdicts, health) =
            (Arc::new(verdicts), Arc::new(Health::new(Arc::new(|| Millis(0)))));
        let batch = Batch { node: NodeId([7; 16]), number: 1, rows: Vec::new() };
        let shared =
            Shared { save_interval, ..Shared::new(&settings, verdicts, health, vec![batch]) };
        let ledger = move || {
            let on_write = on_write.clone();
            Box::new(PaperLedger {
                on_write: Some(Box::new(move |_| on_write())),
                ..PaperLedger::default()
            }) as Box<dyn Ledger>
        };
        let databases = Databases {
            backend: Box::new(|| panic!("nothing is looked up")),
            ledger: Box::new(ledger),
        };
        Flusher::spawn(shared, &Arc::new(databases)).unwrap()
    }

    #[track_caller]
    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn during_an_outage_the_state_is_saved_and_its_end_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = state_file(folder.path());
        let flusher = start(&file, Duration::ZERO, || Err(DatabaseError::Away("gone".to_owned())));
        wait_until("the batch is saved", || !file.load().batches.is_empty());
        let closing = Instant::now();
        flusher.close(2 * PATIENCE);
        assert!(closing.elapsed() < PATIENCE);
        assert_eq!(file.load().batches[0].number, 1);
    }

    #[test]
    fn once_closed_the_state_is_not_saved_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = state_file(folder.path());
        let (begin, begun) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let answers = Arc::new(Mutex::new(answers));
        let flusher = start(&file, PATIENCE, move || {
            begin.send(()).unwrap();
            answers.lock().recv().unwrap()
        });
        begun.recv_timeout(PATIENCE).unwrap();
        flusher.close(Duration::ZERO);
        let path = folder.path().join("announced.state");
        std::fs::remove_file(&path).unwrap();
        answer.send(Ok(())).unwrap();
        wait_until("the thread ends", || Arc::strong_count(&flusher.0) == 1);
        assert!(!path.exists());
    }

    #[test]
    fn what_cannot_be_saved_is_not_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let flusher = start(&state_file(folder.path()), PATIENCE, || Ok(()));
        // Once the batch is written the thread saves that there is none, and then not for long.
        let path = folder.path().join("announced.state");
        wait_until("the batch is written and the file anew", || path.exists());
        folder.close().unwrap();
        assert!(!flusher.0.save(&mut Instant::now()));
        flusher.close(PATIENCE);
    }

    #[test]
    fn a_shorter_interval_counts_in_the_pause_that_has_begun() {
        let folder = tempfile::tempdir().unwrap();
        let flusher = start(&state_file(folder.path()), PATIENCE, || Ok(()));
        let shared = &flusher.0;
        let path = folder.path().join("announced.state");
        wait_until("the first batch is written and the file anew", || path.exists());
        let interval = |interval| {
            let mut live = harness::registry_live();
            live.registry.flush_interval = interval;
            shared.live.replace(live);
            flusher.look_at_settings();
        };
        interval(2 * PATIENCE);
        let batch = Batch { node: NodeId([7; 16]), number: 2, rows: Vec::new() };
        shared.desk.lock().unwritten.push_back(Arc::new(batch));
        interval(Duration::from_millis(1));
        wait_until("the next batch is written", || shared.desk.lock().unwritten.is_empty());
    }
}
