//! The log: lines from every thread, which a thread of its own writes to stderr.
//!
//! Owns: the form of a line, with the time and where it comes from or, when stderr is the journal
//! of systemd, with its priority; the queue of lines; and which lines are wanted. A queue that is
//! full drops lines, counts them, and says so as soon as it is read again.
//!
//! Never: waits for whoever reads stderr, but for [`FLUSH_MAX`] at the end of the process. A pipe
//! that nobody reads stops no worker and no order to stop.
//!
//! Limits: [`QUEUE_BYTES_MAX`].

use std::collections::VecDeque;
use std::env;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use env_filter::Filter;
use humantime_serde::re::humantime::format_rfc3339_seconds;
use log::{Level, LevelFilter, Log, Metadata, Record};

use announced::config::LogLevel;

/// Bytes of lines that may wait to be written: about a thousand lines of counters.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// How long the end of the process waits for the last lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Between two tries to write to a stderr that somebody has made non-blocking.
const RETRY_AFTER: Duration = Duration::from_millis(10);
/// Overrides the setting `server.log_level`.
const LOG_VARIABLE: &str = "RUST_LOG";
/// In which systemd names the journal's stream, as DEVICE:INODE.
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// Handle to the log; clones are of the same.
#[derive(Clone)]
pub(crate) struct LogWriter {
    queue: Arc<Queue>,
    form: Form,
    /// The journal reads stdout as well.
    pub(crate) has_stdout: bool,
}

/// A file, by its device and inode.
fn stream(file: &File) -> Option<(u64, u64)> {
    file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl LogWriter {
    /// Begins to log: from now on, what the crate `log` is told goes to stderr.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub(crate) fn start() -> io::Result<LogWriter> {
        // Not `io::stderr()`, whose lock a write that does not end would hold.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let journal = env::var(JOURNAL_VARIABLE).ok();
        let form = Form::of(journal.as_deref(), stream(&stderr));
        let has_stdout = form == Form::Journal && stream(&stdout) == stream(&stderr);
        let writer = LogWriter { queue: Arc::new(Queue::new(form)), form, has_stdout };
        let queue = Arc::clone(&writer.queue);
        thread::Builder::new().name("log".to_owned()).spawn(move || queue.write_to(stderr))?;
        let mut filter = env_filter::Builder::new();
        filter.filter_level(LevelFilter::Debug);
        if let Ok(words) = env::var(LOG_VARIABLE)
            && let Err(error) = filter.try_parse(&words)
        {
            writer.say(Level::Warn, &format!("warning: {LOG_VARIABLE}: {error}"));
        }
        let filter = filter.build();
        log::set_max_level(filter.filter());
        let logger = Logger { writer: writer.clone(), filter };
        // There is none before: this is called once.
        let _ = log::set_boxed_logger(Box::new(logger));
        Ok(writer)
    }

    /// Takes what `level` wants from now on, unless the environment says what is wanted.
    pub(crate) fn set_level(level: LogLevel) {
        if env::var_os(LOG_VARIABLE).is_none_or(|filter| filter.is_empty()) {
            log::set_max_level(match level {
                LogLevel::Error => LevelFilter::Error,
                LogLevel::Warn => LevelFilter::Warn,
                LogLevel::Info => LevelFilter::Info,
                LogLevel::Debug => LevelFilter::Debug,
            });
        }
    }

    /// Says a line to whoever has started the program, whatever the log's level.
    pub(crate) fn say(&self, level: Level, line: &str) {
        self.queue.push(self.form.of_program(level, line));
    }

    /// Waits until everything is written, for [`FLUSH_MAX`] at most.
    pub(crate) fn flush(&self) {
        self.queue.flush(FLUSH_MAX);
    }
}

/// What the crate `log` knows of it.
struct Logger {
    writer: LogWriter,
    filter: Filter,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.filter.matches(record) {
            let line =
                self.writer.form.line(record.level(), record.target(), &record.args().to_string());
            self.writer.queue.push(line);
        }
    }

    fn flush(&self) {
        self.writer.flush();
    }
}

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// With the time: for a file, a terminal, or a program that adds nothing.
    Stamped,
    /// With its priority in front (sd-daemon(3)): the journal has the time.
    Journal,
}

impl Form {
    /// The form for a stderr that is the file `stream`, by device and inode. The variable says
    /// which one the journal reads: whoever has sent stderr elsewhere inherits it all the same.
    fn of(journal: Option<&str>, stream: Option<(u64, u64)>) -> Form {
        let named = journal.and_then(|words| {
            let (device, inode) = words.split_once(':')?;
            Some((device.parse().ok()?, inode.parse().ok()?))
        });
        if named.is_some() && named == stream { Form::Journal } else { Form::Stamped }
    }

    fn line(self, level: Level, target: &str, text: &str) -> Vec<u8> {
        match self {
            Form::Stamped => {
                let now = format_rfc3339_seconds(SystemTime::now());
                format!("[{now} {level:<5} {target}] {text}\n").into_bytes()
            }
            Form::Journal => prioritized(level, text),
        }
    }

    fn of_program(self, level: Level, line: &str) -> Vec<u8> {
        match self {
            Form::Stamped => format!("announced: {line}\n").into_bytes(),
            Form::Journal => prioritized(level, line),
        }
    }

    fn of_dropped(self, dropped: u64) -> Vec<u8> {
        let text = format!("{dropped} lines of the log were dropped: nobody read stderr");
        self.line(Level::Warn, module_path!(), &text)
    }
}

/// Each line of `text` with the priority that syslog has for `level`.
fn prioritized(level: Level, text: &str) -> Vec<u8> {
    let priority = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect::<String>().into_bytes()
}

/// Lines on their way to stderr.
struct Queue {
    form: Form,
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that there was no room for, and that nothing was said of yet.
    dropped: u64,
    /// A line is being written.
    is_writing: bool,
}

impl Queue {
    fn new(form: Form) -> Queue {
        Queue { form, state: Mutex::default(), changed: Condvar::new() }
    }

    /// A thread that panics holds no lock here.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Vec<u8>) {
        let mut lines = self.lock();
        if lines.bytes + line.len() > QUEUE_BYTES_MAX {
            lines.dropped += 1;
            return;
        }
        if lines.dropped > 0 {
            // Here is where they are missing.
            let said = self.form.of_dropped(mem::take(&mut lines.dropped));
            lines.add(said);
        }
        lines.add(line);
        drop(lines);
        self.changed.notify_all();
    }

    /// Writes lines to `out` for as long as the process lasts.
    fn write_to(&self, mut out: impl Write) {
        loop {
            let line = self.next();
            let is_written = write_whole(&mut out, &line).is_ok();
            let mut lines = self.lock();
            lines.is_writing = false;
            // A disk that is full has room again at some time; what was lost is counted.
            lines.dropped += u64::from(!is_written);
            drop(lines);
            if !is_written {
                thread::sleep(RETRY_AFTER);
            }
            self.changed.notify_all();
        }
    }

    /// Waits for the next line. Of dropped ones it is said when there is nothing else to say.
    fn next(&self) -> Vec<u8> {
        let mut lines = self.lock();
        loop {
            if let Some(line) = lines.take() {
                lines.is_writing = true;
                return line;
            }
            if lines.dropped > 0 {
                lines.is_writing = true;
                return self.form.of_dropped(mem::take(&mut lines.dropped));
            }
            lines = self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let mut lines = self.lock();
        while !lines.waiting.is_empty() || lines.is_writing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Lines {
    fn add(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.waiting.push_back(line);
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let line = self.waiting.pop_front()?;
        self.bytes -= line.len();
        Some(line)
    }
}

/// Writes a line to its end, also where somebody has made the file non-blocking.
fn write_whole(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_AFTER),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    const WAIT_MAX: Duration = Duration::from_secs(30);

    /// Takes a line whenever it is let to, and tells what it has got.
    struct Reader {
        turns: Receiver<io::Result<()>>,
        read: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The test is over when nobody lets it.
            self.turns.recv().unwrap_or_else(|_| {
                loop {
                    thread::park();
                }
            })?;
            self.read.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue, how its reader is let to read a line, and what was read.
    fn queue() -> (Arc<Queue>, Sender<io::Result<()>>, Receiver<String>) {
        let (turn, turns) = mpsc::channel();
        let (read, lines) = mpsc::channel();
        let queue = Arc::new(Queue::new(Form::Journal));
        let writing = Arc::clone(&queue);
        thread::spawn(move || writing.write_to(Reader { turns, read }));
        (queue, turn, lines)
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_counted_and_said() {
        let (queue, turn, lines) = queue();
        let line = vec![b'x'; QUEUE_BYTES_MAX / 4];
        queue.push(b"first\n".to_vec());
        // The reader has it in hand, so that the queue is empty.
        while !queue.lock().is_writing {
            thread::yield_now();
        }
        (0..11).for_each(|_| queue.push(line.clone()));
        assert_eq!(queue.lock().dropped, 7, "there is room for four");
        let begin = Instant::now();
        queue.flush(Duration::from_millis(10));
        assert!(begin.elapsed() < WAIT_MAX, "a flush that nobody reads ends");
        let next = || {
            turn.send(Ok(())).unwrap();
            lines.recv_timeout(WAIT_MAX).unwrap()
        };
        assert_eq!(next(), "first\n");
        assert_eq!(next().len(), line.len());
        while !queue.lock().is_writing {
            thread::yield_now();
        }
        queue.push(b"behind\n".to_vec());
        (0..3).for_each(|_| assert_eq!(next().len(), line.len()));
        assert_eq!(next(), "<4>7 lines of the log were dropped: nobody read stderr\n");
        assert_eq!(next(), "behind\n");
        queue.flush(WAIT_MAX);
        assert!(!queue.lock().is_writing, "everything is written");
    }

    #[test]
    fn lines_that_could_not_be_written_are_said_as_soon_as_one_can() {
        let (queue, turn, lines) = queue();
        queue.push(b"lost\n".to_vec());
        let full = io::Error::from(ErrorKind::StorageFull);
        turn.send(Err(full)).unwrap();
        turn.send(Ok(())).unwrap();
        let told = lines.recv_timeout(WAIT_MAX).unwrap();
        assert_eq!(told, "<4>1 lines of the log were dropped: nobody read stderr\n");
    }

    #[test]
    fn only_the_stream_that_the_journal_reads_gets_priorities() {
        let rows = [
            (None, Form::Stamped),
            (Some(""), Form::Stamped),
            (Some("8"), Form::Stamped),
            (Some("8:x"), Form::Stamped),
            (Some("8:16"), Form::Stamped),
            (Some("9:15"), Form::Stamped),
            (Some("8:15"), Form::Journal),
        ];
        for (journal, form) in rows {
            assert_eq!(Form::of(journal, Some((8, 15))), form, "JOURNAL_STREAM is {journal:?}");
        }
        assert_eq!(Form::of(Some("8:15"), None), Form::Stamped, "stderr is closed");
    }

    #[test]
    fn every_level_has_its_priority_and_every_line_too() {
        for (level, line) in [
            (Level::Error, "<3>one\n<3>two\n"),
            (Level::Warn, "<4>one\n<4>two\n"),
            (Level::Info, "<6>one\n<6>two\n"),
            (Level::Debug, "<7>one\n<7>two\n"),
        ] {
            let written = Form::Journal.line(level, "target", "one\ntwo");
            assert_eq!(String::from_utf8(written).unwrap(), line, "{level}");
        }
        let stamped = String::from_utf8(Form::Stamped.line(Level::Info, "target", "one")).unwrap();
        assert!(
            stamped.starts_with("[20") && stamped.ends_with(" INFO  target] one\n"),
            "{stamped}"
        );
    }
}
