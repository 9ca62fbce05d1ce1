//! Where a MySQL database is, out of a URL.
//!
//! Owns: what is wrong with a URL, in one line without a password. Never: a connection.

use mysql::{Opts, OptsBuilder, UrlError};

use crate::config::DatabaseUrl;
use crate::registry::database::mysql::failure::NamedDatabase;
use crate::registry::database::mysql::fence::fenced;
use crate::registry::database::mysql::tls::Tls;

const CANNOT_BE_READ: &str = "cannot be read: in a user or a password, @ is written %40, / %2F, : \
                              %3A, ? %3F, # %23 and % %25";

/// Where a MySQL database is, and as whom to connect.
#[derive(Clone)]
pub(in crate::registry::database) struct Address {
    pub(super) opts: Opts,
    pub(super) database: NamedDatabase,
    /// Whether the certificate must be of the host by its name, so that no address of it may stand
    /// in its place.
    pub(super) verifies_host: bool,
}

impl Address {
    /// Reads `mysql://USER:PASSWORD@HOST:PORT/NAME`, perhaps with parameters of the driver's.
    ///
    /// # Errors
    /// One line on what is wrong with the URL, without quoting it.
    pub(in crate::registry::database) fn parse(url: &DatabaseUrl) -> Result<Address, String> {
        fenced(|| Address::read(url.secret())).unwrap_or_else(|_| Err(CANNOT_BE_READ.to_owned()))
    }

    fn read(url: &str) -> Result<Address, String> {
        if let Some(port) = port_of_nobody(url) {
            return Err(format!("has the port {port}, but ports end at 65535; MySQL's is 3306"));
        }
        let (tls, rest) = Tls::take(url)?;
        let opts = Opts::from_url(&rest).map_err(|error| describe(&error, url))?;
        if opts.get_ssl_opts().is_some() {
            return Err("asks for TLS in other words: write ssl_mode=required".to_owned());
        }
        let Some(name) = opts.get_db_name().filter(|name| !name.is_empty()) else {
            return Err(
                "names no database: it ends with /NAME, as in mysql://USER:PASSWORD@HOST/NAME"
                    .to_owned(),
            );
        };
        if opts.get_user().is_none_or(str::is_empty) {
            return Err(
                "names no user: mysql://USER:PASSWORD@HOST/NAME, or mysql://USER@HOST/NAME \
                 without a password"
                    .to_owned(),
            );
        }
        let server = match opts.get_socket() {
            Some(socket) => socket.to_owned(),
            None => format!("{}:{}", opts.get_ip_or_hostname(), opts.get_tcp_port()),
        };
        let database = NamedDatabase { server, name: name.to_owned() };
        // The driver prefers a socket unless told otherwise, and so would reach another server
        // where only a port is forwarded.
        let prefer_socket = opts.get_prefer_socket() && url.contains("prefer_socket=true");
        let opts = OptsBuilder::from_opts(opts).prefer_socket(prefer_socket);
        let opts = opts.ssl_opts(tls.options()?).into();
        Ok(Address { opts, database, verifies_host: tls.verifies_host() })
    }

    /// The server and the database's name there, without the user.
    pub(in crate::registry::database) fn database_name(&self) -> String {
        format!("{}/{}", self.database.server, self.database.name)
    }
}

/// The port of a URL that is past the last one.
fn port_of_nobody(url: &str) -> Option<&str> {
    let (_, authority) = url.split_once("://")?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let authority = authority.split(['/', '?']).next()?;
    let (_, port) = authority.rsplit_once(':')?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && port.parse::<u16>().is_err()).then_some(port)
}

/// What is wrong with a URL. A `?` in a password that is not escaped makes the rest of it a
/// parameter, so that none is quoted then.
fn describe(error: &UrlError, url: &str) -> String {
    let password_may_be_split = url.split_once('?').is_some_and(|(_, rest)| rest.contains('@'));
    match error {
        UrlError::UnknownParameter(_)
        | UrlError::InvalidValue(..)
        | UrlError::FeatureRequired(..)
            if password_may_be_split =>
        {
            "has a ? before the @: in a password, ? is written %3F".to_owned()
        }
        UrlError::UnknownParameter(name) => format!("has an unknown parameter {name}"),
        UrlError::InvalidValue(name, _) => format!("has a parameter {name} that cannot be read"),
        UrlError::FeatureRequired(_, name) => {
            format!("has a parameter {name} that is not built in; for TLS, write ssl_mode=required")
        }
        _ => CANNOT_BE_READ.to_owned(),
    }
}
