//! A FIFO, where a test wants something else than a file.

use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Makes one, whose ends nobody holds.
pub(crate) fn make(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}
