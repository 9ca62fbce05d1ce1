//! HTTP/1.x requests out of a byte stream (RFC 9112).
//!
//! Owns: finding one complete head in the bytes read so far, and the limits on it.
//!
//! Never: reads, waits, or remembers: what is incomplete is [`Parsed::Partial`], and the caller
//! comes back with more bytes.
//!
//! Limits: the first `request_bytes_max` bytes and [`HEADERS_MAX`] headers. Nothing beyond them is
//! looked at, and a verdict on some bytes is the verdict on everything that begins with them, so
//! how the network cut a request never changes its outcome.
//!
//! What nearly every client sends is read by `usual_head`, everything else by httparse. That wants
//! a target that is UTF-8 and has no space, but a client may put an info hash there with its bytes
//! as they are, and libtorrent sends the space at the end of an announce URL as it is: so for such
//! a target, and only then, the request line is read here.

use std::mem::MaybeUninit;

use httparse::Status;
use memchr::memchr;

use crate::wire::http::fault::HttpFault;
use crate::wire::http::head::{Head, Method, Notes, RequestLine};
use crate::wire::http::usual_head;
use crate::wire::query::split_once;

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

/// Looks for one request at the beginning of `input`. Empty lines before it are part of it (RFC
/// 9112, section 2.2), bare `\n` line ends are taken.
///
/// # Errors
/// [`HttpFault::BadRequest`], [`HttpFault::TargetTooLong`] or [`HttpFault::HeadersTooLarge`]; where
/// the next request would begin is then unknown.
#[inline(never)]
pub fn parse(input: &[u8], request_bytes_max: usize) -> Result<Parsed<'_>, HttpFault> {
    let window = input.get(..request_bytes_max).unwrap_or(input);
    let found = match usual_head::read(window) {
        None => parse_head(window)?,
        usual => usual,
    };
    match found {
        Some((mut head, consumed)) => {
            head.bytes = window.get(..consumed).unwrap_or_default();
            Ok(Parsed::Complete { head, consumed })
        }
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
#[cold]
#[inline(never)]
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
                method: Method::of(method.as_bytes()),
                target: target.as_bytes(),
                http10: minor == 0,
            };
            Ok(Some((Head::new(line, &Notes::of(request.headers)), consumed)))
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
            let line = RequestLine { method: Method::of(method), target, http10 };
            Ok(Some((Head::new(line, &Notes::of(headers)), consumed)))
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
