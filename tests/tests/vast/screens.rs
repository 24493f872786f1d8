//! `probe` of every kind of instance: one screen on which a person can act

use serde_json::{Value, json};
use xfer_tests::net::{Mapping, Protocol};
use xfer_tests::vast_api::instance;

use super::logins::{ID, Rented};

const PLACE: &str = "vast:33402296:data";

/// What is measured differs from run to run: of a way its kind and why stay, of the rest labels
fn screen(rented: &Rented, code: i32) -> Vec<String> {
    let arguments = ["probe", PLACE, "--duration", "1s", "--max-bytes", "4MB"];
    let ended = rented.stand.xfer.run(arguments).expect_code(code);
    let text = if code == 0 { &ended.stdout } else { &ended.stderr };
    let host = rented.lab.link.far().to_string();
    let port = rented.machine.port().to_string();
    let line = |line: &str| {
        let line = line.replace(&host, "HOST").replace(&port, "PORT");
        let mut words = line.split_whitespace();
        match words.next() {
            Some(way @ ("way" | "ssh" | "tls" | "quic")) => {
                let why = line.rsplit("  ").next().unwrap_or_default().trim();
                format!("{way}: {why}")
            }
            Some(label @ ("cpu" | "disk" | "push" | "pull" | "moved")) => label.to_owned(),
            _ => line.trim_end().to_owned(),
        }
    };
    text.lines().map(line).collect()
}

fn expect(name: &str, screen: &[String], expected: &[&str]) {
    assert_eq!(screen, expected, "{name}:\n{}", screen.join("\n"));
}

const ABSENT: [&str; 2] = [
    "tls: absent: no data port is known; --data-port names one",
    "quic: absent: no data port is known; --data-port names one",
];
const FACTS: [&str; 4] = [
    "  label     train-33402296",
    "  state     running: success, running pytorch/pytorch/ssh",
    "  price     $0.4321/h out $0.0040/GB in $0.0020/GB",
    "  clock     ends 2026-12-30T03:06:40.000Z",
];
const MEASURED: [&str; 5] = ["cpu", "disk", "push", "pull", "moved"];
const LIMIT: &str = "  limit     a transfer of more than --proxy-limit (1 GB) is refused on this \
                     way, before its first byte; ports are fixed when an instance is made";
const ONLY: &str = "  takes     ssh: it is the only one that is open";

#[test]
fn of_one_that_is_reached_straight() {
    let rented = Rented::new();
    rented.push(&[], 0);
    let direct =
        ["vast:33402296:data", "way: why", "ssh: direct: no ProxyJump or ProxyCommand leads there"];
    let expected = [&direct[..], &ABSENT, &[ONLY], &FACTS, &MEASURED].concat();
    expect("direct", &screen(&rented, 0), &expected);
    // One that may end any time, whose prices nobody tells, and that has all the ports there are.
    rented.stand.api.set(ID, "is_bid", json!(true));
    for field in
        ["dph_total", "internet_down_cost_per_tb", "internet_up_cost_per_tb", "inet_up_cost"]
    {
        rented.stand.api.set(ID, field, json!(null));
    }
    let mut ports = serde_json::Map::new();
    ports.insert("22/tcp".to_owned(), json!([{"HostPort": rented.machine.port()}]));
    ports
        .extend((0..63).map(|n| (format!("{}/sctp", 9000 + n), json!([{"HostPort": 40_000 + n}]))));
    rented.stand.api.set(ID, "ports", Value::Object(ports));
    let facts = [
        FACTS[0],
        FACTS[1],
        "  price     ?/h out ?/GB in ?/GB",
        FACTS[3],
        "  clock     may be stopped by a higher bid",
        "  ports     64 ports are mapped, and no machine has more",
    ];
    let expected = [&direct[..], &ABSENT, &[ONLY], &facts, &MEASURED].concat();
    let said: Vec<_> = screen(&rented, 0);
    expect("with all that there is to say", &said, &expected);
}

#[test]
fn of_one_with_a_mapped_port_beside_its_login() {
    let rented = Rented::new();
    rented.push(&[], 0);
    let mapping = Mapping { protocol: Protocol::Tcp, outside: 30_526, inside: 8081 };
    rented.lab.link.map_ports(&[mapping]);
    let port = rented.machine.port().to_string();
    let ports = json!({"22/tcp": [{"HostPort": port}], "8081/tcp": [{"HostPort": "30526"}]});
    rented.stand.api.set(ID, "ports", ports);
    let said = screen(&rented, 0);
    let expected = [
        "vast:33402296:data",
        "way: why",
        "ssh: direct: no ProxyJump or ProxyCommand leads there",
        "tls: direct: its port is dialled",
        "quic: direct: the far side dials this machine",
        "  takes     tls: the far side answers within 5 ms, where TLS loses nothing and costs less",
    ];
    expect("a mapped port", &said, &[&expected[..], &FACTS, &MEASURED].concat());
}

#[test]
fn of_one_behind_its_gateway() {
    let rented = Rented::new();
    rented.push(&[], 0);
    let (host, port) = (rented.lab.link.far().to_string(), rented.machine.port());
    rented.stand.api.set(ID, "ssh_host", json!(host));
    rented.stand.api.set(ID, "ssh_port", json!(port));
    rented.stand.api.set(ID, "ports", json!({}));
    let gateway = "ssh: proxied: Vast's SSH proxy (HOST:PORT) passes its bytes on";
    let ssh = format!("{gateway}; no direct port: no port is mapped to 22/tcp");
    let head = ["vast:33402296:data", "way: why", &ssh];
    let tail = [&FACTS[..], &MEASURED].concat();
    let expected = [&head[..], &ABSENT, &[ONLY, LIMIT], &tail].concat();
    expect("no direct port", &screen(&rented, 0), &expected);
    // A port that is there and not reached from here is another thing, and told as such.
    rented.stand.api.set(ID, "ports", json!({"22/tcp": [{"HostPort": "1"}]}));
    let said = screen(&rented, 0);
    let told = format!("{gateway}; vast:33402296 (root@HOST:1): it cannot be reached");
    assert_eq!(said[2], told, "{}", said.join("\n"));
}

const STOPPED: &str = "\
xfer: vast:33402296: it is stopped
  state     exited: success, running pytorch/pytorch/ssh
  costs     $0.0417/h for its disk, until it is destroyed
  next      repeat with --start: it is started, waited for, and costs its full price from then on
  exit 18 machine-stopped";
const OUTBID: &str = "\
xfer: vast:33402296: it is stopped, as a higher bid does
  state     exited: success, running pytorch/pytorch/ssh
  costs     $0.0417/h for its disk, until it is destroyed
  do one of 1  raise the bid; then repeat with --wait-machine 6h, which waits until it runs
            2  repeat with --start: it is started, waited for, and costs its full price from then on
  exit 18 machine-outbid";
const STARTING: &str = "\
xfer: vast:33402296: it is not running yet
  state     loading: success, running pytorch/pytorch/ssh
  do one of 1  repeat with --wait-machine 6h, which waits until it runs
            2  look at it: a start that waits for its GPU can take hours
  exit 18 machine-starting";
const OFFLINE: &str = "\
xfer: vast:33402296: its host does not report
  state     offline: success, running pytorch/pytorch/ssh
  do one of 1  repeat with --wait-machine 6h, which waits until it runs
            2  do not destroy it for that: the host may come back, and the data with it
  exit 18 machine-host-offline";
const GONE: &str = "\
xfer: vast:33402296: it is gone: the platform's whole list does not have it
  next      look at its name; xfer ls vast: lists the machines that are there
  exit 18 machine-gone";

#[test]
fn of_those_that_do_not_run() {
    let rented = Rented::new();
    let host = rented.lab.link.far().to_string();
    for (actual, wanted, bid, expected) in [
        ("exited", "stopped", false, STOPPED),
        ("exited", "stopped", true, OUTBID),
        ("loading", "running", false, STARTING),
        ("offline", "running", false, OFFLINE),
    ] {
        let mut shown = instance(ID, &host, 22);
        shown["actual_status"] = json!(actual);
        shown["is_bid"] = json!(bid);
        for field in ["cur_state", "next_state", "intended_status"] {
            shown[field] = json!(wanted);
        }
        rented.stand.api.put(ID, shown);
        assert_eq!(screen(&rented, 18).join("\n"), expected);
    }
    rented.stand.api.remove(ID);
    assert_eq!(screen(&rented, 18).join("\n"), GONE);
}
