//! A platform's machine, as events tell it.

use serde::Serialize;
use xfer_core::discover::{DangerClock, MachineRow, Prices};
use xfer_protocol::manifest::Timestamp;

use crate::moment;

/// One machine.
#[derive(Debug, Serialize)]
pub(crate) struct MachineBody {
    /// As a location begins.
    pub(crate) location: String,
    /// What its renter calls it.
    pub(crate) label: Option<String>,
    /// `running`, `stopping`, `starting`, `stopped`, `host-offline` or `unknown`.
    pub(crate) state: &'static str,
    /// In the platform's words.
    pub(crate) status: String,
    /// Ways to log in, the better first.
    pub(crate) logins: Vec<LoginBody>,
    /// Why there are no others, for a person.
    pub(crate) lacking: Vec<String>,
    /// How many of its ports are mapped to the outside.
    pub(crate) mapped_ports: usize,
    /// What it costs.
    pub(crate) prices: PricesBody,
    /// What may end it, or goes on costing.
    pub(crate) danger_clocks: Vec<ClockBody>,
}

/// One way to log in.
#[derive(Debug, Serialize)]
pub(crate) struct LoginBody {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether it ends at the machine, and not at a proxy.
    pub(crate) direct: bool,
}

/// US dollars; null is not known.
#[derive(Debug, Serialize)]
pub(crate) struct PricesBody {
    pub(crate) out_per_gb: Option<f64>,
    pub(crate) in_per_gb: Option<f64>,
    pub(crate) running_per_hour: Option<f64>,
    pub(crate) stopped_per_hour: Option<f64>,
}

/// One clock.
#[derive(Debug, Serialize)]
pub(crate) struct ClockBody {
    /// `contract-ends`, `interruptible`, `disk-is-paid-for`, `destroyed-when-idle` or
    /// `stopped-when-idle`.
    pub(crate) kind: &'static str,
    /// RFC 3339, where it is a moment.
    pub(crate) at: Option<String>,
}

/// The clocks that run for a machine.
pub(crate) fn clocks(row: &MachineRow) -> Vec<ClockBody> {
    row.clocks.iter().map(ClockBody::from).collect()
}

impl From<&MachineRow> for MachineBody {
    fn from(row: &MachineRow) -> Self {
        let logins = row.logins.iter().map(|login| LoginBody {
            host: login.host.clone(),
            port: login.port,
            direct: login.direct,
        });
        Self {
            location: row.machine.to_string(),
            label: row.label.clone(),
            state: row.state.name(),
            status: row.status.clone(),
            logins: logins.collect(),
            lacking: row.lacking.clone(),
            mapped_ports: row.mapped,
            prices: row.prices.into(),
            danger_clocks: clocks(row),
        }
    }
}

impl From<Prices> for PricesBody {
    fn from(prices: Prices) -> Self {
        let Prices { out_per_gb, in_per_gb, running_per_hour, stopped_per_hour } = prices;
        Self { out_per_gb, in_per_gb, running_per_hour, stopped_per_hour }
    }
}

impl From<&DangerClock> for ClockBody {
    fn from(clock: &DangerClock) -> Self {
        match clock {
            DangerClock::ContractEnds(second) => {
                let at = moment::format(Timestamp { seconds: *second, nanoseconds: 0 });
                Self { kind: "contract-ends", at: Some(at) }
            }
            DangerClock::Interruptible => Self { kind: "interruptible", at: None },
            DangerClock::DiskIsPaidFor => Self { kind: "disk-is-paid-for", at: None },
            DangerClock::IdleEnds { destroys: true, .. } => {
                Self { kind: "destroyed-when-idle", at: None }
            }
            DangerClock::IdleEnds { destroys: false, .. } => {
                Self { kind: "stopped-when-idle", at: None }
            }
        }
    }
}
