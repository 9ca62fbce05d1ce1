//! What the kernel says of a datagram beside its bytes, and what it is told of an answer: socket
//! addresses and control messages, as bytes (ip(7), ipv6(7), cmsg(3)).
//!
//! Owns: their layout on Linux, checked against libc's structures when compiled. The answer to a
//! datagram leaves from the local address that the datagram came to; on a socket that is bound to
//! no address only these messages tell it.
//!
//! Never: a pointer or a system call; those are in `io`, which lends the kernel these
//! buffers.
//!
//! Limits: a control message that is not whole, or of another kind, is not read.

use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for a socket address of either family.
pub(super) const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();
/// Room for all control messages that a datagram comes with: the local address, IPv6 at the most,
/// and the drop counter.
pub(super) const CONTROL_BYTES: usize =
    space(size_of::<libc::in6_pktinfo>()) + space(size_of::<u32>());

#[allow(clippy::cast_possible_truncation, reason = "it is 2")]
const AF_INET: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
#[allow(clippy::cast_possible_truncation, reason = "it is 10")]
const AF_INET6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;
const NAME_V4_BYTES: usize = size_of::<libc::sockaddr_in>();

/// A control message's data follows its header at once.
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const LEVEL_AT: usize = size_of::<usize>();
const TYPE_AT: usize = LEVEL_AT + size_of::<libc::c_int>();

const _: () = {
    assert!(offset_of!(libc::sockaddr_in, sin_port) == 2);
    assert!(offset_of!(libc::sockaddr_in, sin_addr) == 4 && NAME_V4_BYTES == 16);
    assert!(offset_of!(libc::sockaddr_in6, sin6_port) == 2);
    assert!(offset_of!(libc::sockaddr_in6, sin6_addr) == 8);
    assert!(offset_of!(libc::sockaddr_in6, sin6_scope_id) == 24 && NAME_BYTES == 28);
    assert!(offset_of!(libc::cmsghdr, cmsg_level) == LEVEL_AT);
    assert!(offset_of!(libc::cmsghdr, cmsg_type) == TYPE_AT);
    assert!(HEADER_BYTES == aligned(HEADER_BYTES) && HEADER_BYTES == TYPE_AT + 4);
    assert!(offset_of!(libc::in_pktinfo, ipi_spec_dst) == 4);
    assert!(size_of::<libc::in_pktinfo>() == 12);
    assert!(offset_of!(libc::in6_pktinfo, ipi6_addr) == 0);
    assert!(size_of::<libc::in6_pktinfo>() == 20);
    assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());
    assert!(align_of::<SocketName>() >= align_of::<libc::sockaddr_in6>());
};

/// Where a datagram came from, and which local address it came to: an answer goes back the same
/// way, now or later. The socket's address stands as the kernel wrote it, so that nothing is made
/// anew for an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Origin {
    /// Who asked, and how many bytes of it count.
    pub(super) name: SocketName,
    pub(super) name_bytes: usize,
    /// Who was asked; none when the socket is bound to one address. Mapped for IPv4 on a dual-stack
    /// socket.
    pub(super) local: Option<IpAddr>,
}

/// A socket address as the kernel reads and writes it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4))]
pub(super) struct SocketName([u8; NAME_BYTES]);

impl SocketName {
    /// Room for one.
    pub(super) const EMPTY: SocketName = SocketName([0; NAME_BYTES]);

    /// An address, and how many bytes it has.
    #[cfg(test)]
    pub(super) fn of(address: SocketAddr) -> (SocketName, usize) {
        let mut name = [0; NAME_BYTES];
        name[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                name[..2].copy_from_slice(&AF_INET.to_ne_bytes());
                name[4..8].copy_from_slice(&v4.ip().octets());
                (SocketName(name), NAME_V4_BYTES)
            }
            SocketAddr::V6(v6) => {
                name[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
                name[8..24].copy_from_slice(&v6.ip().octets());
                name[24..].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (SocketName(name), NAME_BYTES)
            }
        }
    }

    /// The address in the first `bytes`; none when it is of no family that asks a tracker.
    pub(super) fn address(&self, bytes: usize) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(field(&self.0, 2)?);
        match u16::from_ne_bytes(field(&self.0, 0)?) {
            AF_INET if bytes >= NAME_V4_BYTES => {
                let ip = Ipv4Addr::from(field::<4>(&self.0, 4)?);
                Some(SocketAddrV4::new(ip, port).into())
            }
            AF_INET6 if bytes >= NAME_BYTES => {
                let ip = Ipv6Addr::from(field::<16>(&self.0, 8)?);
                let scope_id = u32::from_ne_bytes(field(&self.0, 24)?);
                Some(SocketAddrV6::new(ip, port, 0, scope_id).into())
            }
            _ => None,
        }
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
}

/// Control messages as the kernel reads and writes them.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

/// What the control messages of a datagram say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Told {
    /// The local address that an answer is to leave from.
    pub(super) local: Option<IpAddr>,
    /// Datagrams that the kernel had dropped for want of room when it queued this one; none when
    /// there were none yet.
    pub(super) drops: Option<u32>,
}

impl Control {
    /// Room for some.
    pub(super) const EMPTY: Control = Control([0; CONTROL_BYTES]);

    /// The message that an answer is to leave from `local`, and its bytes. The interface is left to
    /// the routes, as it is for a connection.
    pub(super) fn leave_from(local: IpAddr) -> (Control, usize) {
        match local {
            IpAddr::V4(ip) => {
                let mut control = LEAVE_FROM_V4;
                control.0[HEADER_BYTES + 4..HEADER_BYTES + 8].copy_from_slice(&ip.octets());
                (control, space(size_of::<libc::in_pktinfo>()))
            }
            IpAddr::V6(ip) => {
                let mut control = LEAVE_FROM_V6;
                control.0[HEADER_BYTES..HEADER_BYTES + 16].copy_from_slice(&ip.octets());
                (control, space(size_of::<libc::in6_pktinfo>()))
            }
        }
    }

    /// One message whose data is zero.
    const fn empty_message(level: libc::c_int, kind: libc::c_int, data_bytes: usize) -> Control {
        let mut control = Control::EMPTY;
        let (header, _) = control.0.split_at_mut(HEADER_BYTES);
        let (length, rest) = header.split_at_mut(LEVEL_AT);
        let (level_at, kind_at) = rest.split_at_mut(TYPE_AT - LEVEL_AT);
        length.copy_from_slice(&(HEADER_BYTES + data_bytes).to_ne_bytes());
        level_at.copy_from_slice(&level.to_ne_bytes());
        kind_at.copy_from_slice(&kind.to_ne_bytes());
        control
    }

    /// What the first `bytes` say.
    pub(super) fn told(&self, bytes: usize) -> Told {
        let mut told = Told::default();
        let mut rest = self.0.get(..bytes).unwrap_or(&self.0);
        while let Some((level, kind, data, behind)) = first_message(rest) {
            rest = behind;
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    // The address that answers leave from, which is not always the one asked: a
                    // broadcast has none that could answer.
                    told.local = field::<4>(data, 4).map(|ip| Ipv4Addr::from(ip).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    told.local = field::<16>(data, 0)
                        .map(Ipv6Addr::from)
                        .filter(|ip| !ip.is_multicast())
                        .map(IpAddr::V6);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    told.drops = field(data, 0).map(u32::from_ne_bytes);
                }
                _ => {}
            }
        }
        told
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
}

const LEAVE_FROM_V4: Control =
    Control::empty_message(libc::IPPROTO_IP, libc::IP_PKTINFO, size_of::<libc::in_pktinfo>());
const LEAVE_FROM_V6: Control =
    Control::empty_message(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of::<libc::in6_pktinfo>());

/// Level, kind and data of the first message, and what is behind it; none when it is not whole.
fn first_message(bytes: &[u8]) -> Option<(libc::c_int, libc::c_int, &[u8], &[u8])> {
    let message_bytes = usize::from_ne_bytes(field(bytes, 0)?);
    let level = libc::c_int::from_ne_bytes(field(bytes, LEVEL_AT)?);
    let kind = libc::c_int::from_ne_bytes(field(bytes, TYPE_AT)?);
    let data = bytes.get(HEADER_BYTES..message_bytes)?;
    // The last message may lack its padding.
    let behind = bytes.get(aligned(message_bytes)..).unwrap_or_default();
    Some((level, kind, data, behind))
}

/// The `N` bytes from `at` on.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// CMSG_ALIGN. (No message is so long that this could overflow: its bytes exist.)
const fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(size_of::<usize>())
}

/// CMSG_SPACE.
const fn space(data_bytes: usize) -> usize {
    HEADER_BYTES + aligned(data_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control message as the kernel writes it.
    fn message(level: libc::c_int, kind: libc::c_int, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER_BYTES + data.len()).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&level.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(space(data.len()), 0);
        bytes
    }

    fn told(bytes: &[u8]) -> Told {
        let mut control = Control::EMPTY;
        control.0[..bytes.len()].copy_from_slice(bytes);
        control.told(bytes.len())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_socket_address_comes_back_as_it_went() {
        let mut link_local: SocketAddrV6 = "[fe80::1]:6881".parse().unwrap();
        link_local.set_scope_id(2);
        for (address, bytes) in [
            ("192.0.2.7:6881".parse().unwrap(), 16),
            ("0.0.0.0:0".parse().unwrap(), 16),
            ("[2001:db8::1]:65535".parse().unwrap(), 28),
            ("[::ffff:192.0.2.7]:6881".parse().unwrap(), 28),
            (SocketAddr::V6(link_local), 28),
        ] {
            let (name, name_bytes) = SocketName::of(address);
            assert_eq!(name_bytes, bytes, "{address}");
            assert_eq!(name.address(name_bytes), Some(address), "{address}");
            assert_eq!(name.address(name_bytes - 1), None, "{address}, a byte less");
            assert_eq!(name.address(0), None, "{address}, no bytes");
        }
        assert_eq!(SocketName::EMPTY.address(NAME_BYTES), None, "no family");
    }

    #[test]
    fn the_local_address_and_the_drops_are_told() {
        let mut v4 = [0; 12];
        v4[4..].copy_from_slice(&[192, 0, 2, 1, 255, 255, 255, 255]);
        let v6 = |ip: &str| [&ip.parse::<Ipv6Addr>().unwrap().octets()[..], &[2, 0, 0, 0]].concat();
        let pktinfo = |ip: &str| message(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &v6(ip));
        let drops = message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        let v4 = message(libc::IPPROTO_IP, libc::IP_PKTINFO, &v4);
        let local = |text| Told { local: Some(ip(text)), drops: None };
        let all = Told { local: Some(ip("2001:db8::1")), drops: Some(7) };
        for (name, bytes, expected) in [
            ("nothing", vec![], Told::default()),
            ("IPv4, a broadcast", v4, local("192.0.2.1")),
            ("IPv6", pktinfo("2001:db8::1"), local("2001:db8::1")),
            ("IPv4 on a dual-stack socket", pktinfo("::ffff:192.0.2.1"), local("::ffff:192.0.2.1")),
            ("a group's address", pktinfo("ff02::1"), Told::default()),
            ("drops first", [&drops[..], &pktinfo("2001:db8::1")].concat(), all),
            ("drops last", [&pktinfo("2001:db8::1")[..], &drops].concat(), all),
            (
                "another kind, then drops",
                [message(1, 99, b"x"), drops.clone()].concat(),
                Told { local: None, drops: Some(7) },
            ),
        ] {
            assert_eq!(told(&bytes), expected, "{name}");
        }
    }

    #[test]
    fn a_message_that_is_not_whole_is_not_read() {
        let whole = message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        for bytes in 0..whole.len() {
            let expected = (bytes >= HEADER_BYTES + 4).then_some(7);
            assert_eq!(told(&whole[..bytes]).drops, expected, "{bytes} bytes");
        }
        for length in [0, 1, HEADER_BYTES - 1, HEADER_BYTES + 3, CONTROL_BYTES + 1, usize::MAX] {
            let mut broken = whole.clone();
            broken[..LEVEL_AT].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(told(&broken), Told::default(), "a length of {length}");
        }
    }

    #[test]
    fn an_answer_says_where_it_leaves_from_as_a_datagram_says_where_it_came_to() {
        for (local, space) in [("192.0.2.1", 32), ("2001:db8::1", 40), ("::ffff:192.0.2.1", 40)] {
            let (control, bytes) = Control::leave_from(ip(local));
            assert_eq!(control.told(bytes), Told { local: Some(ip(local)), drops: None });
            if size_of::<usize>() == 8 {
                assert_eq!(bytes, space, "{local}");
            }
        }
    }
}
