//! What an error of the server's or the driver's means: for the next step, and for the operator.
//!
//! Owns: which errors say that a connection was cut, which that a transaction met another's, and
//! the texts. None quotes a password: none quotes the URL at all.

use std::io::{Error as IoError, ErrorKind};
use std::time::Duration;

use mysql::{DriverError, Error};

use crate::config::redact;
use crate::registry::database::{DatabaseError, TimeLimits};

/// Where the database is, for messages: never with a user or a password.
#[derive(Clone, Debug)]
pub(super) struct Place {
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

/// Whether the server, or something between, has ended the connection: a new one may well work.
pub(super) fn is_cut(error: &Error) -> bool {
    match error {
        // Shutdown in progress; network errors; connection killed (MariaDB); disconnected for being
        // idle (MySQL 8).
        Error::MySqlError(error) => matches!(error.code, 1053 | 1158..=1161 | 1927 | 4031),
        // Codec errors, too: the last words to a killed connection come out of sequence.
        Error::IoError(_) | Error::CodecError(_) | Error::DriverError(_) => !is_time_limit(error),
        _ => false,
    }
}

/// Whether a transaction has met another one, and may go through when tried again: lock wait
/// timeout, deadlock, or a row that somebody else has inserted since it was found missing.
pub(super) fn is_collision(error: &Error) -> bool {
    matches!(error, Error::MySqlError(error) if matches!(error.code, 1205 | 1213 | 1062))
}

impl Place {
    /// What to tell the operator.
    pub(super) fn explain(&self, error: &Error, limits: TimeLimits) -> DatabaseError {
        let Place { server, name } = self;
        let about = |text: &str| format!("MySQL at {server}: {}", redact(text));
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

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f32())
}
