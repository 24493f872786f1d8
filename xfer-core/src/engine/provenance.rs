//! What a transfer's receipt says of its two ends, for a gate that asks later.

use xfer_protocol::message::{FilterRules, Root};
use xfer_protocol::survey::Container;

use super::Shared;
use super::release::{named, names};
use crate::connect::Connected;
use crate::endpoint::Sink;
use crate::gate::evidence::Durability;
use crate::location::Machine;
use crate::plan::mapping::Mapping;
use crate::receipt::{Mapped, PathText, Provenance, SourceMachine, digits};

/// The two ends of a transfer.
pub(super) struct TwoEnds<'a> {
    pub(super) sources: &'a [Connected],
    pub(super) sink: &'a Connected,
    pub(super) mappings: &'a [Mapping],
    /// The root of every mapping's source, in their order.
    pub(super) source_roots: &'a [Root],
    pub(super) to: &'a Root,
}

/// What is known of them before the transfer ends. What cannot be told is left out: a gate then
/// holds.
pub(super) async fn provenance(shared: &Shared, ends: &TwoEnds<'_>) -> Provenance {
    let transfer = &shared.transfer;
    let (machine, told) = match (ends.sources, transfer.sources.first()) {
        ([source], Some(location)) => told_by(source, &location.machine).await.unzip(),
        _ => (None, None),
    };
    let far = match ends.source_roots {
        [root, ..] if machine.is_some() => {
            let (machine, sink) = (&transfer.destination.machine, &*ends.sink.sink);
            let far = Distance { machine, sink, to: ends.to };
            distance(&far, root, told.and_then(|told| told.boot)).await
        }
        _ => None,
    };
    let pairs = ends.mappings.iter().zip(ends.source_roots);
    let filter = &transfer.options.selection.filter;
    Provenance {
        machine,
        mapped: pairs.map(|(mapping, root)| mapped(mapping, root)).collect(),
        root: opened_again(&transfer.destination.machine, ends),
        filter: (*filter != FilterRules::default()).then(|| filter.clone()),
        durability: far.map(|class| class.name().to_owned()),
        medium: Some(medium(ends.to)),
        since_boot: None,
    }
}

/// What tells a root's file system or bucket from every other.
pub(super) fn medium(root: &Root) -> String {
    let device = root.device.to_le_bytes();
    digits(&[root.machine_over_boots(), &device].concat())
}

/// The name of the destination's root from wherever it is opened: where paths are relative to
/// something, the resolved one.
fn opened_again(machine: &Machine, ends: &TwoEnds<'_>) -> Option<PathText> {
    let typed = &ends.mappings.first()?.destination_root;
    Some(PathText::from(match machine {
        Machine::Local | Machine::Ssh(_) | Machine::Platform(_) => ends.to.path.as_slice(),
        _ => typed.as_slice(),
    }))
}

fn mapped(mapping: &Mapping, root: &Root) -> Mapped {
    let mut source = root.path.clone();
    if !mapping.under.is_root() {
        if !source.ends_with(b"/") {
            source.push(b'/');
        }
        source.extend_from_slice(mapping.under.as_bytes());
    }
    let entry = PathText::from(mapping.top.as_bytes());
    Mapped { source: PathText::from(source.as_slice()), entry }
}

/// What a machine tells of itself; `None` where files do not come from a machine that could be
/// destroyed.
async fn told_by(source: &Connected, machine: &Machine) -> Option<(SourceMachine, Container)> {
    if !matches!(machine, Machine::Platform(_) | Machine::Ssh(_)) {
        return None;
    }
    let (platform, id) = names(&named(source, machine));
    let told = source.source.identify(true).await.unwrap_or_default();
    Some((SourceMachine::of(platform, id, &told), told))
}

/// A destination whose distance is asked for.
pub(super) struct Distance<'a> {
    pub(super) machine: &'a Machine,
    pub(super) sink: &'a dyn Sink,
    pub(super) to: &'a Root,
}

/// How far a destination is from the machine that files come from, by that machine's boot and by
/// the root that they come from; `None` where nobody knows.
pub(super) async fn distance(
    far: &Distance<'_>,
    from: &Root,
    boot: Option<[u8; 16]>,
) -> Option<Durability> {
    match far.machine {
        Machine::Store(_) => return Some(Durability::D2),
        // It may lead to a disk, to memory, or back.
        Machine::Rclone(_) | Machine::Web(_) | Machine::Hub(_) => return None,
        Machine::Local | Machine::Ssh(_) | Machine::Platform(_) | Machine::Peer(_) => {}
    }
    if far.to.space.volatile {
        return Some(Durability::D0);
    }
    if far.to.machine == from.machine {
        return Some(if far.to.device == from.device { Durability::D0 } else { Durability::D1 });
    }
    let there = far.sink.identify(false).await.unwrap_or_default();
    // Containers of one host have one kernel, and so one boot.
    match (boot, there.boot) {
        (Some(one), Some(other)) => {
            Some(if one == other { Durability::D1 } else { Durability::D2 })
        }
        _ => None,
    }
}
