//! The story of one announce.
//!
//! [`Tracker::announce`] is all of it when the torrent is known: the policy is applied, the swarm
//! is asked. A torrent without a swarm is the registry's matter first; what the registry does not
//! know waits for the database.
//!
//! Owns: which listings are served (open and registered mode), and what is done without a word from
//! the database: what it said last counts, however old. Where it never said a word, an open tracker
//! serves, and a registered one asks to come back.

use std::sync::Arc;

use crate::config::{Live, Mode, Rate};
use crate::counters::Counter;
use crate::ids::{Crypto, Event, PeerAddr, Ticket};
use crate::listing::{self, Listing, Verdict};
use crate::registry::{Completion, LookupError, Registry};
use crate::swarm::{Announced, Announcement, Counts, Moment, Newcomer, Store};
use crate::tracker::address;
use crate::tracker::outcome::{Outcome, ServedAnnounce, Waiting};
use crate::tracker::rates::{Rates, Strictness};
use crate::tracker::round::{Client, Round};
use crate::wire::announce::Announce;
use crate::wire::failure::Failure;

/// Swarms and registry; shared by all workers.
pub struct Tracker {
    pub(in crate::tracker) store: Arc<Store>,
    pub(in crate::tracker) registry: Arc<Registry>,
    rates: Rates,
}

impl Tracker {
    /// A tracker over its swarms and its registry.
    pub fn new(store: Arc<Store>, registry: Arc<Registry>) -> Tracker {
        Tracker { store, registry, rates: Rates::default() }
    }

    /// The swarms.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The registry.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// How often each address has asked lately.
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Answers one announce.
    #[inline]
    pub fn announce(&self, announce: &Announce, client: Client, round: &mut Round<'_>) -> Outcome {
        if let Some(rate) = round.live.rates.announces
            && self.is_over(rate, announce, client, round)
        {
            return Outcome::Refused(Failure::TooOften, None);
        }
        let announcement = apply_policy(announce, client, round.live);
        match self.store.announce(
            &announcement,
            moment(round),
            &mut round.scratch.rng,
            &mut round.scratch.chosen,
        ) {
            Announced::Served(counts) => Outcome::Served(served(counts, &announcement, round)),
            Announced::Stale => self.wait(Waiting { announcement }, client.ticket, round),
            Announced::Absent => {
                self.announce_first(Waiting { announcement }, client.ticket, round)
            }
        }
    }

    /// Whether an announce is one too many of its address. An address that is not the client's is
    /// not held to account.
    #[cold]
    fn is_over(&self, rate: Rate, announce: &Announce, of: Client, round: &Round<'_>) -> bool {
        let strictness = match announce.event {
            Event::Stopped | Event::Completed => Strictness::Patient,
            _ => Strictness::Plain,
        };
        of.is_known && !self.rates.announces.take(of.ip, rate, strictness, round.now)
    }

    /// Answers an announce for a torrent without a swarm, if the registry knows of it.
    fn announce_first(&self, waiting: Waiting, ticket: Ticket, round: &mut Round<'_>) -> Outcome {
        match self.registry.peek(&waiting.announcement.info_hash, round.now) {
            Some(verdict) => self.announce_as(verdict, &waiting.announcement, round),
            None => self.wait(waiting, ticket, round),
        }
    }

    /// Answers an announce for a torrent whose listing is known.
    fn announce_as(
        &self,
        verdict: Verdict,
        announcement: &Announcement,
        round: &mut Round<'_>,
    ) -> Outcome {
        if verdict.listing == Listing::Banned {
            return self.refuse_banned(announcement);
        }
        if !served_listings(round.live).contains(verdict.listing) {
            return Outcome::Refused(Failure::NotRegistered, None);
        }
        let newcomer = Newcomer { announce: announcement, verdict };
        match self.store.enter(
            &newcomer,
            moment(round),
            &mut round.scratch.rng,
            &mut round.scratch.chosen,
        ) {
            Some(counts) => Outcome::Served(served(counts, announcement, round)),
            None => self.refuse_banned(announcement),
        }
    }

    fn refuse_banned(&self, announcement: &Announcement) -> Outcome {
        let record = self.registry.last_known(&announcement.info_hash);
        let banned = record.filter(|record| record.listing == Listing::Banned);
        Outcome::Refused(Failure::Banned, banned.and_then(|record| record.text))
    }

    fn wait(&self, waiting: Waiting, ticket: Ticket, round: &mut Round<'_>) -> Outcome {
        let info_hash = &waiting.announcement.info_hash;
        match self.registry.request(info_hash, ticket, round.now) {
            Ok(()) => {
                round.scratch.counters.count(Counter::Parked);
                Outcome::Wait(waiting)
            }
            Err(error) => self.announce_without_record(error, &waiting.announcement, round),
        }
    }

    fn announce_without_record(
        &self,
        error: LookupError,
        announcement: &Announcement,
        round: &mut Round<'_>,
    ) -> Outcome {
        let info_hash = &announcement.info_hash;
        let verdict = match self.registry.last_known(info_hash) {
            // Whoever comes next asks again.
            Some(record) => self.registry.verdict(info_hash, &record, round.now),
            // A swarm that is there knows why it was let in, though the cache has let go of it.
            None if is_registered(round.live)
                && self.store.listing(info_hash).is_none_or(|known| known == Listing::Unlisted) =>
            {
                return Outcome::Refused(temporary(error), None);
            }
            None => self.registry.unasked(round.now),
        };
        self.announce_as(verdict, announcement, round)
    }

    /// Goes on with an announce that waited. An answer that it did not wait for changes nothing.
    pub fn resume(
        &self,
        waiting: Waiting,
        completion: Completion,
        round: &mut Round<'_>,
    ) -> Outcome {
        let announcement = &waiting.announcement;
        if announcement.info_hash != completion.info_hash {
            return Outcome::Wait(waiting);
        }
        match completion.outcome {
            Ok(record) => {
                let fresh_until = round.now.plus(round.live.registry.cache_ttl_ms);
                let verdict = self.registry.verdict(&completion.info_hash, &record, fresh_until);
                self.announce_as(verdict, announcement, round)
            }
            Err(error) => self.announce_without_record(error, announcement, round),
        }
    }

    /// The time of an announce that waited is up: answers without what it waited for.
    pub fn give_up(&self, waiting: &Waiting, round: &mut Round<'_>) -> Outcome {
        round.scratch.counters.count(Counter::GivenUp);
        self.announce_without_record(LookupError::Unavailable, &waiting.announcement, round)
    }
}

fn apply_policy(announce: &Announce, client: Client, live: &Live) -> Announcement {
    let policy = &live.policy;
    let ip = match announce.ip {
        None => client.ip,
        Some(asked) => address::of_announcer(live, client, asked),
    };
    let numwant = match announce.numwant {
        None => policy.numwant_default,
        Some(wanted) => u16::try_from(wanted).unwrap_or(u16::MAX).min(policy.numwant_max),
    };
    Announcement {
        info_hash: announce.info_hash,
        peer: PeerAddr::new(ip, announce.port),
        is_known: client.is_known,
        peer_id: announce.peer_id,
        seeder: announce.seeder,
        event: announce.event,
        crypto: announce.crypto,
        listening: announce.listening() && client.is_known,
        numwant: usize::from(numwant),
        want_ids: !announce.compact && !announce.no_peer_id,
        want_crypto_flags: announce.crypto != Crypto::None && policy.crypto_flags,
    }
}

fn served(counts: Counts, announcement: &Announcement, round: &mut Round<'_>) -> ServedAnnounce {
    let policy = &round.live.policy;
    // Up to a tenth less than asked for spreads clients that started together.
    let spread_s = round.scratch.rng.u32(0..=policy.max_interval_s / 10);
    ServedAnnounce {
        counts,
        interval_s: (policy.max_interval_s - spread_s).max(policy.min_interval_s),
        min_interval_s: policy.min_interval_s,
        // A proxy's own address is nobody's.
        external_ip: (policy.external_ip && announcement.is_known).then(|| announcement.peer.ip()),
    }
}

/// When and by which rules the swarms are asked.
fn moment<'r>(round: &Round<'r>) -> Moment<'r> {
    Moment { now: round.now, limits: &round.live.swarm, served: served_listings(round.live) }
}

pub(in crate::tracker) fn is_registered(live: &Live) -> bool {
    live.policy.mode == Mode::Registered
}

/// `open` mode serves every torrent that is not banned, `registered` mode what the database lists.
pub(in crate::tracker) fn served_listings(live: &Live) -> listing::Served {
    match live.policy.mode {
        Mode::Open => listing::Served::OPEN,
        Mode::Registered => listing::Served::REGISTERED,
    }
}

pub(in crate::tracker) fn temporary(error: LookupError) -> Failure {
    match error {
        LookupError::Unavailable => Failure::Unavailable,
        LookupError::QueueFull => Failure::Busy,
    }
}
