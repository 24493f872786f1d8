//! From a number to a login that is proven to be on that machine

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use xfer_tests::net::{Lab, Mapping, Protocol, Weather};
use xfer_tests::sshd::{Sshd, keygen};
use xfer_tests::vast_api::instance;
use xfer_tests::xfer::{Ended, Running, binary};
use xfer_tests::{oracle, tree};

use super::{KEY, Stand};

pub(super) const ID: u64 = 33_402_296;
pub(super) const THERE: &str = "vast:33402296:data/";

/// A machine of the platform in the far host, and the program in the near one
pub(super) struct Rented {
    pub(super) lab: Lab,
    pub(super) machine: Sshd,
    pub(super) stand: Stand,
    place: TempDir,
}

impl Rented {
    pub(super) fn new() -> Self {
        Self::keyed(KEY)
    }

    /// With another key of the account
    pub(super) fn keyed(key: &str) -> Self {
        Self::with(key, |lab| Sshd::start_within(&lab.far, lab.link.far(), ""))
    }

    /// A container whose mounts are its own
    pub(super) fn apart() -> Self {
        Self::with(KEY, |lab| Sshd::start_apart_within(&lab.far, lab.link.far()))
    }

    fn with(key: &str, start: impl FnOnce(&Lab) -> Sshd) -> Self {
        let lab = Lab::new(&Weather::default());
        let machine = start(&lab);
        label(&machine, ID);
        let place = TempDir::new().expect("temp dir");
        let config = place.path().join("ssh_config");
        let text = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
             GlobalKnownHostsFile /dev/null\n",
            machine.user_key().display()
        );
        fs::write(&config, text).expect("write");
        let stand = Stand::within(&lab.near, key);
        stand.api.is_unhurried();
        stand.api.put(ID, instance(ID, &lab.link.far().to_string(), machine.port()));
        tree::small_files(&place.path().join("tree"), 20, 7);
        let xfer = stand.xfer.ssh_config(config);
        Self { lab, machine, stand: Stand { api: stand.api, xfer }, place }
    }

    /// What ssh is configured by
    pub(super) fn config(&self) -> PathBuf {
        self.place.path().join("ssh_config")
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.place.path().join("tree")
    }

    /// Pushes the tree, and tells the result
    pub(super) fn push(&self, flags: &[&str], code: i32) -> serde_json::Value {
        let source = format!("{}/", self.tree().display());
        self.stand.run(&[&["push", &source, THERE], flags].concat(), code)
    }

    pub(super) fn assert_arrived(&self) {
        oracle::assert_equal(&self.tree(), &self.machine.home().join("data"));
    }

    pub(super) fn pins(&self) -> PathBuf {
        self.stand.xfer.state().join("known_hosts")
    }

    /// Runs what reaches no machine, and so takes no options of ssh
    fn hosts(&self, words: &[&str]) -> Ended {
        let home = self.stand.xfer.home();
        let mut command = Command::new(binary());
        command.args(words).env_clear().env("HOME", home).env("XDG_STATE_HOME", home.join("state"));
        Running::start(command).wait()
    }

    /// Another sshd in the far host, which says that it is that machine
    pub(super) fn other(&self, id: u64) -> Sshd {
        let other = Sshd::start_within(&self.lab.far, self.lab.link.far(), "");
        fs::copy(self.machine.authorized_keys(), other.authorized_keys()).expect("copy");
        label(&other, id);
        other
    }
}

pub(super) fn label(machine: &Sshd, id: u64) {
    let text = format!("export VAST_CONTAINERLABEL=\"C.{id}\"\n");
    fs::write(machine.home().join(".bashrc"), text).expect("write");
}

/// Fails where anything of ours was placed, run or written there
pub(super) fn assert_untouched(machine: &Sshd) {
    let names = fs::read_dir(machine.home()).expect("list");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, [".bashrc", ".ssh"]);
    assert_eq!(machine.programs(), [0; 0]);
}

#[test]
fn a_direct_machine_is_pinned_by_its_number_and_reached_again() {
    let rented = Rented::new();
    let source = format!("{}/", rented.tree().display());
    let first = rented.stand.xfer.run(["push", &source, THERE]).expect_code(0);
    let fingerprint = rented.machine.host_key_fingerprint();
    assert!(first.stderr.contains(&format!("host key {fingerprint} pinned")), "{}", first.stderr);
    rented.assert_arrived();
    let pinned = fs::read_to_string(rented.pins()).expect("pins");
    assert_eq!(pinned, format!("vast-{ID} {}\n", rented.machine.host_key()));
    let route = rented.push(&[], 0)["route"].clone();
    assert_eq!((&route["kind"], &route["direct"]), (&json!("ssh"), &json!(true)));
    let again = rented.stand.xfer.run(["push", &source, THERE]).expect_code(0);
    assert!(!again.stderr.contains("pinned"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(rented.pins()).expect("pins"), pinned);
}

#[test]
fn whoever_wants_strict_keys_pins_nothing_at_first_contact() {
    let rented = Rented::new();
    let result = rented.push(&["-o", "StrictHostKeyChecking=yes"], 11);
    assert_eq!(result["reason"], "host-key-unknown");
    assert_untouched(&rented.machine);
    assert!(!rented.pins().exists());
}

/// No option of ssh has a key believed before the machine has said what it is.
#[test]
fn a_key_is_pinned_after_its_proof_alone() {
    let other = ["StrictHostKeyChecking=accept-new", "UserKnownHostsFile=/dev/null"];
    for option in other {
        let rented = Rented::new();
        label(&rented.machine, 999);
        assert_eq!(rented.push(&["-o", option], 11)["reason"], "instance-identity", "{option}");
        assert!(!rented.pins().exists(), "{option}");
        label(&rented.machine, ID);
        rented.push(&["-o", option], 0);
        let pinned = fs::read_to_string(rented.pins()).expect("pins");
        assert_eq!(pinned.lines().count(), 1, "{option}");
        // Another instance of an image that brings its host key has the same one.
        label(&rented.machine, 999);
        assert_eq!(rented.push(&[], 11)["reason"], "instance-identity", "{option}");
    }
}

/// Rows: E11, M12.
#[test]
fn nothing_is_sent_to_another_machine_at_the_address() {
    for (said, shown) in [(Some(999), "it says that it is C.999"), (None, "does not say which")] {
        let rented = Rented::new();
        match said {
            Some(id) => label(&rented.machine, id),
            None => fs::write(rented.machine.home().join(".bashrc"), "").expect("write"),
        }
        let source = format!("{}/", rented.tree().display());
        let ended = rented.stand.xfer.run(["push", &source, THERE]).expect_code(11);
        assert!(ended.stderr.contains(shown), "{}", ended.stderr);
        assert!(ended.stderr.contains("exit 11 instance-identity"), "{}", ended.stderr);
        assert_untouched(&rented.machine);
        assert!(!rented.pins().exists(), "a key that nobody proved is not pinned");
    }
}

/// Rows: E11, M12.
#[test]
fn a_machine_made_anew_is_another_one_until_somebody_says_so() {
    let mut rented = Rented::new();
    let before = rented.machine.host_key_fingerprint();
    rented.push(&[], 0);
    fs::remove_dir_all(rented.machine.home().join("data")).expect("remove");
    remake_host_key(rented.machine.directory());
    rented.machine = rented.machine.restart("");
    rented
        .stand
        .api
        .put(ID, instance(ID, &rented.lab.link.far().to_string(), rented.machine.port()));
    let result = rented.push(&[], 11);
    assert_eq!(result["reason"], "host-key-changed");
    assert!(!rented.machine.home().join("data").exists());
    let argv = result["remedies"][0]["argv"].as_array().expect("a command").clone();
    let words: Vec<_> = argv.iter().map(|word| word.as_str().expect("text")).collect();
    assert_eq!(words, ["xfer", "hosts", "forget", "vast:33402296"]);
    let listed = rented.hosts(&["hosts", "list"]).expect_code(0).stdout;
    let fields: Vec<_> = listed.split_whitespace().collect();
    assert_eq!(fields, ["vast:33402296", "ssh-ed25519", &before]);
    rented.hosts(&words[1..]).expect_code(0);
    rented.hosts(&words[1..]).expect_code(4);
    assert_eq!(rented.hosts(&["hosts", "list"]).expect_code(0).stdout, "");
    for wrong in ["vast:", "vast:self", "vast:1:/x", "host:", "vast:x"] {
        rented.hosts(&["hosts", "forget", wrong]).expect_code(2);
    }
    rented.push(&[], 0);
    rented.assert_arrived();
}

pub(super) fn remake_host_key(directory: &Path) {
    for name in ["hostkey", "hostkey.pub"] {
        fs::remove_file(directory.join(name)).expect("remove");
    }
    keygen(&directory.join("hostkey"), "ed25519");
}

#[test]
fn where_no_direct_port_answers_the_gateway_does() {
    for (runtype, before) in [("ssh ssh_proxy", 0), ("jupyter_proxy ssh_proxy", 1)] {
        let rented = Rented::new();
        let (host, port) = (rented.lab.link.far().to_string(), rented.machine.port());
        rented.stand.api.set(ID, "ports", json!({"22/tcp": [{"HostPort": 1}]}));
        rented.stand.api.set(ID, "ssh_host", json!(host));
        rented.stand.api.set(ID, "ssh_port", json!(port - before));
        rented.stand.api.set(ID, "image_runtype", json!(runtype));
        let result = rented.push(&[], 0);
        assert_eq!(result["route"]["direct"], json!(false), "{runtype}");
        rented.assert_arrived();
    }
}

#[test]
fn the_machine_is_looked_for_behind_each_way_in() {
    let rented = Rented::new();
    let other = rented.other(999);
    let bindings = json!([{"HostPort": other.port().to_string()},
                          {"HostPort": rented.machine.port()}]);
    rented.stand.api.set(ID, "ports", json!({ "22/tcp": bindings }));
    let result = rented.push(&[], 0);
    assert_eq!(result["route"]["direct"], json!(true));
    rented.assert_arrived();
    assert_untouched(&other);
}

#[test]
fn files_that_open_accounts_stay_here() {
    let rented = Rented::new();
    let secrets = [".ssh/id", ".aws/credentials", "a/.netrc", ".config/rclone/rclone.conf"];
    for directory in [".ssh", ".aws", "a", ".config/rclone"] {
        fs::create_dir_all(rented.tree().join(directory)).expect("create");
    }
    for name in secrets {
        tree::write(&rented.tree().join(name), b"secret");
    }
    tree::write(&rented.tree().join(".config/other"), b"plain");
    tree::write(&rented.tree().join(".env"), b"KEY=1");
    let source = format!("{}/", rented.tree().display());
    let ended = rented.stand.xfer.run(["push", &source, THERE]).expect_code(16);
    for name in secrets {
        assert!(ended.stderr.contains(name), "{name}\n{}", ended.stderr);
        assert!(!rented.machine.home().join("data").join(name).exists(), "{name}");
    }
    assert!(ended.stderr.contains(".env may hold keys"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--allow-secrets"), "{}", ended.stderr);
    assert!(rented.machine.home().join("data/.config/other").exists());
    let out = ["--exclude", ".ssh", "--exclude", ".aws", "--exclude", ".netrc"];
    rented.push(&[&out[..], &["--exclude", "rclone"]].concat(), 0);
    rented.push(&["--allow-secrets"], 0);
    rented.assert_arrived();
}

#[test]
fn clocks_that_run_are_told() {
    let rented = Rented::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    let source = format!("{}/", rented.tree().display());
    let told = || rented.stand.xfer.run(["push", &source, THERE]).expect_code(0).stderr;
    let ends = "the contract of vast:33402296 ends in";
    rented.stand.api.set(ID, "end_date", json!(now.as_secs_f64() + 30.0 * 3600.0));
    assert!(!told().contains("contract"));
    rented.stand.api.set(ID, "end_date", json!(now.as_secs_f64() + 3.5 * 3600.0));
    rented.stand.api.set(ID, "is_bid", json!(true));
    let said = told();
    assert!(said.contains(&format!("{ends} 3 h")) && said.contains("a higher bid"), "{said}");
}

/// A key that was given to the platform reaches a new machine later than its sshd.
#[test]
fn a_new_machine_is_given_time_to_take_a_key() {
    let rented = Rented::new();
    let keys = fs::read(rented.machine.authorized_keys()).expect("keys");
    fs::write(rented.machine.authorized_keys(), "").expect("write");
    assert_eq!(
        rented.push(&[], 11)["reason"],
        "key-refused",
        "an old machine takes it now or never"
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    rented.stand.api.set(ID, "start_date", json!(now.as_secs_f64() - 20.0));
    rented.stand.api.set(ID, "ssh_host", json!(null));
    let source = format!("{}/", rented.tree().display());
    let running = rented.stand.xfer.start(["push", &source, THERE, "--json"]);
    let is_told = |event: &serde_json::Value| {
        event["notice"].as_str().is_some_and(|text| text.contains("is new, and tried again"))
    };
    running.next_event(is_told).expect("a notice");
    fs::write(rented.machine.authorized_keys(), keys).expect("write");
    running.wait().expect_code(0);
    rented.assert_arrived();
}

/// An address is asked for anew at each run.
#[test]
fn a_port_that_has_changed_is_found() {
    let rented = Rented::new();
    rented.push(&[], 0);
    let other = rented.other(999);
    rented.stand.api.set(ID, "ports", json!({"22/tcp": [{"HostPort": other.port()}]}));
    rented.stand.api.set(ID, "ssh_host", json!(null));
    let result = rented.push(&[], 11);
    assert_eq!(result["reason"], "host-key-changed");
    assert_untouched(&other);
    let port = rented.machine.port().to_string();
    rented.stand.api.set(ID, "ports", json!({"22/tcp": [{"HostPort": port}]}));
    rented.push(&[], 0);
}

#[test]
fn data_ports_are_those_that_the_platform_names() {
    let rented = Rented::new();
    let mapping = Mapping { protocol: Protocol::Tcp, outside: 30_526, inside: 8081 };
    rented.lab.link.map_ports(&[mapping]);
    let port = rented.machine.port().to_string();
    let ports = json!({"22/tcp": [{"HostPort": port}], "8081/tcp": [{"HostPort": "30526"}]});
    rented.stand.api.set(ID, "ports", ports);
    tree::big_file(&rented.tree().join("big"), 8 << 20, 9);
    let result = rented.push(&[], 0);
    assert_eq!(result["route"]["kind"], "tls");
    rented.assert_arrived();
}

#[test]
fn a_probe_tells_of_the_machine() {
    let rented = Rented::new();
    let ended = rented.stand.xfer.run(["probe", "vast:33402296:", "--size", "1GB"]).expect_code(0);
    for part in ["direct: ", "running: ", "$0.4321/h", "ends 2026-12-30"] {
        assert!(ended.stdout.contains(part), "{part}\n{}", ended.stdout);
    }
}
