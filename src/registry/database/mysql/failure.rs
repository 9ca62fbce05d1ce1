//! What an error of the server's or the driver's means: for the next step, and for the operator.
//!
//! Owns: which errors say that a connection was cut, which that a transaction met another's, what
//! it means that the driver panicked, and the texts. None quotes a password: none quotes the URL at
//! all.
//!
//! Limits: of a panic's text, [`PANIC_CHARS_MAX`] characters.

use std::io::{Error as IoError, ErrorKind};
use std::time::Duration;

use mysql::{DriverError, Error, MySqlError};

use crate::config::redact;
use crate::registry::database::columns;
use crate::registry::database::traits::{DatabaseError, TimeLimits};

/// Characters of a panic's text that a message quotes.
const PANIC_CHARS_MAX: usize = 200;

/// Columns that the tracker writes or reads by name.
const OUR_COLUMNS: [&str; 9] = [
    "infohash",
    "name",
    "downloaded",
    "banned",
    "added",
    "updated",
    "complete",
    "incomplete",
    "ban_reason",
];

/// Why the driver did not do what it was asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// By its own or the server's word; with the statement that the server was asked.
    Told(Error, Option<String>),
    /// It panicked, with this text: it has met what it cannot read, or does not speak.
    Panicked(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Told(error, None)
    }
}

impl Fault {
    /// Says of what the server refused which statement it was.
    pub(super) fn at(self, sql: &str) -> Fault {
        match self {
            Fault::Told(error @ Error::MySqlError(_), None) => Fault::Told(error, Some(gist(sql))),
            fault => fault,
        }
    }

    /// The server's word, if it is one.
    fn word(&self) -> Option<&MySqlError> {
        match self {
            Fault::Told(Error::MySqlError(word), _) => Some(word),
            _ => None,
        }
    }

    /// Whether a server has said something: what is at the other end is one, or passes for one.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Fault::Told(Error::MySqlError(_), _) | Fault::Panicked(_))
    }

    /// Whether the server, or something between, has ended the connection, or what was read of it
    /// makes no sense: a new one may well work.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Fault::Told(error, _) => is_cut(error),
            Fault::Panicked(_) => true,
        }
    }

    /// Whether a transaction has met another one, and may go through when tried again: lock wait
    /// timeout, deadlock, or a row that somebody else has inserted since it was found missing.
    pub(super) fn is_collision(&self) -> bool {
        self.word().is_some_and(|word| matches!(word.code, 1205 | 1213 | 1062))
    }

    /// Whether the server has given up a statement for its time, so that the connection is free for
    /// the next one: it waited for a lock, or took longer than it may.
    pub(super) fn is_given_up(&self) -> bool {
        self.word().is_some_and(|word| matches!(word.code, 1205 | 1969 | 3024))
    }

    /// Whether there is no such variable at this server.
    pub(super) fn is_unknown_variable(&self) -> bool {
        self.word().is_some_and(|word| word.code == 1193)
    }

    /// In whose words the server refuses the one row that an UPDATE is about: a CHECK, a trigger
    /// (which may fail by anything that it does) or a key stands against it, and will not pass.
    pub(super) fn row_refusal(&self) -> Option<String> {
        let word = self.word()?;
        let by_rule = ["45", "22", "23", "44"].iter().any(|class| word.state.starts_with(class))
            // SIGNAL, CHECK (MySQL), a trigger on its own table, of a user who is gone, with a
            // missing procedure or without a right, a value that a column does not take.
            || matches!(
                word.code,
                1305 | 1364 | 1366 | 1370 | 1442 | 1449 | 1643 | 1644 | 3819 | 4025
            );
        let by_its_trigger = match word.code {
            1142 | 1143 | 1146 => !word.message.contains("torrents"),
            1054 => !OUR_COLUMNS.iter().any(|ours| word.message.contains(&format!("'{ours}'"))),
            _ => false,
        };
        (by_rule || by_its_trigger).then(|| columns::one_line(&word.message))
    }
}

/// What a statement does to which table: `UPDATE torrents`, without a value.
fn gist(sql: &str) -> String {
    let mut words =
        sql.split(|c: char| c.is_whitespace() || c == '(').filter(|word| !word.is_empty());
    let verb = words.next().unwrap_or_default();
    let table = match verb {
        "SELECT" | "INSERT" | "DELETE" => {
            words.find(|word| matches!(*word, "FROM" | "INTO")).and_then(|_| words.next())
        }
        _ => words.next(),
    };
    table.map_or_else(|| verb.to_owned(), |table| format!("{verb} {table}"))
}

/// The names of the database and its server, for messages: never with a user or a password.
#[derive(Clone, Debug)]
pub(super) struct NamedDatabase {
    /// Host and port, or the path of the socket.
    pub(super) server: String,
    /// The database's name.
    pub(super) name: String,
}

/// The driver's own error in reading or writing, if it is one.
fn io_error(error: &Error) -> Option<&IoError> {
    match error {
        Error::IoError(error) => Some(error),
        Error::CodecError(error) => std::error::Error::source(error)?.downcast_ref(),
        _ => None,
    }
}

/// Whether a time limit has passed. A socket with a time-out says `WouldBlock` on Linux.
fn is_time_limit(error: &Error) -> bool {
    matches!(error, Error::DriverError(DriverError::ConnectTimeout | DriverError::Timeout))
        || io_error(error).is_some_and(|error| {
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        })
}

fn is_cut(error: &Error) -> bool {
    match error {
        Error::MySqlError(word) => is_cut_word(word),
        // Codec errors, too: the last words to a killed connection come out of sequence.
        Error::IoError(_) | Error::CodecError(_) | Error::DriverError(_) => !is_time_limit(error),
        _ => false,
    }
}

/// Shutdown in progress; a cluster's node that is not ready; network errors; connection killed
/// (MariaDB); disconnected for being idle (MySQL 8).
fn is_cut_word(word: &MySqlError) -> bool {
    matches!(word.code, 1047 | 1053 | 1158..=1161 | 1927 | 4031)
}

impl NamedDatabase {
    /// What to tell the operator.
    pub(super) fn explain(&self, fault: &Fault, limits: TimeLimits) -> DatabaseError {
        match fault {
            Fault::Told(error, asked) => self.explain_error(error, asked.as_deref(), limits),
            Fault::Panicked(text) => self.explain_panic(text),
        }
    }

    fn about(&self, text: &str) -> String {
        format!("MySQL at {}: {}", self.server, redact(text))
    }

    /// The server's words in a line.
    fn said(word: &MySqlError) -> String {
        columns::one_line(&word.message)
    }

    /// The driver panics where a server asks for what it was not built to speak; anything else
    /// comes of packets that are no MySQL.
    fn explain_panic(&self, text: &str) -> DatabaseError {
        if let Some(plugin) = unknown_plugin(text) {
            return DatabaseError::Denied(self.about(&format!(
                "asks for the authentication plugin {plugin}, which is not built in; run: ALTER \
                 USER the tracker's user IDENTIFIED VIA mysql_native_password USING \
                 PASSWORD('...')"
            )));
        }
        let line: String =
            text.chars().take_while(|c| !c.is_control()).take(PANIC_CHARS_MAX).collect();
        DatabaseError::Away(
            self.about(&format!("the driver cannot read what the server says: {line}")),
        )
    }

    fn explain_error(
        &self,
        error: &Error,
        asked: Option<&str>,
        limits: TimeLimits,
    ) -> DatabaseError {
        let about = |text: &str| self.about(text);
        match error {
            _ if is_time_limit(error) => {
                let limit = if io_error(error).is_some() { limits.answer } else { limits.connect };
                DatabaseError::Away(about(&format!("no answer within {}", seconds(limit))))
            }
            Error::MySqlError(word) => self.explain_word(word, asked),
            Error::DriverError(
                DriverError::UnknownAuthPlugin(_)
                | DriverError::OldMysqlPasswordDisabled
                | DriverError::CleartextPluginDisabled
                | DriverError::UnsupportedProtocol(_)
                | DriverError::Protocol41NotSet,
            ) => DatabaseError::Denied(about(&format!(
                "{error}; give the tracker's user a plain password"
            ))),
            Error::DriverError(DriverError::TlsNotSupported) => DatabaseError::Denied(about(
                "the server offers no TLS; write ?ssl_mode=disabled, or set it up there",
            )),
            Error::TlsError(_) => DatabaseError::Denied(about(&not_trusted(&error.to_string()))),
            Error::DriverError(DriverError::CouldNotConnect(Some((_, reason, _)))) => {
                DatabaseError::Away(about(reason))
            }
            _ => {
                let text = io_error(error).map_or_else(|| error.to_string(), IoError::to_string);
                let text = columns::one_line(&text);
                match text.contains("certificate") {
                    true => DatabaseError::Denied(about(&not_trusted(&text))),
                    false => DatabaseError::Away(about(&text)),
                }
            }
        }
    }

    /// What the server says, and to what.
    fn explain_word(&self, word: &MySqlError, asked: Option<&str>) -> DatabaseError {
        let name = &self.name;
        let said = match asked {
            Some(asked) => format!("{asked}: {}", NamedDatabase::said(word)),
            None => NamedDatabase::said(word),
        };
        let with = |advice: &str| self.about(&format!("{said}; {advice}"));
        match word.code {
            1045 | 1130 | 1698 => DatabaseError::Denied(with(
                "check the user and the password, and from where the user may connect",
            )),
            1044 | 1142 | 1143 | 1370 => DatabaseError::Denied(with(&format!(
                "run: GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO the tracker's user"
            ))),
            1129 => DatabaseError::Denied(with("run: mysqladmin flush-hosts")),
            3159 => DatabaseError::Denied(with("write ?ssl_mode=required behind the URL")),
            1524 | 1820 | 1862 | 3118 | 4151 => {
                DatabaseError::Denied(with("see to the tracker's user at the server"))
            }
            1049 => DatabaseError::Denied(with(&format!(
                "run: mysqladmin create {name}; mysql {name} < schema/mysql.sql"
            ))),
            1146 => DatabaseError::Unfit(with(&format!("run: mysql {name} < schema/mysql.sql"))),
            1054 => DatabaseError::Unfit(with(&format!(
                "run: mysql {name} < schema/from-php-tracker.sql"
            ))),
            1205 | 1969 | 3024 => DatabaseError::Away(with(
                "somebody keeps the table locked (ALTER TABLE, LOCK TABLES, a backup), or the \
                 server is slow: see SHOW PROCESSLIST",
            )),
            1290 | 1792 | 1836 => {
                DatabaseError::Refused(with("it is a replica, or may only be read for now"))
            }
            _ if is_cut_word(word) => DatabaseError::Away(self.about(&said)),
            _ => DatabaseError::Refused(self.about(&said)),
        }
    }
}

/// What to do about a certificate.
fn not_trusted(text: &str) -> String {
    format!(
        "TLS: {text}; name the authority of the server's certificate by ?ssl_ca=PATH, and the host \
         as the certificate does"
    )
}

/// The plugin that the driver says it was built without.
fn unknown_plugin(panic: &str) -> Option<&str> {
    let (before, _) = panic.split_once("` authentication plugin")?;
    before.rsplit_once('`').map(|(_, name)| name)
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_without_its_values() {
        let rows = [
            ("UPDATE torrents SET downloaded = 1", "UPDATE torrents"),
            ("SELECT infohash, name FROM torrents WHERE 1", "SELECT torrents"),
            ("INSERT INTO flushes (node) VALUES (x'00')", "INSERT flushes"),
            ("DELETE FROM torrents WHERE infohash IN (x'00')", "DELETE torrents"),
            ("SHOW COLUMNS FROM torrents", "SHOW COLUMNS"),
            ("COMMIT", "COMMIT"),
            ("", ""),
        ];
        for (sql, named) in rows {
            assert_eq!(gist(sql), named, "{sql:?}");
        }
    }

    fn told(code: u16, state: &str, message: &str) -> Fault {
        let (state, message) = (state.to_owned(), message.to_owned());
        Fault::from(Error::MySqlError(MySqlError { state, message, code }))
    }

    #[test]
    fn what_stands_against_a_row_is_told_from_what_stands_against_the_tracker() {
        let rows = [
            (1644, "45000", "by a SIGNAL", true),
            (1644, "23505", "by a SIGNAL of another state", true),
            (3819, "HY000", "Check constraint 'few' is violated.", true),
            (4025, "23000", "CONSTRAINT `few` failed for `d`.`torrents`", true),
            (1451, "23000", "Cannot delete or update a parent row", true),
            (1452, "23000", "Cannot add or update a child row", true),
            (1062, "23000", "Duplicate entry '1' for key 'PRIMARY'", true),
            (1146, "42S02", "Table 'd.log' doesn't exist", true),
            (1146, "42S02", "Table 'd.torrents' doesn't exist", false),
            (1142, "42000", "INSERT command denied to user 'u'@'h' for table `d`.`log`", true),
            (
                1142,
                "42000",
                "UPDATE command denied to user 'u'@'h' for table `d`.`torrents`",
                false,
            ),
            (1054, "42S22", "Unknown column 'points' in 'NEW'", true),
            (1054, "42S22", "Unknown column 'updated' in 'field list'", false),
            (1205, "HY000", "Lock wait timeout exceeded", false),
            (1213, "40001", "Deadlock found", false),
            (1290, "HY000", "The server is running with the --read-only option", false),
            (1114, "HY000", "The table 'torrents' is full", false),
            (1969, "70100", "Query execution was interrupted", false),
            (1927, "70100", "Connection was killed", false),
        ];
        for (code, state, message, is_of_row) in rows {
            let refusal = told(code, state, message).row_refusal().is_some();
            assert_eq!(refusal, is_of_row, "{code}: {message}");
        }
    }
}
