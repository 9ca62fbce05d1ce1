//! Every file of the fuzz targets' corpora, on a stable toolchain.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::{fuzz, model};

type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 11] = [
    ("announce_query", fuzz::announce_query),
    ("connection_split", fuzz::connection_split),
    ("http_head", fuzz::http_head),
    ("proxy_preface", fuzz::proxy_preface),
    ("reply_decode", fuzz::reply_decode),
    ("scrape_query", fuzz::scrape_query),
    ("snapshot_load", fuzz::snapshot_load),
    ("store_ops", model::run_operations),
    ("torrent_file", fuzz::torrent_file),
    ("udp_options", fuzz::udp_options),
    ("udp_packet", fuzz::udp_packet),
];

/// What stands in a folder of `fuzz/`.
fn entries(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_corpus_is_replayed() {
    let mut failed = Vec::new();
    for (target, body) in TARGETS {
        let inputs = entries(&format!("corpus/{target}"));
        assert!(inputs.iter().any(|input| is_speaking(&name(input))), "{target} has no corpus");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            if catch_unwind(|| body(&bytes)).is_err() {
                failed.push(input);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_target_is_replayed() {
    let targets: BTreeSet<String> =
        TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    for folder in ["fuzz_targets", "corpus"] {
        assert_eq!(
            entries(folder).iter().map(|path| name(path)).collect::<BTreeSet<_>>(),
            targets,
            "{folder}"
        );
    }
}

/// libFuzzer names what it finds by a hash, and git ignores names without a hyphen.
fn is_speaking(name: &str) -> bool {
    name.contains('-')
}

#[test]
fn every_input_says_what_it_is() {
    for (target, _) in TARGETS {
        for name in entries(&format!("corpus/{target}")).iter().map(|input| name(input)) {
            let is_find = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(
                is_speaking(&name) || is_find,
                "{target}/{name} would be ignored by git: name it with a hyphen"
            );
        }
    }
}
