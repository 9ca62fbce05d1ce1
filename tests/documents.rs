//! What the documents say of the sources is still true: `docs/PROTOCOL.md` names a test for every
//! rule of the wire, and each of those tests exists; README's settings of proxies are what the tests
//! with those proxies use.
#![allow(clippy::expect_used, reason = "a failing helper fails its test, with a text")]

use std::fs;
use std::path::Path;

/// Underscores in the shortest name of a test; settings and fields have fewer.
const UNDERSCORES_MIN: usize = 3;

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
    let names: Vec<&str> =
        protocol.split('`').skip(1).step_by(2).filter(|word| is_name_of_a_test(word)).collect();
    assert!(names.len() > 100, "docs/PROTOCOL.md names {} tests", names.len());
    let missing: Vec<&&str> =
        names.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "tests that do not exist: {missing:#?}");
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
