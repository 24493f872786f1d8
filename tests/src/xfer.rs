//! The program as a user runs it, in a home of its own

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::net::Host;

/// No run of a test takes longer; one that does has hung
fn ends_within() -> Duration {
    Duration::from_secs(if long() { 3 * 3600 } else { 600 })
}

/// The freshly built program
///
/// `cargo xtask agent` is asked for it once in each test process, so that a test never judges an
/// old one; that is quick when nothing changed. `XFER_TEST_BINARY` names another to be judged
/// instead.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("XFER_TEST_BINARY") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

/// Whether what takes hours is asked for (`cargo xtask test --long`)
pub fn long() -> bool {
    std::env::var_os("XFER_TEST_LONG").is_some()
}

/// A home directory with nothing in it, and the program run from there
#[derive(Debug)]
pub struct Xfer {
    home: TempDir,
    host: Option<Host>,
    ssh_config: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
}

impl Default for Xfer {
    fn default() -> Self {
        Self::new()
    }
}

impl Xfer {
    /// A new home
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("home-").tempdir().expect("temp dir");
        Self { home, host: None, ssh_config: None, variables: Vec::new() }
    }

    /// Reads this file as ssh's configuration (`-F`), such as [`crate::sshd::Sshd::client_config`]
    #[must_use]
    pub fn ssh_config(mut self, path: PathBuf) -> Self {
        self.ssh_config = Some(path);
        self
    }

    /// Runs in a host of the network laboratory
    #[must_use]
    pub fn within(mut self, host: &Host) -> Self {
        self.host = Some(host.clone());
        self
    }

    /// Sets a variable of the environment
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The home directory
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `$XDG_STATE_HOME/xfer`
    pub fn state(&self) -> PathBuf {
        self.home().join("state/xfer")
    }

    /// The program with its arguments, not started
    ///
    /// The first argument is the verb. A command is in no host; [`Xfer::start`] brings it there.
    pub fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(binary());
        let mut arguments = arguments.into_iter();
        command.args(arguments.next());
        if let Some(path) = &self.ssh_config {
            command.arg("-F").arg(path);
        }
        command.args(arguments).env_clear().stdin(Stdio::null());
        command.env("HOME", self.home()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("LANG", "C.UTF-8").env("TZ", "UTC");
        for (name, place) in [
            ("XDG_STATE_HOME", "state"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            command.env(name, self.home().join(place));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program to its end
    pub fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Ended {
        self.start(arguments).wait()
    }

    /// Starts the program
    pub fn start<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Running {
        let command = self.command(arguments);
        match &self.host {
            Some(host) => host.within(|| Running::start(command)),
            None => Running::start(command),
        }
    }
}

/// The same command on what seems to be another machine, for it has its own view of the file
/// systems; needs root
pub fn elsewhere(plain: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.arg("--mount").arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null());
    command
}

/// The same command, which writes the largest memory that it took, in KiB, to a file at its end
pub fn measured(plain: &Command, to: &Path) -> Command {
    let mut command = Command::new("time");
    command.args(["-q", "-f", "%M", "-o"]).arg(to);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// What [`measured`] wrote: KiB
pub fn measurement(from: &Path) -> u64 {
    let text = std::fs::read_to_string(from).expect("apt-get install time");
    let numbers = text.lines().filter_map(|line| line.trim().parse::<u64>().ok());
    numbers.max().expect("a number of KiB")
}

/// A program that runs
#[derive(Debug)]
pub struct Running {
    child: Child,
    described: String,
    output: [Arc<Lines>; 2],
}

impl Running {
    /// Starts any command with its output captured
    pub fn start(mut command: Command) -> Self {
        let described = format!("{command:?}");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{described}: {error}"));
        let stdout = Lines::of(child.stdout.take().expect("piped"));
        let stderr = Lines::of(child.stderr.take().expect("piped"));
        Self { child, described, output: [stdout, stderr] }
    }

    /// The process
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of standard output that is wanted; `None` when there will be none
    pub fn next_line(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.output[0].next(wanted, Instant::now() + ends_within())
    }

    /// The next event of `--json` that is wanted; `None` when there will be none
    pub fn next_event(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let parsed = |line: &str| serde_json::from_str::<Value>(line).ok();
        let line = self.next_line(|line| parsed(line).as_ref().is_some_and(&wanted));
        line.and_then(|line| parsed(&line))
    }

    /// Sends a signal by its name, such as `KILL` or `TERM`
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no process {id} to send {name} to");
    }

    /// Waits for the end; panics when it does not come
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + ends_within();
        for lines in &self.output {
            if !lines.ended(deadline) {
                drop(self.child.kill());
                panic!("did not end: {}\n{}", self.described, self.output[1].text());
            }
        }
        let status = self.child.wait().expect("wait for a child");
        let [stdout, stderr] = [self.output[0].text(), self.output[1].text()];
        Ended { status, stdout, stderr, described: self.described.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How a run ended and what it said
#[derive(Clone, Debug)]
pub struct Ended {
    /// As the system reports it
    pub status: ExitStatus,
    /// Standard output, invalid UTF-8 replaced
    pub stdout: String,
    /// Standard error, invalid UTF-8 replaced
    pub stderr: String,
    described: String,
}

impl Ended {
    /// The exit code; 128 and the signal for a process that was killed
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Panics, with all that was said, unless the exit code is `code`
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{}", self.story());
        self
    }

    /// The events of `--json`, in order
    pub fn events(&self) -> Vec<Value> {
        let parse = |line| {
            serde_json::from_str(line).unwrap_or_else(|error| {
                panic!("{error} in {line:?}\n{}", self.story());
            })
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The last event of `--json`, which is the `result` of a run that ended by itself
    pub fn result(&self) -> Value {
        let last = self.events().pop().unwrap_or_default();
        assert_eq!(last["type"], "result", "the last event is no result\n{}", self.story());
        last
    }

    fn story(&self) -> String {
        let cut = |text: &str| text.chars().take(8000).collect::<String>();
        format!(
            "{}\n--- {}\n--- stdout\n{}\n--- stderr\n{}",
            self.described,
            self.status,
            cut(&self.stdout),
            cut(&self.stderr)
        )
    }
}

#[derive(Debug, Default)]
struct Lines {
    state: Mutex<LinesState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LinesState {
    text: String,
    unread: VecDeque<String>,
    ended: bool,
}

impl Lines {
    fn of(source: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let filled = Arc::clone(&lines);
        std::thread::spawn(move || filled.fill(source));
        lines
    }

    fn fill(&self, source: impl Read) {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.text.push_str(&text);
            state.unread.push_back(text.trim_end_matches('\n').to_owned());
            self.changed.notify_all();
            line.clear();
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }

    fn next(&self, wanted: impl Fn(&str) -> bool, deadline: Instant) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while let Some(line) = state.unread.pop_front() {
                if wanted(&line) {
                    return Some(line);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn ended(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, left, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    fn text(&self) -> String {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
    }
}

fn build() -> PathBuf {
    let output = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(["xtask", "agent"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("run cargo");
    assert!(output.status.success(), "the program does not build");
    let printed = String::from_utf8(output.stdout).expect("a path in UTF-8");
    PathBuf::from(printed.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_program_is_built_and_lies_in_a_private_home() {
        assert!(binary().is_file(), "{:?}", binary());
        let xfer = Xfer::new().ssh_config(PathBuf::from("/c")).env("A", "b");
        let command = xfer.command(["push", "x", "y"]);
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["push", "-F", "/c", "x", "y"]);
        let home = command.get_envs().find(|(name, _)| *name == "HOME").and_then(|(_, v)| v);
        assert_eq!(home, Some(xfer.home().as_os_str()));
    }

    #[test]
    fn lines_arrive_while_it_runs_and_a_kill_shows() {
        let running = Running::start(shell("echo a; echo '{\"type\":\"x\",\"n\":1}'; sleep 1000"));
        assert_eq!(running.next_line(|line| line == "a").as_deref(), Some("a"));
        let event = running.next_event(|event| event["type"] == "x").expect("an event");
        assert_eq!(event["n"], 1);
        drop(Command::new("pkill").args(["-KILL", "-P", &running.id().to_string()]).status());
        running.signal("KILL");
        assert_eq!(running.wait().code(), 137);
    }

    #[test]
    fn the_end_of_output_ends_the_wait() {
        let ended = Running::start(shell("echo out; echo err >&2; exit 3")).wait().expect_code(3);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
    }
}
