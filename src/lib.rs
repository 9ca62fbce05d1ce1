//! `announced`: an announce daemon.
pub mod ids;
