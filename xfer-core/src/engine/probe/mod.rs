//! A look at what a transfer would meet: ways, rates, disks, processors, and which of them bounds
//! it. Nothing of it stays.
//!
//! Time and bytes are bounded: each way gets the same share, one after the other, so that none
//! measures another. What cannot be measured is left open, and said so; only a machine that a
//! transfer would not reach either is an error.

mod estimate;
mod link;
mod machine;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use xfer_protocol::message::Space;
use xfer_protocol::probe::Facts;

use crate::clock::Clock;
use crate::connect::Connector;
pub use crate::connect::WayKind;
use crate::discover::MachineRow;
use crate::error::{StopSignal, TransferError};
use crate::event::{Event, SharedObserver};
use crate::location::Location;
use crate::options::TransferOptions;
pub use estimate::{Estimate, Resource};
use requests::{Leftover, stays_behind};

/// What is to be looked at, and what that may cost.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where; each machine is measured from here.
    pub locations: Vec<Location>,
    /// How machines are reached.
    pub options: TransferOptions,
    /// How long measuring may take in all, beside logins. Links with long delays get more: a
    /// measurement shorter than six round trips tells nothing. Default: 10 s.
    pub time: Duration,
    /// Bytes that may cross links in all. Default: 500 MB.
    pub bytes: u64,
    /// Bytes of a transfer that is thought of.
    pub size: Option<u64>,
}

impl Probe {
    /// Looks at locations with the default of every bound.
    #[must_use]
    pub fn new(locations: Vec<Location>) -> Self {
        let (options, time) = (TransferOptions::default(), Duration::from_secs(10));
        Self { locations, options, time, bytes: 500_000_000, size: None }
    }
}

/// What was found out.
#[derive(Debug)]
pub struct Findings {
    /// The machine that measures.
    pub here: Machine,
    /// Each location with its machine, or why that was not reached; in the order asked.
    pub machines: Vec<(Location, Result<Machine, TransferError>)>,
    /// What transfers are to be expected to do.
    pub expected: Vec<Expected>,
}

/// A transfer that is thought of; an end without a number is this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The location that bytes come from, by its place in the list.
    pub source: Option<usize>,
    /// The location that they go to.
    pub destination: Option<usize>,
    /// What bounds it.
    pub estimate: Estimate,
}

/// What is known of one machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Ways that lead there, in the order in which they were tried; none to this machine itself.
    pub ways: Vec<Way>,
    /// The way that a transfer would take, by its place in the list.
    pub taken: Option<usize>,
    /// Why it would.
    pub taken_because: String,
    /// What it is; nothing where nobody can be asked.
    pub facts: Option<Facts>,
    /// The disk below the location, or why nothing is known of it.
    pub disk: Result<Disk, String>,
    /// What is not known of a bucket or of public files, each with why, for a person.
    pub unmeasured: Vec<String>,
    /// Bytes that measuring moved there and back.
    pub moved: Rates,
    /// What its platform tells of it, where one rents it out.
    pub rented: Option<Box<MachineRow>>,
}

/// One way to a machine.
#[derive(Clone, Debug)]
pub struct Way {
    /// What kind.
    pub kind: WayKind,
    /// Where it leads.
    pub place: String,
    /// Whether no proxy is known to be in between.
    pub direct: bool,
    /// Why that is known, or why the way is closed.
    pub reason: String,
    /// What was measured, or how it is closed.
    pub opened: Result<Measured, Closed>,
}

/// How a way is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It was tried.
    Failed,
    /// There is nothing to be tried.
    Absent,
}

/// What was measured on one way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// The middle round trip of a request, and how far neighbours were apart on average.
    pub round_trip: Option<(Duration, Duration)>,
    /// The share of packets sent from here that were lost, of 1.
    pub loss: Option<f64>,
    /// Bytes of the largest packet that passes whole.
    pub path_mtu: Option<u32>,
    /// Bytes a second of one stream.
    pub one: Option<Rates>,
    /// Streams, and bytes a second of them together.
    pub several: Option<(usize, Rates)>,
    /// Bytes that measuring moved.
    pub moved: Rates,
}

/// Two amounts: to the machine or its disk, and from there; 0 where one is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// There.
    pub up: u64,
    /// Back.
    pub down: u64,
}

/// The disk below a location.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The directory that was looked at: the location's, or the nearest above that is there.
    pub path: Vec<u8>,
    /// What is free.
    pub space: Space,
    /// Bytes a second written and synced, and read.
    pub rates: Option<Rates>,
    /// Whether what was read is known to have come from the medium.
    pub past_cache: bool,
    /// Why it was not tried, or not to the end.
    pub refused: Option<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            ways: Vec::new(),
            taken: None,
            taken_because: String::new(),
            facts: None,
            disk: Err("it was not asked for".to_owned()),
            unmeasured: Vec::new(),
            moved: Rates::default(),
            rented: None,
        }
    }
}

impl Machine {
    /// What the way that a transfer would take carries.
    fn link(&self) -> Option<Rates> {
        let measured = self.ways.get(self.taken?)?.opened.ok()?;
        let several = measured.several.map(|(_, rates)| rates);
        let both = measured.one.into_iter().chain(several);
        both.reduce(Rates::better)
    }
}

/// What one machine may cost.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// For all links of it, and as much again for nothing else.
    link_time: Duration,
    disk_time: Duration,
    bytes: u64,
}

/// What looks share.
struct Looker {
    connector: Connector,
    options: TransferOptions,
    observer: SharedObserver,
    clock: Arc<dyn Clock>,
    leftover: Leftover,
}

/// Looks at every location, one after the other.
///
/// # Errors
/// When it is stopped. A location that is not reached is told among the others.
pub fn probe(
    probe: Probe,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> BoxFuture<'static, Result<Findings, TransferError>> {
    Box::pin(async move {
        // On a worker of its own: what moves much is not to wait for the main thread.
        let leftover = Leftover::default();
        let (teller, looked) = (Arc::clone(&observer), leftover.clone());
        let looking = tokio::spawn(look(probe, connector, observer, looked));
        let stop = looking.abort_handle();
        tokio::select! {
            found = looking => {
                found.map_err(|_| TransferError::Internal("a look ended before its time"))
            }
            () = cancel.cancelled() => {
                stop.abort();
                if let Err(stays) = leftover.take_back().await {
                    teller.observe(&Event::Notice(stays_behind(&stays)));
                }
                Err(TransferError::Stopped { signal: StopSignal::Interrupt })
            }
        }
    })
}

async fn look(
    probe: Probe,
    connector: Connector,
    observer: SharedObserver,
    leftover: Leftover,
) -> Findings {
    let Probe { locations, options, time, bytes, size } = probe;
    let connector = connector.telling(Arc::clone(&observer));
    let clock = connector.clock();
    let looker = Looker { connector, options, observer, clock, leftover };
    let far = locations.iter().filter(|location| !location.is_here()).count();
    let each = |time: Duration, count: usize| time / u32::try_from(count.max(1)).unwrap_or(1);
    let share = Share {
        link_time: each(time * 7 / 10, far),
        disk_time: each(time / 5, locations.len()),
        bytes: bytes / u64::try_from(far.max(1)).unwrap_or(1),
    };
    let here = Machine { facts: looker.facts_here().await, ..Machine::default() };
    let mut machines = Vec::new();
    for location in locations {
        let found = looker.machine(&location, share).await;
        machines.push((location, found));
    }
    let expected = expected(&here, &machines, size);
    Findings { here, machines, expected }
}

/// Between two locations what goes from the first to the second, otherwise what goes to each far
/// machine from here, and back.
fn expected(
    here: &Machine,
    machines: &[(Location, Result<Machine, TransferError>)],
    size: Option<u64>,
) -> Vec<Expected> {
    let of = |source: Option<usize>, destination: Option<usize>| {
        let machine = |end: Option<usize>| match end {
            Some(index) => machines[index].1.as_ref().ok(),
            None => Some(here),
        };
        let estimate = estimate::estimate(machine(source)?, machine(destination)?, size)?;
        Some(Expected { source, destination, estimate })
    };
    if machines.len() == 2 {
        return of(Some(0), Some(1)).into_iter().collect();
    }
    let far = (0..machines.len()).filter(|&index| !machines[index].0.is_here());
    far.flat_map(|index| [of(None, Some(index)), of(Some(index), None)]).flatten().collect()
}
