//! Whether nearly all announces come from one private address.
//!
//! Then a proxy is in front that adds no header, and all its clients are taken for one. Owns: one
//! worker's look at one announce of eight. Never: keeps an address for longer than a thousand
//! announces.

use std::net::IpAddr;

use crate::ids::is_private;

/// Announces of which one is looked at.
const SAMPLED_ONE_OF: u32 = 8;
/// Looked-at announces that are judged together: a thousand announces.
const SAMPLES: u32 = 1_000 / SAMPLED_ONE_OF;
/// Of [`SAMPLES`], how many must come from one private address.
const SUSPICIOUS_SAMPLES: u32 = SAMPLES * 9 / 10;

/// A worker's look at where its announces come from.
#[derive(Default)]
pub struct RecentAnnouncers {
    candidate: Option<IpAddr>,
    hits: u32,
    samples: u32,
}

impl RecentAnnouncers {
    /// Looks at one announce of several, of which there have been `announces`. The address from
    /// which nearly all come, if there is one and it is private. A client whose proxy does not say
    /// who it is has none, and is left out.
    #[inline]
    pub fn note(&mut self, ip: Option<IpAddr>, announces: u64) -> Option<IpAddr> {
        let ip = ip.filter(|_| announces.is_multiple_of(SAMPLED_ONE_OF.into()))?;
        self.sample(ip)
    }

    fn sample(&mut self, ip: IpAddr) -> Option<IpAddr> {
        if is_private(ip) {
            let candidate = *self.candidate.get_or_insert(ip);
            self.hits += u32::from(candidate == ip);
        }
        self.samples += 1;
        if self.samples < SAMPLES {
            return None;
        }
        let judged = std::mem::take(self);
        judged.candidate.filter(|_| judged.hits >= SUSPICIOUS_SAMPLES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found when of a thousand announces so many come from one private address.
    fn suspect(from_one: u64, ip: &str, is_known: bool) -> Option<IpAddr> {
        let mut announces = RecentAnnouncers::default();
        let mut found = None;
        for number in 1..=1_000 {
            // Spread evenly, among those that are looked at as well.
            let is_from_one = number / u64::from(SAMPLED_ONE_OF) % 100 < from_one / 10;
            let ip = if is_from_one { ip } else { "198.51.100.1" };
            let ip = is_known.then(|| ip.parse().unwrap());
            found = found.or(announces.note(ip, number));
        }
        found
    }

    #[test]
    fn nine_of_ten_announces_from_one_private_address_are_noticed() {
        assert_eq!(suspect(1_000, "172.17.0.1", true), Some("172.17.0.1".parse().unwrap()));
        assert_eq!(suspect(930, "172.17.0.1", true), Some("172.17.0.1".parse().unwrap()));
        assert_eq!(suspect(800, "172.17.0.1", true), None, "too few");
        assert_eq!(suspect(1_000, "203.0.113.1", true), None, "a public address");
        assert_eq!(suspect(1_000, "172.17.0.1", false), None, "of a proxy that is listed");
    }
}
