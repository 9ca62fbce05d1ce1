//! A list of torrents on paper: a [`Ledger`] for tests of those who write and read one.

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::OpenLedger;
use crate::registry::database::{
    BATCH_ROWS_MAX, Backend, Batch, BatchOutcome, DatabaseError, Edit, Edited, Ledger, ListChange,
    Row,
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
    fn page(&mut self, after: Option<&InfoHash>, limit: usize) -> Result<Vec<Row>, DatabaseError> {
        self.call()?;
        Ok(self
            .rows
            .iter()
            .filter(|row| after.is_none_or(|after| row.info_hash > *after))
            .take(limit)
            .cloned()
            .collect())
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

    fn idle(&mut self, _idle_s: u64) -> Result<Vec<InfoHash>, DatabaseError> {
        Ok(Vec::new())
    }

    fn delete_idle(&mut self, _hashes: &[InfoHash], _idle_s: u64) -> Result<u64, DatabaseError> {
        Ok(0)
    }
}
