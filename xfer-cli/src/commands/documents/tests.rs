//! The program's own words agree: help, manual page, completions, and the contract page.

use std::collections::BTreeSet;

use super::manual_page;
use crate::args::command::command;
use crate::args::flags::{FLAGS, Kind};

const CONTRACT: &str = include_str!("../../../CLI.md");

/// Every verb, as typed after `xfer`.
fn verbs() -> BTreeSet<String> {
    let mut verbs = BTreeSet::new();
    for verb in command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        if !verb.has_subcommands() {
            verbs.insert(verb.get_name().to_owned());
        }
        for inner in verb.get_subcommands() {
            verbs.insert(format!("{} {}", verb.get_name(), inner.get_name()));
        }
    }
    verbs
}

/// Every flag in the form that the help shows.
fn flags() -> BTreeSet<String> {
    let shown = |flag: &crate::args::flags::Flag| match flag.kind {
        Kind::Switch { on: true } => format!("--no-{}", flag.long),
        _ => flag.typed(),
    };
    let mut flags: BTreeSet<String> = FLAGS.iter().map(shown).collect();
    flags.extend(FLAGS.iter().filter_map(|flag| flag.short).map(|letter| format!("-{letter}")));
    let of_verbs =
        ["--against", "--origin", "--uploads", "--abort-stale", "--help", "--version", "-V"];
    flags.extend(of_verbs.map(String::from));
    flags
}

/// What looks like a flag in a text.
fn flags_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| {
            let long = word.starts_with("--") && word.len() > 3;
            long || (word.len() == 2 && word.starts_with('-') && word != &"--")
        })
        .map(str::to_owned)
        .collect()
}

fn all_help() -> String {
    let mut text = String::new();
    let mut command = command();
    command.build();
    text.push_str(&command.render_long_help().to_string());
    for verb in command.get_subcommands_mut() {
        text.push_str(&verb.render_long_help().to_string());
        for inner in verb.get_subcommands_mut() {
            text.push_str(&inner.render_long_help().to_string());
        }
    }
    text
}

fn contract_section(title: &str) -> &'static str {
    let (_, rest) = CONTRACT.split_once(&format!("## {title}\n")).unwrap();
    rest.split("\n## ").next().unwrap()
}

#[test]
fn every_flag_is_in_the_help_the_manual_and_the_contract() {
    let expected = flags();
    let manual = flags_in(&manual_page().unwrap().replace("\\-", "-").replace("\\fB", " "));
    let help = flags_in(&all_help());
    let contract = flags_in(contract_section("Flags"));
    for flag in &expected {
        assert!(help.contains(flag), "{flag} is not in --help");
        assert!(manual.contains(flag), "{flag} is not in the manual page");
        assert!(contract.contains(flag), "{flag} is not in CLI.md");
    }
    for flag in contract.iter().chain(&manual) {
        // Beside those of many verbs some belong to one.
        let known = expected.contains(flag)
            || help.contains(flag)
            || ["-c", "-p", "--flag", "--no-progress"].contains(&&flag[..]);
        assert!(known, "{flag} is in a document and not in the program");
    }
}

#[test]
fn every_verb_is_in_the_help_the_manual_and_the_contract() {
    let expected = verbs();
    let manual = manual_page().unwrap();
    let listed: BTreeSet<String> = contract_section("Verbs")
        .lines()
        .filter_map(|line| line.strip_prefix("| `xfer "))
        .map(|line| {
            let words = line.split('`').next().unwrap_or_default().split(' ');
            let verb = words.take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
            verb.collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(listed, expected, "CLI.md and the program differ");
    for verb in &expected {
        let heading = format!(".SH \"XFER {}\"", verb.to_uppercase());
        assert!(manual.contains(&heading), "{verb} is not in the manual page");
    }
}

#[test]
fn the_manual_page_in_the_repository_is_current() {
    let current = include_str!("../../../man/xfer.1") == manual_page().unwrap();
    assert!(current, "renew it: cargo run --release --bin xfer -- man > xfer-cli/man/xfer.1");
}

#[test]
fn the_exit_codes_of_the_contract_are_those_of_the_program() {
    let section = contract_section("Exit codes");
    for class in xfer_core::error::ExitClass::all() {
        let row = format!("| {} |", class.code());
        assert!(section.contains(&row), "{} is not in CLI.md", class.code());
    }
}

#[test]
fn completions_name_every_verb() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish]
    {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command(), "xfer", &mut text);
        let text = String::from_utf8(text).unwrap();
        for verb in verbs() {
            let word = verb.split(' ').next_back().unwrap();
            assert!(text.contains(word), "{shell}: {verb}");
        }
    }
}
