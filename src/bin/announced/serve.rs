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
//! - SIGUSR2 starts the program anew, and hands over to it (`upgrade`).
//!
//! Never does: anything with a socket or a database. Nothing here runs while announces are
//! answered.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::process;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, error, info, warn};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use announced::config::{Config, Flags, Sources};
use announced::daemon::Daemon;
use announced::foresight::foresee;
use announced::registry::panic_is_fenced;

use crate::address_space::spare_address_space;
use crate::flags::{Start, environment, environment_database};
use crate::inherited::Inherited;
use crate::log_writer::LogWriter;
use crate::notify;
use crate::start_up::announcement;
use crate::timers::Timers;
use crate::upgrade::{Heard, Predecessor, Program, Successor};

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
    spare_address_space();
    let Start { config: file, listen, workers, mode, database, wait_for_database } = start;
    let flags = Flags { listen, workers, mode, database, wait_for_database };
    let sources = Sources {
        file,
        text: None,
        environment_database: environment_database()?,
        environment: environment(),
        flags,
    };
    let config = sources.load()?;
    match sources.lines(&foresee(&config)) {
        problems if problems.is_empty() => {}
        problems => return Err(problems),
    }
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
    let program = Program::of_this_process();
    let (events, inbox) = mpsc::channel();
    watch_signals(events.clone())
        .map_err(|error| vec![format!("cannot watch for signals: {error}")])?;
    watch_panics(events.clone());
    let Inherited { sockets, predecessor } = Inherited::take().map_err(|problem| vec![problem])?;
    if let Some(channel) = predecessor {
        Daemon::check(config, &sockets).map_err(|error| vec![error.to_string()])?;
        let turn = wait_turn(Predecessor::new(channel), &events, &inbox);
        if !turn.map_err(|problem| vec![problem])? {
            return Ok(());
        }
    }
    let ends = events.clone();
    let worker_ended = move |worker| drop(ends.send(Event::WorkerEnded(worker)));
    let mut daemon =
        Daemon::start(config, &sockets, worker_ended).map_err(|error| vec![error.to_string()])?;
    // The daemon has what it took of them; the others are closed.
    drop(sockets);
    tell(announcement(&daemon, config), log);
    info!("{}", daemon.caps());
    notify::ready();
    let mut upgrade = Upgrade { program, events, successor: None };
    let outcome = wait(&mut daemon, sources, &inbox, &mut upgrade);
    let stopped = match upgrade.successor.filter(|_| matches!(outcome, Ok(End::HandOver))) {
        Some(successor) => hand_over(daemon, successor, &inbox),
        None => daemon.stop_and_join(STOP_GRACE).map_err(|error| error.to_string()),
    };
    outcome.map(|_| ()).and(stopped).map_err(|problem| vec![problem])
}

/// This process could take its predecessor's place: says so, and waits until it is to. False when
/// it is to end instead.
fn wait_turn(
    mut predecessor: Predecessor,
    events: &Sender<Event>,
    inbox: &Receiver<Event>,
) -> Result<bool, String> {
    let turn = events.clone();
    predecessor.say_ready();
    thread::Builder::new()
        .name("predecessor".to_owned())
        .spawn(move || {
            predecessor.wait_go();
            // Nobody listens when the end was asked for meanwhile.
            let _ = turn.send(Event::Turn);
        })
        .map_err(|error| format!("cannot wait for the process before: {error}"))?;
    let mut has_missed = false;
    loop {
        match inbox.recv() {
            Ok(Event::Turn) => break,
            Ok(Event::Hangup) => has_missed = true,
            Ok(Event::Panicked(thread)) => return Err(format!("the thread {thread} panicked")),
            Ok(Event::Stop(_)) | Err(_) => return Ok(false),
            Ok(_) => {}
        }
    }
    if has_missed {
        // The settings were read before; the sender is this function's caller, who listens.
        let _ = events.send(Event::Hangup);
    }
    Ok(true)
}

/// Ends this process's work, and lets the successor begin.
fn hand_over(daemon: Daemon, successor: Successor, inbox: &Receiver<Event>) -> Result<(), String> {
    info!("process {} takes over", successor.id());
    let stopped = daemon.hand_over(STOP_GRACE).map_err(|error| error.to_string());
    if inbox.try_iter().any(|event| matches!(event, Event::Stop(_))) {
        info!("stopping: the successor is told to end as well");
        return stopped;
    }
    notify::main_process(successor.id());
    successor.go()?;
    stopped
}

/// What can happen to a tracker that runs.
enum Event {
    /// SIGTERM or SIGINT, by number.
    Stop(i32),
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    Stats,
    /// SIGUSR2.
    Upgrade,
    /// What the successor has said.
    Successor(Heard),
    /// The predecessor has made room.
    Turn,
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
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    let watch = move || {
        let mut stopping = None::<Instant>;
        for signal in signals.forever() {
            let event = match signal {
                SIGHUP => Event::Hangup,
                SIGUSR1 => Event::Stats,
                SIGUSR2 => Event::Upgrade,
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

/// How a tracker's work ends.
enum End {
    Stop,
    HandOver,
}

/// Attends to events until one of them is the end: asked for, or an error. The counters are logged
/// every `stats_interval`, unless it is 0.
fn wait(
    daemon: &mut Daemon,
    sources: &Sources,
    inbox: &Receiver<Event>,
    upgrade: &mut Upgrade,
) -> Result<End, String> {
    let mut timers = Timers::start();
    loop {
        match inbox.recv_timeout(timers.attend(daemon)) {
            Ok(Event::Stop(signal)) => {
                info!("stopping on {}", if signal == SIGINT { "SIGINT" } else { "SIGTERM" });
                notify::stopping();
                return Ok(End::Stop);
            }
            Ok(Event::Hangup) => notify::while_reloading(|| reload(daemon, sources)),
            Err(RecvTimeoutError::Timeout) if !timers.line_is_due(daemon) => {}
            Ok(Event::Stats) | Err(RecvTimeoutError::Timeout) => info!("{}", timers.line(daemon)),
            Ok(Event::Upgrade) => upgrade.begin(daemon, sources),
            Ok(Event::Successor(heard)) => {
                if upgrade.is_ready(heard) {
                    return Ok(End::HandOver);
                }
            }
            Ok(Event::Turn) => {}
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

/// What is there for an upgrade, and the successor while it is not ready.
struct Upgrade {
    program: Program,
    events: Sender<Event>,
    successor: Option<Successor>,
}

impl Upgrade {
    /// SIGUSR2: starts a successor, and has it waited for.
    fn begin(&mut self, daemon: &Daemon, sources: &Sources) {
        match self.start(daemon, sources) {
            Ok(id) => info!("SIGUSR2: process {id} is to take over"),
            Err(problem) => error!("SIGUSR2: this process goes on: {problem}"),
        }
    }

    fn start(&mut self, daemon: &Daemon, sources: &Sources) -> Result<u32, String> {
        if process::id() == 1 {
            return Err("it is a container's process 1, which nobody can succeed; start the new \
                        container in its place"
                .to_owned());
        }
        if notify::cannot_hear() {
            return Err("systemd would end the successor with it; the service needs \
                        NotifyAccess=main"
                .to_owned());
        }
        if let Some(successor) = &self.successor {
            return Err(format!("process {} has been started already", successor.id()));
        }
        // The successor finds out what is wrong in it, but knows no settings from before.
        sources.check_again(daemon.settings()).map_err(|lines| lines.join("; "))?;
        let sockets = daemon.sockets().map_err(|error| error.to_string())?;
        let successor = Successor::start(&self.program, sockets)?;
        let (readiness, events) = (successor.readiness()?, self.events.clone());
        thread::Builder::new()
            .name("successor".to_owned())
            .spawn(move || {
                // Nobody listens any more when the end has begun.
                let _ = events.send(Event::Successor(readiness.wait()));
            })
            .map_err(|error| error.to_string())?;
        let id = successor.id();
        self.successor = Some(successor);
        Ok(id)
    }

    /// Whether the successor could start. One that could not is ended.
    fn is_ready(&mut self, heard: Heard) -> bool {
        if heard == Heard::Word {
            return true;
        }
        if let Some(mut successor) = self.successor.take() {
            let (id, failure) = (successor.id(), successor.failure(heard));
            error!("the upgrade has failed, and this process goes on: process {id}: {failure}");
        }
        false
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
    let newer = match sources.load_again(daemon.settings()) {
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
            return refused(&sources.lines(&problems));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_any_thread_is_heard_of() {
        let (events, inbox) = mpsc::channel();
        watch_panics(events);
        let thread =
            thread::Builder::new().name("flush".to_owned()).spawn(|| panic!("on purpose")).unwrap();
        assert!(thread.join().is_err());
        assert!(matches!(inbox.try_recv(), Ok(Event::Panicked(thread)) if thread == "flush"));
    }
}
