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
//! connecting; of one whose certificate is checked for it, the first alone. Resolving the name
//! takes as long as the system's resolver takes, and connecting to a Unix socket as long as its
//! queue is full.

use std::io::{Error as IoError, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use mysql::{Error, Opts, OptsBuilder};

use crate::registry::database::mysql::address::Address;
use crate::registry::database::mysql::failure::{Fault, NamedDatabase};
use crate::registry::database::mysql::fence::Driver;
use crate::registry::database::mysql::session::Session;
use crate::registry::database::traits::{AskLimits, DatabaseError, TimeLimits};

/// Addresses tried of one host name.
const ADDRESSES_MAX: usize = 8;
/// Before each new beginning of a transaction that has met another one.
const COLLISION_PAUSES_MS: [u64; 4] = [10, 40, 160, 640];
/// What the driver would ask the server for at every connection; more than anything here needs,
/// either way.
const PACKET_BYTES_MAX: usize = 4 << 20;

/// A connection, or how to get one.
pub(super) struct Reconnecting {
    opts: Opts,
    database: NamedDatabase,
    verifies_host: bool,
    ask_limits: AskLimits,
    /// Those of the connection that is kept, or was tried last.
    limits: TimeLimits,
    kept: Option<Session>,
}

/// Whether a question may take longer than others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It ends within the time limit.
    Limited,
    /// It takes as long as the table is large; what comes of it comes piece by piece.
    Unlimited,
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
            verifies_host: address.verifies_host,
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
        let session = Session::begin(self.dial()?, self.limits.answer)?;
        session.schema.say_what_is_missing(&self.database.server);
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
        let opts = self.timed_opts().tcp_connect_timeout(Some(limit));
        // The driver looks for the name in the certificate that it connects to, so it has to find
        // the address by itself.
        if self.verifies_host {
            return Driver::connect(opts.into());
        }
        let host = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        Driver::connect(opts.ip_or_hostname(Some(host)).into())
    }

    fn timed_opts(&self) -> OptsBuilder {
        let answer = Some(self.limits.answer);
        OptsBuilder::from_opts(self.opts.clone()).read_timeout(answer).write_timeout(answer)
    }
}
