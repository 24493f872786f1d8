//! Bad configurations of ssh, at the command line: one row each
//!
//! Goal: what ssh refuses is a configuration error before any connection, what ssh accepts gets as
//! far as the network, and the output cannot write to a terminal. Method: the host that all of them
//! reach is a closed port of this machine, and ssh itself is the judge of each row.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use xfer_tests::xfer::{Running, Xfer};

use crate::place::{judge_words, shell};

/// No bad input takes longer where no machine is reached
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Runs of a case of which the fastest counts
const RUNS: usize = 3;

/// Refused before anything is dialled
const REFUSED: i32 = 3;

/// Understood, and the network is what fails
const DIALLED: i32 = 10;

struct Place {
    xfer: Xfer,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let xfer = Xfer::new();
        fs::create_dir(xfer.home().join("d")).unwrap();
        fs::write(xfer.home().join("d/kept"), "as it was").unwrap();
        Self { xfer, port }
    }

    /// Pulls with this text, behind a first line that makes sense, as the configuration.
    fn judge(&self, row: &str, text: &[u8], code: i32) {
        let path = self.xfer.home().join("config");
        let end = format!("\nHost h\n  HostName 127.0.0.1\n  Port {}\n", self.port);
        fs::write(&path, [text, end.as_bytes()].concat()).unwrap();
        self.judge_file(row, path.to_str().unwrap(), code, &String::from_utf8_lossy(text));
    }

    fn judge_file(&self, row: &str, path: &str, code: i32, text: &str) {
        let destination = self.xfer.home().join("d");
        let case: String = format!("{row}: {}", text.chars().take(80).collect::<String>());
        let words = ["pull", "-F", path, "--retries", "0", "h:x", destination.to_str().unwrap()];
        let mut fastest = Duration::MAX;
        for _ in 0..RUNS {
            let began = Instant::now();
            let ended = self.xfer.run(words);
            fastest = fastest.min(began.elapsed());
            assert_eq!(ended.code(), code, "{case:?}: {}", ended.stderr);
            let reasons: &[_] = match code {
                REFUSED => &["ssh-config-unusable", "key-unusable"],
                _ => &["host-unreachable", "connect-timeout"],
            };
            let reason = reasons.iter().find(|reason| ended.stderr.contains(*reason));
            judge_words(&case, &ended, code, reason.unwrap_or(&reasons[0]));
            assert_eq!(fs::read_dir(&destination).unwrap().count(), 1, "{case:?}");
            if fastest < ENDS_WITHIN {
                break;
            }
        }
        assert!(fastest < ENDS_WITHIN, "{case:?} took {fastest:?}");
        if text.contains('\0') || !std::path::Path::new(path).is_file() {
            return;
        }
        let ssh = Command::new("ssh").args(["-G", "-F", path, "h"]).output().unwrap();
        let refuses = !ssh.status.success();
        assert!(!refuses || code == REFUSED, "{case:?}: ssh refuses it, and we do not");
    }
}

#[test]
fn a_missing_file() {
    let place = Place::new();
    let missing = place.xfer.home().join("missing");
    place.judge_file("B-K1", missing.to_str().unwrap(), REFUSED, "-F");
    let words = ["pull", "-o", "HostName=127.0.0.1", "--port", &place.port.to_string(), "h:x", "d"];
    let ended = place.xfer.run(words);
    assert_eq!(ended.code(), DIALLED, "B-K1: no file at all: {}", ended.stderr);
}

#[test]
fn values() {
    let place = Place::new();
    for (row, text) in [
        ("B-K4", "Port abc"),
        ("B-K4", "Port 0"),
        ("B-K4", "Port 65536"),
        ("B-K4", "HostName"),
        ("B-K4", "User x y"),
        ("B-K5", "HostName %z"),
        ("B-K5", "IdentityFile %z"),
        ("B-K5", "IdentityFile ${XFER_TEST_NO_SUCH_VARIABLE}/key"),
        ("B-K6", "User \"unbalanced"),
        ("B-K6", "User \u{1b}[2J\u{7}\""),
        ("B-K10", "HostKeyAlgorithms ssh-dss"),
        ("B-K10", "Ciphers none"),
        ("B-K10", "Ciphers 3des-cbc"),
        ("B-K10", "KexAlgorithms diffie-hellman-group1-sha1"),
        ("B-K4", "StrictHostKeyChecking perhaps"),
        ("B-K4", "Nonsense yes"),
    ] {
        place.judge(row, text.as_bytes(), REFUSED);
    }
    for (row, text) in [
        ("B-K5", "IdentityFile /%h/%p/%r/%C/%%"),
        ("B-K6", "User\tu"),
        ("B-K6", "User=u"),
        ("B-K6", "User = u"),
        ("B-K6", "User u\r"),
        ("B-K8", "StrictHostKeyChecking no"),
        ("B-K8", "StrictHostKeyChecking off"),
    ] {
        place.judge(row, text.as_bytes(), DIALLED);
    }
}

#[test]
fn bytes_that_are_no_text() {
    let place = Place::new();
    let long = [b"User ".as_slice(), &[b'u'; 1 << 20]].concat();
    let utf16 = b"\xff\xfeP\x00o\x00r\x00t\x00 \x002\x00";
    for text in [&long[..], &utf16[..]] {
        place.judge("B-K6", text, REFUSED);
    }
    // ssh reads a line to its first NUL.
    place.judge("B-K6", b"User u\0", DIALLED);
}

#[test]
fn inclusions_and_matches() {
    let place = Place::new();
    let home = place.xfer.home().display().to_string();
    fs::write(place.xfer.home().join("loop"), format!("Include {home}/loop\n")).unwrap();
    fs::write(place.xfer.home().join("port"), "Port 1\n").unwrap();
    for depth in 0..20 {
        let next = format!("Include {home}/deep-{}\n", depth + 1);
        fs::write(place.xfer.home().join(format!("deep-{depth}")), next).unwrap();
    }
    place.judge("B-K2", format!("Include {home}/loop").as_bytes(), REFUSED);
    place.judge("B-K2", format!("Include {home}/deep-0").as_bytes(), REFUSED);
    place.judge("B-K2", format!("Include {home}/none-*").as_bytes(), DIALLED);
    place.judge("B-K2", b"Include none-relative", DIALLED);
    place.judge("B-K2", b"Include", REFUSED);
    // Of a file that cannot be read nothing is included, as by ssh.
    place.judge("B-K2", format!("Include {home}").as_bytes(), DIALLED);
    place.judge("B-K3", b"Match host !x\n  User m", DIALLED);
    place.judge("B-K3", b"Match exec false\n  User m", DIALLED);
    place.judge("B-K3", b"Match canonical\n  User m", DIALLED);
    place.judge("B-K3", b"Match nonsense x\n  User m", REFUSED);
    place.judge("B-K3", b"Host *\n  Port 1\n", DIALLED);
}

#[test]
fn routes() {
    let place = Place::new();
    let many = (0..20).map(|n| format!("j{n}")).collect::<Vec<_>>().join(",");
    place.judge("B-K7", b"ProxyJump none", DIALLED);
    place.judge("B-K7", b"Host h\n  ProxyJump h", REFUSED);
    place.judge("B-K7", format!("ProxyJump {many}").as_bytes(), REFUSED);
    place.judge("B-K7", b"ProxyJump a;b", REFUSED);
    place.judge("B-K7", b"ProxyCommand none", DIALLED);
    place.judge("B-K7", b"ProxyCommand nc %z", REFUSED);
    let by_address = format!("Host h\n  ProxyJump root@[::1]:{}", place.port);
    place.judge("B-K7", by_address.as_bytes(), DIALLED);
}

/// ssh looks for its own file in the home of the user database, so that is laid over
#[test]
fn files_that_others_may_write() {
    for (prepare, code) in [
        ("true", DIALLED),
        ("chmod 620 .ssh/config; chgrp 65534 .ssh/config", REFUSED),
        ("chmod 602 .ssh/config", REFUSED),
        ("chown 65534 .ssh/config", REFUSED),
    ] {
        let place = Place::new();
        let home = place.xfer.home();
        let text = format!("Host h\n  HostName 127.0.0.1\n  Port {}\n", place.port);
        fs::create_dir(home.join(".ssh")).unwrap();
        fs::write(home.join(".ssh/config"), text).unwrap();
        shell(home, &format!("chmod 600 .ssh/config; {prepare}"));
        let program = place.xfer.command(["pull", "h:x", "d"]);
        let script = "mount --bind \"$HOME\" \"$(getent passwd 0 | cut -d: -f6)\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(program.get_program()).args(program.get_args()).env_clear().current_dir(home);
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = Running::start(command).wait();
        assert_eq!(ended.code(), code, "B-K9: {prepare}: {}", ended.stderr);
        if code == REFUSED {
            judge_words("B-K9", &ended, REFUSED, "ssh-config-unusable");
            assert!(ended.stderr.contains("ermissions"), "B-K9: {}", ended.stderr);
        }
    }
}
