//! The `announced` program: command line in, exit code out.
//!
//! Beside it: the flags and subcommands (`flags`), the tracker that runs until it is told to stop
//! (`serve`, `timers`) and its log (`log_writer`), what it is given by another process
//! (`inherited`) and how it is succeeded (`upgrade`), what the service manager is told (`notify`),
//! `announced torrent` (`torrent`), the manual pages (`manual`), and what is said on the terminal
//! (`terminal`).
//!
//! A wrong setting, an address in use or a thread that died is exit code 1 and one line on stderr
//! for each problem; a misused command line is clap's exit code 2. A doubtful setting is a line on
//! stderr and no more.

mod address_space;
mod flags;
mod health;
mod inherited;
mod log_writer;
mod manual;
mod notify;
mod serve;
mod start_up;
mod terminal;
mod timers;
mod torrent;
mod upgrade;

use std::io;
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};

use announced::config::{self, Flags, Sources, read_settings, redact};
use announced::foresight::foresee;
use announced::registry::panic_is_fenced;

use flags::{Command, CommandLine, Schema, environment, environment_database};
use terminal::{complain, print, warn_of};

fn main() -> ExitCode {
    let claimed = inherited::claim();
    print_no_fenced_panic();
    let outcome = match CommandLine::read() {
        Ok(CommandLine { command: None, start }) => {
            claimed.map_err(|problem| vec![problem]).and_then(|()| serve::run(start))
        }
        Ok(CommandLine { command: Some(Command::Config), .. }) => print(&config::default_file()),
        Ok(CommandLine { command: Some(Command::Check { file, connect }), .. }) => {
            check(file, connect)
        }
        Ok(CommandLine { command: Some(Command::Schema { kind }), .. }) => print(schema(kind)),
        Ok(CommandLine { command: Some(Command::Torrent(torrent)), .. }) => torrent::run(torrent),
        Ok(CommandLine { command: Some(Command::Health { address }), .. }) => health::run(address),
        Ok(CommandLine { command: Some(Command::Man { page }), .. }) => manual::man(page),
        Ok(CommandLine { command: Some(Command::Completions { shell }), .. }) => {
            manual::completions(shell)
        }
        Err(error) if error.kind() == ErrorKind::ValueValidation => Err(vec![wrong_value(&error)]),
        Err(error) if error.use_stderr() => return misused(&error),
        Err(help_or_version) => print(&help_or_version.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            complain(
                &problems
                    .iter()
                    .map(|problem| format!("announced: {problem}\n"))
                    .collect::<String>(),
            );
            ExitCode::FAILURE
        }
    }
}

/// One line for a flag whose value cannot be read: such a mistake is a wrong setting like those in
/// a file, not a misused command line.
fn wrong_value(error: &clap::Error) -> String {
    let told = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (flag, value) = (told(ContextKind::InvalidArg), told(ContextKind::InvalidValue));
    let flag = flag.split_whitespace().next().unwrap_or_default();
    let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{flag}: {:?}: {reason}", redact(&value))
}

/// Clap's own words and exit code; what it quotes may be a URL that slipped out of place.
fn misused(error: &clap::Error) -> ExitCode {
    complain(&redact(&error.to_string()));
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Checks `file` as a start with it would: the environment's settings stand in for the file's.
/// With `connect`, the database is asked as well.
fn check(file: PathBuf, connect: bool) -> Result<(), Vec<String>> {
    let (file, text) = match file.as_os_str() == "-" {
        true => (PathBuf::from("stdin"), Some(read_settings(&mut io::stdin().lock()))),
        false => (file, None),
    };
    let text = text.transpose().map_err(|error| vec![format!("stdin: {error}")])?;
    let ok = format!("{}: ok\n", file.display());
    let sources = Sources {
        file: Some(file),
        text,
        environment_database: environment_database()?,
        environment: environment(),
        flags: Flags::default(),
    };
    let config = sources.load()?;
    warn_of(&sources.warnings(&config));
    match sources.lines(&foresee(&config)) {
        problems if problems.is_empty() => {}
        problems => return Err(problems),
    }
    if connect {
        torrent::ask(&config)?;
    }
    print(&ok)
}

/// The SQL of the files in `schema/`.
fn schema(kind: Schema) -> &'static str {
    match kind {
        Schema::Mysql => include_str!("../../../schema/mysql.sql"),
        Schema::Sqlite => include_str!("../../../schema/sqlite.sql"),
        Schema::FromPhpTracker => include_str!("../../../schema/from-php-tracker.sql"),
    }
}

/// A panic that the library catches is told of as an error of what panicked.
fn print_no_fenced_panic() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !panic_is_fenced() {
            print(panic);
        }
    }));
}
