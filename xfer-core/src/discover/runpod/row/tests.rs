use super::*;

const PORTS: &str = r#"[
    {"ip":"100.65.0.119","isIpPublic":false,"privatePort":8888,"publicPort":60141,"type":"http"},
    {"ip":" 203.0.113.9\n","isIpPublic":true,"privatePort":22,"publicPort":10341,"type":"tcp"},
    {"ip":"203.0.113.9","isIpPublic":true,"privatePort":8081,"publicPort":10342,"type":"tcp"},
    {"ip":"203.0.113.9","isIpPublic":true,"privatePort":9000,"publicPort":10343,"type":"udp"}]"#;

fn parsed(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn with(changes: &[(&str, &str)]) -> MachineRow {
    let text = format!(
        r#"{{"id":"xedezhzb9la3ye","name":"train","desiredStatus":"RUNNING","costPerHr":0.69,
            "podType":"RESERVED","runtime":{{"ports":{PORTS}}},"env":["TOKEN=hidden"]}}"#
    );
    let Json::Object(mut object) = parsed(&text) else { panic!("{text}") };
    for (name, value) in changes {
        object.insert((*name).to_owned(), parsed(value));
    }
    read(&Json::Object(object)).unwrap()
}

fn with_ports(ports: &str) -> MachineRow {
    with(&[("runtime", &format!(r#"{{"ports":{ports}}}"#))])
}

fn port_with(field: &str, value: &str) -> MachineRow {
    let mut fields = vec![
        ("ip", "\"203.0.113.9\""),
        ("isIpPublic", "true"),
        ("privatePort", "22"),
        ("publicPort", "10341"),
        ("type", "\"tcp\""),
    ];
    fields.retain(|(name, _)| *name != field);
    fields.push((field, value));
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    with_ports(&format!("[{{{}}}]", fields.join(",")))
}

#[test]
fn only_a_public_port_to_sshd_is_a_way_in() {
    let row = with(&[]);
    assert_eq!(row.machine.to_string(), "runpod:xedezhzb9la3ye");
    let ways: Vec<_> =
        row.logins.iter().map(|way| format!("{}@{}:{}", way.user, way.host, way.port)).collect();
    assert_eq!(ways, ["root@203.0.113.9:10341"]);
    assert!(row.logins[0].direct && row.lacking.is_empty());
    let says = SaysItself { variable: "RUNPOD_POD_ID", value: "xedezhzb9la3ye".to_owned() };
    assert_eq!(row.says, Some(says));
    assert_eq!((row.mapped, row.prices.running_per_hour), (3, Some(0.69)));
    assert!(!format!("{row:?}").contains("hidden"));
}

#[test]
fn other_public_ports_may_carry_payload() {
    let ports: Vec<_> = with(&[])
        .ports
        .iter()
        .map(|port| (port.inside.carrier, port.inside.number, port.outside))
        .collect();
    assert_eq!(ports, [(Carrier::Tcp, 8081, 10342), (Carrier::Udp, 9000, 10343)]);
}

#[test]
fn without_one_it_is_said_why() {
    for ports in ["[]", "null", "{}", "3"] {
        let row = with_ports(ports);
        assert!(row.logins.is_empty() && row.ports.is_empty(), "{ports}");
        let last = row.lacking.last().expect("a reason");
        assert!(last.contains("ssh.runpod.io"), "{ports}: {:?}", row.lacking);
    }
    for (field, value, is_open) in [
        ("isIpPublic", "true", true),
        ("isIpPublic", "false", false),
        ("isIpPublic", "null", false),
        ("isIpPublic", "\"true\"", false),
        ("isIpPublic", "1", false),
        ("type", "\"http\"", false),
        ("type", "\"udp\"", false),
        ("type", "null", false),
        ("privatePort", "\"22\"", true),
        ("privatePort", "2222", false),
        ("privatePort", "null", false),
        ("publicPort", "0", false),
        ("publicPort", "70000", false),
        ("publicPort", "-1", false),
        ("publicPort", "\"22 \"", false),
        ("publicPort", "22.5", false),
        ("ip", "\"127.0.0.1\"", false),
        ("ip", "\"169.254.169.254\"", false),
        ("ip", "\"ssh.runpod.io\"", false),
        ("ip", "null", false),
    ] {
        let row = port_with(field, value);
        assert_eq!(!row.logins.is_empty(), is_open, "{field} {value}: {row:?}");
    }
    assert!(port_with("ip", "null").lacking[0].contains("runtime.ports[0].ip is not there"));
    assert!(port_with("publicPort", "0").lacking[0].contains("publicPort is 0"));
}

#[test]
fn a_pod_runs_where_it_has_a_container_that_does() {
    use MachineState::{Running, Starting, Stopped, Unknown};
    for (wanted, runtime, state) in [
        (r#""RUNNING""#, r#"{"ports":[]}"#, Running),
        (r#""RUNNING""#, "null", Starting),
        (r#""RUNNING""#, "[]", Unknown),
        (r#""CREATED""#, "null", Starting),
        (r#""RESTARTING""#, "null", Starting),
        (r#""EXITED""#, "null", Stopped),
        (r#""EXITED""#, r#"{"ports":[]}"#, Stopped),
        (r#""DEAD""#, "null", Unknown),
        (r#""TERMINATED""#, "null", Unknown),
        (r#""running""#, r#"{"ports":[]}"#, Unknown),
        ("null", r#"{"ports":[]}"#, Unknown),
        ("7", r#"{"ports":[]}"#, Unknown),
    ] {
        let row = with(&[("desiredStatus", wanted), ("runtime", runtime)]);
        assert_eq!(row.state, state, "{wanted} {runtime}");
        assert!(row.logins.is_empty() && row.ports.is_empty());
    }
}

#[test]
fn clocks_are_those_of_its_kind_and_state() {
    assert_eq!(with(&[]).clocks, []);
    let bid = with(&[("podType", r#""INTERRUPTABLE""#)]);
    assert_eq!(bid.clocks, [DangerClock::Interruptible]);
    let stopped = with(&[("desiredStatus", r#""EXITED""#)]);
    assert_eq!(stopped.clocks, [DangerClock::DiskIsPaidFor]);
    assert_eq!(with(&[("costPerHr", "-1")]).prices, Prices::default());
}

#[test]
fn an_id_is_one_or_the_answer_is_none() {
    for id in ["null", "7", r#""""#, r#""A""#, r#""a-b""#, r#""a\n""#, r#""../a""#, "[]"] {
        assert!(read(&parsed(&format!(r#"{{"id":{id}}}"#))).is_err(), "{id}");
    }
    assert!(read(&parsed("{}")).is_err() && read(&parsed("[]")).is_err());
}
