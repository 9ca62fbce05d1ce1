//! The info hashes of a scrape (BEP 48).
//!
//! Owns: which torrents a scrape asks about.
//!
//! Never: looks one up.
//!
//! Limits: the first [`HASHES_PER_SCRAPE_MAX`] different hashes count, the rest is not looked at.

use arrayvec::ArrayVec;

use crate::ids::InfoHash;
use crate::wire::failure::{Failure, Field};
use crate::wire::query::{decode_exact, pairs, pairs_behind_question_marks, split_once, value_of};

/// Torrents answered in one scrape: about what a request of 8 KiB holds with every byte of every
/// hash escaped.
pub const HASHES_PER_SCRAPE_MAX: usize = 100;

/// What a scrape asks about: ascending and without repetition, as the answer's keys must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashes(ArrayVec<InfoHash, HASHES_PER_SCRAPE_MAX>);

impl Hashes {
    /// The hashes of a scrape's query. None when it asks for none: the full scrape, of every
    /// torrent there is. Without an `info_hash` a query is read again with `?` separating as well.
    ///
    /// # Errors
    /// [`Failure::InfoHashLength`] when one of the hashes that count is not 20 bytes;
    /// [`Failure::MissingField`] when there is none, but something that was meant to be one
    /// (`?infohash=…`): 70 MB of full scrape are not what was asked for.
    pub fn parse(query: &[u8]) -> Result<Option<Hashes>, Failure> {
        let mut hashes = Hashes(ArrayVec::new());
        hashes.pick(pairs(query))?;
        if hashes.0.is_empty() {
            return hashes.or_all(query);
        }
        Ok(Some(hashes))
    }

    #[cold]
    fn or_all(mut self, query: &[u8]) -> Result<Option<Hashes>, Failure> {
        if let Some(pairs) = pairs_behind_question_marks(query) {
            self.pick(pairs)?;
        }
        let separators = |byte: &u8| matches!(byte, b'&' | b'?');
        match self.0.is_empty() {
            false => Ok(Some(self)),
            true if query.split(separators).any(is_meant_as_hash) => {
                Err(Failure::MissingField(Field::InfoHash))
            }
            true => Ok(None),
        }
    }

    /// What a list of hashes asks about, in whatever order it has them.
    pub fn of(list: impl IntoIterator<Item = InfoHash>) -> Hashes {
        let mut hashes = ArrayVec::new();
        for hash in list {
            if hashes.is_full() {
                break;
            }
            if let Err(place) = hashes.binary_search(&hash) {
                hashes.insert(place, hash);
            }
        }
        Hashes(hashes)
    }

    fn pick<'q>(&mut self, pairs: impl Iterator<Item = &'q [u8]>) -> Result<(), Failure> {
        let hashes = &mut self.0;
        for value in pairs.filter_map(|pair| value_of(pair, b"info_hash")) {
            if hashes.is_full() {
                break;
            }
            let hash = decode_exact(value).or_else(|| decode_before_fragment(value));
            let hash = InfoHash(hash.ok_or(Failure::InfoHashLength)?);
            if let Err(place) = hashes.binary_search(&hash) {
                hashes.insert(place, hash);
            }
        }
        Ok(())
    }

    /// The hashes, ascending.
    pub fn as_slice(&self) -> &[InfoHash] {
        &self.0
    }
}

/// As [`decode_exact`], for a value with a fragment behind it: `#` is a byte of a hash unless the
/// hash is too long with it.
#[cold]
fn decode_before_fragment(value: &[u8]) -> Option<[u8; 20]> {
    split_once(value, b'#').and_then(|(hash, _)| decode_exact(hash))
}

/// Whether a pair that is no `info_hash` was meant to be one: `hash` is in its key (`infohash`,
/// `Info_Hash`, `info_hash[]`, `hash`), or its value is 20 bytes of which some are escaped. What
/// sites write there (`passkey`, `authkey`, `uid`, something against caches) is neither.
fn is_meant_as_hash(pair: &[u8]) -> bool {
    let (key, value) = split_once(pair, b'=').unwrap_or((pair, b""));
    let names_a_hash = key.windows(4).any(|word| word.eq_ignore_ascii_case(b"hash"));
    names_a_hash || (value.contains(&b'%') && decode_exact::<20>(value).is_some())
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
    /// Its name where one is known, at most [`TEXT_BYTES_MAX`](crate::bounds::TEXT_BYTES_MAX)
    /// bytes of it.
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
        for query in [
            "",
            "&&",
            "passkey=0123456789abcdef0123456789abcdef",
            "passkey=K?uid=1",
            "authkey=da39a3ee5e6b4b0d3255bfef95601890afd80709&uid=1",
            "key=aaaaaaaaaaaaaaaaaaaa",
            "_=1712000000000",
            "has=h",
        ] {
            assert_eq!(Hashes::parse(query.as_bytes()), Ok(None), "{query}");
        }
    }

    #[test]
    fn a_misspelt_hash_does_not_ask_for_every_torrent() {
        for query in [
            "infohash=aaaaaaaaaaaaaaaaaaaa",
            "info-hash=aaaaaaaaaaaaaaaaaaaa",
            "INFO_HASH=aaaaaaaaaaaaaaaaaaaa",
            "info_hash[]=aaaaaaaaaaaaaaaaaaaa",
            "info_hash%5B%5D=aaaaaaaaaaaaaaaaaaaa",
            "info%5Fhash=aaaaaaaaaaaaaaaaaaaa",
            "hash=da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "hash",
            "hashes=",
            "passkey=K&InfoHash=x",
            "passkey=K?infohash=aaaaaaaaaaaaaaaaaaaa",
            "ih=%01aaaaaaaaaaaaaaaaaaa",
            "xt=%02%e9%b0%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11",
        ] {
            let expected = Err(Failure::MissingField(Field::InfoHash));
            assert_eq!(Hashes::parse(query.as_bytes()), expected, "{query}");
        }
    }

    #[test]
    fn a_hash_behind_a_second_question_mark_is_found() {
        let found = |query: &str| {
            Hashes::parse(query.as_bytes()).map(|found| found.unwrap().as_slice().to_vec())
        };
        assert_eq!(found("passkey=K?info_hash=aaaaaaaaaaaaaaaaaaaa"), Ok(hashes([b'a'])));
        assert_eq!(found("K?info_hash=aaaaaaaaaaaaaaaaaaaa&x?y"), Ok(hashes([b'a'])));
        assert_eq!(
            found("info_hash=aaaaaaaaaaaaaaaaaaa?&a=?"),
            Ok(vec![InfoHash(*b"aaaaaaaaaaaaaaaaaaa?")])
        );
        assert_eq!(found("passkey=K?info_hash=short"), Err(Failure::InfoHashLength));
    }

    #[test]
    fn a_fragment_behind_a_hash_is_cut_off() {
        let found = |query: &str| {
            Hashes::parse(query.as_bytes()).map(|found| found.unwrap().as_slice().to_vec())
        };
        assert_eq!(found("info_hash=aaaaaaaaaaaaaaaaaaaa#x#y"), Ok(hashes([b'a'])));
        assert_eq!(found("info_hash=%61aaaaaaaaaaaaaaaaaaa#%"), Ok(hashes([b'a'])));
        let raw = Ok(vec![InfoHash(*b"aaaaaaaaaaaaaaaaaa#x")]);
        assert_eq!(found("info_hash=aaaaaaaaaaaaaaaaaa#x"), raw, "a byte like others");
        assert_eq!(found("info_hash=aaaaaaaaaaaa#x"), Err(Failure::InfoHashLength));
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
