//! What two of each real client are told when they meet: raw request bytes to exact reply bytes.
//!
//! The requests are those of `clients`. Each is sent from 9.9.9.1 and then from 9.9.9.2; the second
//! answer is shown. Two that download find each other; two that have everything, and two that stop,
//! are given nobody.

use crate::tests::clients::requests_by_client;
use crate::tests::story::{Site, exact};

/// The client as `clients` names it, and the answer.
const REPLIES: &[(&str, &str)] = &[
    (
        "qBittorrent starts: lower-case escapes among raw letters",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 113\nConnection: \
         close\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei2e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x1a\\xe1e",
    ),
    (
        "Deluge stops, without metadata and without listening",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 107\nConnection: \
         close\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "libtorrent is paused, behind a passkey, and tells its IPv6 addresses",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 113\nConnection: \
         close\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei2e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x1f\\xaee",
    ),
    (
        "Transmission has only a magnet link: left is 2^63-1, the connection stays",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: \
         113\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei2e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\xc8\\xd5e",
    ),
    (
        "aria2 has finished: an escaped key, the port near the end, an address of its own",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 107\nConnection: \
         close\n\nd8:completei2e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "rTorrent: compact second to last but always, no encryption fields",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: \
         107\n\nd8:completei2e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "anacrolix sorts its keys, and its key is negative",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: \
         113\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei2e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\xa4Ue",
    ),
    (
        "BiglyBT requires encryption: no port but a cryptoport, a broken tail",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 113\nConnection: \
         close\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei2e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x1a\\xe1e",
    ),
    (
        "WebTorrent of old: left is a bare key",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: \
         113\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei2e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x1a\\xe1e",
    ),
    (
        "newTrackon probes: no event, and an address it does not have",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 107\nConnection: \
         close\n\nd8:completei2e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei0e8:intervali9e12:min intervali5e5:peers0:e",
    ),
    (
        "a client of 2004 through a proxy: absolute target, HTTP/1.0, dictionaries, every number \
         negative",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 166\nConnection: \
         close\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei2e8:intervali9e12:min \
         intervali5e5:peersld2:ip7:9.9.9.17:peer id20:bbbbbbbbbbbbbbbbbbbb4:porti6881eeee",
    ),
    (
        "raw bytes where they should be escaped, UTF-8 by chance",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: \
         113\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei2e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x1a\\xe1e",
    ),
    (
        "raw bytes where they should be escaped, not UTF-8",
        "HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 113\nConnection: \
         close\n\nd8:completei0e10:downloadedi0e11:external \
         ip4:\\t\\t\\t\\x0210:incompletei2e8:intervali9e12:min \
         intervali5e5:peers6:\\t\\t\\t\\x01\\x1a\\xe1e",
    ),
];

#[test]
fn two_of_a_kind_are_answered_to_the_byte() {
    assert_eq!(requests_by_client().count(), REPLIES.len());
    for ((client, request), (same_client, expected)) in requests_by_client().zip(REPLIES) {
        let mut site = Site::new(exact());
        site.exchange("9.9.9.1", request);
        assert_eq!(client, *same_client, "the row for {client}");
        assert_eq!(site.exchange("9.9.9.2", request).as_str(), *expected, "the reply to {client}");
    }
}
