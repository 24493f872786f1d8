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
    use Comes::{Direct, Proxied, To};
    let rented = Rented::new();
    let (host, port) = (rented.lab.link.far().to_string(), rented.machine.port());
    let gateway = |port: u16| json!({"ssh_host": host, "ssh_port": port});
    let only_gateway = |port: u16| {
        let mut fields = gateway(port);
        fields["ports"] = json!({"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "41022"}]});
        fields
    };
    let bound = |bindings: Value| json!({"ports": {"22/tcp": bindings}});
    let jupyter = |port: u16| {
        let mut fields = only_gateway(port);
        fields["image_runtype"] = json!("jupyter_proxy ssh_proxy");
        fields
    };
    let state = |actual: Value, wanted: &str, ports: Value| {
        json!({"actual_status": actual, "cur_state": wanted, "next_state": wanted,
               "intended_status": wanted, "ports": ports})
    };
    let here = json!({"22/tcp": [{"HostPort": port.to_string()}]});
    for (name, fields, comes) in [
        ("direct", json!({}), Direct),
        ("proxy only", only_gateway(port), Proxied),
        (
            "no ports at all",
            {
                let mut f = gateway(port);
                f["ports"] = json!(null);
                f
            },
            Proxied,
        ),
        ("jupyter, its own port", jupyter(port), Proxied),
        ("jupyter, the next port", jupyter(port - 1), Proxied),
        ("the next port without jupyter", only_gateway(port - 1), To(10, "host-unreachable")),
        ("stopped", state(json!("exited"), "stopped", json!(null)), To(18, "machine-stopped")),
        (
            "offline",
            state(json!("offline"), "running", here.clone()),
            To(18, "machine-host-offline"),
        ),
        (
            "no heartbeat",
            state(json!("unknown"), "running", here.clone()),
            To(18, "machine-host-offline"),
        ),
        ("provisioning", state(json!(null), "running", json!(null)), To(18, "machine-starting")),
        (
            "created, stale ports",
            state(json!("created"), "running", here),
            To(18, "machine-starting"),
        ),
        ("two bindings", bound(json!([{"HostPort": "1"}, {"HostPort": port.to_string()}])), Direct),
        ("newlines in the IP", json!({"public_ipaddr": format!("\n {host}\r\n")}), Direct),
        ("a port as a number", bound(json!([{"HostPort": port}])), Direct),
        (
            "-1 before a port",
            bound(json!([{"HostPort": "-1"}, {"HostPort": port.to_string()}])),
            Direct,
        ),
        ("-1 as a number", bound(json!([{"HostPort": -1}])), To(13, "no-login-route")),
        ("-1 as a text", bound(json!([{"HostPort": "-1"}])), To(13, "no-login-route")),
        (
            "the host's own sshd",
            json!({"ports": {}, "machine_dir_ssh_port": port}),
            To(13, "no-login-route"),
        ),
    ] {
        let mut shown = instance(ID, &host, port);
        shown["ssh_host"] = json!(null);
        for (field, value) in fields.as_object().expect("an object") {
            shown[field] = value.clone();
        }
        rented.stand.api.put(ID, shown);
        let result = match comes {
            Direct | Proxied => rented.push(&[], 0),
            To(code, _) => rented.push(&[], code),
        };
        match comes {
            Direct => assert_eq!(result["route"]["direct"], json!(true), "{name}"),
            Proxied => assert_eq!(result["route"]["direct"], json!(false), "{name}"),
            To(_, reason) => assert_eq!(result["reason"], reason, "{name}"),
        }
    }
    rented.assert_arrived();
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
