//! One connection to the server: made when it is needed, kept while it works, made anew after an
//! error.
//!
//! Owns: time limits, retries, and where a transaction begins and ends. A question is asked again
//! when the connection that was kept turns out to be cut (a restart, KILL, `wait_timeout`): once,
//! on a new one, and not when a time limit has passed. A transaction begins with such a question,
//! so what follows finds a working connection; it is begun again when it has met another
//! one ([`COLLISION_PAUSES_MS`]).
//!
//! A question that this end gives up must not go on at the server, where it would hold a connection
//! for as long as somebody keeps a table locked. So the server is told to give up first: waiting
//! for any lock, after half the time limit, and the whole statement after three quarters of it. The
//! latter not for reading the list, nor for the look at the tables.
//!
//! Limits: [`ADDRESSES_MAX`] addresses of a host name are tried, all within the one time limit for
//! connecting. Resolving the name takes as long as the system's resolver takes, and connecting to a
//! Unix socket as long as its queue is full.

use std::io::{Error as IoError, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Error, Opts, OptsBuilder, Row};

use crate::registry::database::mysql::address::Address;
use crate::registry::database::mysql::failure::{Fault, NamedDatabase};
use crate::registry::database::mysql::fence::Driver;
use crate::registry::database::mysql::schema::Schema;
use crate::registry::database::mysql::{cell, statement};
use crate::registry::database::traits::{AskLimits, DatabaseError, TimeLimits};

/// Addresses tried of one host name.
const ADDRESSES_MAX: usize = 8;
/// Before each new beginning of a transaction that has met another one.
const COLLISION_PAUSES_MS: [u64; 4] = [10, 40, 160, 640];
/// After this long, a connection to a database that lacks something is made anew, to see what an
/// upgrade has added.
const SCHEMA_LOOK_EVERY: Duration = Duration::from_secs(60);
/// The least that a server can be told a statement may take.
const STATEMENT_LIMIT_MIN: Duration = Duration::from_millis(1);
/// What the driver would ask the server for at every connection; more than anything here needs,
/// either way.
const PACKET_BYTES_MAX: usize = 4 << 20;

/// A connection, or how to get one.
pub(super) struct Reconnecting {
    opts: Opts,
    database: NamedDatabase,
    ask_limits: AskLimits,
    /// Those of the connection that is kept, or was tried last.
    limits: TimeLimits,
    kept: Option<Session>,
}

/// A connection that works, as far as is known.
pub(super) struct Session {
    conn: Driver,
    since: Instant,
    /// How the server is told how long a statement may take; none where it cannot be.
    limiter: Option<Limiter>,
    /// How long one may take now; none: for ever.
    statement_limit: Option<Duration>,
    /// Whether [`Session::change`] has, or may have, changed something in this transaction.
    changed: bool,
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

/// Whether a question may take longer than others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It ends within the time limit.
    Limited,
    /// It takes as long as the table is large; what comes of it comes piece by piece.
    Unlimited,
}

/// A change of which each statement stands for itself: what came of it.
pub(super) struct Changed {
    /// The places of statements that were refused by a rule of the site's, and its words.
    pub(super) refused: Vec<(usize, String)>,
}

/// What is known of a transaction that did not end well.
pub(super) enum Undone {
    /// It has not been applied.
    Wholly(DatabaseError),
    /// It may have been applied, wholly or, without transactions, in part.
    Perhaps(DatabaseError),
}

impl Undone {
    pub(super) fn into_error(self) -> DatabaseError {
        let (Undone::Wholly(error) | Undone::Perhaps(error)) = self;
        error
    }
}

impl Reconnecting {
    /// Not connected yet.
    pub(super) fn new(address: &Address, ask_limits: AskLimits) -> Reconnecting {
        let opts = OptsBuilder::from_opts(address.opts.clone());
        let opts = opts.max_allowed_packet(Some(PACKET_BYTES_MAX)).stmt_cache_size(0);
        Reconnecting {
            opts: opts.into(),
            database: address.database.clone(),
            limits: ask_limits(),
            ask_limits,
            kept: None,
        }
    }

    /// Asks a question, which may be asked twice.
    pub(super) fn ask<T>(
        &mut self,
        question: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, DatabaseError> {
        self.ask_at(Pace::Limited, question)
    }

    /// The same, in as much time as `pace` says.
    pub(super) fn ask_at<T>(
        &mut self,
        pace: Pace,
        question: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, DatabaseError> {
        let (session, answer) = self.ask_first(pace, question)?;
        self.kept = Some(session);
        Ok(answer)
    }

    /// Takes `steps` in one transaction, which may be begun several times.
    pub(super) fn transaction<T>(
        &mut self,
        mut steps: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<T, Undone> {
        let mut pauses_ms = COLLISION_PAUSES_MS.into_iter();
        loop {
            let (mut session, ()) = self
                .ask_first(Pace::Limited, |session| session.run("START TRANSACTION"))
                .map_err(Undone::Wholly)?;
            session.changed = false;
            let (fault, committing) = match steps(&mut session) {
                Ok(done) => match session.run("COMMIT") {
                    Ok(()) => {
                        self.kept = Some(session);
                        return Ok(done);
                    }
                    Err(fault) => (fault, true),
                },
                Err(fault) => (fault, false),
            };
            // Without transactions, what has been changed stays changed.
            let undone = session.schema.undoes || !session.changed;
            // A cluster may find out only at the COMMIT that another node was first: then it has
            // rolled back.
            if undone && fault.is_collision() && self.begin_again(session, pauses_ms.next()) {
                continue;
            }
            return Err(match undone && (!committing || fault.is_collision()) {
                true => Undone::Wholly(self.explain(&fault)),
                false => Undone::Perhaps(self.explain(&fault)),
            });
        }
    }

    /// Clears the way for another try after a pause; false when there have been enough. A lock wait
    /// that timed out has undone its statement only, so the transaction is rolled back by word.
    fn begin_again(&mut self, mut session: Session, pause_ms: Option<u64>) -> bool {
        if session.run("ROLLBACK").is_ok() {
            self.kept = Some(session);
        }
        let Some(pause_ms) = pause_ms else { return false };
        // Not all of those that met each other should come back at the same time.
        thread::sleep(Duration::from_millis(fastrand::u64(pause_ms / 2..=pause_ms)));
        true
    }

    /// Asks a question of the connection that was kept, or of a new one, as when the time limits
    /// have changed; with the answer, the connection is the caller's.
    fn ask_first<T>(
        &mut self,
        pace: Pace,
        mut question: impl FnMut(&mut Session) -> Result<T, Fault>,
    ) -> Result<(Session, T), DatabaseError> {
        let limits = (self.ask_limits)();
        let longest = (pace == Pace::Limited).then_some(limits.answer * 3 / 4);
        let mut question = |session: &mut Session| {
            session.limit_statements(longest)?;
            question(session)
        };
        let kept = self.kept.take().filter(|kept| !kept.is_outdated() && limits == self.limits);
        self.limits = limits;
        if let Some(mut kept) = kept {
            match question(&mut kept) {
                Ok(answer) => return Ok((kept, answer)),
                Err(fault) if fault.is_cut() => {}
                Err(fault) => return Err(self.failed(kept, &fault)),
            }
        }
        let mut fresh = self.connect().map_err(|fault| self.explain(&fault))?;
        match question(&mut fresh) {
            Ok(answer) => Ok((fresh, answer)),
            Err(fault) => Err(self.failed(fresh, &fault)),
        }
    }

    /// A question has failed. What the server itself has given up leaves the connection as it was,
    /// and logging in again would only cost.
    fn failed(&mut self, session: Session, fault: &Fault) -> DatabaseError {
        if fault.is_given_up() {
            self.kept = Some(session);
        }
        self.explain(fault)
    }

    fn explain(&self, fault: &Fault) -> DatabaseError {
        self.database.explain(fault, self.limits)
    }

    fn connect(&self) -> Result<Session, Fault> {
        let mut session = Session {
            conn: self.dial()?,
            since: Instant::now(),
            limiter: None,
            statement_limit: None,
            changed: false,
            schema: Schema::default(),
        };
        // Half of what is waited here, so that the server's word comes first.
        session.run(&statement::session((self.limits.answer.as_secs() / 2).max(1)))?;
        let columns = session.rows(statement::COLUMNS, |row| Some(cell::text(row, 0)))?;
        let engines = session.rows(statement::ENGINE, |row| Some(cell::text(row, 1)))?;
        let tables = session.rows(statement::TABLES, |row| Some(cell::text(row, 0)))?;
        session.schema = Schema::of(&columns, &engines.concat(), &tables);
        session.schema.say_what_is_missing(&self.database.server);
        session.find_limiter()?;
        Ok(session)
    }

    /// Connects to the socket, or to the first of the host's addresses that answers. The driver
    /// itself would give up at the first that does not, and `localhost` has two where the
    /// server may listen on one.
    fn dial(&self) -> Result<Driver, Fault> {
        if self.opts.get_socket().is_some() {
            return Driver::connect(self.timed_opts().into());
        }
        let deadline = Instant::now() + self.limits.connect;
        let host = self.opts.get_ip_or_hostname().into_owned();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let no_address = IoError::new(ErrorKind::NotFound, "the host has no address");
        let mut failure = Fault::from(Error::from(no_address));
        let addresses = (host, self.opts.get_tcp_port()).to_socket_addrs().map_err(Error::from)?;
        for address in addresses.take(ADDRESSES_MAX) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match self.dial_address(address, left) {
                // Whoever answers is the server, whatever it says.
                Err(fault) if !fault.is_answer() => failure = fault,
                answered => return answered,
            }
        }
        Err(failure)
    }

    fn dial_address(&self, address: SocketAddr, limit: Duration) -> Result<Driver, Fault> {
        let host = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        let opts = self.timed_opts().ip_or_hostname(Some(host)).tcp_connect_timeout(Some(limit));
        Driver::connect(opts.into())
    }

    fn timed_opts(&self) -> OptsBuilder {
        let answer = Some(self.limits.answer);
        OptsBuilder::from_opts(self.opts.clone()).read_timeout(answer).write_timeout(answer)
    }
}

impl Session {
    fn is_outdated(&self) -> bool {
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
    fn limit_statements(&mut self, limit: Option<Duration>) -> Result<(), Fault> {
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
            let (_, changed) = self.packet(packet);
            rows_changed += changed?;
        }
        Ok(rows_changed)
    }

    /// Runs statements that stand each for itself: one that is refused by a rule of the site's is
    /// left out, and the others are run. The server undoes that one statement alone.
    pub(super) fn change_each(&mut self, statements: &[String]) -> Result<Changed, Fault> {
        let (mut at, mut refused) = (0, Vec::new());
        while at < statements.len() {
            let end = statements.len().min(at + statement::PACKET_STATEMENTS_MAX);
            let (done, changed) = self.packet(&statements[at..end]);
            at = match changed {
                Ok(_) => end,
                Err(fault) => {
                    let Some(why) = fault.row_refusal() else { return Err(fault) };
                    refused.push((at + done, why.to_owned()));
                    at + done + 1
                }
            };
        }
        Ok(Changed { refused })
    }

    /// Runs the statements of one packet; how many were run before one failed, and how many rows
    /// they have changed.
    fn packet(&mut self, statements: &[String]) -> (usize, Result<u64, Fault>) {
        let packet = statements.join(";");
        let mut done = 0;
        let mut is_refused = false;
        let changed = self.conn.call(|conn| {
            let answers = conn.query_iter(packet);
            is_refused = matches!(answers, Err(Error::MySqlError(_)));
            let (mut answers, mut rows_changed) = (answers?, 0);
            while let Some(mut answer) = answers.iter() {
                rows_changed += answer.affected_rows();
                if let Some(row) = answer.next() {
                    row?;
                }
                done += 1;
            }
            Ok(rows_changed)
        });
        self.changed |= !is_refused;
        let at = statements.get(done).map_or("", String::as_str);
        (done, changed.map_err(|fault| fault.at(at)))
    }
}
