//! Networks: lists of address ranges, in the settings file or in a file of their own.
//!
//! Owns: their spelling, and whether an address is in one of them. The ranges are merged and sorted
//! when they are read, so that asking takes a binary search however many there are. IPv4-mapped
//! networks and addresses (`::ffff:10.0.0.0/104`) are the IPv4 ones, as clients are.
//!
//! Limits: a regular file of [`NETWORKS_FILE_BYTES_MAX`] bytes.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::files;
use crate::ids::canonical;

/// Bytes of a file of networks: more than a million IPv6 prefixes.
pub const NETWORKS_FILE_BYTES_MAX: u64 = 64 << 20;
/// How a setting names a file of networks.
const FILE_PREFIX: &str = "file:";

/// Some networks, such as `["10.0.0.0/8", "::1/128"]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Networks {
    /// As they were written.
    written: Vec<IpNet>,
    /// First and last address of each range, ascending; none touches another.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// None at all.
    pub const NONE: Networks = Networks { written: Vec::new(), v4: Vec::new(), v6: Vec::new() };

    /// Those whose addresses mean something on a network of one's own only; see
    /// [`is_private`](crate::ids::is_private).
    pub fn private() -> Networks {
        let texts = [
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "169.254.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ];
        texts.iter().filter_map(|text| parse(text)).collect::<Vec<_>>().into()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether `ip` is in one of them. An IPv4-mapped address is judged as its IPv4 address.
    pub fn contain(&self, ip: IpAddr) -> bool {
        match canonical(ip) {
            IpAddr::V4(ip) => is_in(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => is_in(&self.v6, ip.to_bits()),
        }
    }

    /// Reads a file with one network or address on each line; what follows a `#` is a comment.
    ///
    /// # Errors
    /// What is wrong, with the number of the line.
    pub fn read_file(path: &Path) -> Result<Networks, String> {
        Networks::of_lines(&read_text(path)?)
    }

    fn of_lines(text: &str) -> Result<Networks, String> {
        let mut networks = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                let network = parse(line)
                    .ok_or_else(|| format!("line {}: {}", number + 1, not_a_network(line)))?;
                networks.push(network);
            }
        }
        Ok(Networks::from(networks))
    }

    /// One network that stands without a list.
    pub(in crate::config) fn one<E: Error>(text: &str) -> Result<Networks, E> {
        let network = parse(text).ok_or_else(|| E::custom(not_a_network(text)))?;
        Ok(Networks::from(vec![network]))
    }

    pub(in crate::config) fn read<'de, A: SeqAccess<'de>>(
        mut list: A,
    ) -> Result<Networks, A::Error> {
        let mut networks = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            networks.push(parse(&text).ok_or_else(|| A::Error::custom(not_a_network(&text)))?);
        }
        Ok(Networks::from(networks))
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    files::read_text(path, NETWORKS_FILE_BYTES_MAX).map_err(|error| error.to_string())
}

/// A network, or one address.
fn parse(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// An IPv4-mapped network as its IPv4 network, which its clients are judged by.
fn unmapped(network: &IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return *network };
    let (ip, prefix) = (mapped.addr().to_ipv4_mapped(), mapped.prefix_len().checked_sub(96));
    let v4 = ip.zip(prefix).and_then(|(ip, prefix)| Ipv4Net::new(ip, prefix).ok());
    v4.map_or(*network, IpNet::V4)
}

fn not_a_network(text: &str) -> String {
    format!("{text:?} is not a network such as \"10.0.0.0/8\"")
}

impl From<Vec<IpNet>> for Networks {
    fn from(written: Vec<IpNet>) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in &written {
            match unmapped(network) {
                IpNet::V4(network) => {
                    v4.push((network.network().to_bits(), network.broadcast().to_bits()));
                }
                IpNet::V6(network) => {
                    v6.push((network.network().to_bits(), network.broadcast().to_bits()));
                }
            }
        }
        Networks { written, v4: merged(v4, 1), v6: merged(v6, 1) }
    }
}

/// The ranges in ascending order, those that overlap or touch made one; `one` is the step from an
/// address to the next.
fn merged<N>(mut ranges: Vec<(N, N)>, one: N) -> Vec<(N, N)>
where
    N: Copy + Ord + std::ops::Sub<Output = N>,
{
    ranges.sort_unstable();
    let mut merged: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end || first - *end == one => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn is_in<N: Copy + Ord>(ranges: &[(N, N)], address: N) -> bool {
    let at = ranges.partition_point(|(first, _)| *first <= address);
    at > 0 && ranges.get(at - 1).is_some_and(|(_, last)| address <= *last)
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

/// Networks that stand in the settings file, or in a file that it names as `"file:PATH"`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NetworksSetting {
    file: Option<PathBuf>,
    networks: Networks,
}

impl NetworksSetting {
    /// The networks; of a file once it has been read.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Reads the file, if one is named. One that has become empty is being written, or was lost: it
    /// does not take the place of networks that were there `before`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::config) fn read_named_file(&mut self, before: &Networks) -> Result<(), String> {
        let Some(path) = &self.file else { return Ok(()) };
        let text = read_text(path)?;
        if text.trim().is_empty() && !before.is_empty() {
            return Err("is empty; a comment in it would say that there are no networks".to_owned());
        }
        self.networks = Networks::of_lines(&text)?;
        Ok(())
    }

    /// How the setting names its file; nothing where it names none.
    pub(in crate::config) fn named_file(&self) -> String {
        self.file.as_deref().map(file_value).unwrap_or_default()
    }
}

fn file_value(path: &Path) -> String {
    format!("{FILE_PREFIX}{}", path.display())
}

impl From<Networks> for NetworksSetting {
    fn from(networks: Networks) -> NetworksSetting {
        NetworksSetting { file: None, networks }
    }
}

impl Serialize for NetworksSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.file {
            Some(path) => serializer.serialize_str(&file_value(path)),
            None => self.networks.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for NetworksSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NetworksSetting, D::Error> {
        deserializer.deserialize_any(NetworksSettingVisitor)
    }
}

struct NetworksSettingVisitor;

impl<'de> Visitor<'de> for NetworksSettingVisitor {
    type Value = NetworksSetting;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of networks such as [\"10.0.0.0/8\"], or \"file:PATH\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<NetworksSetting, E> {
        match text.strip_prefix(FILE_PREFIX) {
            Some(path) if !path.is_empty() => Ok(NetworksSetting {
                file: Some(PathBuf::from(path)),
                networks: Networks::default(),
            }),
            Some(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
            None => Networks::one(text).map(NetworksSetting::from),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<NetworksSetting, A::Error> {
        Networks::read(list).map(NetworksSetting::from)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        texts.iter().map(|text| parse(text).unwrap()).collect::<Vec<_>>().into()
    }

    #[test]
    fn an_address_is_in_a_network_or_not_whatever_others_there_are() {
        let rows: [(&[&str], &str, bool); 21] = [
            (&[], "10.0.0.1", false),
            (&["10.0.0.0/8"], "10.255.255.255", true),
            (&["10.0.0.0/8"], "11.0.0.0", false),
            (&["10.0.0.0/8"], "::ffff:10.1.2.3", true),
            (&["10.0.0.0/8"], "9.255.255.255", false),
            (&["10.1.0.0/16", "10.0.0.0/8", "10.2.0.0/16"], "10.200.0.1", true),
            (&["10.0.0.0/9", "10.128.0.0/9"], "10.128.0.0", true),
            (&["192.0.2.7"], "192.0.2.7", true),
            (&["192.0.2.7"], "192.0.2.8", false),
            (&["0.0.0.0/0"], "255.255.255.255", true),
            (&["0.0.0.0/0"], "::1", false),
            (&["::/0"], "ffff::1", true),
            (&["::/0"], "10.0.0.1", false),
            (&["2001:db8::/32", "fd00::/8"], "fdff::7", true),
            (&["::ffff:10.0.0.0/104"], "10.1.2.3", true),
            (&["::ffff:10.0.0.0/104"], "::ffff:10.1.2.3", true),
            (&["::ffff:10.0.0.0/104"], "11.0.0.0", false),
            (&["::ffff:192.0.2.7"], "192.0.2.7", true),
            (&["::ffff:192.0.2.7/128"], "192.0.2.8", false),
            (&["::ffff:0:0/96"], "8.8.4.4", true),
            (&["::ffff:0:0/96"], "::1", false),
        ];
        for (texts, ip, expected) in rows {
            assert_eq!(networks(texts).contain(ip.parse().unwrap()), expected, "{ip} in {texts:?}");
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(networks(&["10.0.0.0/9", "10.128.0.0/9", "10.3.0.0/16"]).v4.len(), 1);
        assert_eq!(networks(&["0.0.0.0/0", "255.255.255.255/32"]).v4.len(), 1);
        assert_eq!(networks(&["10.0.0.0/24", "10.0.2.0/24"]).v4.len(), 2);
    }

    #[test]
    fn a_file_has_one_network_on_each_line() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# a CDN\n173.245.48.0/20\n\n2400:cb00::/32 # another\n192.0.2.7\n")
            .unwrap();
        let read = Networks::read_file(file.path()).unwrap();
        for (ip, expected) in [("173.245.48.9", true), ("2400:cb00::1", true), ("1.1.1.1", false)] {
            assert_eq!(read.contain(ip.parse().unwrap()), expected, "{ip}");
        }
        file.write_all(b"10.0.0.0/33\n").unwrap();
        let problem = Networks::read_file(file.path()).unwrap_err();
        assert_eq!(problem, "line 6: \"10.0.0.0/33\" is not a network such as \"10.0.0.0/8\"");
    }
}
