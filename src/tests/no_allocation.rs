//! The hot path allocates nothing between a read and a write.

use std::net::Ipv4Addr;

use crate::frontend::Output;
use crate::ids::Millis;
use crate::server::Conversation;
use crate::tests::harness::{self, SEED, TIMES, policy};
use crate::wire::http::reply::REPLY_BYTES_MAX;

const ANNOUNCES: usize = 10_000;
const PEERS: usize = 500;

/// What qBittorrent sends, kept alive; half are seeders.
fn request(number: usize) -> Vec<u8> {
    let (port, left) = (1_025 + number % PEERS, number % 2);
    format!(
        "GET /announce?info_hash=%02%e9%b0%c8r%1d%80%ff%00%9a%fe%4d%3fr%a3-_.%7e%0a&\
         peer_id=-qB4650-EXuLFbgw!r!_&port={port}&uploaded=0&downloaded=0&left={left}&corrupt=0&\
         key=C87A7012&numwant=200&compact=1&no_peer_id=1&supportcrypto=1&redundant=0 \
         HTTP/1.1\r\nHost: tracker.example:6969\r\nUser-Agent: \
         qBittorrent/4.6.5\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn ten_thousand_keep_alive_announces_allocate_nothing() {
    // An address that may have many peers, and one whose third peer is left out of answers.
    allocate_nothing(Ipv4Addr::new(10, 0, 0, 1), 1_200);
    allocate_nothing(Ipv4Addr::new(192, 0, 2, 1), 100);
}

/// All peers have one address; an answer has so many bytes at least.
fn allocate_nothing(ip: Ipv4Addr, answer_bytes_min: usize) {
    let (site, mut scratch) = (harness::Site::new(policy()), harness::scratch(SEED));
    let mut output = vec![0; 2 * REPLY_BYTES_MAX];
    let mut conversation = Conversation::new(harness::client(ip.into()), Millis(0), &TIMES);
    let requests: Vec<Vec<u8>> = (0..PEERS).map(request).collect();
    let mut announce = |number: usize| {
        let mut out = Output::new(&mut output);
        let mut round = site.round(Millis(number as u64), &mut scratch);
        conversation.receive(&requests[number % PEERS], &site.http, &mut round, &mut out);
        out.filled().len()
    };
    // Everybody joins first: that is where memory is taken.
    (0..PEERS).for_each(|number| assert!(announce(number) > 0));
    let mut answer_bytes = 0;
    let allocations = allocation_counter::measure(|| {
        answer_bytes = (PEERS..PEERS + ANNOUNCES).map(&mut announce).sum();
    });
    assert!(answer_bytes > ANNOUNCES * answer_bytes_min, "answers to {ip}: {answer_bytes} bytes");
    assert_eq!(allocations.count_total, 0, "allocations for {ip}");
    assert_eq!(allocations.bytes_total, 0, "bytes allocated for {ip}");
}
