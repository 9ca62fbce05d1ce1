//! .torrent files: what is read of one that is in canonical form is what a decoder that builds
//! values makes of it.

use serde_bencode::value::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::metainfo::{Metainfo, NAME_CHARS_MAX};

/// `file` is a .torrent file.
pub fn torrent_file(file: &[u8]) {
    let Ok(read) = Metainfo::of_file(file) else { return };
    assert!(!read.info_hashes.is_empty());
    assert!(read.name.is_none_or(|name| (1..=NAME_CHARS_MAX).contains(&name.chars().count())));
    let Some(info) = canonical_info(file) else { return };
    let (v1, v2) = (Sha1::digest(&info), Sha256::digest(&info));
    assert!(
        read.info_hashes.iter().all(|hash| hash.0 == v1[..] || hash.0 == v2[..20]),
        "{:?}",
        read.info_hashes
    );
}

/// The info dictionary encoded anew, of a file that encoding anew does not change.
fn canonical_info(file: &[u8]) -> Option<Vec<u8>> {
    let value: Value = serde_bencode::from_bytes(file).ok()?;
    let is_canonical = serde_bencode::to_bytes(&value).is_ok_and(|encoded| encoded == file);
    match value {
        Value::Dict(outer) if is_canonical => {
            serde_bencode::to_bytes(outer.get(b"info".as_slice())?).ok()
        }
        _ => None,
    }
}
