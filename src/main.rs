//! The `announced` program: settings, start, and waiting for the end.
//!
//! Owns: the first lines on stdout, the log's set-up, and what each signal means. Beside it: the
//! flags and subcommands (`command_line`), and `announced torrent` (`torrent_command`).
//!
//! - SIGTERM and SIGINT stop the tracker in good order: exit code 0. A second one ends it at once:
//!   128 + signal, as shells count.
//! - SIGUSR1 writes the counters into the log. SIGHUP has every verdict asked for anew: what the
//!   operator has changed in the database counts at once.
//! - A wrong setting, an address in use or a thread that died is exit code 1 and one line on stderr
//!   for each problem; a misused command line is clap's exit code 2.
//!
//! Never does: anything with a socket or, but for `announced torrent`, a database. Nothing here
//! runs while announces are answered.

mod command_line;
mod torrent_command;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::panic;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use clap::error::{ContextKind, ErrorKind};
use log::{LevelFilter, info};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use announced::config::{self, Config, DatabaseUrl, Flags, LogLevel, Sources, redact};
use announced::registry::panic_is_fenced;
use announced::server::Server;

use command_line::{Command, CommandLine, Start};

/// How long answers may still go out, and counters be written, after a signal asked for the end; a
/// second more at the worst. Supervisors kill after 10 s (Docker) to 90 s (systemd).
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Exit code of a process ended by a signal, less the signal's number, as shells report it.
const EXIT_SIGNAL_BASE: i32 = 128;

fn main() -> ExitCode {
    print_no_fenced_panic();
    let outcome = match CommandLine::read() {
        Ok(CommandLine { command: None, start }) => run(start),
        Ok(CommandLine { command: Some(Command::Config), .. }) => print(&config::default_file()),
        Ok(CommandLine { command: Some(Command::Check { file }), .. }) => check(file),
        Ok(CommandLine { command: Some(Command::Torrent(torrent)), .. }) => {
            torrent_command::run(torrent)
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

/// Checks `file` as a start with it would: the environment's database stands in for the file's.
fn check(file: PathBuf) -> Result<(), Vec<String>> {
    let ok = format!("{}: ok\n", file.display());
    Sources {
        file: Some(file),
        environment_database: environment_database()?,
        flags: Flags::default(),
    }
    .load()?;
    print(&ok)
}

fn run(start: Start) -> Result<(), Vec<String>> {
    let Start { config: file, listen, workers, mode, database } = start;
    let flags = Flags { listen, workers, mode, database };
    let config = Sources { file, environment_database: environment_database()?, flags }.load()?;
    serve(&config).map_err(|problem| vec![problem])
}

/// `ANNOUNCED_DATABASE`; empty is as good as unset.
fn environment_database() -> Result<Option<DatabaseUrl>, Vec<String>> {
    match env::var("ANNOUNCED_DATABASE") {
        Ok(url) => Ok(Some(url).filter(|url| !url.is_empty()).map(DatabaseUrl::from)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(vec!["ANNOUNCED_DATABASE: is not UTF-8".to_owned()])
        }
    }
}

/// Starts the server and stays until it ends. The error is one line.
fn serve(config: &Config) -> Result<(), String> {
    log_to_stderr(config.server.log_level);
    let (events, inbox) = mpsc::channel();
    watch_signals(events.clone()).map_err(|error| format!("cannot watch for signals: {error}"))?;
    watch_panics(events.clone());
    let (mode, database) = (config.tracker.mode, config.database.url.clone());
    let worker_ended = move |worker| drop(events.send(Event::WorkerEnded(worker)));
    let server = Server::start(config, worker_ended).map_err(|error| error.to_string())?;
    let site =
        format!("{mode} tracker, {}, database {database}", count(server.workers(), "worker"));
    // Nobody need read them: a daemon whose stdout is closed still serves.
    let _ = io::stdout().write_all(start_up_lines(&site, server.addresses()).as_bytes());
    let outcome = wait(&server, &inbox, config.server.stats_interval);
    let stopped = server.stop_and_join(STOP_GRACE).map_err(|error| error.to_string());
    outcome.and(stopped)
}

/// What can happen to a tracker that runs.
enum Event {
    /// SIGTERM or SIGINT, by number.
    Stop(i32),
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    Stats,
    /// The worker of this index ended though nobody asked it to.
    WorkerEnded(usize),
    /// The thread of this name panicked.
    Panicked(String),
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

/// Turns panics into events, whichever thread it is: without the one that writes counters, say, the
/// tracker would go on serving, and count for nothing. One that the library catches is none.
fn watch_panics(events: Sender<Event>) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if panic_is_fenced() {
            return;
        }
        print(panic);
        let thread = thread::current().name().unwrap_or("without a name").to_owned();
        log::error!("the thread {thread} panicked: the tracker cannot go on");
        // Nobody listens any more when the end has begun.
        let _ = events.send(Event::Panicked(thread));
    }));
}

/// Turns signals into events on a thread of its own. They are caught from here on, so that none is
/// lost while the server starts.
fn watch_signals(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    let watch = move || {
        let mut stopping = false;
        for signal in signals.forever() {
            let event = match signal {
                SIGHUP => Event::Hangup,
                SIGUSR1 => Event::Stats,
                _ if stopping => process::exit(EXIT_SIGNAL_BASE + signal),
                _ => Event::Stop(signal),
            };
            stopping |= matches!(event, Event::Stop(_));
            // Main no longer listens once it is stopping; a second signal must still be heard here.
            let _ = events.send(event);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(())
}

/// Attends to events until one of them is the end: asked for, or an error. The counters are logged
/// every `stats_interval`, unless 0.
fn wait(server: &Server, inbox: &Receiver<Event>, stats_interval: Duration) -> Result<(), String> {
    let patience = if stats_interval.is_zero() { Duration::MAX } else { stats_interval };
    loop {
        match inbox.recv_timeout(patience) {
            Ok(Event::Stop(signal)) => {
                info!("stopping on {}", if signal == SIGINT { "SIGINT" } else { "SIGTERM" });
                return Ok(());
            }
            Ok(Event::Hangup) => {
                info!("SIGHUP: everything is asked for anew");
                server.tracker().registry().reload();
            }
            Ok(Event::Stats) | Err(RecvTimeoutError::Timeout) => info!("{}", server.stats()),
            Ok(Event::WorkerEnded(worker)) => {
                return Err(format!("worker {worker} ended unexpectedly"));
            }
            Ok(Event::Panicked(thread)) => return Err(format!("the thread {thread} panicked")),
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the signal thread ended unexpectedly".to_owned());
            }
        }
    }
}

/// The lines on stdout that say the tracker serves, and under which URLs.
fn start_up_lines(site: &str, addresses: &[SocketAddr]) -> String {
    let mut lines = format!("announced {}: {site}\n", env!("CARGO_PKG_VERSION"));
    lines.extend(addresses.iter().map(|address| format!("listening on {address}\n")));
    lines.extend(
        addresses
            .iter()
            .map(|address| format!("announce URL {}\n", announce_url(*address, &hostname()))),
    );
    lines
}

/// What to put into a torrent. An unspecified address is reached under the machine's name.
fn announce_url(address: SocketAddr, hostname: &str) -> String {
    match address.ip().is_unspecified() {
        true => format!("http://{hostname}:{}/announce", address.port()),
        false => format!("http://{address}/announce"),
    }
}

/// The machine's name as the kernel has it; `localhost` where that is nothing to put into a URL.
fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let usable = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && !name.is_empty();
    if usable { name } else { "localhost" }.to_owned()
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Log lines go to stderr with a timestamp. RUST_LOG overrides the setting.
fn log_to_stderr(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    };
    env_logger::Builder::new().filter_level(level).parse_env("RUST_LOG").init();
}

/// Writes to stdout. A reader that has seen enough (`announced config | head`) is no error.
fn print(text: &str) -> Result<(), Vec<String>> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(vec![format!("cannot write to stdout: {error}")])
        }
        _ => Ok(()),
    }
}

/// Writes to stderr; when even that is closed, the exit code must do.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announce_url_names_a_host_that_can_be_reached() {
        let rows = [
            ("[::]:6969", "http://tracker.example:6969/announce"),
            ("0.0.0.0:80", "http://tracker.example:80/announce"),
            ("127.0.0.1:6969", "http://127.0.0.1:6969/announce"),
            ("[2001:db8::1]:6969", "http://[2001:db8::1]:6969/announce"),
        ];
        for (address, url) in rows {
            assert_eq!(announce_url(address.parse().unwrap(), "tracker.example"), url);
        }
    }

    #[test]
    fn a_panic_in_any_thread_is_heard_of() {
        let (events, inbox) = mpsc::channel();
        watch_panics(events);
        let thread =
            thread::Builder::new().name("flush".to_owned()).spawn(|| panic!("on purpose")).unwrap();
        assert!(thread.join().is_err());
        assert!(matches!(inbox.try_recv(), Ok(Event::Panicked(thread)) if thread == "flush"));
    }

    #[test]
    fn the_start_up_lines_list_every_address() {
        let addresses = ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
        let lines = start_up_lines("open tracker, 2 workers, database memory", &addresses);
        let expected = "open tracker, 2 workers, database memory\nlistening on 127.0.0.1:1\nlistening on [::1]:2\n\
                        announce URL http://127.0.0.1:1/announce\nannounce URL http://[::1]:2/announce\n";
        assert_eq!(lines, format!("announced {}: {expected}", env!("CARGO_PKG_VERSION")));
    }
}
