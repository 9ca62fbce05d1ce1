//! `announced torrent` on SQLite, through the built binary: what it prints, what is in the list
//! afterwards, and the exit code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy takes the helpers of an integration test for production code"
)]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const HYBRID: &[u8] =
    b"d8:announce10:http://t/a4:infod9:file treed1:ad0:d6:lengthi5e11:pieces root32:\
      rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrreee6:lengthi5e12:meta versioni2e4:name6:Hybrid12:\
      piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
const HYBRID_V1: &str = "5146432ec40230bf58327e59b1afb4dc59957d2d";
const HYBRID_V2: &str = "c7ca93484a24860590580d39d1bea1795c15de52";

/// What is complained of: all of stderr but the file that a first command has made.
fn complaints(output: &Output) -> &str {
    let told = text(&output.stderr);
    match told.split_once('\n') {
        Some((line, rest)) if line.starts_with("announced: there was no database: made ") => rest,
        _ => told,
    }
}

/// A database of its own, in a folder that is the working directory.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Site {
        Site { folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_announced"));
        command.arg("torrent").args(arguments).args(["--database", "sqlite:torrents.db"]);
        command
            .current_dir(&self.folder)
            .env_remove("ANNOUNCED_DATABASE")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints when all goes well.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(complaints(&output), "", "stderr, {arguments:?}");
        assert_eq!(output.status.code(), Some(0), "exit code, {arguments:?}");
        text(&output.stdout).to_owned()
    }

    /// What it prints, and what it complains of, when something was wrong.
    fn wrong(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        (text(&output.stdout).to_owned(), complaints(&output).to_owned())
    }

    fn listed(&self) -> Vec<Value> {
        serde_json::from_str(&self.said(&["list", "--json"])).unwrap()
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_torrent_is_added_banned_unbanned_and_removed() {
    let site = Site::new();
    assert_eq!(site.said(&["import", "/dev/null"]), "added 0, already listed 0, wrong 0\n");
    assert_eq!(site.said(&["list", "--json"]), "[]\n");
    assert_eq!(site.said(&["add", A, "--name", "Demo"]), format!("added {A} Demo\n"));
    assert_eq!(site.said(&["add", &A.to_uppercase()]), format!("already listed {A}\n"));
    let listed = site.listed();
    let [row] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(row["info_hash"], A, "info hash");
    assert_eq!(row["name"], "Demo", "name");
    assert_eq!(row["banned"], false, "banned");
    assert!(
        row["added"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')),
        "{row}"
    );

    assert_eq!(site.said(&["ban", A, "--reason", "a copy"]), format!("banned {A}\n"));
    assert_eq!(site.said(&["ban", A, "--reason", "a copy"]), format!("already banned {A}\n"));
    assert_eq!(site.listed()[0]["banned"], true, "banned");
    assert_eq!(site.listed()[0]["ban_reason"], "a copy", "reason");
    assert!(site.said(&["list"]).contains(" Demo [banned: a copy]\n"));
    assert_eq!(site.said(&["unban", A]), format!("unbanned {A}\n"));
    assert_eq!(site.said(&["unban", A]), format!("not banned {A}\n"));
    assert_eq!(site.listed()[0]["ban_reason"], Value::Null);
    assert_eq!(site.said(&["remove", A]), format!("removed {A}\n"));
    assert_eq!(site.listed(), [] as [Value; 0]);
}

#[test]
fn what_is_not_listed_is_exit_code_1() {
    let site = Site::new();
    site.said(&["add", A]);
    for verb in ["unban", "remove"] {
        assert_eq!(site.wrong(&[verb, B]), (String::new(), format!("announced: not listed {B}\n")));
    }
    assert_eq!(
        site.wrong(&["remove", A, B]),
        (format!("removed {A}\n"), format!("announced: not listed {B}\n"))
    );
    // To ban what is not listed is to list it as banned.
    assert_eq!(site.said(&["ban", B]), format!("banned {B}\n"));
    assert_eq!(site.listed()[0]["banned"], true);
}

#[test]
fn files_and_links_are_read_for_their_hashes_and_names() {
    let site = Site::new();
    site.file("hybrid one.torrent", HYBRID);
    site.file("page.torrent", b"<html>");
    let added = format!("added {HYBRID_V1} Hybrid\nadded {HYBRID_V2} Hybrid\n");
    assert_eq!(site.said(&["add", "hybrid one.torrent"]), added);
    let link = format!("magnet:?xt=urn:btih:{A}&dn=Z%C3%BCrich+1");
    assert_eq!(site.said(&["add", &link]), format!("added {A} Zürich 1\n"));
    let (said, complaints) = site.wrong(&["add", "page.torrent", "nowhere.torrent", B]);
    assert_eq!(said, format!("added {B}\n"));
    let expected = "announced: page.torrent: not a .torrent file: it is no bencoded \
                    dictionary\nannounced: nowhere.torrent: neither an info hash nor a file: No \
                    such file or directory (os error 2)\n";
    assert_eq!(complaints, expected);
    let names: Vec<_> =
        site.listed().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["Hybrid", "Zürich 1", "", "Hybrid"]);
}

#[test]
fn nothing_is_written_when_nothing_could_be_read() {
    let site = Site::new();
    site.wrong(&["add", "nowhere.torrent"]);
    assert!(!site.folder.path().join("torrents.db").exists());
}

#[test]
fn only_what_lists_torrents_makes_a_file() {
    let site = Site::new();
    let complaint = "announced: SQLite file torrents.db: there is no such file\n";
    for arguments in [&["list"][..], &["list", "--json"], &["unban", A], &["remove", A]] {
        assert_eq!(site.wrong(arguments), (String::new(), complaint.to_owned()), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(&site.folder).unwrap().count(), 0);
}

#[test]
fn thousands_are_imported_and_listed() {
    let site = Site::new();
    let mut list: String = (0..2_500).map(|n| format!("{n:040x}\tTorrent {n}\n")).collect();
    list.push_str("# the end\n\nnot a hash\nhybrid.torrent\n");
    site.file("list.txt", list.as_bytes());
    site.file("hybrid.torrent", HYBRID);
    let complaint = "announced: list.txt: line 2503: not a hash: neither an info hash nor a file: \
                     No such file or directory (os error 2)\n";
    let summary = "added 2502, already listed 0, wrong 1\n";
    assert_eq!(site.wrong(&["import", "list.txt"]), (summary.to_owned(), complaint.to_owned()));
    let listed = site.listed();
    assert_eq!(listed.len(), 2_502);
    for (n, row) in listed[..2_500].iter().enumerate() {
        assert_eq!(row["info_hash"].as_str(), Some(&*format!("{n:040x}")), "info hash in row {n}");
        assert_eq!(row["name"].as_str(), Some(&*format!("Torrent {n}")), "name in row {n}");
    }
    assert_eq!(site.said(&["list"]).lines().count(), 2_503);
    assert_eq!(site.wrong(&["import", "list.txt"]).0, "added 0, already listed 2502, wrong 1\n");
}

#[test]
fn a_list_may_come_through_a_pipe() {
    let site = Site::new();
    let mut child = site
        .command(&["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{A} Demo\n{B}\n{A} Demo").as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "added 2, already listed 1, wrong 0\n", "stdout");
    assert_eq!(output.status.code(), Some(0), "exit code");
}

#[test]
fn a_reader_of_the_list_who_has_seen_enough_is_no_error() {
    let site = Site::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    site.said(&["add", A]);
    for arguments in [&["list"][..], &["list", "--json"], &["add", B], &["import", "/dev/null"]] {
        let output = site.command(arguments).stdout(writer.try_clone().unwrap()).output().unwrap();
        assert_eq!(complaints(&output), "", "stderr, {arguments:?}");
        assert_eq!(output.status.code(), Some(0), "exit code, {arguments:?}");
    }
    assert_eq!(site.listed().len(), 2);
}

#[test]
fn the_database_may_be_named_by_settings_and_environment() {
    let site = Site::new();
    site.file("announced.toml", b"[database]\nurl = \"sqlite:torrents.db\"\n");
    let plain = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_announced"));
        command.current_dir(&site.folder).env_remove("ANNOUNCED_DATABASE").stdin(Stdio::null());
        command
    };
    let by_file =
        plain().args(["torrent", "add", A, "--config", "announced.toml"]).output().unwrap();
    let by_variable = plain()
        .args(["torrent", "add", B])
        .env("ANNOUNCED_DATABASE", "sqlite:torrents.db")
        .output()
        .unwrap();
    for output in [by_file, by_variable] {
        assert_eq!(complaints(&output), "", "stderr");
        assert_eq!(output.status.code(), Some(0), "exit code");
    }
    assert_eq!(site.listed().len(), 2);
}

#[test]
fn a_database_that_cannot_be_opened_is_one_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_announced"))
        .args(["torrent", "list", "--database", "sqlite:/nowhere/x.db"])
        .env_remove("ANNOUNCED_DATABASE")
        .output()
        .unwrap();
    let complaint = complaints(&output);
    assert_eq!(text(&output.stdout), "", "stdout");
    assert_eq!(output.status.code(), Some(1), "exit code");
    assert!(
        complaint.starts_with("announced: ") && complaint.contains("/nowhere/x.db"),
        "{complaint}"
    );
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}
