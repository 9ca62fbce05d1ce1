//! The SQL that MySQL is asked in: text, built here and nowhere else.
//!
//! Owns: how a value becomes text. Hashes and node names are hexadecimal literals, and so are names
//! and reasons, so that nothing is ever quoted: no character set or `sql_mode` can read more into
//! them. Pure.
//!
//! Limits: [`PACKET_STATEMENTS_MAX`] statements in a packet, some 40 KB, far below any server's
//! `max_allowed_packet`.

use std::fmt::Write as _;

use crate::ids::InfoHash;
use crate::registry::database::edit::{CHANGE_HOURS_KEPT, CHANGES_DELETED_MAX, Write, Written};
use crate::registry::database::mysql::schema::Schema;
use crate::registry::database::numbered::FLUSH_DAYS_KEPT;
use crate::registry::database::traits::{Batch, CHANGES_MAX, Counted, ListPosition, NodeId};

/// Statements sent in one packet: each is answered on its own, but the way there and back is paid
/// once.
pub(super) const PACKET_STATEMENTS_MAX: usize = 200;

/// Seconds that an age is cut to: beyond a century, the difference of two times would leave their
/// type.
const AGE_S_MAX: u64 = 100 * 365 * 86_400;

/// `x'…'`: bytes, whatever the connection's character set.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len() + 3);
    text.push_str("x'");
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\'');
    text
}

/// A text in UTF-8.
fn text(text: &str) -> String {
    format!("_utf8mb4 {}", hex(text.as_bytes()))
}

/// A text, or NULL for none.
fn text_or_null(reason: &str) -> String {
    if reason.is_empty() { "NULL".to_owned() } else { text(reason) }
}

/// The hashes as the list of an `IN`.
fn list<'h>(hashes: impl Iterator<Item = &'h InfoHash>) -> String {
    hashes.map(|hash| hex(&hash.0)).collect::<Vec<_>>().join(",")
}

/// First column: the names of the columns. Fails in the server's own words when the table cannot be
/// read at all.
pub(super) const COLUMNS: &str = "SHOW FULL COLUMNS FROM torrents";
/// Second column: the storage engine. Not from `information_schema`, which may look at every table
/// of a server for it.
pub(super) const ENGINE: &str = "SHOW TABLE STATUS LIKE 'torrents'";
/// First column: the names of the database's tables.
pub(super) const TABLES: &str = "SHOW TABLES";

/// What every connection starts with. Without strict mode a value too large for a site's narrower
/// column is cut, not refused; and the server gives up waiting for a lock, of a row or of a table,
/// before this end gives up waiting for the server.
pub(super) fn session(lock_wait_s: u64) -> String {
    format!(
        "SET NAMES utf8mb4, SESSION sql_mode = '', SESSION innodb_lock_wait_timeout = \
         {lock_wait_s}, SESSION lock_wait_timeout = {lock_wait_s}, SESSION autocommit = 1"
    )
}

/// Statements that need the rights of those that a tracker asks, and change nothing.
pub(super) fn of_no_row(schema: &Schema) -> Vec<String> {
    let mut statements = vec!["UPDATE torrents SET updated = updated WHERE 1 = 0"];
    if schema.flushes {
        statements.extend([
            "UPDATE flushes SET number = number WHERE 1 = 0",
            "INSERT INTO flushes (node, number) SELECT node, number FROM flushes WHERE 1 = 0",
        ]);
    }
    statements.into_iter().map(str::to_owned).collect()
}

/// Columns: info hash, name, downloaded, banned, reason.
pub(super) fn lookup(hashes: &[InfoHash], schema: &Schema) -> String {
    format!(
        "SELECT infohash, name, downloaded, banned+0, {} FROM torrents WHERE infohash IN ({})",
        schema.reason_column(),
        list(hashes.iter())
    )
}

/// Columns: as in [`lookup`], then complete, incomplete, added, updated (seconds since 1970; NULL
/// when unknown), and the key if the table has one.
pub(super) fn list_page(from: &ListPosition, limit: usize, schema: &Schema) -> String {
    let key = schema.key.as_deref();
    let after_hash = |hash: &[u8]| (format!("WHERE infohash > {}", hex(hash)), "infohash");
    let (above, order) = match (from, key) {
        (ListPosition::Key(last), Some(key)) => (format!("WHERE `{key}` > {last}"), key),
        (ListPosition::Begin, Some(key)) => (String::new(), key),
        (ListPosition::Hash(last), _) => after_hash(last),
        (ListPosition::Begin | ListPosition::BeginByHash | ListPosition::Key(_), _) => {
            (String::new(), "infohash")
        }
    };
    let counts = if schema.counts { "complete, incomplete" } else { "0, 0" };
    format!(
        "SELECT infohash, name, downloaded, banned+0, {}, {counts}, UNIX_TIMESTAMP(added), \
         UNIX_TIMESTAMP(updated), {} FROM torrents {above} ORDER BY `{order}` LIMIT {limit}",
        schema.reason_column(),
        key.map_or("NULL".to_owned(), |key| format!("`{key}`"))
    )
}

/// Moves a node on to a batch, when the last one was the one before.
pub(super) fn next_number(batch: &Batch) -> String {
    format!(
        "UPDATE flushes SET number = {}, at = CURRENT_TIMESTAMP WHERE node = {} AND number = {}",
        batch.number,
        hex(&batch.node.0),
        batch.number.saturating_sub(1)
    )
}

/// The last batch of a node. Locks the row: the answer holds until the transaction ends.
pub(super) fn last_number(batch: &Batch) -> String {
    format!("SELECT number FROM flushes WHERE node = {} FOR UPDATE", hex(&batch.node.0))
}

/// Makes a node known, with a batch as its last one.
pub(super) fn first_number(batch: &Batch) -> String {
    format!("INSERT INTO flushes (node, number) VALUES ({}, {})", hex(&batch.node.0), batch.number)
}

/// Forgets the nodes that write no more.
pub(super) fn forget_nodes() -> String {
    format!("DELETE FROM flushes WHERE at < NOW() - INTERVAL {FLUSH_DAYS_KEPT} DAY")
}

/// Writes one torrent's counters; none when the table has no column for any of them. Both times are
/// named, since the first `timestamp` of an old table sets itself at every update that does not.
pub(super) fn count(row: &Counted, schema: &Schema) -> Option<String> {
    let mut set = String::new();
    if row.downloads > 0 {
        // Cut by the column itself, which a site may have made wider.
        let _ = write!(set, "downloaded = COALESCE(downloaded, 0) + {}, ", row.downloads);
    }
    if schema.counts {
        let _ = write!(set, "complete = {}, incomplete = {}, ", row.complete, row.incomplete);
    }
    if set.is_empty() && !row.active {
        return None;
    }
    let updated = if row.active { "CURRENT_TIMESTAMP" } else { "updated" };
    Some(format!(
        "UPDATE torrents SET {set}added = added, updated = {updated} WHERE infohash = {}",
        hex(&row.info_hash.0)
    ))
}

/// The last change there is; NULL without any.
pub(super) const LAST_CHANGE: &str = "SELECT MAX(number) FROM changes";

/// Columns: number, info hash.
pub(super) fn changes(after: u64, also: &[u64]) -> String {
    let also = also.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let also = if also.is_empty() { also } else { format!("OR number IN ({also}) ") };
    format!(
        "SELECT number, infohash FROM changes WHERE number > {after} {also}ORDER BY number LIMIT \
         {CHANGES_MAX}"
    )
}

/// Whether a torrent is old. One whose times are both unknown is not: an old table's `updated` is 0
/// until the first announce. The comparison of `updated` alone is what the index can answer.
fn is_idle(idle_s: u64, schema: &Schema) -> String {
    let idle_s = idle_s.min(AGE_S_MAX);
    let counts = if schema.counts { "complete = 0 AND incomplete = 0 AND " } else { "" };
    format!(
        "{counts}banned = b'0' AND (updated IS NULL OR updated <= NOW() - INTERVAL {idle_s} \
         SECOND) AND GREATEST(COALESCE(UNIX_TIMESTAMP(updated), 0), \
         COALESCE(UNIX_TIMESTAMP(added), 0)) BETWEEN 1 AND CAST(UNIX_TIMESTAMP() AS SIGNED) - \
         {idle_s}"
    )
}

/// Old torrents, the oldest first.
pub(super) fn idle(idle_s: u64, limit: usize, schema: &Schema) -> String {
    format!(
        "SELECT infohash FROM torrents WHERE {} ORDER BY updated LIMIT {limit}",
        is_idle(idle_s, schema)
    )
}

/// Deletes those that are old.
pub(super) fn delete_idle(hashes: &[InfoHash], idle_s: u64, schema: &Schema) -> String {
    format!(
        "DELETE FROM torrents WHERE infohash IN ({}) AND {}",
        list(hashes.iter()),
        is_idle(idle_s, schema)
    )
}

/// A row when another tracker than `own` has written within so many seconds.
pub(super) fn others(own: &NodeId, within_s: u64) -> String {
    format!(
        "SELECT 1 FROM flushes WHERE node <> {} AND at >= NOW() - INTERVAL {} SECOND LIMIT 1",
        hex(&own.0),
        within_s.min(AGE_S_MAX)
    )
}

/// Forgets the peers of torrents of which nothing was written for so long.
pub(super) fn zero_counts(hashes: &[InfoHash], idle_s: u64) -> String {
    let idle_s = idle_s.min(AGE_S_MAX);
    format!(
        "UPDATE torrents SET complete = 0, incomplete = 0, added = added, updated = updated WHERE \
         infohash IN ({}) AND (updated IS NULL OR updated <= NOW() - INTERVAL {idle_s} SECOND)",
        list(hashes.iter())
    )
}

/// Columns: info hash, name, banned, reason. Locks the rows, and on InnoDB the gaps where there is
/// none.
pub(super) fn held<'h>(hashes: impl Iterator<Item = &'h InfoHash>, schema: &Schema) -> String {
    format!(
        "SELECT infohash, name, banned+0, {} FROM torrents WHERE infohash IN ({}) FOR UPDATE",
        schema.reason_column(),
        list(hashes)
    )
}

/// One row: each text as a column of `charset` holds it.
pub(super) fn converted<'t>(texts: impl Iterator<Item = &'t str>, charset: &str) -> String {
    let held = texts
        .map(|wished| format!("CONVERT(CONVERT({} USING {charset}) USING utf8mb4)", text(wished)));
    format!("SELECT {}", held.collect::<Vec<_>>().join(","))
}

/// Writes a planned change.
pub(super) fn edit(write: &Write, schema: &Schema) -> String {
    let hash = hex(&write.info_hash.0);
    let reason = |reason: &str| {
        if schema.ban_reason {
            format!("ban_reason = {}, ", text_or_null(reason))
        } else {
            String::new()
        }
    };
    let set = match &write.what {
        Written::Insert(held) => {
            return format!(
                "INSERT INTO torrents SET infohash = {hash}, name = {}, banned = {}, {}added = \
                 CURRENT_TIMESTAMP, updated = CURRENT_TIMESTAMP",
                text(&held.name),
                u8::from(held.banned),
                reason(&held.reason)
            );
        }
        Written::Delete => return format!("DELETE FROM torrents WHERE infohash = {hash}"),
        Written::Name(name) => format!("name = {}, ", text(name)),
        Written::Ban(why) => format!("banned = 1, {}", reason(why)),
        Written::Unban => format!("banned = 0, {}", reason("")),
    };
    format!(
        "UPDATE torrents SET {set}added = added, updated = CURRENT_TIMESTAMP WHERE infohash = \
         {hash}"
    )
}

/// Tells running trackers of what has been written.
pub(super) fn tell(writes: &[Write]) -> String {
    let rows = writes
        .iter()
        .map(|write| format!("({})", hex(&write.info_hash.0)))
        .collect::<Vec<_>>()
        .join(",");
    format!("INSERT INTO changes (infohash) VALUES {rows}")
}

/// Deletes changes that every tracker has seen. Only a transaction that has just told of new ones
/// asks this, so the table never becomes empty: older servers would start counting anew after a
/// restart.
pub(super) fn forget_changes() -> String {
    format!(
        "DELETE FROM changes WHERE at < NOW() - INTERVAL {CHANGE_HOURS_KEPT} HOUR ORDER BY at \
         LIMIT {CHANGES_DELETED_MAX}"
    )
}
