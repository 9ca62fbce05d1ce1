//! The settings with their meaning, out of the doc comments of their types: as the settings file
//! with every key at its default, which `announced config` prints, and as values for the manual.
//!
//! Owns: turning the doc comments into `# ` comments above each `key = value`.
//!
//! Never does: print a running tracker's own settings; what it writes holds no secret.

use documented::{Documented, DocumentedFields};
use serde::Serialize;

use crate::config::admin::AdminConfig;
use crate::config::database::DatabaseConfig;
use crate::config::limits::LimitsConfig;
use crate::config::sections::{ServerConfig, TrackerConfig, UdpConfig};

const COLUMNS_MAX: usize = 100;

/// A section of the settings file.
pub struct SectionManual {
    /// Without brackets.
    pub name: &'static str,
    /// What the section is about.
    pub meaning: &'static str,
    /// Its keys in the order of the printed file.
    pub keys: Vec<KeyManual>,
}

/// A setting.
pub struct KeyManual {
    /// Without its section.
    pub name: &'static str,
    /// Meaning, unit and reason.
    pub meaning: &'static str,
    /// As it is written in the file.
    pub default: String,
}

/// All settings.
pub fn manual() -> Vec<SectionManual> {
    vec![
        section("server", &ServerConfig::default()),
        section("udp", &UdpConfig::default()),
        section("limits", &LimitsConfig::default()),
        section("tracker", &TrackerConfig::default()),
        section("database", &DatabaseConfig::default()),
        section("admin", &AdminConfig::default()),
    ]
}

/// A settings file that says what the defaults say, with the meaning, unit and reason of each above
/// it.
pub fn default_file() -> String {
    let mut file = String::new();
    comment(
        "Settings of announced. Each key stands at its default: keep only what you change.",
        &mut file,
    );
    comment("Durations have a unit: \"30s\", \"15m\", \"1h 30m\".", &mut file);
    for SectionManual { name, meaning, keys } in manual() {
        file.push('\n');
        comment(meaning, &mut file);
        file.push_str(&format!("[{name}]\n"));
        for KeyManual { name, meaning, default } in keys {
            file.push('\n');
            comment(meaning, &mut file);
            file.push_str(&format!("{name} = {default}\n"));
        }
    }
    file
}

fn section<S: Documented + DocumentedFields + Serialize>(
    name: &'static str,
    settings: &S,
) -> SectionManual {
    // Only a type that TOML cannot express fails here, and the tests would see its keys missing.
    let values = toml::Table::try_from(settings).unwrap_or_default();
    let keys = S::FIELD_NAMES.iter().zip(S::FIELD_DOCS).filter_map(|(name, meaning)| {
        let default = values.get(*name)?.to_string();
        Some(KeyManual { name, meaning, default })
    });
    SectionManual { name, meaning: S::DOCS, keys: keys.collect() }
}

/// Writes `text` as comment lines of at most [`COLUMNS_MAX`] columns; its own line breaks count as
/// spaces.
fn comment(text: &str, file: &mut String) {
    let mut columns = usize::MAX;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if columns.saturating_add(1 + width) > COLUMNS_MAX {
            file.push_str(if columns == usize::MAX { "#" } else { "\n#" });
            columns = 1;
        }
        file.push(' ');
        file.push_str(word);
        columns += 1 + width;
    }
    file.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_printed_file_is_the_default() {
        assert_eq!(toml::from_str(&default_file()), Ok(Config::default()));
    }

    #[test]
    fn every_key_is_printed_below_its_meaning() {
        let file = default_file();
        let sections = [
            ("server", ServerConfig::FIELD_NAMES),
            ("udp", UdpConfig::FIELD_NAMES),
            ("limits", LimitsConfig::FIELD_NAMES),
            ("tracker", TrackerConfig::FIELD_NAMES),
            ("database", DatabaseConfig::FIELD_NAMES),
            ("admin", AdminConfig::FIELD_NAMES),
        ];
        let keys = sections.map(|(section, names)| names.iter().map(move |name| (section, name)));
        let keys: Vec<_> = keys.into_iter().flatten().collect();
        for (section, key) in &keys {
            let begin = file.find(&format!("\n[{section}]\n")).expect("the section is there");
            let at = file[begin..].find(&format!("\n{key} = "));
            let at = begin + at.unwrap_or_else(|| panic!("{section}.{key} is missing"));
            assert!(
                file[..at].lines().next_back().is_some_and(|line| line.starts_with("# ")),
                "{section}.{key} has no comment"
            );
        }
        assert_eq!(
            file.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count(),
            keys.len()
        );
    }

    #[test]
    fn comments_are_wrapped_and_lose_no_word() {
        let mut written = String::new();
        comment(&"word ".repeat(50), &mut written);
        assert!(
            written.lines().all(|line| line.starts_with("# word") && line.len() <= COLUMNS_MAX)
        );
        assert_eq!(written.matches("word").count(), 50);
    }
}
