//! The program's flags and subcommands, as clap reads them; their doc comments are the help texts.
//! Beside them the environment's settings.
//!
//! Never does: anything with what it has read. A misused command line is clap's own error, exit
//! code 2.

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use announced::config::{DatabaseUrl, Environment, Mode, listen_address};
use announced::metainfo::NAME_CHARS_MAX;

use crate::manual::Page;

/// A BitTorrent tracker. Without a command it starts and runs until it is told to stop (SIGTERM,
/// Ctrl-C).
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) start: Start,
}

impl CommandLine {
    /// The process's own command line.
    pub(crate) fn read() -> Result<CommandLine, clap::Error> {
        let read = CommandLine::try_parse()?;
        match &read.command {
            Some(Command::Torrent(Torrent {
                verb: Verb::Add { torrents, name: Some(_) }, ..
            })) if torrents.len() > 1 => Err(CommandLine::command()
                .error(ErrorKind::ArgumentConflict, "--name can only go with one torrent")),
            _ => Ok(read),
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print every setting with its default, unit and reason: a valid settings file
    Config,
    /// Check a settings file; exit code 1 and what is wrong, where, if it cannot be started with
    Check {
        /// The settings file; - reads from stdin
        file: PathBuf,
        /// Also ask the database, with the rights and tables that a tracker needs
        #[arg(long)]
        connect: bool,
    },
    /// Print the SQL that makes the tables, or brings those of the PHP tracker up to date
    Schema {
        /// Of which database
        kind: Schema,
    },
    /// List torrents in the database, ban them, take them off the list; running trackers see it
    /// within a second
    Torrent(Torrent),
    /// Ask a running tracker how it is; exit code 0 if it is well, as a container's HEALTHCHECK
    /// wants
    Health {
        /// Where its status pages are: admin.listen
        #[arg(default_value = "127.0.0.1:6970")]
        address: SocketAddr,
    },
    /// Print a manual page, as man reads it: announced man | man -l -
    Man {
        /// The page: of the program, or of its settings
        #[arg(default_value = "announced")]
        page: Page,
    },
    /// Print the completions of the command line for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args)]
pub(crate) struct Start {
    /// Read settings from this file (TOML); without it no file is read
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Listen here: IP:PORT, or :PORT for every address; may repeat [default: [::]:6969, which
    /// serves IPv4 too]
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    pub(crate) listen: Vec<SocketAddr>,
    /// Run this many event loops [default: 0, one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = workers)]
    pub(crate) workers: Option<u16>,
    /// Track any torrent (open) or only those in the database (registered) [default: open]
    #[arg(long, value_name = "open|registered")]
    pub(crate) mode: Option<Mode>,
    /// Use this database [default: sqlite:announced.db]; the environment variable
    /// ANNOUNCED_DATABASE keeps a password out of sight
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<DatabaseUrl>,
    /// Start also when the database refuses the tracker, by a wrong password or without its tables;
    /// one that does not answer is always waited for
    #[arg(long)]
    pub(crate) wait_for_database: bool,
}

#[derive(Args)]
pub(crate) struct Torrent {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Use this database [default: sqlite:announced.db]; the environment variable
    /// ANNOUNCED_DATABASE keeps a password out of sight
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) database: Option<DatabaseUrl>,
    /// Read settings from this file (TOML), of which the database's count here; without it no file
    /// is read
    #[arg(short, long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
}

/// `ANNOUNCED_DATABASE`; empty is as good as unset.
pub(crate) fn environment_database() -> Result<Option<DatabaseUrl>, Vec<String>> {
    match env::var("ANNOUNCED_DATABASE") {
        Ok(url) => Ok(Some(url).filter(|url| !url.is_empty()).map(DatabaseUrl::from)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(vec!["ANNOUNCED_DATABASE: is not UTF-8".to_owned()])
        }
    }
}

/// The environment's other settings.
pub(crate) fn environment() -> Environment {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    Environment::of(env::vars_os().filter_map(text))
}

/// Which tables.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Schema {
    /// New ones for MySQL or MariaDB
    Mysql,
    /// New ones for SQLite, which `sqlite:PATH` makes by itself
    Sqlite,
    /// Those of the PHP tracker in MySQL or MariaDB, brought up to date
    FromPhpTracker,
}

/// How many event loops.
fn workers(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "must be a whole number from 0 to 1024, for example --workers 4")
}

/// What may be written for TORRENT, below the help of the verbs that take one.
const TORRENT_HELP: &str = "\
TORRENT is an info hash (40 hex or 32 base32 digits, or a whole v2 hash of 64 hex digits), a \
                            magnet link, or the path of a .torrent file. A hybrid torrent has two \
                            hashes, and both are meant. A file that is called like a hash is \
                            reached as ./NAME.";

/// The form of the file that `import` reads, below its help.
const LIST_HELP: &str = "\
One torrent a line: an info hash or a magnet link, after it white space and a name if there is \
                         one; or the path of a .torrent file, as `find . -name '*.torrent'` \
                         prints it. Blank lines and lines that begin with # are passed over. Or \
                         what `announced torrent list --json` has printed, with its names, bans \
                         and reasons, but without its counts. A wrong line is named with its \
                         number and does not stop the others; the exit code is then 1. Torrents \
                         that are listed already keep their counts and bans, so the same file may \
                         be imported again.";

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// List torrents; one that is listed already keeps its counts and its ban
    #[command(after_help = TORRENT_HELP)]
    Add {
        /// The torrents to list
        #[arg(value_name = "TORRENT", required = true)]
        torrents: Vec<OsString>,
        /// What the torrent is called in scrapes [default: the name in its file or link]
        #[arg(long, value_name = "TEXT", value_parser = short_text)]
        name: Option<String>,
    },
    /// Ban torrents, listed or not; an open tracker refuses them too
    #[command(after_help = TORRENT_HELP)]
    Ban {
        /// The torrents to ban
        #[arg(value_name = "TORRENT", required = true)]
        torrents: Vec<OsString>,
        /// Told to clients that announce it
        #[arg(long, value_name = "TEXT", value_parser = short_text)]
        reason: Option<String>,
    },
    /// Lift the ban of torrents, which stay listed; exit code 1 if one is not listed
    #[command(after_help = TORRENT_HELP)]
    Unban {
        /// The torrents to allow again
        #[arg(value_name = "TORRENT", required = true)]
        torrents: Vec<OsString>,
    },
    /// Take torrents off the list, with their counts and bans; exit code 1 if one is not listed
    #[command(after_help = TORRENT_HELP)]
    Remove {
        /// The torrents to take off the list
        #[arg(value_name = "TORRENT", required = true)]
        torrents: Vec<OsString>,
    },
    /// Print the listed torrents in the order of their hashes
    List {
        /// Print one JSON array with an object for each torrent, for programs
        #[arg(long)]
        json: bool,
    },
    /// List or ban all torrents that a file names, one a line
    #[command(after_help = LIST_HELP)]
    Import {
        /// The file; - reads from stdin
        file: PathBuf,
        /// Ban the torrents in place of listing them
        #[arg(long)]
        ban: bool,
        /// Told to clients that announce a torrent that is banned so
        #[arg(long, requires = "ban", value_name = "TEXT", value_parser = short_text)]
        reason: Option<String>,
    },
}

/// A text that the database has room for.
fn short_text(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("must not be empty".to_owned()),
        chars if chars > NAME_CHARS_MAX => {
            Err(format!("has {chars} characters; {NAME_CHARS_MAX} is the most"))
        }
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_name_or_a_reason_has_a_length() {
        assert_eq!(short_text("ä"), Ok("ä".to_owned()), "one letter");
        assert!(short_text(&"ä".repeat(255)).is_ok(), "255 letters are refused");
        assert_eq!(
            short_text(&"ä".repeat(256)).unwrap_err(),
            "has 256 characters; 255 is the most"
        );
        assert!(short_text("").is_err());
    }
}
