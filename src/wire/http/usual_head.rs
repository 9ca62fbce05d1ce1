//! Request heads in the one form that nearly every announce has.
//!
//! Owns: that form. It is the `GET` of a path by `HTTP/1.1` with no headers but Host, User-Agent,
//! Accept, Accept-Encoding and Connection, written so, and `\r\n` behind each line. Such a head is
//! read in one pass, by less than half the instructions of a parser that takes everything.
//!
//! Never: refuses anything. What has another form, or another header (as all that a proxy sets
//! are), or goes on behind the window, is none, and httparse reads it. What has the form means what
//! httparse says it means: the fuzz target `http_head` compares the two.
//!
//! Limits: [`LINES_MAX`].

use crate::wire::http::head::{Head, Method, Notes, RequestLine};

/// Lines behind the request line, the empty one included: a client sends four or five.
const LINES_MAX: usize = 9;

/// The head at the beginning of `window` and its length.
#[inline]
pub(super) fn read(window: &[u8]) -> Option<(Head<'_>, usize)> {
    let (target, mut rest) = read_request_line(window)?;
    let mut notes = Notes::default();
    for _ in 0..LINES_MAX {
        rest = match rest {
            [b'\r', b'\n', behind @ ..] => {
                let line = RequestLine { method: Method::Get, target, http10: false };
                return Some((Head::new(line, &notes), window.len() - behind.len()));
            }
            [b'H', ..] => split_line(rest.strip_prefix(b"Host: ")?)?.1,
            [b'U', ..] => split_line(rest.strip_prefix(b"User-Agent: ")?)?.1,
            [b'C', ..] => {
                let (value, rest) = split_line(rest.strip_prefix(b"Connection: ")?)?;
                notes.take_connection(value);
                rest
            }
            [b'A', _, _, _, _, _, b'-', ..] => {
                let (value, rest) = split_line(rest.strip_prefix(b"Accept-Encoding: ")?)?;
                // httparse trims values.
                if let [b' ', ..] | [.., b' '] = value {
                    return None;
                }
                notes.take_accept_encoding(value);
                rest
            }
            _ => split_line(rest.strip_prefix(b"Accept: ")?)?.1,
        };
    }
    None
}

/// The target, and what stands behind its line.
#[inline]
fn read_request_line(window: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = split_line(window.get(skip_plain(window)..)?)?;
    let line = window.get(..window.len() - rest.len())?;
    let target = line.strip_prefix(b"GET ")?.strip_suffix(b" HTTP/1.1\r\n")?;
    target.starts_with(b"/").then_some((target, rest))
}

/// What stands before the first control character, and behind it; none when that is not a `\r\n`.
#[inline(always)]
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = bytes.split_at_checked(find_control(bytes))?;
    Some((line, rest.strip_prefix(b"\r\n")?))
}

/// How many bytes, thirty-two at a time, are no control characters.
#[inline]
fn skip_plain(bytes: &[u8]) -> usize {
    // Without a way out in its middle, a chunk is compared as two vectors.
    let is_plain =
        |chunk: &[u8; 32]| !chunk.iter().fold(false, |found, byte| found | byte.is_ascii_control());
    let mut rest = bytes;
    while let Some((chunk, behind)) = rest.split_first_chunk()
        && is_plain(chunk)
    {
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// Where the first control character stands (up to 0x1f, and 0x7f), or the end.
#[inline(always)]
fn find_control(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let below_space = word.wrapping_sub(0x20 * ONES);
        let is_delete = (word ^ (0x7f * ONES)).wrapping_sub(ONES);
        // The highest bit of each control character; those above the lowest one mean nothing.
        let hits = (below_space | is_delete) & !word & (ONES << 7);
        if hits != 0 {
            return bytes.len() - rest.len() + hits.trailing_zeros() as usize / 8;
        }
        rest = behind;
    }
    bytes.len() - rest.len() + rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len())
}
