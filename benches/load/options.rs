//! The command line of the load bench.

use std::path::PathBuf;

use clap::Parser;

/// Loads the built tracker from outside, beside a server that does nothing, and beside other
/// trackers.
#[derive(Parser, Clone, Debug)]
#[command(name = "load", bin_name = "cargo bench --bench load --")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Options {
    /// Only the loads whose names contain this; may repeat.
    #[arg(long = "load", value_name = "NAME")]
    pub(crate) loads: Vec<String>,
    /// What cargo bench passes on: the same as --load.
    #[arg(value_name = "NAME")]
    filters: Vec<String>,
    /// Every load there is: a quarter of an hour, and 2 GB of memory.
    #[arg(long)]
    pub(crate) full: bool,
    /// A few short rounds of the main loads: whether it works, not how fast it is.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Name the loads and end.
    #[arg(long)]
    pub(crate) list: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave other trackers out.
    #[arg(long)]
    pub(crate) no_rivals: bool,
    /// Another build of the tracker, to stand beside the one of this tree.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) other: Option<PathBuf>,
    /// Rounds of each server, in turns.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of one round.
    #[arg(long)]
    seconds: Option<f64>,
    /// Torrents, instead of each load's own number.
    #[arg(long)]
    pub(crate) torrents: Option<u32>,
    /// Peers, instead of each load's own number.
    #[arg(long)]
    pub(crate) peers: Option<u32>,
    /// Exponent of the sizes of swarms; 0 spreads the peers evenly.
    #[arg(long)]
    pub(crate) zipf: Option<f64>,
    /// The share of peers that are seeders.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) seeders: f64,
    /// Peers asked for in each announce.
    #[arg(long, default_value_t = 50)]
    pub(crate) numwant: u16,
    /// Requests under way at a time, each on a connection of its own.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// What cargo bench passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Rounds of each server.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 9 }).max(1)
    }

    /// Seconds of one round.
    pub(crate) fn round_s(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.2 } else { 0.5 }).clamp(0.01, 3_600.0)
    }

    /// Whether a load was asked for by name: its own, or a part of it where no load is called that.
    /// None when nothing was asked for.
    pub(crate) fn names(&self, load: &str, others: &[&str]) -> Option<bool> {
        let mut names = self.loads.iter().chain(&self.filters).peekable();
        names.peek()?;
        Some(names.any(|name| {
            load == name || (load.contains(name.as_str()) && !others.contains(&name.as_str()))
        }))
    }
}
