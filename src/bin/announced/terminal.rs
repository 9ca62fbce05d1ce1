//! What the program says on its standard streams, beside the log.
//!
//! Never: panics when nobody reads. A reader that has seen enough is no error.

use std::io::{self, Write};

/// Writes to stdout. A reader that has seen enough (`announced config | head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Vec<String>> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(vec![format!("cannot write to stdout: {error}")])
        }
        _ => Ok(()),
    }
}

/// Writes warnings to stderr, one line for each.
pub(crate) fn warn_of(warnings: &[String]) {
    let lines = warnings.iter().map(|warning| format!("announced: warning: {warning}\n"));
    complain(&lines.collect::<String>());
}

/// Writes to stderr; when even that is closed, the exit code must do.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
