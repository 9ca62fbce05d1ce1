//! Announces and scrapes over HTTP (BEP 3, 23, 48).
//!
//! Owns: which call of the tracker a request is, how its answer looks (HTTP/1.0, keep-alive,
//! compact or dictionary), and how long each kind of request may wait. A request that waits keeps
//! what its answer will need of that in [`Pending`].
//!
//! Never: finds a request in bytes (`wire::http`), or keeps anything from one request to the next.

use std::sync::Arc;

use crate::config::Live;
use crate::counters::{Counter, Protocol};
use crate::frontend::client_address::{self, ProxyHints};
use crate::frontend::counted;
use crate::frontend::full_scrape::{FullScrape, FullScrapeRequest, LargeBody, Told};
use crate::frontend::output::Output;
use crate::frontend::site_pages;
use crate::ids::Ticket;
use crate::registry::Completion;
use crate::swarm::Chosen;
use crate::tracker::{
    Client, Outcome, Round, Scraped, ServedAnnounce, Tracker, Waiting, WaitingScrape,
};
use crate::wire::announce::Announce;
use crate::wire::failure::Failure;
use crate::wire::http::fault::HttpFault;
use crate::wire::http::head::{Head, Method};
use crate::wire::http::reply::{self, AnnounceReply, FailureReply, Peers};
use crate::wire::http::response::{self, Framing};
use crate::wire::http::route::{Route, route};
use crate::wire::scrape::Hashes;

/// How long a request waits for the full scrape to be made: seconds, with ten million torrents.
const FULL_SCRAPE_MS_MAX: u64 = 30_000;

/// What became of a request.
pub enum Answer {
    /// The answer is in the output.
    Done,
    /// The head of the answer is in the output, this follows it.
    Body(LargeBody),
    /// Another thread has to be waited for, until [`Http::resume`] or [`Http::give_up`].
    Wait {
        /// What is kept until then.
        pending: Box<Pending>,
        /// For how long, milliseconds; one that goes on waiting keeps the time it was given.
        wait_ms: u64,
    },
}

/// A request that waits for another thread.
pub enum Pending {
    /// For the registry's word on the torrent.
    Announce {
        /// The tracker's part of it.
        waiting: Waiting,
        /// The answer is to be compact (BEP 23).
        compact: bool,
        /// How the answer is framed.
        framing: Framing,
    },
    /// For the registry's words on some torrents.
    Scrape {
        /// The tracker's part of it.
        waiting: WaitingScrape,
        /// How the answer is framed.
        framing: Framing,
    },
    /// For the next full scrape to be made.
    FullScrape(FullScrapeRequest),
}

/// What a request may have waited for.
pub enum LateAnswer {
    /// The registry's answer.
    Lookup(Completion),
    /// A full scrape, or why there is none.
    FullScrape(Ticket, Result<LargeBody, Failure>),
}

impl LateAnswer {
    /// Whose it is.
    pub fn ticket(&self) -> Ticket {
        match self {
            LateAnswer::Lookup(completion) => completion.ticket,
            LateAnswer::FullScrape(ticket, _) => *ticket,
        }
    }
}

/// The HTTP frontend; shared by all workers.
pub struct Http {
    tracker: Arc<Tracker>,
    full_scrape: FullScrape,
    request_bytes_max: usize,
    hints: ProxyHints,
}

impl Http {
    /// A frontend of `tracker`, for requests of at most `request_bytes_max` bytes.
    pub fn new(tracker: Arc<Tracker>, full_scrape: FullScrape, request_bytes_max: usize) -> Http {
        Http { tracker, full_scrape, request_bytes_max, hints: ProxyHints::default() }
    }

    /// The tracker behind it.
    pub fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// Bytes of one request: line, headers and blank line.
    pub fn request_bytes_max(&self) -> usize {
        self.request_bytes_max
    }

    /// The next full scrape for a worker.
    pub fn take_full_scrape(&self, worker: u16) -> Option<LateAnswer> {
        self.full_scrape.take(worker).map(|(ticket, body)| LateAnswer::FullScrape(ticket, body))
    }

    /// Answers one request of a connection from `client`, who may be a proxy. Not inlined: what it
    /// holds would be moved about in its caller's frame.
    #[inline(never)]
    pub fn answer(
        &self,
        head: &Head<'_>,
        client: Client,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) -> Answer {
        let framing = Framing::of(head);
        let client = client_address::of_request(head, client, &self.hints, round);
        match head.method {
            Method::Get | Method::Head => {}
            Method::Options => {
                out.write(|buffer| response::options(framing, buffer));
                return Answer::Done;
            }
            Method::Other => return fault(HttpFault::MethodNotAllowed, framing, round, out),
        }
        match route(head.target) {
            Route::Announce(query) => self.announce(query, Asked { client, framing }, round, out),
            Route::Scrape(query) => self.any_scrape(query, (head, client), round, out),
            page => {
                site_pages::answer(page, framing, round, out);
                Answer::Done
            }
        }
    }

    /// Answers what is not HTTP; the connection closes then.
    pub fn fault(&self, what: HttpFault, round: &mut Round<'_>, out: &mut Output<'_>) {
        fault(what, Framing::LAST, round, out);
    }

    fn announce(
        &self,
        query: &[u8],
        asked: Asked,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) -> Answer {
        let Asked { client, framing } = asked;
        let announces = round.count(Counter::announce(Protocol::Http, client.family()));
        let ip = client.is_known.then_some(client.ip);
        if let Some(ip) = round.scratch.recent_announcers.note(ip, announces) {
            self.hints.note_one_private_address(ip);
        }
        match &Announce::parse(query) {
            Ok(announce) => {
                let outcome = self.tracker.announce(announce, client, round);
                answer_announce(outcome, Form { compact: announce.compact, framing }, round, out)
            }
            Err(failure) => refuse(*failure, None, framing, round, out),
        }
    }

    /// A scrape of named torrents, or of all. Not inlined: its hashes take kilobytes of stack.
    #[inline(never)]
    fn any_scrape(
        &self,
        query: &[u8],
        (head, client): (&Head<'_>, Client),
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) -> Answer {
        let framing = Framing::of_scrape(head);
        match Hashes::parse(query) {
            Ok(Some(ref hashes)) => self.scrape(hashes, Asked { client, framing }, round, out),
            Ok(None) => {
                let request = FullScrapeRequest { framing, gzip: head.accepts_gzip() };
                self.full_scrape(request, client, round, out)
            }
            Err(failure) => refuse(failure, None, framing, round, out),
        }
    }

    fn scrape(
        &self,
        hashes: &Hashes,
        asked: Asked,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) -> Answer {
        round.count(Counter::scrape(Protocol::Http, asked.client.family()));
        let scraped = self.tracker.scrape(hashes, asked.client, round);
        self.answer_scrape(scraped, asked.framing, round, out)
    }

    fn answer_scrape(
        &self,
        scraped: Scraped,
        framing: Framing,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) -> Answer {
        match scraped {
            Scraped::Ready(torrents) => {
                let entries = self.tracker.entries(&torrents, round.live);
                let interval_s = round.live.policy.scrape_interval_s;
                out.write(|buffer| reply::scrape(entries, interval_s, framing, buffer));
                Answer::Done
            }
            Scraped::Refused(failure) => refuse(failure, None, framing, round, out),
            Scraped::Wait(waiting) => {
                wait_for_lookup(Pending::Scrape { waiting, framing }, round.live)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn full_scrape(
        &self,
        request: FullScrapeRequest,
        client: Client,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) -> Answer {
        round.count(Counter::full_scrape(client.family()));
        let policy = &round.live.full_scrape;
        match self.full_scrape.request(client, request.gzip, policy, round.now) {
            Told::Ready(body) => send_full_scrape(request, Ok(body), round, out),
            Told::Wait => Answer::Wait {
                pending: Box::new(Pending::FullScrape(request)),
                wait_ms: FULL_SCRAPE_MS_MAX,
            },
            Told::Refused(failure) => refuse(failure, None, request.framing, round, out),
        }
    }

    /// Goes on with a request that waited. An answer that it did not wait for changes nothing: the
    /// time for which it may wait goes on.
    pub fn resume(
        &self,
        pending: Pending,
        late: LateAnswer,
        round: &mut Round<'_>,
        out: &mut Output<'_>,
    ) -> Answer {
        match (pending, late) {
            (Pending::Announce { waiting, compact, framing }, LateAnswer::Lookup(completion)) => {
                let outcome = self.tracker.resume(waiting, completion, round);
                answer_announce(outcome, Form { compact, framing }, round, out)
            }
            (Pending::Scrape { waiting, framing }, LateAnswer::Lookup(completion)) => {
                let scraped = self.tracker.resume_scrape(waiting, completion, round);
                self.answer_scrape(scraped, framing, round, out)
            }
            (Pending::FullScrape(request), LateAnswer::FullScrape(_, body)) => {
                send_full_scrape(request, body, round, out)
            }
            (pending, _) => Answer::Wait { pending: Box::new(pending), wait_ms: 0 },
        }
    }

    /// The time of a request that waited is up: answers without what it waited for.
    pub fn give_up(&self, pending: Pending, round: &mut Round<'_>, out: &mut Output<'_>) -> Answer {
        match pending {
            Pending::Announce { waiting, compact, framing } => {
                let outcome = self.tracker.give_up(&waiting, round);
                answer_announce(outcome, Form { compact, framing }, round, out)
            }
            Pending::Scrape { waiting, framing } => {
                let scraped = self.tracker.give_up_scrape(waiting, round);
                self.answer_scrape(scraped, framing, round, out)
            }
            Pending::FullScrape(request) => {
                round.count(Counter::GivenUp);
                send_full_scrape(request, Err(Failure::Busy), round, out)
            }
        }
    }
}

/// Who asks, and how the answer is framed.
#[derive(Clone, Copy)]
struct Asked {
    client: Client,
    framing: Framing,
}

/// How the answer to an announce looks.
#[derive(Clone, Copy)]
struct Form {
    compact: bool,
    framing: Framing,
}

#[inline(never)]
fn answer_announce(
    outcome: Outcome,
    form: Form,
    round: &mut Round<'_>,
    out: &mut Output<'_>,
) -> Answer {
    let Form { compact, framing } = form;
    match outcome {
        Outcome::Served(served) => {
            let reply = announce_reply(&served, compact, &round.scratch.chosen);
            out.write(|buffer| reply::announce(&reply, framing, buffer));
            Answer::Done
        }
        Outcome::Refused(why, reason) => refuse(why, reason.as_deref(), framing, round, out),
        Outcome::Wait(waiting) => {
            wait_for_lookup(Pending::Announce { waiting, compact, framing }, round.live)
        }
    }
}

fn announce_reply<'c>(
    served: &ServedAnnounce,
    compact: bool,
    chosen: &'c Chosen,
) -> AnnounceReply<'c> {
    let (family, wire) = (chosen.family(), chosen.wire());
    AnnounceReply {
        complete: served.counts.complete,
        incomplete: served.counts.incomplete,
        downloaded: served.counts.downloaded,
        interval_s: served.interval_s,
        min_interval_s: served.min_interval_s,
        external_ip: served.external_ip,
        peers: match compact {
            true => Peers::Compact { family, wire },
            false => Peers::Dictionary { family, wire, ids: chosen.ids() },
        },
        crypto_flags: chosen.crypto_flags(),
    }
}

fn wait_for_lookup(pending: Pending, live: &Live) -> Answer {
    Answer::Wait { pending: Box::new(pending), wait_ms: live.connection_times.lookup_ms }
}

fn send_full_scrape(
    request: FullScrapeRequest,
    body: Result<LargeBody, Failure>,
    round: &mut Round<'_>,
    out: &mut Output<'_>,
) -> Answer {
    let FullScrapeRequest { framing, gzip } = request;
    // After a wait that was given up, what comes may have been made for an earlier request of the
    // same connection.
    let body = match body {
        Ok(body) => body.gzipped_if(gzip),
        Err(failure) => return refuse(failure, None, framing, round, out),
    };
    let bytes = body.bytes().len() as u64;
    out.write(|buffer| response::full_scrape_head(framing, bytes, body.is_gzipped(), buffer));
    if framing.head_only { Answer::Done } else { Answer::Body(body) }
}

fn refuse(
    failure: Failure,
    reason: Option<&str>,
    framing: Framing,
    round: &mut Round<'_>,
    out: &mut Output<'_>,
) -> Answer {
    round.count(counted::of_failure(failure));
    let unregistered_s = round.live.policy.unregistered_interval_s;
    let refusal = FailureReply { failure, reason: reason.map(str::as_bytes), unregistered_s };
    out.write(|buffer| reply::failure(&refusal, framing, buffer));
    Answer::Done
}

fn fault(
    fault: HttpFault,
    framing: Framing,
    round: &mut Round<'_>,
    out: &mut Output<'_>,
) -> Answer {
    round.count(counted::of_fault(fault));
    out.write(|buffer| response::fault(fault, framing, buffer));
    Answer::Done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Millis;
    use crate::tests::harness;

    #[test]
    fn who_did_not_ask_for_gzip_gets_none_even_of_a_copy_made_for_an_earlier_request() {
        let site = harness::Site::new(harness::policy());
        let rows =
            [(true, true, true), (false, true, false), (true, false, false), (false, false, false)];
        for (asked, made, expected) in rows {
            let row = format!("asked {asked}, made {made}");
            let framing = Framing { keep_alive: true, ..Framing::LAST };
            let pending = Pending::FullScrape(FullScrapeRequest { framing, gzip: asked });
            let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
            let late = LateAnswer::FullScrape(ticket, Ok(LargeBody::of(b"de", made)));
            let (mut scratch, mut output) = (harness::scratch(harness::SEED), vec![0; 1_000]);
            let mut out = Output::new(&mut output);
            let mut round = site.round(Millis(0), &mut scratch);
            let answer = site.http.resume(pending, late, &mut round, &mut out);
            let Answer::Body(body) = answer else { panic!("no body: {row}") };
            let head = String::from_utf8_lossy(out.filled()).into_owned();
            assert_eq!(head.contains("gzip"), expected, "{row}: {head}");
            assert_eq!(body.bytes() != b"de", expected, "{row}: the body");
        }
    }
}
