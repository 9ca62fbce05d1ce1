//! The kinds of value that settings have beside numbers, switches and durations.
//!
//! Owns: their spelling, in the settings file and on the command line alike.
//!
//! Never does: know which setting it is for, or its range.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::canonical;

/// Which torrents are tracked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Any that is not banned.
    #[default]
    Open,
    /// Those that the database lists and does not ban.
    Registered,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Open => "open",
            Mode::Registered => "registered",
        })
    }
}

/// A word that is no [`Mode`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownMode;

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the modes are open and registered")
    }
}

impl std::error::Error for UnknownMode {}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Mode, UnknownMode> {
        [Mode::Open, Mode::Registered]
            .into_iter()
            .find(|mode| mode.to_string() == word)
            .ok_or(UnknownMode)
    }
}

/// Some networks, such as `["10.0.0.0/8", "::1/128"]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether `ip` is in one of them. An IPv4-mapped address is judged as its IPv4 address.
    pub fn contain(&self, ip: IpAddr) -> bool {
        let ip = canonical(ip);
        self.0.iter().any(|network| network.contains(&ip))
    }

    fn read<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Networks, A::Error> {
        let mut networks = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            let network = text.parse().map_err(|_| {
                A::Error::custom(format!("{text:?} is not a network such as \"10.0.0.0/8\""))
            })?;
            networks.push(network);
        }
        Ok(Networks(networks))
    }
}

impl From<Vec<IpNet>> for Networks {
    fn from(networks: Vec<IpNet>) -> Networks {
        Networks(networks)
    }
}

/// Serde's half for `ip_parameter`, which was a word before it was a list of networks.
pub(super) fn deserialize_ip_parameter<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Networks, D::Error> {
    deserializer.deserialize_any(IpParameterVisitor)
}

struct IpParameterVisitor;

impl<'de> Visitor<'de> for IpParameterVisitor {
    type Value = Networks;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of networks such as [\"192.168.0.0/16\"]")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Networks, E> {
        let instead = match word {
            "nat" => {
                "write the networks of clients behind the tracker's own NAT, such as [\"192.168.0.0/16\"]"
            }
            "ignore" => "write []",
            "accept" => "write [\"0.0.0.0/0\", \"::/0\"] if anybody may announce anybody",
            _ => return Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
        };
        Err(E::custom(format!("{word:?} is no longer a value: {instead}")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Networks, A::Error> {
        Networks::read(list)
    }
}

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What somebody must act on.
    Error,
    /// What somebody should know of.
    Warn,
    /// Changes of state, and the counters.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
}

/// Who may scrape all torrents at once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum FullScrape {
    /// Everybody.
    #[default]
    On,
    /// Nobody.
    Off,
    /// Who asks from one of these networks.
    Networks(Networks),
}

impl FullScrape {
    /// Whether `ip` may ask.
    pub fn permits(&self, ip: IpAddr) -> bool {
        match self {
            FullScrape::On => true,
            FullScrape::Off => false,
            FullScrape::Networks(networks) => networks.contain(ip),
        }
    }
}

impl Serialize for FullScrape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            FullScrape::On => serializer.serialize_str("on"),
            FullScrape::Off => serializer.serialize_str("off"),
            FullScrape::Networks(networks) => networks.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FullScrape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FullScrape, D::Error> {
        deserializer.deserialize_any(FullScrapeVisitor)
    }
}

/// By hand, because serde's untagged enums cannot say which network of the list is wrong.
struct FullScrapeVisitor;

impl<'de> Visitor<'de> for FullScrapeVisitor {
    type Value = FullScrape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"on\", \"off\" or a list of networks")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<FullScrape, E> {
        match word {
            "on" => Ok(FullScrape::On),
            "off" => Ok(FullScrape::Off),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<FullScrape, A::Error> {
        Networks::read(list).map(FullScrape::Networks)
    }
}

/// A text that is no address to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongListen;

impl fmt::Display for WrongListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address with a port; write 192.0.2.1:6969, [2001:db8::1]:6969 or :6969")
    }
}

impl std::error::Error for WrongListen {}

/// `IP:PORT`; or `:PORT` or `PORT` alone, which mean every address of the machine.
pub fn listen_address(text: &str) -> Result<SocketAddr, WrongListen> {
    let port = text.strip_prefix(':').unwrap_or(text);
    match port.parse::<u16>() {
        Ok(port) if !text.starts_with('+') => Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        _ => text.parse().map_err(|_| WrongListen),
    }
}

/// Serde's two halves for a list of addresses to listen on.
pub(super) mod listen_addresses {
    use std::net::SocketAddr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::config::value::listen_address;

    pub(in crate::config) fn serialize<S: Serializer>(
        addresses: &[SocketAddr],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(addresses)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<SocketAddr>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts
            .iter()
            .map(|text| {
                listen_address(text)
                    .map_err(|error| D::Error::custom(format!("{text:?} is {error}")))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_may_be_a_bare_port() {
        let rows = [
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            ("[::1]:6969", Some("[::1]:6969")),
            (":80", Some("[::]:80")),
            ("80", Some("[::]:80")),
            ("127.0.0.1", None),
            ("::1", None),
            ("localhost:80", None),
            ("65536", None),
            ("+80", None),
            (":", None),
            ("", None),
        ];
        for (text, address) in rows {
            let expected = address.map(|address| address.parse().unwrap()).ok_or(WrongListen);
            assert_eq!(listen_address(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_network_permits_its_addresses_mapped_ones_included() {
        let networks = FullScrape::Networks(
            vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()].into(),
        );
        let rows = [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("2001:db8::7", true),
            ("::1", false),
        ];
        for (ip, permitted) in rows {
            let ip = ip.parse().unwrap();
            assert_eq!((FullScrape::On.permits(ip), FullScrape::Off.permits(ip)), (true, false));
            assert_eq!(networks.permits(ip), permitted, "{ip}");
        }
    }

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in [Mode::Open, Mode::Registered] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("Open".parse::<Mode>(), Err(UnknownMode));
    }
}
