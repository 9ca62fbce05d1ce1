//! The thread that makes the full scrape, at most once for an interval.
//!
//! The swarms are read shard by shard, so announces never wait for it. In registered mode all that
//! the database lists are in it, with zeros where there is no swarm; in open mode all swarms.
//!
//! Owns: the latest copy, and those who wait for the next. Never: a worker's time; it waits for the
//! database.
//!
//! Limits: the copy goes when its interval is over and the last sender is done.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};

use crate::config::{Live, LiveSettings, Mode};
use crate::frontend::full_scrape::body::{FullCopy, LargeBody, Permit};
use crate::ids::{InfoHash, Millis, Ticket};
use crate::listing::{Listing, Record};
use crate::mailbox::Mailboxes;
use crate::swarm::Counts;
use crate::tracker::Tracker;
use crate::wire::bencode::Writer;
use crate::wire::http::reply::{self, SCRAPE_ENTRY_BYTES_MAX, SCRAPE_FRAME_BYTES_MAX};
use crate::wire::scrape::ScrapeEntry;

/// An entry without a name and with small numbers.
const USUAL_ENTRY_BYTES: usize = 96;

/// Bodies for the workers: none when the copy could not be made.
pub type FullScrapeMail = Mailboxes<(Ticket, Option<LargeBody>)>;

/// The thread's part.
pub(in crate::frontend) struct Maker {
    tracker: Arc<Tracker>,
    live: LiveSettings,
    mail: FullScrapeMail,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// When the latest copy was made, by the clock of those who asked for it.
    latest: Option<(Millis, Arc<FullCopy>)>,
    orders: Vec<Order>,
    stopping: bool,
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
        Maker { tracker, live, mail, state: Mutex::default(), changed: Condvar::new() }
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

    /// The latest copy, if it is not older than an interval.
    pub(in crate::frontend) fn fresh(
        &self,
        now: Millis,
        interval_ms: u64,
    ) -> Option<Arc<FullCopy>> {
        let state = self.state.lock();
        let (made_at, copy) = state.latest.as_ref()?;
        (now.since(*made_at) < interval_ms).then(|| Arc::clone(copy))
    }

    /// Has somebody wait for the next copy.
    pub(in crate::frontend) fn order(&self, order: Order) {
        self.state.lock().orders.push(order);
        self.changed.notify_one();
    }

    /// The next body for a worker.
    pub(in crate::frontend) fn take(&self, worker: u16) -> Option<(Ticket, Option<LargeBody>)> {
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
            let copy = self.fresh(now, live.full_scrape.interval_ms).unwrap_or_else(|| {
                let copy = Arc::new(FullCopy::new(self.make(&live)));
                self.state.lock().latest = Some((now, Arc::clone(&copy)));
                copy
            });
            for Order { ticket, gzip, permit, .. } in orders {
                if gzip {
                    copy.compress();
                }
                let body = LargeBody::new(Arc::clone(&copy), gzip, permit);
                self.mail.put(ticket.worker, (ticket, Some(body)));
            }
            self.mail.wake();
        }
    }

    /// Waits for orders, and meanwhile lets go of a copy whose interval is over. None at the end.
    fn next_orders(&self) -> Option<Vec<Order>> {
        let mut state = self.state.lock();
        while state.orders.is_empty() && !state.stopping {
            if state.latest.is_none() {
                self.changed.wait(&mut state);
                continue;
            }
            let interval = Duration::from_millis(self.live.latest().full_scrape.interval_ms);
            if self.changed.wait_for(&mut state, interval).timed_out() {
                state.latest = None;
            }
        }
        (!state.stopping).then(|| std::mem::take(&mut state.orders))
    }

    fn make(&self, live: &Live) -> Vec<u8> {
        let torrents = self.torrents(live.policy.mode);
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
        }
        let interval_s = live.policy.scrape_interval_s;
        append(&mut body, |writer| reply::end_scrape(writer, interval_s));
        body
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
