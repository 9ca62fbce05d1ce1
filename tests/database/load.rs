//! A load of announces on a running tracker, and a probe of its event loop.
//!
//! The probe asks for `/`, which needs no database, as fast as it is answered but for a short
//! pause; with one event loop, whatever holds that up holds up the probe. Its longest wait is
//! printed, and so are the announces': figures for people, which no test judges.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::crowd::{Crowd, Gauge};
use crate::downloads::{Books, Downloader, downloaders};
use crate::site::Hash;
use crate::support::http::Connection;
use crate::support::{PATIENCE, wait_until};

/// Addresses that announce.
const CONNECTIONS: usize = 300;
/// Between an answer and the next announce of the same address: 1 500 announces a second in all,
/// which leaves the processors to others.
const PAUSE: Duration = Duration::from_millis(200);
/// The same for the probe.
const PROBE_PAUSE: Duration = Duration::from_millis(1);
/// Nobody else comes from here.
const PROBE_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);

/// A load that goes on until it is told to leave.
pub(crate) struct Load {
    name: String,
    leave: Arc<AtomicBool>,
    announces: Arc<Gauge>,
    probes: Arc<Gauge>,
    crowd: Option<JoinHandle<Vec<Downloader>>>,
    probe: Option<JoinHandle<()>>,
}

impl Load {
    /// Sets a crowd of downloaders on the tracker; `torrents` must have no downloads yet. `name` is
    /// what the printed figures are of.
    #[track_caller]
    pub(crate) fn start(name: &str, to: SocketAddr, torrents: Vec<Hash>, seed: u64) -> Load {
        let (leave, announces, probes) =
            (Arc::<AtomicBool>::default(), Arc::<Gauge>::default(), Arc::<Gauge>::default());
        let (gauge, told) = (Arc::clone(&announces), Arc::clone(&leave));
        let crowd = thread::spawn(move || {
            Crowd::join(to, downloaders(CONNECTIONS, torrents, seed), PAUSE).run(&gauge, &told)
        });
        let (gauge, told) = (Arc::clone(&probes), Arc::clone(&leave));
        let probe = thread::spawn(move || {
            let mut connection = Connection::open_from(PROBE_ADDRESS, to);
            while !told.load(Ordering::SeqCst) {
                let asked_at = Instant::now();
                assert_eq!(connection.get("/").status(), 200);
                gauge.count(asked_at.elapsed());
                thread::sleep(PROBE_PAUSE);
            }
        });
        Load {
            name: name.to_owned(),
            leave,
            announces,
            probes,
            crowd: Some(crowd),
            probe: Some(probe),
        }
    }

    /// Announces answered so far, and probes.
    pub(crate) fn answers(&self) -> (u64, u64) {
        (self.announces.answers(), self.probes.answers())
    }

    /// Waits until `count` more announces have been answered, and the probe as well; for as long as
    /// it takes, while answers come.
    #[track_caller]
    pub(crate) fn wait_answers(&self, count: u64) {
        let (announces, probes) = self.answers();
        let mut seen = (announces, probes);
        while seen.0 < announces + count || seen.1 == probes {
            let missing = (announces + count).saturating_sub(seen.0);
            wait_until(PATIENCE, &format!("one of {missing} more announces is answered"), || {
                assert!(!self.has_ended(), "the load has ended: its own message says why");
                self.answers() != seen
            });
            seen = self.answers();
        }
    }

    /// Prints the waits since this was called last.
    pub(crate) fn print(&self, phase: &str) {
        eprintln!("{}, {phase}: announces: {}", self.name, self.announces.take_report());
        eprintln!("{}, {phase}: probe of the event loop: {}", self.name, self.probes.take_report());
    }

    /// Has the crowd leave once it has all its answers; its books.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Books {
        self.leave.store(true, Ordering::SeqCst);
        self.probe
            .take()
            .expect("taken here only")
            .join()
            .expect("the probe was answered all along");
        Books::of(
            self.crowd
                .take()
                .expect("taken here only")
                .join()
                .expect("the crowd was answered all along"),
        )
    }

    fn has_ended(&self) -> bool {
        let crowd = self.crowd.as_ref().is_none_or(JoinHandle::is_finished);
        crowd || self.probe.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::SeqCst);
    }
}

/// The load itself, on a tracker without a database: both sides must have counted the same.
#[test]
fn a_load_knows_what_the_tracker_knows() {
    use crate::peer::{SEEDS, announce, scrape};
    use crate::site::hash;
    use crate::support::{seeds::seed, tracker::Tracker};

    let tracker = Tracker::start(Ipv4Addr::LOCALHOST.into(), "[server]\nworkers = 1\n");
    let torrents: Vec<_> = (0..20).map(hash).collect();
    // One who stays, lest the torrent be forgotten.
    for torrent in &torrents {
        announce(tracker.address, torrent, 0, SEEDS).accepted();
    }
    let load = Load::start("no database", tracker.address, torrents.clone(), seed());
    load.wait_answers(2_000);
    load.print("all along");
    let books = load.finish();
    books.assert_no_complaints();
    let (mut downloaded, mut complete, mut incomplete) = (0, 0, 0);
    for torrent in &torrents {
        let counts = scrape(&tracker, torrent).expect("one stays").counts;
        (downloaded, complete, incomplete) = (
            downloaded + counts.downloaded,
            complete + counts.complete - 1,
            incomplete + counts.incomplete,
        );
    }
    assert!(books.completions > 300, "{books:?}");
    assert_eq!(downloaded, books.completions, "downloads");
    assert_eq!(complete, books.seeders, "seeders");
    assert_eq!(incomplete, books.leechers, "leechers");
    tracker.stop();
}
