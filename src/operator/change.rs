//! Adding, banning, unbanning and removing: from arguments to edits, and from what became of them
//! to a line each.

use std::ffi::OsString;
use std::io::Write;

use crate::ids::InfoHash;
use crate::operator::output::{Complain, Trouble, printable, say};
use crate::operator::subject;
use crate::registry::database::{BATCH_ROWS_MAX, Edit, Edited, Ledger};

/// What is to be done with every torrent named.
#[derive(Clone, Debug)]
pub enum Change {
    /// List it, under this name rather than the one that its file or link has.
    Add {
        /// `--name`.
        name: Option<String>,
    },
    /// Ban it.
    Ban {
        /// `--reason`.
        reason: Option<String>,
    },
    /// Lift its ban.
    Unban,
    /// Take it off the list.
    Remove,
}

impl Change {
    /// The edits that make this change to each of `subjects`; one that cannot be read is complained
    /// of and left out.
    pub fn edits(&self, subjects: &[OsString], complain: &mut Complain<'_>) -> Vec<Edit> {
        let mut edits = Vec::new();
        for subject in subjects {
            match subject::torrent(subject) {
                Ok(torrent) => edits.extend(
                    torrent
                        .info_hashes
                        .iter()
                        .map(|hash| self.edit(*hash, torrent.name.as_deref())),
                ),
                Err(problem) => complain(&problem),
            }
        }
        edits
    }

    fn edit(&self, info_hash: InfoHash, own_name: Option<&str>) -> Edit {
        match self {
            Change::Add { name } => {
                Edit::Add { info_hash, name: name.as_deref().or(own_name).map(str::to_owned) }
            }
            Change::Ban { reason } => Edit::Ban { info_hash, reason: reason.clone() },
            Change::Unban => Edit::Unban { info_hash },
            Change::Remove => Edit::Remove { info_hash },
        }
    }
}

/// Makes `edits` and says of each what became of it. One whose torrent is not listed is complained
/// of.
///
/// # Errors
/// When the database could not be asked: edits that nothing was said of have not been made.
pub fn apply(
    ledger: &mut dyn Ledger,
    edits: &[Edit],
    out: &mut dyn Write,
    complain: &mut Complain<'_>,
) -> Result<(), Trouble> {
    for batch in edits.chunks(BATCH_ROWS_MAX) {
        for (edit, edited) in batch.iter().zip(ledger.edit(batch)?) {
            match edited {
                Edited::NotListed => complain(&outcome(edit, edited)),
                _ => say(out, &outcome(edit, edited))?,
            }
        }
    }
    Ok(())
}

fn outcome(edit: &Edit, edited: Edited) -> String {
    let info_hash = edit.info_hash();
    let (done, already) = match edit {
        Edit::Add { .. } => ("added", "already listed"),
        Edit::Ban { .. } => ("banned", "already banned"),
        Edit::Unban { .. } => ("unbanned", "not banned"),
        Edit::Remove { .. } => ("removed", "not listed"),
    };
    match (edited, edit) {
        (Edited::NotListed, _) => format!("not listed {info_hash}"),
        (Edited::Already, _) => format!("{already} {info_hash}"),
        (Edited::DoneWithoutReason, _) => {
            format!("{done} {info_hash} (without the reason: the table has no column for it)")
        }
        (Edited::DoneWithQuestionMarks, _) => format!(
            "{done} {info_hash} (with ? for what its column cannot hold: see \
             schema/from-php-tracker.sql)"
        ),
        (Edited::Done, Edit::Add { name: Some(name), .. }) => {
            format!("{done} {info_hash} {}", printable(name))
        }
        (Edited::Done, _) => format!("{done} {info_hash}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::registry::database::DatabaseError;
    use crate::tests::paper_ledger::PaperLedger;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    /// What is said and what is complained of, line by line.
    fn told(ledger: &mut PaperLedger, change: &Change, subjects: &[&str]) -> (String, Vec<String>) {
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let mut complain = |problem: &str| complaints.push(problem.to_owned());
        let subjects: Vec<OsString> = subjects.iter().map(OsString::from).collect();
        let edits = change.edits(&subjects, &mut complain);
        apply(ledger, &edits, &mut out, &mut complain).unwrap();
        (String::from_utf8(out).unwrap(), complaints)
    }

    fn add(name: Option<&str>) -> Change {
        Change::Add { name: name.map(str::to_owned) }
    }

    fn ban(reason: Option<&str>) -> Change {
        Change::Ban { reason: reason.map(str::to_owned) }
    }

    #[test]
    fn each_edit_has_a_line_that_says_what_became_of_it() {
        let mut ledger = PaperLedger::default();
        let a_link = format!("magnet:?xt=urn:btih:{A}&dn=Link");
        let rows = [
            (add(Some("De\u{1b}mo")), A, format!("added {A} De mo\n")),
            (add(None), A, format!("already listed {A}\n")),
            (add(None), &a_link, format!("added {A} Link\n")),
            (add(None), B, format!("added {B}\n")),
            (ban(Some("spam")), B, format!("banned {B}\n")),
            (ban(Some("spam")), B, format!("already banned {B}\n")),
            (Change::Unban, B, format!("unbanned {B}\n")),
            (Change::Unban, B, format!("not banned {B}\n")),
            (Change::Remove, B, format!("removed {B}\n")),
        ];
        for (change, subject, line) in rows {
            assert_eq!(told(&mut ledger, &change, &[subject]), (line, vec![]), "{change:?}");
        }
        assert_eq!(ledger.rows.len(), 1, "rows that are left");
        assert_eq!(ledger.rows[0].name.as_str(), "Link", "the name in the row");
    }

    #[test]
    fn what_is_not_listed_is_complained_of() {
        for change in [Change::Unban, Change::Remove] {
            let complaints = vec![format!("not listed {A}"), format!("not listed {B}")];
            assert_eq!(
                told(&mut PaperLedger::default(), &change, &[A, B]),
                (String::new(), complaints)
            );
        }
    }

    #[test]
    fn a_reason_without_a_column_is_told() {
        let mut ledger = PaperLedger { without_reasons: true, ..PaperLedger::default() };
        let line = format!("banned {A} (without the reason: the table has no column for it)\n");
        assert_eq!(told(&mut ledger, &ban(Some("spam")), &[A]), (line, vec![]));
        assert!(ledger.rows[0].banned);
    }

    #[test]
    fn a_wrong_subject_does_not_stop_the_others() {
        let mut ledger = PaperLedger::default();
        let (said, complaints) = told(&mut ledger, &add(None), &[A, "/nowhere", B]);
        assert_eq!(said, format!("added {A}\nadded {B}\n"));
        assert!(complaints.len() == 1 && complaints[0].starts_with("/nowhere: "), "{complaints:?}");
    }

    #[test]
    fn a_hybrid_is_two_torrents_of_one_name() {
        let link = format!("magnet:?xt=urn:btih:{A}&xt=urn:btmh:1220{}&dn=Both", "b".repeat(64));
        let mut ledger = PaperLedger::default();
        assert_eq!(
            told(&mut ledger, &add(None), &[&link]).0,
            format!("added {A} Both\nadded {B} Both\n")
        );
        assert_eq!(
            told(&mut ledger, &add(Some("Mine")), &[&link]).0,
            format!("added {A} Mine\nadded {B} Mine\n")
        );
    }

    #[test]
    fn many_are_batches() {
        let subjects: Vec<OsString> = (0..2_500).map(|n| format!("{n:040x}").into()).collect();
        let edits = add(None).edits(&subjects, &mut |problem| panic!("{problem}"));
        let mut ledger = PaperLedger { calls_left: Some(2), ..PaperLedger::default() };
        let mut out = Vec::new();
        let ended = apply(&mut ledger, &edits, &mut out, &mut |problem| panic!("{problem}"));
        assert!(matches!(ended, Err(Trouble::Database(DatabaseError::Away(_)))));
        assert_eq!(ledger.batches, vec![1_000, 1_000], "edits in each batch");
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 2_000, "lines printed");
    }

    #[test]
    fn a_reader_who_has_seen_enough_does_not_stop_the_edits() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut ledger = PaperLedger::default();
        let edits = add(None).edits(&[A.into(), B.into()], &mut |problem| panic!("{problem}"));
        apply(&mut ledger, &edits, &mut Closed, &mut |problem| panic!("{problem}")).unwrap();
        assert_eq!(ledger.rows.len(), 2);
    }
}
