//! What it means that SQLite has not answered, for the operator.
//!
//! Owns: which errors are a file's, which a lock's and which the tables', and the texts.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Error, ErrorCode};

use crate::registry::database::columns;
use crate::registry::database::traits::DatabaseError;

/// What to do about a file whose tables are not these.
const OTHER_TABLES: &str = "the tables must be as in schema/sqlite.sql; name another file";

/// Why a question was not answered.
pub(super) enum Failure {
    Sqlite(Error),
    /// The file, as it is found before it is opened, is not the one; what is wrong with it.
    File(String),
    /// A trigger has undone the whole transaction (`RAISE(ROLLBACK)`).
    RolledBack,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Sqlite(error)
    }
}

impl Failure {
    /// What to tell the operator of the file at `path`, whose lock was waited for so long.
    pub(super) fn explain(self, path: &Path, lock_wait: Duration) -> DatabaseError {
        let about =
            |text: &str| format!("SQLite file {}: {}", path.display(), columns::one_line(text));
        let unfit = |text: &str| DatabaseError::Unfit(about(text));
        let error = match self {
            Failure::Sqlite(error) => error,
            Failure::File(problem) => return unfit(&problem),
            Failure::RolledBack => return unfit("a trigger undoes what is written"),
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                let waited_s = lock_wait.as_secs_f32();
                DatabaseError::Away(about(&format!(
                    "another process has kept it locked for {waited_s} s"
                )))
            }
            Some(ErrorCode::NotADatabase) => unfit("this is no SQLite database; name another file"),
            Some(ErrorCode::DatabaseCorrupt) => {
                unfit("damaged; restore it, or see sqlite3's .recover")
            }
            Some(ErrorCode::CannotOpen) => unfit(
                "cannot be opened or made; does its directory exist, and may the tracker write \
                 there?",
            ),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => DatabaseError::Denied(
                about("may not be written to; it and its directory must be the tracker's"),
            ),
            Some(ErrorCode::Unknown | ErrorCode::ConstraintViolation) => {
                unfit(&format!("{error}; {OTHER_TABLES}"))
            }
            _ => match error {
                // Its own text quotes all of the SQL.
                Error::SqlInputError { msg, .. } => unfit(&format!("{msg}; {OTHER_TABLES}")),
                _ => DatabaseError::Refused(about(&error.to_string())),
            },
        }
    }
}
