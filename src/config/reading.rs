//! A settings file's text, key by key.
//!
//! Owns: finding every mistake at once, syntax before meaning; saying each in an operator's words
//! with what to write instead; and keeping what is right of a file.
//!
//! Never does: open a file, check a range (`validate`), or quote a password.

use std::borrow::Cow;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer, Error};
use toml::{Spanned, Table};

use crate::config::database_url::redact;
use crate::config::render::{SectionManual, manual};
use crate::config::sections::Config;

/// Names as alike as this are taken for one another's misspelling.
const ALIKE: f64 = 0.85;
/// Characters of a file that a message quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// Something that cannot be read.
pub(super) struct Mistake {
    /// Where, from 1.
    pub(super) line: usize,
    /// What is wrong, and what to write.
    pub(super) text: String,
}

/// What a settings file says.
#[derive(Default)]
pub(super) struct Written {
    /// What can be read of it; it makes a [`Config`].
    pub(super) table: Table,
    /// What cannot.
    pub(super) mistakes: Vec<Mistake>,
    /// The keys that cannot be read, as `section.key`: they stand at their defaults.
    pub(super) wrong: Vec<String>,
}

/// Reads a settings file.
pub(super) fn read(text: &str) -> Written {
    let (file, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, written: Written::default() };
    if errors.iter().any(|error| !is_duplicate(error)) {
        // What a broken file seems to mean is no help.
        reader.syntax(&errors);
        return reader.written;
    }
    for error in &errors {
        reader.duplicate(error, file.get_ref());
    }
    let mut fit = DeTable::new();
    for (name, value) in file.get_ref() {
        let known = manual().into_iter().find(|section| section.name == name.get_ref().as_ref());
        match (known, value.get_ref()) {
            (Some(section), DeValue::Table(keys)) => {
                let keys = reader.section(&section, keys);
                fit.insert(name.clone(), Spanned::new(value.span(), DeValue::Table(keys)));
            }
            (Some(_), _) => {
                let name = name.get_ref();
                let text =
                    format!("'{name}' is a section: write a line [{name}], and its keys below it");
                reader.note(value.span().start, &text);
            }
            (None, DeValue::Table(_)) => reader.unknown_section(name),
            (None, _) => reader.outside(name, value),
        }
    }
    reader.written.mistakes.sort_by_key(|mistake| mistake.line);
    // All of it has been read before, key by key.
    let fit = Table::deserialize(Deserializer::from(Spanned::new(0..0, fit)));
    Written { table: fit.unwrap_or_default(), ..reader.written }
}

/// What TOML or serde say of the value of `key`, in an operator's words.
pub(super) fn describe(key: &str, error: &Error) -> String {
    redact(&format!("{key}: {}", operators_words(error.message().trim_end())))
}

/// What a name that is not known could be meant for: of `section`, or of another one.
pub(super) fn meant(section: &str, key: &str) -> Option<String> {
    let sections = manual();
    let of = |section: &SectionManual| {
        section.keys.iter().map(|key| key.name.to_owned()).collect::<Vec<_>>()
    };
    let own = sections.iter().find(|known| known.name == section).map(of).unwrap_or_default();
    if let Some(alike) = most_alike(key, own.iter().map(String::as_str)) {
        return Some(format!("{section}.{alike}"));
    }
    let exact = sections.iter().find(|section| of(section).iter().any(|name| name == key));
    if let Some(exact) = exact {
        return Some(format!("{}.{key}", exact.name));
    }
    let others: Vec<(&str, String)> = sections
        .iter()
        .flat_map(|section| of(section).into_iter().map(|key| (section.name, key)))
        .collect();
    let alike = most_alike(key, others.iter().map(|(_, name)| name.as_str()))?;
    let (section, _) = others.iter().find(|(_, name)| *name == alike)?;
    Some(format!("{section}.{alike}"))
}

/// The most like `name` of `known`, if it could be meant.
fn most_alike<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known.to_owned())
}

fn is_duplicate(error: &Error) -> bool {
    error.message() == "duplicate key"
}

/// The line, from 1, that the byte `at` stands in.
pub(super) fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

struct Reader<'t> {
    text: &'t str,
    written: Written,
}

impl Reader<'_> {
    fn note(&mut self, at: usize, text: &str) {
        self.written.mistakes.push(Mistake { line: line_at(self.text, at), text: redact(text) });
    }

    /// One mistake for each line that is no TOML: what follows from the first is none of its own.
    fn syntax(&mut self, errors: &[Error]) {
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            let line = line_at(self.text, at);
            if self.written.mistakes.iter().any(|mistake| mistake.line == line) {
                continue;
            }
            let said = error.message().trim_end().replace('\n', ", ");
            let hint = self.text.lines().nth(line - 1).and_then(quotes_wanted);
            self.note(at, &hint.unwrap_or(said));
        }
    }

    fn duplicate(&mut self, error: &Error, file: &DeTable<'_>) {
        let span = error.span().unwrap_or_default();
        let name = self.text.get(span.clone()).unwrap_or_default().to_owned();
        let sections = file.iter().filter_map(|(_, value)| value.get_ref().as_table());
        let first = file.iter().chain(sections.flatten()).map(|(key, _)| key);
        let first = first.filter(|key| key.get_ref().as_ref() == name && key.span() != span);
        let first = first.map(|key| line_at(self.text, key.span().start)).max();
        let before = first.map(|line| format!(", first in line {line}")).unwrap_or_default();
        self.note(span.start, &format!("'{name}' is there twice{before}; leave one of them out"));
    }

    fn unknown_section(&mut self, name: &Spanned<Cow<'_, str>>) {
        let sections = manual();
        let known: Vec<&str> = sections.iter().map(|section| section.name).collect();
        let written = name.get_ref();
        let text = match most_alike(written, known.iter().copied()) {
            Some(alike) => format!("unknown section [{written}]; did you mean [{alike}]?"),
            None => format!("unknown section [{written}]; known are {}", known.join(", ")),
        };
        self.note(name.span().start, &text);
    }

    /// A key before the first section, or of none.
    fn outside(&mut self, name: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let written = name.get_ref();
        let value = self.text.get(value.span()).unwrap_or_default();
        let is_short = value.chars().count() <= QUOTED_CHARS_MAX && !value.contains('\n');
        let value = if is_short { value } else { "…" };
        let text = match meant("", written).as_deref().and_then(|key| key.split_once('.')) {
            Some((section, key)) if key == written => format!(
                "'{written}' stands outside its section: write {section}.{key} = {value}, or put \
                 it below a line [{section}]"
            ),
            Some((section, key)) => {
                format!("unknown key '{written}' outside a section; did you mean {section}.{key}?")
            }
            None => {
                let names = manual().iter().map(|section| section.name).collect::<Vec<_>>();
                format!(
                    "unknown key '{written}' outside a section; the sections are {}",
                    names.join(", ")
                )
            }
        };
        self.note(name.span().start, &text);
    }

    /// The keys of a section that can be read.
    fn section<'i>(&mut self, section: &SectionManual, keys: &DeTable<'i>) -> DeTable<'i> {
        let mut fit = DeTable::new();
        for (key, value) in keys {
            let (name, written) = (section.name, key.get_ref());
            if !section.keys.iter().any(|known| known.name == written.as_ref()) {
                self.note(key.span().start, &unknown_key(section, written));
                continue;
            }
            match try_key(name, key, value) {
                Ok(()) => drop(fit.insert(key.clone(), value.clone())),
                Err(error) => {
                    let full = format!("{name}.{written}");
                    let at = error.span().unwrap_or_else(|| value.span()).start;
                    self.note(at, &describe(&full, &error));
                    self.written.wrong.push(full);
                }
            }
        }
        fit
    }
}

fn unknown_key(section: &SectionManual, key: &str) -> String {
    let name = section.name;
    match meant(name, key).as_deref().and_then(|key| key.split_once('.')) {
        Some((of, known)) if of == name => {
            format!("unknown key '{key}' in [{name}]; did you mean {known}?")
        }
        Some((of, known)) if known == key => {
            format!("unknown key '{key}' in [{name}]; it belongs into [{of}]")
        }
        Some((of, known)) => {
            format!("unknown key '{key}' in [{name}]; did you mean {known} in [{of}]?")
        }
        None => {
            let known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
            format!("unknown key '{key}' in [{name}]; known are {}", known.join(", "))
        }
    }
}

/// Whether `key` may have this value.
fn try_key<'i>(
    section: &str,
    key: &Spanned<Cow<'i, str>>,
    value: &Spanned<DeValue<'i>>,
) -> Result<(), Error> {
    let (mut one, mut file) = (DeTable::new(), DeTable::new());
    one.insert(key.clone(), value.clone());
    let section = Spanned::new(key.span(), section.to_owned().into());
    file.insert(section, Spanned::new(key.span(), DeValue::Table(one)));
    Config::deserialize(Deserializer::from(Spanned::new(0..0, file))).map(drop)
}

/// What to write where a line seems to lack the quotes around a text.
fn quotes_wanted(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.split('#').next().unwrap_or_default().trim());
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let is_bare = !value.is_empty() && !value.starts_with(['"', '\'', '[', '{']);
    let shown = value.chars().count() <= QUOTED_CHARS_MAX && !value.contains('"');
    (is_bare && shown && !key.is_empty() && key.bytes().all(is_name))
        .then(|| format!("a text stands in quotes: {key} = \"{value}\""))
}

/// Serde names a number's range by its Rust type, and words by their variants.
fn operators_words(message: &str) -> String {
    if let Some((word, known)) =
        message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, expected "))
    {
        let known = known.trim_start_matches("one of ").replace('`', "\"");
        let known = match known.rsplit_once(", ") {
            Some((first, last)) => format!("{first} or {last}"),
            None => known,
        };
        return format!("{word:?} is not known; write {known}");
    }
    let ranges =
        [("u16", u64::from(u16::MAX)), ("u32", u32::MAX.into()), ("u64", i64::MAX.unsigned_abs())];
    ranges.into_iter().fold(message.to_owned(), |message, (name, max)| {
        message.replace(
            &format!("expected {name}"),
            &format!("expected a whole number from 0 to {max}"),
        )
    })
}
