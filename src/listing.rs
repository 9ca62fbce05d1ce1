//! What a database says of a torrent, in one vocabulary.
//!
//! Owns: the five things that may be known of a torrent's registration ([`Listing`]), which of them
//! a tracker serves ([`Served`]), all that a database says ([`Record`]), and the part of it that is
//! kept with a swarm ([`Verdict`]). `registry` learns them, `swarm` keeps them, `tracker` decides
//! by them.
//!
//! Never: asks a database, or decides which torrents are served.

use std::sync::Arc;

use crate::ids::Millis;

/// After a stale verdict was reported to one caller, the time until the next one is told, should no
/// newer one have come by then; milliseconds.
pub const REFRESH_RETRY_MS: u64 = 1_000;

/// What is known of a torrent's registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Listing {
    /// There is no list: nothing to ask, nothing to write.
    NoList,
    /// The list could not be asked so far.
    Unasked,
    /// Not listed: what is counted stays in memory.
    Unlisted,
    /// Listed, and not banned: what is counted is written back.
    Listed,
    /// Listed as banned. What was counted before is written back.
    Banned,
}

impl Listing {
    /// Every value, in the order of their numbers.
    pub const ALL: [Listing; 5] =
        [Listing::NoList, Listing::Unasked, Listing::Unlisted, Listing::Listed, Listing::Banned];
    /// Bits that a number takes.
    pub const BITS: u32 = 3;

    /// A number below `1 << BITS` for each value.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The value with a number; numbers of none are taken for the last.
    pub const fn of_number(number: u32) -> Listing {
        match number {
            0 => Listing::NoList,
            1 => Listing::Unasked,
            2 => Listing::Unlisted,
            3 => Listing::Listed,
            _ => Listing::Banned,
        }
    }
}

/// Each value has a number of its own, from which it can be made again.
const _: () = {
    let mut at = 0;
    while at < Listing::ALL.len() {
        let number = Listing::ALL[at].number();
        assert!(number as usize == at && Listing::of_number(number).number() == number);
        assert!(number < 1 << Listing::BITS);
        at += 1;
    }
};

/// The listings with which a torrent is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Served(u8);

impl Served {
    /// Whatever is not banned.
    pub const OPEN: Served =
        Served::only(&[Listing::NoList, Listing::Unasked, Listing::Unlisted, Listing::Listed]);
    /// What is listed, or was let in while nobody could be asked.
    pub const REGISTERED: Served =
        Served::only(&[Listing::NoList, Listing::Unasked, Listing::Listed]);

    const fn only(listings: &[Listing]) -> Served {
        let (mut bits, mut at) = (0, 0);
        while at < listings.len() {
            bits |= 1 << listings[at].number();
            at += 1;
        }
        Served(bits)
    }

    /// Whether a torrent with this listing is served.
    pub const fn contains(self, listing: Listing) -> bool {
        self.0 >> listing.number() & 1 != 0
    }
}

/// All that the database says of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whether it is listed or banned.
    pub listing: Listing,
    /// Listed torrents: the name shown in scrapes. Banned ones: the operator's reason. At most 765
    /// bytes (255 characters of MySQL's utf8mb3).
    pub text: Option<Arc<str>>,
    /// Completed downloads, by the database's count.
    pub downloaded: u32,
}

impl Record {
    /// A torrent of which there is nothing more to say.
    pub fn plain(listing: Listing) -> Record {
        Record { listing, text: None, downloaded: 0 }
    }
}

/// What is known of a torrent's registration, to be kept with its swarm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether it is listed.
    pub listing: Listing,
    /// Downloads by the database's count; 0 for a torrent that is not listed.
    pub downloaded: u32,
    /// Until when this is believed; then one announcer waits for a newer one.
    pub fresh_until: Millis,
}

impl Verdict {
    /// The verdict on every torrent where there is no list.
    pub const NO_LIST: Verdict =
        Verdict { listing: Listing::NoList, downloaded: 0, fresh_until: Millis(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_serves_its_listings_and_nobody_serves_what_is_banned() {
        let rows = [
            (Listing::NoList, true, true),
            (Listing::Unasked, true, true),
            (Listing::Unlisted, true, false),
            (Listing::Listed, true, true),
            (Listing::Banned, false, false),
        ];
        assert_eq!(rows.map(|(listing, ..)| listing), Listing::ALL, "every listing has a row");
        for (listing, open, registered) in rows {
            assert_eq!(Served::OPEN.contains(listing), open, "{listing:?} in open mode");
            assert_eq!(
                Served::REGISTERED.contains(listing),
                registered,
                "{listing:?} in registered mode"
            );
        }
    }
}
