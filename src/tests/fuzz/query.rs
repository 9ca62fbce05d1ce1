//! Query strings: the fast reading is the naive one.

use crate::tests::naive::{naive_announce, naive_hashes};
use crate::wire::announce::Announce;
use crate::wire::scrape::{HASHES_PER_SCRAPE_MAX, Hashes};

/// `query` is what follows the `?` of an announce.
pub fn announce_query(query: &[u8]) {
    assert_eq!(Announce::parse(query), naive_announce(query));
}

/// `query` is what follows the `?` of a scrape.
pub fn scrape_query(query: &[u8]) {
    let hashes = Hashes::parse(query).map(|hashes| hashes.map(|hashes| hashes.as_slice().to_vec()));
    if let Ok(Some(hashes)) = &hashes {
        assert!((1..=HASHES_PER_SCRAPE_MAX).contains(&hashes.len()), "{} hashes", hashes.len());
        assert!(hashes.is_sorted_by(|before, after| before < after), "{hashes:?}");
    }
    assert_eq!(hashes, naive_hashes(query));
}
