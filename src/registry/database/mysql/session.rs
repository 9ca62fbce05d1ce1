//! One connection that works, as far as is known: what is asked on it, statement by statement.
//!
//! Owns: how a connection begins, how long the server may take for a statement, and what an error
//! in the middle of many statements means. Never: a retry, or where a transaction begins and ends;
//! that is `reconnecting`'s.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Error, Row};

use crate::registry::database::mysql::failure::Fault;
use crate::registry::database::mysql::fence::Driver;
use crate::registry::database::mysql::schema::{Column, Schema};
use crate::registry::database::mysql::{cell, statement};

/// After this long, a connection to a database that lacks something is made anew, to see what an
/// upgrade has added.
const SCHEMA_LOOK_EVERY: Duration = Duration::from_secs(60);
/// The least that a server can be told a statement may take.
const STATEMENT_LIMIT_MIN: Duration = Duration::from_millis(1);

/// A connection that works, as far as is known.
pub(super) struct Session {
    conn: Driver,
    since: Instant,
    /// How the server is told how long a statement may take; none where it cannot be.
    limiter: Option<Limiter>,
    /// How long one may take now; none: for ever.
    statement_limit: Option<Duration>,
    /// Whether something has, or may have, been changed in this transaction.
    pub(super) changed: bool,
    /// What the database has.
    pub(super) schema: Schema,
}

/// The variable that says how long a statement may take.
#[derive(Clone, Copy)]
enum Limiter {
    /// MariaDB's, in seconds, for any statement.
    MaxStatementTime,
    /// MySQL's, in milliseconds, for a SELECT.
    MaxExecutionTime,
}

impl Limiter {
    const ALL: [Limiter; 2] = [Limiter::MaxStatementTime, Limiter::MaxExecutionTime];

    fn statement(self, limit: Option<Duration>) -> String {
        let limit = limit.unwrap_or_default();
        match self {
            Limiter::MaxStatementTime => {
                format!("SET SESSION max_statement_time = {}", limit.as_secs_f32())
            }
            Limiter::MaxExecutionTime => {
                format!("SET SESSION max_execution_time = {}", limit.as_millis())
            }
        }
    }
}

/// A change of which each statement stands for itself: what came of it.
#[derive(Default)]
pub(super) struct Changed {
    pub(super) rows_changed: u64,
    /// The places of statements that were refused by a rule of the site's, and its words.
    pub(super) refused: Vec<(usize, String)>,
}

impl Session {
    /// Begins on a new connection, on which this end waits so long for an answer.
    pub(super) fn begin(conn: Driver, answer: Duration) -> Result<Session, Fault> {
        let mut session = Session {
            conn,
            since: Instant::now(),
            limiter: None,
            statement_limit: None,
            changed: false,
            schema: Schema::default(),
        };
        // Half of what is waited here, so that the server's word comes first.
        session.run(&statement::session((answer.as_secs() / 2).max(1)))?;
        let columns = session.rows(statement::COLUMNS, |row| {
            let [name, kind, collation, key] = [0, 1, 2, 4].map(|at| cell::text(row, at));
            Some(Column { name, kind, collation, key })
        })?;
        let engines = session.rows(statement::ENGINE, |row| Some(cell::text(row, 1)))?;
        let tables = session.rows(statement::TABLES, |row| Some(cell::text(row, 0)))?;
        session.schema = Schema::of(&columns, &engines.concat(), &tables);
        session.find_limiter()?;
        Ok(session)
    }

    /// Whether it may lack what an upgrade has added.
    pub(super) fn is_outdated(&self) -> bool {
        !self.schema.is_whole() && self.since.elapsed() > SCHEMA_LOOK_EVERY
    }

    /// Finds out whether the server answers.
    pub(super) fn ping(&mut self) -> Result<(), Fault> {
        self.conn.call(|conn| conn.ping())
    }

    /// Finds out by which variable this server can be told how long a statement may take: not by
    /// its version, since what stands between may name any.
    fn find_limiter(&mut self) -> Result<(), Fault> {
        for limiter in Limiter::ALL {
            match self.run(&limiter.statement(None)) {
                Ok(()) => {
                    self.limiter = Some(limiter);
                    return Ok(());
                }
                Err(fault) if fault.is_unknown_variable() => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Has the server give up what takes longer.
    pub(super) fn limit_statements(&mut self, limit: Option<Duration>) -> Result<(), Fault> {
        let Some(limiter) = self.limiter.filter(|_| limit != self.statement_limit) else {
            return Ok(());
        };
        self.run(&limiter.statement(limit.map(|limit| limit.max(STATEMENT_LIMIT_MIN))))?;
        self.statement_limit = limit;
        Ok(())
    }

    /// Runs one statement without rows.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), Fault> {
        self.conn.call(|conn| conn.query_drop(sql)).map_err(|fault| fault.at(sql))
    }

    /// What `read` makes of each row; rows of which it makes nothing are passed over.
    pub(super) fn rows<T>(
        &mut self,
        sql: &str,
        read: impl Fn(&Row) -> Option<T>,
    ) -> Result<Vec<T>, Fault> {
        let rows = self.conn.call(|conn| conn.query_iter(sql)?.collect::<Result<Vec<Row>, _>>());
        Ok(rows.map_err(|fault| fault.at(sql))?.iter().filter_map(read).collect())
    }

    /// Runs statements that change something, many in a packet; how many rows they have changed. An
    /// error ends with the statement that caused it: the server runs none after it.
    pub(super) fn change(&mut self, statements: &[String]) -> Result<u64, Fault> {
        let mut rows_changed = 0;
        for packet in statements.chunks(statement::PACKET_STATEMENTS_MAX) {
            let ran = self.packet(packet);
            ran.outcome?;
            rows_changed += ran.rows_changed;
        }
        Ok(rows_changed)
    }

    /// Runs statements that stand each for itself: one that is refused by a rule of the site's is
    /// left out, and the others are run. The server undoes that one statement alone.
    pub(super) fn change_each(&mut self, statements: &[String]) -> Result<Changed, Fault> {
        let (mut at, mut changed) = (0, Changed::default());
        while at < statements.len() {
            let end = statements.len().min(at + statement::PACKET_STATEMENTS_MAX);
            let ran = self.packet(&statements[at..end]);
            changed.rows_changed += ran.rows_changed;
            at = match ran.outcome {
                Ok(()) => end,
                Err(fault) => {
                    let Some(why) = fault.row_refusal() else { return Err(fault) };
                    changed.refused.push((at + ran.done, why));
                    at + ran.done + 1
                }
            };
        }
        Ok(changed)
    }

    /// Runs `all`, which is about many rows. When a rule of the site's stands against one of them,
    /// that has changed nothing: then `each` of them is run for itself.
    pub(super) fn change_all_or_each(
        &mut self,
        all: String,
        each: impl Iterator<Item = String>,
    ) -> Result<Changed, Fault> {
        match self.change(&[all]) {
            Ok(rows_changed) => Ok(Changed { rows_changed, refused: Vec::new() }),
            Err(fault) if fault.row_refusal().is_some() => {
                self.change_each(&each.collect::<Vec<_>>())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Runs the statements of one packet.
    fn packet(&mut self, statements: &[String]) -> Ran {
        let packet = statements.join(";");
        let (mut done, mut rows_changed, mut is_refused) = (0, 0, false);
        let outcome = self.conn.call(|conn| {
            let answers = conn.query_iter(packet);
            is_refused = matches!(answers, Err(Error::MySqlError(_)));
            let mut answers = answers?;
            while let Some(mut answer) = answers.iter() {
                rows_changed += answer.affected_rows();
                if let Some(row) = answer.next() {
                    row?;
                }
                done += 1;
            }
            Ok(())
        });
        self.changed |= !is_refused;
        let at = statements.get(done).map_or("", String::as_str);
        Ran { done, rows_changed, outcome: outcome.map_err(|fault| fault.at(at)) }
    }
}

/// What came of the statements of a packet.
struct Ran {
    /// How many were run before one failed.
    done: usize,
    rows_changed: u64,
    outcome: Result<(), Fault>,
}
