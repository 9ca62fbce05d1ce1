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

use crate::config::Live;
use crate::counters::Counter;
use crate::frontend::connection_id::ConnectionIds;
use crate::ids::{Family, InfoHash};
use crate::registry::Completion;
use crate::tracker::{
    Client, Outcome, Round, Scraped, ServedAnnounce, Tracker, Waiting, WaitingScrape,
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
        Family::of(self.client.ip)
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
                round.scratch.counters.count(Counter::Connect);
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
                round.scratch.counters.count(Counter::NoRequest);
                Reply::Nothing
            }
        }
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
        round.scratch.counters.count(Counter::Announce);
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
        round.scratch.counters.count(Counter::Scrape);
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
                family: Family::of(client.ip),
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
    round.scratch.counters.count(Counter::Refused);
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
    round.scratch.counters.count(Counter::WrongConnectionId);
    let text = CONNECTION_ID_INVALID.as_bytes();
    written(error_answer(asked.transaction_id, &[text], packet.bytes.len(), out))
}

fn written(written: Result<usize, Full>) -> Reply {
    debug_assert!(written.is_ok(), "an answer did not fit its room");
    written.map_or(Reply::Nothing, Reply::Ready)
}
