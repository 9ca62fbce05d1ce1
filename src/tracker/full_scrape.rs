//! The full scrape: every torrent in one answer.
//!
//! A million torrents are 90 MB, so it is never made by a worker. Owns: the thread that makes it,
//! at most once per interval, and the one copy that all askers share; who may ask, and how often.
//! The swarms are read shard by shard, so announces never wait for it. Where only listed torrents
//! are served, all that the database lists are in it, with zeros where there is no swarm; else all
//! swarms.
//!
//! Limits: [`SENDERS_MAX`] answers waiting or on their way at once, one an interval and address,
//! [`ASKERS_MAX`] addresses remembered: past any of them the asker is told to come back. The copy
//! is let go of when its interval is over and the last sender is done.

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use ahash::RandomState;
use flate2::{Compression, write::GzEncoder};
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};

use crate::config::FullScrape as WhoMayAsk;
use crate::ids::{InfoHash, Millis, Ticket};
use crate::listing::{Listing, Record};
use crate::registry::{Mailboxes, Registry};
use crate::swarm::{Counts, Store};
use crate::tracker::{Answer, Client, Parked, Tallied, Tracker, Turn};
use crate::wire::bencode::Writer;
use crate::wire::failure::Failure;
use crate::wire::frame::{self, Framing};
use crate::wire::head::Head;
use crate::wire::reply::{self, SCRAPE_ENTRY_BYTES_MAX, SCRAPE_FRAME_BYTES_MAX, ScrapeEntry};

/// Answers waiting for the copy or being sent, at once.
const SENDERS_MAX: usize = 4;
/// Addresses remembered for having asked within the interval.
const ASKERS_MAX: usize = 4_096;
/// An entry without a name and with small numbers.
const USUAL_ENTRY_BYTES: usize = 96;

/// Who may ask, and how often the answer is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everybody, nobody, or some networks.
    pub who: WhoMayAsk,
    /// At most one copy is made in this time, and one answer given to an address, milliseconds.
    pub interval_ms: u64,
    /// What clients are told to wait between scrapes, seconds.
    pub scrape_interval_s: u32,
    /// Whether only listed torrents are served.
    pub listed_only: bool,
}

/// A full scrape that waits to be made.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    framing: Framing,
    gzip: bool,
}

/// The body of a full scrape, shared with whoever else is sending it.
pub struct LargeBody {
    copy: Arc<FullCopy>,
    gzip: bool,
    _permit: Permit,
}

impl LargeBody {
    /// What goes out behind the head.
    pub fn bytes(&self) -> &[u8] {
        match self.copy.gzip.get() {
            Some(gzip) if self.gzip => gzip,
            _ => &self.copy.plain,
        }
    }
}

struct FullCopy {
    plain: Vec<u8>,
    gzip: OnceLock<Vec<u8>>,
}

/// One of [`SENDERS_MAX`]; given back when dropped, wherever that happens.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(senders: &Arc<AtomicUsize>) -> Option<Permit> {
        let permit = Permit(Arc::clone(senders));
        let before = senders.fetch_add(1, Ordering::Relaxed);
        (before < SENDERS_MAX).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers for the workers: nothing when the copy could not be made.
pub(super) type Mail = Mailboxes<(Ticket, Option<LargeBody>)>;

/// Handle to the thread; dropping it tells the thread to end. Nobody waits for the copy it is at:
/// that takes seconds with millions of torrents, and the end of the process would wait with it.
pub struct FullScrape {
    settings: Settings,
    shared: Arc<Shared>,
    senders: Arc<AtomicUsize>,
}

struct Shared {
    desk: Mutex<FrontDesk>,
    asked: Condvar,
    mail: Mail,
    interval: Duration,
    maker: Maker,
}

#[derive(Default)]
struct FrontDesk {
    latest: Option<(Millis, Arc<FullCopy>)>,
    waiting: Vec<Waiting>,
    askers: HashMap<IpAddr, Millis, RandomState>,
    stopping: bool,
}

struct Waiting {
    ticket: Ticket,
    gzip: bool,
    permit: Permit,
    asked_at: Millis,
}

/// What an asker is told.
enum Told {
    Ready(LargeBody),
    Wait,
    Later,
    Never,
}

impl FullScrape {
    /// Starts the thread, unless nobody may ask.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        settings: Settings,
        store: &Arc<Store>,
        registry: &Arc<Registry>,
        mail: Mail,
    ) -> io::Result<FullScrape> {
        let interval = Duration::from_millis(settings.interval_ms);
        let maker = Maker {
            store: Arc::clone(store),
            registry: Arc::clone(registry),
            scrape_interval_s: settings.scrape_interval_s,
            listed_only: settings.listed_only,
        };
        let shared = Arc::new(Shared {
            desk: Mutex::default(),
            asked: Condvar::new(),
            mail,
            interval,
            maker,
        });
        if settings.who != WhoMayAsk::Off {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("full-scrape".into()).spawn(move || shared.run())?;
        }
        Ok(FullScrape { settings, shared, senders: Arc::default() })
    }

    pub(super) fn take(&self, worker: u16) -> Option<(Ticket, Option<LargeBody>)> {
        self.shared.mail.take(worker)
    }

    fn ask(&self, client: Client, gzip: bool, now: Millis) -> Told {
        if !self.settings.who.permits(client.ip) {
            return Told::Never;
        }
        let mut desk = self.shared.desk.lock();
        if !desk.admit(client.ip, now, self.settings.interval_ms) {
            return Told::Later;
        }
        let Some(permit) = Permit::take(&self.senders) else { return Told::Later };
        desk.askers.insert(client.ip, now);
        match desk
            .fresh(now, self.settings.interval_ms)
            .filter(|copy| !gzip || copy.gzip.get().is_some())
        {
            Some(copy) => Told::Ready(LargeBody { copy, gzip, _permit: permit }),
            None => {
                desk.waiting.push(Waiting { ticket: client.ticket, gzip, permit, asked_at: now });
                self.shared.asked.notify_one();
                Told::Wait
            }
        }
    }
}

impl Drop for FullScrape {
    fn drop(&mut self) {
        self.shared.desk.lock().stopping = true;
        self.shared.asked.notify_one();
    }
}

impl FrontDesk {
    fn admit(&mut self, ip: IpAddr, now: Millis, interval_ms: u64) -> bool {
        if self.askers.get(&ip).is_some_and(|asked_at| now.since(*asked_at) < interval_ms) {
            return false;
        }
        if self.askers.len() >= ASKERS_MAX {
            self.askers.retain(|_, asked_at| now.since(*asked_at) < interval_ms);
        }
        self.askers.len() < ASKERS_MAX
    }

    fn fresh(&self, now: Millis, interval_ms: u64) -> Option<Arc<FullCopy>> {
        let (made_at, copy) = self.latest.as_ref()?;
        (now.since(*made_at) < interval_ms).then(|| Arc::clone(copy))
    }
}

impl Shared {
    fn run(&self) {
        while let Some(waiting) = self.next_waiting() {
            let now = waiting.iter().map(|one| one.asked_at).max().unwrap_or_default();
            let fresh = self
                .desk
                .lock()
                .fresh(now, u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX));
            let copy = fresh.unwrap_or_else(|| {
                let plain = self.maker.make();
                let copy = Arc::new(FullCopy { plain, gzip: OnceLock::new() });
                self.desk.lock().latest = Some((now, Arc::clone(&copy)));
                copy
            });
            for Waiting { ticket, gzip, permit, .. } in waiting {
                if gzip {
                    copy.gzip.get_or_init(|| compress(&copy.plain));
                }
                let body = LargeBody { copy: Arc::clone(&copy), gzip, _permit: permit };
                self.mail.put(ticket.worker, (ticket, Some(body)));
            }
            self.mail.wake();
        }
    }

    /// Waits for askers, and meanwhile lets go of a copy whose interval is over; `None` at the end.
    fn next_waiting(&self) -> Option<Vec<Waiting>> {
        let mut desk = self.desk.lock();
        while desk.waiting.is_empty() && !desk.stopping {
            if desk.latest.is_none() {
                self.asked.wait(&mut desk);
            } else if self.asked.wait_for(&mut desk, self.interval).timed_out() {
                desk.latest = None;
            }
        }
        (!desk.stopping).then(|| std::mem::take(&mut desk.waiting))
    }
}

/// What a copy is made of.
struct Maker {
    store: Arc<Store>,
    registry: Arc<Registry>,
    scrape_interval_s: u32,
    listed_only: bool,
}

impl Maker {
    fn make(&self) -> Vec<u8> {
        let torrents = self.torrents();
        let mut body =
            Vec::with_capacity(SCRAPE_FRAME_BYTES_MAX + torrents.len() * USUAL_ENTRY_BYTES);
        append(&mut body, |writer| reply::begin_scrape(writer, !torrents.is_empty()));
        for (hash, Counts { complete, incomplete, downloaded }, name) in &torrents {
            let (hash, name) = (*hash, name.as_deref().map(str::as_bytes));
            let entry = ScrapeEntry {
                hash,
                complete: *complete,
                downloaded: *downloaded,
                incomplete: *incomplete,
                name,
            };
            append(&mut body, |writer| reply::write_scrape_entry(writer, &entry));
        }
        append(&mut body, |writer| reply::end_scrape(writer, self.scrape_interval_s));
        body
    }

    /// All torrents that may be told of, ascending: swarms and list, joined.
    fn torrents(&self) -> Vec<(InfoHash, Counts, Option<Arc<str>>)> {
        let mut listed: HashMap<InfoHash, Record, RandomState> = HashMap::default();
        self.registry.for_each_listed(|hash, record| {
            listed.insert(*hash, record.clone());
        });
        let mut torrents = Vec::new();
        self.store.for_each(|hash, counts| match listed.remove(hash) {
            Some(record) if record.listing == Listing::Banned => {}
            Some(record) => torrents.push((*hash, counts, record.text)),
            None if !self.listed_only && counts.complete + counts.incomplete > 0 => {
                torrents.push((*hash, counts, None));
            }
            None => {}
        });
        if self.listed_only {
            let known = listed.into_iter().filter(|(_, record)| record.listing == Listing::Listed);
            torrents.extend(known.map(|(hash, record)| {
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

fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to a Vec cannot fail; an empty body would be the only trace if it did.
    encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default()
}

impl Tracker {
    pub(super) fn full_scrape(
        &self,
        head: &Head<'_>,
        client: Client,
        turn: &mut Turn<'_>,
    ) -> Answer {
        turn.desk.tally.count(Tallied::FullScrape);
        let request = Request { framing: Framing::of(head), gzip: head.accepts_gzip };
        match self.full_scrape.ask(client, request.gzip, turn.now) {
            Told::Ready(body) => self.send_full_scrape(request, Some(body), turn),
            Told::Wait => Answer::Wait(Box::new(Parked::FullScrape(request))),
            Told::Later => self.refuse(Failure::FullScrapeTooSoon, None, request.framing, turn),
            Told::Never => self.refuse(Failure::FullScrapeOff, None, request.framing, turn),
        }
    }

    pub(super) fn send_full_scrape(
        &self,
        request: Request,
        body: Option<LargeBody>,
        turn: &mut Turn<'_>,
    ) -> Answer {
        let Some(mut body) = body else {
            return self.refuse(Failure::Busy, None, request.framing, turn);
        };
        // After a wait that was given up, what comes may have been made for an earlier request of
        // the same connection.
        body.gzip &= request.gzip;
        let length = body.bytes().len() as u64;
        turn.out
            .write(|buffer| frame::full_scrape_head(request.framing, length, body.gzip, buffer));
        if request.framing.head_only { Answer::Done } else { Answer::Body(body) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;
    use crate::ids::{Crypto, Event, PeerAddr, PeerId};
    use crate::registry::Wake;
    use crate::swarm::{Announcement, Chosen, Newcomer};
    use crate::tests::announcement::open_at;
    use crate::tests::harness;
    use crate::tracker::{Completion, Desk, Outbox};

    #[test]
    fn who_did_not_ask_for_gzip_gets_none_even_of_a_copy_made_for_an_earlier_request() {
        let tracker = harness::tracker(harness::policy());
        for (asked, made, expected) in
            [(true, true, true), (false, true, false), (true, false, false), (false, false, false)]
        {
            let copy =
                Arc::new(FullCopy { plain: b"de".to_vec(), gzip: OnceLock::from(compress(b"de")) });
            let permit = Permit::take(&Arc::default()).unwrap();
            let body = LargeBody { copy, gzip: made, _permit: permit };
            let framing = Framing { http10: false, keep_alive: true, head_only: false };
            let parked = Parked::FullScrape(Request { framing, gzip: asked });
            let (mut desk, mut output) = (Desk::new(7), vec![0; 1_000]);
            let mut turn = Turn { now: Millis(0), desk: &mut desk, out: Outbox::new(&mut output) };
            let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
            let answer =
                tracker.resume(parked, Completion::FullScrape(ticket, Some(body)), &mut turn);
            let Answer::Body(body) = answer else { panic!("no body") };
            let head = String::from_utf8_lossy(turn.out.filled()).into_owned();
            assert_eq!(
                (head.contains("gzip"), body.bytes() != b"de"),
                (expected, expected),
                "asked {asked}, made {made}: {head}"
            );
        }
    }

    const INTERVAL_MS: u64 = 60_000;

    /// A full scrape of `store` for everybody, and what tells when there is mail.
    fn open_to_all(store: &Arc<Store>) -> (FullScrape, Receiver<()>) {
        let (told, mail) = mpsc::channel();
        let wake: Wake = Arc::new(move || {
            let _ = told.send(());
        });
        let settings = Settings {
            who: WhoMayAsk::On,
            interval_ms: INTERVAL_MS,
            scrape_interval_s: 1_800,
            listed_only: false,
        };
        let registry = Arc::new(Registry::memory());
        (FullScrape::start(settings, store, &registry, Mailboxes::new([wake])).unwrap(), mail)
    }

    fn client(last: u8) -> Client {
        Client {
            ip: [192, 0, 2, last].into(),
            ticket: Ticket { worker: 0, slot: last.into(), generation: 0 },
        }
    }

    /// Asks and waits for the body.
    fn full_scrape(
        desk: &FullScrape,
        mail: &Receiver<()>,
        last: u8,
        now: Millis,
    ) -> Option<LargeBody> {
        match desk.ask(client(last), false, now) {
            Told::Ready(body) => Some(body),
            Told::Wait => {
                mail.recv_timeout(Duration::from_secs(30)).expect("a full scrape is made");
                desk.take(0).and_then(|(_, body)| body)
            }
            Told::Later | Told::Never => None,
        }
    }

    fn announce(store: &Store, torrent: u8) {
        let announcement = Announcement {
            info_hash: InfoHash([torrent; 20]),
            peer: PeerAddr::new([192, 0, 2, 1].into(), 6881),
            peer_id: PeerId([b'p'; 20]),
            seeder: true,
            event: Event::Started,
            crypto: Crypto::None,
            listening: true,
            numwant: 0,
            want_ids: false,
            want_crypto_flags: false,
        };
        store.enter(
            &Newcomer::without_list(&announcement),
            open_at(Millis(0)),
            &mut fastrand::Rng::with_seed(7),
            &mut Chosen::new(),
        );
    }

    #[test]
    fn a_copy_is_shared_for_its_interval_and_then_made_anew() {
        let policy = harness::policy();
        let store = harness::store(&policy, 7);
        let (desk, mail) = open_to_all(&store);
        announce(&store, b'a');
        let first = full_scrape(&desk, &mail, 1, Millis(1_000)).unwrap();
        announce(&store, b'b');
        let shared = full_scrape(&desk, &mail, 2, Millis(1_000 + INTERVAL_MS - 1)).unwrap();
        assert_eq!(first.bytes(), shared.bytes());
        assert!(
            full_scrape(&desk, &mail, 1, Millis(1_000 + INTERVAL_MS - 1)).is_none(),
            "once an interval and address"
        );
        let anew = full_scrape(&desk, &mail, 1, Millis(1_000 + INTERVAL_MS)).unwrap();
        let expected = ["a", "b"].map(|hash| {
            format!("20:{}d8:completei1e10:downloadedi0e10:incompletei0ee", hash.repeat(20))
        });
        let expected =
            format!("d5:filesd{}e5:flagsd20:min_request_intervali1800eee", expected.concat());
        assert_eq!(String::from_utf8_lossy(anew.bytes()), expected);
    }

    #[test]
    fn a_few_are_sent_at_once_and_the_next_is_told_to_come_back() {
        let store = harness::store(&harness::policy(), 7);
        let (desk, mail) = open_to_all(&store);
        let senders: Vec<LargeBody> =
            (1..=4).filter_map(|last| full_scrape(&desk, &mail, last, Millis(0))).collect();
        assert_eq!(senders.len(), SENDERS_MAX);
        assert!(full_scrape(&desk, &mail, 5, Millis(0)).is_none());
        drop(senders);
        let body = full_scrape(&desk, &mail, 5, Millis(0)).expect("there is room again");
        assert!(body.bytes().starts_with(b"d14:failure reason"), "nothing is tracked");
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let mut desk = FrontDesk::default();
        for asker in 0..ASKERS_MAX {
            let ip = IpAddr::from(u32::try_from(asker).unwrap().to_be_bytes());
            assert!(desk.admit(ip, Millis(0), INTERVAL_MS));
            desk.askers.insert(ip, Millis(0));
        }
        assert!(!desk.admit([192, 0, 2, 1].into(), Millis(1), INTERVAL_MS));
        assert!(
            desk.admit([192, 0, 2, 1].into(), Millis(INTERVAL_MS), INTERVAL_MS)
                && desk.askers.is_empty()
        );
    }
}
