//! Source files as rules see them

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file
pub(crate) struct Source {
    /// Path from the root of the repository
    pub(crate) path: String,
    /// Everything in it
    pub(crate) text: String,
    /// The same lines with comments and the insides of literals blanked
    pub(crate) code: String,
    /// The first line of the test module at the bottom, counted from 0; else the number of lines
    tests_from: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = code_only(text);
        let whole_file = path.starts_with("tests/")
            || path.starts_with("benches/")
            || path.starts_with("fuzz/")
            || path.ends_with("/tests.rs")
            || path.contains("/tests/");
        let tests_from = match whole_file {
            true => 0,
            false => tests_from(&code),
        };
        Self { path: path.to_owned(), text: text.to_owned(), code, tests_from }
    }

    /// The lines of the program, tests left out, with their numbers from 1
    pub(crate) fn program(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().take(self.tests_from).enumerate().map(|(index, line)| (index + 1, line))
    }

    /// All lines of code with their numbers from 1
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether it is compiled into the program, the tests beside the code included
    pub(crate) fn is_of_program(&self) -> bool {
        self.path.contains("/src/") && self.package() != "tests"
    }

    /// The directory of the repository that it lies in, such as `xfer-core`
    pub(crate) fn package(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// The top module of its package that it belongs to, such as `transport`; empty at the root
    pub(crate) fn module(&self) -> &str {
        let below = self.path.split_once("/src/").map_or("", |(_, below)| below);
        let top = below.split('/').next().unwrap_or_default();
        match top.trim_end_matches(".rs") {
            "lib" | "main" => "",
            module => module,
        }
    }
}

/// The root of the repository
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_path_buf()
}

/// Every Rust file of the repository
pub(crate) fn all() -> Vec<Source> {
    let files = files(&["rs"]).into_iter();
    files.map(|(path, text)| Source::new(&path, &text)).collect()
}

/// Path and text of every file with one of these extensions
pub(crate) fn files(extensions: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("list a directory") {
            let path = entry.expect("list an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let extension = path.extension().and_then(|part| part.to_str()).unwrap_or_default();
            if path.is_dir() {
                // Other tools' directories, and what a build leaves.
                if !name.starts_with('.') && !matches!(name, "target" | "dist" | "corpus") {
                    pending.push(path);
                }
            } else if extensions.contains(&extension) {
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                let below = path.strip_prefix(&root).expect("below the root");
                found.push((below.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

fn tests_from(code: &str) -> usize {
    let lines: Vec<_> = code.lines().collect();
    let starts = |pair: &[&str]| {
        pair[0].trim() == "#[cfg(test)]" && pair[0].starts_with('#') && pair[1].contains("mod ")
    };
    lines.windows(2).position(starts).unwrap_or(lines.len())
}

/// Blanks comments and the insides of literals; every line keeps its number and its columns
pub(crate) fn code_only(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let literal = token(rest, code.chars().next_back());
        let (length, keep) = literal.unwrap_or_else(|| (first.len_utf8(), usize::MAX));
        let ends = length.saturating_sub(keep);
        for (place, letter) in rest[..length].char_indices() {
            let kept = keep == usize::MAX || letter == '\n' || place < keep || place >= ends;
            code.push(if kept { letter } else { ' ' });
        }
        rest = &rest[length..];
    }
    code
}

/// The length of the comment or literal that `rest` begins with, and how many bytes of its ends
/// stay
fn token(rest: &str, before: Option<char>) -> Option<(usize, usize)> {
    let to = |end: Option<usize>| end.unwrap_or(rest.len());
    if rest.starts_with("//") {
        return Some((to(rest.find('\n')), 0));
    }
    if rest.starts_with("/*") {
        return Some((to(rest.find("*/").map(|at| at + 2)), 0));
    }
    let in_name = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let raw = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r').filter(|_| !in_name);
    if let Some(raw) = raw {
        let marks = raw.len() - raw.trim_start_matches('#').len();
        if raw[marks..].starts_with('"') {
            let start = rest.len() - raw.len() + marks + 1;
            let close = format!("\"{}", "#".repeat(marks));
            return Some((to(rest[start..].find(&close).map(|at| start + at + close.len())), 1));
        }
    }
    if rest.starts_with('"') {
        return Some((to(quoted(rest, '"')), 1));
    }
    let letters: Vec<char> = rest.chars().take(3).collect();
    // A quote that neither closes after one letter nor escapes one begins a lifetime.
    match letters[..] {
        ['\'', '\\', ..] => Some((to(quoted(rest, '\'')), 1)),
        ['\'', letter, '\''] => Some((letter.len_utf8() + 2, 1)),
        _ => None,
    }
}

fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (place, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return Some(place + 1),
            _ => {}
        }
    }
    None
}

#[test]
fn comments_and_literals_are_blanked_in_place() {
    let text =
        "let a = \"x // \\\" y\"; // gone\nlet b: &'a str = r#\"raw \" one\"#;\nlet c = '\"';\n";
    let code = code_only(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.lines().count(), 3);
    assert!(code.starts_with("let a = \"         \";        \n"), "{code:?}");
    assert!(code.contains("&'a str = r         "), "{code:?}");
    assert!(!code.contains("raw") && !code.contains("gone"));
    assert!(code.ends_with("let c = ' ';\n"), "{code:?}");
}

#[test]
fn the_test_module_is_no_program() {
    let source = Source::new("a/src/b/c.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
    assert_eq!(source.program().count(), 1);
    assert_eq!((source.package(), source.module()), ("a", "b"));
    assert_eq!(Source::new("a/src/b/tests.rs", "fn a() {}\n").program().count(), 0);
}
