//! One word per thing

use super::source::{Source, all};
use super::{Finding, assert_clean, assert_fires};

/// Words that no public name, module or flag bears, and the word that means it here
const NEVER: &[(&str, &str)] = &[
    ("backend", "endpoint"),
    ("node", "endpoint"),
    ("src", "source"),
    ("dst", "destination"),
    ("dest", "destination"),
    ("client", "sender or receiver"),
    ("server", "sender or receiver"),
    ("daemon", "agent"),
    ("helper", "agent"),
    ("item", "entry"),
    ("snapshot", "manifest"),
    ("job", "plan or action"),
    ("task", "plan or action"),
    ("chunk", "block"),
    ("tmp", "partial"),
    ("temp", "partial"),
    ("temporary", "partial"),
    ("finalize", "commit"),
    ("hash", "digest"),
    ("warning", "problem"),
    ("url", "location"),
    ("uri", "location"),
];

/// Public names that are right all the same
const EXCEPT: &[(&str, &str)] = &[
    ("ScanItem", "a scan yields an entry, or the fault in the place of one"),
    ("endpoint-url", "the store's own tool has the flag so, and the contract"),
];

/// Names that others gave to what is implemented here
const FOREIGN: &[&str] = &["fn get_credential("];

/// Flags that there are at least
const FLAGS_LEAST: usize = 30;

/// Rooms without a noun
const ROOMS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "shared", "stuff"];

#[test]
fn names_use_the_vocabulary() {
    assert_clean("public names keep to the vocabulary", names(&all()));
    let bad = [
        Source::new(
            "protocol/src/a.rs",
            "pub struct ChunkTable;\npub struct RootHash;\npub fn hash_it() {}\n",
        ),
        Source::new("xfer-core/src/a.rs", "    pub fn open_src() {}\npub enum SrcKind {}\n"),
        Source::new("xfer-cli/src/args.rs", "pub mod server;\npub const JOB: u8 = 1;\n"),
        Source::new("tests/src/a.rs", "pub struct Snapshot;\n"),
        Source::new("xfer-core/src/b.rs", "pub struct Jobless;\npub trait Nodes {}\n"),
    ];
    assert_fires(7, &names(&bad));
}

#[test]
fn flags_use_the_vocabulary() {
    let names = flags(&all());
    assert!(names.len() >= FLAGS_LEAST, "where are the flags? {names:?}");
    assert_clean("flags keep to the vocabulary", unsaid(&names));
    let rows = "flag(\n\"chunk-size\",\n), switch(\"dry-run\"), on(\"dst\")";
    let table = format!("const FLAGS: &[Flag] = &[{rows}];\nconst LATER_FLAGS: A = f(\"tmp\");\n");
    let bad = [Source::new("xfer-cli/src/args/flags.rs", &table)];
    assert_fires(2, &unsaid(&flags(&bad)));
}

#[test]
fn every_room_has_a_noun() {
    assert_clean("a module is named for what it holds", rooms(&all()));
    let bad = [
        Source::new("protocol/src/util.rs", ""),
        Source::new("xfer-core/src/helpers/mod.rs", ""),
        Source::new("xfer-core/src/plan.rs", "mod common {\n}\n"),
        Source::new("xfer-core/src/commons.rs", ""),
    ];
    assert_fires(3, &rooms(&bad));
}

#[test]
fn an_accessor_bears_the_name_of_what_it_gives() {
    assert_clean("no `get_` prefix", accessors(&all()));
    let bad = [Source::new("a/src/a.rs", "    pub fn get_size(&self) {}\nfn getter() {}\n")];
    assert_fires(1, &accessors(&bad));
}

fn names(sources: &[Source]) -> Vec<Finding> {
    let program =
        |source: &&Source| ["protocol", "xfer-core", "xfer-cli"].contains(&source.package());
    let mut findings = Vec::new();
    for source in sources.iter().filter(program) {
        let public =
            source.program().filter_map(|(number, line)| Some((number, public_name(line)?)));
        for (number, name) in public {
            if let Some((word, right)) = never(&name)
                && !EXCEPT.iter().any(|(except, _)| *except == name)
            {
                findings.push(format!("{}:{number}: `{name}`: {word} is {right}", source.path));
            }
        }
    }
    findings
}

/// The names in the table of flags
fn flags(sources: &[Source]) -> Vec<String> {
    let mut names = Vec::new();
    for source in sources.iter().filter(|source| source.path == "xfer-cli/src/args/flags.rs") {
        let table = source.text.split("const FLAGS:").nth(1).unwrap_or_default();
        let table = table.split("LATER_FLAGS").next().unwrap_or_default();
        for row in ["flag(", "switch(", "on(", "old("] {
            let rows = table.split(row).skip(1);
            let named =
                rows.filter_map(|row| row.trim_start().strip_prefix('"')?.split('"').next());
            names.extend(named.map(str::to_owned));
        }
    }
    names
}

fn unsaid(flags: &[String]) -> Vec<Finding> {
    let found = |flag: &String| {
        let (word, right) = never(flag)?;
        Some(format!("--{flag}: {word} is {right}"))
    };
    let is_excepted = |flag: &&String| EXCEPT.iter().any(|(except, _)| except == flag);
    flags.iter().filter(|flag| !is_excepted(flag)).filter_map(found).collect()
}

fn rooms(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let parts = source.path.trim_end_matches(".rs").split('/');
        if parts.clone().any(|part| ROOMS.contains(&part)) {
            findings.push(source.path.clone());
        }
        for (number, line) in source.lines() {
            let mut words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let named = words.find(|word| *word == "mod").and_then(|_| words.next());
            if named.is_some_and(|name| ROOMS.contains(&name)) {
                findings.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    findings
}

fn accessors(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let foreign = |line: &str| FOREIGN.iter().any(|name| line.contains(name));
        let lines = source.lines().filter(|(_, line)| line.contains("fn get_") && !foreign(line));
        findings.extend(lines.map(|(number, line)| format!("{}:{number}:{line}", source.path)));
    }
    findings
}

/// The name that a line makes public
fn public_name(line: &str) -> Option<String> {
    let mut words = line.trim_start().strip_prefix("pub ")?.split_whitespace().peekable();
    while words.next_if(|word| matches!(*word, "async" | "unsafe")).is_some() {}
    let kind = words.next()?;
    let kinds = ["struct", "enum", "trait", "fn", "type", "mod", "const", "static", "union"];
    let name = words.find(|word| *word != "fn").filter(|_| kinds.contains(&kind))?;
    let ends = |letter: char| !letter.is_alphanumeric() && letter != '_';
    name.split(ends).next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The first word of a name that is never said, and the word to say
fn never(name: &str) -> Option<(&'static str, &'static str)> {
    let mut words = words(name);
    // To hash is a verb here; only the noun is a digest.
    let noun = name.ends_with("Hash");
    words.retain(|word| word != "hash" || noun);
    let matches = |never: &&(&str, &str)| {
        words.iter().any(|word| word == never.0 || word.strip_suffix('s') == Some(never.0))
    };
    NEVER.iter().find(matches).copied()
}

/// `BlockTable`, `block_table` and `block-table` are the words block and table
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for letter in name.chars() {
        let starts = letter.is_uppercase() && lower_before;
        if starts || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().expect("one word").extend(letter.to_lowercase());
        }
        lower_before = letter.is_lowercase() || letter.is_numeric();
    }
    words
}
