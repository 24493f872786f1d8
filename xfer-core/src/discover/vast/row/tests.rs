use super::bent::{Bent, DIRECT};
use super::*;

fn row(text: &str) -> MachineRow {
    read(&Json::parse(text.as_bytes()).unwrap()).unwrap()
}

/// The direct instance with some fields in place of its own; `absent` takes one away.
fn with(changes: &[(&str, &str)]) -> MachineRow {
    let Json::Object(mut fields) = Json::parse(DIRECT.as_bytes()).unwrap() else { panic!() };
    for (name, value) in changes {
        fields.remove(*name);
        if *value != "absent" {
            fields.insert((*name).to_owned(), Json::parse(value.as_bytes()).unwrap());
        }
    }
    read(&Json::Object(fields)).unwrap()
}

fn places(row: &MachineRow) -> Vec<String> {
    let place = |login: &LoginPlace| {
        let kind = if login.direct { "direct" } else { "proxy" };
        format!("{kind} {}:{}", login.host, login.port)
    };
    row.logins.iter().map(place).collect()
}

#[test]
fn a_direct_instance() {
    let row = row(DIRECT);
    assert_eq!(row.machine.to_string(), "vast:33402296");
    assert_eq!(row.label.as_deref(), Some("train-a"));
    assert_eq!(row.state, MachineState::Running);
    assert_eq!(row.status, "running: success, running pytorch/ssh");
    assert_eq!(places(&row), ["direct 203.0.113.37:30022", "proxy ssh3.vast.ai:12296"]);
    assert_eq!(row.lacking, [""; 0]);
    let ports: Vec<_> = row.ports.iter().map(|p| (p.inside.number, p.outside)).collect();
    assert_eq!(ports, [(8081, 30023), (8082, 30024)]);
    assert_eq!(row.mapped, 4);
    assert_eq!(row.near.len(), 2);
    let prices = row.prices;
    assert_eq!((prices.out_per_gb, prices.in_per_gb), (Some(0.004), Some(0.002)));
    assert_eq!((prices.running_per_hour, prices.stopped_per_hour), (Some(0.4321), Some(0.0417)));
    assert_eq!(row.clocks, [DangerClock::ContractEnds(1_788_600_000)]);
}

/// Rows: B-A2, B-A3, B-A4, B-A5.
#[test]
fn what_is_no_direct_port_leaves_the_proxy_and_names_the_field() {
    const PROXY: &str = "proxy ssh3.vast.ai:12296";
    for (name, value, named) in [
        ("ports", "absent", "ports is not there"),
        ("ports", "null", "ports is not there"),
        ("ports", "{}", "no port is mapped to 22/tcp"),
        ("ports", "[8080, 8081]", "ports is a list"),
        ("ports", "\"22\"", "ports is a text"),
        ("ports", r#"{"22/tcp":null}"#, "no port is mapped to 22/tcp"),
        ("ports", r#"{"22/tcp":[]}"#, "ports[\"22/tcp\"] is empty"),
        ("ports", r#"{"22/tcp":{}}"#, "ports[\"22/tcp\"] is an object"),
        ("ports", r#"{"22/tcp":[{}]}"#, "[0].HostPort is not there"),
        ("ports", r#"{"22/tcp":[null]}"#, "[0].HostPort is not there"),
        ("ports", r#"{"22/tcp":[{"HostPort":null}]}"#, "[0].HostPort is not there"),
        ("ports", r#"{"22/tcp":[{"HostPort":""}]}"#, "[0].HostPort is \"\""),
        ("ports", r#"{"22/tcp":[{"HostPort":"0"}]}"#, "is \"0\""),
        ("ports", r#"{"22/tcp":[{"HostPort":0}]}"#, "is 0"),
        ("ports", r#"{"22/tcp":[{"HostPort":"70000"}]}"#, "is \"70000\""),
        ("ports", r#"{"22/tcp":[{"HostPort":-1}]}"#, "is -1"),
        ("ports", r#"{"22/tcp":[{"HostPort":"-1"}]}"#, "is \"-1\""),
        ("ports", r#"{"22/tcp":[{"HostPort":"22 "}]}"#, "is \"22 \""),
        ("ports", r#"{"22/tcp":[{"HostPort":"0x16"}]}"#, "is \"0x16\""),
        ("ports", r#"{"22/tcp":[{"HostPort":22.5}]}"#, "is 22.5"),
        ("public_ipaddr", "null", "public_ipaddr is not there"),
        ("public_ipaddr", "\"\"", "public_ipaddr is \"\""),
        ("public_ipaddr", "\"h.example\"", "public_ipaddr is \"h.example\""),
        ("public_ipaddr", "\"0.0.0.0\"", "public_ipaddr is"),
        ("public_ipaddr", "\"127.0.0.1\"", "public_ipaddr is"),
        ("public_ipaddr", "\"169.254.169.254\"", "public_ipaddr is"),
        ("public_ipaddr", "\"224.0.0.1\"", "public_ipaddr is"),
        ("public_ipaddr", "[\"1.2.3.4\"]", "public_ipaddr is a list"),
    ] {
        let row = with(&[(name, value)]);
        assert_eq!(places(&row), [PROXY], "{name} {value}");
        assert_eq!(row.lacking.len(), 1, "{name} {value}");
        assert!(row.lacking[0].contains(named), "{name} {value}: {:?}", row.lacking);
    }
}

#[test]
fn two_numbers_for_one_port_are_both_tried_in_their_order() {
    let row =
        with(&[("ports", r#"{"22/tcp":[{"HostPort":"2"},{"HostPort":1},{"HostPort":"2"}]}"#)]);
    let expected = ["direct 203.0.113.37:2", "direct 203.0.113.37:1", "proxy ssh3.vast.ai:12296"];
    assert_eq!(places(&row), expected);
}

#[test]
fn with_jupyter_the_next_port_of_the_proxy_is_tried_too() {
    let row = with(&[("ports", "{}"), ("image_runtype", "\"jupyter_proxy ssh_proxy\"")]);
    assert_eq!(places(&row), ["proxy ssh3.vast.ai:12296", "proxy ssh3.vast.ai:12297"]);
}

#[test]
fn a_proxy_is_a_host_and_a_port() {
    for (name, value) in [
        ("ssh_host", "null"),
        ("ssh_host", "\"\""),
        ("ssh_host", "\"-oProxyCommand=id\""),
        ("ssh_host", "\"a b\""),
        ("ssh_host", "\"a;b\""),
        ("ssh_host", "\"127.0.0.1\""),
        ("ssh_host", "\"22\""),
        ("ssh_host", "\"1.2.3\""),
        ("ssh_host", "\"host.0x7f\\n.1\""),
        ("ssh_host", "7"),
        ("ssh_port", "null"),
        ("ssh_port", "\"-1\""),
        ("ssh_port", "0"),
        ("ssh_port", "65536"),
    ] {
        let row = with(&[("ports", "{}"), (name, value)]);
        assert_eq!(places(&row), [""; 0], "{name} {value}");
        assert_eq!(row.lacking.len(), 2, "{name} {value}: {:?}", row.lacking);
        assert!(row.lacking[1].contains(name), "{name} {value}: {:?}", row.lacking);
    }
}

/// Rows: B-A7.
#[test]
fn states() {
    use MachineState::{HostOffline, Running, Starting, Stopped, Stopping, Unknown};
    // actual_status, cur_state, next_state, intended_status
    for (words, expected) in [
        (["\"running\"", "\"running\"", "\"running\"", "\"running\""], Running),
        (["\"running\"", "\"running\"", "\"running\"", "\"stopped\""], Running),
        (["\"running\"", "\"stopped\"", "\"stopped\"", "\"stopped\""], Stopping),
        (["\"running\"", "null", "null", "null"], Running),
        (["\"offline\"", "\"running\"", "\"running\"", "\"running\""], HostOffline),
        (["\"unknown\"", "\"stopped\"", "\"stopped\"", "\"stopped\""], HostOffline),
        (["null", "\"running\"", "\"running\"", "\"running\""], Starting),
        (["absent", "\"running\"", "\"running\"", "\"running\""], Starting),
        (["null", "\"stopped\"", "\"stopped\"", "\"stopped\""], Stopped),
        (["\"loading\"", "\"stopped\"", "\"stopped\"", "\"stopped\""], Stopped),
        (["\"loading\"", "\"running\"", "\"running\"", "\"stopped\""], Starting),
        (["\"created\"", "\"running\"", "\"running\"", "\"running\""], Starting),
        (["\"rebooting\"", "\"running\"", "\"running\"", "\"running\""], Starting),
        (["\"exited\"", "\"running\"", "\"running\"", "\"running\""], Stopped),
        (["\"frozen\"", "null", "null", "null"], Stopped),
        (["\"teleporting\"", "\"running\"", "\"running\"", "\"running\""], Unknown),
        (["7", "\"running\"", "\"running\"", "\"running\""], Unknown),
        (["{}", "null", "null", "null"], Unknown),
    ] {
        let names = ["actual_status", "cur_state", "next_state", "intended_status"];
        let changes: Vec<_> = names.into_iter().zip(words).collect();
        let row = with(&changes);
        assert_eq!(row.state, expected, "{words:?}");
        let runs = matches!(expected, Running | Stopping);
        assert_eq!(!row.logins.is_empty(), runs, "{words:?}: a stale port map is no route");
    }
}

/// Rows: B-A6.
#[test]
fn an_instance_without_an_exact_id_is_none() {
    for id in ["null", "\"a\"", "-1", "0", "312.5", "18446744073709551616", "[]"] {
        let text = format!("{{\"id\":{id}}}");
        assert!(read(&Json::parse(text.as_bytes()).unwrap()).is_err(), "{id}");
    }
    for instance in ["{}", "null", "[]", "3", "\"x\""] {
        assert!(read(&Json::parse(instance.as_bytes()).unwrap()).is_err(), "{instance}");
    }
    assert_eq!(row(r#"{"id":"312"}"#).machine.to_string(), "vast:312");
}

#[test]
fn what_no_price_is_is_unknown() {
    let odd = ["null", "\"NaN\"", "-0.1", "\"free\"", "{}", "absent"];
    for value in odd {
        let row = with(&[
            ("internet_up_cost_per_tb", value),
            ("inet_up_cost", value),
            ("dph_total", value),
            ("storage_total_cost", value),
        ]);
        let Prices { out_per_gb, running_per_hour, stopped_per_hour, .. } = row.prices;
        assert_eq!((out_per_gb, running_per_hour, stopped_per_hour), (None, None, None), "{value}");
    }
}

#[test]
fn clocks_that_run() {
    let bid = with(&[("is_bid", "true"), ("end_date", "null")]);
    assert_eq!(bid.clocks, [DangerClock::Interruptible]);
    let stopped = with(&[("actual_status", "\"exited\""), ("end_date", "absent")]);
    assert_eq!(stopped.clocks, [DangerClock::DiskIsPaidFor]);
}

/// A million answers that are odd somewhere: none panics, and none leads where the true one does
/// not. `fuzz/fuzz_targets/vast_row.rs` goes on from here.
#[test]
fn no_odd_answer_leads_anywhere_new() {
    let bent = Bent::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 8
    };
    let still = (0..1_000_000).filter(|_| bent.leads_nowhere_new(&mut random)).count();
    assert!(still > 100_000, "{still}");
}

#[test]
fn no_cut_or_bent_text_panics() {
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).unwrap_or(0)
    };
    for _ in 0..50_000 {
        let mut text = DIRECT.as_bytes().to_vec();
        for _ in 0..=random() % 4 {
            let at = random() % text.len();
            match random() % 3 {
                0 => text.truncate(at.max(1)),
                1 => text[at] = u8::try_from(random() % 256).unwrap_or(0),
                _ => text.insert(at, b"{}[]\",:0\\e-"[random() % 11]),
            }
        }
        if let Ok(json) = Json::parse(&text) {
            let _read = read(&json);
        }
    }
}
