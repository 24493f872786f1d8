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
