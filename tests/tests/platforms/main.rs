//! Machines of the platforms beside Vast.ai, with interfaces and programs that refuse what the real
//! ones refuse, and real sshds in hosts of the network laboratory

mod keys;
mod lambda;
mod ports;
mod runpod;
mod sky;
mod sky_answers;
mod sky_down;
mod sky_on_vast;
mod sky_tunnels;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use xfer_tests::net::{Lab, Weather};
use xfer_tests::schema::assert_valid;
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Xfer};
use xfer_tests::{oracle, tree};

/// What nothing that is printed, logged or sent anywhere else may hold
const KEY: &str = "canary-platform-key-4711";

/// Other secrets of answers
const HIDDEN: [&str; 4] = [KEY, "hidden-pod-key", "hidden-jupyter-token", "hidden-onstart-key"];

/// A machine in the far host, and the program in the near one
struct Ground {
    lab: Lab,
    machine: Sshd,
    xfer: Xfer,
    place: TempDir,
}

impl Ground {
    /// With an sshd for root
    fn new() -> Self {
        let lab = Lab::new(&Weather::default());
        let machine = Sshd::start_within(&lab.far, lab.link.far(), "");
        Self::with(lab, machine)
    }

    /// With an sshd for that user
    fn of(user: &str) -> Self {
        let lab = Lab::new(&Weather::default());
        let machine = Sshd::start_for(user, &lab.far, lab.link.far());
        Self::with(lab, machine)
    }

    fn with(lab: Lab, machine: Sshd) -> Self {
        let place = TempDir::new().expect("temp dir");
        let config = place.path().join("ssh_config");
        let text = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
             GlobalKnownHostsFile /dev/null\n",
            machine.user_key().display()
        );
        fs::write(&config, text).expect("write");
        tree::small_files(&place.path().join("tree"), 20, 7);
        let xfer = Xfer::new().within(&lab.near).ssh_config(config);
        Self { lab, machine, xfer, place }
    }

    /// The same with variables in the program's environment
    fn env(self, variables: &[(&str, String)]) -> Self {
        let set = |xfer: Xfer, (name, value): &(&str, String)| xfer.env(*name, value.clone());
        Self { xfer: variables.iter().fold(self.xfer, set), ..self }
    }

    fn address(&self) -> String {
        self.lab.link.far().to_string()
    }

    fn tree(&self) -> PathBuf {
        self.place.path().join("tree")
    }

    /// Pushes the tree to that directory, and tells how it ended
    fn push(&self, there: &str, flags: &[&str], code: i32) -> Ended {
        let source = format!("{}/", self.tree().display());
        run(&self.xfer, &[&["push", &source, there], flags].concat(), code)
    }

    fn assert_arrived(&self) {
        oracle::assert_equal(&self.tree(), &self.machine.home().join("data"));
    }

    fn pins(&self) -> String {
        fs::read_to_string(self.xfer.state().join("known_hosts")).unwrap_or_default()
    }

    /// What the machine says of itself, as a line of its root's shell profile
    fn says(&self, line: &str) {
        fs::write(self.machine.home().join(".bashrc"), line).expect("write");
    }

    /// Fails where a secret of the interfaces stands in a file, here or there
    fn assert_secrets_are_nowhere(&self) {
        let mut grep = Command::new("grep");
        grep.args(["-rlF"]).args(HIDDEN.iter().flat_map(|secret| ["-e", secret]));
        let found = grep.args([self.xfer.home(), &self.machine.home()]).output().expect("grep");
        assert_eq!(found.status.code(), Some(1), "{}", String::from_utf8_lossy(&found.stdout));
    }

    /// Fails where anything of ours was placed, run or written there
    fn assert_untouched(&self) {
        assert!(!self.machine.home().join("data").exists());
        assert_eq!(self.machine.programs(), [0; 0]);
        assert_eq!(self.pins(), "", "a key that nobody proved is not pinned");
    }
}

/// Runs to the end, which must have that code and tell no secret
fn run(xfer: &Xfer, arguments: &[&str], code: i32) -> Ended {
    let ended = xfer.run(arguments).expect_code(code);
    for secret in HIDDEN {
        let said = [&ended.stdout, &ended.stderr].into_iter().any(|text| text.contains(secret));
        assert!(!said, "{secret} was printed");
    }
    ended
}

/// The same with `--json`, told by its result
fn result(xfer: &Xfer, arguments: &[&str], code: i32) -> Value {
    let ended = run(xfer, &[arguments, &["--json"]].concat(), code);
    let text = fs::read_to_string("../xfer-cli/schema/event.schema.json").expect("the schema");
    let schema = serde_json::from_str(&text).expect("JSON");
    ended.events().iter().for_each(|event| assert_valid(&schema, event));
    ended.result()
}
