//! The script that starts a watch where a machine starts

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xfer_tests::xfer::{Ended, Running, binary};

use crate::stand::{Stand, place};

struct Started {
    stand: Stand,
    script: PathBuf,
}

impl Started {
    fn new() -> Self {
        let stand = Stand::here();
        let odd = stand.source("it's $HOME; \"new\"\nline");
        fs::create_dir(&odd).expect("create");
        let mut words = stand.words("push", &["--print-onstart", "--settle", "0", "--json"]);
        let at = words.len() - 2;
        words[at] = odd.into_os_string();
        let printed = stand.xfer.run(&words[..]).expect_code(0);
        let text: String = printed.stdout.lines().map(|line| line.to_owned() + "\n").collect();
        let first = printed.events().first().cloned().unwrap_or_default();
        // With --json the script is in the result.
        let text = first["output"].as_str().map_or(text, ToOwned::to_owned);
        let script = stand.xfer.home().join("onstart.sh");
        fs::write(&script, &text).expect("write");
        assert!(text.len() < 16 * 1024, "{} bytes", text.len());
        Self { stand, script }
    }

    fn run(&self) -> Ended {
        let mut command = Command::new("bash");
        command.arg(&self.script).env_clear().env("HOME", self.stand.xfer.home());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
        Running::start(command).wait()
    }

    fn state(&self) -> PathBuf {
        self.stand.xfer.home().join(".local/state/xfer")
    }

    fn file(&self, end: &str) -> PathBuf {
        let entries = fs::read_dir(self.state()).expect("list").flatten();
        let mut paths = entries.map(|entry| entry.path());
        let is_it = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("watch-") && name.ends_with(end)
        };
        paths.find(is_it).unwrap_or_else(|| panic!("no {end}"))
    }
}

fn signal(pid: &str, name: &str) {
    let sent = Command::new("kill").args(["-s", name, pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "{pid} is gone");
}

/// The lines of a log as they come
fn follow(log: &Path) -> Running {
    let mut command = Command::new("tail");
    command.args(["-n", "+1", "-F"]).arg(log);
    Running::start(command)
}

fn child_of(pid: &str) -> String {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
    list.split_whitespace().next().expect("a child").to_owned()
}

#[test]
fn the_script_starts_a_watch_once_and_again_when_it_dies() {
    assert!(binary().is_file());
    let started = Started::new();
    let first = started.run().expect_code(0);
    assert!(first.stdout.contains("in the background"), "{}{}", first.stdout, first.stderr);
    let log = follow(&started.file(".log"));
    let a_round = |event: &serde_json::Value| event["watch"].is_object();
    log.next_event(a_round).expect("a round");
    let second = started.run().expect_code(0);
    assert!(second.stdout.contains("it runs already"), "{}", second.stdout);
    let keeper = fs::read_to_string(started.file(".pid")).expect("a number");
    let keeper = keeper.trim();
    signal(&child_of(keeper), "KILL");
    log.next_line(|line| line.contains("ended with exit 137")).expect("told of the kill");
    log.next_event(a_round).expect("a round of the next one");
    let odd = started.stand.source("it's $HOME; \"new\"\nline");
    place(&odd.join("step.pt"), b"whole");
    log.next_event(|event| event["watch"]["moved"].as_u64() > Some(0)).expect("it is moved");
    let arrived = started.stand.there(odd.file_name().and_then(|n| n.to_str()).expect("a name"));
    assert_eq!(fs::read(arrived.join("step.pt")).expect("read"), b"whole");
    signal(keeper, "TERM");
    // Whoever holds the lock has ended once it is free.
    let freed = Command::new("flock").arg(started.file(".lock")).arg("true").status();
    assert!(freed.expect("flock").success());
    let told = fs::read_to_string(started.file(".log")).expect("read");
    assert!(told.contains("\"exit_code\":143"), "{told}");
}
