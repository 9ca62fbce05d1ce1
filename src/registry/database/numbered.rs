//! The numbers of batches, by which none is written twice.
//!
//! Owns: what becomes of a batch, by the number of the last one that was applied. Whoever asks has
//! read that inside its transaction, and writes what is decided here in the same one. Never: SQL,
//! or a database's own types.

use crate::registry::database::traits::BatchOutcome;

/// Days after which the number of a node that writes no more is forgotten.
pub(super) const FLUSH_DAYS_KEPT: u32 = 30;

/// What to do with a batch, by the number of the last one that was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Numbered {
    /// It is the next.
    Next,
    /// Its node is not known: it is new, or its number has been deleted. The batch counts as the
    /// next.
    First,
    /// Nothing: this has become of it.
    Decided(BatchOutcome),
}

impl Numbered {
    /// Compares `number` with the last one `applied`.
    pub(super) fn of(number: u64, applied: Option<u64>) -> Numbered {
        match applied {
            None => Numbered::First,
            Some(last) if last > number => Numbered::Decided(BatchOutcome::Overtaken { last }),
            Some(last) if last == number => Numbered::Decided(BatchOutcome::WHOLE),
            Some(last) if last + 1 == number => Numbered::Next,
            Some(last) => Numbered::Decided(BatchOutcome::SetBack { last }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_each_other_without_gaps() {
        let decided = Numbered::Decided;
        let rows = [
            (7, None, Numbered::First),
            (7, Some(6), Numbered::Next),
            (7, Some(7), decided(BatchOutcome::WHOLE)),
            (7, Some(8), decided(BatchOutcome::Overtaken { last: 8 })),
            (7, Some(u64::MAX), decided(BatchOutcome::Overtaken { last: u64::MAX })),
            (7, Some(5), decided(BatchOutcome::SetBack { last: 5 })),
        ];
        for (number, applied, expected) in rows {
            assert_eq!(Numbered::of(number, applied), expected, "{number} after {applied:?}");
        }
    }
}
