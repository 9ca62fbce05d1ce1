//! Whose address a peer is stored under.
//!
//! The `ip` parameter lets a client name an address other than its connection's. It exists for a
//! client that shares a NAT with the tracker and is seen under a private address (theory.org wiki).
//! Believed from anybody, it lets strangers point swarms at a victim. So it counts only from
//! networks that the operator has listed, none by default, and only when it names an address that
//! the internet routes. A connection from a private network proves nothing: behind a proxy that
//! adds no header (nginx's plain `proxy_pass`, stunnel, Docker's userland proxy) everybody has one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Live;
use crate::ids::Family;
use crate::tracker::round::Client;

/// The address an announcer is known by that has `asked` for one (the `ip` parameter): that one
/// where the settings list the client's network, else the client's. A proxy never counts for its
/// clients.
#[cold]
pub(super) fn of_announcer(live: &Live, client: Client, asked: IpAddr) -> IpAddr {
    let believed = client.is_known
        && Family::of(asked) == Family::of(client.ip)
        && live.policy.ip_parameter.contain(client.ip)
        && !live.proxies.trusted.contain(client.ip)
        && is_global_unicast(asked);
    if believed { asked } else { client.ip }
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
    use crate::config::Networks;
    use crate::ids::Ticket;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Who is listed by `ip_parameter`, which proxies are trusted, from where somebody asks for
    /// which address, and whether that one counts.
    type Row = (&'static [&'static str], &'static [&'static str], &'static str, &'static str, bool);

    fn networks(texts: &[&str]) -> Networks {
        texts.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>().into()
    }

    #[test]
    fn only_from_listed_networks_does_the_parameter_count() {
        const LAN: &[&str] = &["192.168.0.0/16", "fd00::/8"];
        let rows: [Row; 12] = [
            (LAN, &[], "192.168.1.2", "8.8.4.4", true),
            (LAN, &[], "fd00::7", "2a00:1450::1", true),
            (LAN, &[], "10.0.0.7", "8.8.4.4", false),
            (LAN, &[], "127.0.0.1", "8.8.4.4", false),
            (LAN, &[], "9.9.9.9", "8.8.4.4", false),
            (LAN, &[], "192.168.1.2", "2a00:1450::1", false),
            (LAN, &[], "192.168.1.2", "192.168.1.3", false),
            (LAN, &[], "192.168.1.2", "203.0.113.1", false),
            (LAN, &["192.168.1.0/24"], "192.168.1.2", "8.8.4.4", false),
            (&[], &[], "127.0.0.1", "8.8.4.4", false),
            (&[], &[], "192.168.1.2", "8.8.4.4", false),
            (&["0.0.0.0/0"], &[], "9.9.9.9", "8.8.4.4", true),
        ];
        let ticket = Ticket { worker: 0, slot: 0, generation: 0 };
        for (listed, trusted, from, asked, expected) in rows {
            let mut live = Live::default();
            live.policy.ip_parameter = networks(listed);
            live.proxies.trusted = networks(trusted);
            for is_known in [true, false] {
                let client = Client { ip: ip(from), is_known, ticket };
                let counts = of_announcer(&live, client, ip(asked)) == ip(asked);
                let row = format!("{asked} from {from}, listed {listed:?}, known {is_known}");
                assert_eq!(counts, expected && is_known, "{row}");
            }
        }
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
