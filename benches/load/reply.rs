//! As much of a reply as the load looks at: its status, its length, and whether it is a failure.

use memchr::memmem::Finder;

/// How far a head may reach; those of the trackers have some hundred bytes.
const HEAD_BYTES_MAX: usize = 512;
/// Where a tracker's status stands, whatever its version of HTTP.
const STATUS: std::ops::Range<usize> = 9..12;
const FAILURE: &[u8] = b"d14:failure reason";

/// What the bytes read so far begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// The beginning of a reply.
    Partial,
    /// Something else.
    Garbage,
    /// A reply of so many bytes, head included, and whether it is what was asked for.
    Whole(usize, bool),
}

/// Finds replies.
pub(crate) struct Reader {
    end_of_head: Finder<'static>,
    length: Finder<'static>,
}

impl Reader {
    pub(crate) fn new() -> Reader {
        Reader { end_of_head: Finder::new("\r\n\r\n"), length: Finder::new("ength:") }
    }

    /// The first reply of `bytes`.
    pub(crate) fn first(&self, bytes: &[u8]) -> Reply {
        let Some(end) = self.end_of_head.find(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]) else {
            return if bytes.len() < HEAD_BYTES_MAX { Reply::Partial } else { Reply::Garbage };
        };
        let (head, body) = (&bytes[..end], &bytes[end + 4..]);
        let Some(body_bytes) = self.length.find(head).and_then(|at| number(&head[at + 6..])) else {
            return Reply::Garbage;
        };
        if body.len() < body_bytes {
            return Reply::Partial;
        }
        let good = head.get(STATUS) == Some(b"200") && !body.starts_with(FAILURE);
        Reply::Whole(end + 4 + body_bytes, good)
    }
}

/// The number at the beginning of a header's value.
fn number(value: &[u8]) -> Option<usize> {
    let digits = value.trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    str::from_utf8(&digits[..end]).ok()?.parse().ok()
}
