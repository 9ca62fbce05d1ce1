//! The small values that every layer passes around.
//!
//! Owns: the newtypes that keep an info hash from being taken for a peer id, and a slot for a
//! generation. Each is built once, at the edge, and is `Copy` afterwards. None derefs to what it
//! holds: who wants the bytes asks for the bytes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an info hash (BEP 3: SHA-1; BEP 52 truncates SHA-256 to the same length for trackers).
pub const INFO_HASH_BYTES: usize = 20;
/// Bytes of a peer id (BEP 3).
pub const PEER_ID_BYTES: usize = 20;
/// Bytes of an IPv4 peer in a compact answer (BEP 23): address, then port, both big-endian.
pub const PEER_V4_BYTES: usize = 6;
/// Bytes of an IPv6 peer in a compact answer (BEP 7).
pub const PEER_V6_BYTES: usize = 18;

/// Which torrent: 20 raw bytes, as decoded from the query.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; INFO_HASH_BYTES]);

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a client calls itself: 20 raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerId(pub [u8; PEER_ID_BYTES]);

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// The address family of an announcer, and so of the peers it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Family {
    /// IPv4, `::ffff:a.b.c.d` included.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address that [`canonical`] has been through.
    pub fn of(ip: IpAddr) -> Family {
        match ip {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Bytes of one peer of this family in a compact answer.
    pub const fn peer_bytes(self) -> usize {
        match self {
            Family::V4 => PEER_V4_BYTES,
            Family::V6 => PEER_V6_BYTES,
        }
    }
}

/// `::ffff:a.b.c.d` (an IPv4 client on a dual-stack socket) as the IPv4 address it is.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Whom an address stands for where hosts are counted: over IPv6 its /64, since who has one of its
/// addresses has all of them.
pub fn host(ip: IpAddr) -> IpAddr {
    match canonical(ip) {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// Whether an address means something on its own network only: loopback, RFC 1918, shared by a
/// carrier's NAT (RFC 6598), link-local, unique local. Everything else is public here,
/// documentation networks included.
pub fn is_private(ip: IpAddr) -> bool {
    match canonical(ip) {
        IpAddr::V4(ip) => {
            let shared = matches!(ip.octets(), [100, 64..=127, ..]);
            shared || ip.is_private() || ip.is_loopback() || ip.is_link_local()
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// Where a peer listens, in the bytes that go on the wire. Within a torrent this is the peer's
/// whole identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum PeerAddr {
    /// Four bytes of address, two of port.
    V4([u8; PEER_V4_BYTES]),
    /// Sixteen bytes of address, two of port.
    V6([u8; PEER_V6_BYTES]),
}

impl PeerAddr {
    /// The wire form of `ip` and `port`; an IPv4-mapped address becomes IPv4.
    pub fn new(ip: IpAddr, port: u16) -> PeerAddr {
        let [high, low] = port.to_be_bytes();
        match canonical(ip) {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                PeerAddr::V4([a, b, c, d, high, low])
            }
            IpAddr::V6(v6) => {
                let mut wire = [0; PEER_V6_BYTES];
                wire[..16].copy_from_slice(&v6.octets());
                wire[16..].copy_from_slice(&[high, low]);
                PeerAddr::V6(wire)
            }
        }
    }

    /// The peer of a wire form, whose length says which family it is of; None for any other length.
    pub fn of_wire(wire: &[u8]) -> Option<PeerAddr> {
        match wire.len() {
            PEER_V4_BYTES => wire.try_into().ok().map(PeerAddr::V4),
            PEER_V6_BYTES => wire.try_into().ok().map(PeerAddr::V6),
            _ => None,
        }
    }

    /// The bytes that go on the wire.
    pub fn wire(&self) -> &[u8] {
        match self {
            PeerAddr::V4(wire) => wire,
            PeerAddr::V6(wire) => wire,
        }
    }

    /// Whether the address means something on its own network only; see [`is_private`].
    pub fn is_private(&self) -> bool {
        is_private(self.ip())
    }

    /// The family the peer belongs to.
    pub fn family(&self) -> Family {
        match self {
            PeerAddr::V4(_) => Family::V4,
            PeerAddr::V6(_) => Family::V6,
        }
    }

    /// The address without its port.
    pub fn ip(&self) -> IpAddr {
        match *self {
            PeerAddr::V4([a, b, c, d, _, _]) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            PeerAddr::V6(wire) => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&wire[..16]);
                IpAddr::V6(Ipv6Addr::from(octets))
            }
        }
    }

    /// The port, in host order.
    pub fn port(&self) -> u16 {
        match *self {
            PeerAddr::V4([.., high, low]) | PeerAddr::V6([.., high, low]) => {
                u16::from_be_bytes([high, low])
            }
        }
    }
}

/// What an announce reports (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Event {
    /// None, or anything unknown: `paused` (BEP 21), `empty`, `none`.
    #[default]
    Update,
    /// The first announce of a session.
    Started,
    /// The download has just become complete.
    Completed,
    /// The peer leaves.
    Stopped,
}

/// What a peer says of encrypted connections (the tracker extension of message stream encryption).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Crypto {
    /// Said nothing.
    #[default]
    None,
    /// `supportcrypto=1`.
    Supported,
    /// `requirecrypto=1`: wants only peers that support or require it.
    Required,
}

/// A point in time: milliseconds since the process started (monotonic). Read once a round by the
/// event loop, an argument everywhere else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// The point `ms` milliseconds later.
    pub fn plus(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; 0 when `earlier` is in fact later.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Names one connection of one worker to the layers below, which hand it back unread. The
/// generation tells a connection from the one that had the slot before it, so a late answer never
/// reaches a stranger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Ticket {
    /// Index of the worker whose connection it is.
    pub worker: u16,
    /// Index of the slot in that worker's slab.
    pub slot: u32,
    /// How often the slot had been given out when the ticket was written.
    pub generation: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_its_ipv4_peer() {
        let mapped = PeerAddr::new("::ffff:192.0.2.7".parse().unwrap(), 6881);
        assert_eq!(mapped, PeerAddr::V4([192, 0, 2, 7, 0x1a, 0xe1]));
        assert_eq!((mapped.ip(), mapped.port()), ("192.0.2.7".parse().unwrap(), 6881));
    }

    #[test]
    fn an_ipv6_peer_keeps_its_address_and_port() {
        let ip: IpAddr = "2001:db8::1".parse().unwrap();
        let peer = PeerAddr::new(ip, 65535);
        assert_eq!((peer.ip(), peer.port(), peer.family()), (ip, 65535, Family::V6));
        assert_eq!(PeerAddr::of_wire(peer.wire()), Some(peer), "through its bytes and back");
        assert_eq!(PeerAddr::of_wire(&[0; 7]), None, "seven bytes are no peer");
    }

    #[test]
    fn private_addresses_are_those_of_a_network_of_ones_own() {
        let private = [
            "127.0.0.1",
            "10.255.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.1.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ];
        for ip in private {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        let public = [
            "172.15.255.255",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "198.51.100.7",
            "9.9.9.9",
            "2001:db8::7",
            "2a00::1",
        ];
        for ip in public {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn an_info_hash_is_shown_in_hex() {
        assert_eq!(InfoHash([0xab; 20]).to_string(), "ab".repeat(20));
    }
}
