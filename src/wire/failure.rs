//! What a request can be refused with inside the protocol: HTTP 200 and a bencoded `failure
//! reason`.
//!
//! Owns: the failures, their numbers and texts, and how soon a client may try again (BEP 31).
//!
//! Never: an HTTP fault. Those are [`HttpFault`](crate::wire::http::fault::HttpFault), for bytes
//! that never became a request; clients hide the text of a 4xx from their users, so whatever can be
//! said here is said here.
//!
//! The numbers are those of the PHP tracker, and sites match on them, so a text starts with its
//! number. What passes by itself (the database is away, too much to do) has none.

/// Why an announce or a scrape is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// #1: the first field that is missing.
    MissingField(Field),
    /// #2: the info hash does not decode to 20 bytes.
    InfoHashLength,
    /// #3: the peer id does not decode to 20 bytes.
    PeerIdLength,
    /// #4: the port is not 1 to 65535.
    PortInvalid,
    /// #4: the port is 0. Clients that do not listen yet send it, and listen soon.
    PortZero,
    /// #5: only listed torrents are tracked, and this one is not.
    NotRegistered,
    /// #6: the operator has banned the torrent.
    Banned,
    /// The database is away and nothing is known about the torrent.
    Unavailable,
    /// A queue is full.
    Busy,
    /// More announces have come from the address than it may make.
    TooOften,
    /// One full scrape in a while is enough for an address, and a few at once for the tracker.
    FullScrapeTooSoon,
    /// Full scrapes are not for everybody here.
    FullScrapeOff,
    /// The full scrape has grown past what is given to everybody.
    FullScrapeTooLarge,
}

/// The fields an announce must have, in the order in which they are missed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// `info_hash`
    InfoHash,
    /// `peer_id`
    PeerId,
    /// `port`
    Port,
    /// `uploaded`
    Uploaded,
    /// `downloaded`
    Downloaded,
    /// `left`
    Left,
}

/// The longest of all [`Failure::text`]s, in bytes.
pub const TEXT_BYTES_MAX: usize = 64;
/// How long a client waits after a failure that only an operator ends: #6 (an unban must be
/// noticed), full scrapes that are off or too large.
const LISTING_RETRY_S: u32 = 30 * 60;
/// How long a client waits for what passes by itself.
const PASSING_RETRY_S: u32 = 5 * 60;

impl Failure {
    /// The text for `failure reason`, at most [`TEXT_BYTES_MAX`] bytes.
    pub fn text(self) -> &'static str {
        match self {
            Failure::MissingField(Field::InfoHash) => "#1 the required field info_hash is missing",
            Failure::MissingField(Field::PeerId) => "#1 the required field peer_id is missing",
            Failure::MissingField(Field::Port) => "#1 the required field port is missing",
            Failure::MissingField(Field::Uploaded) => "#1 the required field uploaded is missing",
            Failure::MissingField(Field::Downloaded) => {
                "#1 the required field downloaded is missing"
            }
            Failure::MissingField(Field::Left) => "#1 the required field left is missing",
            Failure::InfoHashLength => "#2 the info_hash is not 20 bytes long",
            Failure::PeerIdLength => "#3 the peer_id is not 20 bytes long",
            Failure::PortInvalid | Failure::PortZero => {
                "#4 the port is not a number from 1 to 65535"
            }
            Failure::NotRegistered => "#5 this torrent is not registered with this tracker",
            Failure::Banned => "#6 this torrent is banned from this tracker",
            Failure::Unavailable => "the tracker's database is away, please try again later",
            Failure::Busy => "the tracker is overloaded, please try again later",
            Failure::TooOften => "too many announces from this address, please try again later",
            Failure::FullScrapeTooSoon => {
                "that is enough full scrapes for now, please try again later"
            }
            Failure::FullScrapeOff => "full scrapes are not offered here: name the torrents",
            Failure::FullScrapeTooLarge => {
                "the full scrape is too large for everybody: name the torrents"
            }
        }
    }

    /// Minutes after which the same request may succeed (BEP 31 `retry in`), no less than
    /// [`Failure::interval_s`]; none when it never will. After a #5 it is `unregistered_s`, a
    /// setting.
    pub fn retry_minutes(self, unregistered_s: u32) -> Option<u32> {
        self.retry_s(unregistered_s).map(|retry_s| retry_s.div_ceil(60))
    }

    /// Seconds for `interval` and `min interval`: rTorrent reads them inside failures and knows no
    /// `retry in`.
    pub fn interval_s(self, unregistered_s: u32) -> u32 {
        self.retry_s(unregistered_s).unwrap_or(LISTING_RETRY_S)
    }

    fn retry_s(self, unregistered_s: u32) -> Option<u32> {
        match self {
            Failure::MissingField(_)
            | Failure::InfoHashLength
            | Failure::PeerIdLength
            | Failure::PortInvalid => None,
            Failure::NotRegistered => Some(unregistered_s),
            Failure::Banned | Failure::FullScrapeOff | Failure::FullScrapeTooLarge => {
                Some(LISTING_RETRY_S)
            }
            Failure::PortZero
            | Failure::Unavailable
            | Failure::Busy
            | Failure::TooOften
            | Failure::FullScrapeTooSoon => Some(PASSING_RETRY_S),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_fits_and_starts_with_its_number() {
        let rows = [
            (Failure::MissingField(Field::InfoHash), "#1 "),
            (Failure::MissingField(Field::PeerId), "#1 "),
            (Failure::MissingField(Field::Port), "#1 "),
            (Failure::MissingField(Field::Uploaded), "#1 "),
            (Failure::MissingField(Field::Downloaded), "#1 "),
            (Failure::MissingField(Field::Left), "#1 "),
            (Failure::InfoHashLength, "#2 "),
            (Failure::PeerIdLength, "#3 "),
            (Failure::PortInvalid, "#4 "),
            (Failure::PortZero, "#4 "),
            (Failure::NotRegistered, "#5 "),
            (Failure::Banned, "#6 "),
            (Failure::Unavailable, "the "),
            (Failure::Busy, "the "),
            (Failure::TooOften, "too "),
            (Failure::FullScrapeTooSoon, "that "),
            (Failure::FullScrapeOff, "full "),
            (Failure::FullScrapeTooLarge, "the "),
        ];
        for (failure, start) in rows {
            assert!(failure.text().starts_with(start), "{failure:?}");
            assert!(failure.text().len() <= TEXT_BYTES_MAX, "{failure:?}");
        }
    }

    #[test]
    fn what_never_succeeds_says_so_and_a_wait_is_never_rounded_down() {
        let rows = [
            (Failure::MissingField(Field::Port), 300, None, 1_800),
            (Failure::InfoHashLength, 300, None, 1_800),
            (Failure::PeerIdLength, 300, None, 1_800),
            (Failure::PortInvalid, 300, None, 1_800),
            (Failure::PortZero, 90, Some(5), 300),
            (Failure::NotRegistered, 300, Some(5), 300),
            (Failure::NotRegistered, 90, Some(2), 90),
            (Failure::NotRegistered, 1_800, Some(30), 1_800),
            (Failure::Banned, 90, Some(30), 1_800),
            (Failure::Busy, 90, Some(5), 300),
            (Failure::TooOften, 90, Some(5), 300),
            (Failure::FullScrapeTooLarge, 90, Some(30), 1_800),
        ];
        for (failure, unregistered_s, minutes, interval_s) in rows {
            assert_eq!(failure.retry_minutes(unregistered_s), minutes, "{failure:?}");
            assert_eq!(failure.interval_s(unregistered_s), interval_s, "{failure:?}");
        }
    }
}
