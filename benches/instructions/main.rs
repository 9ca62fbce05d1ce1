//! The guard: how many instructions one announce takes above the system calls, by its shape,
//! against the figures committed.
//!
//! `cargo bench --bench instructions` runs this program under valgrind's callgrind, once for each
//! shape, and counts what lies between a read and a write: from the bytes of a request to the bytes
//! of its answer. Instructions do not change with the machine's mood. They do with the compiler, so
//! the baseline names the one it was made with, and with another the comparison is no more than
//! told.
//!
//! More than [`TOLERANCE`] above the baseline fails, and so does as much below: the baseline is
//! then to be lowered, by `-- --update`, so that what was won is not lost unnoticed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]

mod away;
mod shapes;
mod site;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use serde::{Deserialize, Serialize};

use shapes::{ANSWERS, DEAR_MAX, Input, OPEN, REGISTERED, SHAPES, Shape};
use site::Site;

/// The share by which a count may differ from its baseline.
const TOLERANCE: f64 = 0.05;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.json");
/// First argument of this program when it is to be counted; the name of the shape follows.
const COUNTED: &str = "--counted";

/// Counts the instructions of an announce, and compares them with the committed baseline.
#[derive(Parser)]
#[command(name = "instructions", bin_name = "cargo bench --bench instructions --")]
struct Options {
    /// Only shapes whose names contain this.
    #[arg(value_name = "NAME")]
    filters: Vec<String>,
    /// Make what is counted now the baseline: of every shape, as it names one compiler for all.
    #[arg(long, conflicts_with = "filters")]
    update: bool,
    /// What cargo bench passes to every bench, and what is passed through it to others.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    quick: bool,
}

/// The figures committed.
#[derive(Default, Serialize, Deserialize)]
struct Baseline {
    /// What `rustc --version` said.
    compiler: String,
    /// Instructions of one answer, by shape.
    instructions: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    let outcome = match (env::args().nth(1), env::args().nth(2)) {
        (Some(first), Some(name)) if first == COUNTED => answer_shape(&name),
        _ => compare(&Options::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> io::Result<()> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err(io::Error::other("valgrind is missing: install the Debian package valgrind"));
    }
    let is_chosen = |shape: &&Shape| {
        options.filters.is_empty()
            || options.filters.iter().any(|name| shape.name.contains(name.as_str()))
    };
    let mut baseline: Baseline = fs::read_to_string(BASELINE)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let compiler = compiler();
    let mut off = Vec::new();
    println!("{:<38}{:>14}{:>12}{:>10}", "", "instructions", "baseline", "change");
    for shape in SHAPES.iter().filter(is_chosen) {
        let count = count(shape)?;
        let before = baseline.instructions.insert(shape.name.to_owned(), count);
        let change = before.map(|before| change(before, count));
        let shown = change.map_or("new".to_owned(), |change| format!("{:+.1} %", 100.0 * change));
        println!(
            "{:<38}{count:>14}{:>12}{shown:>10}",
            shape.name,
            before.map_or(String::new(), |before| before.to_string())
        );
        let usual = baseline.instructions.get(OPEN).copied().unwrap_or(u64::MAX / DEAR_MAX);
        if shape.is_dear && count > DEAR_MAX * usual {
            off.push(format!("{} is above {DEAR_MAX} announces", shape.name));
        }
        if change.is_none_or(|change| change.abs() > TOLERANCE) {
            off.push(format!("{} {shown}", shape.name));
        }
    }
    let of = |name: &str| baseline.instructions.get(name).copied();
    if let (Some(open), Some(registered)) = (of(OPEN), of(REGISTERED)) {
        println!(
            "{:<38}{:>14.3}",
            "registered, warm, against open",
            1.0 + change(open, registered)
        );
    }
    if options.update {
        baseline.compiler = compiler;
        return fs::write(BASELINE, format!("{:#}\n", serde_json::to_value(&baseline)?));
    }
    if off.is_empty() {
        return Ok(());
    }
    let verdict =
        format!("off the baseline by more than {} %: {}", 100.0 * TOLERANCE, off.join("; "));
    if compiler != baseline.compiler {
        println!("{verdict}; but it was made with another compiler: {}", baseline.compiler);
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{verdict}\nif that is on purpose: cargo bench --bench instructions -- --update"
    )))
}

#[allow(clippy::cast_precision_loss, reason = "thousands of instructions")]
fn change(before: u64, now: u64) -> f64 {
    now as f64 / before as f64 - 1.0
}

fn compiler() -> String {
    let output =
        Command::new(env::var_os("RUSTC").unwrap_or("rustc".into())).arg("--version").output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// Instructions of one answer, by callgrind.
fn count(shape: &Shape) -> io::Result<u64> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--collect-atstart=no",
        "--toggle-collect=*answer_all_inputs*",
    ]);
    command.arg(format!("--callgrind-out-file={}", file.display()));
    // An empty environment, whose size would shift the stack. memcpy and memchr are the processor's
    // own, alike wherever there is AVX2.
    command
        .arg(env::current_exe()?)
        .args([COUNTED, shape.name])
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default());
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let total = total(&file)?;
    if total == 0 {
        return Err(io::Error::other("callgrind has not found what to count"));
    }
    Ok(total / ANSWERS as u64)
}

/// The sum at the end of callgrind's output.
fn total(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    total
        .and_then(|total| total.trim().parse().ok())
        .ok_or_else(|| io::Error::other("callgrind says no total"))
}

/// What runs under callgrind.
fn answer_shape(name: &str) -> io::Result<()> {
    let shape = SHAPES
        .iter()
        .find(|shape| shape.name == name)
        .ok_or_else(|| io::Error::other("no such shape"))?;
    // One more than those that are there at first: a new peer.
    let mut site = Site::new(shape.registered, shape.peers + 1, shape.of_one_address)?;
    for Input { peer, bytes } in shape.first() {
        if site.receive(peer, &bytes) == 0 {
            site.look_up(peer);
        }
    }
    let inputs = shape.inputs(|peer| site.connection_id(peer));
    if shape.repeats() {
        answer_all(&mut site, shape, &inputs);
    }
    let bytes = answer_all_inputs(&mut site, shape, &inputs);
    let answers = site.answers(bytes);
    // Over UDP, action 3 is an error.
    let failed = match shape.is_udp() {
        true => answers.len() < 16 || answers[3] == 3,
        false => answers.is_empty() || answers.windows(7).any(|window| window == b"failure"),
    };
    if failed {
        Err(io::Error::other(format!("{name}: {}", answers.escape_ascii())))
    } else {
        Ok(())
    }
}

/// What is counted.
#[inline(never)]
fn answer_all_inputs(site: &mut Site, shape: &Shape, inputs: &[Input]) -> usize {
    answer_all(site, shape, inputs)
}

/// Answers every input; how long the last answers were.
fn answer_all(site: &mut Site, shape: &Shape, inputs: &[Input]) -> usize {
    let mut bytes = 0;
    for Input { peer, bytes: input } in inputs {
        if shape.is_udp() {
            bytes = black_box(site.answer_datagram(*peer, black_box(input)));
            continue;
        }
        if shape.reconnects {
            site.reconnect(*peer);
        }
        bytes = black_box(site.receive(*peer, black_box(input)));
    }
    bytes
}
