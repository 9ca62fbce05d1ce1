//! How a connection to a MySQL server is encrypted, out of the URL.
//!
//! Owns: the parameters `ssl_mode` and `ssl_ca`, named as MySQL's own clients name them. Without
//! either, a connection is not encrypted; with `ssl_ca` alone, it is `verify-identity`.
//!
//! Limits: the driver believes the public authorities beside `ssl_ca`, so `verify-ca`, which looks
//! at no name, is passed by a certificate of any of them.

use std::fs::File;
use std::path::PathBuf;

use mysql::SslOpts;

const MODES: &str = "disabled, required, verify-ca or verify-identity";

/// What the URL says of it.
#[derive(Debug, Default)]
pub(super) struct Tls {
    mode: Option<Mode>,
    ca: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Disabled,
    Required,
    VerifyCa,
    VerifyIdentity,
}

impl Mode {
    fn parse(text: &str) -> Option<Mode> {
        match text.to_ascii_lowercase().replace('_', "-").as_str() {
            "disabled" => Some(Mode::Disabled),
            "required" => Some(Mode::Required),
            "verify-ca" => Some(Mode::VerifyCa),
            "verify-identity" => Some(Mode::VerifyIdentity),
            _ => None,
        }
    }
}

impl Tls {
    /// Takes the parameters that are about it off `url`; the rest is the driver's to read.
    ///
    /// # Errors
    /// What is wrong with one, without quoting the URL.
    pub(super) fn take(url: &str) -> Result<(Tls, String), String> {
        let mut tls = Tls::default();
        let Some((address, query)) = url.split_once('?') else { return Ok((tls, url.to_owned())) };
        let mut others = Vec::new();
        for parameter in query.split('&') {
            match form_urlencoded::parse(parameter.as_bytes()).next() {
                Some((name, mode)) if name == "ssl_mode" => {
                    let Some(mode) = Mode::parse(&mode) else {
                        return Err(format!("has an ssl_mode that is none of {MODES}"));
                    };
                    tls.mode = Some(mode);
                }
                Some((name, path)) if name == "ssl_ca" => {
                    tls.ca = Some(PathBuf::from(path.as_ref()));
                }
                _ => others.push(parameter),
            }
        }
        let mark = if others.is_empty() { "" } else { "?" };
        Ok((tls, format!("{address}{mark}{}", others.join("&"))))
    }

    /// Whether the server's certificate must be of the host that the URL names.
    pub(super) fn verifies_host(&self) -> bool {
        match self.mode {
            Some(mode) => mode == Mode::VerifyIdentity,
            None => self.ca.is_some(),
        }
    }

    /// The same for the driver; none for a connection that is not encrypted.
    ///
    /// # Errors
    /// When the file of authorities cannot be read, or the mode does not look at it.
    pub(super) fn options(&self) -> Result<Option<SslOpts>, String> {
        let unused = |mode: &str| match &self.ca {
            Some(_) => Err(format!("has an ssl_ca, which ssl_mode={mode} does not look at")),
            None => Ok(()),
        };
        let options = match (self.mode, &self.ca) {
            (Some(Mode::Disabled), _) => return unused("disabled").map(|()| None),
            (None, None) => return Ok(None),
            (Some(Mode::Required), _) => {
                unused("required")?;
                return Ok(Some(SslOpts::default().with_danger_accept_invalid_certs(true)));
            }
            (Some(Mode::VerifyCa), _) => {
                SslOpts::default().with_danger_skip_domain_validation(true)
            }
            (Some(Mode::VerifyIdentity), _) | (None, Some(_)) => SslOpts::default(),
        };
        let Some(path) = &self.ca else { return Ok(Some(options)) };
        File::open(path).map_err(|error| format!("has ssl_ca={}: {error}", path.display()))?;
        Ok(Some(options.with_root_cert_path(Some(path.clone()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_mysql_names_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ca = file.path().display();
        let rows = [
            ("mysql://db/x".to_owned(), "mysql://db/x", Some("none"), false),
            ("mysql://db/x?ssl_mode=disabled".to_owned(), "mysql://db/x", Some("none"), false),
            (
                "mysql://db/x?a=1&ssl_mode=REQUIRED&b=2".to_owned(),
                "mysql://db/x?a=1&b=2",
                Some("any"),
                false,
            ),
            ("mysql://db/x?ssl_mode=verify_ca".to_owned(), "mysql://db/x", Some("ca"), false),
            (
                "mysql://db/x?ssl_mode=VERIFY-IDENTITY".to_owned(),
                "mysql://db/x",
                Some("host"),
                true,
            ),
            (format!("mysql://db/x?ssl_ca={ca}"), "mysql://db/x", Some("host"), true),
            (
                format!("mysql://db/x?ssl_ca={ca}&ssl_mode=verify-ca&a=1"),
                "mysql://db/x?a=1",
                Some("ca"),
                false,
            ),
            (format!("mysql://db/x?ssl_ca={ca}&ssl_mode=required"), "mysql://db/x", None, false),
            ("mysql://db/x?ssl_ca=/no/such".to_owned(), "mysql://db/x", None, true),
        ];
        for (url, rest, checked, verifies_host) in rows {
            let (tls, left) = Tls::take(&url).unwrap();
            assert_eq!(left, rest, "{url}: what is left");
            assert_eq!(tls.verifies_host(), verifies_host, "{url}: whether the host counts");
            let options = tls.options().map(|options| match options {
                None => "none",
                Some(options) if options.accept_invalid_certs() => "any",
                Some(options) if options.skip_domain_validation() => "ca",
                Some(_) => "host",
            });
            assert_eq!(options.ok(), checked, "{url}: what is checked");
        }
        assert!(Tls::take("mysql://db/x?ssl_mode=yes").unwrap_err().contains(MODES));
    }
}
