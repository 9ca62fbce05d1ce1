//! What the documents say of the sources is still true: `docs/PROTOCOL.md` names a test for every
//! rule of the wire, and each of those tests exists; so do the files, types and functions that
//! `docs/ARCHITECTURE.md` names; README's settings of proxies are what the tests with those proxies
//! use.
#![allow(clippy::expect_used, reason = "a failing helper fails its test, with a text")]

use std::fs;
use std::path::Path;

/// Underscores in the shortest name of a test; settings and fields have fewer.
const UNDERSCORES_MIN: usize = 3;

/// Names in `docs/ARCHITECTURE.md` that are the standard library's.
const OF_THE_STANDARD_LIBRARY: [&str; 1] = ["OnceLock"];

/// Everything in the Rust files under `directory`.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("the sources can be read") {
        let path = entry.expect("the sources can be read").path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path).expect("the sources can be read");
        }
    }
    text
}

fn is_name_of_a_test(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && word.matches('_').count() >= UNDERSCORES_MIN
}

#[test]
fn every_test_that_the_protocol_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protocol = fs::read_to_string(root.join("docs/PROTOCOL.md")).expect("docs/PROTOCOL.md");
    let sources = sources(&root.join("src")) + &sources(&root.join("tests"));
    let names: Vec<&str> = quoted(&protocol).filter(|word| is_name_of_a_test(word)).collect();
    assert!(names.len() > 100, "docs/PROTOCOL.md names {} tests", names.len());
    let missing: Vec<&&str> =
        names.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "tests that do not exist: {missing:#?}");
}

/// The words of a text that stand between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A file, a folder or a module, from the root of the repository or from `src`.
fn is_path(word: &str) -> bool {
    word.contains('/') || word.ends_with(".rs") || word.ends_with(".md")
}

fn path_exists(root: &Path, word: &str) -> bool {
    let file = format!("{}.rs", word.trim_end_matches('/'));
    [root.to_path_buf(), root.join("src")]
        .iter()
        .any(|folder| folder.join(word).exists() || folder.join(&file).exists())
}

/// A type, a constant, or a path of them and functions.
fn is_name_in_code(word: &str) -> bool {
    let is_ident = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let begins_upper = word.starts_with(|first: char| first.is_ascii_uppercase());
    (word.contains("::") || begins_upper && word.len() > 1) && word.split("::").all(is_ident)
}

/// Whether something of this name is declared: a value of an enum has a line of its own.
fn is_declared(name: &str, sources: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "mod"];
    let ends_there =
        |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let declared = |before: String| {
        sources.match_indices(&before).any(|(at, found)| ends_there(&sources[at + found.len()..]))
    };
    let is_value = name.starts_with(|first: char| first.is_ascii_uppercase());
    kinds.iter().any(|kind| declared(format!("{kind} {name}")))
        || is_value && declared(format!("\n    {name}"))
}

#[test]
fn every_file_type_and_function_that_the_architecture_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    let sources = sources(&root.join("src"));
    let (mut paths, mut names, mut missing) = (0, 0, Vec::new());
    for word in quoted(&text) {
        if is_path(word) {
            paths += 1;
            if !path_exists(root, word) {
                missing.push(word);
            }
        } else if is_name_in_code(word) && !OF_THE_STANDARD_LIBRARY.contains(&word) {
            names += 1;
            if !word.split("::").all(|name| is_declared(name, &sources)) {
                missing.push(word);
            }
        }
    }
    assert!(paths > 50, "docs/ARCHITECTURE.md names {paths} files");
    assert!(names > 80, "docs/ARCHITECTURE.md names {names} types and functions");
    assert!(missing.is_empty(), "these do not exist: {missing:#?}");
}

/// The text of a Rust file with its string literals as they are at run time, but for the line
/// breaks and spaces, which are single spaces.
fn unescaped(source: &str) -> String {
    let text = source
        .replace("\\\n", "")
        .replace("\\n", " ")
        .replace("\\\"", "\"")
        .replace("{{", "{")
        .replace("}}", "}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_proxies_that_readme_shows_are_those_of_the_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md");
    let section = readme.split("\n## ").find(|section| section.starts_with("Behind a proxy"));
    let tested = unescaped(&sources(&root.join("tests/proxies")));
    let mut shown = 0;
    for line in section.expect("a section on proxies").lines() {
        let Some(line) = line.strip_prefix("    ") else { continue };
        // Without its comment, and with the test's own name for the address.
        let line = line.split('#').next().unwrap_or_default();
        let line = line
            .replace("\"[::]:6969\", ", "")
            .replace("127.0.0.1:6969", "{tracker}")
            .replace("[127.0.0.1]:6970", "[{}]:{}")
            .replace("127.0.0.1:6970", "127.0.0.1:0")
            .replace("\"X-Forwarded-For\"", "\"{header}\"")
            .replace("listen = [", "")
            .replace("true }]", "true }");
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(tested.contains(&line), "README shows what no test uses: {line}");
        shown += 1;
    }
    assert!(shown > 10, "README shows {shown} lines");
}
