//! The header in which a proxy names the client of a request: `X-Forwarded-For`, `Forwarded`
//! (RFC 7239), and the headers with one address (`X-Real-IP`, `CF-Connecting-IP`, …).
//!
//! Owns: the addresses in the lines of one header, and which of them is the client's.
//!
//! Never: asks which header is believed, or of whom: that is a setting, and the caller's question.
//! Never takes one header for another: a proxy that sets `X-Real-IP` passes the client's own
//! `X-Forwarded-For` on.
//!
//! Limits: [`ELEMENTS_MAX`] elements; time linear in the lines.
//!
//! A proxy appends; what stands before its own words was written by somebody else, perhaps by the
//! client, perhaps to harm. So everything is read from the right, quotes included, and no further
//! than the client's address: nothing that a client writes changes how the proxy's words are read.
//!
//! All these headers are read as one: a list of elements, each an address, or pairs of which `for`
//! has the address. Ports, brackets, quotes and the zones of IPv6 (Go writes them) are left out.

use std::net::{IpAddr, Ipv6Addr};

use memchr::memchr;

use crate::wire::query::split_once;

/// Elements that are looked at, from the right. So many trusted proxies in a row are a loop.
pub const ELEMENTS_MAX: usize = 32;

/// The client's address in the `lines` of the believed header, in the order in which they were
/// sent: the right-most that is not `is_trusted`, and the left-most when all are. None when there
/// is no address, and when what stands in its place cannot be read (`unknown`, `_hidden`).
pub fn client<'b>(
    lines: impl DoubleEndedIterator<Item = &'b [u8]>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut left_most = None;
    let mut elements = lines.rev().flat_map(addresses);
    for address in elements.by_ref().take(ELEMENTS_MAX) {
        let address = address?;
        if !is_trusted(address) {
            return Some(address);
        }
        left_most = Some(address);
    }
    if elements.next().is_some() { None } else { left_most }
}

/// The values of the header `name` in a request that has been parsed: `request` is its bytes, and
/// may begin with its request line. In the order in which they were sent.
pub fn lines<'b>(request: &'b [u8], name: &str) -> impl DoubleEndedIterator<Item = &'b [u8]> {
    request.split(|byte| *byte == b'\n').filter_map(move |line| {
        let (field, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        field.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// The addresses in one line from the right; `None` is an element that cannot be read. Empty
/// elements are left out (RFC 9110, section 5.6.1.2). IPv4-mapped addresses come out as IPv4.
pub fn addresses(line: &[u8]) -> Addresses<'_> {
    Addresses { rest: Some(line) }
}

/// Walks a line; made by [`addresses`].
#[derive(Clone, Debug)]
pub struct Addresses<'b> {
    rest: Option<&'b [u8]>,
}

impl Iterator for Addresses<'_> {
    type Item = Option<IpAddr>;

    fn next(&mut self) -> Option<Option<IpAddr>> {
        loop {
            let (rest, element) = split_last(self.rest?, b',');
            self.rest = rest;
            let element = element.trim_ascii();
            if !element.is_empty() {
                return Some(address(element));
            }
        }
    }
}

/// What stands before and behind the last `separator` that is not in quotes; nothing before it when
/// there is none.
fn split_last(bytes: &[u8], separator: u8) -> (Option<&[u8]>, &[u8]) {
    let mut quoted = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        if *byte == b'"' && !(quoted && is_escaped(bytes, at)) {
            quoted = !quoted;
        } else if *byte == separator && !quoted {
            return (Some(&bytes[..at]), &bytes[at + 1..]);
        }
    }
    (None, bytes)
}

/// Whether the byte at `at` stands behind an odd number of backslashes.
fn is_escaped(bytes: &[u8], at: usize) -> bool {
    bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

fn address(element: &[u8]) -> Option<IpAddr> {
    let node = if memchr(b'=', element).is_some() { value_of_for(element)? } else { element };
    let node = match node {
        [b'"', quoted @ .., b'"'] => quoted,
        bare => bare,
    };
    let node = str::from_utf8(node).ok()?;
    let address = match node.strip_prefix('[') {
        Some(node) => {
            let (ip, port) = node.split_once(']')?;
            if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
                return None;
            }
            IpAddr::V6(ipv6(ip)?)
        }
        // Of an IPv6 address without brackets, the port cannot be told.
        None => match node.split_once(':') {
            None => IpAddr::V4(node.parse().ok()?),
            Some((ip, port)) if !port.contains(':') && is_port(port) => {
                IpAddr::V4(ip.parse().ok()?)
            }
            Some(_) => IpAddr::V6(ipv6(node)?),
        },
    };
    Some(address.to_canonical())
}

/// The value of `for` among the pairs of an element. None when it is missing, or there twice: one
/// of them may have come in by a value that some proxy failed to quote.
fn value_of_for(element: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(pairs) = rest {
        let (before, pair) = split_last(pairs, b';');
        rest = before;
        let (name, value) = split_once(pair, b'=').unwrap_or((pair, b""));
        if name.trim_ascii().eq_ignore_ascii_case(b"for")
            && found.replace(value.trim_ascii()).is_some()
        {
            return None;
        }
    }
    found
}

fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.split_once('%').map_or(text, |(ip, _zone)| ip).parse().ok()
}

/// A number, or a name that hides it (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.bytes().all(is_right)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::property;

    /// 10.0.0.0/8, 127.0.0.1, fd00::/8 and Cloudflare's 173.245.48.0/20 are proxies.
    fn is_trusted(ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                a == 10 || ip.is_loopback() || (a, b, c & 0xf0) == (173, 245, 48)
            }
            IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
        }
    }

    fn client_of(lines: &[&str]) -> Option<String> {
        client(lines.iter().map(|line| line.as_bytes()), is_trusted).map(|ip| ip.to_string())
    }

    #[test]
    fn lines_as_real_proxies_send_them() {
        let rows: &[(&str, &[&str], Option<&str>)] = &[
            ("nginx, $proxy_add_x_forwarded_for", &["198.51.100.7"], Some("198.51.100.7")),
            (
                "nginx, behind a client that forges",
                &["1.1.1.1, 9.9.9.9, 198.51.100.7"],
                Some("198.51.100.7"),
            ),
            ("nginx, X-Real-IP $remote_addr", &["2001:db8::7"], Some("2001:db8::7")),
            ("nginx, $remote_addr of [::]:80", &["::ffff:198.51.100.7"], Some("198.51.100.7")),
            ("nginx behind nginx", &["198.51.100.7, 10.0.0.2"], Some("198.51.100.7")),
            (
                "nginx, RFC 7239 by its map",
                &["for=198.51.100.7, for=\"[fd00::2]\""],
                Some("198.51.100.7"),
            ),
            (
                "HAProxy, option forwardfor, beside the client's own line",
                &["1.1.1.1", "198.51.100.7"],
                Some("198.51.100.7"),
            ),
            (
                "HAProxy 2.8, option forwarded",
                &["proto=http;for=198.51.100.7"],
                Some("198.51.100.7"),
            ),
            (
                "HAProxy 2.8, option forwarded with all it can say",
                &["proto=https;host=\"tracker.example\";by=\"[2001:db8::1]\";\
                     for=\"[2001:db8::7]:51234\""],
                Some("2001:db8::7"),
            ),
            ("Cloudflare, CF-Connecting-IP", &["198.51.100.7"], Some("198.51.100.7")),
            (
                "Cloudflare, X-Forwarded-For at a proxy behind it",
                &["198.51.100.7, 173.245.48.9"],
                Some("198.51.100.7"),
            ),
            (
                "Cloudflare, a header that the client had sent",
                &["1.1.1.1,198.51.100.7"],
                Some("198.51.100.7"),
            ),
            ("Akamai, True-Client-IP", &["198.51.100.7"], Some("198.51.100.7")),
            (
                "Akamai, X-Forwarded-For over a parent",
                &["198.51.100.7, 10.18.3.4, 10.7.1.9"],
                Some("198.51.100.7"),
            ),
            ("Varnish 4 and later, appended", &["1.1.1.1, 198.51.100.7"], Some("198.51.100.7")),
            ("AWS ALB", &["198.51.100.7"], Some("198.51.100.7")),
            (
                "AWS ALB with client ports",
                &["1.1.1.1:80, 198.51.100.7:46532"],
                Some("198.51.100.7"),
            ),
            ("AWS ALB with client ports, IPv6", &["[2001:db8::7]:46532"], Some("2001:db8::7")),
            ("Azure Application Gateway", &["198.51.100.7:46532"], Some("198.51.100.7")),
            ("Traefik and Go, with a zone", &["fe80::7%eth0"], Some("fe80::7")),
            ("Squid, forwarded_for off", &["unknown"], None),
            ("Squid, forwarded_for off, at a trusted proxy", &["1.1.1.1, unknown"], None),
        ];
        for (name, lines, expected) in rows {
            assert_eq!(client_of(lines).as_deref(), *expected, "{name}");
        }
    }

    #[test]
    fn the_client_is_the_right_most_that_is_no_proxy() {
        let rows: &[(&str, &[&str], Option<&str>)] = &[
            ("no line", &[], None),
            ("an empty line", &[""], None),
            ("nothing but separators", &[" , ,,\t,"], None),
            ("empty elements", &[",198.51.100.7, , 10.0.0.1,,"], Some("198.51.100.7")),
            ("spaces and tabs", &["  1.1.1.1\t,\t198.51.100.7 "], Some("198.51.100.7")),
            ("an empty last line", &["198.51.100.7", ""], Some("198.51.100.7")),
            (
                "several lines",
                &["1.1.1.1", "198.51.100.7, 10.0.0.3", "10.0.0.2"],
                Some("198.51.100.7"),
            ),
            ("proxies only", &["10.0.0.3, 10.0.0.2", "127.0.0.1"], Some("10.0.0.3")),
            ("a mapped proxy", &["198.51.100.7, ::ffff:10.0.0.1"], Some("198.51.100.7")),
            ("one proxy", &["10.0.0.3"], Some("10.0.0.3")),
            ("behind proxies stands nothing", &["nobody, 10.0.0.3"], None),
            (
                "what a client wrote is not looked at",
                &["nobody\", 198.51.100.7"],
                Some("198.51.100.7"),
            ),
        ];
        for (name, lines, expected) in rows {
            assert_eq!(client_of(lines).as_deref(), *expected, "{name}");
        }
        let hops = |proxies: usize| format!("198.51.100.7{}", ", 10.0.0.1".repeat(proxies));
        assert_eq!(client_of(&[&hops(ELEMENTS_MAX - 1)]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client_of(&[&hops(ELEMENTS_MAX)]), None, "more proxies than are looked at");
        let proxies_only = "10.0.0.1,".repeat(ELEMENTS_MAX);
        assert_eq!(client_of(&[&proxies_only]).as_deref(), Some("10.0.0.1"), "all are looked at");
    }

    #[test]
    fn an_element_is_an_address_or_cannot_be_read() {
        let rows: &[(&str, Option<&str>)] = &[
            ("198.51.100.7", Some("198.51.100.7")),
            ("198.51.100.7:80", Some("198.51.100.7")),
            ("198.51.100.7:_port", Some("198.51.100.7")),
            ("\"198.51.100.7:80\"", Some("198.51.100.7")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("2001:DB8:0:0:0:0:0:7", Some("2001:db8::7")),
            ("::", Some("::")),
            ("[2001:db8::7]", Some("2001:db8::7")),
            ("[2001:db8::7]:80", Some("2001:db8::7")),
            ("\"[2001:db8::7]:80\"", Some("2001:db8::7")),
            ("[fe80::7%eth0]:80", Some("fe80::7")),
            ("::ffff:198.51.100.7", Some("198.51.100.7")),
            ("[::ffff:198.51.100.7]:80", Some("198.51.100.7")),
            ("for=198.51.100.7", Some("198.51.100.7")),
            ("For=\"198.51.100.7\"", Some("198.51.100.7")),
            ("FOR=198.51.100.7;proto=http;by=203.0.113.43", Some("198.51.100.7")),
            ("by=203.0.113.43 ; for=\"[2001:db8::7]:4711\" ; proto=http", Some("2001:db8::7")),
            ("host=\"a,b;for=1.1.1.1\";for=198.51.100.7", Some("198.51.100.7")),
            ("for=198.51.100.7;host=\"a\\\",for=1.1.1.1\"", Some("198.51.100.7")),
            ("for=198.51.100.7;host=\"a\\\\\"", Some("198.51.100.7")),
            (";for=198.51.100.7;", Some("198.51.100.7")),
            ("for=unknown", None),
            ("for=_SEVKISEK", None),
            ("for=", None),
            ("for", None),
            ("proto=http;by=203.0.113.43", None),
            ("xfor=198.51.100.7", None),
            ("for=1.1.1.1;for=198.51.100.7", None),
            ("for=198.51.100.7;host=evil;for=1.1.1.1", None),
            ("for=\"198.51.100.7", None),
            ("unknown", None),
            ("198.51.100.07", None),
            ("198.51.100", None),
            ("198.51.100.7:", None),
            ("198.51.100.7:80:80", None),
            ("198.51.100.7 198.51.100.8", None),
            ("2001:db8::7:80:1:1:1:1:1:1", None),
            ("[198.51.100.7]", None),
            ("[2001:db8::7", None),
            ("[2001:db8::7]80", None),
            ("[2001:db8::7]:", None),
            ("tracker.example", None),
            ("\"\"", None),
            ("\"", None),
            ("\u{e9}", None),
        ];
        for (element, expected) in rows {
            let found: Vec<_> = addresses(element.as_bytes()).collect();
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(found, [expected], "{element}");
        }
    }

    #[test]
    fn the_lines_of_a_header_are_found_whatever_its_case() {
        let request =
            b"\r\nGET /announce?x-real-ip:1 HTTP/1.1\r\nHost: x\r\nX-Real-IP: 198.51.100.7\r\n\
            X-Real-IPs: 1.1.1.1\r\nx-real-ip:\t9.9.9.9 \nX-Real-IP:\r\nX-Real-IP : 2.2.2.2\r\n\r\n";
        let found: Vec<_> = lines(request, "X-Real-IP").collect();
        assert_eq!(found, [b"198.51.100.7".as_slice(), b"9.9.9.9", b""]);
        assert_eq!(lines(request, "Forwarded").count(), 0);
    }

    /// Whoever may write what stands before it: a proxy's own words are read as it wrote them.
    #[test]
    fn nothing_that_a_client_writes_changes_what_its_proxy_says() {
        let byte = prop_oneof![proptest::sample::select(&b"\",;= \\for[]:.1"[..]), any::<u8>(),];
        let expected: Option<IpAddr> = "198.51.100.7".parse().ok();
        property(2048, vec(byte, 0..60), |forged| {
            for words in ["198.51.100.7", "for=198.51.100.7;proto=http", "for=\"198.51.100.7:80\""]
            {
                let appended = [&forged, b", ".as_slice(), words.as_bytes()].concat();
                let found = client([appended.as_slice()].into_iter(), is_trusted);
                prop_assert_eq!(found, expected, "appended to the line");
                let found = client([&forged, words.as_bytes()].into_iter(), is_trusted);
                prop_assert_eq!(found, expected, "in a line of its own");
            }
            Ok(())
        });
    }
}
