//! Who may use whom

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, all};
use super::{Finding, assert_clean, assert_fires};

/// The modules of xfer-core by row; a module uses rows below its own
const ROWS: &[(u8, &[&str])] = &[
    (6, &["engine"]),
    (5, &["connect"]),
    (4, &["agent", "plan", "verify", "gate", "discover"]),
    (3, &["endpoint"]),
    (2, &["transport", "journal", "load_check", "receipt", "scan", "delta", "trust"]),
    (1, &["disk", "clock", "event", "options", "location", "error"]),
];

/// Uses within a row, each of a sibling's values and none of its insides
const SIBLINGS: &[(&str, &str, &str)] = &[
    ("clock", "disk", "which boot of the machine this is stands in a file"),
    ("event", "error", "a problem is told with the class that it leads to"),
    ("event", "location", "an event names the two ends of a transfer"),
    ("error", "location", "an error names the end at which it happened"),
    ("options", "location", "an option names the bucket that files go by"),
    ("receipt", "trust", "a receipt is signed, and says by whom"),
];

/// Names that only some files of the program may say, and why
const CONFINED: &[(&[&str], &[&str], &str)] = &[
    (&["std::fs", "tokio::fs", "unsafe"], &["xfer-core/src/disk/"], "disk alone"),
    (LINUX_ONLY, &["xfer-core/src/disk/"], "what only Linux has is behind disk"),
    (
        &["rustix::fs"],
        &[
            "xfer-core/src/disk/",
            "xfer-core/src/scan/",
            "xfer-core/src/endpoint/local/",
            "xfer-cli/src/",
        ],
        "descriptors are held by disk, and used by the walk and the local endpoint",
    ),
    (&["Instant::now", "SystemTime::now"], &["xfer-core/src/clock.rs"], "clock alone"),
    (&["indicatif"], &["xfer-cli/src/"], "the command line alone"),
    (
        &["russh", "russh_sftp", "rustls", "quinn", "reqwest"],
        &["xfer-core/src/transport/"],
        "the transport alone",
    ),
    (&["object_store"], &["xfer-core/src/endpoint/object/"], "the endpoint of stores alone"),
    (&["anyhow"], &["xfer-cli/src/"], "the command line alone"),
];

/// Calls and flags of Linux, for which another system needs another body
const LINUX_ONLY: &[&str] = &[
    "openat2",
    "statx",
    "RawDir",
    "copy_file_range",
    "fallocate",
    "fadvise",
    "memfd_create",
    "sendfile",
    "syncfs",
    "renameat_with",
    "O_DIRECT",
    "O_TMPFILE",
];

/// What a pure crate cannot say
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "Instant::now",
    "SystemTime",
    "getrandom",
    "rustix",
    "libc",
    "unsafe",
];

/// The modules of xfer-core that decide, and so perform nothing
const PURE_MODULES: &[&str] = &["plan", "gate", "load_check"];

#[test]
fn a_module_uses_only_rows_below_its_own() {
    assert_clean("a module uses only rows below its own", rows(&all()));
    let bad = [
        Source::new("xfer-core/src/disk/file.rs", "use crate::engine::Run;\n"),
        Source::new(
            "xfer-core/src/scan.rs",
            "use crate::{\n    disk::Open,\n    endpoint::Sink,\n};\n",
        ),
        Source::new("xfer-core/src/plan/mod.rs", "fn a() { crate::agent::serve() }\n"),
        Source::new("xfer-core/src/new_room.rs", "fn a() {}\n"),
        Source::new("xfer-core/src/engine/run.rs", "use crate::{disk, plan::{Action, agent}};\n"),
    ];
    assert_fires(4, &rows(&bad));
}

#[test]
fn no_two_modules_use_each_other() {
    assert_clean("the modules of a crate form no ring", rings(&all()));
    let bad = [
        Source::new("protocol/src/a.rs", "use crate::b::B;\n"),
        Source::new("protocol/src/b.rs", "use crate::c::C;\n"),
        Source::new("protocol/src/c.rs", "use crate::a::A;\n"),
        Source::new("protocol/src/d.rs", "use crate::a::A;\n"),
    ];
    assert_fires(3, &rings(&bad));
}

#[test]
fn what_is_confined_stays_where_it_is() {
    assert_clean("some names are said in one place only", confined(&all()));
    let bad = [
        Source::new("xfer-core/src/scan.rs", "use std::fs;\nuse std::{\n    fs,\n    io,\n};\n"),
        Source::new("xfer-core/src/agent/serve.rs", "fn a(s: russh::Channel) { unsafe { b() } }\n"),
        Source::new("xfer-core/src/disk/a.rs", "use std::fs;\nfn a() { Instant::now() }\n"),
        Source::new(
            "xfer-core/src/event.rs",
            "// unsafe\n#[cfg(test)]\nmod tests { use std::fs; }\n",
        ),
    ];
    assert_fires(5, &confined(&bad));
}

#[test]
fn what_decides_is_pure() {
    assert_clean("protocol, plan, gate and load_check are pure", impure(&all()));
    let bad = [
        Source::new(
            "protocol/src/a.rs",
            "use std::{collections, net::TcpStream};\nuse tokio::io;\n",
        ),
        Source::new("xfer-core/src/gate/a.rs", "fn now() { std::time::SystemTime::now() }\n"),
        Source::new("xfer-core/src/disk/a.rs", "use std::fs;\n"),
    ];
    assert_fires(3, &impure(&bad));
}

fn rows(sources: &[Source]) -> Vec<Finding> {
    let row =
        |module: &str| ROWS.iter().find(|(_, names)| names.contains(&module)).map(|row| row.0);
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("xfer-core/src/")) {
        let module = source.module();
        let own = match row(module) {
            Some(own) => own,
            None if module.is_empty() => continue,
            None => {
                findings.push(format!("{}: module `{module}` stands in no row", source.path));
                continue;
            }
        };
        for used in used_modules(source) {
            let sibling =
                SIBLINGS.iter().any(|(user, of, _)| (*user, *of) == (module, used.as_str()));
            let below = row(&used).is_none_or(|used| used < own);
            if used != module && !below && !sibling {
                findings.push(format!("{}: `{module}` uses `{used}`", source.path));
            }
        }
    }
    findings
}

fn rings(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in ["protocol", "xfer-core", "xfer-cli"] {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in sources.iter().filter(|source| source.package() == package) {
            let used = used_modules(source).into_iter().filter(|used| used != source.module());
            uses.entry(source.module().to_owned()).or_default().extend(used);
        }
        for module in uses.keys().filter(|module| !module.is_empty()) {
            if reachable(&uses, module).contains(module) {
                findings.push(format!("{package}: `{module}` uses itself through others"));
            }
        }
    }
    findings
}

fn reachable(uses: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut pending = vec![from.to_owned()];
    while let Some(module) = pending.pop() {
        for used in uses.get(&module).into_iter().flatten() {
            if found.insert(used.clone()) {
                pending.push(used.clone());
            }
        }
    }
    found
}

fn confined(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| is_program(source)) {
        for (names, places, who) in CONFINED {
            if !places.iter().any(|place| source.path.starts_with(place)) {
                findings.extend(said(source, names).map(|finding| format!("{finding}: {who}")));
            }
        }
    }
    findings
}

fn impure(sources: &[Source]) -> Vec<Finding> {
    let pure = |source: &&Source| {
        source.package() == "protocol"
            || source.package() == "xfer-core" && PURE_MODULES.contains(&source.module())
    };
    sources.iter().filter(pure).flat_map(|source| said(source, IMPURE)).collect()
}

fn is_program(source: &Source) -> bool {
    matches!(source.package(), "protocol" | "xfer-core" | "xfer-cli")
}

/// The names of `names` that the program of a file says; each once for each statement
fn said<'a>(source: &'a Source, names: &'a [&str]) -> impl Iterator<Item = Finding> + 'a {
    statements(source).into_iter().flat_map(move |(line, statement)| {
        let paths = paths(&statement);
        let holds = move |name: &&&str| {
            let parts: Vec<_> = name.split("::").collect();
            paths.iter().any(|path| path.windows(parts.len()).any(|window| window == parts))
        };
        let found: Vec<_> = names.iter().filter(holds).map(|name| name.to_string()).collect();
        found.into_iter().map(move |name| format!("{}:{line}: `{name}`", source.path))
    })
}

/// Top modules of the crate that a file's program names after `crate::`
fn used_modules(source: &Source) -> BTreeSet<String> {
    let statements = statements(source).into_iter();
    let paths = statements.flat_map(|(_, statement)| paths(&statement));
    let used = paths.filter(|path| path[0] == "crate").filter_map(|path| path.get(1).cloned());
    // A capital begins an item that the root of the crate re-exports.
    used.filter(|name| name.starts_with(|letter: char| letter.is_lowercase())).collect()
}

/// The program cut at semicolons, so that a `use` over several lines is one piece
fn statements(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut statement = String::new();
    let mut first = 1;
    for (number, line) in source.program() {
        if statement.trim().is_empty() {
            first = number;
            statement.clear();
        }
        statement.push_str(line);
        statement.push('\n');
        if !is_use(&statement) || line.trim_end().ends_with(';') {
            found.push((first, std::mem::take(&mut statement)));
        }
    }
    found
}

/// Every path in a statement, with the groups of a `use` spelled out
fn paths(statement: &str) -> Vec<Vec<String>> {
    let group = is_use(statement);
    let mut found = Vec::new();
    let mut prefixes: Vec<Vec<String>> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut rest = statement;
    while let Some(letter) = rest.chars().next() {
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !name.is_empty() {
            rest = &rest[name.len()..];
            path.push(name);
        } else if let Some(after) = rest.strip_prefix("::") {
            rest = after;
        } else {
            let prefix = prefixes.last().cloned().unwrap_or_default();
            let full = [prefix, std::mem::take(&mut path)].concat();
            found.push(full.clone());
            match letter {
                '{' if group => prefixes.push(full),
                '}' if group => drop(prefixes.pop()),
                _ => {}
            }
            rest = &rest[letter.len_utf8()..];
        }
    }
    found.push(path);
    found.retain(|path| !path.is_empty());
    found
}

fn is_use(statement: &str) -> bool {
    let words = statement.split_whitespace();
    words.take(2).any(|word| word == "use")
}

#[test]
fn groups_are_spelled_out() {
    let found = paths("use crate::{disk, plan::{Action, agent}};");
    let joined: Vec<_> = found.iter().map(|path| path.join("::")).collect();
    for path in ["crate::disk", "crate::plan::Action", "crate::plan::agent"] {
        assert!(joined.iter().any(|found| found.ends_with(path)), "{path} of {joined:?}");
    }
}
