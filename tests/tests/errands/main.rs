//! Between a machine and a store, controlled from a third: payload never passes here, and no key
//! leaves

mod https;
mod public;
mod secrets;
mod store;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use xfer_tests::net::{Direction, Host, Link, Setup, Weather};
use xfer_tests::sshd::Sshd;
use xfer_tests::stores::S3s;
use xfer_tests::xfer::{Ended, Running, Xfer};
use xfer_tests::{oracle, tree};

const MIB: u64 = 1 << 20;

/// What signs, and is to be found nowhere else
const SECRET: &str = "canary7Yx2mQpL9vTzK4wNbR8sJdHcFgE";

/// A controller, a machine and a host that others ask, each joined to each
struct Trio {
    to_machine: Link,
    to_store: Link,
    across: Link,
    host: Host,
    beyond: Host,
    machine: Sshd,
    xfer: Xfer,
    place: TempDir,
}

impl Trio {
    /// With that weather between the machine and the host that is asked; the machine's sshd has
    /// these lines of configuration
    fn new(weather: &Weather, config: &str) -> Self {
        let (controller, host, beyond) = (Host::new(), Host::new(), Host::new());
        let near = Weather::default();
        let link = |from: &Host, to: &Host, network, weather| {
            Link::between(from, to, &Setup { network, ..Setup::default() }, weather)
        };
        let to_machine = link(&controller, &host, 0, &near);
        let to_store = link(&controller, &beyond, 1, &near);
        let across = link(&host, &beyond, 2, weather);
        // Each has one address, by which both others know it.
        for (host, there, here) in
            [(&host, to_store.far(), to_machine.far()), (&beyond, to_machine.far(), to_store.far())]
        {
            let (there, here) = (format!("{there}/32"), here.to_string());
            host.ip(&["route", "add", &there, "dev", &across.device(), "src", &here]);
        }
        let machine = Sshd::start_within(&host, to_machine.far(), config);
        let place = TempDir::new().expect("temp dir");
        let path = place.path().join("ssh_config");
        fs::copy(machine.client_config("machine"), &path).expect("copy");
        let xfer = Xfer::new().within(&controller).ssh_config(path);
        Self { to_machine, to_store, across, host, beyond, machine, xfer, place }
    }

    /// With these variables in the controller's environment
    fn env(self, variables: Vec<(String, String)>) -> Self {
        let Self { xfer, .. } = self;
        let xfer = variables.into_iter().fold(xfer, |xfer, (name, value)| xfer.env(name, value));
        Self { xfer, ..self }
    }

    /// A directory on the machine
    fn files(&self) -> PathBuf {
        let files = self.machine.home().join("tree");
        fs::create_dir_all(&files).expect("create a directory");
        files
    }

    /// Bytes that passed the controller, to and from both others
    fn passed_here(&self) -> u64 {
        let links = [&self.to_machine, &self.to_store];
        let both = [Direction::Out, Direction::In];
        links.iter().flat_map(|link| both.map(|direction| link.counts(direction).bytes)).sum()
    }

    /// Bytes that passed between the machine and the host that is asked
    fn passed_there(&self, direction: Direction) -> u64 {
        self.across.counts(direction).bytes
    }
}

/// A machine before a store
struct Bench {
    trio: Trio,
    store: S3s,
}

impl Bench {
    fn new(weather: &Weather) -> Self {
        let trio = Trio::new(weather, "");
        let store = S3s::start_within(&trio.beyond, trio.to_store.far(), SECRET);
        let bench = Self { trio: trio.env(store.access().environment()), store };
        // The program is placed on the machine once.
        bench.trio.xfer.run(["ls", "machine:"]).expect_code(0);
        bench
    }

    fn start(&self, from: &str, to: &str, flags: &[&str]) -> Running {
        let endpoint = self.store.access().endpoint.as_str();
        let fixed = ["push", from, to, "--json", "--endpoint-url", endpoint];
        self.trio.xfer.start(fixed.iter().chain(flags))
    }

    fn push(&self, from: &str, to: &str) -> Ended {
        self.start(from, to, &[]).wait()
    }
}

/// Panics unless payload passed neither here nor twice
fn assert_passed(passed: u64, result: &Value) -> u64 {
    let payload = result["payload_bytes"].as_u64().expect("bytes");
    assert!(passed < payload / 100, "{passed} bytes of {payload} passed here: {result}");
    payload
}

fn assert_same(one: &Path, other: &Path) {
    let sum = |path: &Path| {
        let output = std::process::Command::new("b3sum").arg("--no-names").arg(path).output();
        let output = output.expect("b3sum is missing: apt-get install b3sum");
        assert!(output.status.success(), "b3sum {path:?}");
        output.stdout
    };
    assert_eq!(sum(one), sum(other), "{one:?} and {other:?}");
}
