//! MySQL and MariaDB; the only folder that knows the `mysql` crate.
//!
//! Owns: the registry's questions in SQL (`statement`), on one connection (`session`, which
//! `reconnecting` makes anew when it breaks) to a database that may be ours or the PHP tracker's
//! (`schema`). Only the text protocol: one round trip for a lookup, none to prepare it.
//!
//! Exactly once: a batch moves its node's number on in its own transaction, so that asking for it
//! again finds out whether it was applied. A database without the table `flushes`, or whose tables
//! know no transactions, cannot be asked. There, a batch whose acknowledgement was lost is taken as
//! applied: it may be lost, and is never counted twice.
//!
//! The driver panics at what it cannot read: every call into it is fenced (`fence`). Connections
//! are encrypted where the URL says so (`tls`).
//!
//! Never: a Unix socket, unless the URL names one (`?socket=PATH`) or asks to prefer it; the
//! driver's authentication by the system's user (`unix_socket`), which it does not speak.

mod address;
mod cell;
mod failure;
mod fence;
mod reconnecting;
mod schema;
mod session;
mod statement;
mod text;
mod tls;

use mysql::Row as Cells;

use crate::ids::InfoHash;
use crate::listing::Record;
use crate::registry::database::columns::{self, ByHash, in_order, record};
use crate::registry::database::edit::{ListedTorrent, Plan, plan};
use crate::registry::database::mysql::failure::Fault;
use crate::registry::database::mysql::reconnecting::{Pace, Reconnecting, Undone};
use crate::registry::database::mysql::session::Session;
use crate::registry::database::numbered::Numbered;
use crate::registry::database::traits::{
    AskLimits, Backend, Batch, BatchOutcome, DatabaseError, Deleted, Edit, Edited, Ledger,
    ListChange, ListPage, ListPosition, NodeId, RefusedRow, Row,
};

pub(super) use address::Address;
pub use fence::panic_is_fenced;

/// A MySQL database.
pub(super) struct Mysql {
    connection: Reconnecting,
}

impl Mysql {
    /// A database that has not been connected to yet.
    pub(super) fn new(address: &Address, limits: AskLimits) -> Mysql {
        Mysql { connection: Reconnecting::new(address, limits) }
    }

    /// Finds out whether the tracker may do what it has to, without doing any of it.
    ///
    /// # Errors
    /// What is refused, or that the server does not answer.
    pub(super) fn try_rights(&mut self) -> Result<(), DatabaseError> {
        self.lookup(&[InfoHash([0; 20])])?;
        let tried = self.connection.transaction(|session| {
            session.change(&statement::of_no_row(&session.schema)).map(drop)
        });
        tried.map_err(Undone::into_error)
    }
}

impl Backend for Mysql {
    fn lookup(&mut self, hashes: &[InfoHash]) -> Result<Vec<Record>, DatabaseError> {
        if hashes.is_empty() {
            return self.connection.ask(Session::ping).map(|()| Vec::new());
        }
        let found = self.connection.ask(|session| {
            let sql = statement::lookup(hashes, &session.schema);
            session.rows(&sql, |row| {
                let record = record(
                    cell::bytes(row, 1),
                    cell::number(row, 2),
                    cell::number(row, 3) != 0,
                    cell::bytes(row, 4),
                );
                Some((cell::info_hash(row, 0)?, record))
            })
        })?;
        Ok(in_order(hashes, &found.into_iter().collect()))
    }
}

impl Ledger for Mysql {
    fn read_list(&mut self, from: &ListPosition, limit: usize) -> Result<ListPage, DatabaseError> {
        self.connection.ask_at(Pace::Unlimited, |session| {
            let sql = statement::list_page(from, limit, &session.schema);
            let rows = session.rows(&sql, |row| Some(list_row(row)))?;
            Ok(list_page(from, &rows, limit, session.schema.key.as_deref()))
        })
    }

    fn write(&mut self, batch: &Batch) -> Result<BatchOutcome, DatabaseError> {
        let mut is_numbered = false;
        let written = self.connection.transaction(|session| {
            is_numbered = session.schema.is_numbered();
            if is_numbered && let Some(written) = move_on(session, batch)? {
                return Ok(written);
            }
            let schema = session.schema.clone();
            let (hashes, counts): (Vec<InfoHash>, Vec<String>) = batch
                .rows
                .iter()
                .filter_map(|row| Some((row.info_hash, statement::count(row, &schema)?)))
                .unzip();
            let refused = session.change_each(&counts)?.refused.into_iter();
            let refused =
                refused.map(|(at, why)| RefusedRow { info_hash: hashes[at], why }).collect();
            Ok(BatchOutcome::Applied { refused })
        });
        match written {
            Err(Undone::Perhaps(error)) if !is_numbered => {
                let downloads: u64 = batch.rows.iter().map(|row| u64::from(row.downloads)).sum();
                log::warn!(
                    "{error}: whether {downloads} downloads were written is not known, they are \
                     taken as written"
                );
                Ok(BatchOutcome::WHOLE)
            }
            written => written.map_err(Undone::into_error),
        }
    }

    fn last_change(&mut self) -> Result<u64, DatabaseError> {
        self.connection.ask(|session| match session.schema.changes {
            true => Ok(session
                .rows(statement::LAST_CHANGE, |row| Some(cell::number(row, 0)))?
                .first()
                .copied()
                .unwrap_or(0)),
            false => Ok(0),
        })
    }

    fn changes(&mut self, after: u64, also: &[u64]) -> Result<Vec<ListChange>, DatabaseError> {
        self.connection.ask(|session| match session.schema.changes {
            true => session.rows(&statement::changes(after, also), |row| {
                Some(ListChange {
                    number: cell::number(row, 0),
                    info_hash: cell::info_hash(row, 1)?,
                })
            }),
            false => Ok(Vec::new()),
        })
    }

    fn idle(&mut self, idle_s: u64, limit: usize) -> Result<Vec<InfoHash>, DatabaseError> {
        self.connection.ask(|session| {
            let sql = statement::idle(idle_s, limit, &session.schema);
            session.rows(&sql, |row| cell::info_hash(row, 0))
        })
    }

    fn delete_idle(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<Deleted, DatabaseError> {
        if hashes.is_empty() {
            return Ok(Deleted::default());
        }
        let deleted = self.connection.transaction(|session| {
            let schema = session.schema.clone();
            let sql = |hashes: &[InfoHash]| statement::delete_idle(hashes, idle_s, &schema);
            let each = hashes.iter().map(|hash| sql(std::slice::from_ref(hash)));
            let changed = session.change_all_or_each(sql(hashes), each)?;
            let refused = changed.refused.into_iter();
            let refused = refused.map(|(at, why)| RefusedRow { info_hash: hashes[at], why });
            Ok(Deleted { count: changed.rows_changed, refused: refused.collect() })
        });
        deleted.map_err(Undone::into_error)
    }

    fn others_write(&mut self, own: NodeId, within_s: u64) -> Result<bool, DatabaseError> {
        self.connection.ask(|session| match session.schema.flushes {
            true => {
                let others = session.rows(&statement::others(&own, within_s), |_| Some(()))?;
                Ok(!others.is_empty())
            }
            false => Ok(true),
        })
    }

    fn zero_counts(&mut self, hashes: &[InfoHash], idle_s: u64) -> Result<(), DatabaseError> {
        if hashes.is_empty() {
            return Ok(());
        }
        let zeroed = self.connection.transaction(|session| {
            if !session.schema.counts {
                return Ok(());
            }
            let sql = |hashes: &[InfoHash]| statement::zero_counts(hashes, idle_s);
            let each = hashes.iter().map(|hash| sql(std::slice::from_ref(hash)));
            session.change_all_or_each(sql(hashes), each).map(drop)
        });
        zeroed.map_err(Undone::into_error)
    }

    fn edit(&mut self, edits: &[Edit]) -> Result<Vec<Edited>, DatabaseError> {
        if edits.is_empty() {
            return Ok(Vec::new());
        }
        let edited = self.connection.transaction(|session| {
            let schema = session.schema.clone();
            let fitted = text::fit(session, edits)?;
            let listed = held(session, edits)?;
            let Plan { edited, writes } = plan(&fitted.edits, listed, schema.ban_reason);
            let mut statements: Vec<String> =
                writes.iter().map(|write| statement::edit(write, &schema)).collect();
            if schema.changes && !writes.is_empty() {
                statements.extend([statement::tell(&writes), statement::forget_changes()]);
            }
            session.change(&statements)?;
            Ok(fitted.tell(edited))
        });
        edited.map_err(Undone::into_error)
    }
}

/// A row of [`statement::list_page`] as it stands: what is in the column of the hash, its key, and
/// the row if that is a hash.
struct ListRow {
    hash: Vec<u8>,
    key: Option<i128>,
    row: Option<Row>,
}

fn list_row(cells: &Cells) -> ListRow {
    ListRow { hash: cell::bytes(cells, 0).to_owned(), key: cell::signed(cells, 9), row: row(cells) }
}

/// A piece of the list, of as many rows as the database has returned.
fn list_page(from: &ListPosition, rows: &[ListRow], limit: usize, key: Option<&str>) -> ListPage {
    let by_key = matches!(from, ListPosition::Begin | ListPosition::Key(_));
    let position = |last: &ListRow| match last.key.filter(|_| by_key) {
        Some(key) => ListPosition::Key(key),
        None => ListPosition::Hash(last.hash.clone()),
    };
    let name = |row: &ListRow| match (key, row.key) {
        (Some(column), Some(key)) => format!("{column} {key}"),
        _ => format!("infohash {}", columns::shown(&row.hash)),
    };
    ListPage {
        next: rows.last().filter(|_| rows.len() >= limit).map(position),
        passed_over: rows.iter().filter(|row| row.row.is_none()).map(name).collect(),
        rows: rows.iter().filter_map(|row| row.row.clone()).collect(),
    }
}

/// A row of [`statement::list_page`]; none when it has no hash.
fn row(row: &Cells) -> Option<Row> {
    let seconds = |column| i64::try_from(cell::number(row, column)).unwrap_or(0);
    Some(Row {
        info_hash: cell::info_hash(row, 0)?,
        name: cell::text(row, 1),
        downloaded: columns::count(cell::number(row, 2)),
        banned: cell::number(row, 3) != 0,
        ban_reason: cell::text_if_any(row, 4),
        complete: columns::count(cell::number(row, 5)),
        incomplete: columns::count(cell::number(row, 6)),
        added_unix_s: seconds(7),
        updated_unix_s: seconds(8),
    })
}

/// Moves the batch's node on to it, unless it is known already what has become of the batch. The
/// usual case is one round trip.
fn move_on(session: &mut Session, batch: &Batch) -> Result<Option<BatchOutcome>, Fault> {
    if session.change(&[statement::next_number(batch)])? == 1 {
        return Ok(None);
    }
    let applied = session
        .rows(&statement::last_number(batch), |row| Some(cell::number(row, 0)))?
        .first()
        .copied();
    match Numbered::of(batch.number, applied) {
        Numbered::Decided(written) => Ok(Some(written)),
        // Moved on by a lost connection's transaction since the UPDATE, which then waits for it
        // now.
        Numbered::Next => {
            Ok((session.change(&[statement::next_number(batch)])? != 1)
                .then_some(BatchOutcome::WHOLE))
        }
        Numbered::First => {
            session.change(&[statement::first_number(batch), statement::forget_nodes()])?;
            Ok(None)
        }
    }
}

/// What is listed of the torrents that are to be edited.
fn held(session: &mut Session, edits: &[Edit]) -> Result<ByHash<ListedTorrent>, Fault> {
    let sql = statement::held(edits.iter().map(Edit::info_hash), &session.schema);
    let rows = session.rows(&sql, |row| {
        let held = ListedTorrent {
            name: cell::text(row, 1),
            banned: cell::number(row, 2) != 0,
            reason: cell::text(row, 3),
        };
        Some((cell::info_hash(row, 0)?, held))
    })?;
    Ok(rows.into_iter().collect())
}
