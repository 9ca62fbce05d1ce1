//! PROXY protocol prefaces: the fast reading is the naive one, and how the network cuts them
//! changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::proxy_protocol::{Preface, V1_BYTES_MAX, V2_BYTES_MAX, parse};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Prefixes tried of every input: all up to here, and some of what lies behind.
const CUTS: usize = 300;

/// `bytes` are the first that a connection has received.
pub fn proxy_preface(bytes: &[u8]) {
    let outcome = parse(bytes);
    assert_eq!(outcome, naive_preface(bytes));
    if let Preface::Complete { consumed, .. } = outcome {
        assert!(consumed <= bytes.len().min(V2_BYTES_MAX), "{consumed} bytes were consumed");
        assert_eq!(parse(&bytes[..consumed - 1]), Preface::Partial, "one byte less");
        assert_eq!(parse(&bytes[..consumed]), outcome, "the preface alone");
    }
    if bytes.len() >= V2_BYTES_MAX {
        assert_ne!(outcome, Preface::Partial, "no preface is so long");
    }
    check_prefixes(bytes, outcome);
}

/// Once a prefix has an outcome, every longer one has the same.
fn check_prefixes(bytes: &[u8], outcome: Preface) {
    let (near, far) = (0..bytes.len().min(CUTS), (CUTS..bytes.len()).step_by(97));
    let mut decided = false;
    for cut in near.chain(far) {
        match parse(&bytes[..cut]) {
            Preface::Partial => assert!(!decided, "undecided again after {cut} bytes"),
            early => {
                decided = true;
                assert_eq!(early, outcome, "after {cut} bytes");
            }
        }
    }
}

/// The slow and obvious way, by the version of the first byte.
fn naive_preface(bytes: &[u8]) -> Preface {
    match bytes.first() {
        None => Preface::Partial,
        Some(b'P') => naive_v1(bytes),
        Some(_) => naive_v2(bytes),
    }
}

fn naive_v1(bytes: &[u8]) -> Preface {
    if !b"PROXY ".iter().zip(bytes).all(|(expected, byte)| expected == byte) {
        return Preface::Bad;
    }
    let bytes = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    if !bytes.contains(&b'\n') {
        return if bytes.len() == V1_BYTES_MAX { Preface::Bad } else { Preface::Partial };
    }
    let line: Vec<u8> = bytes.iter().copied().take_while(|byte| *byte != b'\n').collect();
    // A byte that is not UTF-8 becomes a character that is in no address.
    let text = String::from_utf8_lossy(&line).into_owned();
    let Some(text) = text.strip_suffix('\r') else { return Preface::Bad };
    let words: Vec<&str> = text.split(' ').collect();
    let client = match words[1..] {
        ["UNKNOWN", ..] => None,
        ["TCP4", source, destination, from, to] => {
            let source = source.parse::<Ipv4Addr>().ok().filter(|_| naive_ports(from, to));
            source.filter(|_| destination.parse::<Ipv4Addr>().is_ok()).map(IpAddr::V4)
        }
        ["TCP6", source, destination, from, to] => {
            let source = source.parse::<Ipv6Addr>().ok().filter(|_| naive_ports(from, to));
            source.filter(|_| destination.parse::<Ipv6Addr>().is_ok()).map(unmapped)
        }
        _ => return Preface::Bad,
    };
    if client.is_none() && words[1] != "UNKNOWN" {
        return Preface::Bad;
    }
    Preface::Complete { client, consumed: line.len() + 1 }
}

/// A number that is written as this program would write it.
fn naive_ports(from: &str, to: &str) -> bool {
    [from, to].iter().all(|text| text.parse::<u16>().is_ok_and(|port| port.to_string() == *text))
}

fn naive_v2(bytes: &[u8]) -> Preface {
    for (at, byte) in bytes.iter().take(16).enumerate() {
        let right = match at {
            0..12 => *byte == SIGNATURE[at],
            12 => matches!(byte, 0x20 | 0x21),
            13 if bytes[12] == 0x21 => matches!(byte / 16, 0..=3) && matches!(byte % 16, 0..=2),
            _ => true,
        };
        if !right {
            return Preface::Bad;
        }
    }
    let Some(&[high, low]) = bytes.get(14..16) else { return Preface::Partial };
    let end = 16 + usize::from(high) * 256 + usize::from(low);
    let (family_bytes, with_ports) = match (bytes[12], bytes[13] / 16, bytes[13] % 16) {
        (0x21, 1, 1 | 2) => (4, 4),
        (0x21, 2, 1 | 2) => (16, 4),
        (0x21, 3, 1 | 2) => (108, 0),
        _ => (0, 0),
    };
    if end > V2_BYTES_MAX || end < 16 + 2 * family_bytes + with_ports {
        return Preface::Bad;
    }
    if bytes.len() < end {
        return Preface::Partial;
    }
    let source = bytes[16..16 + family_bytes].to_vec();
    let client = match family_bytes {
        4 => Some(IpAddr::V4(<[u8; 4]>::try_from(source).unwrap().into())),
        16 => Some(unmapped(<[u8; 16]>::try_from(source).unwrap().into())),
        _ => None,
    };
    Preface::Complete { client, consumed: end }
}

fn unmapped(ip: Ipv6Addr) -> IpAddr {
    match ip.octets() {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ip @ ..] => IpAddr::V4(ip.into()),
        _ => IpAddr::V6(ip),
    }
}
