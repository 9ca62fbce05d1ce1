//! The announce story and the site's policy.
//!
//! Owns: what a request means here (which torrents are served, whose address is believed, how many
//! peers are handed out), in which order the layers below are asked, and what waits when the
//! registry has to ask the database. No I/O: a reply is written into an [`Outbox`], time is an
//! argument, and a request that cannot be answered yet becomes a [`Parked`] value that the
//! connection keeps.
//!
//! Never: reads a socket or a clock, or allocates on the way of an announce whose torrent is known.
//!
//! [`Tracker::answer`] leads to one of three stories: `Tracker::announce` here, scrapes in
//! `scrape`, full scrapes in `full_scrape`.

mod address;
mod full_scrape;
mod outbox;
mod scrape;
mod tally;

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Networks;
use crate::ids::{Crypto, Millis, PeerAddr, Ticket};
use crate::registry::{self, LookupError, Mailboxes, Registry, Standing};
use crate::swarm::{Announced, Announcement, Chosen, Counts, Newcomer, Store, Verdict};
use crate::wire::announce::{Announce, AnnounceQuery};
use crate::wire::failure::{Failure, UNREGISTERED_RETRY_S};
use crate::wire::frame::{self, Framing};
use crate::wire::head::{Head, Method};
use crate::wire::http::{self, HttpFault, Route};
use crate::wire::reply::{self, AnnounceReply, FailureReply, Peers};

pub use full_scrape::{
    FullScrape, LargeBody, Request as FullScrapeRequest, Settings as FullScrapeSettings,
};
pub use outbox::Outbox;
pub use tally::{Tallied, Tally};

use scrape::ParkedScrape;

/// The site's policy, from the settings file.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Only torrents that the registry lists (`registered` mode); otherwise all but the banned.
    pub registered_only: bool,
    /// Clients are asked back after at most this, seconds.
    pub max_interval_s: u32,
    /// Clients are asked not to come back sooner, seconds.
    pub min_interval_s: u32,
    /// Peers handed out when the client names no number.
    pub numwant_default: u16,
    /// Peers handed out at most.
    pub numwant_max: u16,
    /// Whether answers carry `external ip` (BEP 24).
    pub external_ip: bool,
    /// Networks from which the `ip` parameter is believed.
    pub ip_parameter: Networks,
    /// Whether answers carry `crypto_flags` when asked for.
    pub crypto_flags: bool,
    /// Peer ids are stored, and part of dictionary answers.
    pub peer_ids: bool,
    /// Clients are asked not to scrape again sooner, seconds.
    pub scrape_interval_s: u32,
}

/// Swarms, registry and policy; shared by all workers.
pub struct Tracker {
    policy: Policy,
    store: Arc<Store>,
    registry: Arc<Registry>,
    lookups: Mailboxes<registry::Completion>,
    full_scrape: FullScrape,
}

/// What one worker keeps for itself: nothing here is shared or locked.
pub struct Desk {
    rng: fastrand::Rng,
    chosen: Box<Chosen>,
    /// What this worker has answered.
    pub tally: Tally,
}

impl Desk {
    /// A desk whose choices follow from `seed`.
    pub fn new(seed: u64) -> Desk {
        Desk {
            rng: fastrand::Rng::with_seed(seed),
            chosen: Box::default(),
            tally: Tally::default(),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The address of the connection, IPv4-mapped ones as IPv4.
    pub ip: IpAddr,
    /// Where a late answer goes.
    pub ticket: Ticket,
}

/// What became of a request.
pub enum Answer {
    /// The reply is in the outbox.
    Done,
    /// The head of the reply is in the outbox, this follows it.
    Body(LargeBody),
    /// Another thread has to be waited for; [`Tracker::resume`] or [`Tracker::give_up`] goes on
    /// from here.
    Wait(Box<Parked>),
}

/// A request that waits for another thread.
pub enum Parked {
    /// For the registry's word on the torrent.
    Announce(ParkedAnnounce),
    /// For the registry's words on some torrents.
    Scrape(ParkedScrape),
    /// For the next full scrape to be made.
    FullScrape(FullScrapeRequest),
}

/// What a parked request may have waited for.
pub enum Completion {
    /// The registry's answer.
    Lookup(registry::Completion),
    /// A full scrape, or the lack of one.
    FullScrape(Ticket, Option<LargeBody>),
}

impl Completion {
    /// Whose it is.
    pub fn ticket(&self) -> Ticket {
        match self {
            Completion::Lookup(completion) => completion.ticket,
            Completion::FullScrape(ticket, _) => *ticket,
        }
    }
}

/// An announce with the policy applied: all that is needed to answer it, and nothing borrowed.
#[derive(Clone, Copy)]
pub struct ParkedAnnounce {
    announcement: Announcement,
    compact: bool,
    framing: Framing,
}

/// One worker's turn: what answering takes beside the tracker itself.
pub struct Turn<'t> {
    /// The time of this round.
    pub now: Millis,
    /// The worker's own.
    pub desk: &'t mut Desk,
    /// Where replies go.
    pub out: Outbox<'t>,
}

impl Tracker {
    /// A tracker over its swarms and its registry, whose answers come back through `lookups`.
    pub fn new(
        policy: Policy,
        store: Arc<Store>,
        registry: Arc<Registry>,
        lookups: Mailboxes<registry::Completion>,
        full_scrape: FullScrape,
    ) -> Tracker {
        Tracker { policy, store, registry, lookups, full_scrape }
    }

    /// The swarms.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The next answer for a worker from the registry or from the maker of full scrapes.
    pub fn next_completion(&self, worker: u16) -> Option<Completion> {
        let lookup = self.lookups.take(worker).map(Completion::Lookup);
        lookup.or_else(|| {
            self.full_scrape.take(worker).map(|(ticket, body)| Completion::FullScrape(ticket, body))
        })
    }

    /// Answers one request.
    pub fn answer(&self, head: &Head<'_>, client: Client, turn: &mut Turn<'_>) -> Answer {
        match head.method {
            Method::Get | Method::Head => {}
            Method::Options => {
                turn.out.write(|buffer| frame::options(Framing::of(head), buffer));
                return Answer::Done;
            }
            Method::Other => {
                return self.fault(HttpFault::MethodNotAllowed, Framing::of(head), turn);
            }
        }
        match http::route(head.target) {
            Route::Announce(query) => self.announce(query, head, client, turn),
            Route::Scrape(query) => self.scrape(query, head, client, turn),
            Route::Index => {
                turn.out.write(|buffer| frame::index(Framing::of(head), buffer));
                Answer::Done
            }
            Route::Robots => {
                turn.out.write(|buffer| frame::robots(Framing::of(head), buffer));
                Answer::Done
            }
            Route::NotFound => self.fault(HttpFault::NotFound, Framing::of(head), turn),
        }
    }

    /// Writes the answer to what is not HTTP, or not for this program.
    pub fn fault(&self, fault: HttpFault, framing: Framing, turn: &mut Turn<'_>) -> Answer {
        turn.desk.tally.count(Tallied::Fault);
        turn.out.write(|buffer| frame::fault(fault, framing, buffer));
        Answer::Done
    }

    fn announce(
        &self,
        query: &[u8],
        head: &Head<'_>,
        client: Client,
        turn: &mut Turn<'_>,
    ) -> Answer {
        turn.desk.tally.count(Tallied::Announce);
        let announce = match AnnounceQuery::parse(query).announce() {
            Ok(announce) => announce,
            Err(failure) => return self.refuse(failure, None, Framing::of(head), turn),
        };
        let request = self.apply_policy(&announce, head, client.ip);
        let Desk { rng, chosen, .. } = &mut *turn.desk;
        match self.store.announce(&request.announcement, turn.now, rng, chosen) {
            Announced::Served(counts) => self.hand_out(counts, &request, turn),
            Announced::Stale => self.park_announce(request, client.ticket, turn),
            Announced::Absent => self.announce_first(request, client.ticket, turn),
        }
    }

    /// Answers an announce for a torrent without a swarm, if the registry has spoken of it.
    fn announce_first(
        &self,
        request: ParkedAnnounce,
        ticket: Ticket,
        turn: &mut Turn<'_>,
    ) -> Answer {
        match self.registry.peek(&request.announcement.info_hash, turn.now) {
            Some((standing, verdict)) => self.announce_as(standing, verdict, &request, turn),
            None => self.park_announce(request, ticket, turn),
        }
    }

    fn apply_policy(
        &self,
        announce: &Announce,
        head: &Head<'_>,
        connection: IpAddr,
    ) -> ParkedAnnounce {
        let ip = address::of_announcer(&self.policy.ip_parameter, connection, announce.ip);
        let numwant = match announce.numwant {
            None => self.policy.numwant_default,
            Some(wanted) => u16::try_from(wanted).unwrap_or(u16::MAX).min(self.policy.numwant_max),
        };
        ParkedAnnounce {
            announcement: Announcement {
                info_hash: announce.info_hash,
                peer: PeerAddr::new(ip, announce.port),
                peer_id: announce.peer_id,
                seeder: announce.seeder,
                event: announce.event,
                crypto: announce.crypto,
                listening: announce.listening(),
                numwant: usize::from(numwant),
                want_ids: !announce.compact && !announce.no_peer_id && self.policy.peer_ids,
                want_crypto_flags: announce.crypto != Crypto::None && self.policy.crypto_flags,
            },
            compact: announce.compact,
            framing: Framing::of(head),
        }
    }

    /// Answers an announce for a torrent whose standing is known.
    fn announce_as(
        &self,
        standing: Standing,
        verdict: Verdict,
        request: &ParkedAnnounce,
        turn: &mut Turn<'_>,
    ) -> Answer {
        match standing {
            Standing::Banned => self.refuse_banned(request, turn),
            Standing::Unknown if self.policy.registered_only => {
                self.refuse(Failure::NotRegistered, None, request.framing, turn)
            }
            Standing::Known | Standing::Unknown => self.serve(verdict, request, turn),
        }
    }

    fn refuse_banned(&self, request: &ParkedAnnounce, turn: &mut Turn<'_>) -> Answer {
        let record = self.registry.last_known(&request.announcement.info_hash);
        let reason = record
            .as_ref()
            .filter(|record| record.standing == Standing::Banned)
            .and_then(|record| record.text.as_deref());
        self.refuse(Failure::Banned, reason, request.framing, turn)
    }

    /// Enters the announcer into a swarm that it may begin.
    fn serve(&self, verdict: Verdict, request: &ParkedAnnounce, turn: &mut Turn<'_>) -> Answer {
        let Desk { rng, chosen, .. } = &mut *turn.desk;
        let newcomer = Newcomer { announce: &request.announcement, verdict };
        match self.store.enter(&newcomer, turn.now, rng, chosen) {
            Some(counts) => self.hand_out(counts, request, turn),
            None => self.refuse_banned(request, turn),
        }
    }

    /// Writes the reply to an announce that has been entered: the counts, and the peers that were
    /// chosen.
    fn hand_out(&self, counts: Counts, request: &ParkedAnnounce, turn: &mut Turn<'_>) -> Answer {
        let Desk { rng, chosen, .. } = &mut *turn.desk;
        let announcement = &request.announcement;
        let (family, wire) = (announcement.peer.family(), chosen.wire());
        let peers = match request.compact {
            true => Peers::Compact { family, wire },
            false => {
                Peers::Dictionary { family, wire, ids: announcement.want_ids.then(|| chosen.ids()) }
            }
        };
        // Up to a tenth less than asked for spreads clients that started together.
        let spread_s = rng.u32(0..=self.policy.max_interval_s / 10);
        let answer = AnnounceReply {
            complete: counts.complete,
            incomplete: counts.incomplete,
            downloaded: counts.downloaded,
            interval_s: (self.policy.max_interval_s - spread_s).max(self.policy.min_interval_s),
            min_interval_s: self.policy.min_interval_s,
            external_ip: self.policy.external_ip.then(|| announcement.peer.ip()),
            peers,
            crypto_flags: announcement.want_crypto_flags.then(|| chosen.crypto_flags()),
        };
        turn.out.write(|buffer| reply::announce(&answer, request.framing, buffer));
        Answer::Done
    }

    fn park_announce(
        &self,
        request: ParkedAnnounce,
        ticket: Ticket,
        turn: &mut Turn<'_>,
    ) -> Answer {
        match self.registry.request(&request.announcement.info_hash, ticket, turn.now) {
            Ok(()) => {
                turn.desk.tally.count(Tallied::Parked);
                Answer::Wait(Box::new(Parked::Announce(request)))
            }
            Err(error) => self.announce_without_record(error, &request, turn),
        }
    }

    /// The registry cannot tell: what it said last counts, however old. Where it never said a word,
    /// an open tracker serves, and a registered one asks to come back.
    fn announce_without_record(
        &self,
        error: LookupError,
        request: &ParkedAnnounce,
        turn: &mut Turn<'_>,
    ) -> Answer {
        let info_hash = &request.announcement.info_hash;
        match self.registry.last_known(info_hash) {
            Some(record) => {
                let verdict = Verdict {
                    fresh_until: turn.now,
                    ..self.registry.verdict(info_hash, &record, turn.now)
                };
                self.announce_as(record.standing, verdict, request, turn)
            }
            // A swarm that is there was let in once, though the cache has let go of why.
            None if self.policy.registered_only && !self.store.holds(info_hash) => {
                self.refuse(temporary(error), None, request.framing, turn)
            }
            None => self.serve(self.registry.unasked(turn.now), request, turn),
        }
    }

    /// Goes on with a parked request. A completion that it did not wait for changes nothing.
    pub fn resume(&self, parked: Parked, completion: Completion, turn: &mut Turn<'_>) -> Answer {
        match (parked, completion) {
            (Parked::Announce(request), Completion::Lookup(lookup))
                if request.announcement.info_hash == lookup.info_hash =>
            {
                match lookup.outcome {
                    Ok(record) => {
                        let verdict = self.registry.verdict(&lookup.info_hash, &record, turn.now);
                        self.announce_as(record.standing, verdict, &request, turn)
                    }
                    Err(error) => self.announce_without_record(error, &request, turn),
                }
            }
            (Parked::Scrape(scrape), Completion::Lookup(lookup)) => {
                self.resume_scrape(scrape, lookup, turn)
            }
            (Parked::FullScrape(request), Completion::FullScrape(_, body)) => {
                self.send_full_scrape(request, body, turn)
            }
            (parked, _) => Answer::Wait(Box::new(parked)),
        }
    }

    /// The parked request's time is up: answers without what it waited for.
    pub fn give_up(&self, parked: Parked, turn: &mut Turn<'_>) -> Answer {
        turn.desk.tally.count(Tallied::GivenUp);
        match parked {
            Parked::Announce(request) => {
                self.announce_without_record(LookupError::Unavailable, &request, turn)
            }
            Parked::Scrape(scrape) => {
                self.scrape_without_records(scrape, LookupError::Unavailable, turn)
            }
            Parked::FullScrape(request) => self.send_full_scrape(request, None, turn),
        }
    }

    fn refuse(
        &self,
        failure: Failure,
        reason: Option<&str>,
        framing: Framing,
        turn: &mut Turn<'_>,
    ) -> Answer {
        turn.desk.tally.count(Tallied::Refused);
        let reason = reason.map(str::as_bytes);
        let refusal = FailureReply { failure, reason, unregistered_s: UNREGISTERED_RETRY_S };
        turn.out.write(|buffer| reply::failure(&refusal, framing, buffer));
        Answer::Done
    }
}

fn temporary(error: LookupError) -> Failure {
    match error {
        LookupError::Unavailable => Failure::Unavailable,
        LookupError::QueueFull => Failure::Busy,
    }
}
