//! The numbers of batches, by which none is written twice.
//!
//! Owns: what becomes of a batch, by the number of the last one that was applied. Whoever asks has
//! read that inside its transaction, and writes what is decided here in the same one. Never: SQL,
//! or a database's own types.

use crate::registry::database::traits::DatabaseError;

/// Days after which the number of a node that writes no more is forgotten.
pub(super) const FLUSH_DAYS_KEPT: u32 = 30;

/// What to do with a batch, by the number of the last one that was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Numbered {
    /// It is the next.
    Next,
    /// Its node is not known: it is new, or its number has been deleted. The batch counts as the
    /// next.
    First,
    /// It has been applied.
    Applied,
}

impl Numbered {
    /// Compares `number` with the last one `applied`.
    ///
    /// # Errors
    /// When batches are missing between them, which only a database set back to an earlier state,
    /// or a hand in the table, can have caused.
    pub(super) fn of(number: u64, applied: Option<u64>) -> Result<Numbered, DatabaseError> {
        match applied {
            None => Ok(Numbered::First),
            Some(last) if last >= number => Ok(Numbered::Applied),
            Some(last) if last + 1 == number => Ok(Numbered::Next),
            Some(last) => Err(DatabaseError::Unfit(format!(
                "the table flushes knows batch {last} as this tracker's last, but the next is \
                 {number}: has the database been set back? Delete its row there, and counting \
                 goes on"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_each_other_without_gaps() {
        let rows = [
            (7, None, Some(Numbered::First)),
            (7, Some(6), Some(Numbered::Next)),
            (7, Some(7), Some(Numbered::Applied)),
            (7, Some(u64::MAX), Some(Numbered::Applied)),
            (7, Some(5), None),
        ];
        for (number, applied, expected) in rows {
            assert_eq!(Numbered::of(number, applied).ok(), expected, "{number} after {applied:?}");
        }
    }
}
