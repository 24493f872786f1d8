//! Data ports end to end: the program in one host, sshd and the agent in another, between them a
//! link that fails; judged by rsync, and by what crossed the link

mod blocked;
mod compressed;
mod crowds;
mod faulty;
mod impostor;
mod ports;
mod remap;
mod strangers;
mod streams;
mod tuned;
mod walled;
mod weather;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use xfer_tests::net::{Counts, Direction, Lab, Mapping, Protocol, Selection, Weather};
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Running, Xfer};
use xfer_tests::{oracle, tree};

/// Far beyond what anything here takes
const SOON: Duration = Duration::from_secs(60);

/// Where the agent listens, and where that is dialled
const TCP: Port = Port { protocol: Protocol::Tcp, inside: 8081, outside: 30_526 };
const UDP: Port = Port { protocol: Protocol::Udp, inside: 8082, outside: 30_527 };

/// Where the agent of another tenant listens
const OTHER_TCP: Port = Port { protocol: Protocol::Tcp, inside: 9001, outside: 30_528 };
const OTHER_UDP: Port = Port { protocol: Protocol::Udp, inside: 9002, outside: 30_529 };

/// All that the far machine has mapped
const MAPPED: [Port; 4] = [TCP, UDP, OTHER_TCP, OTHER_UDP];

/// A round trip that makes QUIC the better kind
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// Payload to be on its way when something happens to it
const BEGUN: u64 = 6 << 20;

/// A mapped port
#[derive(Clone, Copy, Debug)]
struct Port {
    protocol: Protocol,
    inside: u16,
    outside: u16,
}

impl Port {
    /// The flag that names it, and its value
    fn flag(self) -> [String; 2] {
        let Self { protocol, inside, outside } = self;
        let carrier = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
        [String::from("--data-port"), format!("{inside}:{outside}/{carrier}")]
    }

    fn mapping(self) -> Mapping {
        let Self { protocol, inside, outside } = self;
        Mapping { protocol, outside, inside }
    }
}

/// The flags that name ports
fn named(ports: &[Port]) -> Vec<String> {
    ports.iter().flat_map(|port| port.flag()).collect()
}

/// Which way payload goes
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Push,
    Pull,
}

impl Verb {
    fn direction(self) -> Direction {
        if self == Self::Push { Direction::Out } else { Direction::In }
    }
}

/// The link of most tests: 100 Mbit/s, 40 ms
fn long_link() -> Weather {
    Weather::default().megabits(100).round_trip(ROUND_TRIP)
}

/// A server called `host` in the far host, a home in the near one, and a place for trees
struct Pair {
    lab: Lab,
    server: Sshd,
    xfer: Xfer,
    place: TempDir,
}

impl Pair {
    /// Over a link of this weather, on which the ports of [`MAPPED`] and that of the login are all
    /// that passes: no other port of the far host can be reached, and none of the near one
    fn new(weather: &Weather) -> Self {
        Self::with(weather, "")
    }

    /// The same with lines of sshd_config
    fn with(weather: &Weather, config: &str) -> Self {
        let lab = Lab::new(&Weather::default());
        let server = Sshd::start_within(&lab.far, lab.link.far(), config);
        let xfer = Xfer::new().ssh_config(server.client_config("host")).within(&lab.near);
        let pair = Self { lab, server, xfer, place: TempDir::new().expect("temp dir") };
        // From here on the agent lies there, and is no part of what crosses the link.
        let first = pair.path("hostname").into_os_string();
        let arguments = ["pull", "--route", "ssh", "host:/etc/hostname"].map(OsString::from);
        pair.xfer.run(arguments.into_iter().chain([first])).expect_code(0);
        pair.lab.link.map_ports(&MAPPED.map(Port::mapping));
        pair.lab.link.change_both(|now| now.clone_from(weather));
        let mut open = vec![pair.server.port()];
        open.extend(MAPPED.map(|port| port.outside));
        pair.block(&Selection::default().all_ports_but(&open));
        pair
    }

    /// Lets no such packet pass, in either direction, from now on
    fn block(&self, selection: &Selection) {
        self.lab.link.change_both(|weather| weather.drops.push(selection.clone()));
    }

    /// Lets every packet pass
    fn block_nothing(&self) {
        self.lab.link.change_both(|weather| weather.drops.clear());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A tree of one file of so many MiB and a few small ones
    fn tree(&self, name: &str, mebibytes: u64) -> PathBuf {
        let root = self.path(name);
        std::fs::create_dir(&root).expect("create");
        tree::big_file(&root.join("large"), mebibytes << 20, mebibytes);
        tree::small_files(&root.join("small"), 20, 3);
        root
    }

    /// The command that moves `source` to `destination`, with events on standard output
    fn arguments<F: AsRef<str>>(&self, verb: Verb, flags: &[F], names: [&str; 2]) -> Vec<OsString> {
        let [source, destination] = names.map(|name| format!("{}/", self.path(name).display()));
        let [verb, source, destination] = match verb {
            Verb::Push => ["push".to_owned(), source, format!("host:{destination}")],
            Verb::Pull => ["pull".to_owned(), format!("host:{source}"), destination],
        };
        let flags = flags.iter().map(|flag| flag.as_ref().to_owned());
        let all = [verb, "--json".to_owned()].into_iter().chain(flags).chain([source, destination]);
        all.map(OsString::from).collect()
    }

    /// Moves a tree whole
    fn moved<F: AsRef<str>>(&self, verb: Verb, flags: &[F], names: [&str; 2]) -> Told {
        self.ended(self.xfer.run(self.arguments(verb, flags, names)), names)
    }

    /// Starts to move a tree, and returns when so much payload has entered the link
    fn begun<F: AsRef<str>>(&self, verb: Verb, flags: &[F], names: [&str; 2]) -> Running {
        let before = self.counts(verb).bytes;
        let running = self.xfer.start(self.arguments(verb, flags, names));
        self.wait(verb, |counts| counts.bytes >= before + BEGUN);
        running
    }

    /// Panics unless a tree was moved whole; what was told of it
    fn ended(&self, ended: Ended, names: [&str; 2]) -> Told {
        let ended = ended.expect_code(0);
        let [source, destination] = names.map(|name| self.path(name));
        oracle::assert_equal(&source, &destination);
        oracle::assert_nothing_of_xfer(&destination);
        Told(ended.events())
    }

    fn counts(&self, verb: Verb) -> Counts {
        self.lab.link.counts(verb.direction())
    }

    fn wait(&self, verb: Verb, wanted: impl Fn(&Counts) -> bool) {
        let waited = self.lab.link.wait_for(verb.direction(), wanted, SOON);
        assert!(waited, "{:?}", self.counts(verb));
    }

    /// Waits until so many packets more arrive
    fn wait_delivered(&self, verb: Verb, packets: u64) {
        let before = self.counts(verb).delivered;
        self.wait(verb, |counts| counts.delivered >= before + packets);
    }
}

/// The events of a run
#[derive(Clone, Debug)]
struct Told(Vec<Value>);

impl Told {
    fn result(&self) -> &Value {
        self.0.last().expect("a result")
    }

    /// A number of the result
    fn number(&self, name: &str) -> u64 {
        let result = self.result();
        result[name].as_u64().unwrap_or_else(|| panic!("no number {name:?} in {result}"))
    }

    /// Kinds of the routes that carried payload, one after the other
    fn routes(&self) -> Vec<&str> {
        let routes = self.0.iter().filter(|event| event["type"] == "route");
        let taken = routes.filter(|event| event.get("decision").is_none());
        taken.filter_map(|event| event["kind"].as_str()).collect()
    }

    /// What was decided of ways, as `KIND PLACE DECISION`, but how many streams they use
    fn decisions(&self) -> Vec<String> {
        let text = |event: &Value, name: &str| event[name].as_str().map(str::to_owned);
        let line = |event: &Value| {
            let decision = text(event, "decision")?;
            Some(format!("{} {} {decision}", text(event, "kind")?, text(event, "place")?))
        };
        let routes = self.0.iter().filter(|event| event["type"] == "route");
        routes.filter(|event| event["decision"] != "tuned").filter_map(line).collect()
    }
}

/// A decision as [`Told::decisions`] has it, on a port of the far host
fn decided(port: Port, decision: &str) -> String {
    let kind = if port.protocol == Protocol::Tcp { "tls" } else { "quic" };
    format!("{kind} 10.77.0.2:{} {decision}", port.outside)
}
