//! The house rules that a compiler does not know: layers, lengths, headers, and where printing is
//! allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the bottom up: a file may name its own and those before it.
const LAYERS: [&str; 21] = [
    "ids",
    "bounds",
    "files",
    "mailbox",
    "counters",
    "config",
    "listing",
    "state_directory",
    "secrets",
    "memory",
    "wire",
    "swarm",
    "registry",
    "foresight",
    "tracker",
    "snapshots",
    "frontend",
    "server",
    "daemon",
    "metainfo",
    "operator",
];
const LINES_BEFORE_TESTS_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;
const HEADER_LINES_MAX: usize = 25;
const UNSAFE: [&str; 3] =
    ["bin/announced/inherited.rs", "server/datagrams/io.rs", "server/sockopt.rs"];

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

    /// The part before the tests, without comments.
    fn code(&self) -> String {
        self.body().lines().filter(|line| is_code(line)).collect::<Vec<_>>().join("\n")
    }

    /// The names of the modules above it and its own; `mod.rs` has its folder's.
    fn modules(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
        names.filter(|name| name != "mod").collect()
    }

    /// What it names of this crate.
    fn imports(&self) -> Vec<Vec<String>> {
        let (code, mut paths) = (self.code(), Vec::new());
        for (at, start) in code.match_indices("crate::") {
            if !code[..at].ends_with(|c: char| is_ident(c) || c == '$') {
                paths_of(&code[at + start.len()..], &[], &mut paths);
            }
        }
        paths
    }

    /// The layer a file belongs to; none for the crate's root, the program and the tests.
    fn layer(&self) -> Option<usize> {
        let first = self.path.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs");
        LAYERS.iter().position(|layer| *layer == first)
    }
}

/// A folder of the sources: what stands in it, by module.
struct Folder {
    /// The modules above it and its own: `registry`, `database`.
    modules: Vec<String>,
    /// The modules in it.
    children: BTreeSet<String>,
}

impl Folder {
    /// Which of `children` a file belongs to; none for a file elsewhere, and for the façade.
    fn child_of(&self, source: &Source) -> Option<String> {
        let modules = source.modules();
        let below = modules.strip_prefix(self.modules.as_slice())?;
        below.first().cloned()
    }

    fn name(&self) -> String {
        self.modules.join("/")
    }
}

fn folders(sources: &[Source]) -> Vec<Folder> {
    let mut folders = BTreeMap::<Vec<String>, BTreeSet<String>>::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("tests")) {
        let modules = source.modules();
        for depth in 1..modules.len() {
            let folder = folders.entry(modules[..depth].to_vec()).or_default();
            folder.insert(modules[depth].clone());
        }
    }
    folders.into_iter().map(|(modules, children)| Folder { modules, children }).collect()
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// All paths that a tree of imports stands for, as far as they are names: `a::{b, c::d}` is `a::b`
/// and `a::c::d`.
fn paths_of(tree: &str, before: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let (mut path, mut at) = (before.to_vec(), 0);
    loop {
        let rest = tree[at..].trim_start();
        at = tree.len() - rest.len();
        let name: String = rest.chars().take_while(|c| is_ident(*c) || *c == '*').collect();
        at += name.len();
        path.push(name);
        let rest = &tree[at..];
        if rest.starts_with("::{") {
            at += 3;
            loop {
                at += paths_of(&tree[at..], &path, paths);
                let rest = tree[at..].trim_start_matches(|c: char| c != ',' && c != '}');
                at = tree.len() - rest.len() + 1;
                if rest.starts_with('}') || rest.is_empty() {
                    return at;
                }
                if tree[at..].trim_start().starts_with('}') {
                    return at + tree[at..].find('}').unwrap() + 1;
                }
            }
        }
        if !rest.starts_with("::") || rest.starts_with("::<") {
            paths.push(path);
            return at;
        }
        at += 2;
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

/// Vocabulary stands below the façade that shows it to others: whoever opens a file finds what it
/// needs further down.
#[test]
fn no_file_imports_from_the_facade_above_it() {
    let sources = sources();
    for folder in &folders(&sources) {
        for source in &sources {
            if folder.child_of(source).is_none() {
                continue;
            }
            let name = source.name();
            assert!(!source.code().contains("super::"), "{name}: write crate::, not super::");
            for path in source.imports() {
                let Some(below) = path.strip_prefix(folder.modules.as_slice()) else { continue };
                let named = below.first().map_or("", String::as_str);
                assert!(
                    named.is_empty() || folder.children.contains(named),
                    "{name} takes {named} from the façade of {}",
                    folder.name()
                );
            }
        }
    }
}

#[test]
fn the_files_of_a_folder_import_each_other_in_no_circle() {
    let sources = sources();
    for folder in &folders(&sources) {
        let mut arrows = BTreeMap::<String, BTreeSet<String>>::new();
        for source in &sources {
            let Some(from) = folder.child_of(source) else { continue };
            for path in source.imports() {
                let below = path.strip_prefix(folder.modules.as_slice()).unwrap_or_default();
                let to = below.first().filter(|to| **to != from && folder.children.contains(*to));
                arrows.entry(from.clone()).or_default().extend(to.cloned());
            }
        }
        // What imports nothing that is left is taken out, until nothing is left.
        while let Some(lowest) = arrows
            .iter()
            .find(|(_, to)| to.iter().all(|to| !arrows.contains_key(to)))
            .map(|(from, _)| from.clone())
        {
            arrows.remove(&lowest);
        }
        assert!(arrows.is_empty(), "{}: among these is a circle: {arrows:?}", folder.name());
    }
}

#[test]
fn trees_of_imports_are_taken_apart() {
    let rows = [
        ("a::B;", vec!["a::B"]),
        ("a::b::<C>()", vec!["a::b"]),
        (
            "a::{self, B, c::{D, E}, f::G};",
            vec!["a::self", "a::B", "a::c::D", "a::c::E", "a::f::G"],
        ),
        ("a::{\n    B,\n    C as D,\n};\nuse x::{Y};", vec!["a::B", "a::C"]),
    ];
    for (tree, expected) in rows {
        let mut paths = Vec::new();
        paths_of(tree, &[], &mut paths);
        let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
        assert_eq!(paths, expected, "{tree}");
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

/// rustfmt keeps code within its width, but neither comments nor literals.
#[test]
fn lines_stay_within_the_columns() {
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(columns <= COLUMNS_MAX, "{}:{}: {columns} columns", source.name(), at + 1);
        }
    }
}

#[test]
fn every_file_opens_with_what_it_owns() {
    for source in sources() {
        let header = source.text.lines().take_while(|line| line.starts_with("//!"));
        // A row of a table is one thing to look up, not a line to read.
        let header = header.filter(|line| !line.starts_with("//! |")).count();
        assert!(
            (1..=HEADER_LINES_MAX).contains(&header),
            "{}: a header of {header} lines",
            source.name()
        );
    }
}

#[test]
fn only_the_program_prints_and_only_three_files_are_unsafe() {
    let printing = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    for source in sources().iter().filter(|source| !source.path.starts_with("tests")) {
        let main = source.path.starts_with("bin");
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
        ("use mysql::", "registry/database/mysql/"),
        ("rusqlite", "registry/database/sqlite/"),
        ("httparse::Request", "wire/http/request.rs"),
    ];
    for source in sources().iter().filter(|source| !source.path.starts_with("tests")) {
        for (word, home) in homes {
            let at_home = source.path.starts_with(home);
            let found = source.body().lines().any(|line| is_code(line) && line.contains(word));
            assert!(at_home || !found, "{} imports {word}", source.name());
        }
    }
}
