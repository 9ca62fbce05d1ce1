//! The list of torrents, a page at a time: a million of them need no more memory than a thousand.
//!
//! The table is for people: columns of fixed width, the name last, what a terminal could take for a
//! command left out. JSON is for programs: one array with one object a line, texts as they are. A
//! list that broke off has no `]`, so that nobody takes it for whole.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::format_rfc3339_seconds;
use serde::Serialize;

use crate::operator::output::{Trouble, printable};
use crate::registry::database::{BATCH_ROWS_MAX, Ledger, ListPosition, Row};

/// The last second of the year 9999, after which dates have no four-digit year.
const UNIX_S_MAX: u64 = 253_402_300_799;
/// Characters of `2026-10-07`, with which RFC 3339 begins.
const DATE_CHARS: usize = 10;

/// How the list is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Writes all listed torrents, in the order of their hashes. A reader who has seen enough is no
/// error.
///
/// # Errors
/// When the database could not be asked for the next page, or nothing can be written.
pub fn list(ledger: &mut dyn Ledger, format: Format, out: &mut dyn Write) -> Result<(), Trouble> {
    let written = match format {
        Format::Table => table(ledger, out),
        Format::Json => json(ledger, out),
    };
    match written.and_then(|()| out.flush().map_err(Trouble::Output)) {
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn table(ledger: &mut dyn Ledger, out: &mut dyn Write) -> Result<(), Trouble> {
    let head = format!(
        "{:<40}  {:<10}  {:>10}  {:>8}  {:>8}  NAME\n",
        "INFO HASH", "ADDED", "DOWNLOADED", "SEEDERS", "LEECHERS"
    );
    // Not before there is an answer: a database that has none is an error and nothing else.
    let mut before = head.as_str();
    each_row(ledger, |row| {
        out.write_all(before.as_bytes())?;
        before = "";
        let added = rfc3339(row.added_unix_s);
        let added = added.as_ref().map_or("-", |time| &time[..DATE_CHARS]);
        let (hash, name) = (row.info_hash, name_and_ban(row));
        writeln!(
            out,
            "{hash}  {added:<10}  {:>10}  {:>8}  {:>8}  {name}",
            row.downloaded, row.complete, row.incomplete
        )
    })?;
    out.write_all(before.as_bytes()).map_err(Trouble::Output)
}

fn name_and_ban(row: &Row) -> String {
    let ban = match (row.banned, &row.ban_reason) {
        (false, _) => String::new(),
        (true, None) => "[banned]".to_owned(),
        (true, Some(reason)) => format!("[banned: {}]", printable(reason)),
    };
    let name = printable(&row.name);
    let space = if name.is_empty() || ban.is_empty() { "" } else { " " };
    format!("{name}{space}{ban}")
}

/// A row as programs read it.
#[derive(Serialize)]
struct Entry<'r> {
    info_hash: String,
    name: &'r str,
    downloaded: u32,
    seeders: u32,
    leechers: u32,
    banned: bool,
    ban_reason: Option<&'r str>,
    added: Option<String>,
    updated: Option<String>,
}

impl Entry<'_> {
    fn of(row: &Row) -> Entry<'_> {
        Entry {
            info_hash: row.info_hash.to_string(),
            name: &row.name,
            downloaded: row.downloaded,
            seeders: row.complete,
            leechers: row.incomplete,
            banned: row.banned,
            ban_reason: row.ban_reason.as_deref(),
            added: rfc3339(row.added_unix_s),
            updated: rfc3339(row.updated_unix_s),
        }
    }
}

fn json(ledger: &mut dyn Ledger, out: &mut dyn Write) -> Result<(), Trouble> {
    let mut before = "[\n";
    each_row(ledger, |row| {
        out.write_all(before.as_bytes())?;
        before = ",\n";
        serde_json::to_writer(&mut *out, &Entry::of(row)).map_err(io::Error::from)
    })?;
    out.write_all(if before == "[\n" { b"[]\n" } else { b"\n]\n" }).map_err(Trouble::Output)
}

fn each_row(
    ledger: &mut dyn Ledger,
    mut show: impl FnMut(&Row) -> io::Result<()>,
) -> Result<(), Trouble> {
    let mut from = Some(ListPosition::BeginByHash);
    while let Some(position) = from {
        let page = ledger.read_list(&position, BATCH_ROWS_MAX)?;
        page.rows.iter().try_for_each(&mut show).map_err(Trouble::Output)?;
        from = page.next;
    }
    Ok(())
}

/// A time as `2026-10-07T12:00:00Z`; `None` when it is not known.
fn rfc3339(unix_s: i64) -> Option<String> {
    let since_1970 =
        u64::try_from(unix_s).ok().filter(|unix_s| (1..=UNIX_S_MAX).contains(unix_s))?;
    Some(
        format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(since_1970))
            .to_string(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ids::InfoHash;
    use crate::registry::database::DatabaseError;
    use crate::tests::paper_ledger::{PaperLedger, row};

    fn listed(rows: Vec<Row>, format: Format) -> String {
        let mut out = Vec::new();
        list(&mut PaperLedger::of(rows), format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn three() -> Vec<Row> {
        let [a, b, c] = [0xaa, 0xbb, 0xcc].map(|byte| row(InfoHash([byte; 20])));
        let a = Row {
            name: "Demo \"1\"\n\u{1b}[2J".to_owned(),
            downloaded: 12,
            complete: 3,
            incomplete: 1,
            ..a
        };
        let a = Row { added_unix_s: 1_791_374_400, updated_unix_s: 1_791_378_000, ..a };
        let b = Row {
            name: "Other".to_owned(),
            banned: true,
            ban_reason: Some("spam\r".to_owned()),
            ..b
        };
        vec![a, b, Row { banned: true, downloaded: u32::MAX, added_unix_s: i64::MAX, ..c }]
    }

    #[test]
    fn the_table_is_for_people() {
        let expected = "\
            INFO HASH                                 ADDED       \
            DOWNLOADED   SEEDERS  LEECHERS  NAME\n\
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  2026-10-07          \
            12         3         1  Demo \"1\"  [2J\n\
            bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb  -                    \
            0         0         0  Other [banned: spam ]\n\
            cccccccccccccccccccccccccccccccccccccccc  -           \
            4294967295         0         0  [banned]\n";
        assert_eq!(listed(three(), Format::Table), expected);
        assert_eq!(listed(vec![], Format::Table).lines().count(), 1);
    }

    #[test]
    fn json_is_for_programs() {
        let text = listed(three(), Format::Json);
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let a = json!({
            "info_hash": "a".repeat(40), "name": "Demo \"1\"\n\u{1b}[2J", "downloaded": 12,
            "seeders": 3, "leechers": 1,
            "banned": false, "ban_reason": null, "added": "2026-10-07T12:00:00Z",
            "updated": "2026-10-07T13:00:00Z",
        });
        assert_eq!(&parsed[0], &a, "the first torrent");
        assert_eq!(parsed.as_array().unwrap().len(), 3, "torrents");
        assert_eq!(text.lines().count(), 5, "lines of text");
        assert_eq!(&parsed[1]["ban_reason"], &json!("spam\r"), "the reason of the second");
        assert_eq!(&parsed[2]["added"], &json!(null), "the time of the third");
        assert_eq!(listed(vec![], Format::Json), "[]\n");
    }

    #[test]
    fn long_lists_come_page_by_page() {
        let hash = |n: u32| {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            InfoHash(bytes)
        };
        for count in [999, 1_000, 1_001, 2_000, 3_333] {
            let rows: Vec<_> = (0..count).map(|n| row(hash(n))).collect();
            let parsed: Vec<Value> =
                serde_json::from_str(&listed(rows.clone(), Format::Json)).unwrap();
            let hashes = rows.iter().map(|row| row.info_hash.to_string());
            assert!(
                parsed
                    .iter()
                    .map(|entry| entry["info_hash"].as_str().unwrap().to_owned())
                    .eq(hashes),
                "{count}"
            );
        }
        let rows: Vec<_> = (0..2_000).map(|n| row(hash(n))).collect();
        let mut ledger = PaperLedger { calls_left: Some(1), ..PaperLedger::of(rows) };
        let mut out = Vec::new();
        let ended = list(&mut ledger, Format::Json, &mut out);
        assert!(matches!(ended, Err(Trouble::Database(DatabaseError::Away(_)))));
        assert!(
            serde_json::from_slice::<Value>(&out).is_err(),
            "half a list passes for a whole one"
        );
    }

    #[test]
    fn a_reader_who_has_seen_enough_is_no_error() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        for format in [Format::Table, Format::Json] {
            list(&mut PaperLedger::of(three()), format, &mut writer).unwrap();
        }
        let full = list(&mut PaperLedger::of(three()), Format::Json, &mut &mut [0; 30][..]);
        assert!(matches!(full, Err(Trouble::Output(_))));
    }
}
