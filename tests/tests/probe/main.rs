//! `xfer probe` against links that are known: what it finds is what the link was set to

mod here;
mod link;
mod peer;
mod requests;
mod unreached;

use serde_json::Value;
use xfer_tests::net::{Lab, Mapping, Protocol, Selection, Weather};
use xfer_tests::sshd::Sshd;
use xfer_tests::xfer::{Ended, Xfer};

/// Where the agent listens, and where that is dialled
const PORTS: [(Protocol, u16, u16); 2] =
    [(Protocol::Tcp, 8081, 30_526), (Protocol::Udp, 8082, 30_527)];

/// The flags that name these ports
const NAMED: [&str; 4] = ["--data-port", "8081:30526/tcp", "--data-port", "8082:30527/udp"];

/// A server called `host` in the far host, and a home in the near one
struct Stand {
    lab: Lab,
    server: Sshd,
    xfer: Xfer,
}

impl Stand {
    /// Over a link of this weather, with two mapped ports
    fn new(weather: &Weather) -> Self {
        let lab = Lab::new(&Weather::default());
        let server = Sshd::start_within(&lab.far, lab.link.far(), "");
        let xfer = Xfer::new().ssh_config(server.client_config("host")).within(&lab.near);
        let stand = Self { lab, server, xfer };
        // From here on the agent lies there, and is no part of what crosses the link.
        stand.xfer.run(["install", "host:/tmp/"]).expect_code(0);
        let mapping = |(protocol, inside, outside)| Mapping { protocol, outside, inside };
        stand.lab.link.map_ports(&PORTS.map(mapping));
        stand.lab.link.change_both(|now| now.clone_from(weather));
        let open = [stand.server.port(), PORTS[0].2, PORTS[1].2];
        stand.block(&Selection::default().all_ports_but(&open));
        stand
    }

    /// Lets no such packet pass, in either direction, from now on
    fn block(&self, selection: &Selection) {
        self.lab.link.change_both(|weather| weather.drops.push(selection.clone()));
    }

    /// What is told of one location
    fn probed(&self, arguments: &[&str]) -> Told {
        probed(&self.xfer, arguments)
    }
}

/// What a probe tells of one location
fn probed(xfer: &Xfer, arguments: &[&str]) -> Told {
    let ended = xfer.run(["probe", "--json"].iter().chain(arguments)).expect_code(0);
    let told = Told::of(&ended);
    println!("{:#}", told.probe);
    told
}

/// The event of a location, and the result
#[derive(Debug)]
struct Told {
    probe: Value,
    result: Value,
}

impl Told {
    fn of(ended: &Ended) -> Self {
        let events = ended.events();
        let probe = events.iter().rfind(|event| event["type"] == "probe").expect("a probe");
        Self { probe: probe.clone(), result: ended.result() }
    }

    fn way(&self, kind: &str) -> &Value {
        let ways = self.probe["ways"].as_array().expect("ways");
        ways.iter().find(|way| way["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
    }

    fn estimates(&self) -> &[Value] {
        self.probe["estimates"].as_array().expect("estimates")
    }
}

/// A number that must lie in a range
#[track_caller]
fn assert_within(value: &Value, range: std::ops::RangeInclusive<f64>, what: &str) {
    let number = value.as_f64().unwrap_or_else(|| panic!("{what}: {value}"));
    assert!(range.contains(&number), "{what}: {number}, not in {range:?}");
}
