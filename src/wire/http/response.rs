//! The HTTP head in front of a body, in one piece with it, so that one write sends both.
//!
//! Owns: status line, `Content-Type`, `Content-Length`, `Connection`, the few headers that caches
//! and browsers need, and where in the buffer the body goes.
//!
//! Never: chunks, dates, or other headers: clients read none of them.
//!
//! Limits: [`HEAD_BYTES_MAX`] in front of a body.
//!
//! A body's length is known only when it is written. So it is written first, behind a gap for a
//! head whose length has three digits, as nearly all bodies do. The head of a 200 lies ready, all
//! but those digits, and is copied into the gap in one piece. The few bodies of other lengths are
//! moved by a byte or two.

use crate::wire::bencode::{Full, Writer, four_digits};
use crate::wire::http::fault::HttpFault;
use crate::wire::http::head::{Head, Method};

/// Macros, so that `concat!` takes them.
macro_rules! status_ok {
    () => {
        "HTTP/1.1 200 OK"
    };
}
macro_rules! before_length {
    () => {
        "\r\nContent-Type: text/plain\r\nContent-Length: "
    };
}
macro_rules! head {
    ($($headers:literal),*) => {
        concat!(status_ok!(), before_length!(), "000", $($headers,)* "\r\n\r\n")
    };
}
macro_rules! heads {
    ($($headers:literal),*) => {
        [
            head!($($headers),*),
            head!($($headers,)* "\r\nConnection: close"),
            head!($($headers,)* "\r\nConnection: keep-alive"),
        ]
    };
}

const STATUS_OK: &str = status_ok!();
const BEFORE_LENGTH: &str = before_length!();
const CONTENT_ENCODING_GZIP: &str = "\r\nContent-Encoding: gzip";
const VARY: &str = "\r\nVary: Accept-Encoding";

/// Digits of a length that room is left for: bodies of 100 to 999 bytes, an announce of up to about
/// 140 IPv4 peers.
const USUAL_DIGITS: usize = 3;
/// Where the digits of a length stand in one of [`HEADS`], and what follows them.
const DIGITS_AT: usize = STATUS_OK.len() + BEFORE_LENGTH.len();
const BEHIND_DIGITS: usize = DIGITS_AT + USUAL_DIGITS;

/// The heads of a 200, all but their length: a row for each of [`Framing`]'s `proxied` and
/// `any_origin` (the lower and the upper bit), a column for what is said of the connection.
const HEADS: &[[&str; 3]; 4] = &[
    heads!(),
    heads!("\r\nCache-Control: no-store"),
    heads!("\r\nAccess-Control-Allow-Origin: *"),
    heads!("\r\nCache-Control: no-store", "\r\nAccess-Control-Allow-Origin: *"),
];
const LONGEST_HEAD: &str = HEADS[3][2];

/// The longest head of a 200: a full scrape's, gzipped, of 2^64-1 bytes.
pub const HEAD_BYTES_MAX: usize = STATUS_OK.len()
    + BEFORE_LENGTH.len()
    + "18446744073709551615".len()
    + CONTENT_ENCODING_GZIP.len()
    + VARY.len()
    + LONGEST_HEAD.len()
    - BEHIND_DIGITS;

/// Enough for any HTTP fault, the index and `/robots.txt`, which are a line or two of text each.
pub const LINE_BYTES_MAX: usize = 256;

/// How the answer to one request is framed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framing {
    /// The client speaks HTTP/1.0, and must be told when the connection stays.
    pub http10: bool,
    /// The connection stays for another request.
    pub keep_alive: bool,
    /// Only the head is sent (the method was HEAD).
    pub head_only: bool,
    /// A proxy was in between, and must not keep the answer for others: Varnish stores announces
    /// otherwise.
    pub proxied: bool,
    /// A page of any site may read the answer: a scrape's, and a failure's that refuses one.
    pub any_origin: bool,
}

impl Framing {
    /// For what never became a request: where the next one would begin is unknown, so the
    /// connection closes.
    pub const LAST: Framing = Framing {
        http10: false,
        keep_alive: false,
        head_only: false,
        proxied: false,
        any_origin: false,
    };

    /// The framing a request asks for. After a request with a body the connection cannot stay: the
    /// body is not read.
    pub fn of(head: &Head<'_>) -> Framing {
        Framing {
            http10: head.http10,
            keep_alive: head.keep_alive && !head.has_body,
            head_only: head.method == Method::Head,
            proxied: head.proxied,
            any_origin: false,
        }
    }

    /// The framing of what answers a scrape, whether it is refused or not.
    pub fn of_scrape(head: &Head<'_>) -> Framing {
        Framing { any_origin: true, ..Framing::of(head) }
    }

    /// The head of a 200, with zeros for the digits of its length.
    fn head(self) -> &'static [u8] {
        let row = usize::from(self.proxied) + 2 * usize::from(self.any_origin);
        let column = match (self.keep_alive, self.http10) {
            (true, false) => 0,
            (false, _) => 1,
            (true, true) => 2,
        };
        HEADS[row][column].as_bytes()
    }

    /// What follows the digits of a length.
    fn end_of_head(self) -> &'static [u8] {
        self.head().get(BEHIND_DIGITS..).unwrap_or_default()
    }
}

/// Writes a 200 into `out`, its body by `write_body`. Returns the bytes of the whole, or [`Full`]
/// when `out` is too small.
pub(super) fn ok(
    framing: Framing,
    out: &mut [u8],
    write_body: impl FnOnce(&mut Writer<'_>),
) -> Result<usize, Full> {
    let head = framing.head();
    let (gap, rest) = out.split_at_mut_checked(head.len()).ok_or(Full)?;
    let mut body = Writer::new(rest);
    write_body(&mut body);
    let body_bytes = body.written()?;
    let Some((digits, USUAL_DIGITS)) = four_digits(body_bytes) else {
        return put_before(STATUS_OK, framing, out, body_bytes);
    };
    gap.copy_from_slice(head);
    gap[DIGITS_AT..BEHIND_DIGITS].copy_from_slice(&digits[..USUAL_DIGITS]);
    Ok(if framing.head_only { head.len() } else { head.len() + body_bytes })
}

/// Writes an HTTP fault into `out`: one line of text.
///
/// # Errors
/// [`Full`] when `out` is too small; [`LINE_BYTES_MAX`] bytes are enough.
pub fn fault(fault: HttpFault, framing: Framing, out: &mut [u8]) -> Result<usize, Full> {
    let (status_line, text) = fault.texts();
    framed(status_line, framing, out, |body| body.raw(text.as_bytes()))
}

/// Writes the line of text that says who answers here: `/` without a query.
///
/// # Errors
/// [`Full`] when `out` is too small; [`LINE_BYTES_MAX`] bytes are enough.
pub fn index(framing: Framing, out: &mut [u8]) -> Result<usize, Full> {
    let text = concat!("announced ", env!("CARGO_PKG_VERSION"), ", a BitTorrent tracker\n");
    ok(framing, out, |body| body.raw(text.as_bytes()))
}

/// Writes the operator's text, for `/`.
///
/// # Errors
/// [`Full`] when `out` has less than [`LINE_BYTES_MAX`] bytes beside the text's.
pub fn text(text: &str, framing: Framing, out: &mut [u8]) -> Result<usize, Full> {
    ok(framing, out, |body| body.raw(text.as_bytes()))
}

/// Writes the way to the operator's page, for `/`; `url` is one that a header can hold.
///
/// # Errors
/// [`Full`] when `out` has less than [`LINE_BYTES_MAX`] bytes beside the URL's.
pub fn redirect(url: &str, framing: Framing, out: &mut [u8]) -> Result<usize, Full> {
    let mut head = Writer::new(out);
    head.raw(b"HTTP/1.1 302 Found\r\nLocation: ");
    head.raw(url.as_bytes());
    head.raw(BEFORE_LENGTH.as_bytes());
    head.raw(b"0");
    head.raw(framing.end_of_head());
    head.written()
}

/// Writes what asks search engines to stay away: `/robots.txt`.
///
/// # Errors
/// [`Full`] when `out` is too small; [`LINE_BYTES_MAX`] bytes are enough.
pub fn robots(framing: Framing, out: &mut [u8]) -> Result<usize, Full> {
    ok(framing, out, |body| body.raw(b"User-agent: *\nDisallow: /\n"))
}

/// Writes the answer to OPTIONS, on any path: the methods there are, and no body.
///
/// # Errors
/// [`Full`] when `out` is too small; [`LINE_BYTES_MAX`] bytes are enough.
pub fn options(framing: Framing, out: &mut [u8]) -> Result<usize, Full> {
    framed("HTTP/1.1 200 OK\r\nAllow: GET, HEAD, OPTIONS", framing, out, |_| {})
}

/// Writes the head of a full scrape, whose body of `body_bytes` (as sent, so gzipped when `gzip`)
/// follows from elsewhere. Any origin may read it, and a cache must tell its two encodings apart.
///
/// # Errors
/// [`Full`] when `out` is too small; [`HEAD_BYTES_MAX`] bytes are enough.
pub fn full_scrape_head(
    framing: Framing,
    body_bytes: u64,
    gzip: bool,
    out: &mut [u8],
) -> Result<usize, Full> {
    let mut digits = itoa::Buffer::new();
    let mut head = Writer::new(out);
    head.raw(STATUS_OK.as_bytes());
    head.raw(BEFORE_LENGTH.as_bytes());
    head.raw(digits.format(body_bytes).as_bytes());
    if gzip {
        head.raw(CONTENT_ENCODING_GZIP.as_bytes());
    }
    head.raw(VARY.as_bytes());
    head.raw(Framing { any_origin: true, ..framing }.end_of_head());
    head.written()
}

fn framed(
    status_line: &str,
    framing: Framing,
    out: &mut [u8],
    write_body: impl FnOnce(&mut Writer<'_>),
) -> Result<usize, Full> {
    let gap_bytes = status_line.len() + framing.head().len() - STATUS_OK.len();
    let mut body = Writer::new(out.get_mut(gap_bytes..).ok_or(Full)?);
    write_body(&mut body);
    let body_bytes = body.written()?;
    put_before(status_line, framing, out, body_bytes)
}

/// Puts a head in front of a body that stands behind a gap for a length of [`USUAL_DIGITS`], and
/// moves the body when its length has more or fewer.
#[cold]
fn put_before(
    status_line: &str,
    framing: Framing,
    out: &mut [u8],
    body_bytes: usize,
) -> Result<usize, Full> {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(body_bytes).as_bytes();
    let end_of_head = framing.end_of_head();
    let undigited_bytes = status_line.len() + BEFORE_LENGTH.len() + end_of_head.len();
    let (gap_bytes, head_bytes) = (undigited_bytes + USUAL_DIGITS, undigited_bytes + digits.len());
    if out.len() < head_bytes + body_bytes {
        return Err(Full);
    }
    out.copy_within(gap_bytes..gap_bytes + body_bytes, head_bytes);
    let mut head = Writer::new(out);
    head.raw(status_line.as_bytes());
    head.raw(BEFORE_LENGTH.as_bytes());
    head.raw(digits);
    head.raw(end_of_head);
    Ok(if framing.head_only { head_bytes } else { head_bytes + body_bytes })
}
