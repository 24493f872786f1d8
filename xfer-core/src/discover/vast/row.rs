//! What an instance's object says, field by field.

#[cfg(any(test, fuzzing))]
pub(super) mod bent;

use std::collections::BTreeSet;
use std::net::IpAddr;

use xfer_protocol::data_port::{Carrier, InsidePort};

use super::super::fields::{address, amount, id, is_host, port, second, shown};
use super::super::json::Json;
use super::super::{DangerClock, LoginPlace, MachineRow, MachineState, Prices, SaysItself};
use crate::location::{PlatformKind, PlatformMachine};
use crate::options::MappedPort;

/// Ways in of one kind at most; more are of no use to anybody.
const LOGINS_MAX: usize = 8;

/// Ports that an instance can have; what names more is not believed.
const PORTS_MAX: usize = 1024;

/// Where sshd listens inside.
const SSHD: &str = "22/tcp";

/// Everybody logs in as root.
const USER: &str = "root";

/// Reads an instance.
///
/// # Errors
/// Where it names no instance; whatever else is missing or odd is only not known.
pub(super) fn read(instance: &Json) -> Result<MachineRow, String> {
    let named = instance.get("id").ok_or("an instance has no id")?;
    let id = id(named).ok_or_else(|| format!("the id {} is none", shown(named)))?;
    let state = state(instance);
    let mut lacking = Vec::new();
    let logins = match state {
        MachineState::Running | MachineState::Stopping => logins(instance, &mut lacking),
        // A port map of a machine that does not report proves nothing.
        _ => Vec::new(),
    };
    let text = |name| instance.get(name).and_then(Json::text).map(str::trim);
    Ok(MachineRow {
        machine: PlatformMachine::named(PlatformKind::Vast, id.to_string()),
        says: Some(SaysItself { variable: "VAST_CONTAINERLABEL", value: format!("C.{id}") }),
        label: text("label").filter(|label| !label.is_empty()).map(str::to_owned),
        state,
        status: status(instance),
        logins,
        lacking,
        ports: mapped_ports(instance),
        mapped: ports(instance).map_or(0, |ports| ports.len()),
        near: near(instance),
        host: instance.get("machine_id").and_then(self::id).map(|id| id.to_string()),
        disk: disk(instance),
        started: second(instance.get("start_date")),
        prices: prices(instance),
        clocks: clocks(instance, state),
    })
}

/// The first line of the documentation's table that applies.
fn state(instance: &Json) -> MachineState {
    let word = |name| match instance.get(name) {
        None => Some(""),
        Some(value) => value.text().map(str::trim),
    };
    let is_stopped = |name| word(name) == Some("stopped");
    match word("actual_status") {
        Some("offline" | "unknown") => MachineState::HostOffline,
        Some("running") if is_stopped("cur_state") => MachineState::Stopping,
        Some("running") => MachineState::Running,
        _ if ["cur_state", "next_state", "intended_status"].into_iter().all(is_stopped) => {
            MachineState::Stopped
        }
        Some("" | "created" | "loading" | "rebooting") => MachineState::Starting,
        Some("stopped" | "exited" | "frozen") => MachineState::Stopped,
        _ => MachineState::Unknown,
    }
}

fn status(instance: &Json) -> String {
    let text = |name| instance.get(name).and_then(Json::text).map(str::trim);
    let words = [text("actual_status"), text("status_msg")];
    words.into_iter().flatten().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(": ")
}

/// Direct ones first. Each that is not there has its reason.
fn logins(instance: &Json, lacking: &mut Vec<String>) -> Vec<LoginPlace> {
    let mut logins = Vec::new();
    match public(instance) {
        Ok(host) => {
            for port in bindings(instance, SSHD, lacking) {
                push(&mut logins, host.to_string(), port, true);
            }
        }
        Err(reason) => lacking.push(reason),
    }
    logins.truncate(LOGINS_MAX);
    gateways(instance, &mut logins, lacking);
    logins
}

fn push(logins: &mut Vec<LoginPlace>, host: String, port: u16, direct: bool) {
    let login = LoginPlace { user: USER.to_owned(), host, port, direct, configured: None };
    if !logins.contains(&login) {
        logins.push(login);
    }
}

/// The gateway that passes bytes on. In one launch mode its port is the next one; both numbers were
/// right for somebody, so both are tried.
fn gateways(instance: &Json, logins: &mut Vec<LoginPlace>, lacking: &mut Vec<String>) {
    let (host, first) = (instance.get("ssh_host"), instance.get("ssh_port"));
    let (Some(host), Some(first)) = (host, first) else {
        lacking.push("no proxy: ssh_host or ssh_port is not there".to_owned());
        return;
    };
    let name = host.text().map(str::trim).filter(|name| is_host(name));
    let Some(name) = name else {
        lacking.push(format!("no proxy: ssh_host is {}", shown(host)));
        return;
    };
    let Some(first) = port(first) else {
        lacking.push(format!("no proxy: ssh_port is {}", shown(first)));
        return;
    };
    push(logins, name.to_owned(), first, false);
    let runtype = instance.get("image_runtype").and_then(Json::text).unwrap_or_default();
    if let Some(second) = first.checked_add(1).filter(|_| runtype.contains("jupyter")) {
        push(logins, name.to_owned(), second, false);
    }
}

fn public(instance: &Json) -> Result<IpAddr, String> {
    let field =
        instance.get("public_ipaddr").ok_or("no direct port: public_ipaddr is not there")?;
    let found = field.text().and_then(address);
    found.ok_or_else(|| format!("no direct port: public_ipaddr is {}", shown(field)))
}

fn ports(instance: &Json) -> Option<&std::collections::BTreeMap<String, Json>> {
    match instance.get("ports") {
        Some(Json::Object(ports)) if ports.len() <= PORTS_MAX => Some(ports),
        _ => None,
    }
}

/// The outside numbers of an inside port, in the order of the answer; 0.0.0.0 and :: have the same.
fn bindings(instance: &Json, inside: &str, lacking: &mut Vec<String>) -> Vec<u16> {
    let lacks = |what: String| format!("no direct port: {what}");
    let entries = match instance.get("ports") {
        None => {
            lacking.push(lacks("ports is not there".to_owned()));
            return Vec::new();
        }
        Some(Json::Object(ports)) => match ports.get(inside) {
            None | Some(Json::Null) => {
                lacking.push(lacks(format!("no port is mapped to {inside}")));
                return Vec::new();
            }
            Some(Json::List(entries)) => entries,
            Some(other) => {
                lacking.push(lacks(format!("ports[\"{inside}\"] is {}", other.kind())));
                return Vec::new();
            }
        },
        Some(other) => {
            lacking.push(lacks(format!("ports is {}", other.kind())));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate().take(PORTS_MAX) {
        let field = format!("ports[\"{inside}\"][{index}].HostPort");
        match entry.get("HostPort").map(|value| (value, port(value))) {
            Some((_, Some(port))) if seen.insert(port) => found.push(port),
            Some((_, Some(_))) => {}
            Some((value, None)) => lacking.push(lacks(format!("{field} is {}", shown(value)))),
            None => lacking.push(lacks(format!("{field} is not there"))),
        }
    }
    if entries.is_empty() {
        lacking.push(lacks(format!("ports[\"{inside}\"] is empty")));
    }
    found
}

/// What may carry payload beside the login.
fn mapped_ports(instance: &Json) -> Vec<MappedPort> {
    let Ok(host) = public(instance) else { return Vec::new() };
    let Some(ports) = ports(instance) else { return Vec::new() };
    let mut mapped = Vec::new();
    for inside in ports.keys().filter(|inside| *inside != SSHD) {
        let Some((number, carrier)) = inside.split_once('/') else { continue };
        let carrier = match carrier {
            "tcp" => Carrier::Tcp,
            "udp" => Carrier::Udp,
            _ => continue,
        };
        let Some(number) = port(&Json::Text(number.to_owned())) else { continue };
        for outside in bindings(instance, inside, &mut Vec::new()).into_iter().take(1) {
            let inside = InsidePort { carrier, number };
            mapped.push(MappedPort { inside, host: Some(host.to_string()), outside });
        }
    }
    mapped
}

/// What was rented, in units of 10⁹ bytes: the safe, lower figure.
fn disk(instance: &Json) -> Option<u64> {
    /// More than any host has.
    const LARGEST: f64 = 1e9;
    let gb = amount(instance.get("disk_space")).filter(|gb| *gb > 0.0 && *gb < LARGEST)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was compared")]
    Some((gb * 1e9) as u64)
}

fn near(instance: &Json) -> Vec<IpAddr> {
    let text = instance.get("local_ipaddrs").and_then(Json::text).unwrap_or_default();
    text.split_whitespace().filter_map(address).take(LOGINS_MAX).collect()
}

fn prices(instance: &Json) -> Prices {
    let of = |name| amount(instance.get(name));
    // Per TB is what instances are billed by; per GB stands in offers, and a TB has 1024 of these.
    let per_gb = |per_tb, per_gb| of(per_tb).map(|price| price / 1000.0).or_else(|| of(per_gb));
    Prices {
        out_per_gb: per_gb("internet_up_cost_per_tb", "inet_up_cost"),
        in_per_gb: per_gb("internet_down_cost_per_tb", "inet_down_cost"),
        running_per_hour: of("dph_total"),
        stopped_per_hour: of("storage_total_cost"),
    }
}

fn clocks(instance: &Json, state: MachineState) -> Vec<DangerClock> {
    let ends = second(instance.get("end_date")).map(DangerClock::ContractEnds);
    let bid =
        (instance.get("is_bid") == Some(&Json::Bool(true))).then_some(DangerClock::Interruptible);
    let rent = (state == MachineState::Stopped).then_some(DangerClock::DiskIsPaidFor);
    [ends, bid, rent].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
