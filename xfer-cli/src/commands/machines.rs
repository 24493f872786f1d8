//! `xfer ls vast:`: the machines of a platform, with what matters before bytes move.

use std::sync::Arc;

use xfer_core::discover::{DangerClock, MachineRow, MachineState};
use xfer_core::error::ExitClass;
use xfer_core::location::{Location, PlatformKind};
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::path::Escaped;

use super::transfer::output_failure;
use super::{Context, reach};
use crate::Outcome;
use crate::moment;
use crate::output::json::{Body, CountsBody, ResultBody};
use crate::output::machine::MachineBody;
use crate::output::result_of;
use crate::reporter::Reporter;

/// Ports that a machine can have.
const PORTS_MAX: usize = 64;

/// Lists them.
pub(super) fn list(context: &Context, location: &Location, platform: PlatformKind) -> Outcome {
    let connector = reach::connector(context)?;
    let output = &context.output;
    let reporter = Reporter::new(Arc::clone(output), context.verb, false);
    reporter.inspects(std::slice::from_ref(location));
    let ended = reach::run(connector, &reporter, |reach| async move {
        tokio::select! {
            machines = reach.connector.machines(platform) => machines,
            () = reach.cancel.cancelled() => Err(reach::asked_to_stop()),
        }
    });
    let machines = match ended {
        Ok(machines) => machines,
        Err(error) => {
            let error = reach::stopped(error);
            output_failure(&reporter, &error, output);
            return Ok(error.class);
        }
    };
    reporter.finish(|_| ());
    for row in &machines {
        output.result(line(row).as_bytes());
        output.event(&Body::Machine(Box::new(MachineBody::from(row))));
    }
    let selected = machines.len() as u64;
    output.last(ResultBody {
        message: "listed".to_owned(),
        entries: CountsBody { selected, unchanged: selected, ..CountsBody::default() },
        ..result_of(ExitClass::Done, "done")
    });
    Ok(ExitClass::Done)
}

/// What a person should know of a machine before bytes move, each with a label.
pub(super) fn facts(row: &MachineRow) -> Vec<(&'static str, String)> {
    // Its own words begin with its state, where that is one which it knows too.
    let (state, status) = (row.state.name(), row.status.as_str());
    let state = match status {
        "" => state.to_owned(),
        _ if status.starts_with(state) => status.to_owned(),
        _ => format!("{state}: {status}"),
    };
    let mut facts: Vec<_> = row.label.clone().map(|label| ("label", label)).into_iter().collect();
    facts.push(("state", state));
    facts.push(("price", money(row)));
    facts.extend(row.clocks.iter().map(|running| ("clock", clock(running))));
    facts.extend(ports(row).map(|full| ("ports", full)));
    facts
}

/// One line of a machine: what a person decides by, the rest under `--json`.
fn line(row: &MachineRow) -> String {
    let mut parts = vec![format!("{:<18} {:<12}", row.machine.to_string(), row.state.name())];
    parts.push(way(row));
    parts.push(money(row));
    parts.extend(row.clocks.iter().map(clock));
    parts.extend(ports(row));
    parts.extend(row.label.as_deref().map(|label| Escaped(label.as_bytes()).to_string()));
    parts.retain(|part| !part.is_empty());
    format!("{}\n", parts.join("  "))
}

/// What is worth saying of its ports: that there can be no more of them.
fn ports(row: &MachineRow) -> Option<String> {
    let is_full = row.mapped >= PORTS_MAX;
    is_full.then(|| format!("{} ports are mapped, and no machine has more", row.mapped))
}

fn way(row: &MachineRow) -> String {
    match row.logins.first() {
        Some(login) if login.direct => format!("direct {}:{}", login.host, login.port),
        Some(login) => format!("proxied {}:{}", login.host, login.port),
        None if row.state == MachineState::Running => {
            let why = row.lacking.first().map(|why| format!(": {}", Escaped(why.as_bytes())));
            format!("no way in{}", why.unwrap_or_default())
        }
        None => String::new(),
    }
}

fn money(row: &MachineRow) -> String {
    let price = |price: Option<f64>, unit: &str| {
        price.map_or_else(|| format!("?/{unit}"), |price| format!("${price:.4}/{unit}"))
    };
    let hour = match row.state {
        MachineState::Stopped => price(row.prices.stopped_per_hour, "h"),
        _ => price(row.prices.running_per_hour, "h"),
    };
    let (out, into) = (row.prices.out_per_gb, row.prices.in_per_gb);
    format!("{hour} out {} in {}", price(out, "GB"), price(into, "GB"))
}

fn clock(clock: &DangerClock) -> String {
    match clock {
        DangerClock::ContractEnds(second) => {
            format!("ends {}", moment::format(Timestamp { seconds: *second, nanoseconds: 0 }))
        }
        DangerClock::Interruptible => "may be stopped by a higher bid".to_owned(),
        DangerClock::DiskIsPaidFor => "its disk is paid for until it is destroyed".to_owned(),
        DangerClock::IdleEnds { minutes, destroys } => {
            let what = if *destroys { "destroyed" } else { "stopped" };
            format!("{what} after {minutes} min idle, a copy being no work")
        }
    }
}
