//! What one address may ask for in a while: the section `limits`, and how a rate is written.
//!
//! Never: counts anything (`tracker/rates.rs` does).

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use documented::{Documented, DocumentedFields};
use serde::{Deserialize, Serialize};

/// The most that a rate may be: what is above it limits nobody.
const COUNT_MAX: u32 = 1_000_000;

/// What one address (over IPv6, one /64) may ask for. All are "off": behind a carrier's NAT are
/// thousands of clients. A rate is a number for a second or a minute, such as "10/s" or "60/m";
/// that many may come at once.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, Documented, DocumentedFields,
)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Announces; past it the answer asks to try again later. `stopped` and `completed` are taken
    /// up to four times of it. Clients whose trusted proxy does not name them are not limited.
    /// Live.
    pub announces_per_address: RateSetting,

    /// New TCP connections, but for those of trusted_proxies; past it 503. Live.
    pub connections_per_address: RateSetting,

    /// UDP packets that ask for a connection id; past it they get no answer, since anybody may
    /// have sent them in this address's name. A client asks once for each announce. Live.
    pub connects_per_address: RateSetting,
}

/// A rate, if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RateSetting(pub Option<Rate>);

/// So many in so long, and as many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many, at most a million.
    pub count: NonZeroU32,
    /// In how long.
    pub per: RatePeriod,
}

/// What a rate is counted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RatePeriod {
    /// `/s`
    Second,
    /// `/m`
    Minute,
}

impl Rate {
    /// In how many milliseconds.
    pub fn period_ms(self) -> u64 {
        match self.per {
            RatePeriod::Second => 1_000,
            RatePeriod::Minute => 60_000,
        }
    }
}

/// A text that is no rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRate;

impl fmt::Display for NoRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be \"off\", or 1 to {COUNT_MAX} for a second or a minute, as in \"10/s\"")
    }
}

impl FromStr for RateSetting {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<RateSetting, NoRate> {
        if text == "off" {
            return Ok(RateSetting(None));
        }
        let (count, period) = text.split_once('/').ok_or(NoRate)?;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| NoRate)?;
        let per = match period.trim() {
            "s" => RatePeriod::Second,
            "m" => RatePeriod::Minute,
            _ => return Err(NoRate),
        };
        match count.get() <= COUNT_MAX {
            true => Ok(RateSetting(Some(Rate { count, per }))),
            false => Err(NoRate),
        }
    }
}

impl TryFrom<String> for RateSetting {
    type Error = NoRate;

    fn try_from(text: String) -> Result<RateSetting, NoRate> {
        text.parse()
    }
}

impl From<RateSetting> for String {
    fn from(setting: RateSetting) -> String {
        match setting.0 {
            None => "off".to_owned(),
            Some(Rate { count, per: RatePeriod::Second }) => format!("{count}/s"),
            Some(Rate { count, per: RatePeriod::Minute }) => format!("{count}/m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_written_and_nothing_else_is() {
        for text in ["off", "1/s", "60/m", "1000000/m"] {
            let setting: RateSetting = text.parse().unwrap();
            assert_eq!(String::from(setting), text);
        }
        for text in ["", "0/s", "10", "10/h", "/s", "-1/s", "1000001/s", "on", "10/s/m"] {
            assert_eq!(text.parse::<RateSetting>(), Err(NoRate), "{text:?}");
        }
    }
}
