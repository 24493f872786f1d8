//! The rules of the house as tests
//!
//! Goal: the picture in `ARCHITECTURE.md` stays true without anybody's memory. Method: each rule is
//! a function from sources to findings. It runs over the repository, where it must find nothing,
//! and over a bad sample beside it, where it must fire. The sources are read as text: comments and
//! literals are blanked first, so a rule sees code only.

mod hygiene;
mod layers;
mod manifests;
mod size;
mod source;
mod words;

/// One breach: where, and what
type Finding = String;

/// Panics with every finding of a rule over the whole repository
fn assert_clean(rule: &str, findings: Vec<Finding>) {
    let text: String = findings.iter().map(|finding| format!("  {finding}\n")).collect();
    assert!(findings.is_empty(), "{} against the rule: {rule}\n{text}", findings.len());
}

/// Asserts that a rule finds exactly `count` breaches in a sample
fn assert_fires(count: usize, findings: &[Finding]) {
    assert_eq!(findings.len(), count, "{findings:#?}");
}

#[test]
fn the_repository_is_read() {
    let sources = source::all();
    let has = |path: &str| sources.iter().any(|source| source.path == path);
    for path in ["protocol/src/lib.rs", "xfer-core/src/lib.rs", "xfer-cli/src/main.rs"] {
        assert!(has(path), "{path} is not among {} files", sources.len());
    }
    assert!(sources.len() > 40, "only {} files", sources.len());
}
