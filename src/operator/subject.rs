//! What an argument or a line of a list means: a hash, a magnet link, or the path of a .torrent
//! file, tried in that order.
//!
//! A file that is called like a hash is reached as `./…`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::metainfo::{self, FILE_BYTES_MAX, Metainfo};
use crate::operator::output::printable;

/// The torrent that `subject` means. The error is one line that names it.
pub(super) fn torrent(subject: &OsStr) -> Result<Metainfo, String> {
    subject.to_str().and_then(written).unwrap_or_else(|| file(Path::new(subject)))
}

/// The torrent that `text` spells out; `None` when it can only be a path.
pub(super) fn written(text: &str) -> Option<Result<Metainfo, String>> {
    if metainfo::is_magnet(text) {
        return Some(
            metainfo::magnet(text).map_err(|fault| format!("{}: {fault}", printable(text))),
        );
    }
    metainfo::info_hash(text).map(Metainfo::of_hash).map(Ok)
}

/// The torrent of the .torrent file at `path`.
pub(super) fn file(path: &Path) -> Result<Metainfo, String> {
    let named = |problem: String| format!("{}: {problem}", printable(&path.to_string_lossy()));
    let bytes = read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename => {
            named(format!("neither an info hash nor a file: {error}"))
        }
        _ => named(error.to_string()),
    })?;
    Metainfo::of_file(&bytes).map_err(|fault| named(fault.to_string()))
}

/// One byte more than allowed tells a file that is too large.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    fn problem(subject: &str) -> String {
        torrent(OsStr::new(subject)).unwrap_err()
    }

    #[test]
    fn hashes_links_and_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b.torrent");
        fs::write(&path, b"d4:infod4:name4:Demo6:pieces0:ee").unwrap();
        assert_eq!(torrent(OsStr::new(HASH)).unwrap().info_hashes[0].to_string(), HASH);
        assert_eq!(
            torrent(OsStr::new(&format!("magnet:?xt=urn:btih:{HASH}&dn=Link")))
                .unwrap()
                .name
                .unwrap(),
            "Link"
        );
        assert_eq!(torrent(path.as_os_str()).unwrap().name.unwrap(), "Demo");
    }

    #[test]
    fn a_problem_names_what_it_is_with() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("login.html");
        fs::write(&page, "<html>").unwrap();
        let page = page.to_str().unwrap();
        assert_eq!(
            problem(page),
            format!("{page}: not a .torrent file: it is no bencoded dictionary")
        );
        assert_eq!(
            problem("/nowhere"),
            "/nowhere: neither an info hash nor a file: No such file or directory (os error 2)"
        );
        assert!(
            problem(&HASH[1..])
                .starts_with(&format!("{}: neither an info hash nor a file", &HASH[1..]))
        );
        assert_eq!(problem("/"), "/: Is a directory (os error 21)");
        assert!(problem("magnet:?dn=x").starts_with("magnet:?dn=x: a magnet link without"));
        assert_eq!(
            problem("/dev/zero"),
            "/dev/zero: larger than 64 MiB, so hardly a .torrent file"
        );
        assert!(problem(&"x".repeat(5_000)).len() < 400);
    }

    #[test]
    fn a_problem_is_one_line_without_a_password() {
        for subject in ["a\n\u{1b}[2J", "mysql://root:hunter2@db/tracker", "magnet:?dn=\r\nx", ""] {
            let line = problem(subject);
            assert!(!line.contains(char::is_control) && !line.contains("hunter2"), "{line:?}");
        }
    }
}
