//! Private keys that cannot be used, at the command line

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use xfer_tests::sshd::{Sshd, keygen_with};
use xfer_tests::xfer::Xfer;

use crate::place::judge_words;

fn file(directory: &Path, name: &str, text: &[u8], mode: u32) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// Key files, with the row and a word that the refusal must hold
fn unusable(server: &Sshd) -> Vec<(&'static str, PathBuf, &'static str)> {
    let place = server.directory();
    let file = |name, text: &[u8], mode| file(place, name, text, mode);
    let good = fs::read(server.user_key()).unwrap();
    let public = fs::read(place.join("userkey.pub")).unwrap();
    let fifo = place.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let endless = place.join("endless");
    symlink("/dev/zero", &endless).unwrap();
    let foreign = file("foreign", &good, 0o640);
    chown(&foreign, Some(65534), None).unwrap();
    let locked = place.join("locked");
    keygen_with(&locked, &["-t", "ed25519", "-N", "sesame"]);
    fs::copy(place.join("locked.pub"), server.authorized_keys()).unwrap();
    let dsa = b"-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----\n";
    let putty = b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n";
    vec![
        ("B-P1", place.join("missing"), "no such file"),
        ("B-P1", file("open", &good, 0o644), "chmod 600"),
        ("B-P1", file("wide", &good, 0o666), "chmod 600"),
        ("B-P1", foreign, "belongs to user 65534"),
        ("B-P1", place.to_owned(), "not a regular file"),
        ("B-P1", fifo, "not a regular file"),
        ("B-P1", endless, "not a regular file"),
        ("B-P2", file("empty", b"", 0o600), "empty"),
        ("B-P2", file("public", &public, 0o600), "public key"),
        ("B-P2", file("putty", putty, 0o600), "puttygen"),
        ("B-P2", file("truncated", &good[..good.len() / 2], 0o600), "not a private key"),
        ("B-P2", file("text", b"hello\n", 0o600), "not a private key"),
        ("B-P2", file("binary", &[0xff, 0xfe, 0, 1], 0o600), "not a private key"),
        ("B-P2", locked, "passphrase"),
        ("B-P3", file("dsa", dsa, 0o600), "not supported"),
    ]
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_why() {
    let server = Sshd::start("");
    let keys = unusable(&server);
    let config = server.directory().join("ssh_config.keyless");
    let text = server.client_config_text("host");
    let lines: Vec<_> = text.lines().filter(|line| !line.contains("Identit")).collect();
    fs::write(&config, format!("{}\n  IdentityAgent none\n", lines.join("\n"))).unwrap();
    let there = server.directory().join("there");
    for (row, key, says) in keys {
        let xfer = Xfer::new().ssh_config(config.clone());
        fs::write(xfer.home().join("source"), "content").unwrap();
        let mut command = xfer.command(["push", "-i"]);
        command.arg(&key).arg(xfer.home().join("source"));
        command.arg(format!("host:{}", there.display()));
        let ended = xfer_tests::xfer::Running::start(command).wait();
        judge_words(row, &ended, 3, "key-unusable");
        let name = key.display().to_string();
        for word in [&name, says] {
            assert!(ended.stderr.contains(word), "{row}: no {word:?} in {}", ended.stderr);
        }
        assert!(!there.exists(), "{row}: {name}");
    }
    assert_eq!(server.log_count("Accepted publickey"), 0);
}

#[test]
fn a_revoked_host_is_refused_at_the_command_line() {
    let server = Sshd::start("");
    let text = server.client_config_text("host");
    let known = server.directory().join("revoked");
    let (port, key) = (server.port(), server.host_key());
    fs::write(&known, format!("[127.0.0.1]:{port} {key}\n@revoked * {key}\n")).unwrap();
    let config = server.directory().join("ssh_config.revoked");
    let first = format!("UserKnownHostsFile {}\nStrictHostKeyChecking no\n", known.display());
    fs::write(&config, first + &text).unwrap();
    let xfer = Xfer::new().ssh_config(config);
    let ended = xfer.run(["pull", "host:x", "d"]);
    judge_words("B-P4", &ended, 11, "host-key-revoked");
    assert!(ended.stderr.contains(&server.host_key_fingerprint()), "{}", ended.stderr);
    assert!(ended.stderr.contains(known.to_str().unwrap()), "{}", ended.stderr);
}
