//! Settings in the environment: `ANNOUNCED_SERVER__LISTEN` is `server.listen`.
//!
//! Owns: which variables are settings (only those with `__` in their names: Kubernetes puts others
//! that begin with a service's name into every container), and how a value is read that is no
//! TOML: as a text, as TOML, or as texts with commas between them, whatever fits first.
//!
//! Never does: read the environment, or show a value, which may be a password.

use std::fmt;

use toml::de::Error;
use toml::{Table, Value};

use crate::config::reading::{describe, meant};
use crate::config::render::manual;
use crate::config::sections::Config;

const PREFIX: &str = "ANNOUNCED_";
const SEPARATOR: &str = "__";
/// The key that has a variable without a section as well.
const URL: &str = "database.url";

/// The variables of the environment that are settings.
#[derive(Clone, Default)]
pub struct Environment(Vec<Variable>);

#[derive(Clone)]
struct Variable {
    name: String,
    value: String,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|variable| &variable.name)).finish()
    }
}

impl Variable {
    /// As `section.key`, known or not.
    fn key(&self) -> String {
        let name = self.name.strip_prefix(PREFIX).unwrap_or_default();
        name.replacen(SEPARATOR, ".", 1).to_lowercase()
    }
}

impl Environment {
    /// Of all `variables`, those that are settings. An empty one is as good as unset.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
        let mut settings: Vec<Variable> = variables
            .into_iter()
            .filter(|(name, value)| {
                let rest = name.strip_prefix(PREFIX);
                !value.is_empty() && rest.is_some_and(|rest| rest.contains(SEPARATOR))
            })
            .map(|(name, value)| Variable { name, value })
            .collect();
        settings.sort_by(|one, other| one.name.cmp(&other.name));
        Environment(settings)
    }

    /// The database's URL, which counts before the file's own ways to name one.
    pub(super) fn database(&self) -> Option<&str> {
        let found = self.0.iter().find(|variable| variable.key() == URL);
        found.map(|variable| variable.value.as_str())
    }

    /// The keys that are set, each with its variable.
    pub(super) fn keys(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|variable| (variable.key(), variable.name.clone()))
    }

    /// Puts the settings over those of `table`; what is wrong with the others, and their keys.
    pub(super) fn lay_over(&self, table: &mut Table) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        for variable in &self.0 {
            let (key, name) = (variable.key(), &variable.name);
            match lay_one_over(&key, &variable.value, table) {
                Ok(()) => {}
                Err(problem) => wrong.push((key, format!("{name}: {problem}"))),
            }
        }
        wrong
    }
}

fn lay_one_over(key: &str, text: &str, table: &mut Table) -> Result<(), String> {
    let (section, name) = key.split_once('.').unwrap_or_default();
    let sections = manual();
    let known = sections.iter().find(|known| known.name == section);
    if known.is_none_or(|known| known.keys.iter().all(|known| known.name != name)) {
        let meant = meant(section, name).map(|key| {
            let variable = key.replacen('.', SEPARATOR, 1).to_uppercase();
            format!("; did you mean {PREFIX}{variable}?")
        });
        return Err(format!("unknown setting {key}{}", meant.unwrap_or_default()));
    }
    let value = read(section, name, text).map_err(|error| describe(key, &error))?;
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Some(section) = section.as_table_mut() {
        section.insert(name.to_owned(), value);
    }
    Ok(())
}

fn read(section: &str, name: &str, text: &str) -> Result<Value, Error> {
    let as_text = Value::String(text.to_owned());
    let Err(not_as_text) = try_value(section, name, &as_text) else { return Ok(as_text) };
    let as_toml = format!("value = {text}").parse::<Table>().ok();
    if let Some(value) = as_toml.and_then(|mut table| table.remove("value")) {
        return try_value(section, name, &value).map(|()| value);
    }
    let texts = text.split(',').map(|part| Value::String(part.trim().to_owned()));
    let as_texts = Value::Array(texts.collect());
    match try_value(section, name, &as_texts) {
        Ok(()) => Ok(as_texts),
        Err(not_as_texts) if text.contains(',') => Err(not_as_texts),
        Err(_) => Err(not_as_text),
    }
}

fn try_value(section: &str, name: &str, value: &Value) -> Result<(), Error> {
    let one = Table::from_iter([(name.to_owned(), value.clone())]);
    let file = Table::from_iter([(section.to_owned(), Value::Table(one))]);
    file.try_into::<Config>().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let mut table = Table::new();
        let wrong = Environment::of(variables).lay_over(&mut table);
        match wrong.is_empty() {
            true => Ok(table.try_into().unwrap()),
            false => Err(wrong.into_iter().map(|(_, problem)| problem).collect()),
        }
    }

    #[test]
    fn every_setting_can_be_set_to_its_default() {
        for section in manual() {
            for key in section.keys {
                let name = format!("{PREFIX}{}__{}", section.name, key.name).to_uppercase();
                let loaded = load(&[(&name, &key.default)]);
                assert!(loaded.is_ok(), "{name}={}: {loaded:?}", key.default);
            }
        }
    }

    #[test]
    fn a_value_is_a_text_or_toml_or_texts_with_commas() {
        let one = |name: &str, value: &str| load(&[(name, value)]).unwrap();
        let listen = |value: &str| one("ANNOUNCED_SERVER__LISTEN", value).server.listen;
        let (first, second) = (":80".parse().unwrap(), ":81".parse().unwrap());
        assert_eq!(listen(":80"), [first], "a text");
        assert_eq!(listen("[\":80\", \":81\"]"), [first, second], "TOML");
        assert_eq!(listen(":80, :81"), [first, second], "texts with a comma");
        assert_eq!(one("ANNOUNCED_SERVER__WORKERS", "3").server.workers, 3);
        assert!(!one("ANNOUNCED_TRACKER__PEER_IDS", "false").tracker.peer_ids, "a switch");
        let interval = one("ANNOUNCED_TRACKER__MAX_INTERVAL", "20m").tracker.max_interval;
        assert_eq!(interval.as_secs(), 1_200, "a duration");
        let directory = one("ANNOUNCED_SERVER__STATE_DIRECTORY", "/a b").server.state_directory;
        assert_eq!(directory.to_str(), Some("/a b"), "a path");
    }

    #[test]
    fn only_names_with_two_underscores_are_settings_and_those_must_be_known() {
        let others = [("ANNOUNCED_PORT_6969_TCP_ADDR", "10.0.0.1"), ("SERVER__LISTEN", "x")];
        assert_eq!(load(&others), Ok(Config::default()), "others' variables");
        assert_eq!(load(&[("ANNOUNCED_SERVER__LISTN", "")]), Ok(Config::default()), "an empty one");
        let rows = [
            (
                "ANNOUNCED_SERVER__LISTN",
                "unknown setting server.listn; did you mean ANNOUNCED_SERVER__LISTEN?",
            ),
            (
                "ANNOUNCED_SERVER__MODE",
                "unknown setting server.mode; did you mean ANNOUNCED_TRACKER__MODE?",
            ),
            ("ANNOUNCED_WEB__ROOT", "unknown setting web.root"),
            (
                "ANNOUNCED_TRACKER__MODE",
                "tracker.mode: \"x\" is not known; write \"open\" or \"registered\"",
            ),
        ];
        for (name, problem) in rows {
            assert_eq!(load(&[(name, "x")]), Err(vec![format!("{name}: {problem}")]));
        }
    }

    #[test]
    fn no_value_is_shown() {
        let secret = ("ANNOUNCED_DATABASE__URL".to_owned(), "mysql://u:hunter2@db/x".to_owned());
        let environment = Environment::of([secret]);
        assert_eq!(format!("{environment:?}"), "[\"ANNOUNCED_DATABASE__URL\"]");
        assert_eq!(environment.database(), Some("mysql://u:hunter2@db/x"));
    }
}
