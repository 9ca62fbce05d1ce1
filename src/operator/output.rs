//! What the command writes, and to whom.
//!
//! Owns: lines of results, problems, and the end of a command that cannot go on.
//!
//! Never: lets a stranger's text reach a terminal as it is.

use std::fmt;
use std::io::{self, Write};

use crate::config::redact;
use crate::registry::database::DatabaseError;

/// Characters of somebody else's text that a message quotes.
const QUOTED_CHARS_MAX: usize = 255;

/// Is told of each problem that does not end the command.
pub type Complain<'c> = dyn FnMut(&str) + 'c;

/// Why a command ended before its end.
#[derive(Debug)]
pub enum Trouble {
    /// The database could not be asked.
    Database(DatabaseError),
    /// The file to import could not be read on.
    Input(io::Error),
    /// Nothing can be written any more.
    Output(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Database(error) => error.fmt(f),
            Trouble::Input(error) => error.fmt(f),
            Trouble::Output(error) => write!(f, "cannot write to stdout: {error}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Trouble {
        Trouble::Database(error)
    }
}

/// Writes a line about a change that has been made. A reader who has seen enough does not keep the
/// rest from being made.
pub(super) fn say(out: &mut dyn Write, line: &str) -> Result<(), Trouble> {
    match writeln!(out, "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Trouble::Output(error)),
        _ => Ok(()),
    }
}

/// Text from a stranger as a terminal can bear it: no control characters, none that turn the line
/// round, and no password where a URL has gone astray.
pub(super) fn printable(text: &str) -> String {
    redact(text)
        .chars()
        .filter(|c| !is_bidirectional_control(*c))
        .take(QUOTED_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Marks, embeddings, overrides and isolates: after U+202E the rest of a line runs from right to
/// left.
fn is_bidirectional_control(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_be_turned_round() {
        for (text, shown) in [
            ("a\u{202e}gpj.exe", "agpj.exe"),
            ("\u{2067}x\u{2069}\u{200f}\u{61c}y", "xy"),
            ("שלום", "שלום"),
            ("a\u{1b}[2Jb", "a [2Jb"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
        }
    }
}
