//! Every line of `--json` and `--events` is as the schema in the repository says

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use xfer_tests::schema::assert_valid;
use xfer_tests::xfer::Xfer;

/// The schema that scripts read
fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../xfer-cli/schema/event.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_type_of_event_is_as_the_schema_says() {
    let xfer = Xfer::new();
    let place = xfer.home().join("place");
    fs::create_dir_all(place.join("source/deep")).unwrap();
    fs::write(place.join("source/deep/file"), vec![7; 3 << 20]).unwrap();
    fs::write(place.join("source/b"), "b").unwrap();
    std::os::unix::fs::symlink("deep/file", place.join("source/link")).unwrap();
    write_odd_name(&place.join("source"));
    let path = |name: &str| place.join(name).into_os_string();
    let (source, copy) = (path("source/"), path("copy"));
    let (receipt, events) = (path("receipt"), path("events"));
    let peer = format!("embedded-peer:{}", place.join("peer").display());
    let lines: &[(&[&std::ffi::OsStr], i32)] = &[
        (&["push".as_ref(), &source, &copy, "--receipt".as_ref(), &receipt], 0),
        (&["push".as_ref(), &source, &copy], 0),
        (&["push".as_ref(), "-n".as_ref(), &source, &path("other")], 0),
        (&["push".as_ref(), "--quick".as_ref(), "-c".as_ref(), &source, &copy], 2),
        (&["push".as_ref(), &path("missing"), &copy], 4),
        (&["rehearsed".as_ref(), &source, peer.as_ref()], 0),
        (&["ls".as_ref(), &copy], 0),
        (&["verify".as_ref(), &copy, "--against".as_ref(), &receipt], 0),
        (&["probe".as_ref(), &source, &copy, "--duration".as_ref(), "1s".as_ref()], 0),
        (&["receipt".as_ref(), "show".as_ref(), &receipt], 0),
        (&["receipt".as_ref(), "export".as_ref(), &receipt], 5),
        (&["version".as_ref()], 0),
        (&["man".as_ref()], 0),
        (&["config".as_ref(), "show".as_ref()], 0),
        (&["completions".as_ref(), "bash".as_ref()], 0),
    ];
    let schema = schema();
    let mut types = BTreeSet::new();
    for (words, code) in lines {
        let mut words = words.to_vec();
        words.extend(["--json".as_ref(), "--events".as_ref(), events.as_os_str()]);
        let _gone = fs::remove_file(&events);
        let ended = xfer.run(words.iter()).expect_code(*code);
        let events_told = ended.events();
        let verb = words[0].to_str().unwrap();
        if *code == 0 {
            let route = !events_told.last().unwrap()["route"].is_null();
            let first = &events_told[0]["type"];
            match verb {
                "push" | "rehearsed" | "ls" | "verify" | "probe" => {
                    assert!(first == "run" && route, "{verb}")
                }
                _ => assert!(events_told.last().unwrap()["output"].is_string(), "{verb}"),
            }
        }
        types.extend(judge(&schema, &events_told, *code));
        if events_file_is_expected(*code) {
            assert_eq!(fs::read_to_string(&events).unwrap(), ended.stdout, "--events differs");
        }
    }
    fs::write(place.join("copy/b"), "changed").unwrap();
    let words = ["verify".as_ref(), copy.as_os_str(), "--against".as_ref(), &receipt];
    let ended = xfer.run(words.iter().chain(&["--json".as_ref()])).expect_code(7);
    types.extend(judge(&schema, &ended.events(), 7));
    let copies = ["push".as_ref(), "--detach".as_ref(), source.as_os_str(), &path("detached")];
    for (words, code) in [(&copies[..], 0), (&["transfers".as_ref()], 0)] {
        let ended = xfer.run(words.iter().chain(&["--json".as_ref()])).expect_code(code);
        types.extend(judge(&schema, &ended.events(), code));
    }
    let all = schema["oneOf"].as_array().unwrap().iter();
    let mut all: BTreeSet<_> =
        all.map(|choice| choice["$ref"].as_str().unwrap().replace("#/$defs/", "")).collect();
    // Those of machines of platforms are judged where there are such (`vast`), and those of object
    // stores where these are (`buckets`).
    all.retain(|name| !["cost", "machine", "upload"].contains(&name.as_str()));
    assert_eq!(types, all, "a type of event was never seen");
}

/// A command line that makes no sense ends before its files are opened.
fn events_file_is_expected(code: i32) -> bool {
    code != 2
}

/// Judges a run's events and gives their types.
fn judge(schema: &Value, events: &[Value], code: i32) -> BTreeSet<String> {
    for (index, event) in events.iter().enumerate() {
        assert_valid(schema, event);
        assert_eq!(event["seq"], index, "{event}");
        assert_eq!(event["type"] == "result", index + 1 == events.len(), "{event}");
    }
    let result = events.last().expect("no event at all");
    assert_eq!(result["exit_code"], code);
    events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

fn write_odd_name(directory: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"odd\n\xff");
    fs::write(directory.join(name), "x").unwrap();
}

/// Samples of a file of metrics by name and labels; each has its kind before it
fn samples(path: &Path) -> std::collections::BTreeMap<String, f64> {
    let text = fs::read_to_string(path).unwrap();
    let (mut kinds, mut helped) = (BTreeSet::new(), BTreeSet::new());
    let mut found = std::collections::BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(rest.split(' ').next().unwrap().to_owned()), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            kinds.insert(name.to_owned());
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(family.starts_with("xfer_") && family.chars().all(is_name), "{line}");
            assert!(kinds.contains(family) && helped.contains(family), "{line}");
            assert!(found.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    found
}

#[test]
fn metrics_are_what_the_result_says() {
    let xfer = Xfer::new();
    let place = xfer.home().join("place");
    fs::create_dir_all(place.join("source")).unwrap();
    fs::write(place.join("source/a"), vec![7; 3 << 20]).unwrap();
    fs::write(place.join("source/b"), "b").unwrap();
    let path = |name: &str| place.join(name).into_os_string();
    let metrics = place.join("metrics.prom");
    fs::write(&metrics, "stale").unwrap();
    for _ in 0..2 {
        let words = [
            "push".into(),
            "--json".into(),
            "--metrics".into(),
            metrics.clone().into_os_string(),
            path("source/"),
            path("copy"),
        ];
        let result = xfer.run(words).expect_code(0).result();
        let found = samples(&metrics);
        let number = |value: &Value| value.as_f64().unwrap();
        for (name, value) in [
            ("xfer_payload_bytes_total", &result["payload_bytes"]),
            ("xfer_reused_bytes_total", &result["reused_bytes"]),
            ("xfer_overhead_bytes_total", &result["overhead_bytes"]),
            ("xfer_entries{state=\"moved\"}", &result["entries"]["moved"]),
            ("xfer_entries{state=\"unchanged\"}", &result["entries"]["unchanged"]),
            ("xfer_bytes{state=\"selected\"}", &result["bytes"]["selected"]),
            ("xfer_exit_code{reason=\"done\"}", &result["exit_code"]),
        ] {
            assert_eq!(found[name], number(value), "{name}");
        }
        assert_eq!(found["xfer_finished"], 1.0);
        assert!(found.keys().any(|name| name.starts_with("xfer_run_info{verb=\"push\",")));
        assert!(found["xfer_updated_timestamp_seconds"] > 1.7e9);
    }
    let missing = [
        "push".into(),
        "--metrics".into(),
        metrics.clone().into_os_string(),
        path("nothing"),
        path("copy"),
    ];
    xfer.run(missing).expect_code(4);
    assert_eq!(samples(&metrics)["xfer_exit_code{reason=\"not-found\"}"], 4.0);
    let nowhere = ["version".into(), "--metrics".into(), path("no/such/directory/m")];
    let refused = xfer.run(nowhere).expect_code(3);
    assert!(refused.stderr.contains("exit 3 output-unwritable"), "{}", refused.stderr);
    let left = fs::read_dir(&place).unwrap().count();
    assert_eq!(left, 3, "something was left beside the file");
}

#[test]
fn a_report_says_what_the_events_say() {
    let xfer = Xfer::new();
    let place = xfer.home().join("place");
    fs::create_dir_all(place.join("source")).unwrap();
    fs::write(place.join("source/a"), "one").unwrap();
    fs::write(place.join("source/b\u{1b}[31m"), "two").unwrap();
    let path = |name: &str| place.join(name).into_os_string();
    let report = |file: &str| xfer.run(["report".into(), path(file)]);
    let copied = |flags: &[&str], to: &str| {
        let words = ["push".into(), "--events".into(), path("events"), path("source/"), path(to)];
        xfer.run(words.into_iter().chain(flags.iter().map(Into::into)))
    };
    copied(&[], "copy").expect_code(0);
    let told = report("events").expect_code(0).stdout;
    let line = |label: &str| {
        let mut lines = told.lines().filter(|line| line.split(' ').next() == Some(label));
        lines.next().unwrap_or_else(|| panic!("no {label} in\n{told}")).to_owned()
    };
    assert!(line("run").ends_with(" push") && line("source").contains("/place/source/"), "{told}");
    assert!(line("ended").contains("done") && line("exit").ends_with(" 0 done"), "{told}");
    assert!(line("moved").contains("entries, 6 B") && line("proven").ends_with("durable"));
    assert!(!told.contains('\u{1b}'), "{told}");
    // A run that was killed: no last event, and half a line.
    let text = fs::read_to_string(place.join("events")).unwrap();
    let whole = text.lines().count() - 1;
    let cut: String = text.lines().take(whole).flat_map(|line| [line, "\n"]).collect();
    fs::write(place.join("cut"), cut + "{\"schema\":\"xf").unwrap();
    let told = report("cut").expect_code(0).stdout;
    assert!(told.contains("unknown: the last event is of 20"), "{told}");
    copied(&["--max-size", "1", "--deadline", "0s"], "other").expect_code(17);
    let told = report("events").expect_code(0).stdout;
    assert!(told.contains("refused") && told.contains("17 deadline"), "{told}");
    for (name, text) in [("none", ""), ("text", "hello\n"), ("other", "{\"schema\":1}\n{}\n")] {
        fs::write(place.join(name), text).unwrap();
        let refused = report(name).expect_code(14);
        assert!(refused.stderr.contains("exit 14 report-malformed"), "{}", refused.stderr);
    }
    report("missing").expect_code(3);
}
