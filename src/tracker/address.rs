//! Whose address a peer is stored under.
//!
//! The `ip` parameter lets a client name an address other than its connection's. It exists for a
//! client that shares a NAT with the tracker and is seen under a private address (theory.org wiki);
//! believed from anybody, it lets strangers point swarms at a victim. So by default it counts only
//! from private addresses, not through a proxy (behind one everybody looks private), and only when
//! it names an address that the internet routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::IpParameter;
use crate::ids::Family;

/// The address an announcer is known by: `asked` (the `ip` parameter) where the setting lets it
/// count, else the connection's.
pub(super) fn of_announcer(
    setting: IpParameter,
    connection: IpAddr,
    proxied: bool,
    asked: Option<IpAddr>,
) -> IpAddr {
    let Some(asked) = asked.filter(|asked| Family::of(*asked) == Family::of(connection)) else {
        return connection;
    };
    let believed = match setting {
        IpParameter::Ignore => false,
        IpParameter::Nat => !proxied && is_local(connection) && is_global_unicast(asked),
        IpParameter::Accept => is_global_unicast(asked),
    };
    if believed { asked } else { connection }
}

/// Private, loopback or link-local: a client on this side of the NAT.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

fn is_global_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_global_unicast_v4(v4),
        IpAddr::V6(v6) => is_global_unicast_v6(v6),
    }
}

/// Not one of the special-purpose blocks of RFC 6890 and its updates.
fn is_global_unicast_v4(ip: Ipv4Addr) -> bool {
    let special = match ip.octets() {
        // This network; carriers' NATs (RFC 6598); protocol assignments; 6to4 relays, which are
        // anycast (RFC 7526); benchmarks (RFC 2544); multicast and reserved, broadcast
        // included.
        [0 | 224..=255, ..] => true,
        [100, b, ..] if b & 0xc0 == 64 => true,
        [192, 0, 0, _] => true,
        [192, 88, 99, _] => true,
        [198, 18 | 19, ..] => true,
        _ => ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_documentation(),
    };
    !special
}

/// Global unicast is 2000::/3 (RFC 4291); within it, documentation (RFC 3849, RFC 9637), protocol
/// assignments (2001::/23, RFC 2928: Teredo, benchmarks, ORCHIDs) and 6to4 do not count. Teredo and
/// 6to4 embed an IPv4 address, and would smuggle a private one in.
fn is_global_unicast_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_believed(setting: IpParameter, connection: &str, proxied: bool, asked: &str) -> bool {
        of_announcer(setting, ip(connection), proxied, Some(ip(asked))) == ip(asked)
    }

    #[test]
    fn behind_the_same_nat_the_parameter_counts() {
        for connection in ["10.0.0.7", "172.16.3.4", "192.168.1.2", "127.0.0.1", "169.254.9.9"] {
            assert!(is_believed(IpParameter::Nat, connection, false, "8.8.4.4"), "{connection}");
        }
        for connection in ["fd00::7", "::1", "fe80::1"] {
            assert!(
                is_believed(IpParameter::Nat, connection, false, "2a00:1450::1"),
                "{connection}"
            );
        }
    }

    #[test]
    fn from_the_internet_through_a_proxy_or_across_families_it_does_not() {
        assert!(!is_believed(IpParameter::Nat, "9.9.9.9", false, "8.8.4.4"));
        assert!(!is_believed(IpParameter::Nat, "10.0.0.7", true, "8.8.4.4"));
        assert!(!is_believed(IpParameter::Nat, "10.0.0.7", false, "2a00:1450::1"));
        assert!(!is_believed(IpParameter::Ignore, "10.0.0.7", false, "8.8.4.4"));
        assert!(is_believed(IpParameter::Accept, "9.9.9.9", true, "8.8.4.4"));
        assert_eq!(of_announcer(IpParameter::Nat, ip("9.9.9.9"), false, None), ip("9.9.9.9"));
    }

    #[test]
    fn only_global_unicast_addresses_count() {
        let special = [
            "0.1.2.3",
            "10.1.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.2",
            "169.254.1.1",
            "172.31.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "100::1",
            "2001:db8::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
        ];
        for address in special {
            assert!(!is_global_unicast(ip(address)), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2a00::1",
            "2001:200::1",
            "3fff:1000::1",
        ] {
            assert!(is_global_unicast(ip(address)), "{address}");
        }
    }
}
