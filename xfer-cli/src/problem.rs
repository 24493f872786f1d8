//! A failure on its way to the user: what happened, why, what to do next, and the exit code.

use std::fmt;

use xfer_core::error::{Detail, ExitClass, MachineReason, Remedy, TransferError};
use xfer_core::location::LocationError;
use xfer_protocol::path::Escaped;

/// Characters of a refused location that are shown.
const LOCATION_CHARS_MAX: usize = 400;

/// Where to read when nothing better is known.
const HELP: &str = "see: xfer --help, or xfer VERB --help";

/// A failure, ready to be printed or sent as an event.
///
/// Invariant: no field holds a control byte.
#[derive(Clone, Debug)]
pub(crate) struct CliError {
    /// Decides the exit code.
    pub(crate) class: ExitClass,
    /// Stable id in kebab case.
    pub(crate) reason: &'static str,
    /// What happened, and to which entry or location.
    pub(crate) what: String,
    /// Lines that explain.
    pub(crate) details: Vec<Detail>,
    /// What to do next, the most likely first.
    pub(crate) remedies: Vec<Remedy>,
    /// The state of the machine, where that is why.
    pub(crate) machine_state: Option<MachineReason>,
    /// Lines that say all this already, in the form of the contract; printed in their place.
    pub(crate) told: Vec<String>,
}

impl CliError {
    /// A failure of a class.
    pub(crate) fn new(class: ExitClass, reason: &'static str, what: impl Into<String>) -> Self {
        let what = one_line(&what.into());
        let (details, remedies, told) = (Vec::new(), Vec::new(), Vec::new());
        Self { class, reason, what, details, remedies, machine_state: None, told }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(reason: &'static str, what: impl Into<String>) -> Self {
        Self::new(ExitClass::Usage, reason, what)
    }

    /// A configuration that makes no sense.
    pub(crate) fn config(reason: &'static str, what: impl Into<String>) -> Self {
        Self::new(ExitClass::Config, reason, what)
    }

    /// The same with why.
    pub(crate) fn why(mut self, text: impl fmt::Display) -> Self {
        self.details.push(Detail { label: "why", text: one_line(&text.to_string()) });
        self
    }

    /// The same with what to do next.
    pub(crate) fn next(mut self, text: impl Into<String>) -> Self {
        self.remedies.push(Remedy::text(one_line(&text.into())));
        self
    }

    /// The same with where to read.
    pub(crate) fn help(self) -> Self {
        self.next(HELP)
    }

    /// The same with where to read of one verb.
    pub(crate) fn of_verb(mut self, verb: &str) -> Self {
        for remedy in self.remedies.iter_mut().filter(|remedy| remedy.text == HELP) {
            remedy.text = format!("see: xfer {verb} --help");
        }
        self
    }

    /// The text for a person, in the form of the contract.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("xfer: {}\n", self.what);
        if !self.told.is_empty() {
            let (code, reason) = (self.class.code(), self.reason);
            return format!("{text}{}\n  exit {code} {reason}\n", self.told.join("\n"));
        }
        for detail in &self.details {
            text.push_str(&format!("  {:<9} {}\n", detail.label, one_line(&detail.text)));
        }
        match &self.remedies[..] {
            [] => {}
            [only] => text.push_str(&format!("  {:<9} {}\n", "next", one_line(&only.text))),
            several => {
                for (index, remedy) in several.iter().enumerate() {
                    let label = if index == 0 { "do one of" } else { "" };
                    let number = index + 1;
                    text.push_str(&format!("  {label:<9} {number}  {}\n", one_line(&remedy.text)));
                }
            }
        }
        text.push_str(&format!("  exit {} {}\n", self.class.code(), self.reason));
        text
    }

    /// A failure whose cause tells the whole story, what to do next included.
    fn told_by(error: &TransferError, cause: &str) -> Self {
        let mut lines = cause.lines().map(one_line);
        let what = lines.next().unwrap_or_default();
        let told: Vec<String> = lines.collect();
        let remedies = told.iter().filter_map(|line| numbered(line)).map(Remedy::text).collect();
        let (class, reason) = (error.exit_class(), error.reason());
        Self { told, remedies, ..Self::new(class, reason, what) }
    }
}

impl From<TransferError> for CliError {
    fn from(error: TransferError) -> Self {
        let cause = error.cause().map(ToString::to_string).unwrap_or_default();
        if cause.contains('\n') {
            return Self::told_by(&error, &cause);
        }
        let mut details = error.details().to_vec();
        let mut cause: Option<&(dyn std::error::Error + 'static)> =
            error.cause().map(|cause| &**cause as &(dyn std::error::Error + 'static));
        while let Some(error) = cause {
            details.push(Detail { label: "why", text: error.to_string() });
            cause = error.source();
        }
        details.dedup_by(|a, b| a.text == b.text);
        Self {
            class: error.exit_class(),
            reason: error.reason(),
            what: one_line(&error.to_string()),
            details,
            remedies: error.remedies(),
            machine_state: error.machine_state(),
            told: Vec::new(),
        }
    }
}

/// The text of `  do one of 1  text`, and of the numbered lines below it.
fn numbered(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let (number, text) = line
        .strip_prefix("do one of ")
        .or_else(|| line.strip_prefix("instead   "))
        .unwrap_or(line)
        .split_once("  ")?;
    number.parse::<u8>().is_ok().then_some(text)
}

impl From<LocationError> for CliError {
    fn from(error: LocationError) -> Self {
        let what = cut(&error.to_string(), LOCATION_CHARS_MAX);
        Self::usage(error.reason.id(), what).next(error.reason.remedy())
    }
}

/// Text with every control byte escaped; what is escaped already stays as it is. Longer text than
/// anybody reads, such as a line of a file that is none of text, is cut.
fn one_line(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 4000;
    let text = cut(text, SHOWN_CHARS_MAX);
    if text.chars().any(char::is_control) { Escaped(text.as_bytes()).to_string() } else { text }
}

fn cut(text: &str, shown_chars_max: usize) -> String {
    let cut: String = text.chars().take(shown_chars_max).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use xfer_core::error::{AuthenticationReason, Failure};

    use super::*;

    #[test]
    fn one_remedy_is_next_and_several_are_numbered() {
        let error = CliError::usage("bad-value", "--streams x: no").why("because").next("try 4");
        assert_eq!(
            error.render(),
            "xfer: --streams x: no\n  why       because\n  next      try 4\n  exit 2 bad-value\n"
        );
        let several = error.next("or 5").render();
        assert!(several.contains("  do one of 1  try 4\n            2  or 5\n"), "{several}");
    }

    #[test]
    fn a_cause_that_tells_the_whole_story_is_printed_as_it_is() {
        let story = "login refused: u@h accepts none\n  offered   SHA256:x  f\x1b\n  \
                     do one of 1  repeat with -i KEY\n            2  add yours";
        let failure = Failure::new("u@h", AuthenticationReason::KeyRefused);
        let cause = std::io::Error::other(story);
        let error = CliError::from(TransferError::Authentication(failure.because(cause)));
        assert_eq!(
            error.render(),
            "xfer: login refused: u@h accepts none\n  offered   SHA256:x  f\\x1b\n  \
             do one of 1  repeat with -i KEY\n            2  add yours\n  exit 11 key-refused\n"
        );
        let texts: Vec<_> = error.remedies.iter().map(|remedy| remedy.text.as_str()).collect();
        assert_eq!(texts, ["repeat with -i KEY", "add yours"]);
    }

    #[test]
    fn nothing_printed_can_write_to_a_terminal() {
        let error = CliError::usage("x", "a\x1b[2Jb\n").why("c\rd").next("e\x07");
        let text = error.render();
        assert!(text.lines().all(|line| !line.chars().any(char::is_control)), "{text:?}");
        assert_eq!(text.lines().count(), 4);
    }
}
