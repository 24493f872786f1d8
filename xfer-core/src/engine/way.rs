//! Which way payload takes: through here, from machine to machine, or by a machine's own link.

use std::sync::Arc;

use super::Shared;
use super::context::Stop;
use crate::connect::{Connected, OwnLink};
use crate::endpoint::passage::Passage;

/// The way of payload.
#[derive(Default)]
pub(super) struct Way {
    /// Whether it leads past here.
    pub(super) elsewhere: bool,
    /// Where it does, once it is open.
    pub(super) passage: Option<Arc<Passage>>,
    /// What is told of it.
    pub(super) told: Option<String>,
}

impl Way {
    fn open(passage: Passage) -> Self {
        Self { elsewhere: true, passage: Some(Arc::new(passage)), told: None }
    }
}

/// Finds the way of payload; a plan opens nothing anywhere.
pub(super) async fn way(
    shared: &Shared,
    sources: &[Connected],
    sink: &Connected,
    between: bool,
) -> Result<Way, Stop> {
    let transfer = &shared.transfer;
    let (options, plan_only) = (&transfer.options, transfer.plan_only);
    let planned = |told: &str| Way { elsewhere: true, passage: None, told: Some(told.to_owned()) };
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
        OwnLink::Other => Way::default(),
        OwnLink::Here(why) => {
            let told = Some(format!("files pass through this machine on their way, {why}"));
            Way { told, ..Way::default() }
        }
        OwnLink::Planned => planned("files would go by the far machine's own link"),
        OwnLink::Open(passage) => Way::open(passage),
    })
}
