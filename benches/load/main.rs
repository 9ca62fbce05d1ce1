//! The load bench: how much processor time the built tracker takes for an announce, beside a server
//! that does nothing.
//!
//! `cargo bench --bench load` runs the main loads in under three minutes; `-- --full` all of them;
//! `-- --help` says what else there is. benches/README.md has the figures and what they mean.
//!
//! From the outside in: `loads` (what there is), `run` (one load), `site` (the servers and their
//! settings), `child` (a process, its processor time and memory), `bare` (the server that does
//! nothing), `client` (the load itself), `population`, `walk` and `request` (who announces, in
//! which order, in what words), `reply` and `latency` (what is looked at), `report`. For UDP:
//! `bare_udp`, `udp_client`, `udp_request`; `driver` is the load of either protocol.
//!
//! Limits: every wait ends by itself, and the servers end with the bench. Needs Linux, and 2 GB of
//! memory for ten million peers.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]

mod bare;
mod bare_udp;
mod child;
mod client;
mod driver;
mod latency;
mod loads;
mod options;
mod population;
mod reply;
mod report;
mod request;
mod run;
mod site;
#[path = "../../src/server/sockopt.rs"]
mod sockopt;
mod udp_client;
mod udp_request;
mod walk;

use std::env;
use std::io;
use std::process::ExitCode;

use clap::Parser;

use bare::{BARE_SERVER, Bare};
use bare_udp::{BARE_UDP_SERVER, BareUdp};
use child::{AS_CHILD, Cores, become_server, pin};
use loads::{LOADS, Load, When};
use options::Options;
use report::machine;
use run::Runner;

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let program = arguments.next().unwrap_or_default();
    let first = arguments.next().unwrap_or_default();
    let outcome = if first == AS_CHILD {
        Err(become_server(arguments))
    } else if first == BARE_SERVER {
        Bare::parse_from([program].into_iter().chain(arguments)).serve()
    } else if first == BARE_UDP_SERVER {
        BareUdp::parse_from([program].into_iter().chain(arguments)).serve()
    } else {
        run(&Options::parse())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let chosen: Vec<Load> = LOADS
        .iter()
        .filter(|load| is_chosen(load, options))
        .map(|load| adjusted(load, options))
        .collect();
    if options.list {
        LOADS.iter().for_each(|load| println!("{:<28}{}", load.name, load.about));
        return Ok(());
    }
    let cores = Cores::find()?;
    pin(&cores.load)?;
    rlimit::increase_nofile_limit(OPEN_FILES_MAX)?;
    let home = tempfile::tempdir()?;
    let runner = Runner { options, cores: &cores, home: home.path() };
    let mut outcomes = Vec::new();
    if !options.json && !chosen.is_empty() {
        println!("{}; {} rounds of {} s each\n", machine(), options.rounds(), options.round_s());
    }
    for load in &chosen {
        let outcome = runner.run(load)?;
        eprint!("\r\x1b[K");
        if !options.json {
            println!("{}", outcome.table());
        }
        outcomes.push(outcome);
    }
    if options.json {
        print!("{}", report::json(&outcomes));
    }
    Ok(())
}

/// Connections of the load, and of a server, may need so many at the very most.
const OPEN_FILES_MAX: u64 = 20_000;

fn is_chosen(load: &Load, options: &Options) -> bool {
    let all: Vec<&str> = LOADS.iter().map(|load| load.name).collect();
    options.names(load.name, &all).unwrap_or(match load.when {
        When::Always => true,
        When::Usually => !options.quick,
        When::Full => options.full,
    })
}

/// The load with what the command line says instead. Its goal is one for the load as it stands.
fn adjusted(load: &Load, options: &Options) -> Load {
    let as_it_stands =
        options.torrents.is_none() && options.peers.is_none() && options.zipf.is_none();
    let usual = options.seeders == 0.5 && options.numwant == 50 && options.connections == 64;
    Load {
        goal: load.goal.filter(|_| as_it_stands && usual),
        torrents: options.torrents.unwrap_or(load.torrents).max(1),
        peers: options.peers.unwrap_or(load.peers).max(1),
        zipf: options.zipf.unwrap_or(load.zipf),
        ..*load
    }
}
