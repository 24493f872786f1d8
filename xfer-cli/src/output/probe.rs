//! What was measured of a machine, as events tell it.

use std::collections::BTreeMap;

use serde::Serialize;
use xfer_core::engine::probe::{Closed, Disk, Estimate, Machine, Rates, Way};
use xfer_core::receipt::PathText;
use xfer_protocol::probe::Facts;

use super::machine::{ClockBody, PricesBody, clocks};

/// One machine.
#[derive(Debug, Serialize)]
pub(crate) struct ProbeBody {
    /// As typed.
    pub(crate) location: PathText,
    /// In the order in which they were tried.
    pub(crate) ways: Vec<WayBody>,
    /// The kind that a transfer would take.
    pub(crate) taken: Option<&'static str>,
    /// Why, for a person.
    pub(crate) taken_because: Option<String>,
    /// Its processors.
    pub(crate) cpu: Option<CpuBody>,
    /// Those of this machine.
    pub(crate) cpu_here: Option<CpuBody>,
    /// The disk below the location.
    pub(crate) disk: DiskBody,
    /// What is not known of a bucket or of public files, each with why.
    pub(crate) unmeasured: Vec<String>,
    /// Bytes that measuring sent there.
    pub(crate) sent_bytes: u64,
    /// Bytes that measuring had sent back.
    pub(crate) received_bytes: u64,
    /// Transfers that are thought of.
    pub(crate) estimates: Vec<EstimateBody>,
    /// What its platform takes, where one rents it out.
    pub(crate) prices: Option<PricesBody>,
    /// What may end it or goes on costing, where a platform rents it out.
    pub(crate) danger_clocks: Option<Vec<ClockBody>>,
}

/// One way.
#[derive(Debug, Serialize)]
pub(crate) struct WayBody {
    /// `ssh`, `tls`, `quic`, `sftp`, `store` or `web`.
    pub(crate) kind: &'static str,
    /// `open`, `failed` or `absent`.
    pub(crate) state: &'static str,
    /// Where it leads.
    pub(crate) place: String,
    /// Whether no proxy is known to be in between; of one that is open.
    pub(crate) direct: Option<bool>,
    /// Why, for a person.
    pub(crate) reason: String,
    /// Seconds of a request and its answer.
    pub(crate) round_trip_s: Option<f64>,
    /// Seconds by which neighbouring ones differ on average.
    pub(crate) jitter_s: Option<f64>,
    /// The share of packets sent from here that were lost.
    pub(crate) loss: Option<f64>,
    /// Bytes of the largest packet that passes whole.
    pub(crate) path_mtu: Option<u32>,
    /// Of one stream.
    pub(crate) one_stream: Option<RatesBody>,
    /// Of as many as a transfer would use.
    pub(crate) several_streams: Option<RatesBody>,
}

/// Bytes a second, where they were measured.
#[derive(Debug, Serialize)]
pub(crate) struct RatesBody {
    /// Over how many streams.
    pub(crate) streams: usize,
    /// To the machine.
    pub(crate) up: Option<u64>,
    /// From it.
    pub(crate) down: Option<u64>,
}

/// Processors and memory.
#[derive(Debug, Serialize)]
pub(crate) struct CpuBody {
    /// That may be used.
    pub(crate) cores: u32,
    /// Extensions that are there.
    pub(crate) features: Vec<&'static str>,
    /// Bytes a second that a core hashes.
    pub(crate) hash_rate: u64,
    /// Bytes a second that a core seals.
    pub(crate) seal_rate: u64,
    /// Bytes of memory that may be used.
    pub(crate) memory_bytes: Option<u64>,
}

/// A disk.
#[derive(Debug, Default, Serialize)]
pub(crate) struct DiskBody {
    /// The directory that was looked at.
    pub(crate) path: Option<PathText>,
    /// Bytes that are free.
    pub(crate) bytes_free: Option<u64>,
    /// Inodes that are free, where they are counted.
    pub(crate) inodes_free: Option<u64>,
    /// Whether what is written there is lost with the machine's memory.
    pub(crate) volatile: Option<bool>,
    /// Bytes a second, written and synced.
    pub(crate) write_rate: Option<u64>,
    /// Bytes a second, read.
    pub(crate) read_rate: Option<u64>,
    /// Whether these are known to have come from the medium.
    pub(crate) past_cache: Option<bool>,
    /// Why something is not known, for a person.
    pub(crate) refused: Option<String>,
}

/// A transfer that is thought of.
#[derive(Debug, Serialize)]
pub(crate) struct EstimateBody {
    /// Where bytes come from; null is this machine.
    pub(crate) source: Option<PathText>,
    /// Where they go; null is this machine.
    pub(crate) destination: Option<PathText>,
    /// What is exhausted first.
    pub(crate) limit: &'static str,
    /// Bytes a second.
    pub(crate) rate: u64,
    /// Bytes a second of each resource that was measured.
    pub(crate) rates: BTreeMap<&'static str, u64>,
    /// Seconds that the size takes which was asked about.
    pub(crate) eta_s: Option<u64>,
    /// Whether that is more than is free there.
    pub(crate) exceeds_space: bool,
}

impl ProbeBody {
    /// Of a machine at a location.
    pub(crate) fn new(
        location: PathText,
        machine: &Machine,
        here: &Machine,
        estimates: Vec<EstimateBody>,
    ) -> Self {
        let taken = machine.taken.and_then(|taken| machine.ways.get(taken));
        Self {
            location,
            ways: machine.ways.iter().map(WayBody::from).collect(),
            taken: taken.map(|way| way.kind.name()),
            taken_because: taken.map(|_| machine.taken_because.clone()),
            cpu: machine.facts.as_ref().map(CpuBody::from),
            cpu_here: here.facts.as_ref().map(CpuBody::from),
            disk: match &machine.disk {
                Ok(disk) => DiskBody::from(disk),
                Err(why) => DiskBody { refused: Some(why.clone()), ..DiskBody::default() },
            },
            unmeasured: machine.unmeasured.clone(),
            sent_bytes: machine.moved.up,
            received_bytes: machine.moved.down,
            estimates,
            prices: machine.rented.as_ref().map(|row| row.prices.into()),
            danger_clocks: machine.rented.as_ref().map(|row| clocks(row)),
        }
    }
}

impl From<&Way> for WayBody {
    fn from(way: &Way) -> Self {
        let measured = way.opened.unwrap_or_default();
        let known = |rate| Some(rate).filter(|rate| *rate > 0);
        let rates = |streams, Rates { up, down }| {
            let (up, down) = (known(up), known(down));
            RatesBody { streams, up, down }
        };
        Self {
            kind: way.kind.name(),
            state: match way.opened {
                Ok(_) => "open",
                Err(Closed::Failed) => "failed",
                Err(Closed::Absent) => "absent",
            },
            place: way.place.clone(),
            direct: way.opened.is_ok().then_some(way.direct),
            reason: way.reason.clone(),
            round_trip_s: measured.round_trip.map(|(middle, _)| middle.as_secs_f64()),
            jitter_s: measured.round_trip.map(|(_, jitter)| jitter.as_secs_f64()),
            loss: measured.loss,
            path_mtu: measured.path_mtu,
            one_stream: measured.one.map(|one| rates(1, one)),
            several_streams: measured.several.map(|(streams, all)| rates(streams, all)),
        }
    }
}

impl From<&Facts> for CpuBody {
    fn from(facts: &Facts) -> Self {
        Self {
            cores: facts.cores,
            features: facts.feature_names().collect(),
            hash_rate: facts.hash_rate,
            seal_rate: facts.seal_rate,
            memory_bytes: Some(facts.memory_bytes).filter(|bytes| *bytes > 0),
        }
    }
}

impl From<&Disk> for DiskBody {
    fn from(disk: &Disk) -> Self {
        Self {
            path: Some(PathText::from(&disk.path[..])),
            bytes_free: Some(disk.space.bytes_free),
            inodes_free: disk.space.inodes_free,
            volatile: Some(disk.space.volatile),
            write_rate: disk.rates.map(|rates| rates.up),
            read_rate: disk.rates.map(|rates| rates.down),
            past_cache: disk.rates.map(|_| disk.past_cache),
            refused: disk.refused.clone(),
        }
    }
}

impl EstimateBody {
    /// Of a transfer between two ends.
    pub(crate) fn new(
        source: Option<PathText>,
        destination: Option<PathText>,
        estimate: &Estimate,
    ) -> Self {
        Self {
            source,
            destination,
            limit: estimate.limit.name(),
            rate: estimate.rate,
            rates: estimate.rates.iter().map(|(resource, rate)| (resource.name(), *rate)).collect(),
            eta_s: estimate.time.map(|time| time.as_secs()),
            exceeds_space: estimate.exceeds_space,
        }
    }
}
