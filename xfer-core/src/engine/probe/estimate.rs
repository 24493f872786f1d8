//! What bounds a transfer, and how long it takes: least rates of what was measured.

use std::time::Duration;

use xfer_protocol::probe::Facts;

use super::{Machine, Rates};

/// What a transfer needs, each with a rate of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Reading at the source.
    SourceDisk,
    /// Hashing and sealing at the source.
    SourceCpu,
    /// What lies between.
    Link,
    /// Opening and hashing at the destination.
    DestinationCpu,
    /// Writing at the destination.
    DestinationDisk,
}

impl Resource {
    /// As the command line and events name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SourceDisk => "source-disk",
            Self::SourceCpu => "source-cpu",
            Self::Link => "link",
            Self::DestinationCpu => "destination-cpu",
            Self::DestinationDisk => "destination-disk",
        }
    }
}

/// What is to be expected of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The resource that is exhausted first.
    pub limit: Resource,
    /// Bytes a second that it bears.
    pub rate: u64,
    /// Bytes a second of each resource that was measured.
    pub rates: Vec<(Resource, u64)>,
    /// How long the bytes take that were asked about.
    pub time: Option<Duration>,
    /// Whether those are more than is free at the destination.
    pub exceeds_space: bool,
}

/// Which resource bounds a transfer of `size` bytes from one machine to another; nothing where no
/// resource was measured, or not the link, for that is the one that bounds most.
pub(super) fn estimate(
    source: &Machine,
    destination: &Machine,
    size: Option<u64>,
) -> Option<Estimate> {
    let read = source.disk.as_ref().ok().and_then(|disk| disk.rates).map(|rates| rates.down);
    let write = destination.disk.as_ref().ok().and_then(|disk| disk.rates).map(|rates| rates.up);
    let link = [source.link().map(|rates| rates.down), destination.link().map(|rates| rates.up)]
        .map(|rate| rate.filter(|rate| *rate > 0));
    let is_open = |machine: &Machine, rate: Option<u64>| machine.taken.is_none() || rate.is_some();
    if !is_open(source, link[0]) || !is_open(destination, link[1]) {
        return None;
    }
    let rates: Vec<_> = [
        (Resource::SourceDisk, read),
        (Resource::SourceCpu, source.facts.as_ref().map(cpu_rate)),
        (Resource::Link, link.into_iter().flatten().min()),
        (Resource::DestinationCpu, destination.facts.as_ref().map(cpu_rate)),
        (Resource::DestinationDisk, write),
    ]
    .into_iter()
    .filter_map(|(resource, rate)| Some((resource, rate.filter(|rate| *rate > 0)?)))
    .collect();
    let &(limit, rate) = rates.iter().min_by_key(|(_, rate)| *rate)?;
    let time = size.map(|size| {
        let millis = u128::from(size) * 1000 / u128::from(rate);
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    });
    let free = destination.disk.as_ref().ok().map(|disk| disk.space.bytes_free);
    let exceeds_space = size.zip(free).is_some_and(|(size, free)| size > free);
    Some(Estimate { limit, rate, rates, time, exceeds_space })
}

/// Bytes a second that all cores hash and seal, or open and hash.
#[must_use]
pub(super) fn cpu_rate(facts: &Facts) -> u64 {
    let (hash, seal) = (u128::from(facts.hash_rate), u128::from(facts.seal_rate));
    if hash + seal == 0 {
        return 0;
    }
    let of_all = hash * seal / (hash + seal) * u128::from(facts.cores);
    u64::try_from(of_all).unwrap_or(u64::MAX)
}

impl Rates {
    /// The better of each direction.
    pub(super) fn better(self, other: Self) -> Self {
        Self { up: self.up.max(other.up), down: self.down.max(other.down) }
    }
}

#[cfg(test)]
mod tests {
    use xfer_protocol::message::Space;

    use super::*;
    use crate::engine::probe::{Disk, Measured, Way, WayKind};

    const MB: u64 = 1_000_000;

    fn machine(disk: u64, cpu: u64, link: Option<(u64, u64)>, free: u64) -> Machine {
        let space = Space { bytes_free: free, inodes_free: None, volatile: false };
        let rates = Some(Rates { up: disk * MB, down: disk * MB });
        let (hash_rate, seal_rate) = (2 * cpu * MB, 2 * cpu * MB);
        let facts = Facts { cores: 1, hash_rate, seal_rate, ..Facts::default() };
        let ways = link.map(|(up, down)| {
            let one = Rates { up: up * MB / 2, down: down * MB };
            let several = Rates { up: up * MB, down: down * MB / 2 };
            let measured =
                Measured { one: Some(one), several: Some((4, several)), ..Measured::default() };
            let (place, reason) = (String::new(), String::new());
            Way { kind: WayKind::Tls, place, direct: true, reason, opened: Ok(measured) }
        });
        Machine {
            ways: ways.into_iter().collect(),
            taken: link.map(|_| 0),
            facts: Some(facts),
            disk: Ok(Disk { path: Vec::new(), space, rates, past_cache: true, refused: None }),
            ..Machine::default()
        }
    }

    #[test]
    fn the_least_rate_is_the_limit() {
        let here = |disk, cpu| machine(disk, cpu, None, u64::MAX);
        let there = |disk, cpu| machine(disk, cpu, Some((100, 200)), 1000 * MB);
        let of = |source: &Machine, destination: &Machine| {
            let estimate = estimate(source, destination, Some(2000 * MB)).unwrap();
            (estimate.limit, estimate.rate / MB, estimate.time.unwrap().as_secs())
        };
        let push = |disk, cpu, far_disk, far_cpu| of(&here(disk, cpu), &there(far_disk, far_cpu));
        assert_eq!(push(500, 500, 500, 500), (Resource::Link, 100, 20));
        assert_eq!(push(50, 500, 500, 500), (Resource::SourceDisk, 50, 40));
        assert_eq!(push(500, 40, 500, 500), (Resource::SourceCpu, 40, 50));
        assert_eq!(push(500, 500, 25, 500), (Resource::DestinationDisk, 25, 80));
        assert_eq!(push(500, 500, 500, 20), (Resource::DestinationCpu, 20, 100));
        // The other way round, the link is the other direction.
        assert_eq!(of(&there(500, 500), &here(500, 500)), (Resource::Link, 200, 10));
        // Between two machines bytes take both links.
        assert_eq!(of(&there(500, 500), &there(500, 500)), (Resource::Link, 100, 20));
    }

    #[test]
    fn what_does_not_fit_is_told_and_what_is_unknown_bounds_nothing() {
        let there = machine(500, 500, Some((100, 100)), 1000 * MB);
        let fits = |size| estimate(&Machine::default(), &there, Some(size)).unwrap().exceeds_space;
        assert!(!fits(1000 * MB) && fits(1001 * MB));
        assert_eq!(estimate(&Machine::default(), &Machine::default(), Some(1)), None);
        let plain = estimate(&Machine::default(), &there, None).unwrap();
        assert_eq!((plain.limit, plain.time), (Resource::Link, None));
    }
}
