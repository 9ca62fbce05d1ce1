//! A bencode writer over a preallocated buffer (BEP 3).
//!
//! Owns: where the next byte goes, and whether everything has fitted so far.
//!
//! Never: allocates, writes past the end of its buffer, or checks the nesting: who begins a
//! dictionary ends it, and writes its keys in order.
//!
//! Limits: the buffer's length. The first write that does not fit is dropped whole, and so is
//! everything after it; [`Writer::written`] says so at the end, so the calls between need no `?`.

use std::mem;

/// The buffer was too small for what was written into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Writes bencoded values one after the other.
#[derive(Debug)]
pub struct Writer<'b> {
    /// Where the next byte goes; empty once something has not fitted.
    rest: &'b mut [u8],
    bytes_max: usize,
    is_full: bool,
}

impl<'b> Writer<'b> {
    /// A writer that fills `out` from its first byte.
    #[inline]
    pub fn new(out: &'b mut [u8]) -> Writer<'b> {
        let bytes_max = out.len();
        Writer { rest: out, bytes_max, is_full: false }
    }

    /// Bytes written so far, or [`Full`] when something was left out.
    #[inline]
    pub fn written(&self) -> Result<usize, Full> {
        if self.is_full { Err(Full) } else { Ok(self.bytes_max - self.rest.len()) }
    }

    /// Bytes that go out as they are: text of an HTTP head, or something bencoded already, such as
    /// the key `8:interval`.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        if let Some(room) = self.claim(bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: u32) {
        let bytes = if let Some((digits, count)) = four_digits(value as usize)
            && let Some(room) = self.rest.first_chunk_mut::<6>()
        {
            room[0] = b'i';
            room[1..5].copy_from_slice(&digits);
            room[1 + count] = b'e';
            1 + count + 1
        } else {
            write_long_int(value, self.rest)
        };
        self.claim(bytes);
    }

    /// A byte string.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes_of(&[bytes]);
    }

    /// One byte string, out of several pieces.
    #[inline]
    pub fn bytes_of(&mut self, pieces: &[&[u8]]) {
        let bytes = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let bytes = if let Some((digits, count)) = four_digits(bytes)
            && let Some(room) = self.rest.first_chunk_mut::<5>()
        {
            room[..4].copy_from_slice(&digits);
            room[count] = b':';
            count + 1
        } else {
            write_long_length(bytes, self.rest)
        };
        self.claim(bytes);
        pieces.iter().for_each(|piece| self.raw(piece));
    }

    /// Begins a dictionary: keys and values follow in turns, keys in ascending order of their
    /// bytes.
    pub fn begin_dict(&mut self) {
        self.raw(b"d");
    }

    /// Begins a list.
    pub fn begin_list(&mut self) {
        self.raw(b"l");
    }

    /// Ends the innermost dictionary or list.
    pub fn end(&mut self) {
        self.raw(b"e");
    }

    /// The next `bytes` bytes of the buffer, or none, now and ever after, when there are not so
    /// many.
    #[inline]
    fn claim(&mut self, bytes: usize) -> Option<&'b mut [u8]> {
        let (room, rest) = match mem::take(&mut self.rest).split_at_mut_checked(bytes) {
            Some((room, rest)) => (Some(room), rest),
            None => {
                self.is_full = true;
                (None, Default::default())
            }
        };
        self.rest = rest;
        room
    }
}

/// Writes an integer of any length; its bytes, or more than there are when it does not fit.
#[inline(never)]
fn write_long_int(value: u32, out: &mut [u8]) -> usize {
    // Ports have five digits.
    if let (high @ 1.., low) = (value as usize / 10_000, value as usize % 10_000)
        && let Some((high, count)) = four_digits(high)
        && let Some(room) = out.first_chunk_mut::<10>()
    {
        room[0] = b'i';
        room[1..5].copy_from_slice(&high);
        room[1 + count..][..4].copy_from_slice(&padded_digits(low));
        room[1 + count + 4] = b'e';
        return 1 + count + 4 + 1;
    }
    let mut out = Writer::new(out);
    out.raw(b"i");
    out.raw(itoa::Buffer::new().format(value).as_bytes());
    out.raw(b"e");
    out.written().unwrap_or(usize::MAX)
}

/// As [`write_long_int`], for the length of a byte string and its colon.
#[cold]
#[inline(never)]
fn write_long_length(bytes: usize, out: &mut [u8]) -> usize {
    let mut out = Writer::new(out);
    out.raw(itoa::Buffer::new().format(bytes).as_bytes());
    out.raw(b":");
    out.written().unwrap_or(usize::MAX)
}

/// The digits of a number below 10 000, and how many they are. What lies behind them means nothing:
/// four bytes are copied in one piece, a part of them is not.
#[inline]
pub(super) fn four_digits(value: usize) -> Option<([u8; 4], usize)> {
    if value >= 10_000 {
        return None;
    }
    let digits = u32::from_le_bytes(padded_digits(value));
    // A zero is 0x30; the last digit stays, whatever it is.
    let leading_zeros = (digits & 0x000f_0f0f | 1 << 24).trailing_zeros() / 8;
    Some(((digits >> (8 * leading_zeros)).to_le_bytes(), 4 - leading_zeros as usize))
}

/// The digits of a number below 10 000, with zeros before them.
#[inline]
fn padded_digits(value: usize) -> [u8; 4] {
    let ([a, b], [c, d]) = (TWO_DIGITS[value / 100], TWO_DIGITS[value % 100]);
    [a, b, c, d]
}

/// `00` to `99`.
static TWO_DIGITS: [[u8; 2]; 100] = {
    let digits = b"0123456789";
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [digits[value / 10], digits[value % 10]];
        value += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_bencode::value::Value as Decoded;

    use super::*;
    use crate::tests::property;

    #[derive(Clone, Debug)]
    enum Value {
        Int(u32),
        Bytes(Vec<u8>),
        List(Vec<Value>),
        Dict(BTreeMap<Vec<u8>, Value>),
    }

    impl Value {
        fn write(&self, out: &mut Writer<'_>) {
            match self {
                Value::Int(value) => out.int(*value),
                Value::Bytes(bytes) => out.bytes(bytes),
                Value::List(values) => {
                    out.begin_list();
                    values.iter().for_each(|value| value.write(out));
                    out.end();
                }
                Value::Dict(entries) => {
                    out.begin_dict();
                    for (key, value) in entries {
                        out.bytes(key);
                        value.write(out);
                    }
                    out.end();
                }
            }
        }

        fn decoded(&self) -> Decoded {
            match self {
                Value::Int(value) => Decoded::Int(i64::from(*value)),
                Value::Bytes(bytes) => Decoded::Bytes(bytes.clone()),
                Value::List(values) => Decoded::List(values.iter().map(Value::decoded).collect()),
                Value::Dict(entries) => {
                    let entries = entries.iter().map(|(key, value)| (key.clone(), value.decoded()));
                    Decoded::Dict(entries.collect::<HashMap<_, _>>())
                }
            }
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<u32>().prop_map(Value::Int),
            Just(Value::Int(0)),
            vec(any::<u8>(), 0..120).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..8).prop_map(Value::List),
                btree_map(vec(any::<u8>(), 0..24), inner, 0..8).prop_map(Value::Dict),
            ]
        })
    }

    /// The crate's decoder takes any key order, leading zeros and trailing bytes, so what it has
    /// decoded is encoded again: only canonical bencoding comes back as the same bytes.
    #[test]
    fn what_is_written_is_canonical_and_decodes_to_the_same_value() {
        property(512, values(), |value| {
            let mut buffer = vec![0; 64 * 1024];
            let mut out = Writer::new(&mut buffer);
            value.write(&mut out);
            let written = out.written().unwrap();
            let bytes = &buffer[..written];
            let decoded: Decoded = serde_bencode::from_bytes(bytes).unwrap();
            prop_assert_eq!(&decoded, &value.decoded());
            prop_assert_eq!(serde_bencode::to_bytes(&decoded).unwrap(), bytes);
            Ok(())
        });
    }

    #[test]
    fn no_buffer_is_overrun_and_only_what_does_not_fit_is_reported() {
        property(512, (values(), 0_usize..400), |(value, room_bytes)| {
            let mut buffer = vec![0; 64 * 1024];
            let mut out = Writer::new(&mut buffer);
            value.write(&mut out);
            let needed_bytes = out.written().unwrap();

            let mut guarded = vec![0xc5; room_bytes + 64];
            let mut out = Writer::new(&mut guarded[..room_bytes]);
            value.write(&mut out);
            let expected = if needed_bytes <= room_bytes { Ok(needed_bytes) } else { Err(Full) };
            prop_assert_eq!(out.written(), expected);
            prop_assert!(guarded[room_bytes..].iter().all(|byte| *byte == 0xc5));
            Ok(())
        });
    }

    #[test]
    fn after_an_overflow_nothing_smaller_slips_in() {
        let mut buffer = [b'.'; 4];
        let mut out = Writer::new(&mut buffer);
        out.raw(b"abc");
        out.raw(b"de");
        out.raw(b"f");
        assert_eq!(out.written(), Err(Full));
        assert_eq!(&buffer, b"abc.");
    }

    /// In a buffer of just the bytes they take, and in a larger one.
    #[test]
    fn integers_are_decimal_without_leading_zeros() {
        let edges = [10, 100, 1_000, 10_000, 100_000, u32::MAX].map(|edge| [edge - 1, edge]);
        for value in edges.as_flattened().iter().copied().chain([0, 7, 42, 305, 1_800, 2_008]) {
            let expected = format!("i{value}e").into_bytes();
            for room_bytes in [expected.len(), 16] {
                let mut buffer = [b'.'; 16];
                let mut out = Writer::new(&mut buffer[..room_bytes]);
                out.int(value);
                let written = out.written().unwrap();
                assert_eq!(&buffer[..written], expected, "{value} in {room_bytes} bytes");
            }
            let mut buffer = [0; 16];
            let mut out = Writer::new(&mut buffer[..expected.len() - 1]);
            out.int(value);
            assert_eq!(out.written(), Err(Full), "{value} in a byte less than it takes");
        }
    }

    #[test]
    fn a_string_is_as_long_as_its_length_says() {
        for bytes in [0, 1, 9, 10, 99, 100, 999, 1_000, 9_999, 10_000] {
            let string = vec![b'x'; bytes];
            let expected = [format!("{bytes}:").as_bytes(), &string].concat();
            for room_bytes in [expected.len(), 20_000] {
                let mut buffer = vec![b'.'; room_bytes];
                let mut out = Writer::new(&mut buffer);
                out.bytes(&string);
                let written = out.written().unwrap();
                assert_eq!(&buffer[..written], expected, "{bytes} bytes in {room_bytes}");
            }
        }
    }
}
