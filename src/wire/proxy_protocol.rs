//! The preface with which a proxy names the client of a connection (PROXY protocol, versions 1 and
//! 2: <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).
//!
//! Owns: finding one preface at the beginning of a connection's bytes, and the source address in
//! it.
//!
//! Never: asks whether the peer may name anybody, looks for a second preface (the address may be a
//! trusted proxy's; a header then counts), or looks into the TLVs of version 2: they are skipped.
//!
//! Limits: [`V1_BYTES_MAX`] and [`V2_BYTES_MAX`]. Nothing beyond them is looked at, and a verdict
//! on some bytes is the verdict on everything that begins with them, so how the network cut a
//! preface never changes its outcome.
//!
//! Written here rather than taken from the crate `ppp` (2.3): that one calls a line cut behind its
//! last space broken for good (`PROXY TCP4 192.0.2.1 198.51.100.7 80 ` and then `443`), refuses a
//! `LOCAL` whose family has no addresses, and has no bound for version 2 but its 64 KiB.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memchr;

/// The longest line of version 1, its end included (section 2.1 of the protocol).
pub const V1_BYTES_MAX: usize = 107;
/// The longest preface of version 2, its TLVs included: what nginx takes since 1.23.4. The
/// addresses need 52 bytes and a load balancer's notes a few hundred; a client certificate among
/// the TLVs needs some two thousand.
pub const V2_BYTES_MAX: usize = 4_096;

const V1_BEGIN: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, and the length of the rest.
const V2_FIXED_BYTES: usize = V2_SIGNATURE.len() + 4;

const COMMAND_LOCAL: u8 = 0x20;
const COMMAND_PROXY: u8 = 0x21;
/// Families stand in the upper half of their byte: unspecified, IPv4, IPv6, Unix.
const FAMILY_LAST: u8 = 3;
/// Transports stand in the lower half: unspecified, stream, datagram.
const TRANSPORT_LAST: u8 = 2;

/// What the bytes read so far hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preface {
    /// The beginning of a preface, and so far nothing is wrong with it.
    Partial,
    /// A preface.
    Complete {
        /// Who is at the other end of the proxy, IPv4-mapped addresses as IPv4. None when the proxy
        /// speaks for itself (`LOCAL`, a health check) or does not say (`UNKNOWN`, a Unix socket).
        client: Option<IpAddr>,
        /// How many bytes it took; the client's own bytes begin behind them.
        consumed: usize,
    },
    /// No preface: the connection is not a proxy's, or a broken proxy's.
    Bad,
}

/// Looks for one preface at the beginning of `input`.
pub fn parse(input: &[u8]) -> Preface {
    if begins(input, V1_BEGIN) {
        parse_v1(input)
    } else if begins(input, V2_SIGNATURE) {
        parse_v2(input)
    } else {
        Preface::Bad
    }
}

/// Whether `input` begins with `text`, or may do so once more of it is there.
fn begins(input: &[u8], text: &[u8]) -> bool {
    let shared_bytes = input.len().min(text.len());
    input[..shared_bytes] == text[..shared_bytes]
}

fn parse_v1(input: &[u8]) -> Preface {
    let window = input.get(..V1_BYTES_MAX).unwrap_or(input);
    let Some(line_bytes) = memchr(b'\n', window) else {
        return if window.len() < V1_BYTES_MAX { Preface::Partial } else { Preface::Bad };
    };
    let line = window[..line_bytes].strip_prefix(V1_BEGIN);
    match line.and_then(|line| line.strip_suffix(b"\r")).and_then(v1_client) {
        Some(client) => Preface::Complete { client, consumed: line_bytes + 1 },
        None => Preface::Bad,
    }
}

/// The source address in the line behind `PROXY`; the outer `None` is a broken line. What follows
/// `UNKNOWN` means nothing (section 2.1).
fn v1_client(line: &[u8]) -> Option<Option<IpAddr>> {
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let family = words.next()?;
    let mut address = || match family {
        "TCP4" => words.next()?.parse().map(IpAddr::V4).ok(),
        "TCP6" => words.next()?.parse().map(IpAddr::V6).ok(),
        _ => None,
    };
    let (source, _destination) = (address()?, address()?);
    let ports_are_right = is_port(words.next()?) && is_port(words.next()?);
    (ports_are_right && words.next().is_none()).then(|| Some(source.to_canonical()))
}

/// Decimal, and without leading zeros: they would be octal to some.
fn is_port(word: &str) -> bool {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    digits && (word == "0" || !word.starts_with('0')) && word.parse::<u16>().is_ok()
}

fn parse_v2(input: &[u8]) -> Preface {
    let Some((fixed, rest)) = input.split_first_chunk::<V2_FIXED_BYTES>() else {
        return parse_v2_beginning(input);
    };
    let [.., command, kind, length_high, length_low] = *fixed;
    let rest_bytes = usize::from(u16::from_be_bytes([length_high, length_low]));
    let consumed = V2_FIXED_BYTES + rest_bytes;
    let address_bytes = if command == COMMAND_PROXY { v2_address_bytes(kind) } else { 0 };
    if !is_v2(command, kind) || consumed > V2_BYTES_MAX || rest_bytes < address_bytes {
        return Preface::Bad;
    }
    match rest.get(..rest_bytes) {
        Some(rest) => Preface::Complete { client: v2_client(rest, address_bytes), consumed },
        None => Preface::Partial,
    }
}

/// The verdict before the fixed part is whole: what it holds already may be wrong.
fn parse_v2_beginning(input: &[u8]) -> Preface {
    match input.get(V2_SIGNATURE.len()..).unwrap_or_default() {
        [command, kind, ..] if !is_v2(*command, *kind) => Preface::Bad,
        [command] if !is_v2(*command, 0) => Preface::Bad,
        _ => Preface::Partial,
    }
}

/// Whether a receiver may accept these two bytes (section 2.2). The family of a `LOCAL` means
/// nothing, whatever it is.
fn is_v2(command: u8, kind: u8) -> bool {
    match command {
        COMMAND_LOCAL => true,
        COMMAND_PROXY => kind >> 4 <= FAMILY_LAST && kind & 0xf <= TRANSPORT_LAST,
        _ => false,
    }
}

/// Bytes of both addresses and both ports. A proxy that takes HTTP/3 in calls its clients'
/// transport a datagram; they have addresses like others.
fn v2_address_bytes(kind: u8) -> usize {
    match kind {
        0x11 | 0x12 => 4 + 4 + 2 + 2,
        0x21 | 0x22 => 16 + 16 + 2 + 2,
        0x31 | 0x32 => 108 + 108,
        _ => 0,
    }
}

/// The source address, which stands first.
fn v2_client(rest: &[u8], address_bytes: usize) -> Option<IpAddr> {
    let client = match address_bytes {
        12 => IpAddr::V4(Ipv4Addr::from(*rest.first_chunk::<4>()?)),
        36 => IpAddr::V6(Ipv6Addr::from(*rest.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(client.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_IPV4: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc63d\x07\x20\x00\0\x50";

    /// A name, command and kind, what stands behind the length, and the client.
    type V2Row<'a> = (&'a str, [u8; 2], &'a [u8], Option<&'a str>);

    fn v2(kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
        let rest_bytes = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &kind, &rest_bytes, rest].concat()
    }

    /// What `bytes` name, and how many of them; none when they are no preface.
    #[track_caller]
    fn read(bytes: &[u8]) -> Option<(Option<String>, usize)> {
        match parse(bytes) {
            Preface::Complete { client, consumed } => {
                Some((client.map(|client| client.to_string()), consumed))
            }
            Preface::Bad => None,
            Preface::Partial => panic!("more is wanted than {}", bytes.escape_ascii()),
        }
    }

    #[test]
    fn a_line_of_version_1_names_the_client_or_nobody() {
        let rows: &[(&str, Option<&str>)] = &[
            ("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443", Some("192.0.2.1")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", Some("255.255.255.255")),
            ("PROXY TCP4 192.0.2.1 198.51.100.7 0 0", Some("192.0.2.1")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 56324 443", Some("2001:db8::1")),
            ("PROXY TCP6 2001:DB8:0:0:0:0:0:1 :: 56324 443", Some("2001:db8::1")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 56324 443", Some("192.0.2.1")),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535", None),
            ("PROXY UNKNOWN whatever a proxy\r writes", None),
            ("PROXY UNKNOWN ", None),
        ];
        for (line, client) in rows {
            let bytes = format!("{line}\r\nGET / HTTP/1.1\r\n\r\n");
            let expected = Some((client.map(str::to_owned), line.len() + 2));
            assert_eq!(read(bytes.as_bytes()), expected, "{line}");
        }
        let longest = [b"PROXY UNKNOWN ".as_slice(), &[0xff; 107 - 14 - 2], b"\r\n"].concat();
        assert_eq!(read(&longest), Some((None, V1_BYTES_MAX)), "bytes that are not UTF-8");
    }

    #[test]
    fn a_broken_line_of_version_1_is_no_preface() {
        let rows: &[&str] = &[
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 x\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2.1\t198.51.100.7 56324 443\r\n",
            "PROXY  TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 0443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 +56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7  443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.7 56324 443\r\n",
            "PROXY TCP6 fe80::1%eth0 2001:db8::2 56324 443\r\n",
            "PROXY TCP6 [2001:db8::1] 2001:db8::2 56324 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.7 56324 443\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.7 56324 443\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY UNKNOWN x\ny\r\n",
            "PROXY \r\n",
            "PROXY\r\n",
            "proxy UNKNOWN\r\n",
            " PROXY UNKNOWN\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\n\r\n",
            "\x16\x03\x01",
        ];
        for bytes in rows {
            assert_eq!(read(bytes.as_bytes()), None, "{bytes:?}");
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 107 - 14]].concat();
        assert_eq!(parse(&endless[..V1_BYTES_MAX - 1]), Preface::Partial, "one byte may come");
        assert_eq!(parse(&endless), Preface::Bad, "no line is longer than {V1_BYTES_MAX} bytes");
    }

    #[test]
    fn version_2_names_the_client_or_nobody() {
        let ipv4 = b"\xc0\0\x02\x01\xc63d\x07\x20\x00\0\x50";
        let mut ipv6 = [0; 36];
        ipv6[..4].copy_from_slice(b"\x20\x01\x0d\xb8");
        ipv6[15] = 1;
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(b"\xff\xff\xc0\0\x02\x01");
        let with_tlvs = [ipv4.as_slice(), b"\x01\0\x02h2\x04\0\x03\0\0\0"].concat();
        let largest = [ipv4.as_slice(), &[0; V2_BYTES_MAX - V2_FIXED_BYTES - 12]].concat();
        let rows: &[V2Row<'_>] = &[
            ("IPv4", [0x21, 0x11], ipv4, Some("192.0.2.1")),
            ("IPv4, a datagram", [0x21, 0x12], ipv4, Some("192.0.2.1")),
            ("IPv6", [0x21, 0x21], &ipv6, Some("2001:db8::1")),
            ("IPv6, a datagram", [0x21, 0x22], &ipv6, Some("2001:db8::1")),
            ("IPv4 in IPv6", [0x21, 0x21], &mapped, Some("192.0.2.1")),
            ("TLVs are skipped", [0x21, 0x11], &with_tlvs, Some("192.0.2.1")),
            ("TLVs that are none", [0x21, 0x11], &largest, Some("192.0.2.1")),
            ("a Unix socket", [0x21, 0x31], &[b'/'; 216], None),
            ("no family", [0x21, 0x00], b"", None),
            ("no family, and TLVs", [0x21, 0x00], ipv4, None),
            ("IPv4 without a transport", [0x21, 0x10], ipv4, None),
            ("a transport without a family", [0x21, 0x01], ipv4, None),
            ("LOCAL", [0x20, 0x00], b"", None),
            ("LOCAL with addresses", [0x20, 0x11], ipv4, None),
            ("LOCAL with a family and no address", [0x20, 0x11], b"", None),
            ("LOCAL with a family that is none", [0x20, 0xff], b"x", None),
        ];
        for (name, kind, rest, client) in rows {
            let preface = v2(*kind, rest);
            let bytes = [&preface, b"GET / HTTP/1.1\r\n\r\n".as_slice()].concat();
            let expected = Some((client.map(str::to_owned), preface.len()));
            assert_eq!(read(&bytes), expected, "{name}");
        }
    }

    #[test]
    fn a_broken_version_2_is_no_preface() {
        let too_large = [0; V2_BYTES_MAX - V2_FIXED_BYTES + 1];
        let rows: &[(&str, [u8; 2], &[u8])] = &[
            ("version 1", [0x11, 0x11], &[0; 12]),
            ("version 3", [0x31, 0x11], &[0; 12]),
            ("a command that is none", [0x22, 0x11], &[0; 12]),
            ("a family that is none", [0x21, 0x41], &[0; 12]),
            ("a transport that is none", [0x21, 0x13], &[0; 12]),
            ("IPv4 of 11 bytes", [0x21, 0x11], &[0; 11]),
            ("IPv6 of 35 bytes", [0x21, 0x21], &[0; 35]),
            ("a Unix socket of 215 bytes", [0x21, 0x32], &[0; 215]),
            ("too many TLVs", [0x21, 0x11], &too_large),
            ("too many TLVs of a LOCAL", [0x20, 0x00], &too_large),
        ];
        for (name, kind, rest) in rows {
            assert_eq!(read(&v2(*kind, rest)), None, "{name}");
        }
        for at in 0..V2_SIGNATURE.len() {
            let mut bytes = V2_IPV4.to_vec();
            bytes[at] ^= 0x20;
            assert_eq!(read(&bytes), None, "byte {at} of the signature");
        }
    }

    #[test]
    fn every_prefix_of_a_preface_is_partial() {
        let v1 = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n".as_slice();
        for preface in [v1, b"PROXY UNKNOWN\r\n", V2_IPV4, &v2([0x21, 0x21], &[0; 300])] {
            for cut in 0..preface.len() {
                let cut_preface = &preface[..cut];
                assert_eq!(parse(cut_preface), Preface::Partial, "{}", cut_preface.escape_ascii());
            }
        }
    }
}
