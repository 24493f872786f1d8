//! `examples/orchestrate.py` against the program, and against programs that end as they should not

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use xfer_tests::xfer::{Ended, Running, Xfer, binary};
use xfer_tests::{oracle, tree};

fn orchestrate(program: &Path, arguments: &[PathBuf]) -> Ended {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orchestrate.py");
    let home = Xfer::new();
    let mut command = Command::new("python3");
    command.arg(script).args(arguments).env("XFER", program).env("PAUSE_S", "0");
    command.env("HOME", home.home()).env("XDG_STATE_HOME", home.home().join("state"));
    Running::start(command).wait()
}

/// A program that appends a line to `runs` each time, then does what the n-th script says
fn program(place: &TempDir, scripts: &[&str]) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = place.path().join("stub");
    let runs = place.path().join("runs");
    let mut text = format!("#!/bin/sh\necho run >> {0}\ncase $(wc -l < {0}) in\n", runs.display());
    for (index, script) in scripts.iter().enumerate() {
        let number =
            if index + 1 == scripts.len() { "*".to_owned() } else { (index + 1).to_string() };
        text.push_str(&format!("{number}) {script} ;;\n"));
    }
    text.push_str("esac\n");
    tree::write(&path, text.as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    path
}

fn runs(place: &TempDir) -> usize {
    fs::read_to_string(place.path().join("runs")).expect("it ran").lines().count()
}

const DONE: &str = r#"echo '{"type":"result","exit_code":0,"status":"ok","reason":"done",
"retry":"never","remedies":[],"entries":{"selected":3},"proof_level":"durable",
"manifest_root":"ab"}' \
| tr -d '\n'; exit 0"#;
const AGAIN: &str = r#"echo '{"type":"result","exit_code":10,"status":"failed","reason":"network",
"retry":"same-command","remedies":[]}' | tr -d '\n'; exit 10"#;
const AFTER_FIX: &str = r#"echo '{"type":"result","exit_code":8,"status":"failed",
"reason":"no-space","retry":"after-fix","remedies":[{"text":"free 3 GB",
"argv":["rm","big"]}]}' | tr -d '\n'; exit 8"#;

#[test]
fn it_copies_and_prints_the_verdict() {
    let place = TempDir::new().expect("temp dir");
    let (source, destination) = (place.path().join("source"), place.path().join("destination"));
    tree::names(&source);
    let inside = PathBuf::from(format!("{}/", source.display()));
    let ended = orchestrate(binary(), &[inside, destination.clone()]).expect_code(0);
    assert!(ended.stdout.contains("proven durable, root "), "{}", ended.stdout);
    oracle::assert_equal(&source, &destination);
}

#[test]
fn no_result_is_an_unknown_outcome_and_is_tried_again() {
    for unknown in ["exit 0", "kill -9 $$", "echo '{\"type\":\"pro'; exit 0"] {
        let place = TempDir::new().expect("temp dir");
        let ended = orchestrate(&program(&place, &[unknown, DONE]), &[]).expect_code(0);
        assert!(ended.stdout.contains("3 entries proven durable, root ab"), "{}", ended.stdout);
        assert_eq!(runs(&place), 2);
    }
    let place = TempDir::new().expect("temp dir");
    let ended = orchestrate(&program(&place, &["exit 0"]), &[]).expect_code(1);
    assert!(ended.stdout.contains("unknown"), "{}", ended.stdout);
}

#[test]
fn a_result_that_the_exit_code_contradicts_is_unknown() {
    let place = TempDir::new().expect("temp dir");
    let lie = DONE.replace("exit 0", "exit 137");
    orchestrate(&program(&place, &[&lie, AGAIN, DONE]), &[]).expect_code(0);
    assert_eq!(runs(&place), 3);
}

#[test]
fn it_stops_where_trying_again_is_pointless() {
    let place = TempDir::new().expect("temp dir");
    let ended = orchestrate(&program(&place, &[AGAIN, AFTER_FIX, DONE]), &[]).expect_code(8);
    assert!(ended.stdout.contains("free 3 GB rm big"), "{}", ended.stdout);
    assert_eq!(runs(&place), 2);
}
