//! What packages depend on, and what is known against those dependencies

use std::fs;

use toml::{Table, Value};

use super::source::root;
use super::{Finding, assert_clean, assert_fires};

/// What a package of the program may never depend on, and why
const NEVER: &[(&str, &[&str], &str)] = &[
    (
        "protocol",
        &["xfer-core", "tokio", "rustix", "libc", "getrandom", "rand", "tempfile", "russh"],
        "protocol is pure",
    ),
    (
        "xfer-core",
        &["xfer-cli", "anyhow", "indicatif", "clap", "toml"],
        "the library does not speak to a person",
    ),
    ("xfer-cli", &["russh", "russh-sftp"], "the command line knows no transport"),
];

const PACKAGES: &[&str] = &["protocol", "xfer-core", "xfer-cli", "tests", "benches", "xtask"];

/// Packages that nothing depends on
const OUTSIDE: &[&str] = &["xfer-tests", "xfer-benches", "xtask"];

#[test]
fn dependencies_point_one_way() {
    for package in PACKAGES {
        let manifest = read(&format!("{package}/Cargo.toml"));
        assert_clean("dependencies point one way", directions(package, &manifest));
    }
    let bad = "[dependencies]\ntokio.workspace = true\nxfer-tests = '1'\nserde = '1'\n";
    assert_fires(2, &directions("protocol", &parse(bad)));
    let fine = "[dev-dependencies]\ntokio.workspace = true\n";
    assert_fires(0, &directions("protocol", &parse(fine)));
}

#[test]
fn every_package_keeps_the_lints() {
    for package in PACKAGES {
        let manifest = read(&format!("{package}/Cargo.toml"));
        assert_clean(
            "lints, licence and edition are the workspace's",
            inherited(package, &manifest),
        );
    }
    assert_fires(3, &inherited("a", &parse("[package]\nname = 'a'\n")));
}

#[test]
fn no_locked_version_has_a_known_fault() {
    let (list, lock) = (read("advisories.toml"), read("Cargo.lock"));
    assert_clean("every advisory is fixed or answered", advisories(&list, &lock));
    let lock = parse("[[package]]\nname = 'a'\nversion = '1.9.3-rc.1'\n");
    let row = |rest: &str| parse(&format!("[[advisory]]\nid = 'X'\npackage = 'a'\n{rest}"));
    assert_fires(0, &advisories(&row("fixed = '1.9.3'"), &lock));
    assert_fires(1, &advisories(&row("fixed = '1.10.0'"), &lock));
    assert_fires(0, &advisories(&row("reason = 'it does not bite'"), &lock));
    assert_fires(1, &advisories(&row(""), &lock));
    let gone = parse("[[advisory]]\nid = 'X'\npackage = 'gone'\nfixed = '1.0.0'\n");
    assert_fires(1, &advisories(&gone, &lock));
}

fn directions(package: &str, manifest: &Table) -> Vec<Finding> {
    let never = NEVER.iter().find(|(name, ..)| *name == package);
    let mut findings = Vec::new();
    for dependency in names(manifest, "dependencies") {
        let refused = never.filter(|(_, names, _)| names.contains(&dependency.as_str()));
        findings.extend(refused.map(|(.., why)| format!("{package} on {dependency}: {why}")));
        // Races share the trees, the server and the judges of the tests.
        let raced = (package, dependency.as_str()) == ("benches", "xfer-tests");
        if OUTSIDE.contains(&dependency.as_str()) && !raced {
            findings.push(format!("{package} on {dependency}: nothing depends on it"));
        }
    }
    findings
}

fn inherited(package: &str, manifest: &Table) -> Vec<Finding> {
    let from = |table: &str, key: &str| {
        let value = manifest.get(table).and_then(|table| table.get(key));
        let value = if table == "lints" { value } else { value.and_then(|v| v.get("workspace")) };
        value == Some(&Value::Boolean(true))
    };
    let wanted = [("lints", "workspace"), ("package", "license"), ("package", "edition")];
    let missing = wanted.iter().filter(|(table, key)| !from(table, key));
    missing.map(|(table, key)| format!("{package}: {table}.{key}")).collect()
}

fn advisories(list: &Table, lock: &Table) -> Vec<Finding> {
    let rows = |table: &Table, key: &str| match table.get(key) {
        Some(Value::Array(rows)) => rows.clone(),
        _ => Vec::new(),
    };
    let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut findings = Vec::new();
    for row in rows(list, "advisory") {
        let (id, package) =
            (text(&row, "id").expect("id"), text(&row, "package").expect("package"));
        let locked = rows(lock, "package").into_iter();
        let locked: Vec<_> =
            locked.filter(|row| text(row, "name") == Some(package.clone())).collect();
        if locked.is_empty() {
            findings.push(format!("{id}: {package} is not in Cargo.lock; drop the row"));
        }
        for version in locked.iter().filter_map(|row| text(row, "version")) {
            match (text(&row, "fixed"), text(&row, "reason")) {
                (Some(fixed), _) if number(&version) < number(&fixed) => {
                    findings.push(format!("{id}: {package} {version} is older than {fixed}"));
                }
                (None, None) => findings.push(format!("{id}: neither `fixed` nor `reason`")),
                _ => {}
            }
        }
    }
    findings
}

fn names(manifest: &Table, table: &str) -> Vec<String> {
    match manifest.get(table) {
        Some(Value::Table(table)) => table.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The three numbers of a version
fn number(version: &str) -> Vec<u64> {
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    plain.split('.').map(|part| part.parse().expect("a version's part is a number")).collect()
}

fn read(path: &str) -> Table {
    let path = root().join(path);
    parse(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn parse(text: &str) -> Table {
    text.parse().expect("TOML")
}
