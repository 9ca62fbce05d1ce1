//! The SQL that SQLite is asked in.
//!
//! Owns: every statement, as it stands. Never: a value in one; each is a parameter, so nothing has
//! to be quoted. Columns are read by their position in the statement (`cell`).

/// The tables; there is nothing to do where they exist.
pub(super) const SCHEMA: &str = include_str!("../../../../schema/sqlite.sql");

pub(super) const NOW: &str = "SELECT CAST(strftime('%s', 'now') AS INTEGER)";
pub(super) const LOOKUP: &str =
    "SELECT infohash, name, downloaded, banned, ban_reason FROM torrents WHERE infohash = ?1";
pub(super) const PAGE_BY_KEY: &str = "\
    SELECT infohash, name, downloaded, banned, ban_reason, complete, incomplete, added, updated, \
    rowid FROM torrents WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";
pub(super) const PAGE_BY_HASH: &str = "\
    SELECT infohash, name, downloaded, banned, ban_reason, complete, incomplete, added, updated, \
    NULL FROM torrents WHERE infohash > ?1 ORDER BY infohash LIMIT ?2";
pub(super) const COUNT: &str = "\
    UPDATE torrents SET downloaded = \
    CAST(MIN(COALESCE(downloaded, 0) + ?2, 9223372036854775807) AS INTEGER), complete = ?3, \
    incomplete = ?4, updated = CASE WHEN ?5 THEN ?6 ELSE updated END WHERE infohash = ?1";
pub(super) const LAST_NUMBER: &str = "SELECT number FROM flushes WHERE node = ?1";
pub(super) const SET_NUMBER: &str = "\
    INSERT INTO flushes (node, number) VALUES (?1, ?2) \
    ON CONFLICT (node) DO UPDATE SET number = ?2, at = ?3";
pub(super) const FORGET_NODES: &str = "DELETE FROM flushes WHERE at < ?1";
pub(super) const LAST_CHANGE: &str = "SELECT MAX(number) FROM changes";
pub(super) const CHANGED: &str =
    "SELECT number, infohash FROM changes WHERE number > ?1 ORDER BY number LIMIT ?2";
pub(super) const CHANGED_ONE: &str = "SELECT number, infohash FROM changes WHERE number = ?1";
pub(super) const TELL: &str = "INSERT INTO changes (infohash) VALUES (?1)";
pub(super) const FORGET_CHANGES: &str = "\
    DELETE FROM changes WHERE number IN (SELECT number FROM changes WHERE at < ?1 \
    ORDER BY number LIMIT ?2)";
pub(super) const IDLE: &str = "\
    SELECT infohash FROM torrents WHERE banned = 0 AND complete = 0 AND incomplete = 0 \
    AND updated BETWEEN 1 AND ?1 ORDER BY updated LIMIT ?2";
pub(super) const DELETE_IDLE: &str = "\
    DELETE FROM torrents \
    WHERE infohash = ?2 AND banned = 0 AND complete = 0 AND incomplete = 0 \
    AND updated BETWEEN 1 AND ?1";
pub(super) const OTHERS: &str = "SELECT 1 FROM flushes WHERE node <> ?1 AND at >= ?2 LIMIT 1";
pub(super) const ZERO_COUNTS: &str = "\
    UPDATE torrents SET complete = 0, incomplete = 0 \
    WHERE infohash = ?1 AND (updated IS NULL OR updated <= ?2)";
pub(super) const INSERT: &str =
    "INSERT INTO torrents (infohash, name, banned, ban_reason) VALUES (?1, ?2, ?3, NULLIF(?4, ''))";
pub(super) const NAME: &str = "UPDATE torrents SET name = ?2, updated = ?3 WHERE infohash = ?1";
pub(super) const BAN: &str = "\
    UPDATE torrents SET banned = ?2, ban_reason = NULLIF(?3, ''), updated = ?4 \
    WHERE infohash = ?1";
pub(super) const DELETE: &str = "DELETE FROM torrents WHERE infohash = ?1";
