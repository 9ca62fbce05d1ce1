//! What one worker has answered, counted by kind: plain numbers, as nobody else writes them.

/// A kind of event worth counting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tallied {
    /// An announce, whatever came of it.
    Announce,
    /// A scrape of named torrents, whatever came of it.
    Scrape,
    /// A full scrape, whatever came of it.
    FullScrape,
    /// A request answered with a failure.
    Refused,
    /// A request that was not HTTP, or not for this program.
    Fault,
    /// A request that had to wait for the registry.
    Parked,
    /// One that waited in vain.
    GivenUp,
}

impl Tallied {
    /// All kinds with the names they go by in the log, in the order of [`Tally::counts`].
    pub const ALL: [(Tallied, &'static str); 7] = [
        (Tallied::Announce, "announces"),
        (Tallied::Scrape, "scrapes"),
        (Tallied::FullScrape, "full scrapes"),
        (Tallied::Refused, "refused"),
        (Tallied::Fault, "faults"),
        (Tallied::Parked, "parked"),
        (Tallied::GivenUp, "given up"),
    ];
}

/// How often each kind has happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally([u64; Tallied::ALL.len()]);

impl Tally {
    /// Counts one event.
    pub fn count(&mut self, kind: Tallied) {
        self.0[kind as usize] += 1;
    }

    /// The counts in the order of [`Tallied::ALL`].
    pub fn counts(&self) -> &[u64] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_own_index() {
        assert!(Tallied::ALL.iter().enumerate().all(|(index, (kind, _))| *kind as usize == index));
    }
}
