//! What an error of the server's or the driver's means: for the next step, and for the operator.
//!
//! Owns: which errors say that a connection was cut, which that a transaction met another's, what
//! it means that the driver panicked, and the texts. None quotes a password: none quotes the URL at
//! all.
//!
//! Limits: of a panic's text, [`PANIC_CHARS_MAX`] characters.

use std::io::{Error as IoError, ErrorKind};
use std::time::Duration;

use mysql::{DriverError, Error};

use crate::config::redact;
use crate::registry::database::traits::{DatabaseError, TimeLimits};

/// Characters of a panic's text that a message quotes.
const PANIC_CHARS_MAX: usize = 200;

/// Why the driver did not do what it was asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// By its own or the server's word.
    Told(Error),
    /// It panicked, with this text: it has met what it cannot read, or does not speak.
    Panicked(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Told(error)
    }
}

impl Fault {
    /// Whether a server has said something: what is at the other end is one, or passes for one.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Fault::Told(Error::MySqlError(_)) | Fault::Panicked(_))
    }

    /// Whether the server, or something between, has ended the connection, or what was read of it
    /// makes no sense: a new one may well work.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Fault::Told(error) => is_cut(error),
            Fault::Panicked(_) => true,
        }
    }

    /// Whether a transaction has met another one, and may go through when tried again: lock wait
    /// timeout, deadlock, or a row that somebody else has inserted since it was found missing.
    pub(super) fn is_collision(&self) -> bool {
        matches!(self, Fault::Told(Error::MySqlError(error))
            if matches!(error.code, 1205 | 1213 | 1062))
    }
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
        // Shutdown in progress; network errors; connection killed (MariaDB); disconnected for being
        // idle (MySQL 8).
        Error::MySqlError(error) => matches!(error.code, 1053 | 1158..=1161 | 1927 | 4031),
        // Codec errors, too: the last words to a killed connection come out of sequence.
        Error::IoError(_) | Error::CodecError(_) | Error::DriverError(_) => !is_time_limit(error),
        _ => false,
    }
}

impl NamedDatabase {
    /// What to tell the operator.
    pub(super) fn explain(&self, fault: &Fault, limits: TimeLimits) -> DatabaseError {
        match fault {
            Fault::Told(error) => self.explain_error(error, limits),
            Fault::Panicked(text) => self.explain_panic(text),
        }
    }

    fn about(&self, text: &str) -> String {
        format!("MySQL at {}: {}", self.server, redact(text))
    }

    /// The driver knows the names of two ways to log in that it was not built to speak, and panics
    /// when a server asks for one of them; anything else comes of packets that are no MySQL.
    fn explain_panic(&self, text: &str) -> DatabaseError {
        if let Some(plugin) = unknown_plugin(text) {
            return DatabaseError::Unfit(self.about(&format!(
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

    fn explain_error(&self, error: &Error, limits: TimeLimits) -> DatabaseError {
        let name = &self.name;
        let about = |text: &str| self.about(text);
        match error {
            _ if is_time_limit(error) => {
                let limit = if io_error(error).is_some() { limits.answer } else { limits.connect };
                DatabaseError::Away(about(&format!("no answer within {}", seconds(limit))))
            }
            Error::MySqlError(error) => {
                let advice = match error.code {
                    1045 | 1130 | 1698 => "check the user and the password, and from where the \
                                           user may connect"
                        .to_owned(),
                    1044 | 1142 | 1143 => format!(
                        "run: GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO the tracker's \
                         user"
                    ),
                    1049 => {
                        format!("run: mysqladmin create {name}; mysql {name} < schema/mysql.sql")
                    }
                    1146 => format!("run: mysql {name} < schema/mysql.sql"),
                    1054 => format!("run: mysql {name} < schema/from-php-tracker.sql"),
                    _ => return DatabaseError::Away(about(&error.message)),
                };
                DatabaseError::Unfit(about(&format!("{}; {advice}", error.message)))
            }
            Error::DriverError(
                DriverError::UnknownAuthPlugin(_)
                | DriverError::OldMysqlPasswordDisabled
                | DriverError::CleartextPluginDisabled
                | DriverError::UnsupportedProtocol(_)
                | DriverError::Protocol41NotSet,
            ) => DatabaseError::Unfit(about(&format!(
                "{error}; give the tracker's user a plain password"
            ))),
            Error::DriverError(DriverError::CouldNotConnect(Some((_, reason, _)))) => {
                DatabaseError::Away(about(reason))
            }
            _ => DatabaseError::Away(about(
                &io_error(error).map_or_else(|| error.to_string(), IoError::to_string),
            )),
        }
    }
}

/// The plugin that the driver says it was built without.
fn unknown_plugin(panic: &str) -> Option<&str> {
    let (before, _) = panic.split_once("` authentication plugin")?;
    before.rsplit_once('`').map(|(_, name)| name)
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f32())
}
