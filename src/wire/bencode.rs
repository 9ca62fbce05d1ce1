//! A bencode writer over a preallocated buffer (BEP 3).
//!
//! Owns: where the next byte goes, and whether everything has fitted so far.
//!
//! Never: allocates, writes past the end of its buffer, or checks the nesting: who begins a
//! dictionary ends it, and writes its keys in order.
//!
//! Limits: the buffer's length. The first write that does not fit is dropped whole, and so is
//! everything after it; [`Writer::written`] says so at the end, so the calls between need no `?`.

/// The buffer was too small for what was written into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Writes bencoded values one after the other.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut [u8],
    /// Where the next byte goes; [`FULL_AT`] for good once something has not fitted.
    at: usize,
}

/// Past the end of every buffer.
const FULL_AT: usize = usize::MAX / 2;

impl<'b> Writer<'b> {
    /// A writer that fills `out` from its first byte.
    #[inline]
    pub fn new(out: &'b mut [u8]) -> Writer<'b> {
        Writer { out, at: 0 }
    }

    /// Bytes written so far, or [`Full`] when something was left out.
    #[inline]
    pub fn written(&self) -> Result<usize, Full> {
        if self.at == FULL_AT { Err(Full) } else { Ok(self.at) }
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
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(value).as_bytes();
        if let Some([i, room @ .., e]) = self.claim(1 + digits.len() + 1) {
            *i = b'i';
            room.copy_from_slice(digits);
            *e = b'e';
        }
    }

    /// A byte string.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes_of(&[bytes]);
    }

    /// One byte string, out of several pieces.
    #[inline]
    pub fn bytes_of(&mut self, pieces: &[&[u8]]) {
        let mut buffer = itoa::Buffer::new();
        self.raw(buffer.format(pieces.iter().map(|piece| piece.len()).sum::<usize>()).as_bytes());
        self.raw(b":");
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
    fn claim(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let begin = self.at;
        let room = self.out.get_mut(begin..begin + bytes);
        self.at = if room.is_some() { begin + bytes } else { FULL_AT };
        room
    }
}

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

    #[test]
    fn integers_are_decimal_without_leading_zeros() {
        for (value, expected) in
            [(0, "i0e"), (7, "i7e"), (1800, "i1800e"), (u32::MAX, "i4294967295e")]
        {
            let mut buffer = [0; 16];
            let mut out = Writer::new(&mut buffer);
            out.int(value);
            let written = out.written().unwrap();
            assert_eq!(&buffer[..written], expected.as_bytes());
        }
    }
}
