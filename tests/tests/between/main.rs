//! From one machine to another, controlled from a third: payload never passes here

mod logins;
mod ports;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use xfer_tests::net::{Direction, Host, Link, Protocol, Setup, Weather};
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Running, Xfer};
use xfer_tests::{oracle, tree};

const MIB: u64 = 1 << 20;

/// A controller, a machine that has files and one that is to have them, each joined to each
struct Trio {
    to_source: Link,
    to_sink: Link,
    across: Link,
    controller: Host,
    source: Sshd,
    sink: Sshd,
    xfer: Xfer,
    _place: TempDir,
}

impl Trio {
    fn new() -> Self {
        Self::with(&Weather::default())
    }

    /// With that weather between the two machines
    fn with(weather: &Weather) -> Self {
        Self::joined(weather, false)
    }

    /// The sink is behind a translator of addresses: it dials, and is not dialled
    fn behind_a_translator() -> Self {
        let trio = Self::joined(&Weather::default(), true);
        trio.across.rebind(Protocol::Tcp);
        trio.across.rebind(Protocol::Udp);
        trio
    }

    fn joined(weather: &Weather, from_sink: bool) -> Self {
        let (controller, one, other) = (Host::new(), Host::new(), Host::new());
        let near = Weather::default();
        let link = |from: &Host, to: &Host, network, weather| {
            Link::between(from, to, &Setup { network, ..Setup::default() }, weather)
        };
        let to_source = link(&controller, &one, 0, &near);
        let to_sink = link(&controller, &other, 1, &near);
        let across =
            if from_sink { link(&other, &one, 2, weather) } else { link(&one, &other, 2, weather) };
        // Each machine has one address, by which all know it.
        for (host, there, here) in
            [(&one, to_sink.far(), to_source.far()), (&other, to_source.far(), to_sink.far())]
        {
            let (there, here) = (format!("{there}/32"), here.to_string());
            host.ip(&["route", "add", &there, "dev", &across.device(), "src", &here]);
        }
        let source = Sshd::start_within(&one, to_source.far(), "");
        let sink = Sshd::start_within(&other, to_sink.far(), "");
        // The test's own file of keys, and that of the user.
        let keys =
            format!("AuthorizedKeysFile {} .ssh/authorized_keys", sink.authorized_keys().display());
        let sink = sink.restart(&keys);
        let place = TempDir::new().expect("temp dir");
        let config = place.path().join("ssh_config");
        let text = [("source", &source), ("sink", &sink)]
            .map(|(name, machine)| fs::read_to_string(machine.client_config(name)).expect("read"));
        fs::write(&config, text.concat()).expect("write");
        let xfer = Xfer::new().within(&controller).ssh_config(config);
        let files = source.home().join("tree");
        tree::small_files(&files, 200, 7);
        tree::big_file(&files.join("big"), 48 * MIB, 8);
        tree::write(&files.join("empty"), b"");
        Self { to_source, to_sink, across, controller, source, sink, xfer, _place: place }
    }

    fn push(&self, flags: &[&str]) -> Ended {
        self.xfer.run([&["push", "source:tree/", "sink:copy/", "--json"], flags].concat())
    }

    fn start(&self, flags: &[&str]) -> Running {
        self.xfer.start([&["push", "source:tree/", "sink:copy/", "--json"], flags].concat())
    }

    fn keys(&self) -> PathBuf {
        self.sink.home().join(".ssh/authorized_keys")
    }

    fn assert_arrived(&self) {
        oracle::assert_equal(&self.source.home().join("tree"), &self.sink.home().join("copy"));
    }

    /// Bytes that passed the controller, to and from both machines
    fn passed_here(&self) -> u64 {
        let links = [&self.to_source, &self.to_sink];
        let both = [Direction::Out, Direction::In];
        links.iter().flat_map(|link| both.map(|direction| link.counts(direction).bytes)).sum()
    }
}

fn route(result: &Value) -> (&str, bool) {
    let route = &result["route"];
    (route["kind"].as_str().unwrap_or_default(), route["direct"] == true)
}

/// Looks again and again until that is so
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "{what}: not within a minute");
        std::thread::yield_now();
    }
}
