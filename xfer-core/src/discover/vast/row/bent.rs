//! An instance's object with something odd in it, as tests and fuzzing bend it.

use super::read;
use crate::discover::MachineRow;
use crate::discover::json::Json;

pub(super) const DIRECT: &str = r#"{"id": 33402296, "machine_id": 12, "label": "train-a",
 "actual_status": "running", "intended_status": "running", "cur_state": "running",
 "next_state": "running", "status_msg": "success, running pytorch/ssh\n",
 "public_ipaddr": "203.0.113.37 \n", "local_ipaddrs": "192.168.1.5 172.17.0.1 \n",
 "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "30022"},
                      {"HostIp": "::", "HostPort": "30022"}],
           "8081/tcp": [{"HostIp": "0.0.0.0", "HostPort": "30023"}],
           "8082/udp": [{"HostPort": "30024"}], "70000/tcp": [{"HostPort": "30025"}]},
 "direct_port_count": 100, "ssh_host": "ssh3.vast.ai", "ssh_port": 12296,
 "machine_dir_ssh_port": 51199, "image_runtype": "ssh ssh_direc ssh_proxy",
 "start_date": 1786000000.12, "end_date": 1788600000.0, "is_bid": false,
 "inet_up_cost": 0.0039, "internet_up_cost_per_tb": 4.0, "internet_down_cost_per_tb": null,
 "inet_down_cost": 0.002, "dph_total": 0.4321, "storage_total_cost": 0.0417}"#;

/// The direct instance, to be bent.
pub(in crate::discover) struct Bent {
    whole: Json,
    known: MachineRow,
}

impl Bent {
    pub(in crate::discover) fn new() -> Self {
        let whole = Json::parse(DIRECT.as_bytes()).unwrap_or(Json::Null);
        let known = read(&whole).unwrap_or_else(|what| panic!("{what}"));
        Self { whole, known }
    }

    /// Bends it as the numbers choose; whether it is still an instance.
    ///
    /// # Panics
    /// Where it then leads where the true one does not.
    pub(in crate::discover) fn leads_nowhere_new(&self, random: &mut impl FnMut() -> u64) -> bool {
        let mut bent = self.whole.clone();
        for _ in 0..=random() % 3 {
            bend(&mut bent, random);
        }
        // Whoever asked for an instance compares its number.
        let Ok(row) = read(&bent) else { return false };
        assert!(row.logins.iter().all(|login| self.known.logins.contains(login)), "{bent:?}");
        assert!(row.ports.iter().all(|port| self.known.ports.contains(port)), "{bent:?}");
        true
    }
}

/// What no field of a route can be.
fn odd(number: u64) -> Json {
    match number % 14 {
        0 => Json::Null,
        1 => Json::Bool(true),
        2 => Json::Whole(-1),
        3 => Json::Whole(0),
        4 => Json::Whole(70_000),
        5 => Json::Number(22.5),
        6 => Json::Text(String::new()),
        7 => Json::Text("-1".to_owned()),
        8 => Json::Text("\u{1b}[2J x".to_owned()),
        9 => Json::Text("169.254.169.254".to_owned()),
        10 => Json::Text("22 ".to_owned()),
        11 => Json::List(Vec::new()),
        12 => Json::Object(std::collections::BTreeMap::new()),
        _ => Json::Number(1e300),
    }
}

/// Bends one value somewhere in the tree: puts an odd one in its place, takes it away, or wraps it.
fn bend(value: &mut Json, random: &mut impl FnMut() -> u64) {
    let is_deeper = !random().is_multiple_of(3);
    match value {
        Json::Object(fields) if is_deeper && !fields.is_empty() => {
            let at = usize::try_from(random()).unwrap_or(0) % fields.len();
            let name = fields.keys().nth(at).cloned().unwrap_or_default();
            if random().is_multiple_of(8) {
                fields.remove(&name);
            } else if let Some(value) = fields.get_mut(&name) {
                bend(value, random);
            }
        }
        Json::List(values) if is_deeper && !values.is_empty() => {
            let at = usize::try_from(random()).unwrap_or(0) % values.len();
            bend(&mut values[at], random);
        }
        _ if random().is_multiple_of(4) => *value = Json::List(vec![value.clone()]),
        _ => *value = odd(random()),
    }
}
