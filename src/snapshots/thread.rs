//! The thread `snapshot`.
//!
//! Owns: when the swarms are saved, and that everything the last snapshot holds is taken in before
//! the first one is written. A snapshot that cannot be written is said once, counted each time, and
//! tried again after the next interval; the one before stays whole.
//!
//! Limits: see `snapshots`. The end waits until what is being loaded is loaded, and saves then.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use crate::config::{LiveSettings, millis};
use crate::counters::{Counter, Gauge, LocalCounters};
use crate::mailbox::Clock;
use crate::secrets;
use crate::snapshots::file::{Origin, SnapshotFile};
use crate::state_directory::StateDirectory;
use crate::swarm::{Restored, SOURCE_BYTES, SnapshotBlock, SnapshotSaver, SnapshotTotals};
use crate::tracker::{SavedBy, Tracker};

/// While announces are answered, each piece of saving is followed by so many times as long a pause.
const PAUSES: u32 = 3;
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// What the thread works with.
pub struct SnapshotSettings {
    /// Where the file is.
    pub directory: StateDirectory,
    /// Tells the database from others.
    pub source: [u8; SOURCE_BYTES],
    /// Whose swarms are saved.
    pub tracker: Arc<Tracker>,
    /// How often, and by which limits swarms are taken in.
    pub live: LiveSettings,
    /// The time by which peers are heard of.
    pub clock: Clock,
    /// Where it is counted.
    pub counters: LocalCounters,
}

/// Handle to the thread. Dropping it has the thread end without another snapshot.
pub struct Snapshots {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<bool>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_loaded: bool,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Running,
    /// The last snapshot is asked for.
    Closing,
    /// Nobody waits for the thread any more.
    Abandoned,
}

impl Snapshots {
    /// Starts the thread, which begins to take in what the last process has left.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(settings: SnapshotSettings) -> io::Result<Snapshots> {
        let shared = Arc::<Shared>::default();
        let SnapshotSettings { directory, source, tracker, live, clock, counters } = settings;
        // From now on: a worker that is started next may hear of peers that are not loaded.
        tracker.store().begin_restore();
        let mut saving = Saving {
            shared: Arc::clone(&shared),
            file: SnapshotFile::new(directory, source),
            tracker,
            live,
            clock,
            counters,
            is_failing: false,
        };
        let thread = thread::Builder::new().name("snapshot".into()).spawn(move || saving.run())?;
        Ok(Snapshots { shared, thread: Some(thread) })
    }

    /// Waits until everything is taken in, for `wait_max` at most.
    pub fn wait_until_loaded(&self, wait_max: Duration) {
        let end = Instant::now() + wait_max;
        let mut state = self.shared.state.lock();
        while !state.is_loaded && !self.shared.changed.wait_until(&mut state, end).timed_out() {}
    }

    /// Has the interval looked for in the latest settings.
    pub fn look_at_settings(&self) {
        self.shared.changed.notify_all();
    }

    /// Saves for the last time, and waits for the end of that. Nothing may be announced any more,
    /// or written to a database.
    ///
    /// # Errors
    /// A line, when the swarms could not be saved.
    pub fn close(mut self) -> Result<(), String> {
        self.end(Stage::Closing);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(true)) => Ok(()),
            _ => Err("the swarms could not be saved: the log says why".to_owned()),
        }
    }

    fn end(&self, stage: Stage) {
        self.shared.state.lock().stage = stage;
        self.shared.changed.notify_all();
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end(Stage::Abandoned);
        }
    }
}

/// What the thread has.
struct Saving {
    shared: Arc<Shared>,
    file: SnapshotFile,
    tracker: Arc<Tracker>,
    live: LiveSettings,
    clock: Clock,
    counters: LocalCounters,
    /// The last snapshot could not be written.
    is_failing: bool,
}

/// Why a snapshot is not written to its end: something else is to be done.
const GIVEN_UP: io::ErrorKind = io::ErrorKind::ConnectionAborted;

impl Saving {
    /// Whether the last snapshot was written, if there was to be one.
    fn run(&mut self) -> bool {
        self.load();
        self.shared.state.lock().is_loaded = true;
        self.shared.changed.notify_all();
        loop {
            match self.wait() {
                Stage::Running => _ = self.save(false),
                Stage::Closing => return self.save(true),
                Stage::Abandoned => return true,
            }
        }
    }

    /// Waits until it is time for the next snapshot.
    fn wait(&self) -> Stage {
        let begin = Instant::now();
        let mut state = self.shared.state.lock();
        while state.stage == Stage::Running {
            let interval = self.live.latest().snapshot_interval;
            if interval.is_zero() {
                self.shared.changed.wait(&mut state);
            } else if self.shared.changed.wait_until(&mut state, begin + interval).timed_out() {
                break;
            }
        }
        state.stage
    }

    fn load(&self) {
        let begin = Instant::now();
        let (mut restored, mut torrents, mut since_ms) = (Restored::default(), 0_u64, 0);
        let is_there = self.file.load(|block, origin| {
            since_ms = unix_ms().saturating_sub(block.counted_from_ms);
            torrents += block.torrents().filter(|torrent| torrent.is_first).count() as u64;
            restored = restored.and(self.take_in(block, origin, since_ms));
        });
        let forgotten = self.tracker.store().end_restore();
        if !is_there {
            return;
        }
        self.tracker.registry().look_at_restored();
        let Restored { peers, expired, known, left_out } = restored;
        log::info!(
            "{peers} peers of {torrents} torrents are back, as of {} s ago, in {} ms; {expired} \
             had expired, {known} have come or left meanwhile, {left_out} are left out",
            since_ms / 1_000,
            begin.elapsed().as_millis()
        );
        if forgotten > 0 {
            log::warn!("{forgotten} peers that left meanwhile may be back until they expire");
        }
    }

    fn take_in(&self, block: &SnapshotBlock<'_>, origin: Origin, since_ms: u64) -> Restored {
        let live = self.live.latest();
        let by = SavedBy {
            same_database: origin.same_database,
            counts_are_new: origin.counts_are_new,
            is_outdated: !block.head.is_final,
            since_ms,
        };
        let now = (self.clock)();
        let torrents = block.torrents();
        let taken_in = torrents.map(|saved| self.tracker.readmit(&saved, by, &live, now));
        taken_in.fold(Restored::default(), Restored::and)
    }

    /// Whether the snapshot was written.
    fn save(&mut self, is_final: bool) -> bool {
        let begin = Instant::now();
        let outcome = self.write(is_final);
        match &outcome {
            Ok(SnapshotTotals { peers, torrents, bytes }) => {
                self.is_failing = false;
                self.counters.count(Counter::Snapshot);
                let unix_s = usize::try_from(unix_ms() / 1_000).unwrap_or(0);
                self.counters.set(Gauge::SnapshotUnixS, unix_s);
                self.counters
                    .set(Gauge::SnapshotBytes, usize::try_from(*bytes).unwrap_or(usize::MAX));
                let took_ms = begin.elapsed().as_millis();
                log::log!(
                    if is_final { log::Level::Info } else { log::Level::Debug },
                    "{peers} peers of {torrents} torrents are saved: {bytes} bytes in {took_ms} ms"
                );
            }
            Err(error) if error.kind() == GIVEN_UP => {}
            Err(error) => {
                self.counters.count(Counter::SnapshotFailed);
                if !self.is_failing {
                    log::error!(
                        "{}: {error}; the swarms cannot be saved, and the last snapshot stays",
                        self.file.path()
                    );
                }
                self.is_failing = true;
            }
        }
        self.counters.publish();
        outcome.is_ok()
    }

    fn write(&self, is_final: bool) -> io::Result<SnapshotTotals> {
        let store = self.tracker.store();
        let head = self.file.head(secrets::key()?, is_final, store.keeps_ids());
        self.file.replace(|file| {
            let mut write = |block: &[u8]| file.write_all(block);
            let mut saver = SnapshotSaver::new(head);
            while !saver.is_over() {
                let begin = Instant::now();
                saver.copy(store);
                // Read after the copying, so that nobody was heard of later.
                saver.encode((self.clock)(), unix_ms(), &mut write)?;
                if !is_final {
                    self.pause(begin.elapsed())?;
                }
            }
            saver.finish((self.clock)(), unix_ms(), &mut write)
        })
    }

    /// Leaves the core to others after work that took so long.
    fn pause(&self, worked: Duration) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let end = Instant::now() + (worked * PAUSES).min(PAUSE_MAX);
        while state.stage == Stage::Running
            && !self.shared.changed.wait_until(&mut state, end).timed_out()
        {}
        match state.stage {
            Stage::Running => Ok(()),
            Stage::Closing | Stage::Abandoned => Err(GIVEN_UP.into()),
        }
    }
}

/// Milliseconds since 1970 by the wall clock, which goes on while no tracker runs.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::counters::Counters;
    use crate::ids::{Event, Millis};
    use crate::swarm::{Announcement, Chosen, Counts, Newcomer};
    use crate::tests::announcement::{self, open_at};
    use crate::tests::harness;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn settings(
        directory: &StateDirectory,
        tracker: &Arc<Tracker>,
        clock: Clock,
    ) -> SnapshotSettings {
        SnapshotSettings {
            directory: directory.clone(),
            source: [0; SOURCE_BYTES],
            tracker: Arc::clone(tracker),
            live: LiveSettings::new(harness::live(harness::policy())),
            clock,
            counters: Counters::default().local(),
        }
    }

    fn say(tracker: &Tracker, peer: u32, event: Event) {
        let seeder = event == Event::Completed;
        let announce = Announcement { event, seeder, ..announcement::of(1, peer) };
        let (mut rng, mut chosen) = (fastrand::Rng::with_seed(1), Chosen::new());
        let newcomer = Newcomer::without_list(&announce);
        tracker.store().enter(&newcomer, open_at(Millis(0)), &mut rng, &mut chosen);
    }

    /// The thread asks for the time before it takes in a block: until the test has announced, it
    /// is not told.
    #[test]
    fn what_comes_late_is_taken_in_while_others_are_served() {
        let folder = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(folder.path()).unwrap().unwrap();
        let now: Clock = Arc::new(|| Millis(0));
        let before = harness::tracker(&harness::policy());
        let snapshots = Snapshots::start(settings(&directory, &before, now)).unwrap();
        snapshots.wait_until_loaded(PATIENCE);
        (1..4).for_each(|peer| say(&before, peer, Event::Started));
        snapshots.close().unwrap();

        let (go_on, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        // Once nobody holds the other end, the time is told at once.
        let held_back: Clock = Arc::new(move || {
            let _ = gate.lock().recv();
            Millis(0)
        });
        let tracker = harness::tracker(&harness::policy());
        let snapshots = Snapshots::start(settings(&directory, &tracker, held_back)).unwrap();
        snapshots.wait_until_loaded(Duration::from_millis(1));
        assert_eq!(tracker.store().totals().peers(), 0, "peers before");
        say(&tracker, 1, Event::Stopped);
        say(&tracker, 2, Event::Completed);
        say(&tracker, 4, Event::Started);
        drop(go_on);
        snapshots.wait_until_loaded(PATIENCE);
        let counts = tracker.store().scrape(&announcement::hash(1));
        let expected = Counts { complete: 1, incomplete: 2, downloaded: 1 };
        assert_eq!(counts, Some(expected), "one left, one completed, one came, one came back");
        snapshots.close().unwrap();
    }
}
