//! Announces over UDP: the section `udp`.
//!
//! The doc comments of the fields are what `announced config` prints above each key, as in
//! `sections`.
//!
//! Never: checks a value (`validate`).

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

use crate::config::value::UdpListen;

/// Announces over UDP (udp:// announce URLs), beside those over HTTP and in the same swarms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, Documented, DocumentedFields)]
#[serde(deny_unknown_fields, default)]
pub struct UdpConfig {
    /// Addresses for UDP, as server.listen has them for HTTP. The default, "server.listen", is the
    /// same addresses, but for those with proxy_protocol: UDP has none, and everybody would have
    /// the proxy's address. [] turns UDP off. Needs a restart.
    pub listen: UdpListen,

    /// Bytes of datagrams that wait to be read, for each worker and address; what comes when it is
    /// full is dropped, and counted. The kernel cuts it to net.core.rmem_max (212992 by default),
    /// and the log says so at the start. A waiting announce takes about 1 KB. A socket of systemd
    /// has what its ReceiveBuffer= says. Needs a restart.
    pub receive_buffer: u32,
}

impl Default for UdpConfig {
    fn default() -> UdpConfig {
        UdpConfig { listen: UdpListen::default(), receive_buffer: 4 << 20 }
    }
}
