//! Who is asking: the client of one request, behind whatever proxies there are.
//!
//! Owns: which word is believed. A connection from a trusted network is a proxy's, and its request
//! names the client in the one header that the settings name. A request whose header is missing or
//! cannot be read comes from nobody that is known. From all other connections no header means
//! anything. Beside that, what an operator should know of and does not see: each is said once.
//!
//! Never: keeps an address from one request to the next: a proxy's connection brings many clients.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::ProxyPolicy;
use crate::counters::Counter;
use crate::ids::is_private;
use crate::tracker::{Client, Round};
use crate::wire::forwarded;
use crate::wire::http::head::Head;

/// What has been said already.
#[derive(Default)]
pub(in crate::frontend) struct ProxyHints {
    unlisted_proxy: AtomicBool,
    unknown_client: AtomicBool,
    one_private_address: AtomicBool,
}

/// The client of a request that came over a connection from `connection`.
pub(in crate::frontend) fn of_request(
    head: &Head<'_>,
    connection: Client,
    hints: &ProxyHints,
    round: &mut Round<'_>,
) -> Client {
    let proxies = &round.live.proxies;
    if head.proxied {
        hints.note_forwarded(connection, proxies);
    }
    if proxies.trusted.is_empty() {
        return connection;
    }
    behind_proxy(head, connection, hints, round)
}

#[inline(never)]
fn behind_proxy(
    head: &Head<'_>,
    connection: Client,
    hints: &ProxyHints,
    round: &mut Round<'_>,
) -> Client {
    let ProxyPolicy { trusted, header } = &round.live.proxies;
    let mut client = connection;
    if client.is_known && trusted.contain(client.ip) {
        let lines = forwarded::lines(head.bytes, header);
        match forwarded::client(lines, |ip| trusted.contain(ip)) {
            Some(ip) => client.ip = ip,
            None => client.is_known = false,
        }
    }
    if !client.is_known {
        round.scratch.counters.count(Counter::UnknownClient);
        hints.note_unknown(connection.ip, header);
    }
    client
}

impl ProxyHints {
    #[cold]
    fn note_forwarded(&self, connection: Client, proxies: &ProxyPolicy) {
        let ip = connection.ip;
        let unlisted = connection.is_known && is_private(ip) && !proxies.trusted.contain(ip);
        if unlisted && !self.unlisted_proxy.swap(true, Ordering::Relaxed) {
            log::warn!(
                "a connection from {ip} brings a proxy's header, but server.trusted_proxies does \
                 not list it: all clients behind it are taken for {ip}"
            );
        }
    }

    #[cold]
    fn note_unknown(&self, proxy: IpAddr, header: &str) {
        if !self.unknown_client.swap(true, Ordering::Relaxed) {
            log::warn!(
                "the proxy {proxy} does not say who is asking: {header} is missing or cannot be \
                 read, so such peers are answered and not stored"
            );
        }
    }

    /// Nearly all announces come from one private address.
    #[cold]
    pub(in crate::frontend) fn note_one_private_address(&self, ip: IpAddr) {
        if !self.one_private_address.swap(true, Ordering::Relaxed) {
            log::warn!(
                "nearly all announces come from {ip}: if that is a proxy which adds no header, all \
                 its clients are taken for one; let it send PROXY protocol, or a header, and list \
                 it in server.trusted_proxies"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Networks;
    use crate::ids::{Millis, Ticket};
    use crate::tests::harness;
    use crate::wire::http::request::{Parsed, parse};

    fn networks(texts: &[&str]) -> Networks {
        texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>().into()
    }

    fn client_of(connection: &str, headers: &str, header: &str) -> Option<String> {
        let mut live = harness::live(harness::policy());
        live.proxies.trusted = networks(&["127.0.0.1/32", "10.0.0.0/8"]);
        header.clone_into(&mut live.proxies.header);
        let mut scratch = harness::scratch(harness::SEED);
        let mut round =
            Round { now: Millis(0), live: &live, closing: false, scratch: &mut scratch };
        let request = format!("GET /announce HTTP/1.1\r\n{headers}\r\n\r\n");
        let Ok(Parsed::Complete { head, .. }) = parse(request.as_bytes(), 8_192) else {
            panic!("no request: {request}")
        };
        let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
        let connection = Client { ip: connection.parse().unwrap(), is_known: true, ticket };
        let client = of_request(&head, connection, &ProxyHints::default(), &mut round);
        client.is_known.then(|| client.ip.to_string())
    }

    #[test]
    fn only_a_trusted_proxys_word_counts_and_only_in_the_named_header() {
        const FORWARDED_FOR: &str = "X-Forwarded-For";
        let rows = [
            ("127.0.0.1", "X-Forwarded-For: 198.51.100.7", FORWARDED_FOR, Some("198.51.100.7")),
            (
                "127.0.0.1",
                "X-Forwarded-For: 9.9.9.9, 198.51.100.7",
                FORWARDED_FOR,
                Some("198.51.100.7"),
            ),
            (
                "127.0.0.1",
                "X-Forwarded-For: 9.9.9.9, 198.51.100.7, 10.0.0.1",
                FORWARDED_FOR,
                Some("198.51.100.7"),
            ),
            ("127.0.0.1", "X-Forwarded-For: 10.0.0.3, 10.0.0.1", FORWARDED_FOR, Some("10.0.0.3")),
            ("127.0.0.1", "X-Real-IP: 198.51.100.7", FORWARDED_FOR, None),
            ("127.0.0.1", "X-Forwarded-For: unknown", FORWARDED_FOR, None),
            ("127.0.0.1", "Host: tracker.example", FORWARDED_FOR, None),
            (
                "127.0.0.1",
                "X-Forwarded-For: 9.9.9.9\r\nX-Real-IP: 198.51.100.7",
                "X-Real-IP",
                Some("198.51.100.7"),
            ),
            ("10.1.2.3", "Forwarded: for=\"[2001:db8::7]:4711\"", "Forwarded", Some("2001:db8::7")),
            ("192.168.0.1", "X-Forwarded-For: 198.51.100.7", FORWARDED_FOR, Some("192.168.0.1")),
            ("203.0.113.9", "X-Forwarded-For: 198.51.100.7", FORWARDED_FOR, Some("203.0.113.9")),
        ];
        for (connection, headers, header, expected) in rows {
            let client = client_of(connection, headers, header);
            assert_eq!(client.as_deref(), expected, "{connection}: {headers}, by {header}");
        }
    }
}
