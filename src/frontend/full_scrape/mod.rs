//! The full scrape: every torrent in one answer.
//!
//! A million torrents are 90 MB, so it is never made by a worker, and one copy is shared by all who
//! ask within an interval. `requests` decides who gets it and when, `maker` is the thread that
//! makes it, `body` is the copy on its way.
//!
//! Limits: [`COPIES_MAX`](maker::COPIES_MAX) copies in memory,
//! [`FULL_SCRAPES_MAX`](body::FULL_SCRAPES_MAX) answers waiting or on their way at once, which keep
//! one `pace` together, and one for an interval and address (an IPv6 address is its /64). Past any
//! of them the asker is told to come back. Past `tracker.full_scrape_bytes_max` it is only for
//! networks that are listed.

mod body;
mod maker;
mod pace;
mod requests;

pub use body::{FULL_SCRAPES_MAX, LargeBody};
pub use maker::FullScrapeMail;
pub(in crate::frontend) use requests::Told;
pub use requests::{FullScrape, FullScrapeRequest};
