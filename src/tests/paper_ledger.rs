//! A list of torrents on paper: a [`Ledger`] for tests of those who write and read one.

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::OpenLedger;
use crate::registry::database::{
    BATCH_ROWS_MAX, Backend, Batch, BatchOutcome, DatabaseError, Deleted, Edit, Edited, Ledger,
    ListChange, ListPage, ListPosition, NodeId, RefusedRow, Row,
};

/// Stands in for the writing of a batch.
pub(crate) type OnWrite = Box<dyn FnMut(&Batch) -> Result<BatchOutcome, DatabaseError> + Send>;

/// Rows in the order of their hashes.
#[derive(Default)]
pub(crate) struct PaperLedger {
    pub(crate) rows: Vec<Row>,
    /// Whether a ban's reason has no column, as in the PHP tracker's table.
    pub(crate) without_reasons: bool,
    /// Calls that are answered before the database goes away; `None`: all.
    pub(crate) calls_left: Option<u32>,
    /// Edits in each batch so far.
    pub(crate) batches: Vec<usize>,
    /// The table of changes.
    pub(crate) changes: Vec<ListChange>,
    /// What is past its time, and what of it a rule of the site's keeps.
    pub(crate) old: Vec<InfoHash>,
    pub(crate) kept: Vec<InfoHash>,
    /// What was deleted.
    pub(crate) deleted: Vec<InfoHash>,
    /// Whether another tracker writes here.
    pub(crate) others: bool,
    /// Whose counts were set to 0, and how old they had to be.
    pub(crate) zeroed: Vec<(InfoHash, u64)>,
    /// What comes of writing counters; `None`: they are taken.
    pub(crate) on_write: Option<OnWrite>,
}

/// Opens ledgers that are away for ever: nothing is read and nothing is heard of by itself, and
/// only lookups are answered.
pub(crate) fn away() -> OpenLedger {
    Box::new(|| Box::new(PaperLedger { calls_left: Some(0), ..PaperLedger::default() }))
}

/// A torrent of which nothing is known but its hash.
pub(crate) fn row(info_hash: InfoHash) -> Row {
    Row {
        info_hash,
        name: String::new(),
        downloaded: 0,
        complete: 0,
        incomplete: 0,
        banned: false,
        ban_reason: None,
        added_unix_s: 0,
        updated_unix_s: 0,
    }
}

impl PaperLedger {
    pub(crate) fn of(rows: Vec<Row>) -> PaperLedger {
        assert!(rows.is_sorted_by_key(|row| row.info_hash));
        PaperLedger { rows, ..PaperLedger::default() }
    }

    fn call(&mut self) -> Result<(), DatabaseError> {
        match &mut self.calls_left {
            Some(0) => Err(DatabaseError::Away("the database is away".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn edit_one(&mut self, edit: &Edit) -> Edited {
        let info_hash = edit.info_hash();
        let found = self.rows.binary_search_by_key(info_hash, |row| row.info_hash);
        if matches!(edit, Edit::Unban { .. } | Edit::Remove { .. }) && found.is_err() {
            return Edited::NotListed;
        }
        if let (Edit::Remove { .. }, Ok(at)) = (edit, found) {
            self.rows.remove(at);
            return Edited::Done;
        }
        let at = found.unwrap_or_else(|at| {
            self.rows.insert(at, row(*info_hash));
            at
        });
        let before = self.rows[at].clone();
        let row = &mut self.rows[at];
        match edit {
            Edit::Add { name, .. } => row.name = name.clone().unwrap_or_else(|| row.name.clone()),
            Edit::Ban { reason, .. } => {
                (row.banned, row.ban_reason) =
                    (true, reason.clone().filter(|_| !self.without_reasons));
            }
            Edit::Unban { .. } | Edit::Remove { .. } => {
                (row.banned, row.ban_reason) = (false, None);
            }
        }
        match edit {
            _ if found.is_ok() && *row == before => Edited::Already,
            Edit::Ban { reason: Some(_), .. } if self.without_reasons => Edited::DoneWithoutReason,
            _ => Edited::Done,
        }
    }
}

impl Backend for PaperLedger {
    fn lookup(&mut self, _: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
        Err(DatabaseError::Away("nothing is looked up on paper".to_owned()))
    }
}

impl Ledger for PaperLedger {
    fn read_list(&mut self, from: &ListPosition, limit: usize) -> Result<ListPage, DatabaseError> {
        self.call()?;
        let is_behind = |row: &&Row| match from {
            ListPosition::Hash(last) => row.info_hash.0.as_slice() > last.as_slice(),
            _ => true,
        };
        let rows: Vec<Row> = self.rows.iter().filter(is_behind).take(limit).cloned().collect();
        let next = rows.last().filter(|_| rows.len() == limit);
        let next = next.map(|last| ListPosition::Hash(last.info_hash.0.to_vec()));
        Ok(ListPage { rows, next, passed_over: Vec::new() })
    }

    fn edit(&mut self, edits: &[Edit]) -> Result<Vec<Edited>, DatabaseError> {
        assert!(edits.len() <= BATCH_ROWS_MAX, "{} edits in a batch", edits.len());
        self.call()?;
        self.batches.push(edits.len());
        Ok(edits.iter().map(|edit| self.edit_one(edit)).collect())
    }

    fn write(&mut self, batch: &Batch) -> Result<BatchOutcome, DatabaseError> {
        self.on_write.as_mut().map_or(Ok(BatchOutcome::WHOLE), |on_write| on_write(batch))
    }

    fn last_change(&mut self) -> Result<u64, DatabaseError> {
        self.call()?;
        Ok(self.changes.iter().map(|change| change.number).max().unwrap_or(0))
    }

    fn changes(&mut self, after: u64, also: &[u64]) -> Result<Vec<ListChange>, DatabaseError> {
        self.call()?;
        let is_asked_for =
            |change: &&ListChange| change.number > after || also.contains(&change.number);
        Ok(self.changes.iter().filter(is_asked_for).copied().collect())
    }

    fn idle(&mut self, _idle_s: u64, limit: usize) -> Result<Vec<InfoHash>, DatabaseError> {
        self.call()?;
        Ok(self.old.iter().copied().take(limit).collect())
    }

    fn delete_idle(&mut self, hashes: &[InfoHash], _: u64) -> Result<Deleted, DatabaseError> {
        self.call()?;
        let (kept, gone): (Vec<InfoHash>, Vec<InfoHash>) =
            hashes.iter().partition(|hash| self.kept.contains(hash));
        self.old.retain(|hash| !gone.contains(hash));
        self.deleted.extend(&gone);
        let why = "a key stands against it".to_owned();
        let refused = kept.into_iter().map(|info_hash| RefusedRow { info_hash, why: why.clone() });
        let count = u64::try_from(gone.len()).unwrap_or(u64::MAX);
        Ok(Deleted { count, refused: refused.collect() })
    }

    fn others_write(&mut self, _own: NodeId, _within_s: u64) -> Result<bool, DatabaseError> {
        self.call()?;
        Ok(self.others)
    }

    fn zero_counts(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<(), DatabaseError> {
        self.call()?;
        self.zeroed.extend(hashes.iter().map(|hash| (*hash, idle_s)));
        Ok(())
    }
}
