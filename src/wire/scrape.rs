//! The info hashes of a scrape (BEP 48).
//!
//! Owns: which torrents a scrape asks about.
//!
//! Never: looks one up.
//!
//! Limits: the first [`HASHES_PER_SCRAPE_MAX`] different hashes count, the rest is not looked at.

use arrayvec::ArrayVec;

use crate::ids::InfoHash;
use crate::wire::failure::Failure;
use crate::wire::query::{decode_exact, pairs, value_of};

/// Torrents answered in one scrape: about what a request of 8 KiB holds with every byte of every
/// hash escaped.
pub const HASHES_PER_SCRAPE_MAX: usize = 100;

/// What a scrape asks about: ascending and without repetition, as the answer's keys must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashes(ArrayVec<InfoHash, HASHES_PER_SCRAPE_MAX>);

impl Hashes {
    /// The hashes of a scrape's query. None when it names none: the full scrape, of every torrent
    /// there is.
    ///
    /// # Errors
    /// [`Failure::InfoHashLength`] when one of the hashes that count is not 20 bytes.
    pub fn parse(query: &[u8]) -> Result<Option<Hashes>, Failure> {
        let mut hashes: ArrayVec<InfoHash, HASHES_PER_SCRAPE_MAX> = ArrayVec::new();
        for value in pairs(query).filter_map(|pair| value_of(pair, b"info_hash")) {
            if hashes.is_full() {
                break;
            }
            let hash = InfoHash(decode_exact(value).ok_or(Failure::InfoHashLength)?);
            if let Err(place) = hashes.binary_search(&hash) {
                hashes.insert(place, hash);
            }
        }
        Ok(if hashes.is_empty() { None } else { Some(Hashes(hashes)) })
    }

    /// The hashes, ascending.
    pub fn as_slice(&self) -> &[InfoHash] {
        &self.0
    }
}

/// One torrent in the answer to a scrape.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeEntry<'a> {
    /// Which torrent.
    pub hash: InfoHash,
    /// Seeders.
    pub complete: u32,
    /// Completed downloads, ever.
    pub downloaded: u32,
    /// Leechers.
    pub incomplete: u32,
    /// Its name where one is known, at most [`TEXT_BYTES_MAX`](crate::wire::reply::TEXT_BYTES_MAX) bytes of it.
    pub name: Option<&'a [u8]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(hashes: impl IntoIterator<Item = u8>) -> String {
        hashes
            .into_iter()
            .map(|byte| format!("&info_hash={}", format!("%{byte:02x}").repeat(20)))
            .collect()
    }

    fn hashes(bytes: impl IntoIterator<Item = u8>) -> Vec<InfoHash> {
        bytes.into_iter().map(|byte| InfoHash([byte; 20])).collect()
    }

    #[test]
    fn a_scrape_without_a_hash_is_a_full_scrape() {
        for query in ["", "passkey=x", "&&", "hash=aaaaaaaaaaaaaaaaaaaa"] {
            assert_eq!(Hashes::parse(query.as_bytes()), Ok(None), "{query}");
        }
    }

    #[test]
    fn hashes_come_out_sorted_and_once() {
        let found = Hashes::parse(query([9, 3, 200, 3, 9, 0]).as_bytes()).unwrap().unwrap();
        assert_eq!(found.as_slice(), hashes([0, 3, 9, 200]));
    }

    #[test]
    fn of_more_than_a_hundred_hashes_the_first_hundred_count() {
        let found = Hashes::parse(query((100..=255).rev()).as_bytes()).unwrap().unwrap();
        assert_eq!(found.as_slice(), hashes(156..=255));
        let found = Hashes::parse(query((0..100).cycle().take(200)).as_bytes()).unwrap().unwrap();
        assert_eq!(found.as_slice(), hashes(0..100));
    }

    #[test]
    fn one_wrong_hash_refuses_the_scrape() {
        for wrong in [
            "&info_hash=short",
            "&info_hash",
            "&info_hash=",
            "&info_hash=%4",
            "&info_hash=aaaaaaaaaaaaaaaaaaaaa",
        ] {
            let query = query([1, 2]) + wrong;
            assert_eq!(Hashes::parse(query.as_bytes()), Err(Failure::InfoHashLength), "{wrong}");
        }
    }

    #[test]
    fn sixty_hashes_as_transmission_sends_them() {
        let query = query((0..60).map(|byte| byte | 0x80));
        assert_eq!(query.len(), 60 * "&info_hash=".len() + 60 * 60);
        assert_eq!(Hashes::parse(query.as_bytes()).unwrap().unwrap().as_slice().len(), 60);
    }
}
