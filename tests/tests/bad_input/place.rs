//! Where a case is played, and how it is judged

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xfer_tests::oracle;
use xfer_tests::xfer::{Ended, Running, Xfer};

/// No bad input takes longer where no machine is reached
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Runs of a case of which the fastest counts: the machine may have other things to do
const RUNS: usize = 3;

/// A case: its row, what is typed, the exit code, the reason
pub(crate) type Case<'a> = (&'a str, &'a [&'a str], i32, &'a str);

/// A source, a destination, and files of every bad kind; `ssh` here is a program that leaves a mark
pub(crate) struct Place {
    pub(crate) xfer: Xfer,
    before: BTreeMap<&'static str, oracle::Survey>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let xfer = Xfer::new();
        let home = xfer.home().to_owned();
        for name in ["s/deep", "d", "copy", "bin", "named"] {
            fs::create_dir_all(home.join(name)).unwrap();
        }
        for name in ["s/file", "s/deep/file", "copy/file", "file"] {
            fs::write(home.join(name), "file").unwrap();
        }
        fs::write(home.join("d/kept"), "as it was").unwrap();
        fs::write(home.join("empty"), "").unwrap();
        fs::write(home.join("world"), "*.tmp\n").unwrap();
        fs::set_permissions(home.join("world"), fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(home.join("broken-patterns"), "ok\n[\n").unwrap();
        fs::write(home.join("climbing"), "ok\n../up\n").unwrap();
        fs::File::create(home.join("huge")).unwrap().set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink(home.join("s"), home.join("link-to-source")).unwrap();
        let fifo = Command::new("mkfifo").arg(home.join("fifo")).status().unwrap();
        assert!(fifo.success());
        let ssh = home.join("bin/ssh");
        fs::write(&ssh, format!("#!/bin/sh\ntouch '{}'\n", home.join("mark").display())).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", home.join("bin").display());
        let xfer = xfer.env("PATH", path);
        let before = ["s", "d"].map(|name| (name, oracle::survey(&home.join(name)))).into();
        Self { xfer, before }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.xfer.home().join(name)
    }

    /// Looks anew at what must stay as it is, after a change of the stage
    pub(crate) fn set(&mut self) {
        let home = self.xfer.home().to_owned();
        for (name, survey) in &mut self.before {
            *survey = oracle::survey(&home.join(name));
        }
    }

    /// The program's words; `@name` is a place of this one
    pub(crate) fn words(&self, words: &[&str]) -> Vec<OsString> {
        let word = |word: &&str| match word.strip_prefix('@') {
            Some(name) => OsString::from(format!("{}/{name}", self.xfer.home().display())),
            None => OsString::from(word),
        };
        words.iter().map(word).collect()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.xfer.command(self.words(words))
    }

    /// Runs a command that must be refused, and judges all that is to be seen of it
    ///
    /// A refusal changes nothing, so it can be asked for again when the machine was busy.
    pub(crate) fn refuses(
        &self,
        row: &str,
        make: impl Fn() -> Command,
        code: i32,
        reason: &str,
    ) -> String {
        let mut fastest = Duration::MAX;
        let mut told = String::new();
        for _ in 0..RUNS {
            let began = Instant::now();
            let ended = Running::start(make()).wait();
            fastest = fastest.min(began.elapsed());
            assert_eq!(ended.code(), code, "{row}: {reason}: {}", ended.stderr);
            judge_words(row, &ended, code, reason);
            self.is_untouched(row);
            told = ended.stderr;
            if fastest < ENDS_WITHIN {
                return told;
            }
        }
        panic!("{row}: {reason} took {fastest:?}: {told}");
    }

    /// Source and destination are what they were, and nothing was started
    pub(crate) fn is_untouched(&self, row: &str) {
        assert!(!self.path("mark").exists(), "{row}: a process was started");
        for (name, before) in &self.before {
            let differences = oracle::differences(before, &oracle::survey(&self.path(name)));
            assert!(differences.is_empty(), "{row}: {name} was touched: {differences:?}");
        }
    }
}

/// Plays each case in a place of its own
pub(crate) fn judge(cases: &[Case<'_>]) {
    for (row, words, code, reason) in cases {
        let place = Place::new();
        place.refuses(row, || place.command(words), *code, reason);
    }
}

/// The form of the contract: what happened, what to do next, and the class; no secret, and nothing
/// that a terminal would obey
pub(crate) fn judge_words(row: &str, ended: &Ended, code: i32, reason: &str) {
    let text = &ended.stderr;
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(last, format!("  exit {code} {reason}"), "{row}: {text}");
    assert!(text.starts_with("xfer: ") || text.contains("\nxfer: "), "{row}: {text}");
    let advice = ["  next  ", "  do one of 1  "];
    let advises = text.lines().any(|line| advice.iter().any(|label| line.starts_with(label)));
    assert!(advises, "{row}: it does not say what to do next: {text}");
    assert!(!text.contains("sesame"), "{row}: a secret was repeated: {text}");
    assert_shown_safely(row, ended);
}

pub(crate) fn assert_shown_safely(row: &str, ended: &Ended) {
    let raw = |c: char| c.is_control() && c != '\n';
    assert!(!ended.stderr.contains(raw), "{row}: raw control bytes: {:?}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{row}: {}", ended.stderr);
    assert!(ended.stderr.len() < 8000, "{row}: {} bytes", ended.stderr.len());
}

/// Runs a script of the shell in a place, with the program and its words as `"$@"`
pub(crate) fn by_shell(place: &Place, script: &str, words: &[&str]) -> Command {
    let program = place.command(words);
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(program.get_program()).args(program.get_args());
    command.env_clear().current_dir(place.xfer.home());
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

/// The same in a mount namespace of its own, which takes what it mounts with it
pub(crate) fn mounted(place: &Place, script: &str, words: &[&str]) -> Command {
    let shell = by_shell(place, script, words);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    command.arg(shell.get_program()).args(shell.get_args());
    command.env_clear().current_dir(place.xfer.home());
    command.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Something of the stage that only a shell can do
pub(crate) fn shell(directory: &Path, script: &str) {
    let done = Command::new("bash").args(["-ec", script]).current_dir(directory).status().unwrap();
    assert!(done.success(), "{script}");
}
