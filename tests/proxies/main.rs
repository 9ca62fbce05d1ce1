//! The built tracker behind real proxies: HAProxy, nginx and hitch, as operators set them up.
//!
//! Each test starts one proxy (or two in a row) on generated settings, and sends the requests of
//! two clients through it, from 127.0.0.11 and 127.0.0.12 and for one port. Behind a proxy that is
//! not looked through they are one peer at 127.0.0.1, and one client's `stopped` removes the other.
//! [`sharding`] has three trackers on one database behind the project's own `deploy/haproxy.cfg`.
//!
//! Needs haproxy, nginx with its stream module, hitch, openssl, curl and mariadbd (`tests/run.sh`
//! installs them): a test fails with the name of the Debian package that is missing.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing helper fails its test, with a text"
)]

mod clients;
mod headers;
#[path = "../support/mariadb.rs"]
mod mariadb;
mod preface;
mod proxy;
mod sharding;
#[path = "../database/site.rs"]
#[allow(dead_code, reason = "every test program takes what it needs")]
mod site;
#[path = "../support/mod.rs"]
mod support;
