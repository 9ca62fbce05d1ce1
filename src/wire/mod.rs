//! Bytes to values and values to bytes: HTTP/1.x heads, query strings, bencoding (BEP 3, 7, 21, 23,
//! 24, 31, 48).
//!
//! Owns: what a request means once its bytes are here, and what an answer looks like on the wire.
//!
//! Never: a socket, a clock, randomness, a lock, a log line or the heap. What comes in is borrowed
//! from the caller's buffer, what goes out is written into one. The outcome of a parse never
//! depends on how the network cut the bytes.
//!
//! Limits: one request is at most what the caller allows, with [`http::request::HEADERS_MAX`] headers; one
//! answer is at most [`http::reply::REPLY_BYTES_MAX`]. Whether a peer may be stored, and under which
//! address, is decided above.
//!
//! The way of one announce: [`http::request::parse`] finds the head, [`http::route::route`] the query,
//! [`announce::AnnounceQuery`] the fields, and [`http::reply::announce`] writes the answer, head and body
//! in one piece.

pub mod announce;
pub mod bencode;
pub mod failure;
pub mod forwarded;
pub mod http;
pub mod proxy_protocol;
pub mod query;
pub mod scrape;
pub mod udp;
