//! Walks over bencode without building anything: each value is the slice of the file that it was
//! written as.
//!
//! An info hash is the digest of the info dictionary *as it stands in the file*, so what is needed
//! of a reader is the span of one value. The serde crates (serde_bencode, bt_bencode) give values,
//! which encoded anew need not be the same bytes; bendy gives spans, but refuses files whose keys
//! are unsorted, which clients accept; the decoders of bip and torrust give spans of a tree, which
//! for a hostile file takes many times its size. Hence these few functions.
//!
//! Never: allocates, or judges what it steps over beyond its being whole (order of keys, leading
//! zeros, an integer's range).
//!
//! Limits: [`DEPTH_MAX`] values inside each other.

use crate::metainfo::fault::{DEPTH_MAX, Fault};

/// The value of `key` in `dictionary`, as it was written. Two of them are refused: some clients
/// take the first, some the last.
pub(super) fn find<'f>(
    dictionary: Dictionary<'f>,
    key: &'static str,
) -> Result<Option<&'f [u8]>, Fault> {
    let mut found = None;
    for entry in dictionary {
        let (name, value) = entry?;
        if name == key.as_bytes() && found.replace(value).is_some() {
            return Err(Fault::Twice(key));
        }
    }
    Ok(found)
}

/// The content of a byte string that is all of `value`; `None` for other kinds of values.
pub(super) fn bytes(value: &[u8]) -> Option<&[u8]> {
    Cursor { rest: value, depth: 0 }.string().ok().flatten()
}

/// The integer that is all of `value`; `None` for other kinds of values and those past 64 bits.
pub(super) fn integer(value: &[u8]) -> Option<i64> {
    let digits = value.strip_prefix(b"i")?.strip_suffix(b"e")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A key and its value as it was written.
type Entry<'f> = (&'f [u8], &'f [u8]);

/// The entries of a dictionary in the order of the file. Ends after the first fault.
#[derive(Clone)]
pub(super) struct Dictionary<'f> {
    cursor: Cursor<'f>,
    ended: bool,
}

impl<'f> Dictionary<'f> {
    /// The dictionary that `file` begins with; `None` when it begins with something else. `depth`
    /// is how deep it lies.
    pub(super) fn open(file: &'f [u8], depth: usize) -> Option<Dictionary<'f>> {
        let rest = file.strip_prefix(b"d")?;
        Some(Dictionary { cursor: Cursor { rest, depth: depth + 1 }, ended: false })
    }

    fn entry(&mut self) -> Result<Option<Entry<'f>>, Fault> {
        if self.cursor.take_end()? {
            return Ok(None);
        }
        let key = self.cursor.string()?.ok_or(Fault::NotBencode)?;
        Ok(Some((key, self.cursor.value()?)))
    }
}

impl<'f> Iterator for Dictionary<'f> {
    type Item = Result<Entry<'f>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.entry().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

/// What is left of the file, and how many lists and dictionaries are open around it.
#[derive(Clone)]
struct Cursor<'f> {
    rest: &'f [u8],
    depth: usize,
}

impl<'f> Cursor<'f> {
    /// Steps over the next value, whatever it is; what it was written as.
    fn value(&mut self) -> Result<&'f [u8], Fault> {
        let start = self.rest;
        match self.first()? {
            b'i' => self.integer()?,
            b'l' => self.inside(|list| list.value().map(drop))?,
            b'd' => self.inside(|dictionary| {
                dictionary.string()?.ok_or(Fault::NotBencode)?;
                dictionary.value().map(drop)
            })?,
            _ => self.string()?.map(drop).ok_or(Fault::NotBencode)?,
        }
        Ok(&start[..start.len() - self.rest.len()])
    }

    /// Steps over a list or a dictionary, whose members `member` steps over one at a time.
    fn inside(
        &mut self,
        member: impl Fn(&mut Cursor<'f>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.depth == DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        self.rest = &self.rest[1..];
        while !self.take_end()? {
            member(self)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Steps over `i`, an optional sign, digits and `e`.
    fn integer(&mut self) -> Result<(), Fault> {
        let unsigned = self.rest[1..].strip_prefix(b"-").unwrap_or(&self.rest[1..]);
        let digits = unsigned.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match unsigned.get(digits) {
            Some(b'e') if digits > 0 => self.rest = &unsigned[digits + 1..],
            Some(_) => return Err(Fault::NotBencode),
            None => return Err(Fault::Truncated),
        }
        Ok(())
    }

    /// Steps over a byte string; its content, or `None` when what comes is none.
    fn string(&mut self) -> Result<Option<&'f [u8]>, Fault> {
        if !self.first()?.is_ascii_digit() {
            return Ok(None);
        }
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match self.rest.get(digits) {
            Some(b':') => (),
            Some(_) => return Err(Fault::NotBencode),
            None => return Err(Fault::Truncated),
        }
        let length = std::str::from_utf8(&self.rest[..digits])
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok());
        let from = &self.rest[digits + 1..];
        // A length past the machine's numbers is past the end of the file as well.
        let (content, rest) =
            length.and_then(|length| from.split_at_checked(length)).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(Some(content))
    }

    fn take_end(&mut self) -> Result<bool, Fault> {
        let is_end = self.first()? == b'e';
        if is_end {
            self.rest = &self.rest[1..];
        }
        Ok(is_end)
    }

    fn first(&self) -> Result<u8, Fault> {
        self.rest.first().copied().ok_or(Fault::Truncated)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::property;

    fn step_over(file: &[u8]) -> Result<&[u8], Fault> {
        Cursor { rest: file, depth: 0 }.value()
    }

    #[test]
    fn a_value_is_the_bytes_it_was_written_as() {
        let values: [&[u8]; 9] = [
            b"i0e",
            b"i-42e",
            b"i007e",
            b"0:",
            b"3:abc",
            b"le",
            b"li1e2:ab0:e",
            b"de",
            b"d1:bi1e1:ald1:ci2eeee",
        ];
        for value in values {
            assert_eq!(step_over(value), Ok(value));
            assert_eq!(step_over(&[value, b"e1:x"].concat()), Ok(value));
            for end in 0..value.len() {
                assert_eq!(
                    step_over(&value[..end]),
                    Err(Fault::Truncated),
                    "{end} bytes of {}",
                    value.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn what_is_not_bencode_is_refused() {
        let rows: [&[u8]; 10] = [
            b"e",
            b"x",
            b"ie",
            b"i-e",
            b"i1.5e",
            b"-1:a",
            b"1;a",
            b"d1:ae",
            b"di1e1:ae",
            b"dlei1ee",
        ];
        for file in rows {
            assert_eq!(step_over(file), Err(Fault::NotBencode), "{}", file.escape_ascii());
        }
        assert_eq!(step_over(b"99999999999999999999999:a"), Err(Fault::Truncated));
        assert_eq!(step_over(b"18446744073709551615:a"), Err(Fault::Truncated));
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| [b"l".repeat(depth), b"e".repeat(depth)].concat();
        assert!(step_over(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(step_over(&nested(DEPTH_MAX + 1)), Err(Fault::TooDeep));
        assert_eq!(step_over(&b"d0:".repeat(10_000_000)), Err(Fault::TooDeep));
    }

    #[test]
    fn the_entries_come_in_the_order_of_the_file() {
        let dictionary = Dictionary::open(b"d1:bi1e1:a0:e", 0).unwrap();
        let entries: Vec<_> = dictionary.clone().map(Result::unwrap).collect();
        assert_eq!(entries, [(&b"b"[..], &b"i1e"[..]), (b"a", b"0:")]);
        assert_eq!(find(dictionary.clone(), "a"), Ok(Some(&b"0:"[..])));
        assert_eq!(find(dictionary, "c"), Ok(None));
        assert_eq!(
            find(Dictionary::open(b"d1:ai1e1:ai2ee", 0).unwrap(), "a"),
            Err(Fault::Twice("a"))
        );
        assert!(Dictionary::open(b"le", 0).is_none() && Dictionary::open(b"", 0).is_none());
    }

    #[test]
    fn scalars_are_read_only_from_what_they_are() {
        assert_eq!(bytes(b"3:abc"), Some(&b"abc"[..]), "a byte string");
        assert_eq!(bytes(b"i3e"), None, "an integer is no byte string");
        assert_eq!(bytes(b""), None, "nothing is no byte string");
        assert_eq!(integer(b"i-2e"), Some(-2), "an integer");
        assert_eq!(integer(b"1:2"), None, "a byte string is no integer");
        assert_eq!(integer(b"i99999999999999999999e"), None, "an integer past 64 bits");
    }

    #[test]
    fn no_input_makes_it_panic_or_step_past_the_end() {
        let bencodish =
            proptest::collection::vec(proptest::sample::select(b"dlie0123:-x".to_vec()), 0..64);
        property(2_000, bencodish, |file| {
            if let Ok(value) = step_over(&file) {
                prop_assert!(file.starts_with(value) && !value.is_empty());
                prop_assert_eq!(step_over(value), Ok(value));
            }
            Ok(())
        });
    }
}
