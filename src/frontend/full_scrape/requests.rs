//! Who gets the full scrape, and when.
//!
//! Owns: the rule for askers (who may ask, how often) and those that wait for the next copy.
//!
//! Limits: one answer for an interval and address, [`ASKERS_MAX`] addresses remembered: past either
//! the asker is told to come back.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ahash::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::config::{FullScrapePolicy, LiveSettings};
use crate::frontend::full_scrape::body::{LargeBody, Permit};
use crate::frontend::full_scrape::maker::{FullScrapeMail, Maker, Order};
use crate::ids::{Millis, Ticket};
use crate::tracker::{Client, Tracker};
use crate::wire::http::response::Framing;

/// Addresses remembered for having asked within the interval.
const ASKERS_MAX: usize = 4_096;

/// A full scrape that waits to be made.
#[derive(Clone, Copy, Debug)]
pub struct FullScrapeRequest {
    /// How its answer is framed.
    pub framing: Framing,
    /// Whether the client takes gzip.
    pub gzip: bool,
}

/// What an asker is told.
pub(in crate::frontend) enum Told {
    /// Here it is.
    Ready(LargeBody),
    /// It is being made: the body comes by [`FullScrape::take`].
    Wait,
    /// Too soon, or too many at once.
    Later,
    /// Not for this address.
    Never,
}

/// The full scrape of one tracker.
pub struct FullScrape {
    maker: Arc<Maker>,
    askers: Mutex<Askers>,
    senders: Arc<AtomicUsize>,
}

impl FullScrape {
    /// Starts the thread that makes it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        tracker: &Arc<Tracker>,
        live: LiveSettings,
        mail: FullScrapeMail,
    ) -> io::Result<FullScrape> {
        let maker = Maker::start(Arc::clone(tracker), live, mail)?;
        Ok(FullScrape { maker, askers: Mutex::default(), senders: Arc::default() })
    }

    /// One whose maker has no thread: whoever waits for it waits for ever.
    pub fn without_thread(
        tracker: &Arc<Tracker>,
        live: LiveSettings,
        mail: FullScrapeMail,
    ) -> FullScrape {
        let maker = Arc::new(Maker::new(Arc::clone(tracker), live, mail));
        FullScrape { maker, askers: Mutex::default(), senders: Arc::default() }
    }

    /// The next body for a worker, with the ticket it is for; no body when none could be made.
    pub fn take(&self, worker: u16) -> Option<(Ticket, Option<LargeBody>)> {
        self.maker.take(worker)
    }

    /// Asks for the full scrape.
    pub(in crate::frontend) fn request(
        &self,
        client: Client,
        gzip: bool,
        policy: &FullScrapePolicy,
        now: Millis,
    ) -> Told {
        if !policy.who.permits(client.ip) {
            return Told::Never;
        }
        let mut askers = self.askers.lock();
        if !askers.admit(client.ip, now, policy.interval_ms) {
            return Told::Later;
        }
        let Some(permit) = Permit::take(&self.senders) else { return Told::Later };
        askers.asked_at.insert(client.ip, now);
        drop(askers);
        match self.maker.fresh(now, policy.interval_ms).filter(|copy| !gzip || copy.is_compressed())
        {
            Some(copy) => Told::Ready(LargeBody::new(copy, gzip, permit)),
            None => {
                self.maker.order(Order { ticket: client.ticket, gzip, permit, asked_at: now });
                Told::Wait
            }
        }
    }
}

/// Tells the thread to end. Nobody waits for the copy it is at: that takes seconds with millions of
/// torrents, and the end of the process would wait with it.
impl Drop for FullScrape {
    fn drop(&mut self) {
        self.maker.stop();
    }
}

/// Who has asked lately.
#[derive(Default)]
struct Askers {
    asked_at: HashMap<IpAddr, Millis, RandomState>,
}

impl Askers {
    fn admit(&mut self, ip: IpAddr, now: Millis, interval_ms: u64) -> bool {
        if self.asked_at.get(&ip).is_some_and(|asked_at| now.since(*asked_at) < interval_ms) {
            return false;
        }
        if self.asked_at.len() >= ASKERS_MAX {
            self.asked_at.retain(|_, asked_at| now.since(*asked_at) < interval_ms);
        }
        self.asked_at.len() < ASKERS_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};
    use std::time::Duration;

    use super::*;
    use crate::config::{FullScrape as WhoMayAsk, Live, Mode, Policy};
    use crate::frontend::full_scrape::body::FULL_SCRAPES_MAX;
    use crate::ids::InfoHash;
    use crate::mailbox::{Mailboxes, Wake};
    use crate::tests::harness;

    const INTERVAL_MS: u64 = 60_000;

    /// A full scrape for everybody, and what tells when there is mail.
    struct Site {
        full_scrape: FullScrape,
        policy: FullScrapePolicy,
        tracker: Arc<Tracker>,
        mail: Receiver<()>,
    }

    impl Site {
        fn new() -> Site {
            let (told, mail) = mpsc::channel();
            let wake: Wake = Arc::new(move || {
                let _ = told.send(());
            });
            let policy = FullScrapePolicy { who: WhoMayAsk::On, interval_ms: INTERVAL_MS };
            let live = Live::default();
            let live = Live {
                policy: Policy { mode: Mode::Open, ..live.policy.clone() },
                full_scrape: policy.clone(),
                ..live
            };
            let tracker = harness::tracker(&live.policy);
            let mail_of_workers = Mailboxes::new([wake], FULL_SCRAPES_MAX);
            let live = LiveSettings::new(live);
            let full_scrape = FullScrape::start(&tracker, live, mail_of_workers).unwrap();
            Site { full_scrape, policy, tracker, mail }
        }

        /// Asks and waits for the body.
        fn request(&self, last: u8, now: Millis) -> Option<LargeBody> {
            let ticket = Ticket { worker: 0, slot: last.into(), generation: 0 };
            let client = Client { ip: [192, 0, 2, last].into(), is_known: true, ticket };
            match self.full_scrape.request(client, false, &self.policy, now) {
                Told::Ready(body) => Some(body),
                Told::Wait => {
                    let told = self.mail.recv_timeout(Duration::from_secs(30));
                    told.expect("a full scrape is made");
                    self.full_scrape.take(0).and_then(|(_, body)| body)
                }
                Told::Later | Told::Never => None,
            }
        }

        fn announce(&self, torrent: u8) {
            harness::begin_unasked(self.tracker.store(), InfoHash([torrent; 20]));
        }
    }

    #[test]
    fn a_copy_is_shared_for_its_interval_and_then_made_anew() {
        let site = Site::new();
        site.announce(b'a');
        let first = site.request(1, Millis(1_000)).unwrap();
        site.announce(b'b');
        let within = Millis(1_000 + INTERVAL_MS - 1);
        let shared = site.request(2, within).unwrap();
        assert_eq!(first.bytes(), shared.bytes(), "within the interval");
        assert!(site.request(1, within).is_none(), "once an interval and address");
        let anew = site.request(1, Millis(1_000 + INTERVAL_MS)).unwrap();
        let expected = ["a", "b"].map(|hash| {
            let hash = hash.repeat(20);
            format!("20:{hash}d8:completei0e10:downloadedi0e10:incompletei1ee")
        });
        let expected =
            format!("d5:filesd{}e5:flagsd20:min_request_intervali1800eee", expected.concat());
        assert_eq!(String::from_utf8_lossy(anew.bytes()), expected);
    }

    #[test]
    fn a_few_are_sent_at_once_and_the_next_is_told_to_come_back() {
        let site = Site::new();
        let senders: Vec<LargeBody> =
            (1..=4).filter_map(|last| site.request(last, Millis(0))).collect();
        assert_eq!(senders.len(), FULL_SCRAPES_MAX);
        assert!(site.request(5, Millis(0)).is_none(), "all permits are taken");
        drop(senders);
        let body = site.request(5, Millis(0)).expect("there is room again");
        assert!(body.bytes().starts_with(b"d14:failure reason"), "nothing is tracked");
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let mut askers = Askers::default();
        for asker in 0..ASKERS_MAX {
            let ip = IpAddr::from(u32::try_from(asker).unwrap().to_be_bytes());
            assert!(askers.admit(ip, Millis(0), INTERVAL_MS), "{ip} has not asked before");
            askers.asked_at.insert(ip, Millis(0));
        }
        let one_more = IpAddr::from([192, 0, 2, 1]);
        assert!(!askers.admit(one_more, Millis(1), INTERVAL_MS), "one too many");
        assert!(askers.admit(one_more, Millis(INTERVAL_MS), INTERVAL_MS), "an interval later");
        assert!(askers.asked_at.is_empty(), "the others are forgotten by then");
    }
}
