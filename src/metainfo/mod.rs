//! Which torrent is meant: info hashes and a name out of .torrent files (BEP 3, BEP 52), magnet
//! links and written hashes.
//!
//! Owns: all reading of what names a torrent. `torrent` reads a file, `bencode` walks it, `written`
//! reads links and hashes, `fault` says why not.
//!
//! Never: opens a file, or asks a database.

mod bencode;
mod fault;
mod torrent;
mod written;

pub use fault::{FILE_BYTES_MAX, Fault};
pub use torrent::{HASHES_MAX, Metainfo, NAME_CHARS_MAX, name_of};
pub use written::{info_hash, is_magnet, magnet};
