//! Requests to values, and values to replies.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use announced::ids::{Family, PeerId};
use announced::wire::announce::Announce;
use announced::wire::http::reply::{self, AnnounceReply, Peers, REPLY_BYTES_MAX};
use announced::wire::http::request::{Parsed, parse};
use announced::wire::http::response::Framing;
use announced::wire::http::route::{Route, route};
use announced::wire::scrape::Hashes;
use criterion::{Criterion, Throughput};

use crate::clients::CLIENTS;

const REQUEST_BYTES_MAX: usize = 8_192;

pub(crate) fn bench(criterion: &mut Criterion) {
    announces(criterion);
    scrapes(criterion);
    replies(criterion);
}

/// From the bytes of a head to the values of its query.
fn read_announce(request: &[u8]) -> bool {
    match parse(request, REQUEST_BYTES_MAX) {
        Ok(Parsed::Complete { head, .. }) => match route(head.target) {
            Route::Announce(query) => black_box(Announce::parse(query)).is_ok(),
            _ => false,
        },
        _ => false,
    }
}

fn announces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/head and query");
    for (client, request) in CLIENTS {
        group.throughput(Throughput::Bytes(request.len() as u64));
        group.bench_function(*client, |bencher| {
            bencher.iter(|| assert!(read_announce(black_box(request))));
        });
    }
    group.finish();
}

fn scrapes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/scrape query");
    for torrents in [1, 60] {
        let hash =
            |torrent: u8| format!("info_hash={}", format!("%{:02X}", torrent | 0x80).repeat(20));
        let query = (0..torrents).map(hash).collect::<Vec<_>>().join("&");
        group.throughput(Throughput::Elements(u64::from(torrents)));
        group.bench_function(format!("Transmission, {torrents} torrents"), |bencher| {
            bencher.iter(|| black_box(Hashes::parse(black_box(query.as_bytes()))).is_ok());
        });
    }
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire/reply");
    let framing = Framing { keep_alive: true, ..Framing::LAST };
    let (wire, ids, mut out) =
        ([7; 200 * 6], [PeerId(*b"-qB4650-EXuLFbgw!r!_"); 200], vec![0; REPLY_BYTES_MAX]);
    for peers in [0, 50, 200] {
        let (family, wire) = (Family::V4, &wire[..peers * 6]);
        let forms = [
            ("compact", Peers::Compact { family, wire }),
            ("dictionary", Peers::Dictionary { family, wire, ids: Some(&ids[..peers]) }),
        ];
        for (form, peers_of_form) in forms {
            let answer = AnnounceReply {
                complete: 1_234,
                downloaded: 567,
                incomplete: 89,
                interval_s: 1_700,
                min_interval_s: 900,
                external_ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
                peers: peers_of_form,
                crypto_flags: None,
            };
            let bytes = reply::announce(&answer, framing, &mut out).unwrap_or(0);
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(format!("{form}, {peers} peers"), |bencher| {
                bencher.iter(|| reply::announce(black_box(&answer), framing, &mut out).is_ok());
            });
        }
    }
    group.finish();
}
