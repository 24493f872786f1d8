//! How long things may be

use super::source::{Source, all, files};
use super::{Finding, assert_clean, assert_fires};

const FILE_LINES_MAX: usize = 700;
const FILE_LINES_LONG: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;

#[test]
fn files_can_be_read_in_one_sitting() {
    let sources = all();
    assert_clean("a file has 700 lines at most", long_files(&sources));
    let long = sources.iter().filter(|source| source.text.lines().count() > FILE_LINES_LONG);
    for source in long {
        println!("long: {} has {} lines", source.path, source.text.lines().count());
    }
    let bad = [
        Source::new("a/src/a.rs", &"\n".repeat(FILE_LINES_MAX + 1)),
        Source::new("a/src/b.rs", &"\n".repeat(FILE_LINES_MAX)),
    ];
    assert_fires(1, &long_files(&bad));
}

#[test]
fn functions_fit_on_a_screen() {
    assert_clean("a function has 70 lines at most", long_functions(&all()));
    let body = |lines: usize| "    a();\n".repeat(lines);
    let bad = [
        Source::new("a/src/a.rs", &format!("pub async fn a() {{\n{}}}\n", body(69))),
        Source::new("a/src/b.rs", &format!("fn a() {{\n{}}}\n", body(68))),
        Source::new(
            "a/src/c.rs",
            &format!("fn a(\n    b: u8,\n) -> u8\nwhere\n{{\n{}}}\n", body(70)),
        ),
        Source::new("a/src/d.rs", &format!("trait T {{\n    fn a();\n}}\n{}", body(90))),
    ];
    assert_fires(2, &long_functions(&bad));
}

#[test]
fn lines_fit_a_screen() {
    let texts = files(&["rs", "py", "sh"]);
    assert_clean("a line has 100 columns at most", long_lines(&texts));
    let sample = |letter: &str, count| (String::from("a.rs"), letter.repeat(count));
    assert_fires(1, &long_lines(&[sample("é", 100), sample("a", 101)]));
}

fn long_files(sources: &[Source]) -> Vec<Finding> {
    let lines = sources.iter().map(|source| (source.text.lines().count(), &source.path));
    let long = lines.filter(|(count, _)| *count > FILE_LINES_MAX);
    long.map(|(count, path)| format!("{path} has {count} lines")).collect()
}

fn long_functions(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let lines: Vec<_> = source.code.lines().collect();
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
            // rustfmt ends a body with a brace below the first letter of its signature.
            let indent = line.len() - line.trim_start().len();
            let close = format!("{}}}", " ".repeat(indent));
            let without_body = lines[start..].iter().position(|line| line.ends_with(';'));
            let opens = lines[start..].iter().position(|line| line.ends_with('{'));
            let Some(opens) = opens.filter(|at| without_body.is_none_or(|end| *at < end)) else {
                continue;
            };
            let body = &lines[start + opens..];
            let length = opens + 1 + body.iter().position(|line| *line == close).unwrap_or(0);
            if length > FUNCTION_LINES_MAX {
                findings.push(format!("{}:{}: {length} lines", source.path, start + 1));
            }
        }
    }
    findings
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.find(|word| {
        let name = word.split('(').next().unwrap_or_default();
        !matches!(
            name,
            "pub" | "const" | "async" | "unsafe" | "extern" | "super)" | "crate)" | "in"
        ) && *word != "\" \""
    });
    first == Some("fn")
}

fn long_lines(texts: &[(String, String)]) -> Vec<Finding> {
    let lines = texts.iter().flat_map(|(path, text)| {
        text.lines().enumerate().map(move |(index, line)| (path, index + 1, line.chars().count()))
    });
    let long = lines.filter(|(_, _, columns)| *columns > LINE_COLUMNS_MAX);
    long.map(|(path, number, columns)| format!("{path}:{number}: {columns} columns")).collect()
}
