//! Datagrams: the fast reading is the naive one, and no answer is longer than it may be.

use crate::ids::Family;
use crate::tests::naive_udp::{NaiveOption, NaiveRequest, naive_options, naive_request};
use crate::wire::failure::Failure;
use crate::wire::udp::{
    CONNECTION_ID_INVALID, ConnectionId, HASHES_PER_PACKET_MAX, PacketOption, PacketOptions,
    PeersAnswer, Request, ScrapedCounts, TransactionId, announce_answer, answer_bytes_max,
    connect_answer, error_answer, parse, scrape_answer,
};

/// An announce without options, from an IPv4 client; options follow it in a packet.
const ANNOUNCE: [u8; 98] = {
    let mut packet = [0x2e; 98];
    packet[8] = 0;
    packet[9] = 0;
    packet[10] = 0;
    packet[11] = 1;
    packet
};

/// `packet` is what one datagram carries.
pub fn udp_packet(packet: &[u8]) {
    let read = parse(packet).map(|request| owned(&request));
    assert_eq!(read, naive_request(packet));
    if let Ok(request) = parse(packet) {
        check_answers(&request, packet.len());
    }
}

/// `options` is what follows an announce: whatever it is, the announce is read.
pub fn udp_options(options: &[u8]) {
    let packet = [&ANNOUNCE, options].concat();
    let Ok(Request::Announce { announce, options: walked, .. }) = parse(&packet) else {
        panic!("options made an announce something else");
    };
    let Ok(Request::Announce { announce: alone, .. }) = parse(&ANNOUNCE) else {
        panic!("an announce is no announce");
    };
    assert_eq!(announce, alone, "options changed the announce");
    let found = all(walked);
    assert_eq!(found, naive_options(options));
    let bytes: usize = found.iter().map(|(_, data)| 2 + data.len()).sum();
    assert!(bytes <= options.len(), "{bytes} bytes of options in {}", options.len());
    let mut finished = walked;
    assert_eq!(finished.by_ref().count(), found.len());
    assert_eq!(finished.next(), None, "an option behind the last");
}

fn owned(request: &Request<'_>) -> NaiveRequest {
    match *request {
        Request::Connect { transaction_id: TransactionId(transaction_id) } => {
            NaiveRequest::Connect { transaction_id }
        }
        Request::Announce { connection_id, transaction_id, announce, options } => {
            NaiveRequest::Announce {
                connection_id: connection_id.0,
                transaction_id: transaction_id.0,
                announce,
                options: all(options),
            }
        }
        Request::Scrape { connection_id, transaction_id, hashes } => {
            assert_eq!(hashes.len(), hashes.iter().count());
            assert_eq!(hashes.is_empty(), hashes.iter().next().is_none());
            NaiveRequest::Scrape {
                connection_id: connection_id.0,
                transaction_id: transaction_id.0,
                hashes: hashes.iter().collect(),
            }
        }
    }
}

fn all(options: PacketOptions<'_>) -> Vec<NaiveOption> {
    options
        .map(|option| match option {
            PacketOption::UrlData(data) => (2, data.to_vec()),
            PacketOption::Unknown(kind, data) => (kind, data.to_vec()),
        })
        .collect()
}

/// Whatever the answer is: it fits its packet, repeats the transaction id, and one to an unproven
/// source is no longer than its request.
fn check_answers(request: &Request<'_>, request_bytes: usize) {
    let mut out = [0; 2_048];
    match *request {
        Request::Connect { transaction_id } => {
            let bytes = connect_answer(transaction_id, ConnectionId(7), &mut out).unwrap();
            check_head(&out[..bytes], 0, transaction_id, request_bytes);
        }
        Request::Announce { transaction_id, announce, .. } => {
            let peers = [9; 500 * 18];
            for family in [Family::V4, Family::V6] {
                let wanted = announce.ok().and_then(|announce| announce.numwant).unwrap_or(50);
                let count = usize::try_from(wanted).unwrap().min(500);
                let answer = PeersAnswer {
                    transaction_id,
                    interval_s: 1_800,
                    leechers: 1,
                    seeders: 2,
                    family,
                    peers: &peers[..count * family.peer_bytes()],
                };
                let bytes = announce_answer(&answer, &mut out).unwrap();
                check_head(&out[..bytes], 1, transaction_id, answer_bytes_max(family));
            }
            check_error(transaction_id, request_bytes);
        }
        Request::Scrape { transaction_id, hashes, .. } => {
            let entries = hashes.iter().map(|_| ScrapedCounts::default());
            let bytes = scrape_answer(transaction_id, entries, &mut out).unwrap();
            assert_eq!(bytes, 8 + 12 * hashes.len().min(HASHES_PER_PACKET_MAX));
            check_head(&out[..bytes], 2, transaction_id, answer_bytes_max(Family::V6));
            check_error(transaction_id, request_bytes);
        }
    }
}

fn check_error(transaction_id: TransactionId, request_bytes: usize) {
    let mut out = [0; 2_048];
    for text in [CONNECTION_ID_INVALID, Failure::Banned.text()] {
        let parts = [text.as_bytes()];
        let bytes = error_answer(transaction_id, &parts, request_bytes, &mut out).unwrap();
        check_head(&out[..bytes], 3, transaction_id, request_bytes);
        assert!(text.as_bytes().starts_with(&out[8..bytes]), "a text of its own");
    }
}

fn check_head(answer: &[u8], action: u8, transaction_id: TransactionId, bytes_max: usize) {
    assert!(answer.len() <= bytes_max, "{} bytes where {bytes_max} are allowed", answer.len());
    assert_eq!(answer[..4], [0, 0, 0, action], "the action");
    assert_eq!(answer[4..8], transaction_id.0.to_be_bytes(), "the transaction id");
}
