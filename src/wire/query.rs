//! Query strings: pairs, and the percent-decoding of their values.
//!
//! Owns: the splitting on `&` and behind a key, and the decoding of `%xx` and `+`.
//!
//! Never: refuses a query, knows a key, or asks for UTF-8. A tail such as `& & = =` (Azureus) is a
//! pair nobody asks for. Keys are compared as they were sent; no client escapes them.
//!
//! Limits: time linear in the query; decoded values are as long as the caller's type says.
//!
//! `+` is a space, as the form encoding of PHP, Python and JavaScript means it: twelve real clients
//! were captured, and each sends a plus as `%2B`. Every other byte but `%` stands for itself, bytes
//! from 0x80 up included. A broken escape makes its value invalid, not the query.

use arrayvec::ArrayVec;
use memchr::memchr;

/// Digits whose number fits 64 bits, whatever they are.
const USUAL_DIGITS_MAX: usize = 19;

/// The pairs of a query, in order and as they were sent. Empty ones are left out.
pub fn pairs(query: &[u8]) -> Pairs<'_> {
    Pairs { rest: query }
}

/// The pairs of a query when `?` separates them as well; none when it has no `?`, since the pairs
/// are then those of [`pairs`]. `passkey=K?info_hash=…` is what clients make of an announce URL that
/// has a query already: who needs an `info_hash` and finds none looks again here.
pub fn pairs_behind_question_marks(query: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    memchr(b'?', query)?;
    let pairs = query.split(|byte| matches!(byte, b'&' | b'?'));
    Some(pairs.filter(|pair| !pair.is_empty()))
}

/// Walks a query; made by [`pairs`].
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'q> {
    rest: &'q [u8],
}

impl<'q> Iterator for Pairs<'q> {
    type Item = &'q [u8];

    #[inline]
    fn next(&mut self) -> Option<&'q [u8]> {
        while let [b'&', rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let (pair, rest) = self.rest.split_at(find(self.rest, b'&'));
        // The `&` behind a pair belongs to it.
        self.rest = rest.get(1..).unwrap_or_default();
        Some(pair)
    }
}

/// What a pair says of `key`: what stands behind its first `=`, nothing when it is a bare key. None
/// when its key is another one.
#[inline]
pub fn value_of<'q>(pair: &'q [u8], key: &[u8]) -> Option<&'q [u8]> {
    match pair.strip_prefix(key)? {
        [b'=', value @ ..] => Some(value),
        [] => Some(&[]),
        _ => None,
    }
}

/// Where the first `byte` stands, or the end. Most pairs are short: eight bytes at a time in line
/// are through before a vectorised search has set out.
#[inline]
fn find(bytes: &[u8], byte: u8) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (words, tail) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let differences = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
        // The highest bit of each byte without a difference; those above the lowest such byte mean
        // nothing.
        let hits = differences.wrapping_sub(ONES) & !differences & (ONES << 7);
        if hits != 0 {
            return 8 * at + hits.trailing_zeros() as usize / 8;
        }
    }
    8 * words.len() + tail.iter().position(|other| *other == byte).unwrap_or(tail.len())
}

/// What stands before and after the first `byte`; none when there is none.
pub(super) fn split_once(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let (before, from) = bytes.split_at_checked(memchr(byte, bytes)?)?;
    Some((before, from.get(1..)?))
}

/// A value that must decode to exactly `N` bytes; none when it is longer, shorter or broken.
// Twice in every announce, and a call costs as much as the fast path.
#[inline(always)]
pub fn decode_exact<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    // Most peer ids and all flags are sent as they are.
    if let Ok(raw) = <[u8; N]>::try_from(value)
        && !raw.iter().fold(false, |found, byte| found | matches!(byte, b'%' | b'+'))
    {
        return Some(raw);
    }
    let mut decoded = [0; N];
    let mut rest = Decode { rest: value };
    for byte in &mut decoded {
        *byte = rest.next()??;
    }
    rest.rest.is_empty().then_some(decoded)
}

/// A value that may decode to at most `N` bytes; none when it is longer or broken.
pub fn decode_at_most<const N: usize>(value: &[u8]) -> Option<ArrayVec<u8, N>> {
    let mut decoded = ArrayVec::new();
    for byte in (Decode { rest: value }) {
        decoded.try_push(byte?).ok()?;
    }
    Some(decoded)
}

/// A value that must decode to decimal digits and nothing else; past the largest u64 it stays
/// there.
pub fn decode_decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    // Digits as they are, and too few of them to be too large: nearly always.
    if value.len() <= USUAL_DIGITS_MAX
        && let Some(number) =
            value.iter().try_fold(0, |number, byte| digit(*byte).map(|digit| 10 * number + digit))
    {
        return Some(number);
    }
    Decode { rest: value }.try_fold(0_u64, |number, byte| {
        Some(number.saturating_mul(10).saturating_add(digit(byte?)?))
    })
}

#[inline]
fn digit(byte: u8) -> Option<u64> {
    byte.is_ascii_digit().then(|| u64::from(byte - b'0'))
}

/// The bytes of a value, decoded one by one; `Some(None)` is a broken escape.
struct Decode<'q> {
    rest: &'q [u8],
}

impl Iterator for Decode<'_> {
    type Item = Option<u8>;

    #[inline]
    fn next(&mut self) -> Option<Option<u8>> {
        let (byte, rest) = match *self.rest {
            [b'%', high, low, ref rest @ ..] => (hex(high, low), rest),
            [b'%', ref rest @ ..] => (None, rest),
            [byte, ref rest @ ..] => (Some(UNESCAPED[usize::from(byte)]), rest),
            [] => return None,
        };
        self.rest = rest;
        Some(byte)
    }
}

#[inline]
fn hex(high: u8, low: u8) -> Option<u8> {
    let (high, low) = (NIBBLES[usize::from(high)], NIBBLES[usize::from(low)]);
    if (high | low) < 16 { Some(high << 4 | low) } else { None }
}

/// What every byte but `%` stands for when it is not escaped: a plus for a space, all others for
/// themselves. A table, since a comparison for each byte of a hash is dearer.
static UNESCAPED: [u8; 256] = {
    let mut unescaped = [0; 256];
    let mut byte = 0_u8;
    loop {
        unescaped[byte as usize] = byte;
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    unescaped[b'+' as usize] = b' ';
    unescaped
};

/// The value of every byte as a hexadecimal digit of either case, 0xff when it is none.
static NIBBLES: [u8; 256] = {
    let mut nibbles = [0xff; 256];
    let mut nibble = 0;
    while nibble < 16 {
        nibbles[b"0123456789abcdef"[nibble as usize] as usize] = nibble;
        nibbles[b"0123456789ABCDEF"[nibble as usize] as usize] = nibble;
        nibble += 1;
    }
    nibbles
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_split_on_ampersands() {
        let rows: &[(&str, &[&str])] = &[
            ("", &[]),
            ("&&", &[]),
            ("a=1", &["a=1"]),
            ("&left&", &["left"]),
            ("a=1&&b=2&", &["a=1", "b=2"]),
            ("a=1& & = =", &["a=1", " ", " = ="]),
            ("a=1;b=2?c=3", &["a=1;b=2?c=3"]),
            ("a=1&a=2", &["a=1", "a=2"]),
            (
                "a=1234567&b=12345&c=123456789abcdef&d",
                &["a=1234567", "b=12345", "c=123456789abcdef", "d"],
            ),
        ];
        for (query, expected) in rows {
            let found: Vec<_> =
                pairs(query.as_bytes()).map(|pair| str::from_utf8(pair).unwrap()).collect();
            assert_eq!(found, *expected, "{query}");
        }
    }

    #[test]
    fn a_query_is_split_on_question_marks_when_somebody_asks() {
        let rows: &[(&str, Option<&[&str]>)] = &[
            ("", None),
            ("a=1&b=2", None),
            ("?", Some(&[])),
            ("a=1?b=2", Some(&["a=1", "b=2"])),
            ("a=1??b=2&?c&", Some(&["a=1", "b=2", "c"])),
        ];
        for (query, expected) in rows {
            let found = pairs_behind_question_marks(query.as_bytes())
                .map(|pairs| pairs.map(|pair| str::from_utf8(pair).unwrap()).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), *expected, "{query}");
        }
    }

    #[test]
    fn the_first_ampersand_is_found_wherever_it_stands() {
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![b'%'; length];
                bytes[at..].fill(b'\'');
                bytes[at] = b'&';
                assert_eq!(find(&bytes, b'&'), at, "{length}");
            }
            assert_eq!(find(&vec![b'\''; length], b'&'), length);
        }
    }

    #[test]
    fn a_value_stands_behind_its_whole_key() {
        let rows: &[(&str, Option<&str>)] = &[
            ("port=6881", Some("6881")),
            ("port==", Some("=")),
            ("port", Some("")),
            ("port=", Some("")),
            ("ports=1", None),
            ("por=1", None),
            ("=port", None),
            ("", None),
        ];
        for (pair, expected) in rows {
            assert_eq!(value_of(pair.as_bytes(), b"port"), expected.map(str::as_bytes), "{pair}");
        }
    }

    #[test]
    fn three_bytes_decode_to_exactly_three_or_not_at_all() {
        let rows: &[(&[u8], Option<[u8; 3]>)] = &[
            (b"abc", Some(*b"abc")),
            (b"%61%62%63", Some(*b"abc")),
            (b"%fe%4D%3f", Some([0xfe, 0x4d, 0x3f])),
            (b"a+b", Some(*b"a b")),
            (b"+++", Some(*b"   ")),
            (b"%2b+%2B", Some(*b"+ +")),
            (b"a b", Some(*b"a b")),
            (b"\xff\x80\x00", Some([0xff, 0x80, 0])),
            (b"a%00%", None),
            (b"ab%4", None),
            (b"ab%zz", None),
            (b"ab%-1", None),
            (b"ab", None),
            (b"abcd", None),
            (b"abc%64", None),
            (b"", None),
        ];
        for (value, expected) in rows {
            assert_eq!(decode_exact::<3>(value), *expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn every_byte_escaped_in_either_case_comes_back() {
        for byte in 0..=u8::MAX {
            assert_eq!(decode_exact::<1>(format!("%{byte:02x}").as_bytes()), Some([byte]));
            assert_eq!(decode_exact::<1>(format!("%{byte:02X}").as_bytes()), Some([byte]));
        }
    }

    #[test]
    fn a_short_value_has_a_longest_length() {
        assert_eq!(decode_at_most::<3>(b"%73op").as_deref(), Some(&b"sop"[..]));
        assert_eq!(decode_at_most::<3>(b"").as_deref(), Some(&b""[..]));
        assert_eq!(decode_at_most::<3>(b"stop"), None);
        assert_eq!(decode_at_most::<3>(b"s%"), None);
    }

    #[test]
    fn a_decimal_saturates_and_takes_digits_only() {
        let rows: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("6881", Some(6881)),
            ("%36881", Some(6881)),
            ("006881", Some(6881)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("99999999999999999999999999999999999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("+1", None),
            ("1+", None),
            ("%2B1", None),
            ("1.0", None),
            ("0x10", None),
            (" 1", None),
            ("1%", None),
            ("", None),
        ];
        for (value, expected) in rows {
            assert_eq!(decode_decimal(value.as_bytes()), *expected, "{value}");
        }
    }
}
