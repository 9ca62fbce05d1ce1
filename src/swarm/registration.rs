//! What a swarm keeps of its torrent's registration: twelve bytes in its cache line. Two bits of
//! them are about the swarm: whether it holds a private peer, and whether many of one address.
//!
//! Owns: the database's count of downloads and what has been added to it since, whether the
//! database lists the torrent and until when that is believed, and what is to be written back.
//! `downloaded` is both counts together, so a flush moves downloads from one to the other and
//! nobody sees it dip or double.
//!
//! Never: asks the database, or decides who is served.
//!
//! Limits: a point in time has 20 bits of 128 ms each, modulo 37 hours, so a verdict must be looked
//! at more often than every 18 hours less its own time. Each announce looks at it, and a swarm
//! without announces is gone sooner, unless something of it is to be written to a database that
//! cannot be written to: after 18 hours of that an old verdict may be believed for as long again.

use crate::bounds::{LIFETIME_MS_MAX, VERDICT_MS_MAX};
use crate::ids::Millis;
use crate::listing::{Listing, REFRESH_RETRY_MS, Verdict};

/// The listing's number, the flags, the private peer, the crowd, the hour, the time.
const LISTING_MASK: u32 = (1 << Listing::BITS) - 1;
const DIRTY: u32 = 1 << Listing::BITS;
const ACTIVE: u32 = DIRTY << 1;
const TAKEN: u32 = ACTIVE << 1;
const PRIVATE: u32 = TAKEN << 1;
const CROWD: u32 = PRIVATE << 1;
const HOUR_SHIFT: u32 = 8;
const HOUR_MASK: u32 = 0b1111 << HOUR_SHIFT;
const TIME_SHIFT: u32 = 12;
const TIME_BITS: u32 = 20;
const _: () = assert!(CROWD < 1 << HOUR_SHIFT && HOUR_MASK < 1 << TIME_SHIFT);

/// An "hour" is 2^22 ms: 70 minutes. There are sixteen, and a swarm without an announce for as long
/// is gone.
const HOUR_MS_SHIFT: u32 = 22;
const _: () = assert!(LIFETIME_MS_MAX < 15 << HOUR_MS_SHIFT);
/// A unit of time is 2^7 ms.
const TIME_MS_SHIFT: u32 = 7;

/// A verdict lasts for less than half of the times there are, and so does a swarm without
/// announces.
const _: () = assert!(
    VERDICT_MS_MAX < 1 << (TIME_BITS - 1 + TIME_MS_SHIFT)
        && LIFETIME_MS_MAX < 1 << (TIME_BITS - 1 + TIME_MS_SHIFT)
);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    /// Downloads by the database's count.
    written: u32,
    /// Downloads that are to be added to it.
    unwritten: u32,
    marks: u32,
}

/// What has been said of a torrent since the last batch that held it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    pub(super) downloads: u32,
    pub(super) active: bool,
}

/// What a later process is to know of a torrent's registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SavedCounts {
    pub(super) listing: Listing,
    /// Downloads that the database has, or a batch that outlives the process.
    pub(super) base: u32,
    /// Downloads that nobody else knows of.
    pub(super) own: u32,
}

impl Registration {
    /// The registration of a torrent whose first peer comes now.
    pub(super) fn new(verdict: Verdict) -> Registration {
        let mut registration = Registration { written: verdict.downloaded, unwritten: 0, marks: 0 };
        registration.set_verdict(verdict);
        registration
    }

    /// Completions, written or not.
    pub(super) fn downloaded(&self) -> u32 {
        self.written.saturating_add(self.unwritten)
    }

    /// Downloads by the database's count.
    pub(super) fn written(&self) -> u32 {
        self.written
    }

    /// What is saved with the swarm.
    pub(super) fn saved_counts(&self) -> SavedCounts {
        let (base, own) = match self.marks & TAKEN != 0 {
            true => (self.downloaded(), 0),
            false => (self.written, self.unwritten),
        };
        SavedCounts { listing: self.listing(), base, own }
    }

    /// Takes over what an earlier process has counted. Where the database has a count, `base` is
    /// not needed; it may be given twice. `own` is written as what is counted here.
    pub(super) fn restore(&mut self, base: u32, own: u32) {
        if !matches!(self.listing(), Listing::Listed | Listing::Banned) {
            self.written = self.written.max(base);
        }
        if own > 0 {
            self.unwritten = self.unwritten.saturating_add(own);
            self.marks |= DIRTY | ACTIVE;
        }
    }

    /// Takes over what the database says; its count only when that is known to hold what has been
    /// written.
    pub(super) fn learn(&mut self, verdict: Verdict, count_is_current: impl FnOnce() -> bool) {
        let newly_listed = verdict.listing == Listing::Listed
            && !matches!(self.listing(), Listing::Listed | Listing::Banned);
        if verdict.listing == Listing::Listed && self.marks & TAKEN == 0 && count_is_current() {
            self.written = verdict.downloaded;
        }
        self.set_verdict(verdict);
        if newly_listed {
            self.marks |= DIRTY | ACTIVE;
        }
    }

    fn set_verdict(&mut self, verdict: Verdict) {
        self.set_listing(verdict.listing);
        self.set_fresh_until(verdict.fresh_until);
    }

    pub(super) fn listing(&self) -> Listing {
        Listing::of_number(self.marks & LISTING_MASK)
    }

    fn set_listing(&mut self, listing: Listing) {
        self.marks = self.marks & !LISTING_MASK | listing.number();
    }

    /// Whether the verdict is past its time; true for one announcer at a time, who waits for a
    /// newer one.
    pub(super) fn take_stale(&mut self, now: Millis) -> bool {
        let stale = self.is_stale(now);
        if stale {
            self.set_fresh_until(now.plus(REFRESH_RETRY_MS));
        }
        stale
    }

    /// Whether the verdict is past its time.
    pub(super) fn is_stale(&self, now: Millis) -> bool {
        let age = time(now).wrapping_sub(self.marks >> TIME_SHIFT) & ((1 << TIME_BITS) - 1);
        self.listing() != Listing::NoList && age < 1 << (TIME_BITS - 1)
    }

    /// Has the next announcer ask.
    pub(super) fn make_stale(&mut self, now: Millis) {
        self.set_fresh_until(now);
    }

    fn set_fresh_until(&mut self, until: Millis) {
        self.marks = self.marks & ((1 << TIME_SHIFT) - 1) | time(until) << TIME_SHIFT;
    }

    /// The database bans the torrent. What was counted is to be written as of a listed one; then
    /// the registration need not be kept.
    pub(super) fn ban(&mut self) {
        if self.unwritten > 0 {
            self.marks |= DIRTY;
        }
        self.set_listing(Listing::Banned);
    }

    /// A completion.
    pub(super) fn count_download(&mut self) {
        self.unwritten = self.unwritten.saturating_add(1);
        self.marks |= DIRTY | ACTIVE;
    }

    /// A peer came, went or changed sides: by announce, or for its age.
    pub(super) fn note_change(&mut self, by_announce: bool) {
        self.marks |= if by_announce { DIRTY | ACTIVE } else { DIRTY };
    }

    /// An announce that may have changed nothing: it is worth writing once an hour.
    pub(super) fn note_activity(&mut self, now: Millis) {
        if (self.marks ^ hour(now)) & HOUR_MASK != 0 {
            self.marks |= DIRTY | ACTIVE;
        }
    }

    /// A peer came whose address is private. This is not forgotten while the torrent is in memory.
    pub(super) fn note_private_peer(&mut self) {
        self.marks |= PRIVATE;
    }

    /// A third peer of one address came. This is not forgotten either.
    pub(super) fn note_crowd(&mut self) {
        self.marks |= CROWD;
    }

    /// Whether an address may have more peers than an answer should hold.
    pub(super) fn holds_crowd(&self) -> bool {
        self.marks & CROWD != 0
    }

    /// Whether answers take more care than usual: one of these two.
    pub(super) fn is_choosy(&self) -> bool {
        self.marks & (PRIVATE | CROWD) != 0
    }

    /// Whether a private peer may be there.
    pub(super) fn holds_private_peer(&self) -> bool {
        self.marks & PRIVATE != 0
    }

    /// Whether there is something to write, or being written.
    pub(super) fn has_unwritten(&self) -> bool {
        match self.listing() {
            Listing::NoList | Listing::Unlisted => self.marks & TAKEN != 0,
            Listing::Unasked => self.unwritten > 0,
            Listing::Listed | Listing::Banned => {
                self.marks & (DIRTY | TAKEN) != 0 || self.unwritten > 0
            }
        }
    }

    /// What is to be written, unless nothing is or an earlier batch is under way. It counts as
    /// under way until [`Registration::confirm_written`].
    pub(super) fn take_unwritten(&mut self, now: Millis) -> Option<Taken> {
        let is_written = matches!(self.listing(), Listing::Listed | Listing::Banned);
        if !is_written || self.marks & (DIRTY | TAKEN) != DIRTY {
            return None;
        }
        let taken = Taken { downloads: self.unwritten, active: self.marks & ACTIVE != 0 };
        self.marks = self.marks & !(DIRTY | ACTIVE | HOUR_MASK) | TAKEN | hour(now);
        Some(taken)
    }

    /// What is to be written beside what was taken with `downloads`, and is still under way.
    pub(super) fn take_rest(&mut self, downloads: u32, now: Millis) -> Option<Taken> {
        if self.marks & (DIRTY | TAKEN) != DIRTY | TAKEN {
            return None;
        }
        let downloads = self.unwritten.saturating_sub(downloads);
        let taken = Taken { downloads, active: self.marks & ACTIVE != 0 };
        self.marks = self.marks & !(DIRTY | ACTIVE | HOUR_MASK) | hour(now);
        Some(taken)
    }

    /// What [`Registration::take_unwritten`] gave is in the database now.
    pub(super) fn confirm_written(&mut self, downloads: u32) {
        if self.marks & TAKEN != 0 {
            self.marks &= !TAKEN;
            self.written = self.written.saturating_add(downloads);
            self.unwritten = self.unwritten.saturating_sub(downloads);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest bits are all that is kept")]
fn time(at: Millis) -> u32 {
    (at.0 >> TIME_MS_SHIFT) as u32 & ((1 << TIME_BITS) - 1)
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest bits are all that is kept")]
fn hour(at: Millis) -> u32 {
    ((at.0 >> HOUR_MS_SHIFT) as u32) << HOUR_SHIFT & HOUR_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 1 << HOUR_MS_SHIFT;

    fn listed(downloaded: u32, fresh_until: u64) -> Verdict {
        Verdict { listing: Listing::Listed, downloaded, fresh_until: Millis(fresh_until) }
    }

    #[test]
    fn downloads_move_from_one_count_to_the_other_and_the_sum_stays() {
        let mut registration = Registration::new(listed(100, 0));
        (0..3).for_each(|_| registration.count_download());
        let taken = registration.take_unwritten(Millis(0)).unwrap();
        assert_eq!(taken, Taken { downloads: 3, active: true }, "what was taken");
        assert_eq!(registration.downloaded(), 103, "downloads in all");
        registration.count_download();
        assert_eq!(registration.take_unwritten(Millis(0)), None, "a batch is under way");
        registration.learn(listed(103, 0), || true);
        assert_eq!(
            registration.downloaded(),
            104,
            "a count read meanwhile may hold the batch or not"
        );
        registration.confirm_written(taken.downloads);
        assert_eq!(registration.downloaded(), 104);
        registration.learn(listed(100, 0), || false);
        assert_eq!(registration.downloaded(), 104, "a count read before the batch");
        registration.learn(listed(203, 0), || true);
        assert_eq!(registration.downloaded(), 204, "downloads in all, somebody else counts too");
        assert_eq!(
            registration.take_unwritten(Millis(0)).unwrap().downloads,
            1,
            "downloads to be written, somebody else counts too"
        );
    }

    #[test]
    fn a_torrent_that_is_not_listed_has_nothing_to_write_until_it_is() {
        let mut registration =
            Registration::new(Verdict { listing: Listing::Unlisted, ..listed(0, 0) });
        registration.count_download();
        assert!(!registration.has_unwritten() && registration.take_unwritten(Millis(0)).is_none());
        registration.learn(listed(0, 0), || true);
        assert!(registration.has_unwritten() && registration.downloaded() == 1);
        assert_eq!(
            registration.take_unwritten(Millis(0)),
            Some(Taken { downloads: 1, active: true })
        );
        registration.confirm_written(1);
        assert!(!registration.has_unwritten());
    }

    #[test]
    fn what_was_counted_of_a_torrent_that_turns_out_banned_is_written_and_then_let_go() {
        for listing in [Listing::Unasked, Listing::Unlisted, Listing::Listed] {
            let mut registration = Registration::new(Verdict { listing, ..listed(0, 0) });
            registration.count_download();
            registration.ban();
            assert_eq!(
                registration.take_unwritten(Millis(0)).map(|taken| taken.downloads),
                Some(1),
                "{listing:?}"
            );
            registration.confirm_written(1);
            assert_eq!(registration.listing(), Listing::Banned, "{listing:?}");
            assert!(!registration.has_unwritten(), "{listing:?}");
        }
    }

    #[test]
    fn activity_alone_is_written_once_an_hour_and_expiry_is_no_activity() {
        let mut registration = Registration::new(listed(0, 0));
        registration.note_change(true);
        assert!(registration.take_unwritten(Millis(5)).unwrap().active);
        registration.confirm_written(0);
        registration.note_activity(Millis(HOUR_MS - 1));
        assert_eq!(registration.take_unwritten(Millis(HOUR_MS - 1)), None);
        registration.note_activity(Millis(HOUR_MS));
        assert!(registration.take_unwritten(Millis(HOUR_MS)).unwrap().active);
        registration.confirm_written(0);
        registration.note_change(false);
        assert_eq!(
            registration.take_unwritten(Millis(HOUR_MS + 1)),
            Some(Taken { downloads: 0, active: false })
        );
    }

    #[test]
    fn a_verdict_is_stale_after_its_time_wherever_the_clock_stands_and_tells_one() {
        for begin in [0, 1 << 20, (1 << 27) - 1, 1 << 27, u64::from(u32::MAX) << 7] {
            let mut registration = Registration::new(listed(0, begin + 30_000));
            assert!(
                !registration.take_stale(Millis(begin))
                    && !registration.take_stale(Millis(begin + 29_800)),
                "{begin}"
            );
            assert!(registration.take_stale(Millis(begin + 30_000)), "{begin}");
            assert!(
                !registration.take_stale(Millis(begin + 30_100))
                    && registration.take_stale(Millis(begin + 31_200)),
                "{begin}"
            );
            assert!(
                registration.take_stale(Millis(begin + 6 * 3_600_000)),
                "{begin}: after the longest life of a peer"
            );
        }
        let mut none = Registration::new(Verdict::NO_LIST);
        assert!(!none.take_stale(Millis(1 << 40)) && !none.has_unwritten());
    }
}
