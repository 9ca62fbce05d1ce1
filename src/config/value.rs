//! The kinds of value that settings have beside numbers, switches and durations.
//!
//! Owns: their spelling, in the settings file and on the command line alike.
//!
//! Never does: know which setting it is for, or its range.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::networks::Networks;

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

/// Serde's half for lists of which one member may stand alone: `listen = ":6969"`.
pub(super) fn deserialize_one_or_many<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(OneOrMany(PhantomData))
}

struct OneOrMany<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of addresses, such as [\"192.0.2.1:6969\"]")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::deserialize(text.into_deserializer()).map(|one| vec![one])
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<T>, E> {
        T::deserialize(number.into_deserializer()).map(|one| vec![one])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list))
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
                "write the networks of clients behind the tracker's own NAT, such as \
                 [\"192.168.0.0/16\"]"
            }
            "ignore" => "write []",
            "accept" => "write [\"0.0.0.0/0\", \"::/0\"] if anybody may announce anybody",
            _ => return Networks::one(word),
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
    /// Whether `ip` may ask; none is somebody whose address is not known.
    pub fn permits(&self, ip: Option<IpAddr>) -> bool {
        match self {
            FullScrape::On => true,
            FullScrape::Off => false,
            FullScrape::Networks(networks) => ip.is_some_and(|ip| networks.contain(ip)),
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
            _ => match Networks::one::<E>(word) {
                Ok(network) => Ok(FullScrape::Networks(network)),
                Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
            },
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<FullScrape, A::Error> {
        Networks::read(list).map(FullScrape::Networks)
    }
}

/// A text that is no address to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WrongListen {
    /// Neither an address with a port nor a port.
    NoAddress,
    /// It ends with a number that no port has.
    NoPort,
}

impl fmt::Display for WrongListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WrongListen::NoAddress => {
                "not an address with a port; write 192.0.2.1:6969, [2001:db8::1]:6969 or :6969"
            }
            WrongListen::NoPort => "not an address with a port: ports end at 65535; write :6969",
        })
    }
}

impl std::error::Error for WrongListen {}

/// `IP:PORT`; or `:PORT` or `PORT` alone, which mean every address of the machine.
pub fn listen_address(text: &str) -> Result<SocketAddr, WrongListen> {
    let port = text.strip_prefix(':').unwrap_or(text);
    match port.parse::<u16>() {
        Ok(port) if !text.starts_with('+') => Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        _ => text.parse().map_err(|_| wrong_listen(text)),
    }
}

fn wrong_listen(text: &str) -> WrongListen {
    let (address, port) = text.rsplit_once(':').unwrap_or(("", text));
    let is_address = address.is_empty() || format!("{address}:1").parse::<SocketAddr>().is_ok();
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match is_address && is_number && port.parse::<u16>().is_err() {
        true => WrongListen::NoPort,
        false => WrongListen::NoAddress,
    }
}

/// An address to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether trusted proxies begin each connection with a PROXY protocol preface there.
    pub proxy_protocol: bool,
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen { address, proxy_protocol: false }
    }
}

impl FromStr for Listen {
    type Err = WrongListen;

    fn from_str(text: &str) -> Result<Listen, WrongListen> {
        listen_address(text).map(Listen::from)
    }
}

/// The word for [`UdpListen::AsServer`].
const AS_SERVER: &str = "server.listen";

/// Where UDP is listened for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum UdpListen {
    /// On the addresses of `server.listen`, but for those of proxies.
    #[default]
    AsServer,
    /// On these; nowhere when there are none.
    Addresses(Vec<SocketAddr>),
}

impl Serialize for UdpListen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            UdpListen::AsServer => serializer.serialize_str(AS_SERVER),
            UdpListen::Addresses(addresses) => addresses.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for UdpListen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UdpListen, D::Error> {
        deserializer.deserialize_any(UdpListenVisitor)
    }
}

struct UdpListenVisitor;

impl<'de> Visitor<'de> for UdpListenVisitor {
    type Value = UdpListen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"server.listen\", or a list of addresses such as [\"192.0.2.1:6969\"]")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<UdpListen, E> {
        match word {
            AS_SERVER => Ok(UdpListen::AsServer),
            _ => match listen_address(word) {
                Ok(address) => Ok(UdpListen::Addresses(vec![address])),
                Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
            },
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<UdpListen, A::Error> {
        let mut addresses = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            let address = listen_address(&text);
            let wrong = |error| A::Error::custom(format!("{text:?} is {error}"));
            addresses.push(address.map_err(wrong)?);
        }
        Ok(UdpListen::Addresses(addresses))
    }
}

/// How a [`Listen`] stands in the settings file when it is more than an address.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ListenTable {
    #[serde(serialize_with = "as_text", deserialize_with = "listen_text")]
    address: SocketAddr,
    #[serde(default)]
    proxy_protocol: bool,
}

fn as_text<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

fn listen_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    listen_address(&text).map_err(|error| D::Error::custom(format!("{text:?} is {error}")))
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Listen { address, proxy_protocol } = *self;
        match proxy_protocol {
            true => ListenTable { address, proxy_protocol }.serialize(serializer),
            false => serializer.collect_str(&address),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Listen, D::Error> {
        deserializer.deserialize_any(ListenVisitor)
    }
}

struct ListenVisitor;

impl<'de> Visitor<'de> for ListenVisitor {
    type Value = Listen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an address such as \"192.0.2.1:6969\", or a table such as \
                     { address = \"192.0.2.1:6969\", proxy_protocol = true }",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Listen, E> {
        listen_address(text)
            .map(Listen::from)
            .map_err(|error| E::custom(format!("{text:?} is {error}")))
    }

    fn visit_i64<E: Error>(self, port: i64) -> Result<Listen, E> {
        self.visit_str(&port.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listen, A::Error> {
        let table = ListenTable::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Listen { address: table.address, proxy_protocol: table.proxy_protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_may_be_a_bare_port() {
        let rows = [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:6969", "[::1]:6969"),
            (":80", "[::]:80"),
            ("80", "[::]:80"),
        ];
        for (text, address) in rows {
            assert_eq!(listen_address(text), Ok(address.parse().unwrap()), "{text:?}");
        }
        for text in ["127.0.0.1", "::1", "localhost:80", "x:65536", "+80", ":", ""] {
            assert_eq!(listen_address(text), Err(WrongListen::NoAddress), "{text:?}");
        }
        for text in ["65536", ":99999", "127.0.0.1:65536", "[::1]:100000"] {
            assert_eq!(listen_address(text), Err(WrongListen::NoPort), "{text:?}");
        }
    }

    #[test]
    fn udp_listens_where_http_does_or_on_addresses_of_its_own() {
        #[derive(Deserialize, Serialize, PartialEq, Debug)]
        struct Settings {
            listen: UdpListen,
        }
        let own = |texts: &[&str]| {
            UdpListen::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
        };
        for (text, expected) in [
            ("listen = \"server.listen\"", UdpListen::AsServer),
            ("listen = []", own(&[])),
            ("listen = [\":81\", \"192.0.2.1:82\"]", own(&["[::]:81", "192.0.2.1:82"])),
            ("listen = \":81\"", own(&["[::]:81"])),
        ] {
            let settings: Settings = toml::from_str(text).unwrap();
            assert_eq!(settings.listen, expected, "{text}");
            let written = toml::to_string(&settings).unwrap();
            assert_eq!(toml::from_str(&written), Ok(settings), "{text}, written and read again");
        }
        for (text, problem) in [
            ("listen = \"off\"", "\"server.listen\", or a list of addresses"),
            ("listen = [\"x\"]", "\"x\" is not an address with a port"),
            ("listen = 6969", "\"server.listen\", or a list of addresses"),
        ] {
            let told = toml::from_str::<Settings>(text).unwrap_err().to_string();
            assert!(told.contains(problem), "{text}: {told}");
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
            let asks_from = Some(ip.parse().unwrap());
            assert!(FullScrape::On.permits(asks_from), "on does not permit {ip}");
            assert!(!FullScrape::Off.permits(asks_from), "off permits {ip}");
            assert_eq!(networks.permits(asks_from), permitted, "{ip}");
        }
        assert!(FullScrape::On.permits(None), "on does not permit somebody unknown");
        let everywhere = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()].into();
        assert!(
            !FullScrape::Networks(everywhere).permits(None),
            "networks permit somebody unknown"
        );
    }

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in [Mode::Open, Mode::Registered] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("Open".parse::<Mode>(), Err(UnknownMode));
    }
}
