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
//! httparse does the work. It wants a target that is UTF-8, but a client may put an info hash there
//! with its bytes as they are, so for such a target, and only then, the request line is read here.

use std::mem::MaybeUninit;

use httparse::Status;
use memchr::{memchr, memchr2};

use crate::wire::head::{Head, RequestLine};
use crate::wire::query::{pairs, split_once, value_of};

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
    /// 405: neither GET nor HEAD.
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
                "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD",
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
        Err(httparse::Error::Token) => parse_head_with_raw_target(window),
        Err(error) => Err(error.into()),
    }
}

/// As [`parse_head`], for what httparse refuses because of one byte or other in its request line:
/// right only when that is a target with bytes from 0x80 up that are not UTF-8.
fn parse_head_with_raw_target(window: &[u8]) -> Result<Option<(Head<'_>, usize)>, HttpFault> {
    let (method, rest) = split_once(skip_empty_lines(window), b' ').ok_or(HttpFault::BadRequest)?;
    let target_bytes =
        rest.iter().position(|byte| *byte <= b' ' || *byte == 0x7f).ok_or(HttpFault::BadRequest)?;
    let (target, rest) = rest.split_at(target_bytes);
    if !is_token(method) || target.is_ascii() {
        return Err(HttpFault::BadRequest);
    }
    let Some((http10, header_block)) = version_and_rest(rest)? else {
        return Ok(None);
    };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    match httparse::parse_headers(header_block, &mut headers)? {
        Status::Complete((header_bytes, headers)) => {
            let consumed = window.len() - header_block.len() + header_bytes;
            Ok(Some((Head::new(RequestLine { method, target, http10 }, headers), consumed)))
        }
        Status::Partial => Ok(None),
    }
}

/// The version at the end of a request line, and what follows the line; none when it is cut short.
fn version_and_rest(tail: &[u8]) -> Result<Option<(bool, &[u8])>, HttpFault> {
    let tails: [(&[u8], bool); 4] = [
        (b" HTTP/1.1\r\n", false),
        (b" HTTP/1.1\n", false),
        (b" HTTP/1.0\r\n", true),
        (b" HTTP/1.0\n", true),
    ];
    for (text, http10) in tails {
        if let Some(rest) = tail.strip_prefix(text) {
            return Ok(Some((http10, rest)));
        }
    }
    if tails.iter().any(|(text, _)| text.starts_with(tail)) {
        Ok(None)
    } else {
        Err(HttpFault::BadRequest)
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// httparse has let the beginning pass, so what is skipped here are whole line ends.
fn skip_empty_lines(window: &[u8]) -> &[u8] {
    let empty_bytes =
        window.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(window.len());
    window.get(empty_bytes..).unwrap_or_default()
}

/// Where a request target leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route<'b> {
    /// An announce, with its query.
    Announce(&'b [u8]),
    /// A scrape, with its query.
    Scrape(&'b [u8]),
    /// The one line that says who answers here.
    Index,
    /// Nothing.
    NotFound,
}

/// Takes a request target apart: the beginning of its last path segment decides, whatever stands
/// before it (`/announce`, `/announce.php`, `//announce`, `/passkey/announce`, `http://host/announce`). Announces to the root are told by their info hash.
pub fn route(target: &[u8]) -> Route<'_> {
    let Some(target) = origin_form(target) else {
        return Route::NotFound;
    };
    let (path, mut query) = split_once(target, b'?').unwrap_or((target, b""));
    while let [b'?', rest @ ..] = query {
        query = rest;
    }
    let segment = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if segment.starts_with(b"announce") {
        Route::Announce(query)
    } else if segment.starts_with(b"scrape") {
        Route::Scrape(query)
    } else if !matches!(path, b"" | b"/") {
        Route::NotFound
    } else if query.is_empty() {
        Route::Index
    } else if pairs(query).any(|pair| value_of(pair, b"info_hash").is_some()) {
        Route::Announce(query)
    } else {
        Route::NotFound
    }
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
