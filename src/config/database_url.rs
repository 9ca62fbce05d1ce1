//! The database's URL, which may hold a password.
//!
//! Owns: the one value that must never be shown whole. `Debug`, `Display` and `Serialize` of
//! [`DatabaseUrl`] are redacted; only [`DatabaseUrl::secret`] gives the text itself, to the code
//! that connects. [`redact`] does the same for a line of text that may quote such a URL.
//!
//! Never does: judge whether the URL can be used; that is the validation's and the database's
//! business. Redaction therefore works on anything, and where it cannot tell, it hides too much.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

const HIDDEN: &str = "***";

/// Parameters of a URL whose values are no secret.
const SHOWN_PARAMETERS: [&str; 9] = [
    "socket",
    "prefer_socket",
    "ssl_mode",
    "ssl_ca",
    "compress",
    "tcp_connect_timeout_ms",
    "tcp_keepalive_time_ms",
    "tcp_nodelay",
    "stmt_cache_size",
];

/// Where the database is: `memory`, `sqlite:PATH`, or `mysql://USER:PASSWORD@HOST:PORT/NAME`;
/// `mariadb://` is the same.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// No database.
    pub fn memory() -> DatabaseUrl {
        DatabaseUrl::from("memory".to_owned())
    }

    /// Whether it is of a form that names a database.
    pub fn is_known(&self) -> bool {
        let names = |scheme| self.0.strip_prefix(scheme).is_some_and(|rest: &str| !rest.is_empty());
        self.is_memory() || names("sqlite:") || names("mysql://")
    }

    /// The right spelling of an SQLite URL with `//`, which is no URL of a file here: none when it
    /// is none of those.
    pub fn sqlite_without_slashes(&self) -> Option<String> {
        let path = self.0.strip_prefix("sqlite://")?;
        // As other programs mean it: three slashes begin an absolute path.
        let path = path
            .strip_prefix('/')
            .map_or(path.to_owned(), |path| format!("/{}", path.trim_start_matches('/')));
        Some(format!("sqlite:{}", if path.is_empty() { "announced.db" } else { &path }))
    }

    /// Whether it is `memory`.
    pub fn is_memory(&self) -> bool {
        self.0 == "memory"
    }

    /// The URL with its password. For connecting; never for a message.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

/// The embedded database, in the working directory: trying the tracker out takes no server, and
/// what is counted stays.
impl Default for DatabaseUrl {
    fn default() -> DatabaseUrl {
        DatabaseUrl::from("sqlite:announced.db".to_owned())
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> DatabaseUrl {
        match url.strip_prefix("mariadb://") {
            Some(rest) => DatabaseUrl(format!("mysql://{rest}")),
            None => DatabaseUrl(url),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = Infallible;

    fn from_str(url: &str) -> Result<DatabaseUrl, Infallible> {
        Ok(DatabaseUrl::from(url.to_owned()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.0.find("://").map_or(0, |at| at + 3);
        f.write_str(&hide_credentials(&self.0, start))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `text` without the password of any URL that it quotes. Line by line; a line without a URL stays
/// as it is.
pub fn redact(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.find("://") {
            Some(at) => hide_credentials(line, at + 3),
            None => line.to_owned(),
        })
        .collect()
}

/// Hides what stands between the first `:` after `start` and the last `@` (a password may hold an
/// unescaped `@`, `/` or `?`), and the parameters that are not known to be no secret. Without an
/// `@`, a colon that no port number follows is a password whose host was forgotten.
fn hide_credentials(text: &str, start: usize) -> String {
    let (scheme, rest) = text.split_at(start);
    let (user, shown_from) = match (rest.find(':'), rest.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => (&rest[..=colon], at),
        (Some(colon), None) if start > 0 && !port_follows(&rest[colon + 1..]) => {
            (&rest[..=colon], rest.len())
        }
        _ => ("", 0),
    };
    let hidden = if user.is_empty() { "" } else { HIDDEN };
    let shown = match rest[shown_from..].split_once('?') {
        Some((before, parameters)) => format!("{before}?{}", shown_parameters(parameters)),
        None => rest[shown_from..].to_owned(),
    };
    format!("{scheme}{user}{hidden}{shown}")
}

fn shown_parameters(parameters: &str) -> String {
    let show = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if SHOWN_PARAMETERS.contains(&name) => parameter.to_owned(),
        _ => HIDDEN.to_owned(),
    };
    parameters.split('&').map(show).collect::<Vec<_>>().join("&")
}

fn port_follows(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && !text[digits..].starts_with(|next: char| next.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let rows = [
            ("memory", "memory"),
            ("mysql://root:hunter2@db:3306/tracker", "mysql://root:***@db:3306/tracker"),
            ("mysql://root:hun@ter2@db/tracker", "mysql://root:***@db/tracker"),
            ("mysql://root:hun/ter2?@db/tracker", "mysql://root:***@db/tracker"),
            ("mysql://root:hun:ter2@[::1]:3306/tracker", "mysql://root:***@[::1]:3306/tracker"),
            ("mysql://:hunter2@db/tracker", "mysql://:***@db/tracker"),
            ("mysql://root:hunter2", "mysql://root:***"),
            ("mysql://root:1hunter2", "mysql://root:***"),
            ("mysql://db/tracker?password=hunter2", "mysql://db/tracker?***"),
            (
                "mysql://root:hunter2@localhost/tracker?socket=/run/mysqld/mysqld.sock&key=hunter2",
                "mysql://root:***@localhost/tracker?socket=/run/mysqld/mysqld.sock&***",
            ),
            ("mysql://root@db:3306/tracker", "mysql://root@db:3306/tracker"),
            ("mysql://db:3306/tracker", "mysql://db:3306/tracker"),
            ("root:hunter2@db/tracker", "root:***@db/tracker"),
            ("mysql:root:hunter2@db/tracker", "mysql:***@db/tracker"),
            ("sqlite:announced.db", "sqlite:announced.db"),
            ("", ""),
        ];
        for (url, shown) in rows {
            let database = DatabaseUrl::from(url.to_owned());
            assert_eq!(database.to_string(), shown);
            assert_eq!(format!("{database:?}"), format!("{shown:?}"));
            assert_eq!(database.secret(), url);
        }
    }

    #[test]
    fn mariadb_is_another_word_for_mysql() {
        let url = DatabaseUrl::from("mariadb://root:hunter2@db/tracker".to_owned());
        assert_eq!(url.secret(), "mysql://root:hunter2@db/tracker");
        assert!(url.is_known());
    }

    #[test]
    fn only_lines_with_a_url_are_touched() {
        let text = "a: user@host\nunrecognized 'mysql://root:hunter2@db/x'\nusage: b\n";
        assert_eq!(redact(text), "a: user@host\nunrecognized 'mysql://root:***@db/x'\nusage: b\n");
        assert_eq!(redact("unrecognized 'mysql://root:hunter2'"), "unrecognized 'mysql://root:***");
    }
}
