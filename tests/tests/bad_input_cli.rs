//! Bad input at the command line, in locations and in the environment: one row each
//!
//! Goal: whatever is typed or set, the program ends soon with the right class, says so in words
//! that cannot write to a terminal, starts no process and leaves the destination as it was. Method:
//! each row runs the program in a place of its own; `ssh` there is a program that leaves a mark.

#![allow(
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that cannot set its stage may panic"
)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xfer_tests::xfer::{Ended, Running, Xfer};

/// No bad input takes longer, on a machine that does nothing else; tests share one with others
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// A row: what is typed, the exit code, the reason.
type Row<'a> = (&'a [&'a str], i32, &'a str);

#[test]
fn verbs_and_flags() {
    let rows: &[Row<'_>] = &[
        (&[], 2, "no-verb"),
        (&["frobnicate"], 2, "unknown-verb"),
        (&["push"], 2, "missing-operand"),
        (&["push", "@s"], 2, "missing-operand"),
        (&["pull", "@s"], 2, "missing-operand"),
        (&["verify", "@s"], 2, "missing-operand"),
        (&["receipt"], 2, "no-verb"),
        (&["receipt", "burn", "@s"], 2, "unknown-verb"),
        (&["config"], 2, "no-verb"),
        (&["push", "--frobnicate", "@s", "@d"], 2, "unknown-flag"),
        (&["push", "-Q", "@s", "@d"], 2, "unknown-flag"),
        (&["push", "--json", "--json", "@s", "@d"], 2, "flags-conflict"),
        (&["push", "-j", "2", "--streams", "2", "@s", "@d"], 2, "flags-conflict"),
        (&["push", "--checksum", "--quick", "@s", "@d"], 2, "flags-conflict"),
        (&["push", "--quiet", "--verbose", "@s", "@d"], 2, "flags-conflict"),
        (&["push", "--files-from", "@s", "--files-from0", "@s", "@s", "@d"], 2, "flags-conflict"),
        (&["push", "--no-streams", "@s", "@d"], 2, "unknown-flag"),
        (&["push", "--xattrs=1", "@s", "@d"], 2, "bad-value"),
        (&["sync", "@s", "@d"], 2, "not-in-this-version"),
        (&["destroy", "vast:1"], 2, "not-in-this-version"),
        (&["push", "--delete", "@s", "@d"], 2, "not-in-this-version"),
        (&["push", "--detach", "@s", "@d"], 2, "not-in-this-version"),
        (&["push", "--compress", "zstd", "@s", "@d"], 2, "not-in-this-version"),
        (&["push", "--gate", "--dry-run", "@s", "@d"], 2, "unknown-flag"),
        (&["push", "--gate", "--ignore-errors", "@s", "@d"], 2, "unknown-flag"),
        (&["push", "--gate", "--size-only", "@s", "@d"], 2, "unknown-flag"),
        (&["push", "--api-key", "sesame", "@s", "@d"], 2, "secret-in-arguments"),
        (&["push", "--api-key=sesame", "@s", "@d"], 2, "secret-in-arguments"),
        (&["completions", "tcsh"], 2, "bad-value"),
        (&["pull", "@s", "h:d"], 2, "pull-elsewhere"),
        (&["rehearse", "@d"], 2, "not-empty"),
        (&["agent"], 2, "bad-value"),
        (&["agent", "--session", "xyz"], 2, "bad-value"),
    ];
    judge_rows(rows);
}

#[test]
fn values() {
    let bad: &[(&str, &[&str])] = &[
        ("--streams", &["0", "-1", "99999999", "1e9", "٣", "", "0x4", " 4", "NaN"]),
        ("--bwlimit", &["10XB", "-5M", "NaN", "18446744073709551616", "100", "0MB/s", "inf", ""]),
        ("--min-size", &["-1", "NaN", "٣", "18446744073709551616", "1 GB", "10XB", ""]),
        ("--max-age", &["-1s", "NaN", "1y", "2026-02-30T00:00:00Z", "99999999999999999h", ""]),
        ("--stall-timeout", &["0s", "-1s", "2026-01-01T00:00:00Z", "30"]),
        ("--retries", &["-1", "1e3", "99999999999", ""]),
        ("--reserve", &["-1", "1XB"]),
        ("--verify", &["", "full", "DURABLE", "\u{1b}[2J"]),
        ("--route", &["", "quic", "lan", "carrier-pigeon"]),
        ("--port", &["0", "70000", "-1", "22x", "٣"]),
        ("--color", &["sometimes"]),
        ("--jump", &["", "a\nb"]),
    ];
    let mut rows = Vec::new();
    for (flag, values) in bad {
        rows.extend(values.iter().map(|value| vec!["push", *flag, *value, "@s", "@d"]));
    }
    for words in &rows {
        judge_rows(&[(words.as_slice(), 2, "bad-value")]);
    }
}

#[test]
fn patterns_and_lists() {
    let long = "a".repeat(100_000);
    let nested = "{".repeat(3000);
    for pattern in ["[", "a[!", "", &long, &nested, "[z-a]"] {
        for flag in ["--exclude", "--include"] {
            judge_rows(&[(&["push", flag, pattern, "@s", "@d"], 2, "bad-pattern")]);
        }
    }
    for flag in ["--exclude-from", "--files-from", "--files-from0"] {
        for (file, reason) in [
            ("@missing", "config-missing"),
            ("@s", "config-unreadable"),
            ("@fifo", "config-unreadable"),
            ("@world", "config-exposed"),
        ] {
            judge_rows(&[(&["push", flag, file, "@s", "@d"], 3, reason)]);
        }
    }
    judge_rows(&[
        (&["push", "--exclude-from", "@huge", "@s", "@d"], 3, "config-too-large"),
        (&["push", "--exclude-from", "@broken-patterns", "@s", "@d"], 2, "bad-pattern"),
        (&["push", "--files-from", "@climbing", "@s", "@d"], 3, "config-malformed"),
        (&["push", "--events", "@fifo", "@s", "@d"], 3, "output-unwritable"),
        (&["push", "--events", "@s", "@s", "@d"], 3, "output-unwritable"),
        (&["push", "--log-file", "/nonexistent/x", "@s", "@d"], 3, "output-unwritable"),
        (&["receipt", "show", "@missing"], 4, "not-found"),
        (&["receipt", "show", "@file"], 14, "receipt-malformed"),
        (&["receipt", "export", "@empty"], 14, "receipt-malformed"),
        (&["verify", "@d", "--against", "@empty"], 14, "manifest-malformed"),
        (&["verify", "@d", "--against", "@file"], 14, "manifest-malformed"),
        (&["verify", "@d", "--against", "@missing"], 4, "not-found"),
        (&["ls", "@missing"], 4, "not-found"),
    ]);
}

#[test]
fn locations() {
    let long = format!("{}:p", "a".repeat(300));
    let rows: &[(&str, &str)] = &[
        ("", "location-empty"),
        ("-", "location-dash"),
        (&long, "bad-host"),
        (":p", "host-missing"),
        ("-oProxyCommand=id:p", "bad-host"),
        ("-l@h:p", "bad-user"),
        ("h$(id):p", "bad-host"),
        ("h`id`:p", "bad-host"),
        ("h x:p", "bad-host"),
        ("h\nx:p", "bad-host"),
        ("h\u{1b}[2J:p", "bad-host"),
        ("h%0a:p", "bad-host"),
        ("33402296:/p", "bad-host"),
        ("h:~root/x", "other-home"),
        ("u:sesame@h:p", "password-in-location"),
        ("[::1", "bad-address"),
        ("ssh://", "host-missing"),
        ("ssh://h:0/", "bad-port"),
        ("ssh://h:70000/", "bad-port"),
        ("ssh://h:-1/", "bad-port"),
        ("ssh://h:65536/", "bad-port"),
        ("ssh://h:22x/", "bad-port"),
        ("ssh://h:/", "bad-port"),
        ("ssh://[::1", "bad-address"),
        ("ssh://::1/x", "bad-port"),
        ("ssh://-oProxyCommand=id/x", "bad-host"),
        ("ssh://-l@h/x", "bad-user"),
        ("ssh://h%0a/x", "bad-host"),
        ("ssh://u:sesame@h/x", "password-in-location"),
        ("ssh://u:se/sesame@h/x", "password-in-location"),
        ("ssh://h/%00", "location-nul"),
        ("ssh://h/..%2fx", "bad-encoding"),
        ("ssh://h/%2e%2e/x", "bad-encoding"),
        ("ssh://h/%zz", "bad-encoding"),
        ("file://remote/x", "file-on-another-machine"),
        ("file:///..%2f", "bad-encoding"),
        ("ftp://h/x", "unknown-scheme"),
        ("s3://", "not-in-this-version"),
        ("s3:///k", "not-in-this-version"),
        ("s3://B_UPPER/k", "not-in-this-version"),
        ("s3://b/../c", "not-in-this-version"),
        ("s3://b/k?x", "not-in-this-version"),
        ("https://h/x?sig=sesame", "not-in-this-version"),
        ("vast://", "not-in-this-version"),
        ("vast://-1", "not-in-this-version"),
        ("vast:1:/x", "not-in-this-version"),
        ("vast:", "not-in-this-version"),
        ("sky://", "not-in-this-version"),
        ("sky:c:/x", "not-in-this-version"),
        ("runpod:i:/x", "not-in-this-version"),
        ("lambda:i:/x", "not-in-this-version"),
        ("xfer://h:1/r", "not-in-this-version"),
        ("gs://b/p", "not-in-this-version"),
        ("az://c/p", "not-in-this-version"),
        ("b2://b/p", "not-in-this-version"),
        ("rclone:r:p", "not-in-this-version"),
        ("hf://o/m", "not-in-this-version"),
    ];
    for (text, reason) in rows {
        judge_rows(&[
            (&["push", "--", text, "@d"], 2, reason),
            (&["push", "--", "@s", text], 2, reason),
        ]);
    }
    judge_rows(&[(&["ls", "u:sesame@h:p"], 2, "password-in-location")]);
}

#[test]
fn one_end_inside_the_other() {
    judge_rows(&[
        (&["push", "@s", "@s"], 2, "destination-in-source"),
        (&["push", "@s", "@s/deep"], 2, "destination-in-source"),
        (&["push", "@s/", "@s/deep/"], 2, "destination-in-source"),
        (&["push", "@s", "@link-to-source/deep/"], 2, "destination-in-source"),
        (&["push", "@s/", "@s"], 2, "same-entry"),
        (&["push", "@s/", "@link-to-source/"], 2, "same-entry"),
        (&["push", "@s/file", "@s/file"], 2, "same-entry"),
        (&["push", "@s/file", "@s/"], 2, "same-entry"),
        (&["push", "@s/file", "@copy/file", "@d/"], 2, "same-last-name"),
        (&["push", "@s", "@file", "@file"], 2, "not-a-directory"),
        (&["push", "@s", "@file/"], 2, "not-a-directory"),
        (&["push", "@missing", "@d"], 4, "not-found"),
        (&["push", "@file/below", "@d"], 4, "not-found"),
    ]);
}

/// A bind mount gives a directory two names, and neither lies below the other
#[test]
fn one_end_inside_the_other_by_a_mount() {
    let script = "mount --bind \"$0/s\" \"$0/copy\" && exec \"$@\"";
    for (source, destination, reason) in [
        ("@s", "@copy/deep", "destination-in-source"),
        ("@s/", "@copy/deep/", "destination-in-source"),
        ("@s/", "@copy/", "same-entry"),
    ] {
        let place = Place::new();
        let before = contents(&place.path("s"));
        let program = place.xfer.command(place.words(&["push", source, destination]));
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(place.xfer.home());
        command.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        place.judge(Running::start(command), 2, reason);
        assert_eq!(contents(&place.path("s")), before, "the source was touched");
    }
}

#[test]
fn manifests() {
    let digest = "0".repeat(64);
    let row = |name: &str| format!("{digest}  {name}\n");
    let twice = format!("{}{}  a\n", row("a"), "1".repeat(64));
    for (text, code, reason) in [
        (row("../up"), 16, "manifest-unsafe"),
        (row("/absolute"), 16, "manifest-unsafe"),
        (row("a//b"), 16, "manifest-unsafe"),
        (row("a\0b"), 16, "manifest-unsafe"),
        (row(&"a/".repeat(6000)), 16, "manifest-unsafe"),
        (twice, 16, "manifest-unsafe"),
        (format!("{}garbage", row("a")), 14, "manifest-malformed"),
        (digest[1..].to_owned(), 14, "manifest-malformed"),
        (format!("{digest}g  a\n"), 14, "manifest-malformed"),
        ("{\"schema\":\"xfer.receipt/999\"}\n".to_owned(), 14, "manifest-malformed"),
        (format!("{}{}", "{", "[".repeat(100_000)), 14, "manifest-malformed"),
    ] {
        let place = Place::new();
        fs::write(place.path("manifest"), text).unwrap();
        let words = place.words(&["verify", "@d", "--against", "@manifest"]);
        place.judge(place.xfer.start(words), code, reason);
    }
}

/// A receipt that was cut anywhere, or has anything behind its end, is not believed
#[test]
fn damaged_receipts() {
    let place = Place::new();
    let pushed = place.xfer.run(place.words(&["push", "--receipt", "@r", "@s", "@copy/"]));
    pushed.expect_code(0);
    let whole = fs::read(place.path("r")).unwrap();
    let lines: Vec<usize> = (1..whole.len()).filter(|at| whole[at - 1] == b'\n').collect();
    let cuts = lines.iter().copied().chain((1..whole.len()).step_by(whole.len() / 5));
    let longer = [&whole[..], b"{}\n"].concat();
    for bytes in cuts.map(|cut| &whole[..cut]).chain([&longer[..]]) {
        fs::write(place.path("r"), bytes).unwrap();
        let ended = place.xfer.run(place.words(&["verify", "@copy/s", "--against", "@r"]));
        assert!([7, 14].contains(&ended.code()), "{}: {}", bytes.len(), ended.stderr);
        assert_shown_safely(&ended);
    }
}

#[test]
fn directories_of_state() {
    for (prepare, code, reason) in [
        ("mkdir -p state/xfer; chmod 777 state/xfer", 3, "config-exposed"),
        ("mkdir -p state/xfer; chown 65534 state/xfer", 3, "config-exposed"),
        ("mkdir -p state elsewhere; ln -s ../elsewhere state/xfer", 3, "config-exposed"),
        ("touch state", 14, "state-unwritable"),
    ] {
        let place = Place::new();
        let mut command = Command::new("sh");
        command.args(["-c", prepare]).current_dir(place.xfer.home());
        assert!(command.status().unwrap().success(), "{prepare}");
        place.judge(place.xfer.start(place.words(&["push", "@s", "@d"])), code, reason);
    }
}

#[test]
fn odd_names_are_names() {
    let place = Place::new();
    for name in
        [&b"-rf"[..], b"~user", b"*?[x]", b"a\nb", b"\xff\xfe", b"\xed\xa0\x80", b" ", b"--"]
    {
        let name = OsStr::from_bytes(name);
        fs::write(place.path("named").join(name), "x").unwrap();
        let destination = place.path("d");
        let words: [&OsStr; 4] = ["push".as_ref(), "--".as_ref(), name, destination.as_os_str()];
        let mut command = place.xfer.command(words);
        command.current_dir(place.path("named"));
        let ended = Running::start(command).wait().expect_code(0);
        assert_shown_safely(&ended);
        assert_eq!(fs::read(place.path("d").join(name)).unwrap(), b"x", "{name:?}");
    }
    let long = "a".repeat(120 * 1024);
    for words in [["push", &long, "d"], ["push", "s", &long]] {
        let ended = place.xfer.run(words).expect_code(2);
        assert!(ended.stderr.len() < 2000, "{} bytes", ended.stderr.len());
        assert_shown_safely(&ended);
    }
}

#[test]
fn environments() {
    let rows: &[(&[(&str, Option<&str>)], i32, &str)] = &[
        (&[("HOME", None), ("XDG_STATE_HOME", None)], 3, "no-directory"),
        (&[("HOME", Some("relative")), ("XDG_STATE_HOME", None)], 3, "no-directory"),
        (&[("HOME", Some("/nonexistent")), ("XDG_STATE_HOME", None)], 3, "no-directory"),
        (&[("HOME", Some("")), ("XDG_STATE_HOME", Some("relative"))], 3, "no-directory"),
        (&[("XFER_STREAMS", Some("0"))], 2, "bad-value"),
        (&[("XFER_JSON", Some("maybe"))], 2, "bad-value"),
        (&[("XFER_VERIFY", Some("\u{1b}]0;x\u{7}"))], 2, "bad-value"),
        (&[("XFER_EXCLUDE", Some("[")), ("TMPDIR", Some("/nonexistent"))], 2, "bad-pattern"),
        (&[("XFER_CONFIG", Some("/nonexistent"))], 3, "config-missing"),
        (&[("XFER_CONFIG", Some("/"))], 3, "config-unreadable"),
    ];
    for (variables, code, reason) in rows {
        let place = Place::new();
        let mut command = place.xfer.command(place.words(&["push", "@s", "@d"]));
        for (name, value) in *variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        place.judge(Running::start(command), *code, reason);
    }
}

#[test]
fn projects_cannot_name_commands() {
    for (text, reason) in [
        ("agent-binary = '/bin/sh'", "config-forbidden-key"),
        ("ssh-option = ['ProxyCommand=touch mark']", "config-forbidden-key"),
        ("identity = ['/etc/shadow']", "config-forbidden-key"),
        ("command = 'id'", "config-unknown-key"),
        ("streams = 0", "bad-value"),
        ("streams = ", "config-malformed"),
    ] {
        let place = Place::new();
        fs::write(place.path("s/.xfer.toml"), text).unwrap();
        let mut command = place.xfer.command(place.words(&["push", "@s", "@d"]));
        command.current_dir(place.path("s"));
        place.judge(Running::start(command), 3, reason);
    }
}

#[test]
fn surroundings_that_work_all_the_same() {
    for script in [
        "exec \"$@\" <&-",
        "exec \"$@\" >&-",
        "exec \"$@\" 2>&-",
        "exec \"$@\" <&- >&- 2>&-",
        "umask 0777; exec \"$@\"",
        "mkdir gone; cd gone; rmdir ../gone; exec \"$@\"",
        "TERM= COLUMNS=0 LC_ALL=C exec \"$@\"",
        "ulimit -n 4096; for i in $(seq 3 1000); do eval \"exec $i</dev/null\"; done; exec \"$@\"",
        "HTTPS_PROXY=http://u:p@x RUST_LOG=trace exec \"$@\"",
    ] {
        let place = Place::new();
        let program = place.xfer.command(place.words(&["push", "@s", "@d/"]));
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash"]).arg(program.get_program()).args(program.get_args());
        command.env_clear().current_dir(place.xfer.home());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let ended = Running::start(command).wait();
        assert_eq!(ended.code(), 0, "{script}: {}", ended.stderr);
        assert!(!ended.stderr.contains("u:p"), "{script}");
        assert_eq!(fs::read(place.path("d/s/file")).unwrap(), b"file", "{script}");
    }
}

#[test]
fn output_that_nobody_reads_is_no_success() {
    let place = Place::new();
    for words in [&["man"][..], &["push", "@s", "@d", "--json"], &["ls", "@s"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.xfer.command(place.words(words));
        let status = command.stdout(writer).stderr(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(1), "{words:?}");
    }
    let mut command = place.xfer.command(place.words(&["man"]));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(command.stdout(full).status().unwrap().code(), Some(1));
}

fn judge_rows(rows: &[Row<'_>]) {
    for (words, code, reason) in rows {
        let place = Place::new();
        let command = place.xfer.command(place.words(words));
        place.judge(Running::start(command), *code, reason);
    }
}

/// A source, a destination, and files of every bad kind.
struct Place {
    xfer: Xfer,
    destination: BTreeMap<PathBuf, Vec<u8>>,
}

impl Place {
    fn new() -> Self {
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
        let destination = contents(&home.join("d"));
        Self { xfer, destination }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.xfer.home().join(name)
    }

    /// `@name` is a place of this one.
    fn words(&self, words: &[&str]) -> Vec<OsString> {
        let word = |word: &&str| match word.strip_prefix('@') {
            Some(name) => OsString::from(format!("{}/{name}", self.xfer.home().display())),
            None => OsString::from(word),
        };
        words.iter().map(word).collect()
    }

    fn judge(&self, running: Running, code: i32, reason: &str) {
        let began = Instant::now();
        let ended = running.wait().expect_code(code);
        assert!(began.elapsed() < ENDS_WITHIN, "it took {:?}", began.elapsed());
        let last = ended.stderr.lines().last().unwrap_or_default();
        assert_eq!(last, format!("  exit {code} {reason}"), "{}", ended.stderr);
        assert_shown_safely(&ended);
        assert!(!ended.stderr.contains("sesame"), "a secret was repeated: {}", ended.stderr);
        assert!(!self.path("mark").exists(), "a process was started");
        assert_eq!(contents(&self.path("d")), self.destination, "the destination was touched");
    }
}

fn assert_shown_safely(ended: &Ended) {
    let raw = |c: char| c.is_control() && c != '\n';
    assert!(!ended.stderr.contains(raw), "raw control bytes: {:?}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, Vec::new());
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}
