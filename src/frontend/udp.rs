//! Announces and scrapes over UDP (BEP 15).
//!
//! Owns: which call of the tracker a packet is, and what its source must have shown before it is
//! one. Whoever sends no valid connection id has not shown that packets reach him: he gets one
//! short error, and no answer to him is longer than his packet, so that nobody is flooded with
//! answers to packets that others have sent in his name. Failures are error packets with the texts
//! of HTTP.
//!
//! Never: lays out a packet (`wire::udp`), or keeps anything from one packet to the next. A request
//! that waits becomes a [`PendingDatagram`], which its caller keeps.
//!
//! Limits: as many peers as fit one packet ([`peers_max`]), however many the settings allow.

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::config::{Live, Rate};
use crate::counters::{Counter, Protocol};
use crate::frontend::connection_id::ConnectionIds;
use crate::frontend::counted;
use crate::ids::{Family, InfoHash};
use crate::registry::Completion;
use crate::tracker::{
    Client, Outcome, Round, Scraped, ServedAnnounce, Strictness, Tracker, Waiting, WaitingScrape,
};
use crate::wire::announce::Announce;
use crate::wire::bencode::Full;
use crate::wire::failure::Failure;
use crate::wire::scrape::Hashes;
use crate::wire::udp::{
    CONNECTION_ID_INVALID, ConnectionId, HASHES_PER_PACKET_MAX, PeersAnswer, Request,
    ScrapedCounts, ScrapedHashes, TransactionId, announce_answer, answer_bytes_max, connect_answer,
    error_answer, parse, peers_max, scrape_answer,
};

/// A packet that has come.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'p> {
    /// What it carries.
    pub bytes: &'p [u8],
    /// Who sent it, by the source address.
    pub client: Client,
    /// When it was read, seconds by the wall clock.
    pub unix_s: u64,
}

/// What became of a packet.
pub enum Reply {
    /// The answer is in the output and has so many bytes.
    Ready(usize),
    /// It gets no answer.
    Nothing,
    /// The registry has to be waited for; [`Udp::resume`] or [`Udp::give_up`] goes on from here.
    Wait {
        /// What is kept until then.
        pending: Box<PendingDatagram>,
        /// For how long, milliseconds; one that goes on waiting keeps the time it was given.
        wait_ms: u64,
    },
}

/// A request that waits for the registry.
pub struct PendingDatagram {
    asked: Asked,
    what: PendingRequest,
}

enum PendingRequest {
    Announce(Waiting),
    /// With the hashes in the packet's order.
    Scrape(WaitingScrape, Vec<InfoHash>),
}

/// What every answer to a request needs.
#[derive(Clone, Copy)]
struct Asked {
    transaction_id: TransactionId,
    client: Client,
}

impl Asked {
    fn family(self) -> Family {
        self.client.family()
    }
}

/// The UDP frontend; shared by all workers.
pub struct Udp {
    tracker: Arc<Tracker>,
    ids: ConnectionIds,
}

impl Udp {
    /// A frontend of `tracker`, whose connection ids are `ids`.
    pub fn new(tracker: Arc<Tracker>, ids: ConnectionIds) -> Udp {
        Udp { tracker, ids }
    }

    /// Answers one packet; `out` has room for the longest answer of its family.
    #[inline]
    pub fn answer(&self, packet: &Packet<'_>, round: &mut Round<'_>, out: &mut [u8]) -> Reply {
        let client = packet.client;
        match parse(packet.bytes) {
            Ok(Request::Announce { connection_id, transaction_id, announce, options: _ }) => {
                let asked = Asked { transaction_id, client };
                match self.accepts(connection_id, packet) {
                    true => self.announce(announce, asked, round, out),
                    false => refuse_id(asked, packet, round, out),
                }
            }
            Ok(Request::Connect { transaction_id }) => {
                round.count(Counter::connect(client.family()));
                if let Some(rate) = round.live.rates.connects
                    && self.is_over(rate, client, round)
                {
                    return Reply::Nothing;
                }
                let id = self.ids.make(client.ip, packet.unix_s);
                written(connect_answer(transaction_id, id, out))
            }
            Ok(Request::Scrape { connection_id, transaction_id, hashes }) => {
                let asked = Asked { transaction_id, client };
                match self.accepts(connection_id, packet) {
                    true => self.scrape(hashes, asked, round, out),
                    false => refuse_id(asked, packet, round, out),
                }
            }
            Err(_) => {
                round.count(Counter::NoRequest);
                Reply::Nothing
            }
        }
    }

    /// Whether an address asks for connection ids too often.
    #[cold]
    fn is_over(&self, rate: Rate, client: Client, round: &mut Round<'_>) -> bool {
        let connects = &self.tracker.rates().connects;
        let is_over = !connects.take(client.ip, rate, Strictness::Plain, round.now);
        round.scratch.counters.add(Counter::ConnectOverRate, usize::from(is_over));
        is_over
    }

    fn accepts(&self, id: ConnectionId, packet: &Packet<'_>) -> bool {
        self.ids.accepts(id, packet.client.ip, packet.unix_s)
    }

    fn announce(
        &self,
        announce: Result<Announce, Failure>,
        asked: Asked,
        round: &mut Round<'_>,
        out: &mut [u8],
    ) -> Reply {
        round.count(Counter::announce(Protocol::Udp, asked.family()));
        let mut announce = match announce {
            Ok(announce) => announce,
            Err(failure) => return refuse(failure, None, asked, round, out),
        };
        // Peers that do not fit are not chosen either.
        let wanted = announce.numwant.unwrap_or(round.live.policy.numwant_default.into());
        announce.numwant = Some(wanted.min(numwant_max(asked.family())));
        let outcome = self.tracker.announce(&announce, asked.client, round);
        answer_announce(outcome, asked, round, out)
    }

    fn scrape(
        &self,
        hashes: ScrapedHashes<'_>,
        asked: Asked,
        round: &mut Round<'_>,
        out: &mut [u8],
    ) -> Reply {
        round.count(Counter::scrape(Protocol::Udp, asked.family()));
        match self.tracker.scrape(&Hashes::of(hashes.iter()), asked.client, round) {
            Scraped::Wait(waiting) => {
                let what = PendingRequest::Scrape(waiting, hashes.iter().collect());
                wait_for_lookup(PendingDatagram { asked, what }, round.live)
            }
            scraped => self.answer_scrape(scraped, (asked, hashes.iter()), round, out),
        }
    }

    /// Goes on with a request that waited. An answer that it did not wait for changes nothing.
    pub fn resume(
        &self,
        pending: PendingDatagram,
        completion: Completion,
        round: &mut Round<'_>,
        out: &mut [u8],
    ) -> Reply {
        let PendingDatagram { asked, what } = pending;
        match what {
            PendingRequest::Announce(waiting) => {
                let outcome = self.tracker.resume(waiting, completion, round);
                answer_announce(outcome, asked, round, out)
            }
            PendingRequest::Scrape(waiting, hashes) => {
                match self.tracker.resume_scrape(waiting, completion, round) {
                    Scraped::Wait(waiting) => {
                        let what = PendingRequest::Scrape(waiting, hashes);
                        wait_for_lookup(PendingDatagram { asked, what }, round.live)
                    }
                    scraped => self.answer_scrape(scraped, (asked, hashes.into_iter()), round, out),
                }
            }
        }
    }

    /// The time of a request that waited is up: answers without what it waited for.
    pub fn give_up(
        &self,
        pending: PendingDatagram,
        round: &mut Round<'_>,
        out: &mut [u8],
    ) -> Reply {
        let PendingDatagram { asked, what } = pending;
        match what {
            PendingRequest::Announce(waiting) => {
                let outcome = self.tracker.give_up(&waiting, round);
                answer_announce(outcome, asked, round, out)
            }
            PendingRequest::Scrape(waiting, hashes) => {
                let scraped = self.tracker.give_up_scrape(waiting, round);
                self.answer_scrape(scraped, (asked, hashes.into_iter()), round, out)
            }
        }
    }

    /// There is no room to keep a request until it can be answered.
    pub fn turn_away(
        &self,
        pending: &PendingDatagram,
        round: &mut Round<'_>,
        out: &mut [u8],
    ) -> Reply {
        refuse(Failure::Busy, None, pending.asked, round, out)
    }

    /// Answers a scrape that does not wait: an entry for each of `hashes`, in their order.
    fn answer_scrape(
        &self,
        scraped: Scraped,
        (asked, hashes): (Asked, impl Iterator<Item = InfoHash>),
        round: &mut Round<'_>,
        out: &mut [u8],
    ) -> Reply {
        let torrents = match scraped {
            Scraped::Ready(torrents) => torrents,
            Scraped::Refused(failure) => return refuse(failure, None, asked, round, out),
            Scraped::Wait(_) => return refuse(Failure::Busy, None, asked, round, out),
        };
        let entries = self.tracker.entries(&torrents, round.live).map(|entry| {
            let counts = ScrapedCounts {
                seeders: entry.complete,
                completed: entry.downloaded,
                leechers: entry.incomplete,
            };
            (entry.hash, counts)
        });
        let known: ArrayVec<(InfoHash, ScrapedCounts), HASHES_PER_PACKET_MAX> =
            entries.take(HASHES_PER_PACKET_MAX).collect();
        let counts = |hash| {
            let found = known.binary_search_by_key(&hash, |(hash, _)| *hash);
            found.ok().map(|at| known[at].1).unwrap_or_default()
        };
        written(scrape_answer(asked.transaction_id, hashes.map(counts), out))
    }
}

/// Peers that may be asked for: what fits one packet.
fn numwant_max(family: Family) -> u32 {
    u32::try_from(peers_max(family)).unwrap_or(u32::MAX)
}

#[inline]
fn answer_announce(outcome: Outcome, asked: Asked, round: &mut Round<'_>, out: &mut [u8]) -> Reply {
    let Asked { transaction_id, client } = asked;
    match outcome {
        Outcome::Served(ServedAnnounce { counts, interval_s, .. }) => {
            let peers = PeersAnswer {
                transaction_id,
                interval_s,
                leechers: counts.incomplete,
                seeders: counts.complete,
                family: client.family(),
                peers: round.scratch.chosen.wire(),
            };
            written(announce_answer(&peers, out))
        }
        Outcome::Refused(failure, reason) => refuse(failure, reason.as_deref(), asked, round, out),
        Outcome::Wait(waiting) => {
            let what = PendingRequest::Announce(waiting);
            wait_for_lookup(PendingDatagram { asked, what }, round.live)
        }
    }
}

fn wait_for_lookup(pending: PendingDatagram, live: &Live) -> Reply {
    Reply::Wait { pending: Box::new(pending), wait_ms: live.connection_times.lookup_ms }
}

/// To a source that has shown a valid id: an error may be longer than the packet.
fn refuse(
    failure: Failure,
    reason: Option<&str>,
    asked: Asked,
    round: &mut Round<'_>,
    out: &mut [u8],
) -> Reply {
    round.count(counted::of_failure(failure));
    let transaction_id = asked.transaction_id;
    let (text, bytes_max) = (failure.text().as_bytes(), answer_bytes_max(asked.family()));
    written(match reason {
        Some(reason) => {
            let parts = [text, b": ", reason.as_bytes()];
            error_answer(transaction_id, &parts, bytes_max, out)
        }
        None => error_answer(transaction_id, &[text], bytes_max, out),
    })
}

/// To a source that may be anybody's.
fn refuse_id(asked: Asked, packet: &Packet<'_>, round: &mut Round<'_>, out: &mut [u8]) -> Reply {
    round.count(Counter::WrongConnectionId);
    let text = CONNECTION_ID_INVALID.as_bytes();
    written(error_answer(asked.transaction_id, &[text], packet.bytes.len(), out))
}

fn written(written: Result<usize, Full>) -> Reply {
    debug_assert!(written.is_ok(), "an answer did not fit its room");
    written.map_or(Reply::Nothing, Reply::Ready)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;
    use crate::config::{Mode, Policy};
    use crate::counters::Counters;
    use crate::ids::{Millis, canonical};
    use crate::tests::harness::{self, Site};
    use crate::tracker::Scratch;
    use crate::wire::udp::{ANSWER_V4_BYTES_MAX, PROTOCOL_ID};

    /// The first second of a slot of connection ids.
    const NOW_S: u64 = 1_700_000_040;
    const CLIENT: &str = "192.0.2.7";
    const CLIENT_V6: &str = "2001:db8::7";

    /// A site whose intervals are all the same, and one worker of it.
    struct Worker {
        site: Site,
        scratch: Scratch,
        counters: Counters,
    }

    fn worker(settle: impl FnOnce(&mut Policy)) -> Worker {
        let mut policy = Policy { mode: Mode::Open, ..harness::policy() };
        (policy.min_interval_s, policy.max_interval_s) = (1_800, 1_800);
        settle(&mut policy);
        let counters = Counters::default();
        let scratch = Scratch::new(harness::SEED, counters.local());
        Worker { site: Site::new(policy), scratch, counters }
    }

    impl Worker {
        fn answer_at(&mut self, from: &str, bytes: &[u8], unix_s: u64) -> Option<Vec<u8>> {
            let client = harness::client(canonical(from.parse().unwrap()));
            let packet = Packet { bytes, client, unix_s };
            let mut out = [0; ANSWER_V4_BYTES_MAX];
            let mut round = self.site.round(Millis(0), &mut self.scratch);
            match self.site.udp.answer(&packet, &mut round, &mut out) {
                Reply::Ready(bytes) => Some(out[..bytes].to_vec()),
                Reply::Nothing => None,
                Reply::Wait { .. } => panic!("it waits, and nobody could answer"),
            }
        }

        fn answer(&mut self, from: &str, bytes: &[u8]) -> Option<Vec<u8>> {
            self.answer_at(from, bytes, NOW_S)
        }

        fn id(&mut self, from: &str) -> u64 {
            let answer = self.answer(from, &packet(PROTOCOL_ID, 0, &[])).unwrap();
            assert_eq!(answer[..8], [0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef], "a connect's answer");
            u64::from_be_bytes(answer[8..].try_into().unwrap())
        }

        /// What a client who has connected is answered, in hexadecimal digits.
        fn answer_to(&mut self, from: &str, action: u32, body: &[u8]) -> String {
            let id = self.id(from);
            let answer = self.answer(from, &packet(id, action, body));
            HEXLOWER.encode(&answer.unwrap_or_default())
        }

        fn count(&self, counter: Counter) -> u64 {
            self.scratch.counters.publish();
            self.counters.count(counter)
        }
    }

    fn packet(id: u64, action: u32, body: &[u8]) -> Vec<u8> {
        let head = [&id.to_be_bytes()[..], &action.to_be_bytes(), &[0xde, 0xad, 0xbe, 0xef]];
        [&head.concat(), body].concat()
    }

    /// An announce's body for the torrent of this number.
    fn announce(torrent: u8, left: u64, event: u32, numwant: i32, port: u16) -> Vec<u8> {
        let mut body = [&[torrent; 20][..], b"-XX0001-abcdefghijkl", &[0; 8]].concat();
        body.extend(left.to_be_bytes());
        body.extend([0; 8]);
        body.extend(event.to_be_bytes());
        body.extend([0; 8]);
        body.extend(numwant.to_be_bytes());
        body.extend(port.to_be_bytes());
        body
    }

    /// Error, transaction id and the text.
    fn error(text: &str) -> String {
        format!("00000003deadbeef{}", HEXLOWER.encode(text.as_bytes()))
    }

    #[test]
    fn packets_are_answered_byte_by_byte() {
        let mut worker = worker(|_| ());
        let head = "00000001deadbeef00000708";
        for (name, from, body, expected) in [
            ("a seeder", CLIENT, announce(1, 0, 2, -1, 6881), "0000000000000001"),
            ("the same seeder again", CLIENT, announce(1, 0, 0, -1, 6881), "0000000000000001"),
            (
                "a leecher of one",
                CLIENT,
                announce(1, 9, 2, 1, 1),
                // It is on port 1, which does not listen: it is answered, and not stored.
                "0000000000000001c00002071ae1",
            ),
            ("nobody is wanted", CLIENT, announce(1, 9, 2, 0, 6883), "0000000100000001"),
            ("another family", CLIENT_V6, announce(1, 9, 2, -1, 6884), "0000000200000001"),
            (
                "the same family",
                CLIENT_V6,
                announce(1, 9, 2, -1, 6885),
                "000000030000000120010db80000000000000000000000071ae4",
            ),
            ("it leaves", CLIENT_V6, announce(1, 9, 3, -1, 6885), "0000000200000001"),
        ] {
            let answer = worker.answer_to(from, 1, &body);
            assert_eq!(answer, format!("{head}{expected}"), "{name}");
        }
        let port_0 = worker.answer_to(CLIENT, 1, &announce(1, 0, 2, -1, 0));
        assert_eq!(port_0, error("#4 the port is not a number from 1 to 65535"), "port 0");
        for (name, hashes, expected) in [
            ("none", &[][..], ""),
            ("one", &[1], "000000010000000000000002"),
            ("unknown", &[2], "000000000000000000000000"),
            (
                "in the order asked, one of them twice",
                &[2, 1, 0, 1],
                "000000000000000000000000\
                 000000010000000000000002\
                 000000000000000000000000\
                 000000010000000000000002",
            ),
        ] {
            let body: Vec<u8> = hashes.iter().flat_map(|hash: &u8| [*hash; 20]).collect();
            let answer = worker.answer_to(CLIENT, 2, &body);
            assert_eq!(answer, format!("00000002deadbeef{expected}"), "a scrape of {name}");
        }
    }

    #[test]
    fn a_scrape_shows_74_torrents_and_no_more() {
        let mut worker = worker(|_| ());
        for hashes in [73, 74, 75, 80] {
            let body: Vec<u8> = (0..hashes).flat_map(|hash: u8| [hash; 20]).collect();
            let answer = worker.answer_to(CLIENT, 2, &body);
            assert_eq!(answer.len() / 2, 8 + 12 * usize::from(hashes.min(74)), "{hashes} hashes");
        }
    }

    #[test]
    fn as_many_peers_as_fit_one_packet_are_handed_out() {
        let mut worker = worker(|policy| (policy.numwant_default, policy.numwant_max) = (500, 500));
        // Of an address of its own each: one address has a share only.
        for number in 0..300 {
            let (v4, v6) = (format!("198.18.{}.{}", number / 256, number % 256), number);
            worker.answer_to(&v4, 1, &announce(1, 0, 2, 0, 1_000));
            worker.answer_to(&format!("2001:db8:{v6:x}::1"), 1, &announce(1, 0, 2, 0, 1_000));
        }
        for (from, numwant, bytes) in [
            (CLIENT, -1, 20 + 242 * 6),
            (CLIENT, 500, 20 + 242 * 6),
            (CLIENT, 3, 20 + 3 * 6),
            (CLIENT_V6, -1, 20 + 67 * 18),
            (CLIENT_V6, i32::MAX, 20 + 67 * 18),
        ] {
            let answer = worker.answer_to(from, 1, &announce(1, 9, 0, numwant, 6881));
            assert_eq!(answer.len() / 2, bytes, "{from} asks for {numwant}");
        }
        worker.site.live.policy.numwant_default = 5;
        let answer = worker.answer_to(CLIENT, 1, &announce(1, 9, 0, -1, 6881));
        assert_eq!(answer.len() / 2, 20 + 5 * 6, "the site's default");
    }

    #[test]
    fn only_an_id_of_the_same_address_and_of_late_is_believed() {
        let mut worker = worker(|_| ());
        let (id, other) = (worker.id(CLIENT), worker.id("192.0.2.8"));
        let stranger = harness::connection_ids();
        let guessed = stranger.make(CLIENT.parse().unwrap(), NOW_S).0;
        for (name, from, id, unix_s, accepted) in [
            ("its own", CLIENT, id, NOW_S, true),
            ("its own, mapped", "::ffff:192.0.2.7", id, NOW_S, true),
            ("its own of two minutes ago", CLIENT, id, NOW_S + 120, true),
            ("its own of three minutes ago", CLIENT, id, NOW_S + 180, false),
            ("another's", CLIENT, other, NOW_S, false),
            ("of a guessed key", CLIENT, guessed, NOW_S, false),
            ("the protocol's number", CLIENT, PROTOCOL_ID, NOW_S, false),
            ("none", CLIENT, 0, NOW_S, false),
        ] {
            for (action, body) in [(1, announce(1, 0, 2, -1, 6881)), (2, vec![1; 20])] {
                let bytes = packet(id, action, &body);
                let answer = worker.answer_at(from, &bytes, unix_s).unwrap();
                let answered = answer[3];
                let expected = if accepted { action } else { 3 };
                assert_eq!(u32::from(answered), expected, "{name}, action {action}");
                assert!(accepted || answer.len() <= bytes.len(), "{name}: a longer answer");
            }
        }
        assert_eq!(worker.count(Counter::WrongConnectionId), 10, "refused ids");
        assert_eq!(worker.count(Counter::AnnounceUdpV4), 3, "announces of accepted ids alone");
    }

    #[test]
    fn nobody_without_an_id_gets_more_than_he_sent() {
        let mut worker = worker(|_| ());
        let mut rng = fastrand::Rng::with_seed(harness::SEED);
        for _ in 0..20_000 {
            let mut bytes = vec![0; rng.usize(..200)];
            rng.fill(&mut bytes);
            if rng.bool() && bytes.len() > 16 {
                bytes[8..12].copy_from_slice(&rng.u32(..5).to_be_bytes());
            }
            if rng.bool() && bytes.len() > 16 {
                bytes[..8].copy_from_slice(&PROTOCOL_ID.to_be_bytes());
            }
            let answer = worker.answer(CLIENT, &bytes).unwrap_or_default();
            assert!(answer.len() <= bytes.len(), "{bytes:?} is answered by {answer:?}");
            assert!(answer.is_empty() || [0, 3].contains(&answer[3]), "{bytes:?}: {answer:?}");
        }
        assert_eq!(worker.count(Counter::AnnounceUdpV4), 0, "somebody has guessed an id");
        assert!(worker.count(Counter::NoRequest) > 0 && worker.count(Counter::ConnectV4) > 0);
        assert_eq!(worker.site.tracker.store().totals().peers(), 0, "nobody is entered");
    }

    #[test]
    fn options_of_any_kind_refuse_nothing() {
        let mut worker = worker(|_| ());
        for options in ["", "00", "01", "0203612f62", "02ff61", "0209", "ff0161", "0101010200"] {
            let options = HEXLOWER.decode(options.as_bytes()).unwrap();
            let body = [announce(1, 0, 2, -1, 6881), options].concat();
            let answer = worker.answer_to(CLIENT, 1, &body);
            assert_eq!(answer, "00000001deadbeef000007080000000000000001", "{body:?}");
        }
    }
}
