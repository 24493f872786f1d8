//! Which way in an instance has, as the platform shows it, with a real sshd wherever one runs

use serde_json::{Value, json};
use xfer_tests::net::{Mapping, Protocol};
use xfer_tests::vast_api::instance;

use super::logins::{ID, Rented, assert_untouched};

/// What a push comes to
#[derive(Clone, Copy)]
enum Comes {
    Direct,
    Proxied,
    To(i32, &'static str),
}

/// The acceptance of issue 4: each resolves to the route or the reason that its facts say.
#[test]
fn every_kind_of_instance_has_its_route_or_its_reason() {
    let rented = Rented::new();
    let (host, port) = (rented.lab.link.far().to_string(), rented.machine.port());
    for (name, fields, comes) in [running(&host, port), waiting(port)].concat() {
        let mut shown = instance(ID, &host, port);
        shown["ssh_host"] = json!(null);
        for (field, value) in fields.as_object().expect("an object") {
            shown[field] = value.clone();
        }
        rented.stand.api.put(ID, shown);
        // A data port is another way than the login, which this is about.
        let pushed = |code| rented.push(&["--route", "ssh"], code);
        match comes {
            Comes::Direct => assert_eq!(pushed(0)["route"]["direct"], json!(true), "{name}"),
            Comes::Proxied => assert_eq!(pushed(0)["route"]["direct"], json!(false), "{name}"),
            Comes::To(code, reason) => assert_eq!(pushed(code)["reason"], reason, "{name}"),
        }
    }
    rented.assert_arrived();
}

type Kind = (&'static str, Value, Comes);

/// Of instances that run, what differs from one that is reached straight, and what comes of it
fn running(host: &str, port: u16) -> Vec<Kind> {
    use Comes::{Direct, Proxied, To};
    let gateway = |port: u16, ports: Value, mode: &str| {
        json!({"ssh_host": host, "ssh_port": port, "ports": ports,
               "image_runtype": mode})
    };
    let others = || json!({"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "41022"}]});
    let (plain, jupyter) = ("ssh ssh_proxy", "jupyter_proxy ssh_proxy");
    let bound = |bindings: Value| json!({"ports": {"22/tcp": bindings}});
    let text = port.to_string();
    let none = To(13, "no-login-route");
    let own = json!({"ports": {}, "machine_dir_ssh_port": port});
    vec![
        ("direct", json!({}), Direct),
        ("proxy only", gateway(port, others(), plain), Proxied),
        ("no ports at all", gateway(port, json!(null), plain), Proxied),
        ("jupyter, its own port", gateway(port, others(), jupyter), Proxied),
        ("jupyter, the next port", gateway(port - 1, others(), jupyter), Proxied),
        ("one port off", gateway(port - 1, others(), plain), To(10, "host-unreachable")),
        ("two bindings", bound(json!([{"HostPort": "1"}, {"HostPort": text}])), Direct),
        ("newlines in the IP", json!({"public_ipaddr": format!("\n {host}\r\n")}), Direct),
        ("a port as a number", bound(json!([{"HostPort": port}])), Direct),
        ("-1 before a port", bound(json!([{"HostPort": "-1"}, {"HostPort": text}])), Direct),
        ("-1 as a number", bound(json!([{"HostPort": -1}])), none),
        ("-1 as a text", bound(json!([{"HostPort": "-1"}])), none),
        ("the host's own sshd", own, none),
    ]
}

/// Of instances that do not run, whatever ports they still show
fn waiting(port: u16) -> Vec<Kind> {
    let of = |actual: Value, wanted: &str, ports: Value| {
        json!({"actual_status": actual, "cur_state": wanted, "next_state": wanted,
               "intended_status": wanted, "ports": ports})
    };
    let stale = || json!({"22/tcp": [{"HostPort": port.to_string()}]});
    let to = |reason| Comes::To(18, reason);
    let (offline, starting) = (to("machine-host-offline"), to("machine-starting"));
    vec![
        ("stopped", of(json!("exited"), "stopped", json!(null)), to("machine-stopped")),
        ("stopped, stale ports", of(json!("exited"), "stopped", stale()), to("machine-stopped")),
        ("offline", of(json!("offline"), "running", stale()), offline),
        ("no heartbeat", of(json!("unknown"), "running", stale()), offline),
        ("provisioning", of(json!(null), "running", json!(null)), starting),
        ("created, stale ports", of(json!("created"), "running", stale()), starting),
    ]
}

/// The acceptance of issue 4: behind an address that leads to another instance by now nothing is
/// sent, and the new address is found once the platform tells it.
///
/// Rows: E11, M12.
#[test]
fn an_address_that_leads_to_another_instance_is_left_and_the_new_one_found() {
    let rented = Rented::new();
    rented.push(&[], 0);
    xfer_tests::tree::big_file(&rented.tree().join("later"), 1 << 20, 4);
    let other = rented.other(999);
    let of = |outside, inside| Mapping { protocol: Protocol::Tcp, outside, inside };
    let port = rented.machine.port();
    rented.lab.link.map_ports(&[of(30_600, port), of(port, other.port())]);
    rented.stand.api.set(ID, "ssh_host", json!(null));
    // What the platform shows is late.
    let refused = rented.push(&[], 11);
    assert_eq!(refused["payload_bytes"], 0);
    assert_untouched(&other);
    rented.stand.api.set(ID, "ports", json!({"22/tcp": [{"HostPort": "30600"}]}));
    assert_eq!(rented.push(&[], 0)["route"]["direct"], json!(true));
    rented.assert_arrived();
    assert_untouched(&other);
}

/// The same of an instance that was never reached before: no key tells, and so its name does.
///
/// Rows: E11, M12.
#[test]
fn another_instance_at_a_first_address_is_left_for_the_next_way_in() {
    let rented = Rented::new();
    let other = rented.other(999);
    let ports = json!({"22/tcp": [{"HostPort": other.port()}]});
    rented.stand.api.set(ID, "ports", ports);
    rented.stand.api.set(ID, "ssh_host", json!(null));
    assert_eq!(rented.push(&[], 11)["reason"], "instance-identity");
    assert_untouched(&other);
    let port = rented.machine.port();
    rented.stand.api.set(
        ID,
        "ports",
        json!({"22/tcp": [{"HostPort": other.port()}, {"HostPort": port}]}),
    );
    rented.push(&[], 0);
    rented.assert_arrived();
    assert_untouched(&other);
}
