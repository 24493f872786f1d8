//! What a pod's object says, field by field.

use xfer_protocol::data_port::{Carrier, InsidePort};

use super::super::fields::{address, amount, port, shown};
use super::super::json::Json;
use super::super::{DangerClock, LoginPlace, MachineRow, MachineState, Prices, SaysItself};
use crate::location::{PlatformKind, PlatformMachine};
use crate::options::MappedPort;

/// Ports that a pod can have; what names more is not believed beyond it.
const PORTS_MAX: usize = 256;

/// Where sshd listens inside.
const SSHD: u16 = 22;

/// Everybody logs in as root.
const USER: &str = "root";

/// Reads a pod.
///
/// # Errors
/// Where it names no pod; whatever else is missing or odd is only not known.
pub(super) fn read(pod: &Json) -> Result<MachineRow, String> {
    let named = pod.get("id").ok_or("a pod has no id")?;
    let id = named.text().ok_or_else(|| format!("the id {} is none", shown(named)))?;
    let machine = PlatformMachine::checked(PlatformKind::RunPod, id);
    let machine = machine.ok_or_else(|| format!("the id {} is none", shown(named)))?;
    let text = |name| pod.get(name).and_then(Json::text).map(str::trim);
    let state = state(pod);
    let mut lacking = Vec::new();
    let open = match state {
        MachineState::Running => open_ports(pod, &mut lacking),
        _ => Vec::new(),
    };
    let logins = logins(&open);
    if state == MachineState::Running && logins.is_empty() {
        lacking.push(
            "no direct port: no public port leads to 22/tcp inside; ssh.runpod.io is a terminal \
             that carries no files, and is not used"
                .to_owned(),
        );
    }
    Ok(MachineRow {
        says: Some(SaysItself { variable: "RUNPOD_POD_ID", value: id.to_owned() }),
        machine,
        label: text("name").filter(|name| !name.is_empty()).map(str::to_owned),
        state,
        status: text("desiredStatus").unwrap_or_default().to_owned(),
        mapped: open.len(),
        ports: mapped(&open),
        logins,
        lacking,
        near: Vec::new(),
        host: None,
        disk: None,
        started: None,
        prices: Prices { running_per_hour: amount(pod.get("costPerHr")), ..Prices::default() },
        clocks: clocks(pod, state),
    })
}

/// `runtime` is there once the pod has a container that runs.
fn state(pod: &Json) -> MachineState {
    match pod.get("desiredStatus").map(|word| word.text().map(str::trim)) {
        Some(Some("RUNNING")) if matches!(pod.get("runtime"), Some(Json::Object(_))) => {
            MachineState::Running
        }
        Some(Some("RUNNING")) if !is_there(pod, "runtime") => MachineState::Starting,
        Some(Some("CREATED" | "RESTARTING")) => MachineState::Starting,
        Some(Some("EXITED" | "PAUSED")) => MachineState::Stopped,
        _ => MachineState::Unknown,
    }
}

fn is_there(object: &Json, name: &str) -> bool {
    object.get(name).is_some()
}

/// A port that can be dialled from anywhere.
struct Open {
    inside: InsidePort,
    host: String,
    outside: u16,
}

fn open_ports(pod: &Json, lacking: &mut Vec<String>) -> Vec<Open> {
    let ports = pod.get("runtime").and_then(|runtime| runtime.get("ports"));
    let Some(ports) = ports else {
        lacking.push("no direct port: runtime.ports is not there".to_owned());
        return Vec::new();
    };
    let Some(ports) = ports.list() else {
        lacking.push(format!("no direct port: runtime.ports is {}", ports.kind()));
        return Vec::new();
    };
    let mut open = Vec::new();
    for (index, entry) in ports.iter().enumerate().take(PORTS_MAX) {
        match open_port(entry) {
            Ok(found) => open.extend(found),
            Err((field, value)) => {
                lacking.push(format!("no port: runtime.ports[{index}].{field} is {value}"));
            }
        }
    }
    open
}

/// Nothing for a port that only the platform's own proxy reaches.
fn open_port(entry: &Json) -> Result<Option<Open>, (&'static str, String)> {
    if entry.get("isIpPublic") != Some(&Json::Bool(true)) {
        return Ok(None);
    }
    let carrier = match entry.get("type").and_then(Json::text) {
        Some("tcp") => Carrier::Tcp,
        Some("udp") => Carrier::Udp,
        _ => return Ok(None),
    };
    let field = |name| entry.get(name).ok_or_else(|| (name, "not there".to_owned()));
    let number = |name| {
        let value = field(name)?;
        port(value).ok_or_else(|| (name, shown(value)))
    };
    let (number, outside) = (number("privatePort")?, number("publicPort")?);
    let told = field("ip")?;
    let host = told.text().and_then(address).ok_or_else(|| ("ip", shown(told)))?;
    let inside = InsidePort { carrier, number };
    Ok(Some(Open { inside, host: host.to_string(), outside }))
}

fn is_sshd(open: &Open) -> bool {
    open.inside.carrier == Carrier::Tcp && open.inside.number == SSHD
}

fn logins(open: &[Open]) -> Vec<LoginPlace> {
    let mut logins = Vec::new();
    for Open { host, outside, .. } in open.iter().filter(|open| is_sshd(open)) {
        let (user, host, port) = (USER.to_owned(), host.clone(), *outside);
        let login = LoginPlace { user, host, port, direct: true, configured: None };
        if !logins.contains(&login) {
            logins.push(login);
        }
    }
    logins
}

fn mapped(open: &[Open]) -> Vec<MappedPort> {
    let carries = open.iter().filter(|open| !is_sshd(open));
    let mapped = carries.map(|Open { inside, host, outside }| MappedPort {
        inside: *inside,
        host: Some(host.clone()),
        outside: *outside,
    });
    mapped.collect()
}

fn clocks(pod: &Json, state: MachineState) -> Vec<DangerClock> {
    let is_bid = matches!(pod.get("podType").and_then(Json::text), Some("INTERRUPTABLE" | "BID"));
    let bid = is_bid.then_some(DangerClock::Interruptible);
    let rent = (state == MachineState::Stopped).then_some(DangerClock::DiskIsPaidFor);
    [bid, rent].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
