//! What an operator's edits come down to, whichever the database.
//!
//! Owns: decisions, as values. Whoever asks has read the rows inside its transaction, and writes
//! what is decided here in the same one. Never: SQL, or a database's own types.
//!
//! Limits: texts of [`TEXT_CHARS_MAX`] characters.

use crate::bounds::TEXT_CHARS_MAX;
use crate::ids::InfoHash;
use crate::registry::database::columns::ByHash;
use crate::registry::database::traits::{Edit, Edited};

/// Hours for which a change is kept: far longer than a tracker that polls every second goes without
/// looking.
pub(super) const CHANGE_HOURS_KEPT: u32 = 24;
/// Old changes deleted by one edit, so that none of them takes long.
pub(super) const CHANGES_DELETED_MAX: u32 = 1_000;

/// A listed torrent, as far as edits look at it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ListedTorrent {
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
    Insert(ListedTorrent),
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
pub(super) fn plan(edits: &[Edit], mut listed: ByHash<ListedTorrent>, reasons_kept: bool) -> Plan {
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
fn decide(
    edit: &Edit,
    held: Option<&ListedTorrent>,
    reasons_kept: bool,
) -> (Edited, Option<Written>) {
    match edit {
        Edit::Add { name, .. } => match (held, name.as_deref().map(fitting)) {
            (None, name) => (
                Edited::Done,
                Some(Written::Insert(ListedTorrent {
                    name: name.unwrap_or_default(),
                    ..ListedTorrent::default()
                })),
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
                    (
                        done,
                        Some(Written::Insert(ListedTorrent {
                            banned: true,
                            reason,
                            ..ListedTorrent::default()
                        })),
                    )
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
        let held = ListedTorrent { name: String::new(), banned: true, reason: String::new() };
        assert_eq!(plan.writes, [Write { info_hash: HASH, what: Written::Insert(held) }]);
    }
}
