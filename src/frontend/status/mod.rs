//! What an operator and a site see of the tracker: `/metrics`, `/health`, `/stats.json`, and a page
//! that draws them.
//!
//! Owns: which path is which page, and who may ask: only somebody who names the tracker by an
//! address, by `localhost` or by a name that the operator lists. A browser that was led here by
//! another site's name (DNS rebinding) is refused.
//!
//! Never: reached from the public listeners, or called by a worker: pages are made by the threads
//! of `server::admin`; the line of counters for the log by the main thread.

mod history;
mod line;
mod metrics;
mod process;
mod vitals;

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use crate::frontend::status::history::History;
use crate::frontend::status::line::LastLine;
use crate::frontend::status::metrics::Metrics;
use crate::frontend::status::vitals::Vitals;
use crate::wire::forwarded;
use crate::wire::http::head::{Head, Method};

pub use vitals::Source;

/// Requests of at most so many bytes.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;

const PAGE: &str = include_str!("page.html");
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What is answered.
#[derive(Debug)]
pub struct Page {
    status: &'static str,
    content_type: &'static str,
    body: String,
    head_only: bool,
}

/// The pages of one tracker.
pub struct Status {
    source: Arc<Source>,
    metrics: Metrics,
    history: Mutex<History>,
    last_line: Mutex<LastLine>,
    /// Names under which it may be asked, beside addresses and `localhost`.
    hosts: Vec<String>,
}

impl Status {
    /// The pages of `source`, which also answer under the names `hosts`.
    pub fn new(source: Source, hosts: Vec<String>) -> Status {
        let source = Arc::new(source);
        let metrics = Metrics::new(Arc::clone(&source));
        Status { source, metrics, history: Mutex::default(), last_line: Mutex::default(), hosts }
    }

    /// A second has gone by.
    pub fn sample(&self) {
        self.history.lock().sample(self.source.counters.requests());
    }

    /// Whether every worker has finished a round lately.
    pub fn is_going_round(&self) -> bool {
        self.source.workers_alive() == self.source.workers
    }

    /// The line of counters for the log.
    pub fn report(&self) -> String {
        let vitals = self.source.read();
        self.last_line.lock().next(&vitals, self.source.now())
    }

    /// Answers one request; the connection closes then.
    pub fn answer(&self, head: &Head<'_>) -> Page {
        let page = match head.method {
            Method::Get | Method::Head if self.is_asked_by_name(head) => self.page(head.target),
            Method::Get | Method::Head => Page::text(
                "403 Forbidden",
                "ask by address, by localhost, or by a name that admin.hosts lists\n",
            ),
            Method::Options | Method::Other => Page::text("405 Method Not Allowed", "use GET\n"),
        };
        Page { head_only: head.method == Method::Head, ..page }
    }

    /// Answers what is no request.
    pub fn fault(&self) -> Page {
        Page::text("400 Bad Request", "this is no HTTP request\n")
    }

    fn page(&self, target: &[u8]) -> Page {
        match target.split(|byte| *byte == b'?').next().unwrap_or_default() {
            b"/" => Page::ok("text/html; charset=utf-8", PAGE.to_owned()),
            b"/metrics" => Page::ok(metrics::CONTENT_TYPE, self.metrics.page()),
            b"/health" => self.health(),
            b"/stats.json" => Page::ok(JSON, self.stats()),
            _ => Page::text("404 Not Found", "there is /, /metrics, /health and /stats.json\n"),
        }
    }

    fn health(&self) -> Page {
        let vitals = self.source.read();
        let status = if vitals.is_healthy() { "200 OK" } else { "503 Service Unavailable" };
        let body = json!({
            "healthy": vitals.is_healthy(),
            "workers": vitals.workers,
            "workers_alive": vitals.workers_alive,
            "database": database(&vitals),
            "unwritten_batches": vitals.registry.unwritten_batches,
        });
        Page { status, ..Page::ok(JSON, format!("{body}\n")) }
    }

    fn stats(&self) -> String {
        let vitals = self.source.read();
        let history = self.history.lock();
        let totals = &vitals.totals;
        let counts: serde_json::Map<_, _> = vitals
            .counters
            .by_name()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        let body = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "mode": vitals.mode.to_string(),
            "uptime_s": vitals.uptime_s,
            "torrents": totals.torrents,
            "listed": vitals.registry.listed,
            "peers": totals.peers(),
            "peers_max": vitals.peers_max,
            "seeders": { "ipv4": totals.seeders_v4, "ipv6": totals.seeders_v6 },
            "leechers": { "ipv4": totals.leechers_v4, "ipv6": totals.leechers_v6 },
            "completed": vitals.completed,
            "not_stored": vitals.not_stored,
            "requests_per_s": history.latest(),
            "history": history.per_second().collect::<Vec<_>>(),
            "connections": vitals.counters.gauge(crate::counters::Gauge::OpenConnections),
            "workers": vitals.workers,
            "workers_alive": vitals.workers_alive,
            "database": database(&vitals),
            "unwritten_batches": vitals.registry.unwritten_batches,
            "counters": counts,
        });
        format!("{body}\n")
    }

    /// Whether the Host header is an address, `localhost`, or a listed name. Without one, as
    /// HTTP/1.0 allows, it was no browser that was led astray.
    fn is_asked_by_name(&self, head: &Head<'_>) -> bool {
        let mut lines = forwarded::lines(head.bytes, "host");
        let Some(line) = lines.next() else { return true };
        let Ok(host) = str::from_utf8(line) else { return false };
        let host = without_port(host.trim());
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if !host[at..].contains(']') => &host[..at],
        _ => host,
    }
}

fn database(vitals: &Vitals) -> serde_json::Value {
    match vitals.away_s {
        None => json!({ "up": true }),
        Some(away_s) => json!({ "up": false, "away_s": away_s }),
    }
}

impl Page {
    fn ok(content_type: &'static str, body: String) -> Page {
        Page { status: "200 OK", content_type, body, head_only: false }
    }

    fn text(status: &'static str, text: &str) -> Page {
        Page { status, ..Page::ok(TEXT, text.to_owned()) }
    }

    /// The bytes of the whole answer. The page may load nothing from anywhere else, and may not be
    /// shown inside another's.
    pub fn bytes(&self) -> Vec<u8> {
        let Page { status, content_type, body, head_only } = self;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
             script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
             frame-ancestors 'none'\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), if *head_only { b"" } else { body.as_bytes() }].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::harness;
    use crate::wire::http::request::{Parsed, parse};

    fn ask(status: &Status, request: &str) -> String {
        let Ok(Parsed::Complete { head, .. }) = parse(request.as_bytes(), REQUEST_BYTES_MAX) else {
            panic!("no request: {request}");
        };
        String::from_utf8(status.answer(&head).bytes()).unwrap()
    }

    #[test]
    fn only_who_names_it_rightly_is_answered() {
        let status = harness::status(&harness::Site::new(harness::policy()));
        for (host, answered) in [
            ("127.0.0.1:6970", true),
            ("127.0.0.1", true),
            ("[::1]:6970", true),
            ("[::1]", true),
            ("localhost:6970", true),
            ("LocalHost", true),
            ("stats.example", true),
            ("Stats.Example:80", true),
            ("evil.example:6970", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:6970", false),
            ("", false),
            ("\u{fc}", false),
        ] {
            let request = format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let answer = ask(&status, &request);
            let expected = if answered { "HTTP/1.1 200 " } else { "HTTP/1.1 403 " };
            assert!(answer.starts_with(expected), "Host: {host}: {answer}");
        }
        let answer = ask(&status, "GET /health HTTP/1.0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 "), "no Host at all: {answer}");
    }

    #[test]
    fn each_path_has_its_page() {
        let status = harness::status(&harness::Site::new(harness::policy()));
        for (request, begin, holds) in [
            ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "</html>"),
            ("GET /?x HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "</html>"),
            ("GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "announced_build_info{version="),
            ("GET /health HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "\"healthy\":true"),
            ("GET /stats.json HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "\"peers\":0"),
            ("GET /announce HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", "there is /"),
            ("POST / HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ", "use GET"),
            ("HEAD /health HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ", "\r\n\r\n"),
        ] {
            let answer = ask(&status, request);
            assert!(answer.starts_with(begin) && answer.contains(holds), "{request}: {answer}");
        }
        let answer = ask(&status, "HEAD /health HTTP/1.1\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\n"), "a body after HEAD: {answer}");
    }

    #[test]
    fn a_worker_that_hangs_is_no_health() {
        let site = harness::Site::new(harness::policy());
        let counters = crate::counters::Counters::default();
        let worker = counters.local();
        let epoch = std::time::Instant::now().checked_sub(std::time::Duration::from_secs(60));
        let source = Source {
            tracker: Arc::clone(&site.tracker),
            counters,
            workers: 1,
            live: crate::config::LiveSettings::new(site.live.clone()),
            epoch: epoch.unwrap(),
        };
        let status = Status::new(source, Vec::new());
        let answer = ask(&status, "GET /health HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 503 "), "a worker is silent: {answer}");
        worker.note_round(status.source.now());
        let answer = ask(&status, "GET /health HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 "), "it goes round again: {answer}");
    }
}
