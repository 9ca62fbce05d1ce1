//! What the fuzz targets do: each function takes any bytes and panics when something that must
//! always hold does not.
//!
//! `fuzz/fuzz_targets` calls them one by one on a nightly toolchain, `tests::corpus` all of them on
//! a stable one, with every file of `fuzz/corpus`. An input that made one of them panic is kept
//! there, under a name that says what it was.

mod answer;
mod head;
mod preface;
mod query;
mod reply;
mod snapshot;
mod split;
mod torrent_file;
mod udp;

pub use head::http_head;
pub use preface::proxy_preface;
pub use query::{announce_query, scrape_query};
pub use reply::reply_decode;
pub use snapshot::snapshot_load;
pub use split::connection_split;
pub use torrent_file::torrent_file;
pub use udp::{udp_options, udp_packet};
