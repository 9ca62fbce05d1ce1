//! The hot path allocates nothing between a read and a write.

use std::net::{IpAddr, Ipv4Addr};

use crate::ids::{Millis, Ticket};
use crate::server::{Connection, Round};
use crate::tests::harness::{self, LIMITS, SEED, policy};
use crate::tracker::{Desk, Outbox, Turn};
use crate::wire::reply::REPLY_BYTES_MAX;

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
    let (tracker, mut desk, mut output) =
        (harness::tracker(policy()), Desk::new(SEED), vec![0; 2 * REPLY_BYTES_MAX]);
    let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
    let mut connection =
        Connection::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), ticket, Millis(0), &LIMITS);
    let requests: Vec<Vec<u8>> = (0..PEERS).map(request).collect();
    let mut announce = |number: usize| {
        let turn =
            Turn { now: Millis(number as u64), desk: &mut desk, out: Outbox::new(&mut output) };
        let mut round = Round { tracker: &tracker, turn, limits: &LIMITS };
        connection.receive(&requests[number % PEERS], &mut round);
        round.turn.out.filled().len()
    };
    // Everybody joins first: that is where memory is taken.
    (0..PEERS).for_each(|number| assert!(announce(number) > 0));
    let mut answer_bytes = 0;
    let allocations = allocation_counter::measure(|| {
        answer_bytes = (PEERS..PEERS + ANNOUNCES).map(&mut announce).sum();
    });
    assert!(answer_bytes > ANNOUNCES * 1_200, "answers of 200 peers: {answer_bytes} bytes");
    assert_eq!((allocations.count_total, allocations.bytes_total), (0, 0));
}
