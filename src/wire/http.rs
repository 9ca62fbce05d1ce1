//! HTTP/1.x requests out of a byte stream (RFC 9112), and where their targets lead.
//!
//! Owns: finding one complete head in the bytes read so far, the limits on it, the faults that are
//! answered with a 4xx or 5xx, and the routes.
//!
//! Never: reads, waits, or remembers: what is incomplete is [`Parsed::Partial`], and the caller
//! comes back with more bytes.
//!
//! Limits: the first `request_bytes_max` bytes and [`HEADERS_MAX`] headers. Nothing beyond them is
//! looked at, and a verdict on some bytes is the verdict on everything that begins with them, so
//! how the network cut a request never changes its outcome.
//!
//! httparse does the work. It wants a target that is UTF-8 and has no space, but a client may put an
//! info hash there with its bytes as they are, and libtorrent sends the space at the end of an
//! announce URL as it is: so for such a target, and only then, the request line is read here.

use std::mem::MaybeUninit;

use httparse::Status;
use memchr::{memchr, memchr2, memrchr2};

use crate::wire::head::{Head, RequestLine};
use crate::wire::query::{pairs, pairs_behind_question_marks, split_once, value_of};

/// Headers in one request. CDNs and browsers send twenty or so.
pub const HEADERS_MAX: usize = 64;

/// What the bytes read so far hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<'b> {
    /// The beginning of a request, and so far nothing is wrong with it.
    Partial,
    /// A request.
    Complete {
        /// Its head.
        head: Head<'b>,
        /// How many bytes it took; the next request begins behind them.
        consumed: usize,
    },
}

/// What is wrong below the tracker protocol; answered with its status, then the connection closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpFault {
    /// 400: not HTTP/1.x.
    BadRequest,
    /// 404: no route.
    NotFound,
    /// 405: neither GET nor HEAD nor OPTIONS.
    MethodNotAllowed,
    /// 408: part of a request arrived, and the rest did not in time.
    Timeout,
    /// 414: the limit was reached, and the request line takes the larger part of it.
    TargetTooLong,
    /// 431: the limit was reached, and the headers take the larger part of it, or there are too
    /// many of them.
    HeadersTooLarge,
    /// 503: too many connections to read this one.
    Overloaded,
}

impl HttpFault {
    /// The status line, and the text of the body: one line each. Transmission looks for
    /// `Request-URI Too Long` and asks for fewer torrents in its next scrape; RFC 9110 wants
    /// `Allow` with a 405.
    pub fn texts(self) -> (&'static str, &'static str) {
        match self {
            HttpFault::BadRequest => {
                ("HTTP/1.1 400 Bad Request", "Bad Request: this is not HTTP/1.1\n")
            }
            HttpFault::NotFound => {
                ("HTTP/1.1 404 Not Found", "Not Found: there is /announce and /scrape\n")
            }
            HttpFault::MethodNotAllowed => (
                "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD, OPTIONS",
                "Method Not Allowed: use GET\n",
            ),
            HttpFault::Timeout => (
                "HTTP/1.1 408 Request Timeout",
                "Request Timeout: the rest of the request did not come\n",
            ),
            HttpFault::TargetTooLong => (
                "HTTP/1.1 414 Request-URI Too Long",
                "Request-URI Too Long: ask for fewer torrents\n",
            ),
            HttpFault::HeadersTooLarge => (
                "HTTP/1.1 431 Request Header Fields Too Large",
                "Request Header Fields Too Large: send fewer headers\n",
            ),
            HttpFault::Overloaded => {
                ("HTTP/1.1 503 Service Unavailable", "Service Unavailable: too many connections\n")
            }
        }
    }
}

impl From<httparse::Error> for HttpFault {
    fn from(error: httparse::Error) -> HttpFault {
        match error {
            httparse::Error::TooManyHeaders => HttpFault::HeadersTooLarge,
            _ => HttpFault::BadRequest,
        }
    }
}

/// Looks for one request at the beginning of `input`. Empty lines before it are part of it (RFC
/// 9112, section 2.2), bare `\n` line ends are taken.
///
/// # Errors
/// [`HttpFault::BadRequest`], [`HttpFault::TargetTooLong`] or [`HttpFault::HeadersTooLarge`]; where
/// the next request would begin is then unknown.
pub fn parse(input: &[u8], request_bytes_max: usize) -> Result<Parsed<'_>, HttpFault> {
    let window = input.get(..request_bytes_max).unwrap_or(input);
    match parse_head(window)? {
        Some((head, consumed)) => Ok(Parsed::Complete { head, consumed }),
        None if window.len() < request_bytes_max => Ok(Parsed::Partial),
        None => Err(over_limit(window)),
    }
}

/// Whether the target or the headers made a request too long. Transmission asks for fewer torrents
/// at a time only when told that it was the target, so that is what is said when the target has the
/// larger part, too.
fn over_limit(window: &[u8]) -> HttpFault {
    match memchr(b'\n', skip_empty_lines(window)) {
        Some(line_bytes) if line_bytes <= window.len() / 2 => HttpFault::HeadersTooLarge,
        _ => HttpFault::TargetTooLong,
    }
}

/// The head at the beginning of `window` and its length, or none when it goes on behind it.
fn parse_head(window: &[u8]) -> Result<Option<(Head<'_>, usize)>, HttpFault> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(window, &mut headers) {
        Ok(Status::Complete(consumed)) => {
            let (Some(method), Some(target), Some(minor)) =
                (request.method, request.path, request.version)
            else {
                return Err(HttpFault::BadRequest);
            };
            let line = RequestLine {
                method: method.as_bytes(),
                target: target.as_bytes(),
                http10: minor == 0,
            };
            Ok(Some((Head::new(line, request.headers), consumed)))
        }
        Ok(Status::Partial) => Ok(None),
        Err(httparse::Error::Token | httparse::Error::Version | httparse::Error::NewLine) => {
            parse_head_with_raw_target(window)
        }
        Err(error) => Err(error.into()),
    }
}

/// As [`parse_head`], for what httparse refuses, perhaps because of its target: one with bytes from
/// 0x80 up that are not UTF-8, or with spaces, is right all the same. It ends before the version,
/// and the version ends the line.
fn parse_head_with_raw_target(window: &[u8]) -> Result<Option<(Head<'_>, usize)>, HttpFault> {
    let begin = skip_empty_lines(window);
    let line_bytes = memchr(b'\n', begin);
    let line = begin.get(..line_bytes.unwrap_or(begin.len())).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (method, rest) = split_once(line, b' ').ok_or(HttpFault::BadRequest)?;
    if !is_token(method) || rest.starts_with(b" ") || rest.iter().any(u8::is_ascii_control) {
        return Err(HttpFault::BadRequest);
    }
    let Some(line_bytes) = line_bytes else {
        return Ok(None);
    };
    let (target, http10) = match rest {
        [target @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'] => (target, false),
        [target @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'] => (target, true),
        _ => return Err(HttpFault::BadRequest),
    };
    if target.is_empty() {
        return Err(HttpFault::BadRequest);
    }
    let header_block = begin.get(line_bytes + 1..).unwrap_or_default();
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    match httparse::parse_headers(header_block, &mut headers)? {
        Status::Complete((header_bytes, headers)) => {
            let consumed = window.len() - header_block.len() + header_bytes;
            Ok(Some((Head::new(RequestLine { method, target, http10 }, headers), consumed)))
        }
        Status::Partial => Ok(None),
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn skip_empty_lines(mut window: &[u8]) -> &[u8] {
    while let [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] = window {
        window = rest;
    }
    window
}

/// Where a request target leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route<'b> {
    /// An announce, with its query.
    Announce(&'b [u8]),
    /// A scrape, with its query, fragment included: see [`Hashes`](super::scrape::Hashes).
    Scrape(&'b [u8]),
    /// The one line that says who answers here.
    Index,
    /// The lines that ask search engines to stay away.
    Robots,
    /// Nothing.
    NotFound,
}

/// Takes a request target apart. The last path segment that begins with `announce` or `scrape`
/// decides, whatever stands before or behind it: `/announce`, `/announce.php`, `//announce`,
/// `/announce/`, `/KEY/announce`, `/announce/KEY`, `http://host/announce`. Announces to the root are
/// told by their info hash. Segments are compared as they were sent: no client escapes them.
pub fn route(target: &[u8]) -> Route<'_> {
    let Some(target) = origin_form(target) else {
        return Route::NotFound;
    };
    let (path, mut query) = split_once(target, b'?').unwrap_or((target, b""));
    while let [b'?', rest @ ..] = query {
        query = rest;
    }
    for segment in path.rsplit(|byte| *byte == b'/') {
        if segment.starts_with(b"announce") {
            return Route::Announce(without_fragment(query));
        }
        if segment.starts_with(b"scrape") {
            return Route::Scrape(query);
        }
    }
    let query = without_fragment(query);
    match without_fragment(path) {
        b"/robots.txt" => Route::Robots,
        b"" | b"/" if query.is_empty() => Route::Index,
        b"" | b"/" if names_info_hash(query) => Route::Announce(query),
        _ => Route::NotFound,
    }
}

/// Cuts off what a `#` in the last pair of a query begins: libtorrent sends the fragment of an
/// announce URL. In a pair before the last, `#` is a byte of an info hash that was not escaped.
fn without_fragment(mut query: &[u8]) -> &[u8] {
    while let Some(at) = memrchr2(b'#', b'&', query)
        && query[at] == b'#'
    {
        query = &query[..at];
    }
    query
}

fn names_info_hash(query: &[u8]) -> bool {
    let is_info_hash = |pair| value_of(pair, b"info_hash").is_some();
    pairs(query).any(is_info_hash)
        || pairs_behind_question_marks(query).is_some_and(|mut pairs| pairs.any(is_info_hash))
}

/// Path and query of a target; of an absolute one (`http://host/announce?…`, as proxies are sent) what follows its host.
fn origin_form(target: &[u8]) -> Option<&[u8]> {
    if let [b'/' | b'?', ..] = target {
        return Some(target);
    }
    let (scheme, rest) = split_once(target, b':')?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let after_scheme = rest.strip_prefix(b"//")?;
    let host_bytes = memchr2(b'/', b'?', after_scheme).unwrap_or(after_scheme.len());
    after_scheme.get(host_bytes..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_cut_off_wherever_it_stands_in_the_last_pair() {
        for bytes in 0..40 {
            for at in 0..bytes {
                let mut query = vec![b'%'; bytes];
                query[at] = b'#';
                assert_eq!(without_fragment(&query), &query[..at], "# at {at} of {bytes}");
                for other in at + 1..bytes {
                    query[other] = b'#';
                    assert_eq!(without_fragment(&query), &query[..at], "two # from {at} on");
                    query[other] = b'&';
                    assert_eq!(without_fragment(&query), query, "& at {other} behind # at {at}");
                    query[other] = b'%';
                }
            }
            for filling in [b'%', b'\'', b'"', 0, 0xff] {
                let query = vec![filling; bytes];
                assert_eq!(without_fragment(&query), query, "{bytes} of {filling}");
            }
        }
    }
}
