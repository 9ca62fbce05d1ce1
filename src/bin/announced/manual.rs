//! What a package ships beside the program: its manual pages and shell completions, made of the
//! same doc comments as `--help` and `announced config`.
//!
//! Owns: `announced man` and `announced completions`. `announced(8)` has every command on one page,
//! `announced.toml(5)` every setting.
//!
//! Never does: read a setting or a file.

use clap::builder::StyledStr;
use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use announced::config;

use crate::flags::CommandLine;
use crate::terminal::print;

const SIGNALS: &[(&str, &str)] = &[
    ("SIGHUP", "read the settings file and the list of torrents anew"),
    ("SIGUSR1", "write the line of counters into the log"),
    ("SIGUSR2", "start the program anew, hand its sockets over to it, and end"),
    ("SIGTERM, SIGINT", "answer what is under way, write what is counted, and end"),
];

const STATUS: &[(&str, &str)] = &[
    ("0", "the command did what it was asked, or the tracker was told to stop"),
    ("1", "a setting is wrong, or something else that the line on standard error names"),
    ("2", "the command line cannot be read"),
];

/// Which manual page.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Page {
    /// Section 8: the program
    Announced,
    /// Section 5: the settings file
    #[value(name = "announced.toml")]
    Settings,
}

/// Prints a manual page, as `man` formats it.
pub(crate) fn man(page: Page) -> Result<(), Vec<String>> {
    print(&match page {
        Page::Announced => program_page().map_err(|error| vec![error.to_string()])?,
        Page::Settings => settings_page(),
    })
}

/// Prints the completions for `shell`, as it reads them.
pub(crate) fn completions(shell: Shell) -> Result<(), Vec<String>> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "announced", &mut script);
    print(&String::from_utf8_lossy(&script))
}

fn program_page() -> std::io::Result<String> {
    let mut command = CommandLine::command().disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone()).section("8").manual("System administration");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    let mut name = Roff::new();
    name.control("SH", ["NAME"]);
    name.text([roman("announced - BitTorrent tracker over HTTP and UDP")]);
    name.to_writer(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut rest = Roff::new();
    rest.control("SH", ["COMMANDS"]);
    describe_all(&command, &mut rest);
    table("SIGNALS", SIGNALS, &mut rest);
    table("EXIT STATUS", STATUS, &mut rest);
    rest.control("SH", ["SEE ALSO"]);
    rest.text([bold("announced.toml"), roman("(5)")]);
    rest.to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Every command below `parent` that does something, with its arguments.
fn describe_all(parent: &Command, page: &mut Roff) {
    for command in parent.get_subcommands() {
        if command.has_subcommands() {
            describe_all(command, page);
        } else {
            describe(command, page);
        }
    }
}

fn describe(command: &Command, page: &mut Roff) {
    let usage = command.clone().render_usage().to_string();
    page.control("SS", [usage.trim_start_matches("Usage: ")]);
    page.text([roman(words(command.get_about()))]);
    for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
        page.control("TP", []);
        page.text([bold(argument.to_string())]);
        page.text([roman(words(argument.get_help()))]);
    }
    if command.get_after_help().is_some() {
        page.control("PP", []);
        page.text([roman(words(command.get_after_help()))]);
    }
}

fn words(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn table(title: &str, rows: &[(&str, &str)], page: &mut Roff) {
    page.control("SH", [title]);
    for (name, meaning) in rows {
        page.control("TP", []);
        page.text([bold(*name)]);
        page.text([roman(*meaning)]);
    }
}

fn settings_page() -> String {
    let mut page = Roff::new();
    let version = concat!("announced ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["announced.toml", "5", "", version, "File formats"]);
    page.control("SH", ["NAME"]);
    page.text([roman("announced.toml - settings of the BitTorrent tracker announced")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        roman("A TOML file, named by "),
        bold("announced --config FILE"),
        roman(". Each setting has a default; "),
        bold("announced config"),
        roman(" prints a file with all of them, "),
        bold("announced check FILE"),
        roman(" says what is wrong in one. Durations have a unit: \"30s\", \"15m\", \"1h 30m\"."),
    ]);
    for section in config::manual() {
        page.control("SH", [format!("[{}]", section.name).as_str()]);
        page.text([roman(one_line(section.meaning))]);
        for key in section.keys {
            page.control("TP", []);
            page.text([bold(key.name), roman(" = "), italic(key.default)]);
            page.text([roman(one_line(key.meaning))]);
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("announced"), roman("(8)")]);
    page.render()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_page_has_every_command_and_flag() {
        let page = program_page().unwrap();
        let command = CommandLine::command();
        let mut names: Vec<String> = Vec::new();
        for command in command.get_subcommands() {
            names.extend(command.get_subcommands().map(|verb| verb.get_name().to_owned()));
            names.push(command.get_name().to_owned());
        }
        names.extend(command.get_arguments().filter_map(|flag| flag.get_long()).map(String::from));
        for name in names {
            let escaped = name.replace('-', "\\-");
            assert!(page.contains(&escaped), "{name} is missing");
        }
    }

    #[test]
    fn the_settings_page_has_every_setting() {
        let page = settings_page();
        for section in config::manual() {
            assert!(page.contains(&format!("[{}]", section.name)), "[{}] is missing", section.name);
            for key in section.keys {
                assert!(page.contains(key.name), "{}.{} is missing", section.name, key.name);
            }
        }
    }
}
