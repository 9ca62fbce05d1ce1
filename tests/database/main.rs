//! The built tracker on real databases: a MariaDB that the tests start themselves, and SQLite.
//!
//! Most tests are one story told twice, see [`on_both`]. A test gets a database of its own in a
//! server that all share, and a server of its own only where it stops, freezes or kills it. Listing
//! and banning by hand is plain SQL, as a site does it; so is looking at what was written.
//!
//! Nothing is timed: what has to happen is waited for, with a deadline, and where it matters which
//! of two ways a change came by, the other one is set to an hour. The latencies that the tests
//! under load print (`--nocapture`) are for people.
//!
//! Needs mariadbd (`tests/run.sh` installs it).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing helper fails its test, with a text"
)]

/// Makes two tests of each story, `NAME::on_mariadb` and `NAME::on_sqlite`: a function that takes a
/// site with empty tables.
macro_rules! on_both {
    ($($story:ident,)*) => {
        $(mod $story {
            #[test]
            fn on_mariadb() {
                super::$story(&crate::site::Schema::create());
            }

            #[test]
            fn on_sqlite() {
                super::$story(&crate::site::SqliteFile::create());
            }
        })*
    };
}

mod away;
mod certificates;
mod cleaning;
mod counts;
mod crowd;
mod datagrams;
mod downloads;
mod faults;
mod flood;
mod load;
mod login;
#[path = "../support/mariadb.rs"]
mod mariadb;
mod peer;
mod php;
mod proxy;
mod refused;
mod registration;
mod rules;
mod site;
#[path = "../support/mod.rs"]
mod support;
