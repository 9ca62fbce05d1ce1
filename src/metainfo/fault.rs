//! Why something names no torrent.
//!
//! Owns: the faults, their texts, and the two limits that texts name.
//!
//! Never: quotes a file, which is a stranger's.

use std::fmt;

/// Bytes of a .torrent file. A terabyte in pieces of 1 MiB has 20 MB of hashes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Lists and dictionaries inside each other: libtorrent's limit. A v2 torrent's file tree (BEP 52)
/// has one level for each directory.
pub(super) const DEPTH_MAX: usize = 100;

/// Why something names no torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// More than [`FILE_BYTES_MAX`].
    TooLarge,
    /// It does not begin with a dictionary.
    NoDictionary,
    /// It ends within a value.
    Truncated,
    /// It stops being bencode on the way.
    NotBencode,
    /// Too many lists and dictionaries inside each other.
    TooDeep,
    /// There is no dictionary `info`.
    NoInfo,
    /// A key that matters is there twice.
    Twice(&'static str),
    /// `info` has neither the pieces of v1 nor the version of v2.
    NoPieces,
    /// `meta version` is one that nobody has specified yet.
    Version,
    /// A magnet link without a BitTorrent hash, or with one that cannot be read.
    MagnetHash,
    /// A magnet link with more hashes than this.
    MagnetHashes(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::TooLarge => {
                write!(f, "larger than {} MiB, so hardly a .torrent file", FILE_BYTES_MAX >> 20)
            }
            Fault::NoDictionary => f.write_str("not a .torrent file: it is no bencoded dictionary"),
            Fault::Truncated => f.write_str("not a whole .torrent file: it ends within a value"),
            Fault::NotBencode => f.write_str("not a .torrent file: it is not bencoded throughout"),
            Fault::TooDeep => {
                write!(f, "not a .torrent file: more than {} levels of nesting", DEPTH_MAX)
            }
            Fault::NoInfo => f.write_str("not a .torrent file: it has no info dictionary"),
            Fault::Twice(key) => {
                write!(f, "has {key:?} twice, and clients disagree about which one counts")
            }
            Fault::NoPieces => {
                f.write_str("not a .torrent file: its info dictionary has no pieces")
            }
            Fault::Version => f.write_str("has a meta version that is neither 1 nor 2"),
            Fault::MagnetHash => f.write_str(
                "a magnet link without a BitTorrent hash (xt=urn:btih:… or xt=urn:btmh:1220…)",
            ),
            Fault::MagnetHashes(max) => {
                write!(f, "a magnet link with more than {max} hashes, so of more than one torrent")
            }
        }
    }
}

impl std::error::Error for Fault {}
