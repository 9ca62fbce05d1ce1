//! Adding many torrents from a list: one a line, each an info hash (or a magnet link), perhaps
//! followed by white space and a name, or the path of a .torrent file, which may hold spaces. Blank
//! lines and those that begin with `#` are passed over.
//!
//! A wrong line is complained of by its number and does not stop the others. To import the same
//! list again is harmless.
//!
//! Limits: [`LINE_BYTES_MAX`]; edits go to the database [`BATCH_ROWS_MAX`] at a time.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::metainfo::{HASHES_MAX, Metainfo, name_of};
use crate::operator::output::{Complain, Trouble};
use crate::operator::subject;
use crate::registry::database::{BATCH_ROWS_MAX, Edit, Edited, Ledger};

/// Bytes of a line. Paths end at 4096; magnet links with all their trackers are longer, but not by
/// much.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// With which Windows begins a file of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What became of a list, so far as it was read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// Info hashes that are listed now and were not before, or that have another name now.
    pub added: u64,
    /// Those of them whose name has a ? for what its column cannot hold.
    pub question_marks: u64,
    /// Info hashes that were listed already.
    pub already: u64,
    /// Lines that could not be read.
    pub wrong: u64,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "added {}, already listed {}, wrong {}", self.added, self.already, self.wrong)?;
        if self.question_marks > 0 {
            write!(
                f,
                "; {} names have ? for what their column cannot hold: see \
                 schema/from-php-tracker.sql",
                self.question_marks
            )?;
        }
        Ok(())
    }
}

/// Adds every torrent of the list that `input` is. What is counted has been written, even when
/// there was trouble: the list cannot be read on, or the database could not be asked.
pub fn import(
    ledger: &mut dyn Ledger,
    input: &mut dyn BufRead,
    complain: &mut Complain<'_>,
) -> (Imported, Result<(), Trouble>) {
    let mut import = Import {
        ledger,
        pending: Vec::with_capacity(BATCH_ROWS_MAX),
        imported: Imported::default(),
    };
    let ended = import.all(input, complain);
    (import.imported, ended)
}

struct Import<'l> {
    ledger: &'l mut dyn Ledger,
    /// Read, but not yet written.
    pending: Vec<Edit>,
    imported: Imported,
}

impl Import<'_> {
    fn all(&mut self, input: &mut dyn BufRead, complain: &mut Complain<'_>) -> Result<(), Trouble> {
        let (mut line, mut number) = (Vec::new(), 0_u64);
        while next_line(input, &mut line).map_err(Trouble::Input)? {
            number += 1;
            match torrent(&line, number == 1) {
                Ok(Some(torrent)) => self.add(&torrent)?,
                Ok(None) => (),
                Err(problem) => {
                    self.imported.wrong += 1;
                    complain(&format!("line {number}: {problem}"));
                }
            }
        }
        self.flush()
    }

    fn add(&mut self, torrent: &Metainfo) -> Result<(), Trouble> {
        if self.pending.len() + HASHES_MAX > BATCH_ROWS_MAX {
            self.flush()?;
        }
        let edit = |&info_hash| Edit::Add { info_hash, name: torrent.name.clone() };
        self.pending.extend(torrent.info_hashes.iter().map(edit));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        if self.pending.is_empty() {
            return Ok(());
        }
        for edited in self.ledger.edit(&self.pending)? {
            match edited {
                Edited::Already => self.imported.already += 1,
                Edited::DoneWithQuestionMarks => {
                    self.imported.added += 1;
                    self.imported.question_marks += 1;
                }
                _ => self.imported.added += 1,
            }
        }
        self.pending.clear();
        Ok(())
    }
}

/// Reads the next line into `line`; false at the end. Of a line that is too long, one byte too many
/// is kept.
fn next_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    (&mut *input).take(LINE_BYTES_MAX + 1).read_until(b'\n', line)?;
    if is_too_long(line) && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

fn is_too_long(line: &[u8]) -> bool {
    line.len() as u64 > LINE_BYTES_MAX
}

/// The torrent of a line; none where there is nothing to do. The error is one line.
fn torrent(line: &[u8], is_first: bool) -> Result<Option<Metainfo>, String> {
    if is_too_long(line) {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    let line = if is_first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let first_bytes = line.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
    let (first, rest) = line.split_at(first_bytes);
    match std::str::from_utf8(first).ok().and_then(subject::written) {
        Some(torrent) => torrent
            .map(|torrent| Some(Metainfo { name: name_of(rest).or(torrent.name), ..torrent })),
        None => subject::file(Path::new(OsStr::from_bytes(line))).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::tests::paper_ledger::PaperLedger;
    use crate::tests::property;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    /// What is counted and what is complained of.
    fn told(ledger: &mut PaperLedger, list: &[u8]) -> (String, Vec<String>) {
        let mut complaints = Vec::new();
        let (imported, ended) =
            import(ledger, &mut &list[..], &mut |problem| complaints.push(problem.to_owned()));
        ended.unwrap();
        (imported.to_string(), complaints)
    }

    fn names(ledger: &PaperLedger) -> Vec<(String, &str)> {
        ledger.rows.iter().map(|row| (row.info_hash.to_string(), row.name.as_str())).collect()
    }

    #[test]
    fn hashes_names_links_and_files_are_read_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file.torrent");
        fs::write(&path, b"d4:infod4:name4:File6:pieces0:ee").unwrap();
        let list = format!(
            "\u{feff}{}\tA name \n\n  # a \
             comment\n{B}\r\nmagnet:?xt=urn:btih:{}&dn=Link\nmagnet:?xt=urn:btih:{}&dn=x  Rather \
             this\n{}\n{A}",
            A.to_uppercase(),
            "c".repeat(40),
            "d".repeat(40),
            path.display(),
        );
        let mut ledger = PaperLedger::default();
        assert_eq!(
            told(&mut ledger, list.as_bytes()),
            ("added 5, already listed 1, wrong 0".to_owned(), vec![])
        );
        let listed = names(&ledger);
        assert!(
            listed.contains(&(A.to_owned(), "A name")) && listed.contains(&(B.to_owned(), "")),
            "{listed:?}"
        );
        let by_name =
            ["Link", "Rather this", "File"].map(|name| listed.iter().any(|row| row.1 == name));
        assert_eq!(by_name, [true; 3], "{listed:?}");
        assert_eq!(told(&mut ledger, list.as_bytes()).0, "added 0, already listed 6, wrong 0");
    }

    #[test]
    fn a_wrong_line_is_named_and_does_not_stop_the_others() {
        let start = format!("{A}\n/nowhere/x.torrent\n{}\n", "x".repeat(100_000));
        let list = [start.as_bytes(), b"\xff\n", B.as_bytes(), b" last"].concat();
        let (said, complaints) = told(&mut PaperLedger::default(), &list);
        assert_eq!(said, "added 2, already listed 0, wrong 3");
        assert!(
            complaints[0]
                .starts_with("line 2: /nowhere/x.torrent: neither an info hash nor a file: "),
            "{complaints:?}"
        );
        assert_eq!(complaints[1], "line 3: longer than 65536 bytes");
        assert!(complaints[2].starts_with("line 4: ") && complaints.len() == 3, "{complaints:?}");
    }

    #[test]
    fn a_line_may_just_fit() {
        for (padding, wrong) in [(LINE_BYTES_MAX - 41, 0), (LINE_BYTES_MAX - 40, 1)] {
            let list = format!("{A}{}\n{B}\n", " ".repeat(usize::try_from(padding).unwrap()));
            let said = told(&mut PaperLedger::default(), list.as_bytes()).0;
            assert_eq!(said, format!("added {}, already listed 0, wrong {wrong}", 2 - wrong));
        }
    }

    #[test]
    fn many_are_batches_and_what_was_added_is_counted_when_the_database_goes_away() {
        let list: String = (0..2_500).map(|n| format!("{n:040x}\n")).collect();
        let mut ledger = PaperLedger::default();
        assert_eq!(told(&mut ledger, list.as_bytes()).0, "added 2500, already listed 0, wrong 0");
        assert!(
            ledger.batches.iter().all(|&edits| edits <= BATCH_ROWS_MAX)
                && ledger.batches.len() == 3
        );
        let mut ledger = PaperLedger { calls_left: Some(1), ..PaperLedger::default() };
        let (imported, ended) =
            import(&mut ledger, &mut list.as_bytes(), &mut |problem| panic!("{problem}"));
        assert!(matches!(ended, Err(Trouble::Database(_))));
        assert_eq!(imported, Imported { added: ledger.rows.len() as u64, ..Imported::default() });
    }

    #[test]
    fn a_list_that_cannot_be_read_on_ends_the_import() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
        let start = format!("{A}\n");
        let mut input = io::BufReader::new(start.as_bytes().chain(Broken));
        let (_, ended) =
            import(&mut PaperLedger::default(), &mut input, &mut |problem| panic!("{problem}"));
        assert!(matches!(ended, Err(Trouble::Input(_))));
    }

    #[test]
    fn no_list_makes_it_panic() {
        let line = proptest::collection::vec(
            proptest::sample::select(b"ab0# \t\r\nm\xff:?=".to_vec()),
            0..100,
        );
        property(500, line, |list| {
            let said = told(&mut PaperLedger::default(), &list).0;
            prop_assert!(said.starts_with("added 0, "));
            Ok(())
        });
    }
}
