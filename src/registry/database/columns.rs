//! Records out of columns, as both databases read them.
//!
//! Owns: what the columns of a row mean, whatever a site has put there. Never: SQL, or a database's
//! own types.
//!
//! Limits: texts of [`TEXT_BYTES_MAX`] bytes.

use std::sync::Arc;

#[cfg(feature = "databases")]
use ahash::RandomState;
#[cfg(feature = "databases")]
use data_encoding::HEXLOWER;
#[cfg(feature = "databases")]
use hashbrown::HashMap;

use crate::bounds::TEXT_BYTES_MAX;
#[cfg(feature = "databases")]
use crate::ids::InfoHash;
use crate::listing::{Listing, Record};

/// Characters of a database's words that a message quotes.
#[cfg(feature = "databases")]
const SAID_CHARS_MAX: usize = 500;
/// Bytes of an odd value that a message shows.
#[cfg(feature = "databases")]
const SHOWN_BYTES_MAX: usize = 24;

/// Rows by their hash.
#[cfg(feature = "databases")]
pub(super) type ByHash<T> = HashMap<InfoHash, T, RandomState>;

/// The record of a listed torrent, from its columns.
pub(super) fn record(name: &[u8], downloaded: u64, banned: bool, reason: &[u8]) -> Record {
    let (listing, text) = if banned { (Listing::Banned, reason) } else { (Listing::Listed, name) };
    let text = readable(text);
    let text =
        (!text.is_empty()).then(|| Arc::from(&text[..text.floor_char_boundary(TEXT_BYTES_MAX)]));
    Record { listing, text, downloaded: count(downloaded) }
}

/// One record for each of `hashes`, in their order, from the rows that were found.
#[cfg(feature = "databases")]
pub(super) fn in_order(hashes: &[InfoHash], found: &ByHash<Record>) -> Vec<Record> {
    hashes
        .iter()
        .map(|hash| found.get(hash).cloned().unwrap_or_else(|| Record::plain(Listing::Unlisted)))
        .collect()
}

/// A text as it stands in a column: an old database may hold one that is not UTF-8.
pub(super) fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What stands in place of a hash, for a message.
#[cfg(feature = "databases")]
pub(super) fn shown(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    format!("x'{}'{}", HEXLOWER.encode(shown), if shown.len() < bytes.len() { "…" } else { "" })
}

/// What a database says, as one line of a message: a site's trigger may say anything.
#[cfg(feature = "databases")]
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .take(SAID_CHARS_MAX)
        .map(|c| if c.is_control() || c == '\u{2028}' { ' ' } else { c })
        .collect()
}

/// A count as columns hold it: a site may have made them wider than ours.
pub(super) fn count(column: u64) -> u32 {
    u32::try_from(column).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_shows_the_name_or_the_reason() {
        let name = "ü".repeat(400);
        let known = record(name.as_bytes(), u64::MAX, false, b"unused");
        assert_eq!(known.text.as_deref(), Some("ü".repeat(TEXT_BYTES_MAX / 2).as_str()));
        assert_eq!(known.listing, Listing::Listed, "whether it is listed");
        assert_eq!(known.downloaded, u32::MAX, "its downloads");
        assert_eq!(record(b"", 0, false, b"unused").text, None);
        let banned = record(b"unused", 3, true, b"gr\xfcndlich");
        assert_eq!(banned.listing, Listing::Banned, "whether it is listed");
        assert_eq!(banned.text.as_deref(), Some("gr\u{fffd}ndlich"), "its text");
    }
}
