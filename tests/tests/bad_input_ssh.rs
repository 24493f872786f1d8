//! Bad configurations of ssh, at the command line: one row each
//!
//! Goal: what ssh refuses is a configuration error before any connection, what ssh accepts gets as
//! far as the network, and the output cannot write to a terminal. Method: the host that all of them
//! reach is a closed port of this machine, and ssh itself is the judge of each row.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage may panic")]

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use xfer_tests::xfer::Xfer;

/// No bad input takes longer, on a machine that does nothing else; tests share one with others
const ENDS_WITHIN: Duration = Duration::from_secs(10);

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
    fn judge(&self, text: &[u8], code: i32) {
        let path = self.xfer.home().join("config");
        let end = format!("\nHost h\n  HostName 127.0.0.1\n  Port {}\n", self.port);
        fs::write(&path, [text, end.as_bytes()].concat()).unwrap();
        self.judge_file(path.to_str().unwrap(), code, &String::from_utf8_lossy(text));
    }

    fn judge_file(&self, path: &str, code: i32, row: &str) {
        let destination = self.xfer.home().join("d");
        let began = Instant::now();
        let words = ["pull", "-F", path, "--retries", "0", "h:x", destination.to_str().unwrap()];
        let ended = self.xfer.run(words);
        let row: String = row.chars().take(80).collect();
        assert_eq!(ended.code(), code, "{row:?}: {}", ended.stderr);
        assert!(began.elapsed() < ENDS_WITHIN, "{row:?} took {:?}", began.elapsed());
        let raw = |c: char| c.is_control() && c != '\n';
        assert!(!ended.stderr.contains(raw), "{row:?}: {:?}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{row:?}: {}", ended.stderr);
        assert_eq!(fs::read_dir(&destination).unwrap().count(), 1, "{row:?}");
        if row.contains('\0') || !std::path::Path::new(path).is_file() {
            return;
        }
        let ssh = Command::new("ssh").args(["-G", "-F", path, "h"]).output().unwrap();
        let refuses = !ssh.status.success();
        assert!(!refuses || code == REFUSED, "{row:?}: ssh refuses it, and we do not");
    }
}

#[test]
fn a_missing_file() {
    let place = Place::new();
    let missing = place.xfer.home().join("missing");
    place.judge_file(missing.to_str().unwrap(), REFUSED, "-F");
}

#[test]
fn values() {
    let place = Place::new();
    for text in [
        "Port abc",
        "Port 0",
        "Port 65536",
        "HostName",
        "User x y",
        "HostName %z",
        "IdentityFile %z",
        "IdentityFile ${XFER_TEST_NO_SUCH_VARIABLE}/key",
        "User \"unbalanced",
        "User \u{1b}[2J\u{7}\"",
        "HostKeyAlgorithms ssh-dss",
        "Ciphers none",
        "Ciphers 3des-cbc",
        "KexAlgorithms diffie-hellman-group1-sha1",
        "StrictHostKeyChecking perhaps",
        "Nonsense yes",
    ] {
        place.judge(text.as_bytes(), REFUSED);
    }
    for text in ["HostName %%h\nHost never", "User\tu", "User=u", "User = u", "User u\r"] {
        place.judge(text.replace("HostName %%h\n", "").as_bytes(), DIALLED);
    }
}

#[test]
fn bytes_that_are_no_text() {
    let place = Place::new();
    let long = [b"User ".as_slice(), &[b'u'; 1 << 20]].concat();
    let utf16 = b"\xff\xfeP\x00o\x00r\x00t\x00 \x002\x00";
    for text in [&long[..], &utf16[..]] {
        place.judge(text, REFUSED);
    }
    // ssh reads a line to its first NUL.
    place.judge(b"User u\0", DIALLED);
}

#[test]
fn inclusions_and_matches() {
    let place = Place::new();
    let home = place.xfer.home().display().to_string();
    fs::write(place.xfer.home().join("loop"), format!("Include {home}/loop\n")).unwrap();
    for depth in 0..20 {
        let next = format!("Include {home}/deep-{}\n", depth + 1);
        fs::write(place.xfer.home().join(format!("deep-{depth}")), next).unwrap();
    }
    place.judge(format!("Include {home}/loop").as_bytes(), REFUSED);
    place.judge(format!("Include {home}/deep-0").as_bytes(), REFUSED);
    place.judge(format!("Include {home}/none-*").as_bytes(), DIALLED);
    place.judge(b"Match host !x\n  User m", DIALLED);
    place.judge(b"Match exec false\n  User m", DIALLED);
    place.judge(b"Match nonsense x\n  User m", REFUSED);
}

#[test]
fn routes() {
    let place = Place::new();
    let many = (0..20).map(|n| format!("j{n}")).collect::<Vec<_>>().join(",");
    place.judge(b"ProxyJump none", DIALLED);
    place.judge(b"Host h\n  ProxyJump h", REFUSED);
    place.judge(format!("ProxyJump {many}").as_bytes(), REFUSED);
    place.judge(b"ProxyJump a;b", REFUSED);
    place.judge(b"ProxyCommand none", DIALLED);
    place.judge(b"ProxyCommand nc %z", REFUSED);
}
