//! Clusters of SkyPilot on virtual machines: found by its files, judged by its program

use std::fs;

use serde_json::{Value, json};
use xfer_tests::sky::{Sky, write_ssh_file};
use xfer_tests::sshd::Sshd;
use xfer_tests::tree;
use xfer_tests::xfer::Xfer;

use super::{Ground, result, run};

const THERE: &str = "sky:train:data/";

/// A cluster whose head is in the far host
pub(super) struct Cluster {
    pub(super) ground: Ground,
    pub(super) sky: Sky,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let (ground, sky) = (Ground::new(), Sky::default());
        sky.put("train", &record("train"));
        let ground = ground.env(&[("PATH", sky.path())]);
        let cluster = Self { ground, sky };
        cluster.write_file(&[("train", &cluster.plain_lines())]);
        cluster
    }

    /// Writes the cluster's file for ssh
    pub(super) fn write_file(&self, entries: &[(&str, &str)]) {
        write_ssh_file(&self.ground.xfer, "train", &self.ground.machine.user_key(), entries);
    }

    /// The lines of a machine that is dialled where it is
    pub(super) fn plain_lines(&self) -> String {
        let (address, port) = (self.ground.address(), self.ground.machine.port());
        format!("  HostName {address}\n  Port {port}\n  User root")
    }
}

/// A cluster that runs, as the program shows one
pub(super) fn record(name: &str) -> Value {
    json!({
        "name": name, "status": "UP", "cloud": "AWS", "region": "us-east-1", "nodes": 1,
        "autostop": -1, "to_down": false, "cluster_name_on_cloud": format!("{name}-1a2b"),
        "launched_at": 1_786_000_000, "resources_str": "1x(gpus=A100:8)",
        "last_creation_yaml": "envs:\n  KEY: hidden-onstart-key\n"
    })
}

/// The same, changed
pub(super) fn with(changes: &[(&str, Value)]) -> Value {
    let mut record = record("train");
    for (field, value) in changes {
        record[*field] = value.clone();
    }
    record
}

/// Without a machine behind it
pub(super) fn stand() -> (Sky, Xfer) {
    let sky = Sky::default();
    sky.put("train", &record("train"));
    let xfer = Xfer::new().env("PATH", sky.path());
    let lines = "  HostName 203.0.113.37\n  Port 22\n  User ubuntu";
    write_ssh_file(&xfer, "train", &xfer.home().join("key"), &[("train", lines)]);
    (sky, xfer)
}

#[test]
fn a_cluster_is_reached_with_its_own_key_and_pinned_all_the_same() {
    let Cluster { ground, sky } = Cluster::new();
    // What the user configured for ssh says nothing of this cluster, nor of its key.
    let xfer = ground.xfer.ssh_config("/dev/null".into());
    let ground = Ground { xfer, ..ground };
    let first = ground.push(THERE, &[], 0);
    let fingerprint = ground.machine.host_key_fingerprint();
    let told = format!("host key {fingerprint} pinned");
    assert!(first.stderr.contains(&told), "{}", first.stderr);
    ground.assert_arrived();
    assert_eq!(ground.pins(), format!("sky-train {}\n", ground.machine.host_key()));
    let again = ground.push(THERE, &["--json"], 0);
    let route = &again.result()["route"];
    assert_eq!((&route["kind"], &route["direct"]), (&json!("ssh"), &json!(true)));
    assert!(!again.stdout.contains("pinned"), "{}", again.stdout);
    let mut asked = sky.asked();
    asked.sort();
    let expected = ["status --endpoints train"; 2].into_iter().chain(["status -o json train"; 2]);
    assert_eq!(asked, expected.collect::<Vec<_>>());
}

/// SkyPilot's file turns the check of host keys off; that is not taken over.
#[test]
fn another_key_at_the_address_is_another_machine() {
    let Cluster { ground, sky: _sky } = Cluster::new();
    let other = Sshd::start("");
    fs::create_dir_all(ground.xfer.state()).expect("create");
    let pins = ground.xfer.state().join("known_hosts");
    fs::write(&pins, format!("sky-train {}\n", other.host_key())).expect("write");
    for flags in [&["--json"][..], &["-o", "UserKnownHostsFile=/dev/null", "--json"]] {
        let told = ground.push(THERE, flags, 11).result();
        assert_eq!(told["reason"], "host-key-changed");
        let argv = &told["remedies"][0]["argv"];
        assert_eq!(*argv, json!(["xfer", "hosts", "forget", "sky:train"]));
    }
    assert!(!ground.machine.home().join("data").exists());
    fs::remove_file(&pins).expect("remove");
    let strict = ground.push(THERE, &["-o", "StrictHostKeyChecking=yes", "--json"], 11);
    assert_eq!(strict.result()["reason"], "host-key-unknown");
    ground.assert_untouched();
}

#[test]
fn a_further_machine_is_named_by_its_number() {
    let Cluster { ground, sky } = Cluster::new();
    sky.put("train", &with(&[("nodes", json!(2))]));
    let nowhere = "  HostName 203.0.113.37\n  Port 22\n  User root";
    let lines = {
        let (address, port) = (ground.address(), ground.machine.port());
        format!("  HostName {address}\n  Port {port}\n  User root")
    };
    let entries = [("train", nowhere), ("train-worker1", lines.as_str())];
    write_ssh_file(&ground.xfer, "train", &ground.machine.user_key(), &entries);
    ground.push("sky:train-worker1:data/", &[], 0);
    ground.assert_arrived();
    assert!(ground.pins().starts_with("sky-train-worker1 "), "{}", ground.pins());
    assert!(sky.asked().contains(&"status -o json train-worker1 train".to_owned()));
    let third = result(&ground.xfer, &["ls", "sky:train-worker2:"], 4);
    assert_eq!(third["reason"], "platform-not-found");
    sky.put("train-worker1", &record("train-worker1"));
    let both = result(&ground.xfer, &["ls", "sky:train-worker1:"], 13);
    assert_eq!(both["reason"], "platform-answer");
}

#[test]
fn what_ends_an_idle_cluster_is_told_before_bytes_move() {
    for (destroys, told, kind) in [
        (true, "sky:train is destroyed after 30 min", "destroyed-when-idle"),
        (false, "sky:train is stopped after 30 min", "stopped-when-idle"),
    ] {
        let Cluster { ground, sky } = Cluster::new();
        sky.put("train", &with(&[("autostop", json!(30)), ("to_down", json!(destroys))]));
        let said = ground.push(THERE, &[], 0).stderr;
        assert!(said.contains(told) && said.contains("sky autostop --cancel train"), "{said}");
        let listed = run(&ground.xfer, &["ls", "sky:", "--json"], 0).events();
        let clocks = listed.iter().find(|event| event["type"] == "machine").expect("a machine");
        assert_eq!(clocks["danger_clocks"], json!([{"kind": kind, "at": null}]));
    }
}

#[test]
fn a_probe_tells_of_the_cluster() {
    let Cluster { ground, sky } = Cluster::new();
    sky.put("train", &with(&[("autostop", json!(30)), ("to_down", json!(true))]));
    let probed = run(&ground.xfer, &["probe", "sky:train:", "--duration", "1s"], 0);
    for part in ["direct: ", "running: UP AWS us-east-1", "destroyed after 30 min idle"] {
        assert!(probed.stdout.contains(part), "{part}\n{}", probed.stdout);
    }
}

#[test]
fn a_cluster_that_does_not_run_is_told_by_its_state() {
    let (sky, xfer) = stand();
    for (status, reason) in [
        (json!("STOPPED"), "machine-stopped"),
        (json!("INIT"), "machine-starting"),
        (json!("up"), "machine-state-unknown"),
        (json!(null), "machine-state-unknown"),
    ] {
        sky.put("train", &with(&[("status", status.clone())]));
        assert_eq!(result(&xfer, &["pull", "sky:train:/w", "./x"], 18)["reason"], reason);
    }
    sky.remove("train");
    let gone = result(&xfer, &["pull", "sky:train:/w", "./x"], 18);
    assert_eq!((&gone["reason"], &gone["machine_state"]), (&json!("machine-gone"), &json!("gone")));
}

/// The files are written by SkyPilot: where they are missing, a command of its brings them.
#[test]
fn a_cluster_without_its_file_names_the_command_that_writes_it() {
    let (sky, xfer) = stand();
    let directory = xfer.home().join(".sky/generated/ssh");
    for text in ["Host other\n  HostName 203.0.113.37\n", "Host *\n  HostName 203.0.113.37\n", ""] {
        tree::write(&directory.join("train"), text.as_bytes());
        let told = result(&xfer, &["pull", "sky:train:/w", "./x"], 4);
        assert_eq!(told["reason"], "platform-not-found");
        assert_eq!(told["remedies"][0]["argv"], json!(["sky", "status", "train"]));
    }
    fs::remove_dir_all(&directory).expect("remove");
    assert_eq!(result(&xfer, &["ls", "sky:train:/w"], 4)["reason"], "platform-not-found");
    let listed = run(&xfer, &["ls", "sky:"], 0);
    assert!(listed.stdout.contains("no way in: "), "{}", listed.stdout);
    assert!(!sky.asked().is_empty());
}

#[test]
fn a_file_that_others_can_have_written_leads_nowhere() {
    let (_sky, xfer) = stand();
    let file = xfer.home().join(".sky/generated/ssh/train");
    tree::set_mode(&file, 0o666);
    let told = result(&xfer, &["pull", "sky:train:/w", "./x"], 3);
    assert_eq!(told["reason"], "ssh-config-unusable");
}

#[test]
fn a_person_reads_one_line_a_machine() {
    let (sky, xfer) = stand();
    sky.put(
        "train",
        &with(&[("nodes", json!(2)), ("autostop", json!(5)), ("to_down", json!(true))]),
    );
    let mut old = record("Old_1.x");
    old["status"] = json!("STOPPED");
    sky.put("Old_1.x", &old);
    let ended = run(&xfer, &["ls", "sky:"], 0);
    let file = xfer.home().join(".sky/generated/ssh/train");
    let mut lines: Vec<_> = ended.stdout.lines().collect();
    lines.sort_unstable();
    let missing = format!(
        "sky:train-worker1  running       no way in: SkyPilot: {} does not tell how train-worker1 \
         is reached  ?/h out ?/GB in ?/GB  destroyed after 5 min idle, a copy being no work  \
         train-1a2b",
        file.display()
    );
    let expected = [
        "sky:Old_1.x        stopped       ?/h out ?/GB in ?/GB  Old_1.x-1a2b",
        "sky:train          running       direct 203.0.113.37:22  ?/h out ?/GB in ?/GB  destroyed \
         after 5 min idle, a copy being no work  train-1a2b",
        &missing,
    ];
    assert_eq!(lines, expected);
}
