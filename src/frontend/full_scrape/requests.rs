//! Who gets the full scrape, and when.
//!
//! Owns: the rule for askers (who may ask, how often) and those that wait for the next copy.
//!
//! Limits: one answer for an interval and address, [`ASKERS_MAX`] addresses remembered: past either
//! the asker is told to come back. An IPv6 address is its /64 here: who has one has them all.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::config::{FullScrapePolicy, LiveSettings};
use crate::frontend::full_scrape::body::{LargeBody, Permit, Senders};
use crate::frontend::full_scrape::maker::{FullScrapeMail, Maker, Order};
use crate::ids::{Millis, Ticket};
use crate::tracker::{Client, Tracker};
use crate::wire::failure::Failure;
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
    /// Too soon, too many at once, too large, or not for this address.
    Refused(Failure),
}

/// The full scrape of one tracker.
pub struct FullScrape {
    maker: Arc<Maker>,
    askers: Mutex<Askers>,
    senders: Arc<Senders>,
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

    /// The next body for a worker, with the ticket it is for; or why there is none.
    pub fn take(&self, worker: u16) -> Option<(Ticket, Result<LargeBody, Failure>)> {
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
        // Whoever a proxy does not name has not the proxy's permission.
        let asks_from = client.is_known.then_some(client.ip);
        if !policy.who.permits(asks_from) {
            return Told::Refused(Failure::FullScrapeOff);
        }
        let fresh = match self.maker.fresh(now, policy) {
            Some(Err(failure)) => return Told::Refused(failure),
            Some(Ok(copy)) => Some(copy),
            None => None,
        };
        let mut askers = self.askers.lock();
        let asker = asker(client.ip);
        if !askers.admit(asker, now, policy.interval_ms) {
            return Told::Refused(Failure::FullScrapeTooSoon);
        }
        let Some(permit) = Permit::take(&self.senders) else {
            return Told::Refused(Failure::FullScrapeTooSoon);
        };
        askers.asked_at.insert(asker, now);
        drop(askers);
        match fresh {
            Some(copy) if !gzip || copy.is_compressed() => {
                Told::Ready(LargeBody::new(copy, gzip, permit))
            }
            _ => {
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

/// Whom an address is taken for: over IPv6, its /64.
fn asker(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
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
    use crate::frontend::full_scrape::maker::{COPIES_MAX, INTERVALS_MAX};
    use crate::ids::InfoHash;
    use crate::mailbox::{Mailboxes, Wake};
    use crate::tests::harness;

    const INTERVAL_MS: u64 = 60_000;

    /// A full scrape for everybody, and what tells when there is mail.
    struct Site {
        full_scrape: FullScrape,
        live: LiveSettings,
        tracker: Arc<Tracker>,
        mail: Receiver<()>,
    }

    impl Site {
        fn new() -> Site {
            let (told, mail) = mpsc::channel();
            let wake: Wake = Arc::new(move || {
                let _ = told.send(());
            });
            let mut live = Live::default();
            live.policy = Policy { mode: Mode::Open, ..live.policy };
            live.full_scrape.interval_ms = INTERVAL_MS;
            let tracker = harness::tracker(&live.policy);
            let mail_of_workers = Mailboxes::new([wake], FULL_SCRAPES_MAX);
            let live = LiveSettings::new(live);
            let full_scrape = FullScrape::start(&tracker, live.clone(), mail_of_workers).unwrap();
            Site { full_scrape, live, tracker, mail }
        }

        /// Asks and waits for the body.
        fn request(&self, last: u8, now: Millis) -> Result<LargeBody, Failure> {
            let ticket = Ticket { worker: 0, slot: last.into(), generation: 0 };
            let client = Client { ip: [192, 0, 2, last].into(), is_known: true, ticket };
            let policy = &self.live.latest().full_scrape;
            match self.full_scrape.request(client, false, policy, now) {
                Told::Ready(body) => Ok(body),
                Told::Wait => {
                    let told = self.mail.recv_timeout(Duration::from_secs(30));
                    told.expect("a full scrape is made");
                    self.full_scrape.take(0).expect("mail").1
                }
                Told::Refused(failure) => Err(failure),
            }
        }

        fn announce(&self, torrent: u8) {
            harness::begin_unasked(self.tracker.store(), InfoHash([torrent; 20]));
        }

        fn change(&self, change: impl FnOnce(&mut FullScrapePolicy)) {
            let mut live = Live::clone(&self.live.latest());
            change(&mut live.full_scrape);
            self.live.replace(live);
        }
    }

    /// Why it is refused; nothing if it is not.
    fn refusal(told: &Result<LargeBody, Failure>) -> Option<Failure> {
        told.as_ref().err().copied()
    }

    #[test]
    fn somebody_whom_a_proxy_does_not_name_has_not_the_proxys_permission() {
        let site = Site::new();
        let networks = vec!["192.0.2.0/24".parse().unwrap()].into();
        site.change(|policy| policy.who = WhoMayAsk::Networks(networks));
        let policy = &site.live.latest().full_scrape;
        let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
        for (is_known, refused) in [(false, true), (true, false)] {
            let client = Client { ip: [192, 0, 2, 1].into(), is_known, ticket };
            let told = site.full_scrape.request(client, false, policy, Millis(1_000));
            let is_refused = matches!(told, Told::Refused(Failure::FullScrapeOff));
            assert_eq!(is_refused, refused, "the client is known: {is_known}");
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
        assert!(site.request(1, within).is_err(), "once an interval and address");
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
            (1..=4).filter_map(|last| site.request(last, Millis(0)).ok()).collect();
        assert_eq!(senders.len(), FULL_SCRAPES_MAX);
        let refused = refusal(&site.request(5, Millis(0)));
        assert_eq!(refused, Some(Failure::FullScrapeTooSoon), "all permits are taken");
        drop(senders);
        let body = site.request(5, Millis(0)).expect("there is room again");
        assert!(body.bytes().starts_with(b"d14:failure reason"), "nothing is tracked");
    }

    #[test]
    fn however_slow_the_readers_are_there_are_two_copies_and_askers_get_the_later_one() {
        let site = Site::new();
        let copies = || site.full_scrape.maker.copies();
        let at = |intervals: u64| Millis(intervals * INTERVAL_MS);
        site.announce(b'a');
        let first = site.request(1, at(0)).unwrap();
        site.announce(b'b');
        let second = site.request(2, at(1)).unwrap();
        assert_ne!(first.bytes(), second.bytes(), "the second copy is newer");
        assert_eq!(copies(), COPIES_MAX, "each is held by its reader");
        site.announce(b'c');
        let third = site.request(3, at(2)).unwrap();
        assert_eq!(third.bytes(), second.bytes(), "the latest there is");
        assert_eq!(copies(), COPIES_MAX, "no third copy");
        let refused = refusal(&site.request(4, at(1 + INTERVALS_MAX)));
        assert_eq!(refused, Some(Failure::FullScrapeTooSoon), "the latest is too old");
        drop(first);
        let anew = site.request(5, at(2 + INTERVALS_MAX)).unwrap();
        assert!(anew.bytes().len() > second.bytes().len(), "made anew, a reader is done");
        assert_eq!(copies(), COPIES_MAX, "the second and the new one");
    }

    #[test]
    fn a_body_past_its_limit_is_for_listed_networks_only() {
        let site = Site::new();
        (b'a'..=b'z').for_each(|torrent| site.announce(torrent));
        let exactly = site.request(1, Millis(0)).unwrap().bytes().len() as u64;
        let listed = WhoMayAsk::Networks(vec!["192.0.2.0/25".parse().unwrap()].into());
        let too_large = Some(Failure::FullScrapeTooLarge);
        let rows = [
            ("it fits", WhoMayAsk::On, exactly, None),
            ("a byte too large", WhoMayAsk::On, exactly - 1, too_large),
            ("far too large", WhoMayAsk::On, 100, too_large),
            ("a network that is listed", listed.clone(), 100, None),
            ("too large again", WhoMayAsk::On, 100, too_large),
            ("it fits again", WhoMayAsk::On, exactly, None),
        ];
        let (mut now, mut last) = (Millis(0), 1);
        for (name, who, bytes_max, expected) in rows {
            site.change(|policy| (policy.who, policy.bytes_max) = (who, bytes_max));
            for (copy, ms) in [("of before", 1), ("of its own", INTERVAL_MS), ("shared", 1)] {
                (now, last) = (now.plus(ms), last + 1);
                let told = refusal(&site.request(last, now));
                assert_eq!(told, expected, "{name}: with a copy {copy}");
            }
        }
        site.change(|policy| policy.who = listed);
        let stranger = refusal(&site.request(200, now));
        assert_eq!(stranger, Some(Failure::FullScrapeOff), "not in the networks");
    }

    #[test]
    fn askers_are_counted_by_their_address_and_over_ipv6_by_their_64() {
        let rows = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::1", "0.0.0.1", false),
        ];
        for (first, second, same) in rows {
            let mut askers = Askers::default();
            let [first_asker, second_asker] = [first, second].map(|ip| asker(ip.parse().unwrap()));
            askers.asked_at.insert(first_asker, Millis(0));
            let admitted = askers.admit(second_asker, Millis(1), INTERVAL_MS);
            assert_eq!(!admitted, same, "{second} after {first}");
        }
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
