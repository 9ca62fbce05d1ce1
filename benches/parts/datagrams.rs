//! Datagrams to requests, requests to answers, and connection ids: what UDP has of its own.

use std::hint::black_box;
use std::net::IpAddr;

use announced::frontend::ConnectionIds;
use announced::ids::Family;
use announced::secrets::Secret;
use announced::wire::udp::{
    ConnectionId, HASHES_PER_PACKET_MAX, PROTOCOL_ID, PeersAnswer, Request, ScrapedCounts,
    TransactionId, announce_answer, connect_answer, parse, scrape_answer,
};
use criterion::{Criterion, Throughput};

/// What libtorrent 2.0.8 sends between head and option, but for hash and peer id.
const FIELDS: [u8; 42] = *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x86\xa0\0\0\0\0\0\0\0\0\
                            \0\0\0\x02\0\0\0\0\x5b\x59\xd2\x81\0\0\0\xc8\x4e\x22";
const TRANSACTION: TransactionId = TransactionId(0x7a31_f00d);
const NOW_S: u64 = 1_700_000_040;

pub(crate) fn bench(criterion: &mut Criterion) {
    packets(criterion);
    answers(criterion);
    connection_ids(criterion);
}

fn packet(connection_id: u64, action: u32, body: &[u8]) -> Vec<u8> {
    let head = [&connection_id.to_be_bytes()[..], &action.to_be_bytes()];
    [&head.concat(), &TRANSACTION.0.to_be_bytes()[..], body].concat()
}

/// From the bytes of a packet to all it says, hashes and options included.
fn read(packet: &[u8]) -> usize {
    match parse(packet) {
        Ok(Request::Connect { transaction_id }) => black_box(transaction_id.0) as usize,
        Ok(Request::Announce { announce, options, .. }) => {
            black_box(announce).is_ok() as usize + black_box(options).count()
        }
        Ok(Request::Scrape { hashes, .. }) => {
            hashes.iter().fold(0, |sum, hash| sum + usize::from(black_box(hash).0[0]))
        }
        Err(_) => 0,
    }
}

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("datagrams/packet");
    let announce = [&[7; 20][..], b"-LT2080-EXuLFbgw!r!_", &FIELDS].concat();
    let with_option = [&announce[..], b"\x02\x09/announce"].concat();
    for (name, packet) in [
        ("connect", packet(PROTOCOL_ID, 0, &[])),
        ("announce", packet(1, 1, &announce)),
        ("announce, libtorrent, with its option", packet(1, 1, &with_option)),
        ("scrape of one torrent", packet(1, 2, &[7; 20])),
        ("scrape of 74 torrents", packet(1, 2, &[7; 20 * HASHES_PER_PACKET_MAX])),
    ] {
        group.throughput(Throughput::Bytes(packet.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| read(black_box(&packet))));
    }
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("datagrams/answer");
    let mut out = [0; 2_048];
    group.bench_function("connect", |bencher| {
        let id = ConnectionId(7);
        bencher.iter(|| connect_answer(TRANSACTION, black_box(id), &mut out).is_ok());
    });
    let wire = [7; 242 * 6];
    for peers in [0, 50, 242] {
        let answer = PeersAnswer {
            transaction_id: TRANSACTION,
            interval_s: 1_700,
            leechers: 89,
            seeders: 1_234,
            family: Family::V4,
            peers: &wire[..peers * 6],
        };
        group.bench_function(format!("announce, {peers} peers"), |bencher| {
            bencher.iter(|| announce_answer(black_box(&answer), &mut out).is_ok());
        });
    }
    let counts = ScrapedCounts { seeders: 1_234, completed: 567, leechers: 89 };
    for torrents in [1, HASHES_PER_PACKET_MAX] {
        group.bench_function(format!("scrape, {torrents} torrents"), |bencher| {
            let entries = [counts; HASHES_PER_PACKET_MAX];
            let asked = &entries[..torrents];
            bencher.iter(|| {
                let entries = black_box(asked).iter().copied();
                scrape_answer(TRANSACTION, entries, &mut out).is_ok()
            });
        });
    }
    group.finish();
}

fn connection_ids(criterion: &mut Criterion) {
    let Ok(secret) = Secret::random() else { return };
    let ids = ConnectionIds::of(&secret);
    let client = IpAddr::from([192, 0, 2, 7]);
    let id = ids.make(client, NOW_S);
    let mut group = criterion.benchmark_group("datagrams/connection id");
    group.bench_function("make", |bencher| bencher.iter(|| ids.make(black_box(client), NOW_S)));
    group.bench_function("check", |bencher| {
        bencher.iter(|| ids.accepts(black_box(id), client, NOW_S));
    });
    group.finish();
}
