//! What the documents say of the sources is still true: `docs/PROTOCOL.md` names a test for every
//! rule of the wire, and each of those tests exists.
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
