//! Which way payload takes: through here, from machine to machine, by a machine's own link, or
//! within a store.

use std::sync::Arc;

use super::context::Stop;
use super::{Shared, Transfer};
use crate::connect::{ByStore, Connected, OwnLink};
use crate::endpoint::passage::{Passage, Within};
use crate::options::VerifyLevel;

/// The way of payload.
#[derive(Default)]
pub(super) struct Way {
    /// Whether it leads past here.
    pub(super) elsewhere: bool,
    /// Where it does, once it is open.
    pub(super) passage: Option<Arc<Passage>>,
    /// The store that copies what it can; the rest passes here.
    pub(super) within: Option<Arc<Within>>,
    /// What is told of it.
    pub(super) told: Option<String>,
    /// Who reads the destination back, where that is neither end.
    pub(super) reader: Option<Connected>,
}

impl Way {
    fn open(passage: Passage) -> Self {
        Self { elsewhere: true, passage: Some(Arc::new(passage)), ..Self::default() }
    }
}

/// Finds the way of payload, and who reads back what it brought; a plan opens nothing anywhere.
pub(super) async fn way(
    shared: &Shared,
    sources: &[Connected],
    sink: &Connected,
    between: bool,
) -> Result<Way, Stop> {
    let Transfer { options, destination, plan_only, .. } = &shared.transfer;
    let reader = match plan_only {
        true => None,
        // Before the way is open, which says so too.
        false => {
            let reading = shared.connector.read_from((destination, sink), options);
            reading.await.map_err(Stop::Error)?
        }
    };
    Ok(Way { reader, ..way_of_payload(shared, sources, sink, between).await? })
}

async fn way_of_payload(
    shared: &Shared,
    sources: &[Connected],
    sink: &Connected,
    between: bool,
) -> Result<Way, Stop> {
    let transfer = &shared.transfer;
    let (options, plan_only) = (&transfer.options, transfer.plan_only);
    let planned = |told: &str| {
        let told = Some(told.to_owned());
        Way { elsewhere: true, told, ..Way::default() }
    };
    if between && plan_only {
        return Ok(planned(
            "files would go from machine to machine, by what way is found as they do",
        ));
    }
    if let Some(source) = sources.first().filter(|_| between) {
        let opened = shared.connector.passage(source, sink, options).await;
        return opened.map(Way::open).map_err(Stop::Error);
    }
    let (from, to) = ((&transfer.sources[..], sources), (&transfer.destination, sink));
    Ok(match shared.connector.own_link(from, to, options, plan_only).await {
        OwnLink::Other => within(sources, sink, shared),
        OwnLink::Here(why) => here(&why),
        OwnLink::Planned => planned("files would go by the far machine's own link"),
        OwnLink::Open(passage) => Way::open(passage),
    })
}

fn here(why: &str) -> Way {
    let told = Some(format!("files pass through this machine on their way, {why}"));
    Way { told, ..Way::default() }
}

/// What a store copies by itself is compared by what it tells, in a plan too.
fn within(sources: &[Connected], sink: &Connected, shared: &Shared) -> Way {
    let Transfer { options, plan_only, .. } = &shared.transfer;
    match Connected::by_store(sources, sink, options) {
        ByStore::Other => Way::default(),
        ByStore::Here(why) => here(&why),
        ByStore::Open(within) => {
            let copies = if *plan_only { "would copy" } else { "copies" };
            let costs = match options.verify.level {
                VerifyLevel::ReadBack => "each is read back here, once",
                VerifyLevel::Received | VerifyLevel::Durable => {
                    "one of which it tells no checksum is read back here, once"
                }
            };
            let told = format!("the store {copies} the files by itself; {costs}");
            Way { within: Some(Arc::new(within)), told: Some(told), ..Way::default() }
        }
    }
}
