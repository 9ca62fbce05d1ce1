//! The section `[admin]`: the pages for the operator.
//!
//! As in `sections`, the doc comments are what `announced config` prints.

use std::net::SocketAddr;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

use crate::config::value::{self, WrongListen};

const LISTEN_DEFAULT: &str = "127.0.0.1:6970";

/// Pages for the operator: /metrics for Prometheus, /health, /stats.json, and / for a browser.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Documented, DocumentedFields)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// The address of these pages, IP:PORT; "" turns them off. They need no password, so the
    /// default is for this machine alone, and the tracker starts without them where that address is
    /// taken. Any other address that is taken is an error. Needs a restart.
    pub listen: String,

    /// Names under which a browser may ask for them, such as ["stats.example"], beside addresses
    /// and localhost. Empty, because another site could lead a browser here by a name of its own.
    /// Needs a restart.
    pub hosts: Vec<String>,
}

impl AdminConfig {
    /// The address; none if the pages are off.
    ///
    /// # Errors
    /// When it is none.
    pub fn address(&self) -> Result<Option<SocketAddr>, WrongListen> {
        match self.listen.as_str() {
            "" => Ok(None),
            listen => value::listen_address(listen).map(Some),
        }
    }

    /// Whether the address is the default: then it may be taken.
    pub fn is_default(&self) -> bool {
        self.listen == LISTEN_DEFAULT
    }
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        AdminConfig { listen: LISTEN_DEFAULT.to_owned(), hosts: Vec::new() }
    }
}
