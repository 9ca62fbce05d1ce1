//! Texts as their columns can hold them: an old table's are latin1, or utf8mb3 without emoji.
//!
//! Owns: the question to the server what becomes of a text in a column's character set, so that
//! what is listed is compared with what can be listed, and not with what was wished for. Whatever
//! the column cannot hold becomes a question mark.
//!
//! Limits: [`ASKED_MAX`] texts in a question.

use crate::registry::database::mysql::failure::Fault;
use crate::registry::database::mysql::schema::TextColumn;
use crate::registry::database::mysql::session::Session;
use crate::registry::database::mysql::{cell, statement};
use crate::registry::database::traits::{Edit, Edited};

const ASKED_MAX: usize = 100;

/// Edits as their columns take them.
pub(super) struct Fitted {
    pub(super) edits: Vec<Edit>,
    /// Whose text has lost characters.
    marked: Vec<bool>,
}

impl Fitted {
    /// What is told of the edits, by what came of them.
    pub(super) fn tell(&self, edited: Vec<Edited>) -> Vec<Edited> {
        let told = edited.into_iter().zip(&self.marked).map(|(edited, marked)| match edited {
            Edited::Done if *marked => Edited::DoneWithQuestionMarks,
            edited => edited,
        });
        told.collect()
    }
}

/// Has `edits` say what their columns will hold.
pub(super) fn fit(session: &mut Session, edits: &[Edit]) -> Result<Fitted, Fault> {
    let mut fitted = Fitted { edits: edits.to_vec(), marked: vec![false; edits.len()] };
    let schema = session.schema.clone();
    fit_texts(session, schema.name.as_ref(), &mut fitted, |edit| match edit {
        Edit::Add { name, .. } => name.as_mut(),
        _ => None,
    })?;
    fit_texts(session, schema.reason.as_ref(), &mut fitted, |edit| match edit {
        Edit::Ban { reason, .. } => reason.as_mut(),
        _ => None,
    })?;
    Ok(fitted)
}

fn fit_texts(
    session: &mut Session,
    column: Option<&TextColumn>,
    fitted: &mut Fitted,
    text: impl Fn(&mut Edit) -> Option<&mut String>,
) -> Result<(), Fault> {
    let Some(column) = column else { return Ok(()) };
    let mut texts: Vec<(usize, &mut String)> = fitted
        .edits
        .iter_mut()
        .enumerate()
        .filter_map(|(at, edit)| Some((at, text(edit)?)))
        .collect();
    if let Some(chars_max) = column.chars_max {
        for (_, text) in &mut texts {
            **text = text.chars().take(chars_max).collect();
        }
    }
    let Some(charset) = column.narrow_charset.as_deref() else { return Ok(()) };
    for asked in texts.chunks_mut(ASKED_MAX) {
        let wished = asked.iter().map(|(_, text)| text.as_str());
        let sql = statement::converted(wished, charset);
        let held = session.rows(&sql, |row| {
            Some((0..row.len()).map(|column| cell::text(row, column)).collect::<Vec<_>>())
        })?;
        for ((at, text), held) in asked.iter_mut().zip(held.into_iter().flatten()) {
            if **text != held {
                fitted.marked[*at] = true;
                **text = held;
            }
        }
    }
    Ok(())
}
