//! Peers that download torrent after torrent, and the books on what they were told.
//!
//! A downloader is one address; on port after port it begins, completes and leaves a torrent, so
//! that there is one completion in three announces, and nothing left behind. The books know for
//! every torrent how many completions were sent and how many answered: what an answer calls
//! `downloaded` must lie between the two, whatever happens to the database meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::crowd::Script;
use crate::peer::{Answer, COMPLETES, LEAVES, LEECHES, target};
use crate::site::{Hash, Site};
use crate::support::http::percent_encoded;
use crate::support::{PATIENCE, wait_equal};

/// Enough to see what goes wrong.
const COMPLAINTS_MAX: usize = 5;
/// Ports below are never used, so that a port is never 0 or 1.
const FIRST_PORT: u16 = 1_024;

/// A torrent and its completions.
struct Torrent {
    escaped_hash: String,
    sent: AtomicU32,
    answered: AtomicU32,
}

/// What a peer has last been answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// It has left, or was never there.
    Gone,
    Leeching,
    Seeding,
}

/// One address.
pub(crate) struct Downloader {
    torrents: Arc<[Torrent]>,
    rng: fastrand::Rng,
    torrent: usize,
    port: u16,
    stage: Stage,
    /// The answered completions of the torrent when the announce was sent that is waiting for its
    /// answer.
    floor: u32,
    completions: u64,
    complaints: Vec<String>,
}

/// What all of them together were told.
#[derive(Default, Debug)]
pub(crate) struct Books {
    /// Completions that were answered.
    pub(crate) completions: i64,
    /// Peers left behind that have everything.
    pub(crate) seeders: i64,
    /// Peers left behind that have not.
    pub(crate) leechers: i64,
    /// Refusals and wrong counts.
    complaints: Vec<String>,
}

/// `count` downloaders of torrents that have no downloads yet; which torrent they take next follows
/// from `seed`.
pub(crate) fn downloaders(
    count: usize,
    torrents: impl IntoIterator<Item = Hash>,
    seed: u64,
) -> Vec<Downloader> {
    let torrent = |hash: Hash| Torrent {
        escaped_hash: percent_encoded(&hash),
        sent: AtomicU32::new(0),
        answered: AtomicU32::new(0),
    };
    let torrents: Arc<[Torrent]> = torrents.into_iter().map(torrent).collect();
    (0..count)
        .map(|number| Downloader {
            torrents: Arc::clone(&torrents),
            rng: fastrand::Rng::with_seed(seed ^ number as u64),
            torrent: 0,
            port: FIRST_PORT,
            stage: Stage::Gone,
            floor: 0,
            completions: 0,
            complaints: Vec::new(),
        })
        .collect()
}

impl Books {
    /// The books of a crowd that has left.
    pub(crate) fn of(crowd: Vec<Downloader>) -> Books {
        let mut books = Books::default();
        for downloader in crowd {
            books.completions += i64::try_from(downloader.completions).expect("few");
            books.seeders += i64::from(downloader.stage == Stage::Seeding);
            books.leechers += i64::from(downloader.stage == Stage::Leeching);
            books.complaints.extend(downloader.complaints);
        }
        books
    }

    /// Panics when somebody was refused or was told what cannot be.
    #[track_caller]
    pub(crate) fn assert_no_complaints(&self) {
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
    }

    /// Waits until the table says the same, to the last download.
    #[track_caller]
    pub(crate) fn wait_written(&self, site: &dyn Site) {
        let expected = (self.completions, self.seeders, self.leechers);
        wait_equal(PATIENCE, &expected, || {
            (site.sum("downloaded"), site.sum("complete"), site.sum("incomplete"))
        });
    }
}

impl Downloader {
    fn judge(&mut self, answer: Answer) {
        let torrent = &self.torrents[self.torrent];
        let sent = torrent.sent.load(Ordering::Relaxed);
        match answer {
            Answer::Refused(reason, _) => self.complain(format!("refused: {reason}")),
            Answer::Accepted(counts) => {
                let possible = i64::from(self.floor)..=i64::from(sent);
                if !possible.contains(&counts.downloaded) {
                    self.complain(format!("{} downloads of {possible:?}", counts.downloaded));
                }
                self.advance();
            }
        }
    }

    fn advance(&mut self) {
        self.stage = match self.stage {
            Stage::Gone => Stage::Leeching,
            Stage::Leeching => {
                self.completions += 1;
                self.torrents[self.torrent].answered.fetch_add(1, Ordering::Relaxed);
                Stage::Seeding
            }
            Stage::Seeding => Stage::Gone,
        };
    }

    fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(complaint);
        }
    }
}

impl Script for Downloader {
    fn next(&mut self) -> Option<String> {
        if self.stage == Stage::Gone {
            self.torrent = self.rng.usize(..self.torrents.len());
            self.port = self.port.checked_add(1).unwrap_or(FIRST_PORT);
        }
        let torrent = &self.torrents[self.torrent];
        self.floor = torrent.answered.load(Ordering::Relaxed);
        let says = match self.stage {
            Stage::Gone => LEECHES,
            Stage::Leeching => {
                torrent.sent.fetch_add(1, Ordering::Relaxed);
                COMPLETES
            }
            Stage::Seeding => LEAVES,
        };
        Some(target(&torrent.escaped_hash, self.port, says))
    }

    fn answered(&mut self, body: &[u8]) {
        match serde_bencode::from_bytes(body) {
            Ok(serde_bencode::value::Value::Dict(dict)) => self.judge(Answer::of(&dict)),
            other => self.complain(format!("not a dictionary: {other:?}")),
        }
    }
}
