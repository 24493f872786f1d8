//! Files of patterns and files of paths.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use xfer_core::scan::filter::PATTERNS_MAX;
use xfer_protocol::message::FilterRule;
use xfer_protocol::path::{Escaped, RelPath};

use crate::args::PatternRow;
use crate::problem::CliError;
use crate::read_file::{LIST_BYTES_MAX, TEXT_BYTES_MAX, read};

/// Bytes of one pattern: longer ones are no patterns, and compile slowly.
const PATTERN_BYTES_MAX: usize = 4096;

/// The filter's rules, from the least to the most important.
pub(super) fn rules<'a>(
    rows: impl Iterator<Item = &'a PatternRow>,
) -> Result<Vec<FilterRule>, CliError> {
    let mut rules = Vec::new();
    for row in rows {
        let value = row.value.as_os_str();
        match row.flag {
            "exclude-from" => from_file(Path::new(value), &mut rules)?,
            flag => rules.push(rule(value, flag == "include")?),
        }
    }
    if rules.len() > PATTERNS_MAX {
        let what = format!("there are {} patterns, more than {PATTERNS_MAX}", rules.len());
        return Err(CliError::usage("bad-pattern", what).help());
    }
    Ok(rules)
}

/// A list of paths below the sources, each ended by `end`.
pub(super) fn paths(list: &Path, end: u8) -> Result<Vec<RelPath>, CliError> {
    let bytes = read(list, LIST_BYTES_MAX)?;
    let mut paths = Vec::new();
    for (index, line) in bytes.split(|&b| b == end).enumerate() {
        let comment = end == b'\n' && matches!(line.first(), Some(b'#' | b';'));
        if line.is_empty() || comment {
            continue;
        }
        let path = RelPath::new(plain(line)).map_err(|error| {
            let place = Escaped(list.as_os_str().as_bytes());
            CliError::config("config-malformed", format!("{place}: entry {}: {error}", index + 1))
                .next("write one path a line, each below the source")
        })?;
        paths.push(path);
    }
    Ok(paths)
}

/// A listed path as rsync takes it: below the source though it begins with `/`.
fn plain(line: &[u8]) -> Vec<u8> {
    let parts = line.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

fn from_file(path: &Path, rules: &mut Vec<FilterRule>) -> Result<(), CliError> {
    let bytes = read(path, TEXT_BYTES_MAX)?;
    for line in bytes.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (include, pattern) = match line {
            [] | [b'#', ..] => continue,
            [b'!', pattern @ ..] => (true, pattern),
            pattern => (false, pattern),
        };
        if pattern.iter().all(|b| b.is_ascii_whitespace()) {
            continue;
        }
        rules.push(rule(OsStr::from_bytes(pattern), include)?);
    }
    Ok(())
}

fn rule(pattern: &OsStr, include: bool) -> Result<FilterRule, CliError> {
    let refused = |why: &str| {
        let shown: String = pattern.to_string_lossy().chars().take(120).collect();
        let what = format!("pattern {}: {why}", Escaped(shown.as_bytes()));
        CliError::usage("bad-pattern", what).next("see: man gitignore, for what a pattern may say")
    };
    let text = pattern.to_str().ok_or_else(|| refused("it is not UTF-8"))?;
    if text.is_empty() {
        return Err(refused("it is empty"));
    }
    if text.len() > PATTERN_BYTES_MAX {
        return Err(refused("it is too long"));
    }
    if text.contains('\0') || text.contains('\n') {
        return Err(refused("it holds a NUL or a newline"));
    }
    let mut builder = ignore::gitignore::GitignoreBuilder::new("");
    builder.allow_unclosed_class(false);
    builder.add_line(None, text).map_err(|error| refused(&error.to_string()))?;
    builder.build().map_err(|error| refused(&error.to_string()))?;
    Ok(FilterRule { pattern: text.to_owned(), include })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_cannot_be_read_are_refused() {
        let nested = "{".repeat(3000);
        let long = "a".repeat(100_000);
        let alternatives = format!("{}x{}", "{a,".repeat(200), "}".repeat(200));
        for pattern in ["", "[", "[a", "a[!", &nested, &long, "a\nb", "[z-a]", &alternatives] {
            let outcome = rule(OsStr::new(pattern), false).map_err(|error| error.class.code());
            assert!(outcome == Err(2) || pattern.len() == alternatives.len(), "{pattern:.40}");
        }
        assert!(rule(OsStr::from_bytes(b"\xff"), false).is_err());
        for pattern in ["*.tmp", "/a/**/b", "!x", "[a-z]*", "a b", "#x", "naïve/"] {
            assert!(rule(OsStr::new(pattern), false).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn listed_paths_are_below_the_source() {
        assert_eq!(plain(b"/a//b/./c/"), b"a/b/c");
        assert_eq!(plain(b"./a"), b"a");
        assert_eq!(plain(b"../a"), b"../a");
    }
}
