//! What both databases do alike: records out of columns, the numbers of batches, and what an edit
//! comes down to.
//!
//! Owns: decisions, as values. Whoever asks has read the rows inside its transaction, and writes
//! what is decided here in the same one. Never: SQL, or a database's own types.
//!
//! Limits: texts of [`TEXT_CHARS_MAX`] characters, [`TEXT_BYTES_MAX`] bytes on the wire.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::ids::InfoHash;
use crate::listing::{Listing, Record};
use crate::registry::database::{DatabaseError, Edit, Edited};

/// Characters of a name or a reason, as wide as their columns: `varchar(255)`.
pub(super) const TEXT_CHARS_MAX: usize = 255;
/// Bytes of a name or a reason in a record: [`TEXT_CHARS_MAX`] of utf8mb3, for which replies have
/// room. Only utf8mb4 can hold more.
const TEXT_BYTES_MAX: usize = 765;

/// Days after which the number of a node that writes no more is forgotten.
pub(super) const FLUSH_DAYS_KEPT: u32 = 30;
/// Hours for which a change is kept: far longer than a tracker that polls every second goes without
/// looking.
pub(super) const CHANGE_HOURS_KEPT: u32 = 24;
/// Old changes deleted by one edit, so that none of them takes long.
pub(super) const CHANGES_DELETED_MAX: u32 = 1_000;

/// Rows by their hash.
pub(super) type ByHash<T> = HashMap<InfoHash, T, RandomState>;

/// The record of a listed torrent, from its columns.
pub(super) fn record(name: &[u8], downloaded: u64, banned: bool, reason: &[u8]) -> Record {
    let (listing, text) = if banned { (Listing::Banned, reason) } else { (Listing::Listed, name) };
    let text = readable(text);
    let text =
        (!text.is_empty()).then(|| Arc::from(&text[..text.floor_char_boundary(TEXT_BYTES_MAX)]));
    Record { listing, text, downloaded: count(downloaded) }
}

/// One record for each of `hashes`, in their order, from the rows that were found.
pub(super) fn in_order(hashes: &[InfoHash], found: &ByHash<Record>) -> Vec<Record> {
    hashes
        .iter()
        .map(|hash| found.get(hash).cloned().unwrap_or_else(|| Record::plain(Listing::Unlisted)))
        .collect()
}

/// A text as it stands in a column: an old database may hold one that is not UTF-8.
pub(super) fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A count as columns hold it: a site may have made them wider than ours.
pub(super) fn count(column: u64) -> u32 {
    u32::try_from(column).unwrap_or(u32::MAX)
}

/// What to do with a batch, by the number of the last one that was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Numbered {
    /// It is the next.
    Next,
    /// Its node is not known: it is new, or its number has been deleted. The batch counts as the
    /// next.
    First,
    /// It has been applied.
    Applied,
}

impl Numbered {
    /// Compares `number` with the last one `applied`.
    ///
    /// # Errors
    /// When batches are missing between them, which only a database set back to an earlier state,
    /// or a hand in the table, can have caused.
    pub(super) fn of(number: u64, applied: Option<u64>) -> Result<Numbered, DatabaseError> {
        match applied {
            None => Ok(Numbered::First),
            Some(last) if last >= number => Ok(Numbered::Applied),
            Some(last) if last + 1 == number => Ok(Numbered::Next),
            Some(last) => Err(DatabaseError::Unfit(format!(
                "the table flushes knows batch {last} as this tracker's last, but the next is \
                 {number}: has the database been set back? Delete its row there, and counting \
                 goes on"
            ))),
        }
    }
}

/// A listed torrent, as far as edits look at it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) banned: bool,
    /// Empty when there is none.
    pub(super) reason: String,
}

/// One statement of an edit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Write {
    pub(super) info_hash: InfoHash,
    pub(super) what: Written,
}

/// What a [`Write`] does to its torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// Lists it.
    Insert(Held),
    /// Gives it a name.
    Name(String),
    /// Bans it for a reason, or for none when that is empty.
    Ban(String),
    /// Lifts the ban, and forgets the reason.
    Unban,
    /// Takes it off the list.
    Delete,
}

/// What edits come down to.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Plan {
    /// What becomes of each edit.
    pub(super) edited: Vec<Edited>,
    /// What is to be written, in order.
    pub(super) writes: Vec<Write>,
}

/// Plans `edits`, one after the other, on the torrents of theirs that are `listed`. Without a
/// column for reasons (`reasons_kept`) bans are written without theirs, and say so.
pub(super) fn plan(edits: &[Edit], mut listed: ByHash<Held>, reasons_kept: bool) -> Plan {
    let mut plan = Plan { edited: Vec::with_capacity(edits.len()), writes: Vec::new() };
    for edit in edits {
        let info_hash = *edit.info_hash();
        let (edited, what) = decide(edit, listed.get(&info_hash), reasons_kept);
        plan.edited.push(edited);
        let Some(what) = what else { continue };
        match (&what, listed.get_mut(&info_hash)) {
            (Written::Insert(held), _) => drop(listed.insert(info_hash, held.clone())),
            (Written::Delete, _) => drop(listed.remove(&info_hash)),
            (Written::Name(name), Some(held)) => held.name.clone_from(name),
            (Written::Ban(reason), Some(held)) => {
                (held.banned, held.reason) = (true, reason.clone());
            }
            (Written::Unban, Some(held)) => (held.banned, held.reason) = (false, String::new()),
            (_, None) => {}
        }
        plan.writes.push(Write { info_hash, what });
    }
    plan
}

/// What becomes of one edit, by what is listed under its hash.
fn decide(edit: &Edit, held: Option<&Held>, reasons_kept: bool) -> (Edited, Option<Written>) {
    match edit {
        Edit::Add { name, .. } => match (held, name.as_deref().map(fitting)) {
            (None, name) => (
                Edited::Done,
                Some(Written::Insert(Held { name: name.unwrap_or_default(), ..Held::default() })),
            ),
            (Some(held), Some(name)) if held.name != name => {
                (Edited::Done, Some(Written::Name(name)))
            }
            (Some(_), _) => (Edited::Already, None),
        },
        Edit::Ban { reason, .. } => {
            let done = if reason.is_some() && !reasons_kept {
                Edited::DoneWithoutReason
            } else {
                Edited::Done
            };
            let given = reason.as_deref().filter(|_| reasons_kept).map(fitting);
            match (held, given) {
                (None, given) => {
                    let reason = given.unwrap_or_default();
                    (done, Some(Written::Insert(Held { banned: true, reason, ..Held::default() })))
                }
                (Some(held), Some(reason)) if held.banned && held.reason == reason => {
                    (Edited::Already, None)
                }
                (Some(held), None) if held.banned && done == Edited::Done => {
                    (Edited::Already, None)
                }
                (Some(held), None) if held.banned => (done, None),
                (Some(_), given) => (done, Some(Written::Ban(given.unwrap_or_default()))),
            }
        }
        Edit::Unban { .. } => match held {
            None => (Edited::NotListed, None),
            Some(held) if held.banned => (Edited::Done, Some(Written::Unban)),
            Some(_) => (Edited::Already, None),
        },
        Edit::Remove { .. } => match held {
            None => (Edited::NotListed, None),
            Some(_) => (Edited::Done, Some(Written::Delete)),
        },
    }
}

/// `text` as its column takes it: a longer one would otherwise never equal what is listed.
fn fitting(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([7; 20]);

    fn add(name: Option<&str>) -> Edit {
        Edit::Add { info_hash: HASH, name: name.map(str::to_owned) }
    }

    fn ban(reason: Option<&str>) -> Edit {
        Edit::Ban { info_hash: HASH, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn a_record_shows_the_name_or_the_reason() {
        let name = "ü".repeat(400);
        let known = record(name.as_bytes(), u64::MAX, false, b"unused");
        assert_eq!(known.text.as_deref(), Some("ü".repeat(TEXT_BYTES_MAX / 2).as_str()));
        assert_eq!((known.listing, known.downloaded), (Listing::Listed, u32::MAX));
        assert_eq!(record(b"", 0, false, b"unused").text, None);
        let banned = record(b"unused", 3, true, b"gr\xfcndlich");
        assert_eq!(
            (banned.listing, banned.text.as_deref()),
            (Listing::Banned, Some("gr\u{fffd}ndlich"))
        );
    }

    #[test]
    fn batches_follow_each_other_without_gaps() {
        let rows = [
            (7, None, Some(Numbered::First)),
            (7, Some(6), Some(Numbered::Next)),
            (7, Some(7), Some(Numbered::Applied)),
            (7, Some(u64::MAX), Some(Numbered::Applied)),
            (7, Some(5), None),
        ];
        for (number, applied, expected) in rows {
            assert_eq!(Numbered::of(number, applied).ok(), expected, "{number} after {applied:?}");
        }
    }

    #[test]
    fn edits_of_one_torrent_see_each_other() {
        let unban = Edit::Unban { info_hash: HASH };
        let remove = Edit::Remove { info_hash: HASH };
        let rows = [
            (
                vec![add(None), add(None), add(Some("a")), add(Some("a")), add(None)],
                vec![0, 1, 0, 1, 1],
            ),
            (
                vec![ban(Some("a")), ban(Some("a")), ban(None), ban(Some("b")), add(None)],
                vec![0, 1, 1, 0, 1],
            ),
            (
                vec![ban(None), ban(None), ban(Some("b")), unban.clone(), unban.clone()],
                vec![0, 1, 0, 0, 1],
            ),
            (vec![unban, remove.clone(), add(None), remove.clone(), remove], vec![2, 2, 0, 0, 2]),
        ];
        for (edits, expected) in rows {
            let plan = plan(&edits, ByHash::default(), true);
            let expected: Vec<Edited> = expected
                .iter()
                .map(|n| [Edited::Done, Edited::Already, Edited::NotListed][*n])
                .collect();
            assert_eq!(plan.edited, expected, "{edits:?}");
            assert_eq!(
                plan.writes.len(),
                expected.iter().filter(|edited| **edited == Edited::Done).count()
            );
        }
    }

    #[test]
    fn a_reason_without_a_column_is_told_of() {
        let plan = plan(&[ban(Some("a")), ban(Some("b")), ban(None)], ByHash::default(), false);
        assert_eq!(
            plan.edited,
            [Edited::DoneWithoutReason, Edited::DoneWithoutReason, Edited::Already]
        );
        let held = Held { name: String::new(), banned: true, reason: String::new() };
        assert_eq!(plan.writes, [Write { info_hash: HASH, what: Written::Insert(held) }]);
    }
}
