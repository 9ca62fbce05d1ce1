//! The file that is passed on, and its torrent (BEP 3).
//!
//! Owns: seeded random bytes, and a metainfo dictionary written with a bencoder that is not ours.
//! The last piece is a short one.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_bencode::value::Value;
use sha1::{Digest, Sha1};

use crate::support;

const NAME: &str = "payload.bin";
const PIECE_BYTES: usize = 64 * 1024;
const PAYLOAD_BYTES: usize = 3 * 1024 * 1024 + 4321;

/// A file worth passing on.
pub(crate) struct Payload {
    bytes: Vec<u8>,
    info: Value,
    /// What the tracker knows the torrent by.
    pub(crate) info_hash: [u8; 20],
}

impl Payload {
    /// Bytes that follow from the seed of this run.
    pub(crate) fn random() -> Payload {
        let mut bytes = vec![0; PAYLOAD_BYTES];
        fastrand::Rng::with_seed(support::seeds::seed()).fill(&mut bytes);
        let pieces = bytes.chunks(PIECE_BYTES).flat_map(Sha1::digest).collect();
        let info = dict([
            ("length", int(PAYLOAD_BYTES)),
            ("name", Value::Bytes(NAME.into())),
            ("piece length", int(PIECE_BYTES)),
            ("pieces", Value::Bytes(pieces)),
        ]);
        let info_hash = Sha1::digest(bencoded(&info)).into();
        Payload { bytes, info, info_hash }
    }

    /// The torrent file that names one tracker.
    pub(crate) fn torrent(&self, announce_url: &str) -> Vec<u8> {
        bencoded(&dict([
            ("announce", Value::Bytes(announce_url.into())),
            ("info", self.info.clone()),
        ]))
    }

    /// Puts the file where a seeder of the torrent expects it.
    pub(crate) fn write_into(&self, directory: &Path) {
        fs::write(directory.join(NAME), &self.bytes)
            .expect("a temporary directory can be written to");
    }

    /// Compares what a leecher has written, byte by byte.
    #[track_caller]
    pub(crate) fn assert_in(&self, directory: &Path) {
        let received = fs::read(directory.join(NAME)).expect("the leecher has written the file");
        assert_eq!(received.len(), self.bytes.len(), "the length of the received file");
        let differs_at =
            received.iter().zip(&self.bytes).position(|(received, sent)| received != sent);
        assert_eq!(differs_at, None, "the first byte of the received file that differs");
    }
}

fn dict<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Dict(HashMap::from(entries.map(|(key, value)| (key.into(), value))))
}

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).expect("a small number"))
}

fn bencoded(value: &Value) -> Vec<u8> {
    serde_bencode::to_bytes(value).expect("every value can be bencoded")
}
