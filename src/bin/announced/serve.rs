//! A tracker that runs until it is told to stop.
//!
//! Owns: the first lines on stdout, which are logged as well, and what each signal means.
//!
//! - SIGTERM and SIGINT stop the tracker in good order: exit code 0, or 1 when what outlives the
//!   process could not be saved. Another one ends it at once, 128 + signal, as shells count; but
//!   not within a second, in which one order to stop may come as two.
//! - SIGHUP reads the settings file again and takes it over, whole or not at all, and has the
//!   database asked for everything anew.
//! - SIGUSR1 writes the line of counters into the log.
//!
//! Never does: anything with a socket or a database. Nothing here runs while announces are
//! answered.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::panic::{self, PanicHookInfo};
use std::process;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, error, info, warn};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use announced::config::{Config, Flags, Sources};
use announced::daemon::Daemon;
use announced::registry::panic_is_fenced;

use crate::flags::{Start, environment_database};
use crate::log_writer::LogWriter;

/// How long answers may still go out, and counters be written, after a signal asked for the end; a
/// second more at the worst. Supervisors kill after 10 s (Docker) to 90 s (systemd).
const STOP_GRACE: Duration = Duration::from_secs(5);
/// For how long another signal to stop belongs to the first: `timeout` of coreutils signals the
/// process and its group, and so does supervisord with `stopasgroup`.
const ONE_ORDER_MAX: Duration = Duration::from_secs(1);
/// Exit code of a process ended by a signal, less the signal's number, as shells report it.
const EXIT_SIGNAL_BASE: i32 = 128;
/// How long stdout may take the first lines, before the tracker goes on without it.
const STDOUT_MAX: Duration = Duration::from_secs(1);

/// Starts a tracker and stays until it ends. The errors are lines.
pub(crate) fn run(start: Start) -> Result<(), Vec<String>> {
    let Start { config: file, listen, workers, mode, database, wait_for_database } = start;
    let flags = Flags { listen, workers, mode, database, wait_for_database };
    let sources = Sources { file, environment_database: environment_database()?, flags };
    let config = sources.load()?;
    let log = LogWriter::start().map_err(|error| vec![format!("cannot start the log: {error}")])?;
    LogWriter::set_level(config.server.log_level);
    for warning in sources.warnings(&config) {
        log.say(Level::Warn, &format!("warning: {warning}"));
    }
    let outcome = serve(&sources, &config, &log);
    for problem in outcome.as_ref().err().into_iter().flatten() {
        log.say(Level::Error, problem);
    }
    log.flush();
    // Everything is said.
    outcome.map_err(|_| Vec::new())
}

fn serve(sources: &Sources, config: &Config, log: &LogWriter) -> Result<(), Vec<String>> {
    let (events, inbox) = mpsc::channel();
    watch_signals(events.clone())
        .map_err(|error| vec![format!("cannot watch for signals: {error}")])?;
    watch_panics(events.clone());
    let worker_ended = move |worker| drop(events.send(Event::WorkerEnded(worker)));
    let mut daemon =
        Daemon::start(config, worker_ended).map_err(|error| vec![error.to_string()])?;
    let site = format!(
        "{} tracker, {}, database {}",
        config.tracker.mode,
        count(daemon.workers(), "worker"),
        config.database.url
    );
    tell(start_up_lines(&site, &Addresses::of(&daemon), &config.server.public_url), log);
    let outcome = wait(&mut daemon, sources, &inbox);
    let stopped = daemon.stop_and_join(STOP_GRACE).map_err(|error| error.to_string());
    outcome.and(stopped).map_err(|problem| vec![problem])
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

/// Turns panics into events, whichever thread it is: without the one that writes counters, say, the
/// tracker would go on serving, and count for nothing. One that the library catches is none. What
/// is said of it goes by the log, as nobody may read stderr.
fn watch_panics(events: Sender<Event>) {
    panic::set_hook(Box::new(move |panic| {
        if panic_is_fenced() {
            return;
        }
        let thread = thread::current().name().unwrap_or("without a name").to_owned();
        error!("the thread {thread} panicked: the tracker cannot go on: {}", describe(panic));
        // Nobody listens any more when the end has begun.
        let _ = events.send(Event::Panicked(thread));
    }));
}

/// What a panic says and where, on one line; behind it how it came there, if RUST_BACKTRACE asks.
fn describe(panic: &PanicHookInfo<'_>) -> String {
    let said = panic.payload_as_str().unwrap_or("no text").replace(char::is_control, " ");
    let place = panic.location().map(|place| format!(" ({place})")).unwrap_or_default();
    let trace = Backtrace::capture();
    match trace.status() {
        BacktraceStatus::Captured => format!("{said}{place}\n{trace}"),
        _ => format!("{said}{place}"),
    }
}

/// Turns signals into events on a thread of its own. They are caught from here on, so that none is
/// lost while the server starts.
fn watch_signals(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    let watch = move || {
        let mut stopping = None::<Instant>;
        for signal in signals.forever() {
            let event = match signal {
                SIGHUP => Event::Hangup,
                SIGUSR1 => Event::Stats,
                _ if stopping.is_some_and(|since| since.elapsed() >= ONE_ORDER_MAX) => {
                    process::exit(EXIT_SIGNAL_BASE + signal)
                }
                _ => Event::Stop(signal),
            };
            if matches!(event, Event::Stop(_)) && stopping.is_none() {
                stopping = Some(Instant::now());
            }
            // Main no longer listens once it is stopping; a second signal must still be heard here.
            let _ = events.send(event);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(())
}

/// Attends to events until one of them is the end: asked for, or an error. The counters are logged
/// every `stats_interval`, unless it is 0.
fn wait(daemon: &mut Daemon, sources: &Sources, inbox: &Receiver<Event>) -> Result<(), String> {
    loop {
        let interval = daemon.live().stats_interval;
        let longest = if interval.is_zero() { Duration::MAX } else { interval };
        match inbox.recv_timeout(longest) {
            Ok(Event::Stop(signal)) => {
                info!("stopping on {}", if signal == SIGINT { "SIGINT" } else { "SIGTERM" });
                return Ok(());
            }
            Ok(Event::Hangup) => reload(daemon, sources),
            Ok(Event::Stats) | Err(RecvTimeoutError::Timeout) => info!("{}", daemon.report()),
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

/// SIGHUP: the settings file is taken over whole, or refused whole with the lines that `announced
/// check` prints; the database is asked anew either way.
fn reload(daemon: &mut Daemon, sources: &Sources) {
    info!("SIGHUP: everything is asked for anew");
    daemon.ask_anew();
    let refused = |lines: &[String]| {
        for line in lines {
            error!("the settings stay as they were: {line}");
        }
    };
    let newer = match sources.load() {
        Ok(newer) => newer,
        Err(lines) => return refused(&lines),
    };
    for warning in sources.warnings(&newer) {
        warn!("{warning}");
    }
    let log_level = newer.server.log_level;
    let reload = match daemon.reload(newer) {
        Ok(reload) => reload,
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return refused(&lines);
        }
    };
    LogWriter::set_level(log_level);
    if !reload.taken.is_empty() {
        info!("changed settings: {}", reload.taken.join(", "));
    }
    if !reload.left.is_empty() {
        warn!("changed settings that need a restart: {}", reload.left.join(", "));
    }
    for (key, by) in sources.overridden() {
        warn!("{key} in the settings file does not count: {by} overrides it");
    }
}

/// Tells of the start on stdout and in the log, but once where one terminal or the journal has
/// both. Nobody need read stdout: a tracker whose stdout is closed, or a pipe that is full, still
/// serves.
fn tell(lines: String, log: &LogWriter) {
    if !(io::stdout().is_terminal() && io::stderr().is_terminal()) {
        lines.lines().for_each(|line| info!("{line}"));
    }
    if log.has_stdout {
        return;
    }
    let (done, written) = mpsc::channel();
    let write = move || {
        let _ = io::stdout().write_all(lines.as_bytes());
        let _ = done.send(());
    };
    if thread::Builder::new().name("stdout".to_owned()).spawn(write).is_ok() {
        let _ = written.recv_timeout(STDOUT_MAX);
    }
}

/// Where the tracker listens.
struct Addresses<'d> {
    http: &'d [SocketAddr],
    udp: &'d [SocketAddr],
}

impl Addresses<'_> {
    fn of(daemon: &Daemon) -> Addresses<'_> {
        Addresses { http: daemon.addresses(), udp: daemon.udp_addresses() }
    }
}

/// The lines on stdout that say the tracker serves, and under which URLs.
fn start_up_lines(site: &str, listening: &Addresses<'_>, public_url: &str) -> String {
    let Addresses { http, udp } = *listening;
    let mut lines = format!("announced {}: {site}\n", env!("CARGO_PKG_VERSION"));
    lines.extend(http.iter().map(|address| format!("listening on {address}\n")));
    lines.extend(udp.iter().map(|address| format!("listening on {address} for UDP\n")));
    let host = host_of(public_url).map_or_else(hostname, str::to_owned);
    let url = |scheme, address: &SocketAddr| {
        format!("announce URL {}\n", announce_url(scheme, *address, &host))
    };
    if public_url.is_empty() {
        lines.extend(http.iter().map(|address| url("http", address)));
    } else {
        lines.push_str(&format!("announce URL {public_url}\n"));
    }
    if !public_url.starts_with("udp://") {
        lines.extend(udp.iter().map(|address| url("udp", address)));
    }
    lines
}

/// The host of the public URL: others reach UDP under it as well.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    Some(&authority[..port_at.unwrap_or(authority.len())])
}

/// What to put into a torrent. An unspecified address is reached under the machine's name.
fn announce_url(scheme: &str, address: SocketAddr, hostname: &str) -> String {
    match address.ip().is_unspecified() {
        true => format!("{scheme}://{hostname}:{}/announce", address.port()),
        false => format!("{scheme}://{address}/announce"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announce_url_names_a_host_that_can_be_reached() {
        let rows = [
            ("http", "[::]:6969", "http://tracker.example:6969/announce"),
            ("udp", "[::]:6969", "udp://tracker.example:6969/announce"),
            ("http", "0.0.0.0:80", "http://tracker.example:80/announce"),
            ("http", "127.0.0.1:6969", "http://127.0.0.1:6969/announce"),
            ("udp", "[2001:db8::1]:6969", "udp://[2001:db8::1]:6969/announce"),
        ];
        for (scheme, address, url) in rows {
            assert_eq!(announce_url(scheme, address.parse().unwrap(), "tracker.example"), url);
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
        let udp = ["[::]:2".parse().unwrap(), "127.0.0.1:3".parse().unwrap()];
        let listening = Addresses { http: &addresses, udp: &udp };
        let begin = format!(
            "announced {}: open tracker\nlistening on 127.0.0.1:1\nlistening on [::1]:2\n\
             listening on [::]:2 for UDP\nlistening on 127.0.0.1:3 for UDP\n",
            env!("CARGO_PKG_VERSION")
        );
        let http =
            "announce URL http://127.0.0.1:1/announce\nannounce URL http://[::1]:2/announce\n";
        let udp = |host: &str| {
            format!(
                "announce URL udp://{host}:2/announce\nannounce URL udp://127.0.0.1:3/announce\n"
            )
        };
        for (public, urls) in [
            ("", format!("{http}{}", udp(&hostname()))),
            (
                "https://tracker.example/announce",
                format!(
                    "announce URL https://tracker.example/announce\n{}",
                    udp("tracker.example")
                ),
            ),
            (
                "udp://tracker.example:80/announce",
                "announce URL udp://tracker.example:80/announce\n".to_owned(),
            ),
        ] {
            let lines = start_up_lines("open tracker", &listening, public);
            assert_eq!(lines, format!("{begin}{urls}"), "the public URL is {public:?}");
        }
    }

    #[test]
    fn the_host_of_a_url_is_what_stands_before_port_and_path() {
        for (url, host) in [
            ("", None),
            ("http://tracker.example:6969/announce", Some("tracker.example")),
            ("https://tracker.example/announce", Some("tracker.example")),
            ("http://[2001:db8::1]:80/announce", Some("[2001:db8::1]")),
            ("http://[2001:db8::1]/announce", Some("[2001:db8::1]")),
            ("http://tracker.example", Some("tracker.example")),
        ] {
            assert_eq!(host_of(url), host, "{url:?}");
        }
    }
}
