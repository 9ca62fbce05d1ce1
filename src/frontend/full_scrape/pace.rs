//! How fast all full scrapes that are being sent go out together.
//!
//! A token bucket that all workers share: one atomic number, the time up to which what was sent is
//! paid for. Whoever sends a piece pays for it beforehand, and gets back what its stream did not
//! take. Time is an argument.
//!
//! Limits: in any time, the rate times that time, [`CREDIT_MS`] of it saved up, and one piece.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::Millis;

/// What may be saved up while nothing is sent, milliseconds of the rate: more than passes between
/// two ticks of a worker, so that who is looked at once a tick can make use of the whole rate.
const CREDIT_MS: u64 = 250;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: u64 = 1_000 * NS_PER_MS;

/// See the module.
#[derive(Default)]
pub(in crate::frontend) struct Pace {
    paid_until_ns: AtomicU64,
}

impl Pace {
    /// Pays for a piece. False, and nothing is paid, while earlier pieces are not paid for yet.
    pub(in crate::frontend) fn take(&self, bytes: usize, now: Millis, bytes_per_s: u64) -> bool {
        let now_ns = now.0.saturating_mul(NS_PER_MS);
        let saved_up = now_ns.saturating_sub(CREDIT_MS * NS_PER_MS);
        let cost = cost_ns(bytes, bytes_per_s);
        let pay = |paid_until: u64| {
            (paid_until <= now_ns).then(|| paid_until.max(saved_up).saturating_add(cost))
        };
        bytes_per_s == 0
            || self.paid_until_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }

    /// Gives back what was paid for bytes that were not sent.
    pub(in crate::frontend) fn give_back(&self, bytes: usize, bytes_per_s: u64) {
        let cost = cost_ns(bytes, bytes_per_s);
        let less = |paid_until: u64| Some(paid_until.saturating_sub(cost));
        let _ = self.paid_until_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

fn cost_ns(bytes: usize, bytes_per_s: u64) -> u64 {
    (bytes as u64).saturating_mul(NS_PER_S).checked_div(bytes_per_s).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 128 * 1024;

    /// Bytes sent by `senders` who are looked at once a tick and send pieces of which the stream
    /// takes `taken` bytes.
    fn sent(senders: usize, taken: usize, bytes_per_s: u64, until_ms: u64) -> Vec<usize> {
        let (pace, mut sent) = (Pace::default(), vec![0; senders]);
        let mut waiting: Vec<usize> = (0..senders).collect();
        for now in (0..=until_ms).step_by(100) {
            let mut turn = std::mem::take(&mut waiting);
            while !turn.is_empty() {
                let mut next = Vec::new();
                for sender in turn {
                    if pace.take(PIECE, Millis(now), bytes_per_s) {
                        pace.give_back(PIECE - taken, bytes_per_s);
                        sent[sender] += taken;
                        next.push(sender);
                    } else {
                        waiting.push(sender);
                    }
                }
                turn = next;
            }
        }
        sent
    }

    #[test]
    fn all_senders_together_keep_the_rate_and_use_it() {
        let seconds = 20;
        for (senders, taken, bytes_per_s) in [
            (1, PIECE, 8_000_000),
            (4, PIECE, 8_000_000),
            (4, 1_000, 8_000_000),
            (4, PIECE, 65_536),
            (3, PIECE, 1 << 30),
        ] {
            let row = format!("{senders} senders, {taken} of a piece, {bytes_per_s} bytes/s");
            let each = sent(senders, taken, bytes_per_s, seconds * 1_000);
            let all: usize = each.iter().sum();
            let whole = usize::try_from(bytes_per_s * seconds).unwrap();
            let most = whole + whole / usize::try_from(seconds * 4).unwrap() + PIECE;
            assert!(all <= most, "{row}: {all} is more than {most}");
            assert!(all >= whole - whole / 10 - PIECE, "{row}: {all} of {whole}");
            let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
            assert!(most - least <= 2 * taken, "{row}: unfair, {each:?}");
        }
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let pace = Pace::default();
        let all = (0..10_000).all(|_| pace.take(PIECE, Millis(0), 0));
        assert!(all, "a piece had to wait");
        pace.give_back(PIECE, 0);
    }

    #[test]
    fn what_is_saved_up_in_an_hour_is_a_quarter_of_a_second() {
        let pace = Pace::default();
        let taken = (0..1_000).filter(|_| pace.take(1_000, Millis(3_600_000), 1_000_000)).count();
        assert_eq!(taken, 251, "pieces of a millisecond each");
    }
}
