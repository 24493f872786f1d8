//! Nothing secret in arguments, in other processes' environments, in logs, events, errors or on the
//! far side: a scan for each canary while things run, and after

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use xfer_tests::tree;
use xfer_tests::vast_api::Answer;
use xfer_tests::xfer::Xfer;

use super::logins::{ID, Rented, THERE};
use super::{LIST, SHOW};

const ACCOUNT_KEY: &str = "canary-account-key-scanned";
const JUPYTER: &str = "canary-jupyter-token-scanned";
const ONSTART: &str = "canary-onstart-secret-scanned";

/// Each secret with what it is
type Canaries = BTreeMap<&'static str, String>;

fn found_in<'a>(canaries: &'a Canaries, bytes: &[u8]) -> Option<&'a str> {
    let holds = |secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    canaries.iter().find(|(_, secret)| holds(secret)).map(|(name, _)| *name)
}

/// How often a child is looked at that has not begun its own program
const LOOKS_MAX: usize = 100_000;

fn assert_none(canaries: &Canaries, what: &str, id: u32, bytes: &[u8]) {
    let name = found_in(canaries, bytes);
    let said = String::from_utf8_lossy(bytes).replace('\0', " ");
    assert_eq!(name, None, "in the {what} of {id}: {said}");
}

/// Looks at every process; `own` is the one that was given the account's key in its environment
fn scan_processes(canaries: &Canaries, own: u32) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir("/proc").expect("/proc").filter_map(Result::ok) {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read = |what: &str| fs::read(entry.path().join(what));
        for look in 0.. {
            // A process may be over by now.
            let Ok(arguments) = read("cmdline") else { break };
            assert_none(canaries, "arguments", id, &arguments);
            seen += 1;
            let Ok(environment) = read("environ") else { break };
            if id == own || found_in(canaries, &environment).is_none() {
                break;
            }
            // Until it has begun its own program a child shows what its parent was given.
            let is_begun = fs::read(format!("/proc/{own}/cmdline")).ok() != Some(arguments);
            assert!(look < LOOKS_MAX || is_begun, "{id} stays what its parent is");
            if is_begun {
                assert_none(canaries, "environment", id, &environment);
            }
        }
    }
    seen
}

/// Looks at every file below a directory; how many these are
fn scan_files(canaries: &Canaries, below: &Path, except: &[&Path]) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir(below).expect("list").filter_map(Result::ok) {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if except.contains(&path.as_path()) {
            continue;
        }
        if kind.is_dir() {
            seen += scan_files(canaries, &path, except);
        } else if kind.is_file() {
            seen += 1;
            let bytes = fs::read(&path).expect("read");
            let name = found_in(canaries, &bytes);
            assert_eq!(name, None, "in {}", path.display());
        }
    }
    seen
}

/// Runs the program, looking at all processes while it does, and at what it prints
fn watched(xfer: &Xfer, canaries: &Canaries, arguments: &[&str], code: i32) {
    let log = xfer.home().join("log");
    let events = xfer.home().join("events");
    let (log, events) = (log.display().to_string(), events.display().to_string());
    let more = ["-v", "-v", "--log-file", &log, "--events", &events];
    let is_over = AtomicBool::new(false);
    let running = xfer.start([arguments, &more].concat());
    let own = running.id();
    let ended = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = 0;
            while !is_over.load(Ordering::Relaxed) {
                seen += scan_processes(canaries, own);
            }
            seen
        });
        let ended = running.wait();
        is_over.store(true, Ordering::Relaxed);
        assert!(watching.join().expect("no canary") > 0);
        ended
    });
    let ended = ended.expect_code(code);
    for text in [&ended.stdout, &ended.stderr] {
        assert_eq!(found_in(canaries, text.as_bytes()), None, "{arguments:?}: {text}");
    }
    let kept = scan_files(canaries, &xfer.home().join("state"), &[]);
    assert!(kept > 0 || code != 0, "{arguments:?}");
}

/// The middle of the private half, which no other file holds
fn private_half(rented: &Rented) -> String {
    let text = fs::read_to_string(rented.machine.user_key()).expect("read");
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len() / 2].to_owned()
}

/// The acceptance of issue 4.
#[test]
fn no_secret_is_where_anybody_else_could_find_it() {
    let rented = Rented::keyed(ACCOUNT_KEY);
    rented.stand.api.set(ID, "jupyter_token", json!(JUPYTER));
    rented.stand.api.set(ID, "onstart", json!(format!("export KEY={ONSTART}")));
    rented.stand.api.set(ID, "instance_api_key", json!(format!("{ONSTART}-of-instance")));
    rented.stand.api.set(ID, "extra_env", json!([["KEY", ONSTART]]));
    let peer = Peer::start(&rented);
    let canaries: Canaries = [
        ("account's key", ACCOUNT_KEY.to_owned()),
        ("jupyter token", JUPYTER.to_owned()),
        ("onstart secret", ONSTART.to_owned()),
        ("private key", private_half(&rented)),
        ("standing token", peer.token.clone()),
    ]
    .into();
    let xfer = &rented.stand.xfer;
    let source = format!("{}/", rented.tree().display());
    let back = xfer.home().join("back").display().to_string();
    let run = |arguments: &[&str], code| watched(xfer, &canaries, arguments, code);
    run(&["push", &source, THERE], 0);
    run(&["push", &source, THERE, "--json"], 0);
    run(&["pull", "vast:33402296:data", &back], 0);
    run(&["ls", "vast:33402296:data", "--json"], 0);
    run(&["ls", "vast:"], 0);
    run(&["ls", "vast:", "--json"], 0);
    run(&["probe", "vast:33402296:data", "--duration", "1s", "--max-bytes", "1MB"], 0);
    let file = peer.file.display().to_string();
    run(&["push", &source, &peer.location, "--peer-token-file", &file, "--json"], 0);
    for (path, status, body, code) in [
        (SHOW, 401, "{}".to_owned(), 11),
        (SHOW, 500, String::new(), 13),
        (SHOW, 200, json!({"onstart": ONSTART, "jupyter_token": JUPYTER}).to_string(), 13),
        (SHOW, 200, json!({"success": false, "onstart": ONSTART}).to_string(), 13),
        (
            LIST,
            200,
            json!({"instances": [{"onstart": ONSTART, "id": "none", "jupyter_token": JUPYTER}]})
                .to_string(),
            13,
        ),
    ] {
        rented.stand.api.next(path, Answer::new(status, body));
        let asked = if path == LIST { "vast:" } else { "vast:33402296:/x" };
        run(&["ls", asked, "--json"], code);
    }
    fs::write(rented.machine.authorized_keys(), "").expect("write");
    rented.stand.api.set(ID, "ssh_host", json!(null));
    run(&["push", &source, THERE], 11);
    run(&["push", &source, THERE, "--json"], 11);
    drop(peer.running);
    let key = rented.machine.user_key();
    let seen = scan_files(&canaries, &rented.machine.home(), &[key.as_path()]);
    assert!(seen > 20, "the far home holds what was pushed, and the agent");
    scan_files(&canaries, xfer.home(), &[]);
    scan_files(&canaries, &peer.served, &[]);
    let log = fs::read_to_string(xfer.home().join("log")).expect("a log");
    assert!(log.contains("login refused") && log.contains("vast:33402296"), "it was written");
}

/// A scan that finds nothing must be able to.
#[test]
fn the_scan_sees_what_is_there() {
    let canaries: Canaries = [("planted", "canary-planted-4711".to_owned())].into();
    let place = tempfile::tempdir().expect("temp dir");
    let script = "read line";
    for is_argument in [true, false] {
        let mut planted = std::process::Command::new("sh");
        planted.args(["-c", script]).stdin(std::process::Stdio::piped());
        if is_argument {
            planted.arg("canary-planted-4711");
        } else {
            planted.env("PLANTED", "canary-planted-4711");
        }
        let mut child = planted.spawn().expect("sh");
        let arguments = format!("/proc/{}/cmdline", child.id());
        // A program that has just begun shows nothing yet.
        while fs::read(&arguments).expect("it runs").is_empty() {}
        let caught = std::panic::catch_unwind(|| scan_processes(&canaries, 0));
        drop(child.stdin.take());
        child.wait().expect("it ends");
        assert!(caught.is_err(), "{is_argument}");
    }
    tree::write(&place.path().join("file"), b"a canary-planted-4711 b");
    assert!(std::panic::catch_unwind(|| scan_files(&canaries, place.path(), &[])).is_err());
}

/// A standing peer beside the program, with its token in a file
struct Peer {
    running: xfer_tests::xfer::Running,
    token: String,
    file: std::path::PathBuf,
    location: String,
    served: std::path::PathBuf,
    _home: Xfer,
    _place: tempfile::TempDir,
}

impl Peer {
    fn start(rented: &Rented) -> Self {
        let (home, place) =
            (Xfer::new().within(&rented.lab.near), tempfile::tempdir().expect("it"));
        let served = place.path().join("served");
        fs::create_dir(&served).expect("create");
        let root = format!("data={}", served.display());
        let tokens = place.path().join("tokens").display().to_string();
        let listen = ["serve", "--listen", "127.0.0.1:0", "--root", &root, "--token-file", &tokens];
        let running = home.start(listen);
        let token = running.next_line(|line| line.starts_with("xferpeer1_")).expect("a token");
        let listening =
            running.next_line(|line| line.starts_with("listening ")).expect("it listens");
        let address = listening["listening ".len()..].to_owned();
        let file = place.path().join("held");
        tree::write(&file, token.as_bytes());
        tree::set_mode(&file, 0o600);
        let location = format!("xfer://{address}/data/there");
        Self { running, token, file, location, served, _home: home, _place: place }
    }
}
