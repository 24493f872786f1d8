//! Why a command line was not understood, in our own words.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use xfer_core::location::Location;
use xfer_protocol::path::Escaped;

use super::flags::{FLAGS, Flag, LATER_FLAGS};
use crate::problem::CliError;

/// Values longer than this are cut: they are no help to anybody.
const SHOWN_CHARS_MAX: usize = 120;

/// Flags of other tools, and what there is here in their place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("-p", "for a port: --port N; modes and times are kept anyway"),
    ("-e", "ssh is what is used; its own -i, -F, -J, -o and --port are taken"),
    ("--rsh", "ssh is what is used; its own -i, -F, -J, -o and --port are taken"),
    ("-H", "hard links are kept anyway"),
    ("-X", "for extended attributes: --xattrs"),
    ("-A", "for access control lists: --acls"),
    ("-S", "holes are kept anyway"),
    ("--no-recursive", "directories are copied whole; to leave them out: --exclude '*/'"),
];

/// What other tools call our verbs.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("push", &["copy", "cp", "put", "send", "upload"]),
    ("pull", &["download", "fetch", "get", "receive"]),
    ("ls", &["dir", "list"]),
    ("sync", &["mirror", "rsync"]),
    ("verify", &["check", "compare", "diff"]),
];

/// Says why `words` were not understood.
pub(super) fn explain(error: &clap::Error, words: &[OsString]) -> CliError {
    let verb = words.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let text = |kind| context(error, kind);
    let arg = text(ContextKind::InvalidArg).map(|arg| flag_only(&arg)).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if !arg.starts_with('-') => {
            let arg = text(ContextKind::InvalidArg).unwrap_or_default();
            let what = format!("{} is one operand too many", shown_operand(&arg));
            CliError::usage("extra-operand", what).help()
        }
        ErrorKind::UnknownArgument if verb.starts_with('-') && is_known(&arg) => {
            let what = format!("{} stands before the verb", shown(&arg));
            let next = format!("the verb comes first: xfer push {} SOURCE... DESTINATION", arg);
            CliError::usage("no-verb", what).next(next)
        }
        ErrorKind::UnknownArgument => unknown_flag(error, &arg),
        ErrorKind::InvalidSubcommand => {
            let inner = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            if inner == verb { unknown_verb(error, &inner) } else { unknown_inner(verb, &inner) }
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = text(ContextKind::InvalidValue);
            // Somebody may have written a key into that one.
            let value = value.filter(|_| arg != "--endpoint-url").unwrap_or_default();
            let why = std::error::Error::source(error).map(ToString::to_string);
            let expected = text(ContextKind::ValidValue).map(|valid| format!("expected {valid}"));
            let what = match (value.is_empty(), why.or(expected)) {
                (true, None) => format!("{arg} needs a value"),
                (true, Some(why)) => format!("{arg}: {why}"),
                (false, Some(why)) => format!("{arg} {}: {why}", shown(&value)),
                (false, None) => format!("{arg} {} is no value of it", shown(&value)),
            };
            CliError::usage("bad-value", what).help()
        }
        ErrorKind::InvalidUtf8 => {
            CliError::usage("bad-value", "a flag's value is not UTF-8").help()
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).map(|arg| flag_only(&arg));
            let what = match other {
                Some(other) if other != arg => format!("{arg} contradicts {other}"),
                _ => format!("{arg} was given twice"),
            };
            CliError::usage("flags-conflict", what).help()
        }
        ErrorKind::MissingRequiredArgument => missing(&arg),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            CliError::usage("no-verb", "no verb was given").help()
        }
        ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            CliError::usage("bad-value", format!("{arg} needs a value")).help()
        }
        ErrorKind::TooManyValues => {
            CliError::usage("bad-value", format!("{arg} takes no value")).help()
        }
        _ => CliError::usage("usage", "the command line is not understood").help(),
    }
}

fn missing(arg: &str) -> CliError {
    let what = match arg {
        "<LOCATION>..." => "source and destination are missing: SOURCE... DESTINATION".to_owned(),
        _ => format!("{} is missing", arg.trim_matches(['<', '>'])),
    };
    CliError::usage("missing-operand", what).help()
}

/// Whether some verb has the flag.
fn is_known(arg: &str) -> bool {
    let long = arg.trim_start_matches('-');
    let is_it = |flag: &Flag| match flag.short {
        Some(letter) if !arg.starts_with("--") => long.starts_with(letter),
        _ => !long.is_empty() && long.strip_prefix("no-").unwrap_or(long) == flag.long,
    };
    FLAGS.iter().any(is_it)
}

/// A word behind a verb that has verbs of its own.
fn unknown_inner(verb: &str, inner: &str) -> CliError {
    CliError::usage("unknown-verb", format!("unknown verb {verb} {}", shown_operand(inner))).help()
}

fn unknown_flag(error: &clap::Error, arg: &str) -> CliError {
    let long = arg.trim_start_matches('-');
    let long = long.strip_prefix("no-").unwrap_or(long);
    if long == "api-key" {
        return CliError::usage(
            "secret-in-arguments",
            "--api-key is refused: every process on this machine can read a command line",
        )
        .next("put the key in the platform's own key file, or in VAST_API_KEY");
    }
    if arg.starts_with("--") && LATER_FLAGS.contains(&long) {
        let what = format!("{} is not in this version yet", shown(arg));
        return CliError::usage("not-in-this-version", what).help();
    }
    let unknown = CliError::usage("unknown-flag", format!("unknown flag {}", shown(arg)));
    let known = ELSEWHERE.iter().find(|(flag, _)| *flag == arg).map(|(_, here)| *here);
    if let Some(here) = known {
        return unknown.next(here);
    }
    match context(error, ContextKind::SuggestedArg) {
        Some(suggestion) => unknown.next(format!("did you mean {}?", shown(&suggestion))),
        None => unknown.help(),
    }
}

fn unknown_verb(error: &clap::Error, verb: &str) -> CliError {
    let unknown = CliError::usage("unknown-verb", format!("unknown verb {}", shown_operand(verb)));
    let synonym = SYNONYMS.iter().find(|(_, theirs)| theirs.contains(&verb)).map(|(ours, _)| *ours);
    let similar = context(error, ContextKind::SuggestedSubcommand);
    let similar = similar.filter(|suggestion| is_similar(verb, suggestion));
    match synonym.map(str::to_owned).or(similar) {
        Some(suggestion) => unknown.next(format!("did you mean {}?", shown(&suggestion))),
        None => unknown.next("the verb comes first: xfer push SOURCE... DESTINATION; xfer --help"),
    }
}

/// Whether one word may be the other with a slip of the hand.
fn is_similar(typed: &str, verb: &str) -> bool {
    typed.chars().next() == verb.chars().next() && typed.len().abs_diff(verb.len()) <= 2
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) if !texts.is_empty() => Some(texts.join(", ")),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        ContextValue::StyledStrs(texts) => texts.first().map(ToString::to_string),
        _ => None,
    }
}

/// `--flag` of `--flag <VALUE>` and of `--flag=secret`.
fn flag_only(arg: &str) -> String {
    let end = if arg.starts_with('-') { arg.find(['=', ' ', '[']) } else { None };
    shown(&arg[..end.unwrap_or(arg.len())])
}

/// An operand without what may be a password or a signature.
fn shown_operand(text: &str) -> String {
    let bytes = match Location::parse(text.as_bytes()) {
        // A path is shown as it was typed, and not as what it would be taken for.
        Ok(location) if location.is_local() => text.as_bytes().to_vec(),
        Ok(location) => location.to_bytes(),
        Err(error) => error.text,
    };
    shown(&String::from_utf8_lossy(&bytes))
}

fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let mut shown = Escaped(cut.as_bytes()).to_string();
    if cut.len() < text.len() {
        let _ = write!(shown, "… ({} bytes)", text.len());
    }
    shown
}
