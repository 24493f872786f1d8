//! A map of ports that changes while a transfer runs, and who has the old ports then

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use xfer_core::connect::{Connector, RouteSource};
use xfer_core::engine::{Summary, Transfer, run};
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::event::{Event, RouteDecision};
use xfer_core::location::{Location, Machine, SshHost};
use xfer_core::options::{MappedPort, TransferOptions};
use xfer_core::transport::ssh::{NoPrompt, SshOptions};
use xfer_protocol::data_port::{Carrier, InsidePort};
use xfer_tests::net::Protocol;
use xfer_tests::oracle;
use xfer_tests::xfer::{Running, Xfer, binary};

use crate::{OTHER_TCP, OTHER_UDP, Pair, Port, TCP, UDP, Verb, decided, long_link, named};

/// The ports after each tenant got the other's outside ones
const AFTER: [Port; 4] = [
    Port { outside: OTHER_TCP.outside, ..TCP },
    Port { outside: OTHER_UDP.outside, ..UDP },
    Port { outside: TCP.outside, ..OTHER_TCP },
    Port { outside: UDP.outside, ..OTHER_UDP },
];

/// A platform that tells the map as a script has it
#[derive(Debug)]
struct Platform(Mutex<[Port; 2]>);

#[async_trait]
impl RouteSource for Platform {
    async fn mapped_ports(&self) -> Result<Vec<MappedPort>, String> {
        let now = *self.0.lock().expect("no panic");
        Ok(now.map(mapped).to_vec())
    }
}

fn mapped(port: Port) -> MappedPort {
    let carrier = match port.protocol {
        Protocol::Tcp => Carrier::Tcp,
        Protocol::Udp => Carrier::Udp,
    };
    let inside = InsidePort { carrier, number: port.inside };
    MappedPort { inside, host: Some(String::from("10.77.0.2")), outside: port.outside }
}

/// Lines of decisions as [`crate::Told::decisions`] has them
type Decisions = Arc<Mutex<Vec<(String, RouteDecision)>>>;

/// A push by way of the library, with a platform that knows the map
fn push(
    pair: &Pair,
    platform: &Arc<Platform>,
    decisions: &Decisions,
) -> JoinHandle<Result<Summary, TransferError>> {
    let mut ssh = SshOptions::new(Arc::new(NoPrompt), 7);
    ssh.config_file = Some(pair.server.client_config("host"));
    let host = SshHost { user: None, host: "host".into(), port: None };
    let told = Arc::clone(decisions);
    let observer = Arc::new(move |event: &Event| {
        if let Event::RouteTrial(trial) = event {
            let line = format!("{} {}", trial.kind, trial.place);
            println!("{line} {}: {}", trial.decision.name(), trial.reason);
            told.lock().expect("no panic").push((line, trial.decision));
        }
    });
    let connector = Connector::new(ssh, Some(pair.path("state")))
        .with_route_source(host.clone(), Arc::clone(platform) as Arc<dyn RouteSource>);
    let at = |machine, path: &Path| {
        let path = [path.as_os_str().as_bytes(), b"/"].concat();
        Location { machine, path }
    };
    let mut options = TransferOptions::default();
    options.network.agent_binary = Some(binary().to_owned());
    let transfer = Transfer {
        sources: vec![at(Machine::Local, &pair.path("source"))],
        destination: at(Machine::Ssh(host), &pair.path("destination")),
        options,
        plan_only: false,
    };
    let near = pair.lab.near.clone();
    std::thread::spawn(move || {
        near.within(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
            runtime.block_on(run(transfer, connector, observer, CancellationToken::new()))
        })
    })
}

/// Rows: E11.
#[test]
fn a_transfer_finishes_on_the_new_ports_when_all_change() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 32);
    let tenant = Tenant::beside(&pair);
    let platform = Arc::new(Platform(Mutex::new([TCP, UDP])));
    let decisions = Decisions::default();
    let before = pair.counts(Verb::Push).bytes;
    let pushing = push(&pair, &platform, &decisions);
    pair.wait(Verb::Push, |counts| counts.bytes >= before + (16 << 20));
    pair.lab.link.map_ports(&AFTER.map(Port::mapping));
    *platform.0.lock().expect("no panic") = [AFTER[0], AFTER[1]];
    let summary = pushing.join().expect("no panic").expect("a summary");
    assert_eq!(summary.class, ExitClass::Done);
    oracle::assert_equal(&pair.path("source"), &pair.path("destination"));
    let decisions = decisions.lock().expect("no panic").clone();
    let on = |port: Port, decision| (format!("quic 10.77.0.2:{}", port.outside), decision);
    let expected = [
        on(UDP, RouteDecision::Taken),
        on(UDP, RouteDecision::Lost),
        on(AFTER[1], RouteDecision::Taken),
    ];
    assert_eq!(decisions, expected);
    tenant.goes_on();
}

/// Rows: E11.
#[test]
fn the_agent_of_another_tenant_is_not_taken_for_ours() {
    let pair = Pair::new(&long_link());
    pair.tree("source", 8);
    let tenant = Tenant::beside(&pair);
    pair.lab.link.map_ports(&AFTER.map(Port::mapping));
    let flags = named(&[TCP, UDP]);
    for route in ["quic", "tls"] {
        let flags = [&flags[..], &["--route".to_owned(), route.to_owned()]].concat();
        let before = pair.counts(Verb::Push).bytes;
        let ended = pair.xfer.run(pair.arguments(Verb::Push, &flags, ["source", route]));
        let ended = ended.expect_code(11);
        assert_eq!(ended.result()["reason"], "data-port-identity");
        assert!(pair.counts(Verb::Push).bytes - before < 1 << 20, "payload was sent");
        assert!(!pair.path(route).exists());
    }
    let told = pair.moved(Verb::Push, &flags, ["source", "destination"]);
    assert_eq!(told.routes().last(), Some(&"ssh"), "{told:?}");
    for port in [UDP, TCP] {
        assert!(told.decisions().contains(&decided(port, "failed")), "{:?}", told.decisions());
    }
    tenant.goes_on();
}

/// Another tenant of the far machine, whose agent listens as long as its transfer takes
struct Tenant {
    running: Running,
    _home: Xfer,
}

impl Tenant {
    fn beside(pair: &Pair) -> Self {
        pair.tree("theirs", 4);
        let config = pair.server.client_config("host");
        let home = Xfer::new().ssh_config(config).within(&pair.lab.near);
        let slowly = ["--bwlimit".to_owned(), "50KB/s".to_owned()];
        let flags = [&named(&[OTHER_TCP, OTHER_UDP])[..], &slowly].concat();
        let running = home.start(pair.arguments(Verb::Push, &flags, ["theirs", "of-theirs"]));
        let taken = running.next_event(|event| event["decision"] == "taken").expect("a route");
        assert_eq!(taken["place"], format!("10.77.0.2:{}", OTHER_UDP.outside));
        Self { running, _home: home }
    }

    /// Panics unless its transfer goes on
    fn goes_on(&self) {
        let told = self.running.next_event(|event| event["type"] == "progress");
        assert!(told.is_some(), "the transfer of another tenant has ended");
    }
}
