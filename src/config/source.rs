//! Where settings come from: command line before environment before file before defaults.
//!
//! Owns: reading the file, putting the sources over each other, and saying of each problem where it
//! was written: the flag, the variable, or the file and its line. Each problem is one line of text,
//! without line breaks, control characters or passwords.
//!
//! A file that is read again must be a regular one: a pipe says everything once. One that has
//! become empty is being written, or was lost, and does not take the place of what was read before.
//!
//! Never does: look for a file nobody named, or read the environment; both are arguments.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Table;
use toml::de::DeTable;

use crate::config::database_url::{DatabaseUrl, redact};
use crate::config::environment::Environment;
use crate::config::networks::Networks;
use crate::config::reading::{self, Mistake, Written, line_at};
use crate::config::sections::Config;
use crate::config::validate::Problem;
use crate::config::value::{Listen, Mode};
use crate::files::{self, Patient};

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
    /// The file's text, where it has been read already: standard input can be read once.
    pub text: Option<String>,
    /// The environment's `ANNOUNCED_DATABASE`.
    pub environment_database: Option<DatabaseUrl>,
    /// The environment's other settings.
    pub environment: Environment,
    /// The command line.
    pub flags: Flags,
}

impl Sources {
    /// The settings, validated. Errors: one line for each problem, saying where it is and what it
    /// is.
    pub fn load(&self) -> Result<Config, Vec<String>> {
        let text = self.read_text(read_once)?;
        self.settings(&text, &Networks::default())
    }

    /// The same for a tracker that has loaded the `current` settings before. Errors: as
    /// [`Sources::load`], and as [`Sources::check_again`].
    pub fn load_again(&self, current: &Config) -> Result<Config, Vec<String>> {
        let text = self.read_text_again(current)?;
        self.settings(&text, current.server.trusted_proxies.networks())
    }

    /// Whether the settings file, of which the `current` settings came, can be read again and says
    /// anything. Errors: one line.
    pub fn check_again(&self, current: &Config) -> Result<(), Vec<String>> {
        self.read_text_again(current).map(drop)
    }

    fn read_text_again(&self, current: &Config) -> Result<String, Vec<String>> {
        let text = self.read_text(read_again)?;
        let changes_all = || self.settings("", &Networks::default()).as_ref() != Ok(current);
        match &self.file {
            Some(path) if text.trim().is_empty() && changes_all() => Err(vec![one_line(&format!(
                "{}: is empty; a comment in it would say that every setting is the default",
                path.display()
            ))]),
            _ => Ok(text),
        }
    }

    /// What `text` sets, with all else laid over it. The networks of trusted proxies were these
    /// `before`.
    fn settings(&self, text: &str, before: &Networks) -> Result<Config, Vec<String>> {
        let Written { mut table, mistakes, mut wrong } = reading::read(text);
        let mut lines: Vec<String> = mistakes.iter().map(|mistake| self.locate(mistake)).collect();
        for (key, line) in self.environment.lay_over(&mut table) {
            wrong.push(key);
            lines.push(line);
        }
        let mut config = read_table(table).map_err(|problem| vec![one_line(&problem)])?;
        if let Err(problem) = read_url_file(&mut config, text) {
            lines.push(format!("database.url_file: {problem}"));
            wrong.push("database.url".to_owned());
        }
        self.lay_over(&mut config);
        let none = Networks::default();
        for (key, networks, before) in [
            ("server.trusted_proxies", &mut config.server.trusted_proxies, before),
            ("tracker.shares_exempt", &mut config.tracker.shares_exempt, &none),
        ] {
            if let Err(rule) = networks.read_named_file(before) {
                let value = format!("{:?}", networks.named_file());
                let problem = Problem { key, value, rule };
                lines.push(format!("{}{problem}", self.place(&problem, text)));
                wrong.push(key.to_owned());
            }
        }
        if self.environment_database.is_some() && self.environment.database().is_some() {
            let line = "ANNOUNCED_DATABASE and ANNOUNCED_DATABASE__URL are the same setting; \
                        leave one of them out";
            lines.push(line.to_owned());
        }
        // Nothing follows from a value that stands there in place of one that could not be read.
        let follows = |problem: &Problem| {
            wrong.iter().any(|key| *key == problem.key || problem.rule.contains(key.as_str()))
        };
        let problems = config.validate().into_iter().filter(|problem| !follows(problem));
        lines.extend(problems.map(|problem| format!("{}{problem}", self.place(&problem, text))));
        match lines.is_empty() {
            true => Ok(config),
            false => Err(lines.iter().map(|line| one_line(line)).collect()),
        }
    }

    /// The file's text as `read` has it; empty when there is none.
    fn read_text(
        &self,
        read: impl FnOnce(&Path) -> io::Result<String>,
    ) -> Result<String, Vec<String>> {
        match (&self.text, &self.file) {
            (Some(text), _) => Ok(text.clone()),
            (None, Some(path)) => {
                read(path).map_err(|error| vec![one_line(&format!("{}: {error}", path.display()))])
            }
            (None, None) => Ok(String::new()),
        }
    }

    fn locate(&self, Mistake { line, text }: &Mistake) -> String {
        let file = self.file.as_deref().unwrap_or(Path::new("the settings file"));
        format!("{}: line {line}: {text}", file.display())
    }

    /// A line for each problem that was found with the loaded settings later, saying where it is.
    pub fn lines(&self, problems: &[Problem]) -> Vec<String> {
        let text = self.read_text(read_again).unwrap_or_default();
        let line = |problem| one_line(&format!("{}{problem}", self.place(problem, &text)));
        problems.iter().map(line).collect()
    }

    /// What the settings allow and is hardly meant so: one line for each, saying where it is.
    pub fn warnings(&self, config: &Config) -> Vec<String> {
        self.lines(&config.warnings())
    }

    /// Keys that the settings file sets and that do not count, each with what overrides it.
    pub fn overridden(&self) -> Vec<(String, String)> {
        let text = self.read_text(read_again).unwrap_or_default();
        let is_set = |(key, _): &(String, _)| line_of_key(&text, key).is_some();
        self.overriding().into_iter().filter(is_set).collect()
    }

    /// The keys that the command line and the environment give, each with where.
    fn overriding(&self) -> Vec<(String, String)> {
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
        let given =
            given.into_iter().filter_map(|(key, by)| Some((key.to_owned(), by?.to_owned())));
        // What is found first counts.
        given.chain(self.environment.keys()).collect()
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
        let of_environment = || self.environment.database().map(|url| url.to_owned().into());
        let database = flags.database.or_else(|| self.environment_database.clone());
        if let Some(database) = database.or_else(of_environment) {
            config.database.url = database;
        }
        config.database.wait_at_start |= flags.wait_for_database;
    }

    /// Where the value of a problem was written, as the beginning of its line.
    fn place(&self, problem: &Problem, text: &str) -> String {
        let overriding = self.overriding();
        let by = overriding.iter().find(|(key, _)| *key == problem.key).map(|(_, by)| by);
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

/// Each value has been read by itself before.
fn read_table(table: Table) -> Result<Config, String> {
    table.try_into().map_err(|error: toml::de::Error| redact(&error.to_string()))
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
    let url = read_again(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if url.trim().is_empty() {
        return Err(format!("{}: is empty", path.display()));
    }
    config.database.url = DatabaseUrl::from(url.trim().to_owned());
    Ok(())
}

/// Reads whatever has the name, which can perhaps be read only once. From what is no regular file
/// something must come: of a pipe that was read before, or that nobody writes to, no settings do.
fn read_once(path: &Path) -> io::Result<String> {
    let mut file = Patient::open(path)?;
    let text = read_settings(&mut file)?;
    if text.is_empty() && !file.is_regular()? {
        return Err(io::Error::other("is no regular file, and nothing came from it"));
    }
    Ok(text)
}

fn read_again(path: &Path) -> io::Result<String> {
    read_settings(&mut files::open_regular(path, File::options().read(true))?)
}

/// The text of a settings file.
///
/// # Errors
/// When it cannot be read, is too large, or is no UTF-8.
pub fn read_settings(file: &mut dyn Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "larger than {FILE_BYTES_MAX} bytes, so hardly a settings file"
        )));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(io::Error::other("is UTF-16; save it as UTF-8"));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::other("is not UTF-8, so hardly a settings file"))
}

/// The line on which `section.key` is set; `None` when it is left at its default.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let (section, key) = key.split_once('.')?;
    // Of a key that is there twice, the first counts here.
    let (file, _) = DeTable::parse_recoverable(text);
    let value = file.get_ref().get(section)?.get_ref().as_table()?.get(key)?;
    Some(line_at(text, value.span().start))
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use tempfile::TempDir;

    use super::*;
    use crate::config::{FullScrape, TrackerConfig};
    use crate::tests::fifo;

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
            fs::write(&path, text).unwrap();
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
                "line 3: unknown key 'urll' in [database]; did you mean url?",
            ),
            (
                "\n[database]\nxyz = 1",
                "line 3: unknown key 'xyz' in [database]; known are url, url_file, \
                 wait_at_start, lookup_threads, lookup_timeout, lookup_queue_max, cache_ttl, \
                 cache_bytes_max, flush_interval, torrent_ttl",
            ),
            (
                "[zzz]",
                "line 1: unknown section [zzz]; known are server, udp, limits, tracker, database, \
                 admin",
            ),
            (
                "[server]\nworkers = -1",
                "line 2: server.workers: invalid value: integer `-1`, expected a whole number \
                 from 0 to 65535",
            ),
            (
                "[server]\nidle_timeout = 60",
                "line 2: server.idle_timeout: 60 has no unit; write \"60s\" for seconds or \"60m\" \
                 for minutes",
            ),
            (
                "[server]\nlisten = [\"x\"]",
                "line 2: server.listen: \"x\" is not an address with a port; write \
                 192.0.2.1:6969, [2001:db8::1]:6969 or :6969",
            ),
            (
                "[tracker]\nmode = \"shut\"",
                "line 2: tracker.mode: \"shut\" is not known; write \"open\" or \"registered\"",
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
            (
                "[server]\nworkers = 1\nworkers = 2",
                "line 3: 'workers' is there twice, first in line 2; leave one of them out",
            ),
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
                ..Sources::default()
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
    fn where_something_else_than_a_file_is_settings_must_come_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let silent = folder.path().join("fifo");
        fifo::make(&silent);
        for file in [silent, "/dev/null".into()] {
            let line = format!("{}: is no regular file, and nothing came from it", file.display());
            let sources = Sources { file: Some(file), ..Sources::default() };
            assert_eq!(sources.load(), Err(vec![line]));
        }
    }

    /// A file's changing name is taken out of the lines.
    struct Site {
        folder: TempDir,
        sources: Sources,
    }

    impl Site {
        fn new() -> Site {
            let folder = tempfile::tempdir().unwrap();
            let file = Some(folder.path().join("settings"));
            Site { folder, sources: Sources { file, ..Sources::default() } }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn load_again(&self, current: &Config) -> Result<Config, String> {
            let folder = format!("{}/", self.folder.path().display());
            let loaded = self.sources.load_again(current);
            loaded.map_err(|lines| lines.join("; ").replace(&folder, ""))
        }
    }

    #[test]
    fn a_file_that_has_become_empty_takes_nothing_away() {
        let site = Site::new();
        fs::write(site.path("settings"), "[tracker]\nnumwant_max = 77\n").unwrap();
        let mut current = site.sources.load().unwrap();
        let empty = "settings: is empty; a comment in it would say that every setting is the \
                     default";
        for text in ["", "\n", " \t\r\n\n"] {
            fs::write(site.path("settings"), text).unwrap();
            assert_eq!(site.load_again(&current), Err(empty.to_owned()), "{text:?}");
            assert!(site.sources.check_again(&current).is_err(), "{text:?} for a successor");
        }
        fs::write(site.path("settings"), "# nothing").unwrap();
        current = site.load_again(&current).expect("a comment says that nothing is set");
        fs::write(site.path("settings"), "").unwrap();
        assert_eq!(site.load_again(&current), Ok(current), "an empty one changes nothing then");
    }

    #[test]
    fn what_is_no_regular_file_is_not_read_again() {
        let current = Config::default();
        let odd = Err("settings: is no regular file".to_owned());
        for make in [fifo::make, |path: &Path| fs::create_dir(path).unwrap()] {
            let site = Site::new();
            make(&site.path("settings"));
            assert_eq!(site.load_again(&current), odd, "the settings file");
            assert!(site.sources.check_again(&current).is_err(), "the file for a successor");
            assert_eq!(site.sources.overridden(), [], "what is overridden is not waited for");
        }
    }

    #[test]
    fn a_list_of_proxies_that_is_wrong_is_named_with_the_line_that_names_it() {
        let site = Site::new();
        let list = site.path("list");
        let text =
            format!("[server]\ntrusted_proxies = {:?}\n", format!("file:{}", list.display()));
        fs::write(site.path("settings"), text).unwrap();
        fs::write(&list, "10.0.0.0/8\n").unwrap();
        let current = site.sources.load().unwrap();
        let problem = |rule: &str| {
            Err(format!("settings: line 2: server.trusted_proxies = \"file:list\": {rule}"))
        };
        let empty = "is empty; a comment in it would say that there are no networks";
        let wrong = "line 2: \"10.0.0.0/33\" is not a network such as \"10.0.0.0/8\"";
        for (text, rule) in [("", empty), ("\n\n", empty), ("10.0.0.1\n10.0.0.0/33\n", wrong)] {
            fs::write(&list, text).unwrap();
            assert_eq!(site.load_again(&current), problem(rule), "{text:?}");
        }
        fs::write(&list, "# nobody\n").unwrap();
        let nobody = site.load_again(&current).expect("a comment says that there is nobody");
        assert!(nobody.server.trusted_proxies.networks().is_empty(), "somebody is trusted");
        fs::remove_file(&list).unwrap();
        fifo::make(&list);
        assert_eq!(site.load_again(&current), problem("is no regular file"), "a FIFO");
        assert!(site.sources.load().is_err(), "a FIFO at the start");
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
