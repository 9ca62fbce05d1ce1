//! Query strings: pairs, and the percent-decoding of their values.
//!
//! Owns: the splitting on `&` and behind a key, and the decoding of `%xx` and `+`. A query is
//! walked in one of two ways: pair by pair ([`pairs`]), or value by value, each read as what it
//! must be while its end is looked for ([`take_value`] and those below it).
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

/// Digits whose number fits 32 bits, whatever they are.
const USUAL_DIGITS_MAX: usize = 9;
/// A one in every byte.
const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// The pairs of a query, in order and as they were sent. Empty ones are left out.
pub fn pairs(query: &[u8]) -> Pairs<'_> {
    Pairs { rest: query }
}

/// The pairs of a query when `?` separates them as well; none when it has no `?`, since the pairs
/// are then those of [`pairs`]. `passkey=K?info_hash=…` is what clients make of an announce URL
/// that has a query already: who needs an `info_hash` and finds none looks again here.
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
        let (pair, rest) = take_value(self.rest);
        self.rest = rest;
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

/// Takes a value, or a whole pair, off the front of a query: it as it was sent, and what is left,
/// from the next pair on.
#[inline]
pub fn take_value(query: &[u8]) -> (&[u8], &[u8]) {
    let (value, rest) = query.split_at(find(query, b'&'));
    (value, rest.get(1..).unwrap_or_default())
}

/// As [`take_value`], for a value that must decode to exactly `N` bytes; none when it is longer,
/// shorter or broken.
pub fn take_exact<const N: usize>(query: &[u8]) -> (Option<[u8; N]>, &[u8]) {
    // Most peer ids are sent as they are.
    if let Some((plain, rest)) = query.split_first_chunk()
        && let Some(rest) = behind_value(rest)
        && query.first_chunk().is_some_and(begin_plain::<N>)
    {
        return (Some(*plain), rest);
    }
    let (mut decoded, mut broken, mut rest) = ([0; N], 0, query);
    for byte in &mut decoded {
        (*byte, rest) = match *rest {
            [b'%', high, low, ref rest @ ..] => {
                let decoded = hex(high, low);
                broken |= decoded;
                (decoded.to_le_bytes()[0], rest)
            }
            [b'%' | b'&', ..] | [] => return (None, skip(query)),
            [b'+', ref rest @ ..] => (b' ', rest),
            [byte, ref rest @ ..] => (byte, rest),
        };
    }
    match behind_value(rest) {
        Some(rest) if broken < NO_BYTE => (Some(decoded), rest),
        _ => (None, skip(query)),
    }
}

/// As [`take_value`], for a value that must decode to decimal digits and nothing else; past the
/// largest u32 it stays there.
#[inline]
pub fn take_number(query: &[u8]) -> (Option<u32>, &[u8]) {
    let (mut number, mut rest) = (0_u32, query);
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        number = number.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'));
        rest = behind;
    }
    match (behind_value(rest), query.len() - rest.len()) {
        // Digits as they are, and too few of them to be too large: nearly always.
        (Some(rest), 1..=USUAL_DIGITS_MAX) => (Some(number), rest),
        _ => take_coded_number(query),
    }
}

#[cold]
fn take_coded_number(query: &[u8]) -> (Option<u32>, &[u8]) {
    let (value, rest) = take_value(query);
    let number = Decode { rest: value }.try_fold(0_u32, |number, byte| {
        let digit = byte?.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        Some(number.saturating_mul(10).saturating_add(u32::from(digit)))
    });
    (number.filter(|_| !value.is_empty()), rest)
}

/// As [`take_value`], for a value that means something when it is one digit: whether it decodes to
/// `digit`.
#[inline]
pub fn take_flag(query: &[u8], digit: u8) -> (bool, &[u8]) {
    match *query {
        [sent, b'&', ref rest @ ..] if sent != b'&' => (sent == digit, rest),
        _ => take_coded_flag(query, digit),
    }
}

#[inline(never)]
fn take_coded_flag(query: &[u8], digit: u8) -> (bool, &[u8]) {
    let (decoded, rest) = take_exact(query);
    (decoded == Some([digit]), rest)
}

#[cold]
fn skip(query: &[u8]) -> &[u8] {
    take_value(query).1
}

/// The next pair, when a value ends before `rest`.
#[inline]
fn behind_value(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'&', rest @ ..] => Some(rest),
        [] => Some(rest),
        _ => None,
    }
}

/// Whether the first `N` of some bytes belong to one value and stand for themselves.
#[inline]
fn begin_plain<const N: usize>(bytes: &[u8; 32]) -> bool {
    // Without a way out in its middle, the bytes are compared as two vectors.
    !bytes.iter().enumerate().fold(false, |found, (at, byte)| {
        found | (at < N) & ((*byte == b'%') | (*byte == b'+') | (*byte == b'&'))
    })
}

/// A value that must decode to exactly `N` bytes; none when it is longer, shorter or broken.
pub fn decode_exact<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    take_exact(value).0
}

/// A value that may decode to at most `N` bytes; none when it is longer or broken.
pub fn decode_at_most<const N: usize>(value: &[u8]) -> Option<ArrayVec<u8, N>> {
    let mut decoded = ArrayVec::new();
    for byte in (Decode { rest: value }) {
        decoded.try_push(byte?).ok()?;
    }
    Some(decoded)
}

/// The bytes of a value, decoded one by one; `Some(None)` is a broken escape.
struct Decode<'q> {
    rest: &'q [u8],
}

impl Iterator for Decode<'_> {
    type Item = Option<u8>;

    fn next(&mut self) -> Option<Option<u8>> {
        let (byte, rest) = match *self.rest {
            [b'%', high, low, ref rest @ ..] => (u8::try_from(hex(high, low)).ok(), rest),
            [b'%', ref rest @ ..] => (None, rest),
            [b'+', ref rest @ ..] => (Some(b' '), rest),
            [byte, ref rest @ ..] => (Some(byte), rest),
            [] => return None,
        };
        self.rest = rest;
        Some(byte)
    }
}

/// The byte that two hexadecimal digits of either case stand for; [`NO_BYTE`] or more when one of
/// them is none.
#[inline]
fn hex(high: u8, low: u8) -> u16 {
    HIGH_DIGITS[usize::from(high)] | LOW_DIGITS[usize::from(low)]
}

const NO_BYTE: u16 = 1 << 8;
static HIGH_DIGITS: [u16; 256] = hex_digits(4);
static LOW_DIGITS: [u16; 256] = hex_digits(0);

const fn hex_digits(shift: u32) -> [u16; 256] {
    let mut digits = [NO_BYTE; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[b"0123456789abcdef"[digit as usize] as usize] = digit << shift;
        digits[b"0123456789ABCDEF"[digit as usize] as usize] = digit << shift;
        digit += 1;
    }
    digits
}

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
    fn a_number_saturates_and_takes_digits_only() {
        let rows: &[(&str, Option<u32>)] = &[
            ("0", Some(0)),
            ("6881", Some(6881)),
            ("%36881", Some(6881)),
            ("006881", Some(6881)),
            ("000000000006881", Some(6881)),
            ("999999999", Some(999_999_999)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", Some(u32::MAX)),
            ("18446744073709551616", Some(u32::MAX)),
            ("99999999999999999999999999999999999999999999999999", Some(u32::MAX)),
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
            for (behind, rest) in [("", ""), ("&", ""), ("&a=1", "a=1"), ("&&a", "&a")] {
                let query = format!("{value}{behind}");
                assert_eq!(take_number(query.as_bytes()), (*expected, rest.as_bytes()), "{query}");
            }
        }
    }

    #[test]
    fn a_flag_is_one_digit() {
        let rows: &[(&str, bool)] = &[
            ("1", true),
            ("%31", true),
            ("0", false),
            ("%30", false),
            ("11", false),
            ("1%31", false),
            ("%311", false),
            ("+", false),
            ("%3", false),
            ("1%", false),
            ("", false),
        ];
        for (value, expected) in rows {
            for (behind, rest) in [("", ""), ("&", ""), ("&a=1", "a=1"), ("&&a", "&a")] {
                let query = format!("{value}{behind}");
                assert_eq!(
                    take_flag(query.as_bytes(), b'1'),
                    (*expected, rest.as_bytes()),
                    "{query}"
                );
            }
        }
    }

    /// Twenty bytes, since a plain value of so many is read another way than the three above when
    /// enough of the query follows.
    #[test]
    fn a_value_ends_with_its_pair_wherever_an_odd_byte_stands() {
        const LONG: &str = "&port=6881&downloaded=%2B&left=+&";
        for (byte, expected) in
            [(b'a', Some(b'a')), (b'+', Some(b' ')), (b'%', None), (0xa5, Some(0xa5))]
        {
            for at in 0..20 {
                let mut value = *b"qrstuvwxyz0123456789";
                value[at] = byte;
                let decoded = expected.map(|expected| {
                    let mut decoded = value;
                    decoded[at] = expected;
                    decoded
                });
                let ends = [("", ""), ("&", ""), ("&a=1", "a=1"), (LONG, &LONG[1..])];
                for (behind, rest) in ends {
                    let query = [&value, behind.as_bytes()].concat();
                    assert_eq!(take_exact(&query), (decoded, rest.as_bytes()), "{query:?}");
                }
                value[at] = b'&';
                let query = [&value, LONG.as_bytes()].concat();
                assert_eq!(take_exact::<20>(&query), (None, &query[at + 1..]), "{query:?}");
            }
        }
    }
}
