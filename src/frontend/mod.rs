//! The ways in: one file or folder for each protocol that the tracker is asked in.
//!
//! Owns: turning a protocol's requests into calls of the tracker, and the tracker's outcomes into
//! the protocol's bytes. `http` is announces and scrapes over HTTP; `full_scrape` is the scrape of
//! everything, which a thread of its own makes; `client_address` says who is asking; `output` is
//! where answers are written; `counted` says which counter a refusal adds to; `udp` is announces
//! and scrapes over UDP, with `connection_id`; `status` is the operator's
//! pages, `site_pages` what a browser sees at the public address.
//!
//! Never: decides who is served, owns a socket, or reads a clock.

mod client_address;
mod connection_id;
mod counted;
mod full_scrape;
mod http;
mod output;
mod site_pages;
mod status;
mod udp;

pub use connection_id::ConnectionIds;
pub use full_scrape::{FULL_SCRAPES_MAX, FullScrape, FullScrapeMail, FullScrapeRequest, LargeBody};
pub use http::{Answer, Http, LateAnswer, Pending};
pub use output::Output;
pub use status::{
    Page, REQUEST_BYTES_MAX as STATUS_REQUEST_BYTES_MAX, Source as StatusSource, Status,
};
pub use udp::{Packet, PendingDatagram, Reply, Udp};
