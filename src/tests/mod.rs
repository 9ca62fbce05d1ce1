//! Cross-module tests: what no single module can show by itself, and what tests share.
//!
//! The naive oracles and the bodies of the fuzz targets are compiled for the latter as well
//! (feature `fuzzing`): one oracle, judged by whoever calls it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing test says so by a panic"
)]

pub mod announcement;
#[cfg(test)]
mod client_replies;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod databases;
#[cfg(test)]
mod datagram_clients;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod field_requests;
#[cfg(test)]
mod fields;
#[cfg(test)]
pub(crate) mod fifo;
pub mod fuzz;
pub mod harness;
#[cfg(test)]
mod house;
#[cfg(test)]
mod http;
#[cfg(test)]
mod large_bodies;
#[cfg(test)]
mod late_datagrams;
#[cfg(test)]
mod late_registry;
#[cfg(test)]
#[path = "../../tests/support/mariadb.rs"]
mod mariadb;
pub mod model;
pub mod naive;
pub mod naive_udp;
#[cfg(test)]
mod no_allocation;
#[cfg(test)]
mod oracle;
#[cfg(test)]
pub(crate) mod paper_ledger;
#[cfg(test)]
mod prefaces;
#[cfg(test)]
mod property;
#[cfg(test)]
mod replies;
#[cfg(test)]
#[path = "../../tests/support/seeds.rs"]
pub(crate) mod seeds;
#[cfg(test)]
mod simulated_datagrams;
pub mod simulated_stream;
#[cfg(test)]
mod simulation;
pub mod snapshots;
#[cfg(test)]
mod story;

#[cfg(test)]
pub(crate) use property::property;
