//! What the headers of a request say that matters to a tracker (RFC 9110, RFC 9112).
//!
//! Owns: the few headers with a meaning here: may the connection stay, does a body follow, was a
//! proxy in between, is gzip welcome.
//!
//! Never: parses lines (`usual_head` and httparse do), or keeps a header. Host is not required: old
//! clients speak HTTP/1.0 without it.
//!
//! Limits: one look at each header; most are passed over by the length of their name alone.

/// The method, as far as it makes a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: the same answer without its body.
    Head,
    /// OPTIONS: answered with the methods there are. HAProxy's plain `option httpchk` sends it, and
    /// takes a server down that refuses it.
    Options,
    /// Anything else: answered with 405.
    Other,
}

/// The head of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head<'b> {
    /// What to do.
    pub method: Method,
    /// The request target, raw: any byte but controls and DEL. It begins with no space.
    /// [`route`](crate::wire::http::route::route) takes it apart.
    pub target: &'b [u8],
    /// HTTP/1.0, which closes unless it asks not to.
    pub http10: bool,
    /// The client wants to send another request on this connection.
    pub keep_alive: bool,
    /// A body follows. It is never read, so the connection must close after the answer.
    pub has_body: bool,
    /// A header says that a proxy was in between, whoever sent it. Such an answer must not be
    /// cached; nothing else follows from it.
    pub proxied: bool,
    codings: Codings<'b>,
    /// All bytes of the request, for who looks for a header that nobody else needs.
    pub bytes: &'b [u8],
}

impl Head<'_> {
    /// An answer may be gzipped. Only full scrapes are, so it is found out when they ask.
    pub fn accepts_gzip(&self) -> bool {
        self.codings.accept_gzip()
    }
}

impl Method {
    /// What a request line calls it.
    pub(super) fn of(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }
}

/// The request line of a head.
#[derive(Clone, Copy)]
pub(super) struct RequestLine<'b> {
    pub(super) method: Method,
    pub(super) target: &'b [u8],
    pub(super) http10: bool,
}

impl<'b> Head<'b> {
    #[inline]
    pub(super) fn new(line: RequestLine<'b>, notes: &Notes<'b>) -> Head<'b> {
        Head {
            method: line.method,
            target: line.target,
            http10: line.http10,
            keep_alive: !notes.close && (notes.keep_alive || !line.http10),
            has_body: notes.has_body,
            proxied: notes.proxied,
            codings: notes.codings,
            bytes: b"",
        }
    }
}

/// What the headers seen so far have said.
#[derive(Default)]
pub(super) struct Notes<'b> {
    close: bool,
    keep_alive: bool,
    has_body: bool,
    proxied: bool,
    codings: Codings<'b>,
}

impl<'b> Notes<'b> {
    pub(super) fn of(headers: &[httparse::Header<'b>]) -> Notes<'b> {
        let mut notes = Notes::default();
        headers.iter().for_each(|header| notes.take(header.name, header.value));
        notes
    }

    fn take(&mut self, name: &str, value: &'b [u8]) {
        // Nearly everybody writes names as the RFCs do, and comparing those byte for byte is ten
        // times faster.
        let is = |known: &str| name == known || name.eq_ignore_ascii_case(known);
        match name.len() {
            3 => self.proxied |= is("Via"),
            9 => self.proxied |= is("X-Real-IP") || is("Forwarded"),
            10 if is("Connection") => self.take_connection(value),
            14 if is("Content-Length") => self.has_body |= !is_decimal_zero(value),
            15 if is("Accept-Encoding") => self.take_accept_encoding(value),
            15 => self.proxied |= is("X-Forwarded-For"),
            17 => self.has_body |= is("Transfer-Encoding"),
            _ => {}
        }
    }

    pub(super) fn take_connection(&mut self, value: &[u8]) {
        // All that nearly everybody says.
        match value {
            b"close" => self.close = true,
            b"keep-alive" => self.keep_alive = true,
            _ => elements(value, b',').for_each(|option| {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }),
        }
    }

    #[inline]
    pub(super) fn take_accept_encoding(&mut self, value: &'b [u8]) {
        self.codings.take(value);
    }
}

/// What a request says of content codings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Codings<'b> {
    /// The last Accept-Encoding, which nobody has needed so far.
    unread: &'b [u8],
    /// Whether gzip is accepted, once it has been named.
    gzip: Option<bool>,
    /// Whether `*`, any coding that is not named, is accepted.
    any: Option<bool>,
}

impl<'b> Codings<'b> {
    #[inline]
    fn take(&mut self, value: &'b [u8]) {
        if !self.unread.is_empty() {
            self.read();
        }
        self.unread = value;
    }

    fn read(&mut self) {
        for element in elements(self.unread, b',') {
            let mut parts = elements(element, b';');
            let coding = parts.next().unwrap_or_default();
            let accepted = !parts.any(is_zero_weight);
            if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
                self.gzip = Some(accepted);
            } else if coding == b"*" {
                self.any = Some(accepted);
            }
        }
    }

    fn accept_gzip(mut self) -> bool {
        self.read();
        self.gzip.or(self.any).unwrap_or(false)
    }
}

fn elements(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    value.split(move |byte| *byte == separator).map(<[u8]>::trim_ascii)
}

/// Only a length that is surely nothing is taken for none: what cannot be read may be followed by a
/// body.
fn is_decimal_zero(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|digit| *digit == b'0')
}

/// `q=0`, `q=0.`, `q=0.000`: not wanted.
fn is_zero_weight(parameter: &[u8]) -> bool {
    match parameter {
        [b'q' | b'Q', b'=', weight @ ..] => weight.iter().all(|byte| matches!(byte, b'0' | b'.')),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(http10: bool, headers: &[(&'static str, &'static str)]) -> Head<'static> {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
            .collect();
        let line = RequestLine { method: Method::Get, target: b"/", http10 };
        Head::new(line, &Notes::of(&headers))
    }

    #[test]
    fn a_connection_stays_or_closes_by_version_and_header() {
        let rows: &[(bool, &[&str], bool)] = &[
            (false, &[], true),
            (false, &["close"], false),
            (false, &["Close"], false),
            (false, &["keep-alive"], true),
            (false, &["Keep-Alive, close"], false),
            (false, &["TE", "close"], false),
            (false, &["closed, upgrade"], true),
            (true, &[], false),
            (true, &["keep-alive"], true),
            (true, &["TE ,\tKEEP-ALIVE"], true),
            (true, &["keep-alive", "close"], false),
            (true, &["keep-alive-not"], false),
        ];
        for (http10, values, expected) in rows {
            let headers: Vec<_> = values.iter().map(|value| ("CONNECTION", *value)).collect();
            assert_eq!(
                head(*http10, &headers).keep_alive,
                *expected,
                "http10 {http10}, {values:?}"
            );
        }
    }

    #[test]
    fn only_a_length_of_zero_is_no_body() {
        let rows: &[(&[(&str, &str)], bool)] = &[
            (&[], false),
            (&[("Content-Length", "0")], false),
            (&[("content-length", "00")], false),
            (&[("Content-Length", "7")], true),
            (&[("Content-Length", "0, 0")], true),
            (&[("Content-Length", "-0")], true),
            (&[("Content-Length", "")], true),
            (&[("Content-Length", "0"), ("Content-Length", "5")], true),
            (&[("Transfer-Encoding", "chunked")], true),
            (&[("TRANSFER-ENCODING", "identity"), ("Content-Length", "0")], true),
            (&[("Content-Type", "application/x-www-form-urlencoded")], false),
        ];
        for (headers, expected) in rows {
            assert_eq!(head(false, headers).has_body, *expected, "{headers:?}");
        }
    }

    #[test]
    fn a_proxy_gives_itself_away() {
        for name in [
            "X-Forwarded-For",
            "x-forwarded-for",
            "Forwarded",
            "X-Real-IP",
            "x-real-ip",
            "Via",
            "via",
        ] {
            assert!(head(false, &[(name, "198.51.100.7")]).proxied, "{name}");
        }
        for name in [
            "Vib",
            "Forwarder",
            "X-Forwarded-Fox",
            "X-Real-IQ",
            "Host",
            "User-Agent",
            "Want-Digest",
        ] {
            assert!(!head(false, &[(name, "198.51.100.7")]).proxied, "{name}");
        }
    }

    #[test]
    fn gzip_is_welcome_only_when_asked_for() {
        let rows: &[(&[&str], bool)] = &[
            (&[], false),
            (&["gzip"], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["deflate, gzip, br, zstd"], true),
            (&["gzip;q=1.0, deflate;q=0"], true),
            (&["gzip;q=0"], false),
            (&["gzip ; Q=0.000"], false),
            (&["gzip;q=0.001"], true),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["gzip;q=0, *"], false),
            (&["*;q=0, gzip"], true),
            (&["identity", "gzip"], true),
            (&["gzipped, deflate"], false),
            (&[""], false),
        ];
        for (values, expected) in rows {
            let headers: Vec<_> = values.iter().map(|value| ("Accept-Encoding", *value)).collect();
            assert_eq!(head(false, &headers).accepts_gzip(), *expected, "{values:?}");
        }
    }
}
