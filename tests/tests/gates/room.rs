//! A machine whose files are in a bucket, reached by a login as any other

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xfer_tests::machine::{Disk, Held, Machine};
use xfer_tests::sshd::{keygen, public_key};
use xfer_tests::stores::S3s;
use xfer_tests::xfer::{Ended, Running, Xfer};

/// What is protected there
pub(super) const ROOT: &str = "/data";

/// What makes a login possible there; keys lie where nobody looks for files of a user's
const LOGIN: &str = "mkdir -p /etc/ssh /run/sshd
    echo root:x:0:0::/root:/bin/bash >/etc/passwd
    echo sshd:x:101:65534::/run/sshd:/usr/sbin/nologin >>/etc/passwd
    echo root:x:0: >/etc/group
    printf 'UsePAM no\nStrictModes no\nAuthorizedKeysFile /etc/ssh/keys\n\
    HostKey /etc/ssh/hostkey\nSubsystem sftp internal-sftp\n' >/etc/ssh/config
    chmod 600 /etc/ssh/hostkey";

/// The machine, the bucket, and the program that moves from one to the other
pub(super) struct Kept {
    pub(super) disk: Disk,
    pub(super) machine: Machine,
    pub(super) store: S3s,
    pub(super) xfer: Xfer,
}

impl Kept {
    /// Everything below the root is in the bucket, read back
    pub(super) fn new() -> Self {
        let kept = Self::uncopied();
        kept.push(&[]);
        kept
    }

    /// The same with a state directory elsewhere
    pub(super) fn remembering_at(state: &Path) -> Self {
        let kept = Self::of(Xfer::new().env("XDG_STATE_HOME", state));
        kept.push(&[]);
        kept
    }

    /// Nothing is copied yet
    pub(super) fn uncopied() -> Self {
        Self::of(Xfer::new())
    }

    fn of(mut xfer: Xfer) -> Self {
        let disk = Disk::new();
        let machine = Machine::start(&disk, "");
        let store = S3s::start();
        for (name, value) in store.access().environment() {
            xfer = xfer.env(name, value);
        }
        xfer = xfer.env("AWS_ENDPOINT_URL_S3", &store.access().endpoint);
        let keys = xfer.home().join("keys");
        fs::create_dir(&keys).expect("create");
        for name in ["hostkey", "userkey"] {
            keygen(&keys.join(name), "ed25519");
        }
        let xfer = xfer.ssh_config(keys.join("config"));
        let kept = Self { disk, machine, store, xfer };
        kept.let_in();
        kept.run("echo one >/data/one; echo two >/data/sub/two; ln -s one /data/link");
        kept.run(r#"echo '{"loss": 0.5}' >/data/sub/log.json"#);
        kept
    }

    fn keys(&self) -> PathBuf {
        self.xfer.home().join("keys")
    }

    /// Has the machine let the program in
    fn let_in(&self) {
        let keys = self.keys();
        let text = |name: &str| fs::read_to_string(keys.join(name)).expect("read");
        let (host, user) = (text("hostkey"), text("userkey.pub"));
        self.run(&format!(
            "mkdir -p /etc/ssh; echo '{host}' >/etc/ssh/hostkey; echo '{user}' >/etc/ssh/keys"
        ));
        self.run(LOGIN);
        let known = format!("box {}\n", public_key(&keys.join("hostkey.pub")));
        fs::write(keys.join("known"), known).expect("write");
        let enter = self.machine.entering().join(" ");
        let config = format!(
            "Host box\n  User root\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             IdentityAgent none\n  GlobalKnownHostsFile /dev/null\n  UserKnownHostsFile {}\n  \
             ProxyCommand {enter} /usr/sbin/sshd -i -f /etc/ssh/config\n",
            keys.join("userkey").display(),
            keys.join("known").display(),
        );
        fs::write(keys.join("config"), config).expect("write");
    }

    /// Ends its first process and starts another on the same disk
    pub(super) fn recycle(&mut self) {
        // Its layers can be mounted once at a time.
        self.machine.end();
        self.machine = Machine::start(&self.disk, "");
        self.let_in();
    }

    pub(super) fn run(&self, script: &str) {
        self.machine.run(script);
    }

    pub(super) fn hold(&self, script: &str) -> Held {
        self.machine.hold(script)
    }

    /// Copies the root to the bucket
    pub(super) fn push(&self, flags: &[&str]) -> Value {
        let bucket = self.store.access().location("run7/");
        let words = ["push", "box:/data/", &bucket, "--verify", "read-back", "--json"];
        self.xfer.run([&words, flags].concat()).expect_code(0).result()
    }

    /// Asks the gate over the root
    pub(super) fn ask(&self, flags: &[&str], code: i32) -> Ended {
        self.start(flags).wait().expect_code(code)
    }

    /// Begins to ask
    pub(super) fn start(&self, flags: &[&str]) -> Running {
        let words = ["gate", "box:/data", "--json"];
        self.xfer.start([&words, flags].concat())
    }

    /// What the gate says where it holds
    pub(super) fn held(&self, flags: &[&str]) -> Vec<Value> {
        let ended = self.ask(flags, 20);
        let verdict = verdict(&ended);
        assert_eq!((&verdict["verdict"], &verdict["token"]), (&json!("hold"), &json!(null)));
        assert_eq!(ended.result()["reason"], "hold");
        verdict["reasons"].as_array().expect("reasons").clone()
    }

    /// Asserts that it holds for these reasons and no others
    pub(super) fn assert_held(&self, flags: &[&str], expected: &[&str]) -> Vec<Value> {
        let reasons = self.held(flags);
        let ids: Vec<_> =
            reasons.iter().map(|reason| reason["id"].as_str().expect("an id")).collect();
        assert_eq!(ids, expected, "{reasons:#?}");
        reasons
    }

    /// Asserts that it releases
    pub(super) fn assert_released(&self, flags: &[&str]) -> Value {
        let ended = self.ask(flags, 0);
        let token = ended.result()["output"].as_str().map(str::to_owned);
        assert!(token.is_some_and(|token| token.len() > 300 && token.ends_with('\n')));
        verdict(&ended)
    }
}

/// What was decided
pub(super) fn verdict(ended: &Ended) -> Value {
    let found = ended.events().into_iter().find(|event| event["type"] == "verdict");
    found.expect("a verdict")
}
