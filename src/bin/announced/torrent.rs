//! `announced torrent`: from the command line to [`operator`], with the database it is to work on
//! and the terminal it speaks to.
//!
//! Owns: which database is meant and how long it may take, where complaints go, and the progress
//! bar of an import.
//!
//! Exit code 1 when anything was complained of. Nothing is asked of a database when no argument
//! could be read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use announced::config::{Config, Flags, Sources, redact};
use announced::ids::InfoHash;
use announced::operator::{self, Change, Format, Import, Trouble};
use announced::registry::Source;
use announced::registry::database::{Ledger, TimeLimits};

use crate::flags::{Torrent, Verb, environment, environment_database};
use crate::terminal::{complain as tell, print};

/// Longer than a tracker would wait: nobody's announce hangs on it, and a batch of an import is a
/// thousand rows.
const LIMITS: TimeLimits =
    TimeLimits { connect: Duration::from_secs(10), answer: Duration::from_secs(60) };
const MEMORY_KEEPS_NO_LIST: &str = "database.url = \"memory\": keeps no list of torrents; name a \
                                    database, for example --database sqlite:announced.db";
/// How long an import goes on before it shows a bar.
const SILENT_AT_FIRST: Duration = Duration::from_millis(500);

/// Does what the verb says. The errors are lines; none when everything has been said already.
pub(crate) fn run(torrent: Torrent) -> Result<(), Vec<String>> {
    let sources = Sources {
        file: torrent.config,
        text: None,
        environment_database: environment_database()?,
        environment: environment(),
        flags: Flags { database: torrent.database, ..Flags::default() },
    };
    let url = sources.load()?.database.url;
    let source = Source::parse(&url).map_err(|problem| vec![problem])?;
    let source = source.ok_or_else(|| vec![MEMORY_KEEPS_NO_LIST.to_owned()])?;
    let database = Database { source, new_file: file_to_make(url.secret()).map(Path::to_owned) };
    match torrent.verb {
        Verb::Add { torrents, name } => change(&database, &Change::Add { name }, &torrents),
        Verb::Ban { torrents, reason } => change(&database, &Change::Ban { reason }, &torrents),
        Verb::Unban { torrents } => change(&database, &Change::Unban, &torrents),
        Verb::Remove { torrents } => change(&database, &Change::Remove, &torrents),
        Verb::List { json } => list(&database, if json { Format::Json } else { Format::Table }),
        Verb::Import { file, ban, reason } => {
            let what = if ban { Import::Ban { reason } } else { Import::Add };
            import(&database, &what, &file)
        }
    }
}

/// Asks the database of `config` for a torrent: whether it is there, lets the tracker in, and has
/// the tables. An SQLite file that is not there yet is made at the start, with its tables.
pub(crate) fn ask(config: &Config) -> Result<(), Vec<String>> {
    let source = Source::parse(&config.database.url).map_err(|problem| vec![problem])?;
    let Some(source) = source else { return Ok(()) };
    if file_to_make(config.database.url.secret()).is_some() {
        return Ok(());
    }
    let mut backend = source.backend(Arc::new(|| LIMITS));
    let asked = backend.lookup(&[InfoHash([0; 20])]);
    asked.map(drop).map_err(|error| vec![error.to_string()])
}

/// The SQLite file that a URL names, if it is not there.
fn file_to_make(url: &str) -> Option<&Path> {
    let path = Path::new(url.strip_prefix("sqlite:")?);
    (!path.exists()).then_some(path)
}

fn change(database: &Database, change: &Change, torrents: &[OsString]) -> Result<(), Vec<String>> {
    let mut complaints = 0_u64;
    let mut complain = |problem: &str| {
        complaints += 1;
        tell(&format!("announced: {problem}\n"));
    };
    let edits = change.edits(torrents, &mut complain);
    if !edits.is_empty() {
        // Nothing can be lifted or taken off where nothing is listed: there, a name is mistyped.
        let mut ledger = match change {
            Change::Add { .. } | Change::Ban { .. } => open_or_make(database)?,
            Change::Unban | Change::Remove => database.source.ledger(LIMITS),
        };
        operator::apply(&mut *ledger, &edits, &mut io::stdout(), &mut complain)
            .map_err(|trouble| line(&trouble))?;
    }
    all_well(complaints)
}

fn list(database: &Database, format: Format) -> Result<(), Vec<String>> {
    operator::list(
        &mut *database.source.ledger(LIMITS),
        format,
        &mut BufWriter::new(io::stdout().lock()),
    )
    .map_err(|trouble| line(&trouble))
}

fn import(database: &Database, what: &Import, path: &Path) -> Result<(), Vec<String>> {
    let List { name, input, bytes } = List::open(path)?;
    let bar = hidden_bar(bytes);
    let mut input = BufReader::new(Watched { input, bar: bar.clone(), started: Instant::now() });
    let mut complaints = 0_u64;
    let mut complain = |problem: &str| {
        complaints += 1;
        bar.suspend(|| tell(&format!("announced: {name}: {problem}\n")));
    };
    let (imported, ended) =
        operator::import(&mut *open_or_make(database)?, what, &mut input, &mut complain);
    bar.finish_and_clear();
    print(&format!("{imported}\n"))?;
    ended.map_err(|trouble| match trouble {
        Trouble::Input(error) => vec![format!("{name}: {error}")],
        trouble => line(&trouble),
    })?;
    all_well(complaints)
}

/// What is imported.
struct List {
    name: String,
    input: Box<dyn Read>,
    /// Its size, where it has one that is known beforehand.
    bytes: Option<u64>,
}

impl List {
    fn open(path: &Path) -> Result<List, Vec<String>> {
        if path.as_os_str() == "-" {
            return Ok(List {
                name: "stdin".to_owned(),
                input: Box::new(io::stdin().lock()),
                bytes: None,
            });
        }
        let name = redact(&path.display().to_string());
        let opened =
            File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        let (file, metadata) = opened.map_err(|error| vec![format!("{name}: {error}")])?;
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(List { name, input: Box::new(file), bytes })
    }
}

/// What a command works on.
struct Database {
    source: Source,
    /// The SQLite file that it names and that is not there.
    new_file: Option<PathBuf>,
}

/// A connection to `database`; an SQLite file is made if there is none, and named: in the wrong
/// directory, it is not the tracker's.
fn open_or_make(database: &Database) -> Result<Box<dyn Ledger>, Vec<String>> {
    database.source.make().map_err(|error| vec![error.to_string()])?;
    if let Some(file) = &database.new_file {
        let file = path::absolute(file).unwrap_or_else(|_| file.clone());
        tell(&format!("announced: there was no database: made {}\n", file.display()));
    }
    Ok(database.source.ledger(LIMITS))
}

fn line(trouble: &Trouble) -> Vec<String> {
    vec![trouble.to_string()]
}

fn all_well(complaints: u64) -> Result<(), Vec<String>> {
    if complaints == 0 { Ok(()) } else { Err(Vec::new()) }
}

/// A bar for so many bytes, or for nobody knows how many.
fn hidden_bar(bytes: Option<u64>) -> ProgressBar {
    let template = match bytes {
        Some(_) => "{wide_bar} {bytes}/{total_bytes}, {eta} left",
        None => "{spinner} {bytes} read",
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(bytes, ProgressDrawTarget::hidden()).with_style(style)
}

/// Moves the bar as `input` is read, and shows it once that takes long; on a stderr that is no
/// terminal it never appears.
struct Watched<R> {
    input: R,
    bar: ProgressBar,
    started: Instant,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.input.read(buffer)?;
        if self.bar.is_hidden() && self.started.elapsed() > SILENT_AT_FIRST {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(bytes as u64);
        Ok(bytes)
    }
}
