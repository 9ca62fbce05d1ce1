//! The announce story and the site's policy, in values.
//!
//! Owns: what a request means here (which torrents are served, whose address is believed, how many
//! peers are handed out), in which order the layers below are asked, and what waits when the
//! registry has to ask the database. A request comes as a value and is answered with one: how its
//! bytes look is the frontends' business, whichever protocol they speak.
//!
//! Never: reads a socket or a clock, formats an answer, or allocates on the way of an announce
//! whose torrent is known. Time and settings are arguments ([`Round`]); a request that cannot be
//! answered yet becomes a value that its frontend keeps.
//!
//! `announce` and `scrape` are the two stories, `address` says whose address a peer is stored
//! under, `rates` how often an address may ask, `recent_announcers` where announces come from,
//! `readmission` which swarms of an earlier process come back, `round` and `outcome` are the values
//! that come in and go out.

mod address;
mod announce;
mod outcome;
mod rates;
mod readmission;
mod recent_announcers;
mod round;
mod scrape;

pub use announce::Tracker;
pub use outcome::{Outcome, ServedAnnounce, Waiting};
pub use rates::{Buckets, Rates, Strictness};
pub use readmission::SavedBy;
pub use recent_announcers::RecentAnnouncers;
pub use round::{Client, Round, Scratch};
pub use scrape::{Scraped, Torrents, WaitingScrape};
