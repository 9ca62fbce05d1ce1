//! The thread that makes the full scrape, at most once for an interval.
//!
//! The swarms are read shard by shard, so announces never wait for it. In registered mode all that
//! the database lists are in it, with zeros where there is no swarm; in open mode all swarms.
//!
//! Owns: the latest copy, and those who wait for the next. Never: a worker's time; it waits for the
//! database.
//!
//! Limits: [`COPIES_MAX`] copies in memory, the one that is being made included. A copy goes when
//! its interval is over and the last sender is done. While senders hold as many as there may be,
//! askers get the latest, for [`INTERVALS_MAX`] intervals. What is too large for whoever may ask is
//! not made, and that is known for an interval too.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};

use crate::config::{FullScrapePolicy, Live, LiveSettings, Mode};
use crate::frontend::full_scrape::body::{FullCopy, LargeBody, Permit};
use crate::ids::{InfoHash, Millis, Ticket};
use crate::listing::{Listing, Record};
use crate::mailbox::Mailboxes;
use crate::swarm::Counts;
use crate::tracker::Tracker;
use crate::wire::bencode::Writer;
use crate::wire::failure::Failure;
use crate::wire::http::reply::{self, SCRAPE_ENTRY_BYTES_MAX, SCRAPE_FRAME_BYTES_MAX};
use crate::wire::scrape::ScrapeEntry;

/// Copies in memory, whoever holds them.
pub(in crate::frontend) const COPIES_MAX: usize = 2;
/// Intervals for which a copy is given to askers while no other may be made.
pub(in crate::frontend) const INTERVALS_MAX: u64 = 10;
/// An entry without a name and with the smallest numbers.
const ENTRY_BYTES_MIN: usize = 70;
/// An entry without a name and with usual numbers.
const USUAL_ENTRY_BYTES: usize = 74;

/// Bodies for the workers, or why there is none.
pub type FullScrapeMail = Mailboxes<(Ticket, Result<LargeBody, Failure>)>;

/// The thread's part.
pub(in crate::frontend) struct Maker {
    tracker: Arc<Tracker>,
    live: LiveSettings,
    mail: FullScrapeMail,
    state: Mutex<State>,
    changed: Condvar,
    /// Each copy in memory is an owner of it, and the maker is one more.
    copies: Arc<()>,
    /// The latest was too large for whoever may ask.
    too_large: AtomicBool,
}

#[derive(Default)]
struct State {
    latest: Option<Latest>,
    orders: Vec<Order>,
    stopping: bool,
}

/// What was made last.
struct Latest {
    /// When, by the clock of those who asked for it.
    made_at: Millis,
    made: Made,
}

enum Made {
    /// A copy; the maker keeps it for its interval, and afterwards only its senders do.
    Copy { copy: Weak<FullCopy>, kept: Option<Arc<FullCopy>> },
    /// It would have been larger than this.
    TooLarge { bytes_max: u64 },
}

impl Latest {
    fn is_kept(&self) -> bool {
        matches!(self.made, Made::Copy { kept: Some(_), .. })
    }

    /// Leaves the copy to its senders.
    fn let_go(&mut self) {
        if let Made::Copy { kept, .. } = &mut self.made {
            *kept = None;
        }
    }
}

/// One who waits for the next copy.
pub(in crate::frontend) struct Order {
    pub(in crate::frontend) ticket: Ticket,
    pub(in crate::frontend) gzip: bool,
    pub(in crate::frontend) permit: Permit,
    pub(in crate::frontend) asked_at: Millis,
}

impl Maker {
    /// A maker whose thread is still to be started.
    pub(in crate::frontend) fn new(
        tracker: Arc<Tracker>,
        live: LiveSettings,
        mail: FullScrapeMail,
    ) -> Maker {
        Maker {
            tracker,
            live,
            mail,
            state: Mutex::default(),
            changed: Condvar::new(),
            copies: Arc::default(),
            too_large: AtomicBool::new(false),
        }
    }

    /// Starts the thread.
    pub(in crate::frontend) fn start(
        tracker: Arc<Tracker>,
        live: LiveSettings,
        mail: FullScrapeMail,
    ) -> io::Result<Arc<Maker>> {
        let maker = Arc::new(Maker::new(tracker, live, mail));
        let thread = Arc::clone(&maker);
        thread::Builder::new().name("full-scrape".into()).spawn(move || thread.run())?;
        Ok(maker)
    }

    /// The latest copy, or that it is too large; none when it is older than an interval.
    pub(in crate::frontend) fn fresh(
        &self,
        now: Millis,
        policy: &FullScrapePolicy,
    ) -> Option<Result<Arc<FullCopy>, Failure>> {
        self.latest(now, policy, policy.interval_ms)
    }

    fn latest(
        &self,
        now: Millis,
        policy: &FullScrapePolicy,
        age_ms_max: u64,
    ) -> Option<Result<Arc<FullCopy>, Failure>> {
        let state = self.state.lock();
        let latest = state.latest.as_ref().filter(|it| now.since(it.made_at) < age_ms_max)?;
        let public_bytes_max = policy.public_bytes_max();
        let copy = match &latest.made {
            Made::Copy { copy, .. } => {
                let copy = copy.upgrade()?;
                public_bytes_max.is_none_or(|most| copy.plain_bytes() <= most).then_some(copy)
            }
            Made::TooLarge { bytes_max } if public_bytes_max? <= *bytes_max => None,
            Made::TooLarge { .. } => return None,
        };
        self.note_size(copy.is_none(), policy);
        Some(copy.ok_or(Failure::FullScrapeTooLarge))
    }

    /// Logs that the full scrape has become too large for everybody, or small enough again.
    fn note_size(&self, too_large: bool, policy: &FullScrapePolicy) {
        if self.too_large.swap(too_large, Ordering::Relaxed) == too_large {
            return;
        }
        match too_large {
            true => log::warn!(
                "the full scrape is larger than tracker.full_scrape_bytes_max, {} bytes: it is \
                 refused, unless tracker.full_scrape lists the networks that may have it",
                policy.bytes_max,
            ),
            false => log::info!("the full scrape is given again: its size is allowed"),
        }
    }

    /// Copies in memory.
    pub(in crate::frontend) fn copies(&self) -> usize {
        Arc::strong_count(&self.copies) - 1
    }

    /// Has somebody wait for the next copy.
    pub(in crate::frontend) fn order(&self, order: Order) {
        self.state.lock().orders.push(order);
        self.changed.notify_one();
    }

    /// The next body for a worker.
    pub(in crate::frontend) fn take(
        &self,
        worker: u16,
    ) -> Option<(Ticket, Result<LargeBody, Failure>)> {
        self.mail.take(worker)
    }

    /// Has the thread end after the copy it is at.
    pub(in crate::frontend) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_one();
    }

    fn run(&self) {
        while let Some(orders) = self.next_orders() {
            let live = self.live.latest();
            let now = orders.iter().map(|order| order.asked_at).max().unwrap_or_default();
            let copy = self.copy_for(now, &live);
            for Order { ticket, gzip, permit, .. } in orders {
                let body = copy.clone().map(|copy| {
                    if gzip {
                        copy.compress();
                    }
                    LargeBody::new(copy, gzip, permit)
                });
                self.mail.put(ticket.worker, (ticket, body));
            }
            drop(copy);
            self.mail.wake();
        }
    }

    /// The copy that is given at a time: one that is fresh, a new one, or an older one where a new
    /// one would be too many.
    fn copy_for(&self, now: Millis, live: &Live) -> Result<Arc<FullCopy>, Failure> {
        let policy = &live.full_scrape;
        if let Some(fresh) = self.fresh(now, policy) {
            return fresh;
        }
        self.state.lock().latest.iter_mut().for_each(Latest::let_go);
        if self.copies() >= COPIES_MAX {
            let age_ms_max = policy.interval_ms.saturating_mul(INTERVALS_MAX);
            let older = self.latest(now, policy, age_ms_max);
            return older.unwrap_or(Err(Failure::FullScrapeTooSoon));
        }
        let copy = self.make(live).map(|body| Arc::new(FullCopy::new(body, &self.copies)));
        let made = match &copy {
            Some(copy) => Made::Copy { copy: Arc::downgrade(copy), kept: Some(Arc::clone(copy)) },
            None => Made::TooLarge { bytes_max: policy.bytes_max },
        };
        self.state.lock().latest = Some(Latest { made_at: now, made });
        self.note_size(copy.is_none(), policy);
        copy.ok_or(Failure::FullScrapeTooLarge)
    }

    /// Waits for orders, and meanwhile lets go of a copy whose interval is over. None at the end.
    fn next_orders(&self) -> Option<Vec<Order>> {
        let mut state = self.state.lock();
        while state.orders.is_empty() && !state.stopping {
            let interval = Duration::from_millis(self.live.latest().full_scrape.interval_ms);
            let is_kept = state.latest.as_ref().is_some_and(Latest::is_kept);
            if !is_kept {
                self.changed.wait(&mut state);
            } else if self.changed.wait_for(&mut state, interval).timed_out()
                && let Some(latest) = &mut state.latest
            {
                latest.let_go();
            }
        }
        (!state.stopping).then(|| std::mem::take(&mut state.orders))
    }

    /// The body; none as soon as it is larger than whoever may ask is given.
    fn make(&self, live: &Live) -> Option<Vec<u8>> {
        let bytes_max = live.full_scrape.public_bytes_max();
        let bytes_max = bytes_max.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let torrents = self.torrents(live.policy.mode);
        if torrents.len() * ENTRY_BYTES_MIN > bytes_max {
            return None;
        }
        let usual_bytes = torrents.len() * USUAL_ENTRY_BYTES;
        let mut body = Vec::with_capacity(SCRAPE_FRAME_BYTES_MAX + usual_bytes);
        append(&mut body, |writer| reply::begin_scrape(writer, !torrents.is_empty()));
        for (hash, counts, name) in &torrents {
            let entry = ScrapeEntry {
                hash: *hash,
                complete: counts.complete,
                downloaded: counts.downloaded,
                incomplete: counts.incomplete,
                name: name.as_deref().map(str::as_bytes),
            };
            append(&mut body, |writer| reply::write_scrape_entry(writer, &entry));
            if body.len() > bytes_max {
                return None;
            }
        }
        let interval_s = live.policy.scrape_interval_s;
        append(&mut body, |writer| reply::end_scrape(writer, interval_s));
        (body.len() <= bytes_max).then_some(body)
    }

    /// All torrents that may be told of, ascending: swarms and list, joined.
    fn torrents(&self, mode: Mode) -> Vec<(InfoHash, Counts, Option<Arc<str>>)> {
        let mut listed: HashMap<InfoHash, Record, RandomState> = HashMap::default();
        self.tracker.registry().for_each_listed(|hash, record| {
            listed.insert(*hash, record.clone());
        });
        let mut torrents = Vec::new();
        self.tracker.store().for_each(|hash, counts| match listed.remove(hash) {
            Some(record) if record.listing == Listing::Banned => {}
            Some(record) => torrents.push((*hash, counts, record.text)),
            None if mode == Mode::Open && counts.complete + counts.incomplete > 0 => {
                torrents.push((*hash, counts, None));
            }
            None => {}
        });
        if mode == Mode::Registered {
            let rest = listed.into_iter().filter(|(_, record)| record.listing == Listing::Listed);
            torrents.extend(rest.map(|(hash, record)| {
                let counts = Counts { downloaded: record.downloaded, ..Counts::default() };
                (hash, counts, record.text)
            }));
        }
        torrents.sort_unstable_by_key(|(hash, _, _)| *hash);
        torrents
    }
}

/// Appends what `write` writes, at most one scrape entry.
fn append(body: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    let mut buffer = [0; SCRAPE_ENTRY_BYTES_MAX];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer);
    let written = writer.written();
    debug_assert!(written.is_ok(), "a scrape entry is larger than its bound");
    body.extend_from_slice(&buffer[..written.unwrap_or(0)]);
}
