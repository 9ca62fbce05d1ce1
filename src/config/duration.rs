//! How durations are written: a number with a unit, such as `"30s"`, `"15m"` or `"1h 30m"`.
//!
//! Never does: guess a unit. A bare number is refused with what to write.

use std::fmt;
use std::time::Duration;

use humantime_serde::re::humantime::parse_duration;
use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    humantime_serde::serialize(duration, serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(DurationVisitor)
}

struct DurationVisitor;

impl<'de> Visitor<'de> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\", \"15m\" or \"1h 30m\"")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Duration, E> {
        Err(without_unit(&number.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match parse_duration(text) {
            Ok(duration) => Ok(duration),
            Err(_) if is_number && text != "0" => Err(without_unit(text)),
            Err(_) => Err(E::custom(format!(
                "{text:?} is no duration; write it as \"30s\", \"15m\" or \"1h 30m\""
            ))),
        }
    }
}

fn without_unit<E: Error>(number: &str) -> E {
    E::custom(format!(
        "{number} has no unit; write \"{number}s\" for seconds or \"{number}m\" for minutes"
    ))
}
