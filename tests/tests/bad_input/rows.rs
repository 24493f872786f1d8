//! Which rows there are, and where each is tested
//!
//! A row is covered by a test of this program whose cases name it, or by a test elsewhere whose
//! documentation says `Rows:` and names it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Letters, how many rows of each there are, and what they are about
const LISTED: [(char, u32, &str); 10] = [
    ('C', 10, "command line"),
    ('U', 9, "locations"),
    ('A', 13, "platforms' interfaces"),
    ('K', 10, "ssh's configuration"),
    ('P', 7, "keys, credentials, state"),
    ('M', 5, "manifests and receipts"),
    ('W', 10, "frames"),
    ('N', 8, "names and trees"),
    ('G', 4, "gate"),
    ('E', 2, "environment"),
];

const GATE: &str = "there is no gate and no destroy yet";

/// Rows of what is not built yet, and what they wait for
const WAITING: [(&str, &str); 6] = [
    ("B-G1", GATE),
    ("B-G2", GATE),
    ("B-G3", GATE),
    ("B-G4", GATE),
    ("B-W5", "the protocol has no deltas: a block is sent whole"),
    ("B-W6", "the protocol has no signatures of rolling sums"),
];

/// Rows that are covered as far as there is something to test, and what the rest waits for
const IN_PART: [(&str, &str); 5] = [
    ("B-A12", GATE),
    ("B-C10", GATE),
    ("B-K8", GATE),
    ("B-M5", GATE),
    ("B-P3", "certificates of users are refused as a whole"),
];

/// Where tests are
const FOLDERS: [&str; 6] = [
    "protocol/src",
    "protocol/tests",
    "tests/tests",
    "xfer-cli/src",
    "xfer-core/src",
    "xfer-core/tests",
];

#[test]
fn every_row_is_covered_or_waits_for_something_that_is_named() {
    let listed: BTreeSet<String> = LISTED
        .iter()
        .flat_map(|(letter, count, _)| (1..=*count).map(move |n| format!("B-{letter}{n}")))
        .collect();
    assert_eq!(listed.len(), 78);
    let waiting: BTreeSet<String> = WAITING.iter().map(|(row, _)| (*row).to_owned()).collect();
    let covered = covered();
    let unknown: Vec<_> = covered.difference(&listed).collect();
    assert!(unknown.is_empty(), "no such rows: {unknown:?}");
    let neither: Vec<_> =
        listed.difference(&covered).filter(|row| !waiting.contains(*row)).collect();
    assert!(neither.is_empty(), "neither tested nor waiting: {neither:?}");
    let both: Vec<_> = waiting.intersection(&covered).collect();
    assert!(both.is_empty(), "tested and still said to wait: {both:?}");
    for (row, what) in WAITING.iter().chain(&IN_PART) {
        assert!(listed.contains(*row) && !what.is_empty(), "{row}");
    }
    for (row, _) in IN_PART {
        assert!(covered.contains(row), "{row} is covered in part");
    }
}

#[test]
fn marks_are_found_and_only_those_of_tests() {
    let source = "/// Tells.\n///\n/// Rows: B-W1, B-W2.\n#[test]\nfn a() {}\n\
                  /// Rows: B-W3.\nfn no_test() {}\n\
                  /// Rows: B-W4.\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn b() {}\n\
                  /// Rows: B-W5.\n#[test]\n#[ignore = \"slow\"]\nfn c() {}\n";
    assert_eq!(marked(source), ["B-W1", "B-W2", "B-W4"]);
    assert_eq!(named("x(\"B-C1\", 2); // \"B-C\"\n(\"B-C10\")"), ["B-C1", "B-C10"]);
}

/// Rows named by cases here, or by marks of tests anywhere
fn covered() -> BTreeSet<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = Vec::new();
    for folder in FOLDERS {
        collect(&top.join(folder), &mut sources);
    }
    let mut rows = BTreeSet::new();
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        let is_list = path.ends_with("bad_input/rows.rs");
        if path.parent().is_some_and(|parent| parent.ends_with("bad_input")) && !is_list {
            rows.extend(named(&text));
        }
        if !is_list {
            rows.extend(marked(&text));
        }
    }
    rows
}

fn collect(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|end| end == "rs") {
            sources.push(path);
        }
    }
}

/// Rows in quotes: the names that cases carry
fn named(source: &str) -> Vec<String> {
    source.split('"').filter_map(row).collect()
}

/// Rows of `Rows:` lines in the documentation of tests that run
fn marked(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        if let Some(rows) = line.strip_prefix("/// Rows: ") {
            pending.extend(rows.trim_end_matches('.').split(", ").filter_map(row));
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            pending.clear();
        } else if !line.starts_with("///") && !line.starts_with("#[") {
            if is_test {
                found.append(&mut pending);
            }
            pending.clear();
            is_test = false;
        }
    }
    found
}

fn row(text: &str) -> Option<String> {
    let mut rest = text.strip_prefix("B-")?.chars();
    let is_row = rest.next()?.is_ascii_uppercase()
        && !rest.as_str().is_empty()
        && rest.all(|c| c.is_ascii_digit());
    is_row.then(|| text.to_owned())
}
