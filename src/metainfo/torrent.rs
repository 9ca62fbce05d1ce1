//! A torrent's info hashes and name, out of its .torrent file.
//!
//! Owns: what an info hash is the digest of, and which of them a torrent has: v1 (SHA-1), v2
//! (SHA-256, cut to 20 bytes, which is what clients announce) or, for a hybrid, both.
//!
//! Never: opens a file, or checks pieces, lengths and paths; that is for those who download.
//!
//! Limits: [`FILE_BYTES_MAX`], [`NAME_CHARS_MAX`], and a depth of nesting (`bencode`).

use arrayvec::ArrayVec;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::bounds::TEXT_CHARS_MAX;
use crate::ids::{INFO_HASH_BYTES, InfoHash};
use crate::metainfo::bencode::{self, Dictionary};
use crate::metainfo::fault::{FILE_BYTES_MAX, Fault};

/// Characters of a name: what the database's column holds.
pub const NAME_CHARS_MAX: usize = TEXT_CHARS_MAX;
/// Info hashes of one torrent: a hybrid has two.
pub const HASHES_MAX: usize = 2;

/// What is known of a torrent before anybody announces it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metainfo {
    /// Its info hashes; peers may announce any of them. One at least.
    pub info_hashes: ArrayVec<InfoHash, HASHES_MAX>,
    /// What it is called; never empty, [`NAME_CHARS_MAX`] characters at most.
    pub name: Option<String>,
}

impl Metainfo {
    /// A torrent of which only a hash is known.
    pub fn of_hash(info_hash: InfoHash) -> Metainfo {
        Metainfo { info_hashes: [info_hash].into_iter().collect(), name: None }
    }

    /// What `file`, a .torrent file, says of its torrent. What follows its dictionary is passed
    /// over, as clients do.
    ///
    /// # Errors
    /// When it is no whole .torrent file, or one of which clients would not agree on the hash.
    pub fn of_file(file: &[u8]) -> Result<Metainfo, Fault> {
        if file.len() as u64 > FILE_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        let outer = Dictionary::open(file, 0).ok_or(Fault::NoDictionary)?;
        let info = bencode::find(outer, "info")?.ok_or(Fault::NoInfo)?;
        let keys = Dictionary::open(info, 1).ok_or(Fault::NoInfo)?;
        let find = |key| bencode::find(keys.clone(), key);
        let name = match find("name.utf-8")?.and_then(bencode::bytes).and_then(name_of) {
            Some(name) => Some(name),
            None => find("name")?.and_then(bencode::bytes).and_then(name_of),
        };
        // A root hash instead of pieces is a Merkle tree's (BEP 30); such a torrent is hashed as
        // any of v1. What is no string is nobody's pieces.
        let pieces = find("pieces")?.and_then(bencode::bytes);
        let is_v1 = pieces.or(find("root hash")?.and_then(bencode::bytes)).is_some();
        let is_v2 = match find("meta version")?.map(bencode::integer) {
            None | Some(Some(1)) => false,
            Some(Some(2)) => true,
            // Clients that know v1 alone do not look at it.
            Some(_) if is_v1 => false,
            Some(_) => return Err(Fault::Version),
        };
        let hashes = [is_v1.then(|| v1_hash(info)), is_v2.then(|| v2_hash(info))];
        match hashes.into_iter().flatten().collect::<ArrayVec<_, HASHES_MAX>>() {
            none if none.is_empty() => Err(Fault::NoPieces),
            info_hashes => Ok(Metainfo { info_hashes, name }),
        }
    }
}

fn v1_hash(info: &[u8]) -> InfoHash {
    InfoHash(Sha1::digest(info).into())
}

fn v2_hash(info: &[u8]) -> InfoHash {
    let digest: [u8; 32] = Sha256::digest(info).into();
    let mut hash = [0; INFO_HASH_BYTES];
    hash.copy_from_slice(&digest[..INFO_HASH_BYTES]);
    InfoHash(hash)
}

/// A name as it is stored: what is not UTF-8 is replaced, what is too long is cut, and an empty one
/// is none.
pub fn name_of(bytes: &[u8]) -> Option<String> {
    let name: String = String::from_utf8_lossy(bytes).trim().chars().take(NAME_CHARS_MAX).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::property;

    const PIECES: &[u8] = b"6:pieces20:aaaaaaaaaaaaaaaaaaaa";
    const V1: &[u8] =
        b"d6:lengthi5e4:name4:Demo12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    const V2: &[u8] = b"d9:file treed3:a\xc3\xa4d0:d6:lengthi5e11:pieces root32:\
                        rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrreee\
                        12:meta versioni2e4:name4:Two!12:piece lengthi16384ee";
    const HYBRID: &[u8] = b"d9:file treed1:ad0:d6:lengthi5e11:pieces root32:\
                            rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrreee6:lengthi5e\
                            12:meta versioni2e4:name6:Hybrid12:piece lengthi16384e\
                            6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    const UNSORTED: &[u8] =
        b"d6:pieces20:aaaaaaaaaaaaaaaaaaaa4:name4:Demo6:lengthi0005e12:piece lengthi16384ee";
    const MERKLE: &[u8] =
        b"d6:lengthi5e4:name4:Demo12:piece lengthi16384e9:root hash20:aaaaaaaaaaaaaaaaaaaae";

    /// A .torrent file around an info dictionary, with something before and after it.
    fn file(info: &[u8]) -> Vec<u8> {
        [b"d8:announce14:http://t/a?b=i4:info", info, b"5:nodesll1:ai6881eeee"].concat()
    }

    /// An info dictionary of v1 with some more entries.
    fn info(entries: &[u8]) -> Vec<u8> {
        [b"d", PIECES, entries, b"e"].concat()
    }

    fn name(entries: &[u8]) -> Option<String> {
        Metainfo::of_file(&file(&info(entries))).unwrap().name
    }

    // The digests are those of Python's hashlib over the same bytes.
    #[test]
    fn the_hashes_are_digests_of_the_info_dictionary_as_it_stands() {
        let rows: [(&[u8], &[&str], &str); 5] = [
            (V1, &["5f2d908d8be7b84035074c05d08be532debd2178"], "Demo"),
            (V2, &["93982993d661d770f4334667331780604a8501b5"], "Two!"),
            (
                HYBRID,
                &[
                    "5146432ec40230bf58327e59b1afb4dc59957d2d",
                    "c7ca93484a24860590580d39d1bea1795c15de52",
                ],
                "Hybrid",
            ),
            (UNSORTED, &["7db806758d562d47751576a0b5a7572087e14acb"], "Demo"),
            (MERKLE, &["73e377d14f89bc6cdf9710de9524bc097fcf30dc"], "Demo"),
        ];
        for (info, hashes, name) in rows {
            let read = Metainfo::of_file(&file(info)).unwrap();
            assert_eq!(
                read.info_hashes.iter().map(InfoHash::to_string).collect::<Vec<_>>(),
                hashes
            );
            assert_eq!(read.name.as_deref(), Some(name));
        }
    }

    // The hashes are those that libtorrent 2.0.8 found in them.
    #[test]
    fn files_that_libtorrent_made_have_the_hashes_it_found() {
        let rows: [(&str, &[&str]); 3] = [
            ("v1", &["a725e5ac65524e0132915415515d717ade959d11"]),
            ("v2", &["f5e4c488dc407a428f6ea154cf7f237d915ec0df"]),
            (
                "hybrid",
                &[
                    "8bd4f44dace0a1e01bab261755a13cbdc015a8c0",
                    "063f74d5c82745c82c9d483e0864ca45b2dd1122",
                ],
            ),
        ];
        for (kind, hashes) in rows {
            let path = format!(
                "{}/fuzz/corpus/torrent_file/libtorrent-{kind}",
                env!("CARGO_MANIFEST_DIR")
            );
            let read = Metainfo::of_file(&std::fs::read(path).unwrap()).unwrap();
            assert_eq!(
                read.info_hashes.iter().map(InfoHash::to_string).collect::<Vec<_>>(),
                hashes
            );
            assert_eq!(read.name.as_deref(), Some("payload"));
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        for info in [V1, V2, HYBRID] {
            let whole = file(info);
            for end in 0..whole.len() {
                let expected = if end == 0 { Fault::NoDictionary } else { Fault::Truncated };
                assert_eq!(Metainfo::of_file(&whole[..end]), Err(expected), "{end} bytes");
            }
            let followed = [&whole[..], b"\r\n"].concat();
            assert_eq!(Metainfo::of_file(&followed), Metainfo::of_file(&whole));
        }
    }

    #[test]
    fn a_file_that_is_no_torrent_is_told_why() {
        let rows: [(&[u8], Fault); 16] = [
            (b"<!DOCTYPE html>", Fault::NoDictionary),
            (b"le", Fault::NoDictionary),
            (b"de", Fault::NoInfo),
            (b"d4:infoi1ee", Fault::NoInfo),
            (b"d4:infolee", Fault::NoInfo),
            (b"d4:infodee", Fault::NoPieces),
            (b"d4:infod12:meta versioni1eee", Fault::NoPieces),
            (b"d4:infod12:meta versioni3e6:piecesi0eee", Fault::Version),
            (b"d4:infod12:meta version1:2ee", Fault::Version),
            (b"d4:infod6:pieces0:e4:infod6:pieces0:ee", Fault::Twice("info")),
            (b"d4:infod6:pieces0:6:pieces0:ee", Fault::Twice("pieces")),
            (b"d4:infod4:name1:a6:pieces0:4:name1:bee", Fault::Twice("name")),
            (b"d4:infod6:pieces0:e1:x", Fault::Truncated),
            (b"d4:infod6:pieces0:ei1ei2ee", Fault::NotBencode),
            (b"d4:infod6:pieces0:e1:x?e", Fault::NotBencode),
            (b"d4:infod6:pieces0:e99:x", Fault::Truncated),
        ];
        for (file, fault) in rows {
            assert_eq!(Metainfo::of_file(file), Err(fault), "{}", file.escape_ascii());
        }
        let deep = [b"d4:info".as_slice(), &b"d1:a".repeat(1_000_000)].concat();
        assert_eq!(Metainfo::of_file(&deep), Err(Fault::TooDeep));
    }

    #[test]
    fn a_fault_is_one_line() {
        for fault in [Fault::TooLarge, Fault::Twice("info"), Fault::TooDeep, Fault::MagnetHashes(2)]
        {
            assert!(!fault.to_string().contains('\n'));
        }
        assert_eq!(Fault::TooLarge.to_string(), "larger than 64 MiB, so hardly a .torrent file");
    }

    #[test]
    fn a_name_is_text_that_the_database_can_hold() {
        assert_eq!(name(b""), None);
        assert_eq!(name(b"4:name0:"), None);
        assert_eq!(name(b"4:namei5e"), None);
        assert_eq!(name(b"4:name4:\xff\xe4 x").as_deref(), Some("\u{fffd}\u{fffd} x"));
        assert_eq!(name(b"4:name3:old10:name.utf-83:n\xc3\xa4").as_deref(), Some("nä"));
        assert_eq!(name(b"4:name3:old10:name.utf-80:").as_deref(), Some("old"));
        let long = "ä".repeat(300);
        assert_eq!(name(format!("4:name600:{long}").as_bytes()), Some("ä".repeat(255)));
    }

    #[test]
    fn no_file_makes_it_panic() {
        let garbage = proptest::collection::vec(any::<u8>(), 0..200);
        property(1_000, garbage, |file| {
            prop_assert!(Metainfo::of_file(&file).is_err());
            Ok(())
        });
        let change = (0..file(HYBRID).len(), any::<u8>());
        property(3_000, proptest::collection::vec(change, 1..4), |changes| {
            let mut file = file(HYBRID);
            changes.iter().for_each(|&(at, byte)| file[at] = byte);
            let _ = Metainfo::of_file(&file);
            Ok(())
        });
    }

    #[test]
    fn a_version_that_is_none_is_for_those_who_look_at_it() {
        let version = |version: &[u8]| [b"12:meta version", version].concat();
        let v1_alone: [&[u8]; 6] =
            [b"i0e", b"i1e", b"i3e", b"i-7e", b"i99999999999999999999e", b"1:2"];
        for odd in v1_alone {
            let info = info(&version(odd));
            let read = Metainfo::of_file(&file(&info)).unwrap();
            assert_eq!(read.info_hashes.as_slice(), [v1_hash(&info)], "{}", odd.escape_ascii());
            let without = [b"d4:name1:x", version(odd).as_slice(), b"e"].concat();
            let expected = if odd == b"i1e" { Fault::NoPieces } else { Fault::Version };
            let refused = Metainfo::of_file(&file(&without));
            assert_eq!(refused, Err(expected), "{} without pieces", odd.escape_ascii());
        }
    }

    #[test]
    fn pieces_that_are_no_string_are_none() {
        for pieces in [&b"6:piecesi1e"[..], b"6:piecesle", b"6:piecesde"] {
            let v2 = [b"d12:meta versioni2e", pieces, b"e"].concat();
            let read = Metainfo::of_file(&file(&v2)).unwrap();
            assert_eq!(read.info_hashes.as_slice(), [v2_hash(&v2)], "{}", pieces.escape_ascii());
            let v1 = [b"d", pieces, b"e"].concat();
            let refused = Metainfo::of_file(&file(&v1));
            assert_eq!(refused, Err(Fault::NoPieces), "{}", pieces.escape_ascii());
        }
    }
}
