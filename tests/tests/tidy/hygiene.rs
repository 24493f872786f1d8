//! What may not stand in a source

use super::source::{Source, all, files};
use super::{Finding, assert_clean, assert_fires};

/// Marks of unfinished work; each is cut in two, so that this list is not its own finding
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
];

/// Places that exist on one machine only
const PRIVATE_PLACES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tmp", "/wt"),
    concat!("/Us", "ers/"),
    concat!("/root", "/."),
];

#[test]
fn nothing_is_left_for_later() {
    let texts = files(&["rs", "py", "md", "toml"]);
    assert_clean("nothing is left for later", holding(&texts, UNFINISHED));
    let bad = UNFINISHED.iter().map(|mark| (String::from("a.rs"), format!("x {mark} y\n")));
    assert_fires(UNFINISHED.len(), &holding(&bad.collect::<Vec<_>>(), UNFINISHED));
}

#[test]
fn no_place_of_one_machine_is_named() {
    let texts = files(&["rs", "py", "md", "toml"]);
    assert_clean("no place of one machine is named", holding(&texts, PRIVATE_PLACES));
    let bad = [(String::from("a.md"), format!("see {}x\nfine\n", PRIVATE_PLACES[0]))];
    assert_fires(1, &holding(&bad, PRIVATE_PLACES));
}

#[test]
fn a_lint_is_expected_with_a_reason() {
    assert_clean("`#[expect(…, reason = …)]` instead of `#[allow(…)]`", lints(&all()));
    let bad = [
        Source::new("a/src/a.rs", "#[allow(dead_code)]\nfn a() {}\n"),
        Source::new("a/src/b.rs", "#[expect(\n    unused,\n    clippy::all\n)]\nfn a() {}\n"),
        Source::new("a/src/c.rs", "#[expect(unused, reason = \"so it is\")]\nfn a() {}\n"),
        Source::new("a/src/d.rs", "#[allow(dead_code, reason = \"an excuse\")]\nfn a() {}\n"),
        Source::new("a/src/tests.rs", "#![allow(clippy::unwrap_used)]\n"),
        Source::new("a/tests/a.rs", "#![allow(clippy::unwrap_used)]\n"),
    ];
    assert_fires(4, &lints(&bad));
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    assert_clean("`SAFETY:` stands above `unsafe`", unsound(&all()));
    let bad = [
        Source::new("a/src/a.rs", "fn a() {\n    unsafe { b() }\n}\n"),
        Source::new("a/src/b.rs", "// SAFETY: it is\nlet a = unsafe { b() };\n"),
    ];
    assert_fires(1, &unsound(&bad));
}

#[test]
fn tests_wait_for_events() {
    assert_clean("no test sleeps to wait for something", sleeps(&all()));
    let bad = [
        Source::new("tests/src/a.rs", "fn a() { std::thread::sleep(b); }\n"),
        Source::new("a/src/a.rs", "fn a() { thread::sleep(b); }\n"),
        Source::new("a/src/b.rs", "#[cfg(test)]\nmod tests {\n  thread::sleep(b);\n}\n"),
        Source::new("a/tests/a.rs", "async fn a() { tokio::time::sleep(b).await; }\n"),
    ];
    assert_fires(3, &sleeps(&bad));
}

fn holding(texts: &[(String, String)], marks: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in texts {
        for (index, line) in text.lines().enumerate() {
            let held = marks.iter().find(|mark| holds_word(line, mark));
            findings.extend(held.map(|mark| format!("{path}:{}: {mark}", index + 1)));
        }
    }
    findings
}

/// Whether a line holds a mark that no letter precedes
fn holds_word(line: &str, mark: &str) -> bool {
    let begins = |at: usize| !line[..at].ends_with(|letter: char| letter.is_alphanumeric());
    line.match_indices(mark).any(|(at, _)| begins(at))
}

fn lints(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for kind in ["[allow(", "[expect("] {
            for (at, _) in source.code.match_indices(kind) {
                let attribute = source.code[at..].split(")]").next().unwrap_or_default();
                let may_allow = !source.is_of_program() && attribute.contains("unwrap_used");
                if kind == "[allow(" && !may_allow
                    || kind == "[expect(" && !attribute.contains("reason =")
                {
                    let line = source.code[..at].lines().count();
                    findings.push(format!("{}:{line}: #{kind}…)]", source.path));
                }
            }
        }
    }
    findings
}

fn unsound(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let text: Vec<_> = source.text.lines().collect();
        let blocks = source.lines().filter(|(_, line)| {
            line.match_indices("unsafe").any(|(at, word)| {
                let after = line[at + word.len()..].trim_start();
                after.starts_with('{') || after.starts_with("impl")
            })
        });
        for (number, _) in blocks {
            let above = &text[number.saturating_sub(8)..number];
            if !above.iter().any(|line| line.contains("SAFETY:")) {
                findings.push(format!("{}:{number}", source.path));
            }
        }
    }
    findings
}

fn sleeps(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let program = source.program().count();
        let lines = source.lines().skip(program);
        let lines = lines.filter(|(_, line)| line.contains("sleep("));
        findings.extend(lines.map(|(number, _)| format!("{}:{number}", source.path)));
    }
    findings
}
