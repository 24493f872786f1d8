//! A private OpenSSH server for one test
//!
//! It listens on a free port of 127.0.0.1, or of a host of the network laboratory, accepts one key,
//! and sees a home directory of its own: a mount namespace lays `DIR/home` over the login
//! directory, so nothing a session writes below home touches the machine. Readiness is read from
//! the server's own log. Dropping it kills the server and every session.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::net::Host;

const SSHD: &str = "/usr/sbin/sshd";
const READY_WITHIN: Duration = Duration::from_secs(20);
const PORT_ATTEMPTS: usize = 20;

/// What a known_hosts file calls every server whose port may be another's
const HOST_KEY_ALIAS: &str = "relayed";

/// A running sshd
///
/// Needs root, `openssh-server` and `openssh-client`; their absence is a panic that names them.
#[derive(Debug)]
pub struct Sshd {
    directory: TempDir,
    station: Station,
    port: u16,
    child: Child,
    log: Arc<Log>,
}

/// A server that was killed: with it its view of what is mounted has gone
#[derive(Debug)]
pub struct Halted {
    directory: TempDir,
    station: Station,
    port: u16,
}

impl Halted {
    /// Starts it again on the same port with the same keys
    pub fn start(self, extra_config: &str) -> Sshd {
        Sshd::listen(self.directory, self.station, extra_config, Some(self.port))
    }
}

/// Where it listens
#[derive(Clone, Debug)]
struct Station {
    host: Option<Host>,
    address: Ipv4Addr,
}

impl Station {
    /// This machine, as itself
    fn here() -> Self {
        Self { host: None, address: Ipv4Addr::LOCALHOST }
    }

    fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        match &self.host {
            Some(host) => host.within(act),
            None => act(),
        }
    }

    fn free_port(&self) -> u16 {
        let listener = self.within(|| TcpListener::bind((self.address, 0)));
        let address = listener.and_then(|listener| listener.local_addr());
        address.expect("bind to a free port").port()
    }
}

impl Sshd {
    /// Starts a server; `extra_config` goes before the defaults, and in sshd_config the first value
    /// wins
    pub fn start(extra_config: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("sshd-").tempdir().expect("temp dir");
        Self::prepare(&directory);
        Self::listen(directory, Station::here(), extra_config, None)
    }

    /// The same in a host of the network laboratory, at an address that a link gave it
    pub fn start_within(host: &Host, address: Ipv4Addr, extra_config: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("sshd-").tempdir().expect("temp dir");
        Self::prepare(&directory);
        let station = Station { host: Some(host.clone()), address };
        Self::listen(directory, station, extra_config, None)
    }

    /// The same for a server that never sees what is mounted elsewhere later, as a container never
    /// does
    pub fn start_apart_within(host: &Host, address: Ipv4Addr) -> Self {
        let directory = tempfile::Builder::new().prefix("sshd-").tempdir().expect("temp dir");
        Self::prepare(&directory);
        fs::write(directory.path().join("apart"), "").expect("write");
        let station = Station { host: Some(host.clone()), address };
        Self::listen(directory, station, "", None)
    }

    /// The same for a user of that name, who is root in all but name
    pub fn start_for(user: &str, host: &Host, address: Ipv4Addr) -> Self {
        let directory = tempfile::Builder::new().prefix("sshd-").tempdir().expect("temp dir");
        Self::prepare(&directory);
        let users = fs::read_to_string("/etc/passwd").expect("read the users");
        let root = users.lines().find(|line| line.split(':').nth(2) == Some("0")).expect("root");
        let home = root.split(':').nth(5).expect("a home");
        let one = format!("{users}{user}:x:0:0::{home}:/bin/sh\n");
        fs::write(directory.path().join("passwd"), one).expect("write");
        let station = Station { host: Some(host.clone()), address };
        Self::listen(directory, station, "", None)
    }

    /// Starts a server whose sessions can write to one directory alone: it lies over their home,
    /// `/tmp`, `/var/tmp` and `/dev/shm`, and the rest of what they see is read-only; programs of
    /// these names cannot be run there
    pub fn start_confined_to(place: &Path, hidden: &[&str]) -> Self {
        // It must stay to be seen where all usual places are covered.
        let directory = tempfile::Builder::new().prefix("sshd-").tempdir_in("/srv");
        let directory = directory.expect("temp dir");
        Self::prepare(&directory);
        fs::write(directory.path().join("place"), place.as_os_str().as_bytes()).expect("write");
        fs::write(directory.path().join("hidden"), hidden.join(" ")).expect("write");
        Self::listen(directory, Station::here(), "", None)
    }

    fn prepare(directory: &TempDir) {
        for name in ["home", "home/.ssh"] {
            fs::create_dir(directory.path().join(name)).expect("create a directory");
        }
        for name in ["hostkey", "userkey"] {
            keygen(&directory.path().join(name), "ed25519");
        }
        fs::copy(directory.path().join("userkey.pub"), directory.path().join("authorized_keys"))
            .expect("authorize the user's key");
        fs::create_dir_all("/run/sshd").expect("sshd needs /run/sshd; run the tests as root");
    }

    /// Kills the server and its sessions, and starts it again on the same port with the same keys
    pub fn restart(self, extra_config: &str) -> Self {
        self.halt().start(extra_config)
    }

    /// Kills the server and its sessions
    pub fn halt(self) -> Halted {
        let station = self.station.clone();
        let (directory, port) = self.into_parts();
        Halted { directory, station, port }
    }

    /// The port on its address
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, which is 127.0.0.1 but for [`Sshd::start_within`]
    pub fn address(&self) -> Ipv4Addr {
        self.station.address
    }

    /// The process that listens
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The fixture's directory; keys, configurations and `home` lie in it
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What a session sees as its home directory
    pub fn home(&self) -> PathBuf {
        self.directory().join("home")
    }

    /// The private key that may log in
    pub fn user_key(&self) -> PathBuf {
        self.directory().join("userkey")
    }

    /// The list of keys that may log in
    pub fn authorized_keys(&self) -> PathBuf {
        self.directory().join("authorized_keys")
    }

    /// The login name, always `root`
    pub fn user(&self) -> &'static str {
        "root"
    }

    /// The host key's fingerprint as `SHA256:…`
    pub fn host_key_fingerprint(&self) -> String {
        fingerprint(&self.directory().join("hostkey.pub"))
    }

    /// The host key as `TYPE BASE64`, for a known_hosts line
    pub fn host_key(&self) -> String {
        public_key(&self.directory().join("hostkey.pub"))
    }

    /// A known_hosts file that lists this server
    pub fn known_hosts(&self) -> PathBuf {
        let path = self.directory().join("known_hosts");
        let (address, key) = (self.address(), self.host_key());
        let line = format!("{HOST_KEY_ALIAS},[{address}]:{} {key}\n", self.port);
        fs::write(&path, line).expect("write known_hosts");
        path
    }

    /// A client configuration for `ssh -F`, in which this server is called `name`
    ///
    /// It never reads or writes a file of the machine's own `~/.ssh`.
    pub fn client_config(&self, name: &str) -> PathBuf {
        let text = self.client_config_text(name);
        let path = self.directory().join(format!("ssh_config.{name}"));
        fs::write(&path, text).expect("write ssh_config");
        path
    }

    /// The same, by way of another port of this machine that leads to the server
    pub fn client_config_by_way_of(&self, name: &str, port: u16) -> PathBuf {
        let direct = format!("  Port {}\n", self.port);
        let other = format!("  Port {port}\n  HostKeyAlias {HOST_KEY_ALIAS}\n");
        let text = self.client_config_text(name).replace(&direct, &other);
        let path = self.directory().join(format!("ssh_config.{name}"));
        fs::write(&path, text).expect("write ssh_config");
        path
    }

    /// The text of [`Sshd::client_config`], for tests that join several servers in one file
    pub fn client_config_text(&self, name: &str) -> String {
        format!(
            "Host {name}\n  HostName {}\n  Port {}\n  User root\n  IdentityFile {}\n  \
             IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {}\n  \
             GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n",
            self.address(),
            self.port,
            self.user_key().display(),
            self.known_hosts().display(),
        )
    }

    /// Everything the server logged until now
    pub fn log(&self) -> String {
        self.log.lines().join("\n")
    }

    /// Waits until a line of the log contains `needle`, and returns that line
    ///
    /// Panics with the log after `within`.
    pub fn wait_for_log(&self, needle: &str, within: Duration) -> String {
        self.wait_for_log_once_more(needle, 0, within)
    }

    /// The same for a line beyond the first `count` that contain it
    pub fn wait_for_log_once_more(&self, needle: &str, count: usize, within: Duration) -> String {
        let seen = Cell::new(0);
        let is_it = |line: &str| line.contains(needle) && seen.replace(seen.get() + 1) == count;
        match self.log.wait(within, is_it) {
            Some(line) => line,
            None => panic!("sshd never logged {needle:?}; its log:\n{}", self.log()),
        }
    }

    /// How many lines of the log contain `needle`
    pub fn log_count(&self, needle: &str) -> usize {
        self.log.lines().iter().filter(|line| line.contains(needle)).count()
    }

    /// Kills every session and what runs in it; the server goes on listening
    pub fn kill_sessions(&self) {
        for process in descendants(self.child.id()) {
            kill(process);
        }
    }

    /// The process ids of every session and what runs in it
    pub fn session_processes(&self) -> Vec<u32> {
        descendants(self.child.id())
    }

    /// The programs that sessions run, such as agents: no shells, and none of its own
    pub fn programs(&self) -> Vec<u32> {
        let is_program = |process: &u32| {
            let path = fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            !name.starts_with("sshd") && !["", "sh", "dash", "bash"].contains(&&*name)
        };
        self.session_processes().into_iter().filter(is_program).collect()
    }

    /// The most memory that those ever had, in bytes
    pub fn peak_memory(&self) -> u64 {
        let peak = |process: u32| {
            let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()
        };
        self.programs().into_iter().filter_map(peak).sum::<u64>() << 10
    }

    fn listen(
        directory: TempDir,
        station: Station,
        extra_config: &str,
        wanted_port: Option<u16>,
    ) -> Self {
        for _ in 0..PORT_ATTEMPTS {
            let port = wanted_port.unwrap_or_else(|| station.free_port());
            write_config(directory.path(), station.address, port, extra_config);
            let (mut child, log) = station.within(|| spawn(directory.path()));
            let line = log.wait(READY_WITHIN, |line| {
                line.contains("Server listening on") || line.contains("Cannot bind")
            });
            match line {
                Some(line) if line.contains("Server listening on") => {
                    return Self { directory, station, port, child, log };
                }
                Some(_) => drop(child.wait()),
                None => {
                    drop(child.kill());
                    panic!("sshd did not start; its log:\n{}", log.lines().join("\n"));
                }
            }
        }
        panic!("no free port for sshd in {PORT_ATTEMPTS} attempts");
    }

    fn into_parts(mut self) -> (TempDir, u16) {
        self.stop();
        let empty = tempfile::tempdir().expect("temp dir");
        (std::mem::replace(&mut self.directory, empty), self.port)
    }

    fn stop(&mut self) {
        let sessions = descendants(self.child.id());
        drop(self.child.kill());
        drop(self.child.wait());
        sessions.into_iter().for_each(kill);
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes a key pair without a passphrase at `path` and `path.pub`
pub fn keygen(path: &Path, kind: &str) {
    keygen_with(path, &["-t", kind, "-N", ""]);
}

/// Makes a key pair at `path` with the given arguments of ssh-keygen
pub fn keygen_with(path: &Path, arguments: &[&str]) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-C", "test key"])
        .args(arguments)
        .arg("-f")
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .expect("ssh-keygen is missing: apt-get install openssh-client");
    assert!(status.success(), "ssh-keygen failed for {}", path.display());
}

/// The `SHA256:…` fingerprint of a public key file, by ssh-keygen
pub fn fingerprint(public_key: &Path) -> String {
    let output = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(public_key)
        .output()
        .expect("ssh-keygen is missing: apt-get install openssh-client");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(1).expect("ssh-keygen -l prints a fingerprint").to_owned()
}

/// `TYPE BASE64` of a public key file
pub fn public_key(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("read a public key");
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<LogLines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogLines {
    text: Vec<String>,
    ended: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogLines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> Vec<String> {
        self.lock().text.clone()
    }

    fn wait(&self, within: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + within;
        let mut seen = 0;
        let mut lines = self.lock();
        loop {
            if let Some(line) = lines.text[seen..].iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            seen = lines.text.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return None;
            }
            let woken = self.changed.wait_timeout(lines, left);
            lines = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn fill(&self, source: impl std::io::Read) {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.lock().text.push(text);
            self.changed.notify_all();
            line.clear();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

fn write_config(directory: &Path, address: Ipv4Addr, port: u16, extra: &str) {
    let path = |name: &str| directory.join(name).display().to_string();
    let text = format!(
        "{extra}\n\
         Port {port}\n\
         ListenAddress {address}\n\
         HostKey {}\n\
         AuthorizedKeysFile {}\n\
         PidFile none\n\
         StrictModes no\n\
         UsePAM no\n\
         UseDNS no\n\
         PermitRootLogin yes\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         LogLevel VERBOSE\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         Subsystem sftp internal-sftp\n",
        path("hostkey"),
        path("authorized_keys"),
    );
    fs::write(directory.join("sshd_config"), text).expect("write sshd_config");
}

fn spawn(directory: &Path) -> (Child, Arc<Log>) {
    assert!(Path::new(SSHD).exists(), "{SSHD} is missing: apt-get install openssh-server");
    // Slave propagation lets the server see what a test mounts later, and hides its own mount from
    // everybody.
    let script = "login_directory=$(getent passwd 0 | cut -d: -f6) && \
                  if [ -e \"$1/place\" ]; then place=$(cat \"$1/place\") && \
                  for d in \"$login_directory\" /var/tmp /dev/shm /tmp; do \
                  mount --bind \"$place\" \"$d\" || exit 1; done; \
                  for p in $(cat \"$1/hidden\"); do for f in $(which -a \"$p\"); do \
                  mount --bind /dev/null \"$f\" || exit 1; done; done; \
                  mount -o remount,bind,ro /; \
                  else mount --bind \"$1/home\" \"$login_directory\"; fi && \
                  if [ -e \"$1/passwd\" ]; then mount --bind \"$1/passwd\" /etc/passwd; fi && \
                  exec \"$2\" -D -e -f \"$1/sshd_config\"";
    let propagation = if directory.join("apart").exists() { "private" } else { "slave" };
    let mut child = Command::new("unshare")
        .args(["-m", "--propagation", propagation, "sh", "-c", script, "sh"])
        .arg(directory)
        .arg(SSHD)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare is missing: apt-get install util-linux");
    let log = Arc::new(Log::default());
    let stderr = child.stderr.take().expect("stderr is piped");
    let filled = Arc::clone(&log);
    std::thread::spawn(move || filled.fill(stderr));
    (child, log)
}

fn descendants(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut pending = vec![process];
    while let Some(parent) = pending.pop() {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        let children = text.split_whitespace().filter_map(|number| number.parse::<u32>().ok());
        for child in children {
            found.push(child);
            pending.push(child);
        }
    }
    found
}

fn kill(process: u32) {
    drop(Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(server: &Sshd, command: &str) -> std::process::Output {
        Command::new("ssh")
            .arg("-F")
            .arg(server.client_config("here"))
            .args(["here", command])
            .stdin(Stdio::null())
            .output()
            .expect("ssh is missing: apt-get install openssh-client")
    }

    #[test]
    fn a_session_sees_the_private_home() {
        let server = Sshd::start("");
        let output = ssh(&server, "pwd > marker; printf '%s' \"$HOME\"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let marker = fs::read_to_string(server.home().join("marker")).expect("written below home");
        assert_eq!(marker.trim_end().as_bytes(), output.stdout);
        server.wait_for_log("Accepted publickey", Duration::from_secs(5));
    }

    #[test]
    fn restarting_keeps_the_port_and_the_keys() {
        let server = Sshd::start("");
        let (port, key) = (server.port(), server.host_key());
        let server = server.restart("ForceCommand echo forced");
        assert_eq!((server.port(), server.host_key()), (port, key));
        assert_eq!(ssh(&server, "true").stdout, b"forced\n");
    }
}
