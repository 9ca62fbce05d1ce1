//! The house rules that a compiler does not know: layers, lengths, headers, and where printing is
//! allowed.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the bottom up: a file may name its own and those before it.
const LAYERS: [&str; 9] =
    ["ids", "config", "wire", "swarm", "registry", "tracker", "server", "metainfo", "operator"];
const LINES_BEFORE_TESTS_MAX: usize = 450;
const HEADER_LINES_MAX: usize = 25;
const UNSAFE: [&str; 2] = ["server/datagrams/io.rs", "server/sockopt.rs"];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The part before the file's own tests.
    fn body(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(&self.text)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The layer a file belongs to; none for the crate's root, the program and the tests.
    fn layer(&self) -> Option<usize> {
        let first = self.path.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs");
        LAYERS.iter().position(|layer| *layer == first)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources
                    .push(Source { path: path.strip_prefix(&root).unwrap().to_path_buf(), text });
            }
        }
    }
    assert!(sources.len() > 20, "the sources are not where they should be");
    sources
}

fn is_code(line: &str) -> bool {
    !line.trim_start().starts_with("//")
}

#[test]
fn imports_point_down() {
    for source in sources() {
        let Some(layer) = source.layer() else { continue };
        for line in source.body().lines().filter(|line| is_code(line)) {
            for path in line.split("crate::").skip(1) {
                let named: String =
                    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let target = LAYERS.iter().position(|known| *known == named);
                assert!(target.is_none_or(|target| target <= layer), "{}: {line}", source.name());
            }
        }
    }
}

#[test]
fn wire_keeps_off_heap_clock_socket_and_log() {
    let forbidden = [
        "Vec",
        "String",
        "Box",
        "Instant",
        "SystemTime",
        "Mutex",
        "TcpStream",
        "fastrand",
        "mio",
        "log",
    ];
    for source in sources().iter().filter(|source| source.path.starts_with("wire")) {
        for line in source.body().lines().filter(|line| is_code(line)) {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let macros = line.contains("vec!") || line.contains("format!");
            assert!(
                !macros && !words.any(|word| forbidden.contains(&word)),
                "{}: {line}",
                source.name()
            );
        }
    }
}

#[test]
fn files_are_short_enough_to_be_opened_gladly() {
    for source in sources().iter().filter(|source| !source.path.starts_with("tests")) {
        let lines = source.body().lines().count();
        assert!(
            lines <= LINES_BEFORE_TESTS_MAX,
            "{}: {lines} lines before its tests",
            source.name()
        );
    }
}

#[test]
fn every_file_opens_with_what_it_owns() {
    for source in sources() {
        let header = source.text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(
            (1..=HEADER_LINES_MAX).contains(&header),
            "{}: a header of {header} lines",
            source.name()
        );
    }
}

#[test]
fn only_the_program_prints_and_only_two_files_are_unsafe() {
    let printing = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    for source in sources().iter().filter(|source| !source.path.starts_with("tests")) {
        let main = source.path.ends_with("main.rs");
        let may_be_unsafe = UNSAFE.iter().any(|file| source.path.ends_with(file));
        for line in source.body().lines().filter(|line| is_code(line)) {
            assert!(
                main || !printing.iter().any(|word| line.contains(word)),
                "{} prints: {line}",
                source.name()
            );
            assert!(may_be_unsafe || !line.contains("unsafe {"), "{}: {line}", source.name());
        }
    }
}

#[test]
fn databases_and_sockets_stay_in_their_files() {
    let homes = [
        ("use mysql::", "registry/mysql/"),
        ("rusqlite", "registry/sqlite.rs"),
        ("httparse::Request", "wire/http.rs"),
    ];
    for source in sources().iter().filter(|source| !source.path.starts_with("tests")) {
        for (word, home) in homes {
            let at_home = source.path.starts_with(home);
            let found = source.body().lines().any(|line| is_code(line) && line.contains(word));
            assert!(at_home || !found, "{} imports {word}", source.name());
        }
    }
}
