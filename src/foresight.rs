//! What would keep a tracker from starting, found before it is tried.
//!
//! Owns: what can be seen of the settings and the machine without opening or making anything: a
//! database's URL that names none, and directories that are not there. The check of a settings file
//! and the start say the same of it.
//!
//! Never: whether an address can be bound or a directory written to; that is found out by doing it.

use std::path::Path;

use crate::config::{Config, Problem};
use crate::registry::Source;
use crate::state_directory::StateDirectory;

/// Everything that is wrong.
pub fn foresee(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(unfit) = StateDirectory::look(&config.server.state_directory) {
        let value = format!("{:?}", config.server.state_directory);
        problems.push(Problem { key: "server.state_directory", value, rule: unfit.rule() });
    }
    let url = &config.database.url;
    let mut wrong_url = |rule| {
        problems.push(Problem { key: "database.url", value: format!("{url:?}"), rule });
    };
    if let Err(problem) = Source::parse(url) {
        let named = format!("the database {:?} ", url.to_string());
        wrong_url(problem.strip_prefix(&named).unwrap_or(&problem).to_owned());
    }
    let file = Path::new(url.secret().strip_prefix("sqlite:").unwrap_or_default());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(Err(unfit)) = folder.map(StateDirectory::look) {
        wrong_url(format!("the file's directory: {}", unfit.rule()));
    }
    problems
}
