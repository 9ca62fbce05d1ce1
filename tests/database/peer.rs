//! Single announces and scrapes, and what their answers say.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde_bencode::value::Value;

use crate::site::Hash;
use crate::support::http::{Connection, Dict, get, percent_encoded};
use crate::support::tracker::{Counts, Tracker};
use crate::support::{PATIENCE, wait_until};

/// The port of peer 0. Not a low one: a peer on port 1 is answered and not kept.
const PORT_BASE: u16 = 6_000;

/// What a peer says of itself: the end of its query.
pub(crate) const LEECHES: &str = "left=9";
pub(crate) const SEEDS: &str = "left=0";
pub(crate) const COMPLETES: &str = "left=0&event=completed";
pub(crate) const LEAVES: &str = "left=0&event=stopped";

/// What an announce came to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The torrent's counts, after this announce.
    Accepted(Counts),
    /// Its reason, and the minutes after which to try again.
    Refused(String, Option<i64>),
}

/// A torrent in a scrape.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) counts: Counts,
    pub(crate) name: Option<String>,
}

impl Answer {
    /// Reads the body of an answer to an announce.
    #[track_caller]
    pub(crate) fn of(dict: &Dict) -> Answer {
        match dict.get(b"failure reason".as_slice()) {
            None => Answer::Accepted(counts(dict)),
            Some(Value::Bytes(reason)) => {
                let retry_minutes =
                    dict.get(b"retry in".as_slice()).and_then(|value| match value {
                        Value::Int(minutes) => Some(*minutes),
                        _ => None,
                    });
                Answer::Refused(String::from_utf8_lossy(reason).into_owned(), retry_minutes)
            }
            Some(other) => panic!("the failure reason is {other:?}"),
        }
    }

    /// The counts of an announce that must have been accepted.
    #[track_caller]
    pub(crate) fn accepted(self) -> Counts {
        match self {
            Answer::Accepted(counts) => counts,
            Answer::Refused(..) => panic!("{self:?}"),
        }
    }

    /// The reason, when the announce was refused with this number and is to be tried again.
    pub(crate) fn refused(&self, number: &str) -> Option<&str> {
        match self {
            Answer::Refused(reason, Some(_)) => {
                Some(reason).filter(|reason| reason.starts_with(number)).map(String::as_str)
            }
            _ => None,
        }
    }

    /// Whether it was refused for now: without a number, and to be tried again.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Answer::Refused(reason, Some(1..)) if !reason.contains('#'))
    }
}

/// The path and query of an announce.
pub(crate) fn target(escaped_hash: &str, port: u16, says: &str) -> String {
    format!(
        "/announce?info_hash={escaped_hash}&peer_id=-XX0001-abcdefghijkl&port={port}&uploaded=0&\
         downloaded=0&{says}"
    )
}

/// Announces one of the peers of this machine, which differ by their ports, on a connection of its
/// own.
#[track_caller]
pub(crate) fn announce(to: SocketAddr, hash: &Hash, peer: u16, says: &str) -> Answer {
    Answer::of(&get(to, &target(&percent_encoded(hash), PORT_BASE + peer, says)).dict())
}

/// Announces a leecher until it is accepted.
#[track_caller]
pub(crate) fn wait_accepted(tracker: &Tracker, hash: &Hash, peer: u16) {
    let accepted = || matches!(announce(tracker.address, hash, peer, LEECHES), Answer::Accepted(_));
    wait_until(PATIENCE, "an announce is accepted", accepted);
}

/// Announces a leecher until it is refused with this number; the reason.
#[track_caller]
pub(crate) fn wait_refused(tracker: &Tracker, hash: &Hash, peer: u16, number: &str) -> String {
    let mut reason = None;
    wait_until(PATIENCE, &format!("an announce is refused with {number}"), || {
        reason = announce(tracker.address, hash, peer, LEECHES).refused(number).map(str::to_owned);
        reason.is_some()
    });
    reason.expect("the wait ends with a reason or a panic")
}

/// What the tracker shows of one torrent; none when it shows nothing.
#[track_caller]
pub(crate) fn scrape(tracker: &Tracker, hash: &Hash) -> Option<Entry> {
    files(&get(tracker.address, &format!("/scrape?info_hash={}", percent_encoded(hash))).dict())
        .remove(hash.as_slice())
}

/// All that the tracker shows to `source`.
#[track_caller]
pub(crate) fn full_scrape(tracker: &Tracker, source: Ipv4Addr) -> HashMap<Vec<u8>, Entry> {
    files(&Connection::open_from(source, tracker.address).get("/scrape").dict())
}

#[track_caller]
fn files(reply: &Dict) -> HashMap<Vec<u8>, Entry> {
    let Some(Value::Dict(files)) = reply.get(b"files".as_slice()) else {
        panic!("no files in {reply:?}")
    };
    let entry = |file: &Value| {
        let Value::Dict(file) = file else { panic!("an entry is {file:?}") };
        let name = file.get(b"name".as_slice()).map(|name| match name {
            Value::Bytes(name) => String::from_utf8(name.clone()).expect("a name is UTF-8"),
            other => panic!("a name is {other:?}"),
        });
        Entry { counts: counts(file), name }
    };
    files.iter().map(|(hash, file)| (hash.clone(), entry(file))).collect()
}

#[track_caller]
fn counts(dict: &Dict) -> Counts {
    let count = |key: &str| match dict.get(key.as_bytes()) {
        Some(Value::Int(count)) => *count,
        other => panic!("{key} is {other:?} in {dict:?}"),
    };
    Counts {
        complete: count("complete"),
        downloaded: count("downloaded"),
        incomplete: count("incomplete"),
    }
}
