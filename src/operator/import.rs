//! Adding or banning many torrents from a list: one a line, each an info hash (or a magnet link),
//! perhaps followed by white space and a name, or the path of a .torrent file, which may hold
//! spaces. Blank lines and those that begin with `#` are passed over; a line ends as on Unix, on
//! Windows or on an old Macintosh. Or what `list --json` has printed (`json_list`), with its bans.
//!
//! A wrong line is complained of by its number and does not stop the others. To import the same
//! list again is harmless.
//!
//! Limits: [`LINE_BYTES_MAX`]; edits go to the database [`BATCH_ROWS_MAX`] at a time.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::metainfo::{HASHES_MAX, Metainfo, name_of};
use crate::operator::json_list::{self, JsonTorrent};
use crate::operator::output::{Complain, Trouble};
use crate::operator::subject;
use crate::registry::database::{BATCH_ROWS_MAX, Edit, Edited, Ledger};

/// Bytes of a line. Paths end at 4096; magnet links with all their trackers are longer, but not by
/// much.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// With which Windows begins a file of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes of the beginning by which the kind of a list is told.
const START_BYTES: u64 = 64;

/// What is to be done with every torrent of a list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Import {
    /// List it; ban it where the list says so.
    #[default]
    Add,
    /// Ban it.
    Ban {
        /// `--reason`.
        reason: Option<String>,
    },
}

/// What became of a list, so far as it was read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// The list was one of bans.
    pub of_bans: bool,
    /// Info hashes that are listed now and were not before, or that have another name now.
    pub added: u64,
    /// Those whose name or reason has a ? for what its column cannot hold.
    pub question_marks: u64,
    /// Info hashes that were listed already.
    pub already: u64,
    /// Info hashes that are banned now and were not before, or for another reason.
    pub banned: u64,
    /// Of those, how many lack their reason, which has no column.
    pub without_reason: u64,
    /// Info hashes that were banned already.
    pub already_banned: u64,
    /// Lines that could not be read.
    pub wrong: u64,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.of_bans {
            write!(f, "added {}, already listed {}, ", self.added, self.already)?;
        }
        if self.of_bans || self.banned + self.already_banned > 0 {
            write!(f, "banned {}", self.banned)?;
            if self.without_reason > 0 {
                let number = self.without_reason;
                write!(f, " ({number} without the reason: the table has no column for it)")?;
            }
            write!(f, ", already banned {}, ", self.already_banned)?;
        }
        write!(f, "wrong {}", self.wrong)?;
        if self.question_marks > 0 {
            write!(
                f,
                "; {} texts have ? for what their column cannot hold: see \
                 schema/from-php-tracker.sql",
                self.question_marks
            )?;
        }
        Ok(())
    }
}

/// Adds or bans every torrent of the list that `input` is. What is counted has been written, even
/// when there was trouble: the list cannot be read on, or the database could not be asked.
pub fn import(
    ledger: &mut dyn Ledger,
    what: &Import,
    input: &mut dyn BufRead,
    complain: &mut Complain<'_>,
) -> (Imported, Result<(), Trouble>) {
    let of_bans = matches!(what, Import::Ban { .. });
    let mut importer = Importer {
        ledger,
        what,
        pending: Vec::with_capacity(BATCH_ROWS_MAX),
        imported: Imported { of_bans, ..Imported::default() },
    };
    let ended = importer.all(input, complain);
    (importer.imported, ended)
}

struct Importer<'l> {
    ledger: &'l mut dyn Ledger,
    what: &'l Import,
    /// Read, but not yet written.
    pending: Vec<Edit>,
    imported: Imported,
}

impl Importer<'_> {
    fn all(&mut self, input: &mut dyn BufRead, complain: &mut Complain<'_>) -> Result<(), Trouble> {
        let mut start = Vec::new();
        (&mut *input).take(START_BYTES).read_to_end(&mut start).map_err(Trouble::Input)?;
        if is_utf16(&start) {
            let problem = "is UTF-16; make it UTF-8 first: iconv -f UTF-16 -t UTF-8";
            return Err(Trouble::Input(io::Error::other(problem)));
        }
        let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start);
        let mut input = Cursor::new(start).chain(input);
        match json_list::is_json(start) {
            true => self.json(&mut input, start.trim_ascii_start().starts_with(b"["), complain)?,
            false => self.lines(&mut input, complain)?,
        }
        self.flush()
    }

    fn json(
        &mut self,
        input: &mut dyn BufRead,
        is_array: bool,
        complain: &mut Complain<'_>,
    ) -> Result<(), Trouble> {
        let (mut number, mut trouble) = (0_u64, None);
        let ended = json_list::read(input, is_array, &mut |torrent| {
            number += 1;
            match torrent {
                Ok(JsonTorrent { torrent, ban }) => trouble = self.add(&torrent, ban).err(),
                Err(problem) => {
                    self.imported.wrong += 1;
                    complain(&format!("torrent {number}: {problem}"));
                }
            }
            trouble.is_none()
        });
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        if let Err(error) = ended {
            if error.is_io() {
                return Err(Trouble::Input(error.into()));
            }
            self.imported.wrong += 1;
            complain(&format!("not read on: {error}"));
        }
        Ok(())
    }

    fn lines(
        &mut self,
        input: &mut dyn BufRead,
        complain: &mut Complain<'_>,
    ) -> Result<(), Trouble> {
        let (mut lines, mut number) = (Lines { input, after_return: false }, 0_u64);
        let mut line = Vec::new();
        while lines.next(&mut line).map_err(Trouble::Input)? {
            number += 1;
            match torrent(&line) {
                Ok(Some(torrent)) => self.add(&torrent, None)?,
                Ok(None) => (),
                Err(problem) => {
                    self.imported.wrong += 1;
                    complain(&format!("line {number}: {problem}"));
                }
            }
        }
        Ok(())
    }

    /// What is to become of a torrent, whose `ban` the list says itself.
    fn add(&mut self, torrent: &Metainfo, ban: Option<Option<String>>) -> Result<(), Trouble> {
        if self.pending.len() + 2 * HASHES_MAX > BATCH_ROWS_MAX {
            self.flush()?;
        }
        let (is_added, ban) = match self.what {
            Import::Add => (true, ban),
            // The reason that is given counts; without one, the list's own.
            Import::Ban { reason } => (false, Some(reason.clone().or(ban.flatten()))),
        };
        for &info_hash in &torrent.info_hashes {
            let name = torrent.name.clone();
            self.pending.extend(is_added.then_some(Edit::Add { info_hash, name }));
            self.pending.extend(ban.clone().map(|reason| Edit::Ban { info_hash, reason }));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let imported = &mut self.imported;
        for (edit, edited) in self.pending.iter().zip(self.ledger.edit(&self.pending)?) {
            let is_ban = matches!(edit, Edit::Ban { .. });
            imported.question_marks += u64::from(edited == Edited::DoneWithQuestionMarks);
            match (is_ban, edited) {
                (false, Edited::Already) => imported.already += 1,
                (false, _) => imported.added += 1,
                (true, Edited::Already) => imported.already_banned += 1,
                (true, edited) => {
                    imported.banned += 1;
                    imported.without_reason += u64::from(edited == Edited::DoneWithoutReason);
                }
            }
        }
        self.pending.clear();
        Ok(())
    }
}

/// Whether a list that begins so is UTF-16, with the mark that tools put in front or without it.
fn is_utf16(start: &[u8]) -> bool {
    let marks: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
    marks.iter().any(|mark| start.starts_with(mark)) || start.iter().take(2).any(|&byte| byte == 0)
}

/// The lines of a list.
struct Lines<'i> {
    input: &'i mut dyn BufRead,
    /// The last line ended with a carriage return; a line feed behind it belongs to it.
    after_return: bool,
}

impl Lines<'_> {
    /// Reads the next line into `line`, without its end; false at the end of the list. Of a line
    /// that is too long, one byte too many is kept.
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let mut has_begun = false;
        loop {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return Ok(has_begun);
            }
            if std::mem::take(&mut self.after_return) && bytes.starts_with(b"\n") {
                self.input.consume(1);
                continue;
            }
            has_begun = true;
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let room = usize::try_from(LINE_BYTES_MAX).unwrap_or(usize::MAX) + 1 - line.len();
            let content = &bytes[..end.unwrap_or(bytes.len())];
            line.extend_from_slice(&content[..content.len().min(room)]);
            self.after_return = end.is_some_and(|end| bytes[end] == b'\r');
            let read = content.len() + usize::from(end.is_some());
            self.input.consume(read);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

fn is_too_long(line: &[u8]) -> bool {
    line.len() as u64 > LINE_BYTES_MAX
}

/// The torrent of a line; none where there is nothing to do. The error is one line.
fn torrent(line: &[u8]) -> Result<Option<Metainfo>, String> {
    if is_too_long(line) {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
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
    use crate::ids::InfoHash;
    use crate::operator::list::{Format, list};
    use crate::registry::database::Row;
    use crate::tests::paper_ledger::{PaperLedger, row};
    use crate::tests::property;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    /// What is counted and what is complained of.
    fn told(ledger: &mut PaperLedger, list: &[u8]) -> (String, Vec<String>) {
        let mut complaints = Vec::new();
        let mut complain = |problem: &str| complaints.push(problem.to_owned());
        let (imported, ended) = import(ledger, &Import::Add, &mut &list[..], &mut complain);
        ended.unwrap();
        (imported.to_string(), complaints)
    }

    /// The same for a list of bans.
    fn banned(ledger: &mut PaperLedger, reason: Option<&str>, list: &str) -> String {
        let what = Import::Ban { reason: reason.map(str::to_owned) };
        let mut complain = |problem: &str| panic!("{problem}");
        let (imported, ended) = import(ledger, &what, &mut list.as_bytes(), &mut complain);
        ended.unwrap();
        imported.to_string()
    }

    #[test]
    fn what_list_prints_as_json_is_restored() {
        let [a, b, c] = [1, 2, 3].map(|byte| row(InfoHash([byte; 20])));
        let a = Row { name: "De\"mo\n".to_owned(), downloaded: 12, ..a };
        let b = Row {
            name: "Other".to_owned(),
            banned: true,
            ban_reason: Some("a bad copy".to_owned()),
            ..b
        };
        let c = Row { banned: true, ..c };
        let mut printed = Vec::new();
        let mut before = PaperLedger::of(vec![a, b, c]);
        list(&mut before, Format::Json, &mut printed).unwrap();
        let objects: Vec<serde_json::Value> = serde_json::from_slice(&printed).unwrap();
        let one_by_one: String = objects.iter().map(|object| format!("{object}\n")).collect();
        let pretty = serde_json::to_string_pretty(&objects).unwrap();
        let marked = [BYTE_ORDER_MARK, &printed].concat();
        for json in [&printed, one_by_one.as_bytes(), pretty.as_bytes(), &marked] {
            let mut ledger = PaperLedger::default();
            let said = told(&mut ledger, json);
            let all = "added 3, already listed 0, banned 2, already banned 0, wrong 0".to_owned();
            assert_eq!(said, (all, vec![]));
            for (row, before) in ledger.rows.iter().zip(&before.rows) {
                assert_eq!(row.name, before.name.trim(), "the name of {}", row.info_hash);
                assert_eq!(row.banned, before.banned, "the ban of {}", row.info_hash);
                assert_eq!(row.ban_reason, before.ban_reason, "the reason of {}", row.info_hash);
            }
            let again = "added 0, already listed 3, banned 0, already banned 2, wrong 0".to_owned();
            assert_eq!(told(&mut ledger, json), (again, vec![]));
        }
        assert_eq!(
            told(&mut PaperLedger::default(), b"[]").0,
            "added 0, already listed 0, wrong 0"
        );
    }

    #[test]
    fn a_wrong_object_is_named_and_broken_json_ends_the_list() {
        let list = format!(
            "[{{\"info_hash\": \"{A}\"}}, {{\"name\": \"x\"}}, {{\"info_hash\": \"x\"}}, \
             {{\"info_hash\": \"{B}\", \"banned\": 1}}, {{\"info_hash\": \"{B}\", \
             \"name\": 7}},\n{{\"info_hash\": \"{B}\"}} {{"
        );
        let mut ledger = PaperLedger::default();
        let (said, complaints) = told(&mut ledger, list.as_bytes());
        assert_eq!(said, "added 2, already listed 0, wrong 5");
        let expected = [
            "torrent 2: has no \"info_hash\"".to_owned(),
            "torrent 3: \"x\" is no info hash".to_owned(),
            format!("torrent 4: \"banned\" of {B} is neither true nor false"),
            format!("torrent 5: \"name\" of {B} is no text"),
        ];
        assert_eq!(complaints[..4], expected);
        assert!(complaints[4].starts_with("not read on: ") && complaints[4].contains("line 2"));
        let mut away = PaperLedger { calls_left: Some(0), ..PaperLedger::default() };
        let mut input = list.as_bytes();
        let (_, ended) = import(&mut away, &Import::Add, &mut input, &mut |_| ());
        assert!(matches!(ended, Err(Trouble::Database(_))), "the database goes away");
    }

    #[test]
    fn a_list_of_bans_bans() {
        let list = format!("{A} a name\n{B}\n");
        let mut ledger = PaperLedger::default();
        assert_eq!(banned(&mut ledger, None, &list), "banned 2, already banned 0, wrong 0");
        assert_eq!(banned(&mut ledger, None, &list), "banned 0, already banned 2, wrong 0");
        assert_eq!(banned(&mut ledger, Some("spam"), &list), "banned 2, already banned 0, wrong 0");
        let is_spam = |row: &Row| row.banned && row.ban_reason.as_deref() == Some("spam");
        assert!(ledger.rows.iter().all(is_spam), "{:?}", ledger.rows);
        let json = format!("[{{\"info_hash\": \"{A}\", \"banned\": false}}]");
        let mut ledger = PaperLedger { without_reasons: true, ..PaperLedger::default() };
        let said = "banned 1 (1 without the reason: the table has no column for it), already \
                    banned 0, wrong 0";
        assert_eq!(banned(&mut ledger, Some("spam"), &json), said);
    }

    #[test]
    fn lines_end_in_every_way_and_keep_their_numbers() {
        for end in ["\n", "\r\n", "\r"] {
            let list = [A, "", "wrong", B, ""].join(end);
            let (said, complaints) = told(&mut PaperLedger::default(), list.as_bytes());
            assert_eq!(said, "added 2, already listed 0, wrong 1", "lines end with {end:?}");
            assert!(complaints[0].starts_with("line 3: wrong: "), "{end:?}: {complaints:?}");
        }
    }

    #[test]
    fn utf_16_is_told() {
        for big_endian in [false, true] {
            for mark in ["\u{feff}", ""] {
                let units = format!("{mark}{A}\r\n");
                let bytes = units.encode_utf16().flat_map(|unit| match big_endian {
                    true => unit.to_be_bytes(),
                    false => unit.to_le_bytes(),
                });
                let list: Vec<u8> = bytes.collect();
                let mut ledger = PaperLedger::default();
                let (_, ended) = import(&mut ledger, &Import::Add, &mut &list[..], &mut |_| ());
                let told = ended.unwrap_err().to_string();
                assert!(told.starts_with("is UTF-16; make it UTF-8 first: iconv"), "{told}");
            }
        }
    }

    #[test]
    fn a_path_that_begins_with_a_bracket_is_no_json() {
        for path in ["[Group] x.torrent", "{x}.torrent", "[x]{y}"] {
            let complaints = told(&mut PaperLedger::default(), path.as_bytes()).1;
            assert!(complaints[0].starts_with("line 1: "), "{path}: {complaints:?}");
        }
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
        for (padding, wrong) in [(LINE_BYTES_MAX - 40, 0), (LINE_BYTES_MAX - 39, 1)] {
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
            import(&mut ledger, &Import::Add, &mut list.as_bytes(), &mut |line| panic!("{line}"));
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
        let mut ledger = PaperLedger::default();
        let (_, ended) =
            import(&mut ledger, &Import::Add, &mut input, &mut |problem| panic!("{problem}"));
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
