//! What `announced torrent list --json` has printed, read again: an array of objects, or objects
//! one after the other as `jq -c '.[]'` makes them.
//!
//! Owns: telling it from a list of lines, and the meaning of an object. Counts and times in it are
//! passed over: they are the database's own.
//!
//! Limits: an object is in memory at a time.

use std::fmt;
use std::io::Read;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Deserializer, Error, Value};

use crate::metainfo::{Metainfo, name_of};
use crate::operator::subject;

/// A torrent of the list.
pub(super) struct JsonTorrent {
    pub(super) torrent: Metainfo,
    /// The ban, with its reason if it has one.
    pub(super) ban: Option<Option<String>>,
}

/// Whether a list that begins so is JSON. A path may begin with `[`, but not with `[{`.
pub(super) fn is_json(start: &[u8]) -> bool {
    let mut bytes = start.iter().filter(|byte| !byte.is_ascii_whitespace());
    matches!(
        (bytes.next(), bytes.next()),
        (Some(b'['), Some(b'{' | b']')) | (Some(b'{'), Some(b'"'))
    )
}

/// Calls `each` for every object of `input`, until it says to stop.
///
/// # Errors
/// Where the input is no JSON, on one line; or when `each` has said to stop.
pub(super) fn read(
    input: impl Read,
    is_array: bool,
    each: &mut dyn FnMut(Result<JsonTorrent, String>) -> bool,
) -> Result<(), Error> {
    let mut json = Deserializer::from_reader(input);
    if is_array {
        json.deserialize_seq(Objects(each))?;
        return json.end();
    }
    for value in json.into_iter::<Value>() {
        if !each(torrent(&value?)) {
            return Err(Error::custom("stopped"));
        }
    }
    Ok(())
}

/// Hands on the members of an array as they are read.
struct Objects<'e>(&'e mut dyn FnMut(Result<JsonTorrent, String>) -> bool);

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = IgnoredAny;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of torrents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<IgnoredAny, A::Error> {
        while let Some(value) = array.next_element::<Value>()? {
            if !(self.0)(torrent(&value)) {
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(IgnoredAny)
    }
}

fn torrent(object: &Value) -> Result<JsonTorrent, String> {
    let hash = object.get("info_hash").and_then(Value::as_str);
    let hash = hash.ok_or("has no \"info_hash\"")?;
    let torrent = match subject::written(hash) {
        Some(Ok(torrent)) => torrent,
        Some(Err(_)) | None => return Err(format!("{hash:?} is no info hash")),
    };
    let text = |key| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(name_of(text.as_bytes())),
        Some(_) => Err(format!("{key:?} of {hash} is no text")),
    };
    let name = text("name")?.or(torrent.name);
    let ban = match object.get("banned") {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(Value::Bool(true)) => Some(text("ban_reason")?),
        Some(_) => return Err(format!("\"banned\" of {hash} is neither true nor false")),
    };
    Ok(JsonTorrent { torrent: Metainfo { name, ..torrent }, ban })
}
