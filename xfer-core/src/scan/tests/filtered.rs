//! Filters: rules, ignore files, sizes and ages.

use xfer_protocol::manifest::Timestamp;
use xfer_protocol::message::{FilterRule, FilterRules};

use crate::scan::filter::{
    Decision, Filter, FilterError, PATTERN_BYTES_MAX, PATTERNS_MAX, parse_line, parse_pattern,
};

use super::*;

/// Rules from the lines of a gitignore file.
fn rules(lines: &[&str]) -> FilterRules {
    let rules = lines.iter().filter_map(|line| parse_line(line).unwrap()).collect();
    FilterRules { rules, ..Default::default() }
}

fn filtered(filter: FilterRules) -> ScanOptions {
    ScanOptions { filter, ..Default::default() }
}

/// Each row was compared with `git check-ignore`: lines, path (a directory if it ends in `/`), and
/// whether git leaves it out.
#[test]
fn patterns_mean_what_they_mean_to_git() {
    const ROWS: &[(&[&str], &[u8], bool)] = &[
        (&["*.o"], b"a/b.o", true),
        (&["/*.o"], b"a/b.o", false),
        (&["/*.o"], b"b.o", true),
        (&["build/"], b"build", false),
        (&["build/"], b"build/", true),
        (&["build/"], b"x/build/", true),
        (&["a/b"], b"x/a/b", false),
        (&["**/a/b"], b"x/a/b", true),
        (&["a/**"], b"a/", false),
        (&["a/**"], b"a/x", true),
        (&["a/**/b"], b"a/b", true),
        (&["a/**/b"], b"a/x/y/b", true),
        (&["*", "!*.txt"], b"a.txt", false),
        (&["!*.txt", "*"], b"a.txt", true),
        (&["# comment", "", "   "], b"# comment", false),
        (&["\\#x"], b"#x", true),
        (&["\\!x"], b"!x", true),
        (&["x   "], b"x", true),
        (&["x\\ "], b"x ", true),
        (&["[a-c]?"], b"bz", true),
        (&["[!a-c]?"], b"bz", false),
        (&["[]]"], b"]", true),
        (&["{a,b}"], b"a", false),
        (&["{a,b}"], b"{a,b}", true),
        (&["[{]x"], b"{x", true),
        (&["a\\{"], b"a{", true),
        (&["foo*"], b"foo\xff\xfe", true),
        (&["foo?"], b"foo\xff", true),
        (&["*\n*"], b"a\nb", false),
        (&["A"], b"a", false),
    ];
    for (lines, path, left_out) in ROWS {
        let usable: Vec<_> = lines.iter().copied().filter(|l| !l.contains('\n')).collect();
        let filter = Filter::new(&rules(&usable)).unwrap();
        let (path, directory) = match path.strip_suffix(b"/") {
            Some(path) => (path, true),
            None => (*path, false),
        };
        let found = filter.decide(path, directory) == Decision::Exclude;
        assert_eq!(found, *left_out, "{lines:?} {:?}", String::from_utf8_lossy(path));
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_its_reason() {
    let unclosed = |pattern: &str| FilterError::Unclosed { pattern: pattern.to_owned() };
    let invalid = |pattern: &str| FilterError::Invalid { pattern: pattern.to_owned() };
    assert_eq!(parse_line("a[bc").unwrap_err(), unclosed("a[bc"));
    assert_eq!(parse_line("!a[").unwrap_err(), unclosed("a["));
    assert_eq!(parse_line("[{a").unwrap_err(), unclosed("[{a"));
    assert_eq!(parse_pattern("[z-a]", false).unwrap_err(), invalid("[z-a]"));
    assert_eq!(parse_pattern("a\nb", false).unwrap_err(), invalid("a\nb"));
    assert!(matches!(
        parse_pattern(&"x".repeat(100_000), false).unwrap_err(),
        FilterError::TooLong { bytes: 100_000, .. }
    ));
    assert!(parse_pattern(&"x".repeat(PATTERN_BYTES_MAX), false).is_ok());
    let many = vec![FilterRule { pattern: "x".to_owned(), include: false }; PATTERNS_MAX + 1];
    let many = FilterRules { rules: many, ..Default::default() };
    let count = PATTERNS_MAX + 1;
    assert_eq!(Filter::new(&many).unwrap_err(), FilterError::TooComplex { count });
    // Nesting and stars cost nothing special.
    for pattern in ["{".repeat(4000), "*a".repeat(2000), "**/".repeat(1300), "[".repeat(4000)] {
        let rules = vec![FilterRule { pattern, include: false }];
        let rules = FilterRules { rules, ..Default::default() };
        if let Ok(filter) = Filter::new(&rules) {
            assert_eq!(filter.decide(&[b'b'; 20_000], false), Decision::Open);
        }
    }
    assert_eq!(
        parse_pattern("#!", false).map(|rule| Filter::new(&FilterRules {
            rules: vec![rule],
            ..Default::default()
        })
        .unwrap()
        .decide(b"#!", false)),
        Ok(Decision::Exclude)
    );
}

#[test]
fn rules_that_a_peer_sends_are_checked() {
    let tree = tempfile::tempdir().unwrap();
    let rule = FilterRule { pattern: "[".to_owned(), include: false };
    let options = filtered(FilterRules { rules: vec![rule], ..Default::default() });
    let walk = Walk::new(open(tree.path()), &RelPath::root(), options);
    assert_eq!(walk.err().unwrap().kind, FaultKind::Limit);
}

#[test]
fn an_excluded_directory_stands_for_all_below_it() {
    let tree = tempfile::tempdir().unwrap();
    for name in ["keep", "skip/a", "skip/keep", "x/skip.o", "x/y.o"] {
        put(tree.path(), name, b"");
    }
    let lines = ["skip", "*.o", "!y.o", "!skip/keep"];
    let items = scan(tree.path(), filtered(rules(&lines)));
    assert_eq!(names(&items), [".", "keep", "x", "x/y.o"]);
    assert_eq!(excluded(&items), ["skip", "x/skip.o"]);
}

#[test]
fn rules_are_anchored_where_the_scan_begins() {
    let tree = tempfile::tempdir().unwrap();
    for name in ["top/build/x", "top/a/build/x", "top/top/x", "other.o"] {
        put(tree.path(), name, b"");
    }
    let items = scan_under(tree.path(), "top", filtered(rules(&["/build"])));
    assert_eq!(excluded(&items), ["top/build"]);
    // The entry that was named is matched by its name.
    let items = scan_under(tree.path(), "other.o", filtered(rules(&["*.o"])));
    assert_eq!(excluded(&items), ["other.o"]);
    let items = scan(tree.path(), filtered(rules(&["*"])));
    assert_eq!(names(&items), ["."]);
}

#[test]
fn sizes_and_ages_concern_regular_files_only() {
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), "d/empty", b"");
    put(tree.path(), "d/small", &[0; 10]);
    put(tree.path(), "d/large", &[0; 1000]);
    let old = std::fs::File::open(put(tree.path(), "d/old", &[0; 10])).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000)).unwrap();
    let filter = |size: (u64, u64), modified: (i64, i64)| {
        let at = |seconds| Some(Timestamp { seconds, nanoseconds: 0 });
        filtered(FilterRules {
            size_min: Some(size.0),
            size_max: Some(size.1),
            modified_min: at(modified.0),
            modified_max: at(modified.1),
            ..Default::default()
        })
    };
    let items = scan(tree.path(), filter((10, 10), (0, i64::MAX)));
    assert_eq!(names(&items), [".", "d", "d/old", "d/small"]);
    assert_eq!(excluded(&items), ["d/empty", "d/large"]);
    let items = scan(tree.path(), filter((0, 1000), (1001, i64::MAX)));
    assert_eq!(excluded(&items), ["d/old"]);
    let items = scan(tree.path(), filter((0, 1000), (0, 1000)));
    assert_eq!(names(&items), [".", "d", "d/old"]);
}

#[test]
fn ignore_files_are_honoured_when_asked_the_nearest_first() {
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), ".gitignore", b"\xef\xbb\xbf*.log\n/only-here\n");
    put(tree.path(), "a/.gitignore", b"!keep.log\n");
    put(tree.path(), "a/b/.xferignore", b"keep.log\nforced\n");
    for name in [
        "x.log",
        "only-here",
        "a/x.log",
        "a/keep.log",
        "a/only-here",
        "a/b/keep.log",
        "a/b/forced",
        "c/keep.log",
    ] {
        put(tree.path(), name, b"");
    }
    let all = scan(tree.path(), ScanOptions::default());
    assert_eq!(excluded(&all), [] as [&str; 0]);
    let with = |gitignore, xferignore, lines: &[&str]| {
        let filter = FilterRules { gitignore, xferignore, ..rules(lines) };
        excluded(&scan(tree.path(), filtered(filter)))
    };
    assert_eq!(with(true, false, &[]), ["a/x.log", "c/keep.log", "only-here", "x.log"]);
    assert_eq!(with(false, true, &[]), ["a/b/forced", "a/b/keep.log"]);
    assert_eq!(
        with(true, true, &[]),
        ["a/b/forced", "a/b/keep.log", "a/x.log", "c/keep.log", "only-here", "x.log"]
    );
    assert_eq!(with(true, true, &["!*.log", "!forced"]), ["only-here"]);
    // They concern what is below the entry at which the scan begins.
    let filter = FilterRules { gitignore: true, ..Default::default() };
    assert_eq!(excluded(&scan_under(tree.path(), "a", filtered(filter))), [] as [&str; 0]);
}

#[test]
fn an_ignore_file_that_cannot_be_honoured_is_a_problem() {
    let tree = tempfile::tempdir().unwrap();
    let secret = put(tree.path(), "secret", b"*\n");
    for name in ["a/!", "a/z", "b/z", "c/z", "d/z", "e/z"] {
        put(tree.path(), name, b"");
    }
    std::os::unix::fs::symlink(&secret, tree.path().join("a/.xferignore")).unwrap();
    put(tree.path(), "b/.xferignore", &b"x\n".repeat(600_000));
    put(tree.path(), "c/.xferignore", b"caf\xe9\n");
    let fifo = tree.path().join("d/.xferignore");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    put(tree.path(), "e/.xferignore", b"[z-a]\n[\nz\n");
    let filter = FilterRules { xferignore: true, ..Default::default() };
    let items = scan(tree.path(), filtered(filter.clone()));
    let expected = [
        ("a/.xferignore", FaultKind::Unsafe),
        ("b/.xferignore", FaultKind::Limit),
        ("c/.xferignore", FaultKind::Unsupported),
        ("d/.xferignore", FaultKind::Unsafe),
    ];
    let expected = expected.map(|(p, kind)| (p.to_owned(), kind));
    assert_eq!(problems(&items), expected);
    assert_eq!(excluded(&items), ["e/z"]);
    // Such a problem is told even where the file itself is not looked at.
    let only = Some(vec![path("a/z")]);
    let items = scan_under(tree.path(), "a", ScanOptions { only, ..filtered(filter) });
    assert_eq!(problems(&items), expected[..1]);
}
