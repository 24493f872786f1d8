//! The races themselves work; how fast anything is, no test asks

use std::process::Command;

use serde_json::Value;

#[test]
fn a_quick_programme_runs_every_race_and_writes_its_figures() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("figures.json");
    let done = Command::new(env!("CARGO_BIN_EXE_xfer-benches"))
        .args(["ssh", "--quick", "--with", "rsync", "--with", "tar", "--output"])
        .arg(&output)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = std::fs::read_to_string(&output).unwrap();
    let figures: Value = serde_json::from_str(&text).unwrap();
    let races = figures["races"].as_array().unwrap();
    assert_eq!(races.len(), 8, "{text}");
    for race in races {
        assert!(race["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{race:#}");
        let contenders = race["contenders"].as_array().unwrap();
        assert_eq!(contenders[0]["name"], "xfer");
        assert!(contenders.len() > 1, "nobody raced in {race:#}");
    }
}

#[test]
fn a_quick_race_on_the_loopback_leaves_a_table_figures_and_a_plot() {
    let directory = tempfile::tempdir().unwrap();
    let stem = directory.path().join("figures");
    let done = Command::new(env!("CARGO_BIN_EXE_xfer-benches"))
        .args(["direct", "--quick", "--push", "--output"])
        .arg(&stem)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let read = |extension| std::fs::read_to_string(stem.with_extension(extension)).unwrap();
    let figures: Value = serde_json::from_str(&read("json")).unwrap();
    let raced = figures["contenders"].as_array().unwrap();
    let names: Vec<_> = raced.iter().filter_map(|one| one["name"].as_str()).collect();
    for name in ["xfer-tls", "xfer-quic", "xfer-ssh", "raw-tls", "raw-quinn", "rsync-daemon"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for one in raced {
        assert!(one["bytes_a_second"].as_f64().is_some_and(|rate| rate > 0.0), "{one:#}");
    }
    let ratios = figures["ratios"].as_array().unwrap();
    assert_eq!(ratios.len(), 7, "{ratios:#?}");
    assert!(read("md").contains("raw-tls") && read("svg").ends_with("</svg>\n"));
}

#[test]
fn a_quick_race_over_a_link_leaves_shares_of_what_it_carries() {
    let directory = tempfile::tempdir().unwrap();
    let stem = directory.path().join("figures");
    let done = Command::new(env!("CARGO_BIN_EXE_xfer-benches"))
        .args(["wan", "--quick", "--only", "quic", "--only", "rsync", "--output"])
        .arg(&stem)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let read = |extension| std::fs::read_to_string(stem.with_extension(extension)).unwrap();
    let figures: Value = serde_json::from_str(&read("json")).unwrap();
    let cell = &figures["cells"][0];
    assert!(cell["ceiling_bytes_a_second"].as_f64().is_some_and(|rate| rate > 1e6), "{cell:#}");
    let tools = cell["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, ["xfer-quic", "rsync"]);
    for tool in tools {
        assert_eq!(tool["bytes"], 25_000_000, "{tool:#}");
        assert!(tool["percent"].as_f64().is_some_and(|share| share > 0.0), "{tool:#}");
        assert!(tool["link_packets"].as_u64().is_some_and(|count| count > 16_000), "{tool:#}");
    }
    assert!(read("md").contains("10 ms, 0.1 %") && read("svg").contains("per cent of the link"));
}

#[test]
fn a_quick_sweep_tells_what_the_tuner_leaves_on_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let stem = directory.path().join("figures");
    let done = Command::new(env!("CARGO_BIN_EXE_xfer-benches"))
        .args(["regret", "--quick", "--output"])
        .arg(&stem)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let read = |extension| std::fs::read_to_string(stem.with_extension(extension)).unwrap();
    let figures: Value = serde_json::from_str(&read("json")).unwrap();
    let cell = &figures["cells"][0];
    assert!(cell["regret"].as_f64().is_some_and(|share| (0.0..1.0).contains(&share)), "{cell:#}");
    let [tuned, fixed] = ["tuned", "fixed"].map(|name| cell[name].as_array().unwrap());
    assert_eq!((tuned.len(), fixed.len()), (2, 2));
    let routes: Vec<_> = fixed.iter().filter_map(|run| run["route"].as_str()).collect();
    assert_eq!(routes, ["quic", "tls"]);
    for run in tuned.iter().chain(fixed) {
        assert!(run["bytes_a_second"].as_f64().is_some_and(|rate| rate > 0.0), "{run:#}");
    }
    assert!(read("md").contains("10 ms, 0.1 %") && read("svg").ends_with("</svg>\n"));
}

#[test]
fn a_quick_race_in_company_tells_what_each_keeps() {
    let directory = tempfile::tempdir().unwrap();
    let stem = directory.path().join("figures");
    let done = Command::new(env!("CARGO_BIN_EXE_xfer-benches"))
        .args(["company", "--quick", "--output"])
        .arg(&stem)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let read = |extension| std::fs::read_to_string(stem.with_extension(extension)).unwrap();
    let figures: Value = serde_json::from_str(&read("json")).unwrap();
    let cell = &figures["cells"][0];
    let [crowds, flows] = ["crowds", "flows"].map(|name| cell[name].as_array().unwrap());
    assert_eq!((crowds.len(), flows.len()), (5, 4), "{said}");
    for one in crowds {
        let is_alone = one["crowd"] == "nobody";
        assert!(one["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{said}\n{one:#}");
        assert!(one["peak_memory_bytes"][0].as_u64().is_some_and(|bytes| bytes > 1 << 20));
        let came = one["came"][0].as_u64().unwrap();
        assert!(is_alone == (came == 0), "{said}\n{one:#}");
        assert!(is_alone || came >= 100, "{said}\n{one:#}");
    }
    for one in flows {
        assert!(one["flow_bytes_a_second"][0].as_f64().is_some_and(|rate| rate > 0.0), "{one:#}");
        let is_alone = one["beside"] == "nobody";
        let jain = one["jain"].as_f64();
        assert!(is_alone == jain.is_none(), "{said}\n{one:#}");
        assert!(jain.is_none_or(|index| (0.5..=1.0).contains(&index)), "{one:#}");
    }
    assert!(read("md").contains("Jain's index") && read("svg").ends_with("</svg>\n"));
}

#[test]
fn a_quick_race_to_a_bucket_tells_what_each_took() {
    let directory = tempfile::tempdir().unwrap();
    let stem = directory.path().join("figures");
    let done = Command::new(env!("CARGO_BIN_EXE_xfer-benches"))
        .args(["buckets", "--quick", "--only", "xfer", "--output"])
        .arg(&stem)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let read = |extension| std::fs::read_to_string(stem.with_extension(extension)).unwrap();
    let figures: Value = serde_json::from_str(&read("json")).unwrap();
    let runs = figures["contenders"].as_array().unwrap();
    // Two levels of proof, there and back, of three cases and of one before a throttle.
    assert_eq!(runs.len(), 16, "{said}");
    for run in runs {
        for figure in ["seconds", "store_processor_seconds", "peak_memory_bytes"] {
            let value = run[figure][0].as_f64();
            assert!(value.is_some_and(|value| value > 0.0), "{figure}\n{said}\n{run:#}");
        }
        let is_throttled = run["store_bytes_a_second"].as_u64() != Some(0);
        let share = run["percent"].as_f64();
        assert!(is_throttled == share.is_some_and(|share| share > 0.0), "{said}\n{run:#}");
    }
    assert!(read("md").contains("xfer-received") && read("svg").ends_with("</svg>\n"));
}

#[test]
fn a_quick_race_of_syncs_tells_what_crossed() {
    let directory = tempfile::tempdir().unwrap();
    let stem = directory.path().join("figures");
    let done = Command::new(env!("CARGO_BIN_EXE_xfer-benches"))
        .args(["sync", "--quick", "--only", "xfer", "--only", "rsync", "--output"])
        .arg(&stem)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let read = |extension| std::fs::read_to_string(stem.with_extension(extension)).unwrap();
    let figures: Value = serde_json::from_str(&read("json")).unwrap();
    let cases = figures["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 11, "{said}");
    for case in cases {
        for contender in case["contenders"].as_array().unwrap() {
            for figure in ["seconds", "bytes_sent", "bytes_received"] {
                let value = contender[figure][0].as_f64();
                assert!(value.is_some_and(|value| value > 0.0), "{figure}\n{said}\n{case:#}");
            }
        }
        for wish in case["wishes"].as_array().unwrap() {
            assert!(wish["met"].is_boolean(), "{said}\n{case:#}");
            // What is told of payload is no matter of time.
            let is_payload = wish["figure"] == "payload bytes";
            assert!(!is_payload || wish["met"] == true, "{said}\n{case:#}");
        }
    }
    assert!(read("md").contains("renamed-delete") && read("svg").ends_with("</svg>\n"));
}
