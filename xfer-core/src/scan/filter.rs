//! What a scan leaves out: patterns in gitignore's semantics, sizes and ages.
//!
//! Patterns match the path below the entry at which the scan begins; that entry itself is matched
//! by its name. Of a scan's own rules the last match wins. Where none matches, `.xferignore` files
//! decide and then `.gitignore` files, in either group the one nearest to the entry. As in git, `{`
//! and `}` stand for themselves, and nothing below an excluded directory can be included again.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use xfer_protocol::manifest::{EntryKind, Timestamp};
use xfer_protocol::message::{FilterRule, FilterRules};

/// Bytes in one pattern: longer than any path that the system calls take.
pub const PATTERN_BYTES_MAX: usize = 4096;

/// Patterns in one set of rules, or in one ignore file.
pub const PATTERNS_MAX: usize = 10_000;

/// Why rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A pattern that is no glob for another reason, such as a reversed range.
    #[error("the pattern {pattern:?} is not a glob")]
    Invalid {
        /// The pattern.
        pattern: String,
    },
    /// More patterns than [`PATTERNS_MAX`], or patterns that together need too much memory.
    #[error("the patterns are too many or too complex ({count} of them)")]
    TooComplex {
        /// How many.
        count: usize,
    },
    /// A pattern of more than [`PATTERN_BYTES_MAX`] bytes.
    #[error("the pattern {start:?}... has {bytes} bytes, more than {PATTERN_BYTES_MAX}")]
    TooLong {
        /// Its first characters.
        start: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A `[` without its `]`.
    #[error("the pattern {pattern:?} has an unclosed [")]
    Unclosed {
        /// The pattern.
        pattern: String,
    },
}

/// Reads one line of a file of rules: `None` for a comment or a blank line, and a leading `!`
/// includes what the rest matches.
pub fn parse_line(line: &str) -> Result<Option<FilterRule>, FilterError> {
    if line.starts_with('#') || line.trim_end().is_empty() {
        return Ok(None);
    }
    let (include, pattern) = match line.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    parse_pattern(pattern, include).map(Some)
}

/// Makes a rule of one pattern, as an option gives it: no comment and no `!` is looked for.
pub fn parse_pattern(pattern: &str, include: bool) -> Result<FilterRule, FilterError> {
    let rule = FilterRule { pattern: pattern.to_owned(), include };
    add_rule(&mut GitignoreBuilder::new(""), &rule)?;
    Ok(rule)
}

/// Rules ready to be asked.
#[derive(Clone, Debug)]
pub struct Filter {
    patterns: Patterns,
    size: (Option<u64>, Option<u64>),
    modified: (Option<Timestamp>, Option<Timestamp>),
}

impl Filter {
    /// Checks rules and makes them ready. Rules from a peer pass here before they are used.
    pub fn new(rules: &FilterRules) -> Result<Self, FilterError> {
        let count = rules.rules.len();
        if count > PATTERNS_MAX {
            return Err(FilterError::TooComplex { count });
        }
        let mut builder = GitignoreBuilder::new("");
        rules.rules.iter().try_for_each(|rule| add_rule(&mut builder, rule))?;
        let built = builder.build().map_err(|_| FilterError::TooComplex { count })?;
        Ok(Self {
            patterns: Patterns(built),
            size: (rules.size_min, rules.size_max),
            modified: (rules.modified_min, rules.modified_max),
        })
    }

    /// What the patterns say of a path.
    #[must_use]
    pub fn decide(&self, path: &[u8], directory: bool) -> Decision {
        self.patterns.decide(path, directory)
    }

    /// Whether a regular file is within the limits of size and age; anything else always is.
    #[must_use]
    pub fn admits(&self, kind: &EntryKind, modified: Timestamp) -> bool {
        let EntryKind::File { size, .. } = kind else { return true };
        self.size.0.is_none_or(|min| *size >= min)
            && self.size.1.is_none_or(|max| *size <= max)
            && self.modified.0.is_none_or(|min| modified >= min)
            && self.modified.1.is_none_or(|max| modified <= max)
    }
}

/// What patterns say of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The last pattern that matches leaves it out.
    Exclude,
    /// The last pattern that matches keeps it.
    Include,
    /// No pattern matches.
    Open,
}

/// Patterns of one origin, in order.
#[derive(Clone, Debug)]
pub(super) struct Patterns(Gitignore);

impl Patterns {
    /// Reads an ignore file as git does: a line that is no glob matches nothing. Yields `None` when
    /// a line is no UTF-8 or a limit is exceeded, as leaving such lines out would copy what was to
    /// be left out.
    pub(super) fn of_file(text: &[u8]) -> Option<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut builder = GitignoreBuilder::new("");
        let mut count = 0;
        for line in std::str::from_utf8(text).ok()?.lines() {
            count += 1;
            if line.len() > PATTERN_BYTES_MAX || count > PATTERNS_MAX {
                return None;
            }
            // An error means that this line is no glob.
            let _ = builder.add_line(None, &braces_escaped(line));
        }
        builder.build().ok().map(Self)
    }

    pub(super) fn decide(&self, path: &[u8], directory: bool) -> Decision {
        match self.0.matched(Path::new(OsStr::from_bytes(path)), directory) {
            Match::None => Decision::Open,
            Match::Ignore(_) => Decision::Exclude,
            Match::Whitelist(_) => Decision::Include,
        }
    }
}

fn add_rule(builder: &mut GitignoreBuilder, rule: &FilterRule) -> Result<(), FilterError> {
    let pattern = &rule.pattern;
    if pattern.len() > PATTERN_BYTES_MAX {
        let start = pattern.chars().take(40).collect();
        return Err(FilterError::TooLong { start, bytes: pattern.len() });
    }
    if pattern.contains(['\n', '\0']) {
        return Err(FilterError::Invalid { pattern: pattern.clone() });
    }
    // These two begin a comment and an inclusion in a file of patterns only.
    let literal = if pattern.starts_with(['#', '!']) { "\\" } else { "" };
    let sign = if rule.include { "!" } else { "" };
    let line = format!("{sign}{literal}{}", braces_escaped(pattern));
    // Whether only the unclosed bracket was in the way decides which error it is.
    match builder.allow_unclosed_class(false).add_line(None, &line) {
        Ok(_) => Ok(()),
        Err(_) => {
            let closes = GitignoreBuilder::new("").add_line(None, &line).is_err();
            let pattern = pattern.clone();
            Err(match closes {
                true => FilterError::Invalid { pattern },
                false => FilterError::Unclosed { pattern },
            })
        }
    }
}

/// The pattern with `{` and `}` escaped, which mean nothing to git but alternatives to globset.
fn braces_escaped(pattern: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '[' => class_bytes(rest).unwrap_or(1),
            '{' | '}' => {
                escaped.push('\\');
                1
            }
            _ => c.len_utf8(),
        };
        escaped.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    escaped
}

/// The length of the class that a pattern begins with; a `]` in its first place is its member.
fn class_bytes(pattern: &str) -> Option<usize> {
    let mut members = 1;
    if pattern[members..].starts_with(['!', '^']) {
        members += 1;
    }
    if pattern[members..].starts_with(']') {
        members += 1;
    }
    pattern[members..].find(']').map(|end| members + end + 1)
}
