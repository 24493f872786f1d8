//! A cluster is destroyed where a token allows it, by its own program, and its cloud is asked

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use xfer_core::connect::Connector;
use xfer_core::disk::state::StateDirectory;
use xfer_core::engine::release;
use xfer_core::event::Event;
use xfer_core::gate::token::{Times, Token};
use xfer_core::journal::tokens::TokenRecords;
use xfer_core::location::{Machine, SshHost};
use xfer_core::options::TransferOptions;
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_core::trust::kept_in;
use xfer_protocol::digest::Digest;
use xfer_tests::sky::Sky;
use xfer_tests::xfer::{Ended, binary};

use super::sky::{Cluster, with};

const DOWN: &str = "down -y train";

/// A cluster with a tree on it, whose host key is pinned, and a token for it as it is
struct Doomed {
    cluster: Cluster,
    token: PathBuf,
}

impl Doomed {
    fn new() -> Self {
        let cluster = Cluster::new();
        cluster.ground.push("sky:train:data/", &[], 0);
        let token = token(&cluster);
        Self { cluster, token }
    }

    fn sky(&self) -> &Sky {
        &self.cluster.sky
    }

    fn destroy(&self, code: i32) -> Ended {
        let token = self.token.to_str().expect("text");
        let words = ["destroy", "sky:train", "--token", token, "--confirm", "train", "--json"];
        super::run(&self.cluster.ground.xfer, &words, code)
    }

    /// What was asked of the program that is no question
    fn orders(&self) -> Vec<String> {
        self.sky().asked().into_iter().filter(|asked| !asked.starts_with("status ")).collect()
    }

    fn is_spent(&self) -> bool {
        let tokens = self.cluster.ground.xfer.state().join("tokens");
        let name = self.token.file_name().expect("a name").to_string_lossy().into_owned();
        tokens.join(format!("{name}.spent")).exists()
    }
}

/// Looks at the machine as a host, and makes a token for it as that cluster
fn token(cluster: &Cluster) -> PathBuf {
    let ground = &cluster.ground;
    let home = ground.xfer.home();
    let config = home.join("looking");
    let text = format!(
        "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  User root\n  \
         StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  \
         GlobalKnownHostsFile /dev/null\n",
        ground.machine.user_key().display()
    );
    fs::write(&config, text).expect("write");
    let mut ssh = SshOptions::new(Arc::new(NoPrompt), 7);
    ssh.config_file = Some(config);
    let connector = Connector::new(ssh, Some(ground.xfer.state()));
    let (host, port) = (ground.address(), Some(ground.machine.port()));
    let machine = Machine::Ssh(SshHost { user: None, host, port });
    let root = ground.machine.home().join("data").into_os_string().into_encoded_bytes();
    let mut options = TransferOptions::default();
    options.network.agent_binary = Some(binary().to_owned());
    let roots = [root];
    let seen = ground.lab.near.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (observer, cancel) = (Arc::new(|_: &Event| {}), CancellationToken::new());
        let looking = release::look(&machine, &roots, options, connector, observer, cancel);
        runtime.expect("a runtime").block_on(looking)
    });
    let mut seen = seen.expect("a look");
    (seen.identity.platform, seen.identity.id) = (Some("sky".into()), Some("train".into()));
    let state = StateDirectory::open(&ground.xfer.state()).expect("a state directory");
    let key = kept_in(&state, 1).expect("a key");
    let here = release::moment(&*xfer_core::clock::SystemClock::shared());
    let token = Token {
        key: key.public(),
        name: [7; 32],
        machine: "sky:train".to_owned(),
        container: seen.identity.digest(),
        manifest: Digest::from_bytes([1; 32]),
        stamps: seen.stamps,
        destination: Digest::from_bytes([2; 32]),
        policy: Digest::from_bytes([3; 32]),
        issued: Times { here, platform: None },
        life: 900,
    };
    let text = token.sign(&key);
    let records = TokenRecords::of(&state).expect("a directory");
    records.issue(&token.name, &text, &roots, 1).expect("issued");
    let file = home.join("07".repeat(32));
    fs::write(&file, text).expect("write");
    file
}

/// Rows: J11.
#[test]
fn a_cluster_goes_once_and_its_cloud_says_so() {
    let doomed = Doomed::new();
    doomed.sky().lingers(1);
    let result = doomed.destroy(0).result();
    assert_eq!(
        (&result["reason"], &result["machine_state"]),
        (&json!("destroyed"), &json!("gone"))
    );
    assert_eq!(doomed.orders(), [DOWN], "once, and nothing is purged");
    let asked = doomed.sky().asked();
    let after = asked.iter().skip_while(|asked| *asked != DOWN).skip(1);
    let after: Vec<_> = after.collect();
    assert!(after.iter().all(|asked| asked.starts_with("status --refresh -o json")), "{after:?}");
    assert_eq!(*after[after.len() - 1], "status --refresh -o json", "the list of all");
    assert!(doomed.is_spent());
    assert_eq!(doomed.destroy(0).result()["reason"], "destroyed");
    assert_eq!(doomed.orders(), [DOWN]);
}

/// Rows: J11.
#[test]
fn a_program_that_fails_is_held_against_what_the_cloud_says() {
    let doomed = Doomed::new();
    doomed.sky().fails_down("code=1");
    // It fails after the cluster went.
    assert_eq!(doomed.destroy(0).result()["reason"], "destroyed");
    assert_eq!(doomed.orders(), [DOWN]);
}

/// A cluster goes as a whole, and a token is for one machine.
#[test]
fn what_is_more_than_one_machine_is_left_alone() {
    let doomed = Doomed::new();
    doomed.sky().put("train", &with(&[("nodes", json!(2))]));
    let result = doomed.destroy(13).result();
    assert!(result["message"].as_str().is_some(), "{result}");
    assert!(doomed.orders().is_empty() && !doomed.is_spent());
}

/// Rows: J5, J8.
#[test]
fn what_changed_below_a_root_keeps_the_cluster() {
    let doomed = Doomed::new();
    fs::write(doomed.cluster.ground.machine.home().join("data/new"), "new").expect("write");
    assert_eq!(doomed.destroy(21).result()["reason"], "token-other-manifest");
    assert!(doomed.orders().is_empty() && !doomed.is_spent());
}

/// Rows: J10.
#[test]
fn a_program_that_says_nothing_spends_nothing() {
    let doomed = Doomed::new();
    doomed.sky().says(b"Traceback (most recent call last):\n", 1);
    let result = doomed.destroy(13).result();
    assert_eq!(result["reason"], "platform-unreached");
    assert!(doomed.orders().is_empty() && !doomed.is_spent());
}
