//! Where settings come from: command line before environment before file before defaults.
//!
//! Owns: reading the file, putting the sources over each other, and saying of each problem where it
//! was written: the flag, the variable, or the file and its line. Each problem is one line of text,
//! without line breaks, control characters or passwords.
//!
//! Never does: look for a file nobody named, or read the environment; both are arguments.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::config::database_url::{DatabaseUrl, redact};
use crate::config::sections::Config;
use crate::config::validate::Problem;
use crate::config::value::{Listen, Mode};

/// Bytes a settings file may have: `announced config` prints 6 KB. A device or a disk image named
/// by mistake ends there.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the command line says. Empty or `None`: nothing.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--listen`; replaces the file's list.
    pub listen: Vec<SocketAddr>,
    /// `--workers`.
    pub workers: Option<u16>,
    /// `--mode`.
    pub mode: Option<Mode>,
    /// `--database`.
    pub database: Option<DatabaseUrl>,
    /// `--wait-for-database`.
    pub wait_for_database: bool,
}

/// Everything that settings are taken from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file; when none is named, none is read.
    pub file: Option<PathBuf>,
    /// The environment's `ANNOUNCED_DATABASE`.
    pub environment_database: Option<DatabaseUrl>,
    /// The command line.
    pub flags: Flags,
}

impl Sources {
    /// The settings, validated. Errors: one line for each problem, saying where it is and what it
    /// is.
    pub fn load(&self) -> Result<Config, Vec<String>> {
        let (text, mut config) = match &self.file {
            Some(path) => read_file(path)
                .map_err(|problem| vec![one_line(&format!("{}: {problem}", path.display()))])?,
            None => Default::default(),
        };
        read_url_file(&mut config, &text)
            .map_err(|problem| vec![one_line(&format!("database.url_file: {problem}"))])?;
        self.lay_over(&mut config);
        let networks = config.server.trusted_proxies.read_named_file();
        networks
            .map_err(|problem| vec![one_line(&format!("server.trusted_proxies: {problem}"))])?;
        match config.validate() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(problems
                .iter()
                .map(|problem| one_line(&format!("{}{problem}", self.place(problem, &text))))
                .collect()),
        }
    }

    /// A line for each problem that was found with the loaded settings later, saying where it is.
    pub fn lines(&self, problems: &[Problem]) -> Vec<String> {
        let text = self.file.as_deref().and_then(|path| read_text(path).ok()).unwrap_or_default();
        let line = |problem| one_line(&format!("{}{problem}", self.place(problem, &text)));
        problems.iter().map(line).collect()
    }

    /// What the settings allow and is hardly meant so: one line for each, saying where it is.
    pub fn warnings(&self, config: &Config) -> Vec<String> {
        self.lines(&config.warnings())
    }

    /// Keys that the settings file sets and that do not count, each with what overrides it.
    pub fn overridden(&self) -> Vec<(&'static str, &'static str)> {
        let text = self.file.as_deref().and_then(|path| read_text(path).ok()).unwrap_or_default();
        let is_set = |(key, _): &(&'static str, _)| line_of_key(&text, key).is_some();
        self.overriding().into_iter().filter(is_set).collect()
    }

    /// The keys that the command line and the environment give, each with where.
    fn overriding(&self) -> Vec<(&'static str, &'static str)> {
        let Flags { listen, workers, mode, database, wait_for_database } = &self.flags;
        let database = match (database, &self.environment_database) {
            (Some(_), _) => Some("--database"),
            (None, Some(_)) => Some("ANNOUNCED_DATABASE"),
            (None, None) => None,
        };
        let given = [
            ("server.listen", (!listen.is_empty()).then_some("--listen")),
            ("server.workers", workers.map(|_| "--workers")),
            ("tracker.mode", mode.map(|_| "--mode")),
            ("database.url", database),
            ("database.wait_at_start", wait_for_database.then_some("--wait-for-database")),
        ];
        given.into_iter().filter_map(|(key, by)| Some((key, by?))).collect()
    }

    fn lay_over(&self, config: &mut Config) {
        let flags = self.flags.clone();
        if !flags.listen.is_empty() {
            config.server.listen = flags.listen.into_iter().map(Listen::from).collect();
        }
        if let Some(workers) = flags.workers {
            config.server.workers = workers;
        }
        if let Some(mode) = flags.mode {
            config.tracker.mode = mode;
        }
        if let Some(database) = flags.database.or_else(|| self.environment_database.clone()) {
            config.database.url = database;
        }
        config.database.wait_at_start |= flags.wait_for_database;
    }

    /// Where the value of a problem was written, as the beginning of its line.
    fn place(&self, problem: &Problem, text: &str) -> String {
        let overriding = self.overriding();
        let by = overriding.iter().find(|(key, _)| *key == problem.key).map(|(_, by)| *by);
        match (by, &self.file) {
            (Some(by), _) => format!("{by}: "),
            (None, Some(path)) => match line_of_key(text, problem.key) {
                Some(line) => format!("{}: line {line}: ", path.display()),
                None => format!("{}: ", path.display()),
            },
            (None, None) => String::new(),
        }
    }
}

/// The file's text and what it sets. Errors: what is wrong, after the file's name.
fn read_file(path: &Path) -> Result<(String, Config), String> {
    let text = read_text(path).map_err(|error| error.to_string())?;
    let config = toml::from_str(&text).map_err(|error| describe(&text, error))?;
    Ok((text, config))
}

/// Takes the database's URL from the file that is named for it, if one is.
fn read_url_file(config: &mut Config, text: &str) -> Result<(), String> {
    let path = config.database.url_file.as_path();
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    if line_of_key(text, "database.url").is_some() {
        return Err("database.url is set as well; leave one of them out".to_owned());
    }
    let url = read_text(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if url.trim().is_empty() {
        return Err(format!("{}: is empty", path.display()));
    }
    config.database.url = DatabaseUrl::from(url.trim().to_owned());
    Ok(())
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if bytes as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "larger than {FILE_BYTES_MAX} bytes, so hardly a settings file"
        )));
    }
    Ok(text)
}

/// TOML's own error as `line N: section.key: what is wrong`, in an operator's words where serde's
/// are a programmer's.
fn describe(text: &str, mut error: toml::de::Error) -> String {
    let line = error
        .span()
        .map(|span| format!("line {}: ", line_at(text, span.start)))
        .unwrap_or_default();
    // Without its input, the error shows the path of the key instead of an excerpt of the file.
    error.set_input(None);
    let shown = error.to_string();
    let (message, path) = match shown.trim_end().trim_end_matches('`').rsplit_once("\nin `") {
        Some((message, path)) => (message, path),
        None => (shown.trim_end(), ""),
    };
    let unknown =
        message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected "));
    redact(&match (unknown, path) {
        (Some((key, known)), "") => {
            format!("{line}unknown section or key '{key}'; known are {}", listed(known))
        }
        (Some((key, known)), section) => {
            format!("{line}unknown key '{key}' in [{section}]; known are {}", listed(known))
        }
        (None, "") => format!("{line}{message}"),
        (None, key) => format!("{line}{key}: {}", operators_words(message)),
    })
}

fn listed(known: &str) -> String {
    known.trim_start_matches("one of ").replace('`', "")
}

/// Serde names a number's range by its Rust type.
fn operators_words(message: &str) -> String {
    let ranges =
        [("u16", u64::from(u16::MAX)), ("u32", u32::MAX.into()), ("u64", i64::MAX.unsigned_abs())];
    ranges.into_iter().fold(message.to_owned(), |message, (name, max)| {
        message.replace(
            &format!("expected {name}"),
            &format!("expected a whole number from 0 to {max}"),
        )
    })
}

/// The line, from 1, that the byte `at` stands in.
fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

/// The line on which `section.key` is set; `None` when it is left at its default.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let (section, key) = key.split_once('.')?;
    let file = DeTable::parse(text).ok()?;
    let value = file.get_ref().get(section)?.get_ref().as_table()?.get(key)?;
    Some(line_at(text, value.span().start))
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::{FullScrape, Networks, TrackerConfig};

    /// What `text` as a settings file leads to, with the file's changing name taken out.
    fn load(text: &str, flags: Flags) -> Result<Config, Vec<String>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let name = file.path().display().to_string();
        let sources = Sources { file: Some(file.path().to_owned()), flags, ..Sources::default() };
        sources
            .load()
            .map_err(|lines| lines.iter().map(|line| line.replace(&name, "FILE")).collect())
    }

    #[test]
    fn the_url_may_stand_in_a_file_of_its_own() {
        let secret = "mysql://u:hush@db/tracker";
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let good = path("good", &format!("{secret}\n"));
        let settings = format!("[database]\nurl_file = {good:?}");
        let config = load(&settings, Flags::default()).unwrap();
        assert_eq!(config.database.url.secret(), secret, "the URL of the file");
        let flags = Flags { database: Some(DatabaseUrl::memory()), ..Flags::default() };
        assert!(load(&settings, flags).unwrap().database.url.is_memory(), "a flag counts more");
        let (empty, odd) = (path("empty", " \n"), path("odd", "oracle://u:hush@db/x"));
        let rows = [
            (format!("url_file = {empty:?}"), format!("database.url_file: {empty}: is empty")),
            (
                format!("url_file = {good:?}\nurl = \"memory\""),
                "database.url_file: database.url is set as well; leave one of them out".to_owned(),
            ),
            (
                "url_file = \"/no/such/file\"".to_owned(),
                "database.url_file: /no/such/file: No such file or directory (os error 2)"
                    .to_owned(),
            ),
        ];
        for (line, problem) in rows {
            let lines = load(&format!("[database]\n{line}"), Flags::default()).unwrap_err();
            assert_eq!(lines, [problem], "{line}");
        }
        let lines = load(&format!("[database]\nurl_file = {odd:?}"), Flags::default());
        let lines = lines.unwrap_err();
        assert!(lines[0].contains("must be") && !lines[0].contains("hush"), "{lines:?}");
    }

    #[test]
    fn a_wrong_file_is_named_with_line_and_key() {
        let rows = [
            (
                "\n[database]\nurll = 1",
                "line 3: unknown key 'urll' in [database]; known are url, url_file, \
                 wait_at_start, lookup_threads, lookup_timeout, lookup_queue_max, cache_ttl, \
                 cache_bytes_max, flush_interval, torrent_ttl",
            ),
            (
                "[trackers]",
                "line 1: unknown section or key 'trackers'; known are \
                 server, udp, tracker, database",
            ),
            (
                "[server]\nworkers = -1",
                "line 2: server.workers: invalid value: integer `-1`, expected a whole number \
                 from 0 to 65535",
            ),
            (
                "[server]\nidle_timeout = 60",
                "line 2: server.idle_timeout: invalid type: integer `60`, expected a duration",
            ),
            (
                "[server]\nlisten = [\"x\"]",
                "line 2: server.listen: \"x\" is not an address with a port; write \
                 192.0.2.1:6969, [2001:db8::1]:6969 or :6969",
            ),
            (
                "[tracker]\nmode = \"shut\"",
                "line 2: tracker.mode: unknown variant `shut`, expected `open` or `registered`",
            ),
            (
                "[tracker]\nfull_scrape = [\"10.0.0.1/99\"]",
                "line 2: tracker.full_scrape: \"10.0.0.1/99\" is not a network such as \
                 \"10.0.0.0/8\"",
            ),
            (
                "[tracker]\nfull_scrape = \"no\"",
                "line 2: tracker.full_scrape: invalid value: string \"no\", expected \"on\", \
                 \"off\" or a list of networks",
            ),
            (
                "[tracker]\n\nmin_interval = \"40m\"",
                "line 3: tracker.min_interval = \"40m\": must not be above tracker.max_interval, \
                 which is \"30m\"",
            ),
            (
                "[tracker]\nmax_interval = \"10m\"",
                "tracker.min_interval = \"15m\": must not be above tracker.max_interval, which is \
                 \"10m\"",
            ),
            ("[server]\nworkers = 1\nworkers = 2", "line 3: duplicate key"),
            ("[server", "line 1: unclosed table, expected `]`"),
        ];
        for (text, line) in rows {
            assert_eq!(load(text, Flags::default()), Err(vec![format!("FILE: {line}")]), "{text}");
        }
    }

    #[test]
    fn the_words_that_ip_parameter_had_are_refused_with_what_to_write() {
        let rows = [
            (
                "[tracker]\nip_parameter = \"nat\"",
                "line 2: tracker.ip_parameter: \"nat\" is no longer a value: write the networks of \
                 clients behind the tracker's own NAT, such as [\"192.168.0.0/16\"]",
            ),
            (
                "[tracker]\nip_parameter = \"ignore\"",
                "line 2: tracker.ip_parameter: \"ignore\" is no longer a value: write []",
            ),
            (
                "[tracker]\nip_parameter = \"accept\"",
                "line 2: tracker.ip_parameter: \"accept\" is no longer a value: write \
                 [\"0.0.0.0/0\", \"::/0\"] if anybody may announce anybody",
            ),
            (
                "[tracker]\nip_parameter = [\"10.0.0.0/33\"]",
                "line 2: tracker.ip_parameter: \"10.0.0.0/33\" is not a network such as \
                 \"10.0.0.0/8\"",
            ),
        ];
        for (text, line) in rows {
            let problems = load(text, Flags::default());
            assert_eq!(problems, Err(vec![format!("FILE: {line}")]), "{text}");
        }
    }

    #[test]
    fn a_key_may_be_left_out_and_lists_and_words_are_read() {
        let config = load(
            "[tracker]\nfull_scrape = [\"10.0.0.0/8\"]\nip_parameter = [\"::1/128\"]",
            Flags::default(),
        )
        .unwrap();
        let networks = vec!["10.0.0.0/8".parse().unwrap()].into();
        let tracker = TrackerConfig {
            full_scrape: FullScrape::Networks(networks),
            ip_parameter: Networks::from(vec!["::1/128".parse().unwrap()]),
            ..TrackerConfig::default()
        };
        assert_eq!(config, Config { tracker, ..Config::default() });
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let flags = Flags {
            listen: vec!["127.0.0.1:80".parse().unwrap()],
            workers: Some(3),
            mode: Some(Mode::Open),
            database: Some(DatabaseUrl::memory()),
            ..Flags::default()
        };
        let config = load(
            "server.listen = [\":81\"]\nserver.workers = 2000\nserver.backlog = 7\ndatabase.url = \
             \"x:\"",
            flags.clone(),
        )
        .unwrap();
        assert_eq!(
            config.server.listen,
            vec![Listen::from(flags.listen[0])],
            "server.listen of the command line"
        );
        assert_eq!(config.server.workers, 3, "server.workers of the command line");
        assert_eq!(config.server.backlog, 7, "server.backlog of the file");
    }

    #[test]
    fn the_environment_stands_between_command_line_and_file() {
        let url = |text: &str| Some(DatabaseUrl::from(text.to_owned()));
        let rows = [
            (url("x://flag"), url("x://variable"), "--database: database.url = \"x://flag\": "),
            (None, url("x://variable"), "ANNOUNCED_DATABASE: database.url = \"x://variable\": "),
        ];
        for (database, environment_database, line) in rows {
            let sources = Sources {
                file: None,
                environment_database,
                flags: Flags { database, ..Flags::default() },
            };
            let problems = sources.load().unwrap_err();
            assert!(problems.len() == 1 && problems[0].starts_with(line), "{problems:?}");
        }
    }

    #[test]
    fn a_problem_is_one_line_that_a_terminal_can_bear() {
        let problems = load("\"a\\nb\\u001b[2J\" = 1", Flags::default()).unwrap_err();
        assert!(problems.len() == 1 && !problems[0].contains(char::is_control), "{problems:?}");
    }

    #[test]
    fn a_file_that_cannot_be_settings_is_refused_by_its_name() {
        let nowhere = Sources { file: Some("/nowhere/x.toml".into()), ..Sources::default() };
        assert_eq!(
            nowhere.load(),
            Err(vec!["/nowhere/x.toml: No such file or directory (os error 2)".to_owned()])
        );
        let endless = Sources { file: Some("/dev/zero".into()), ..Sources::default() };
        assert_eq!(
            endless.load(),
            Err(vec!["/dev/zero: larger than 1048576 bytes, so hardly a settings file".to_owned()])
        );
    }

    #[test]
    fn a_password_in_the_wrong_place_is_not_shown() {
        let texts = [
            "[server]\nlisten = [\"mysql://root:hunter2@db/x\"]",
            "[server]\nworkers = \"mysql://root:hunter2@db/x\"",
            "[database]\nurl = \"mysqli://root:hunter2@db/x\"",
            "[database]\n\"mysql://root:hunter2@db/x\" = 1",
            "[database]\nurl = mysql://root:hunter2@db/x",
        ];
        for text in texts {
            let problems = load(text, Flags::default()).unwrap_err();
            assert!(problems.len() == 1 && !problems[0].contains("hunter2"), "{problems:?}");
        }
    }
}
