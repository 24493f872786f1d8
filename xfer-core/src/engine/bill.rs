//! What a plan costs, and whether that may be spent.

use super::Shared;
use super::context::Stop;
use super::preflight::{Load, Preflight};
use crate::connect::Connected;
use crate::error::{Failure, PolicyReason, Remedy, TransferError};
use crate::event::{Cost, Toll};

/// The tolls of the ends that somebody bills, and what may be spent.
pub(super) struct Bill {
    /// Each with the source end that takes it; the destination takes it for all.
    tolls: Vec<(Toll, Option<usize>)>,
    /// The end of each source of the request.
    of_request: Vec<usize>,
    cap: Option<f64>,
    place: String,
}

impl Bill {
    /// Nothing where nobody bills and nothing is capped.
    pub(super) fn of(
        shared: &Shared,
        sources: &[Connected],
        of_request: &[usize],
        sink: &Connected,
    ) -> Option<Self> {
        let out =
            sources.iter().enumerate().filter_map(|(at, end)| Some((end.toll(true)?, Some(at))));
        let into = sink.toll(false).map(|toll| (toll, None));
        let tolls: Vec<_> = out.chain(into).collect();
        let cap = shared.transfer.options.network.max_cost;
        let place = shared.transfer.destination.to_string();
        let of_request = of_request.to_vec();
        (!tolls.is_empty() || cap.is_some()).then_some(Self { tolls, of_request, cap, place })
    }

    /// Whether payload has to wait until it is known what it costs.
    pub(super) fn is_capped(&self) -> bool {
        self.cap.is_some()
    }

    /// What is told: the cost should all that content decides differ.
    pub(super) fn told(&self, preflight: &Preflight) -> Option<Cost> {
        (!self.tolls.is_empty()).then(|| self.cost(preflight, Load::most))
    }

    /// Whether it may be moved, should all that content decides differ.
    pub(super) fn allows_most(&self, preflight: &Preflight) -> bool {
        let cost = self.cost(preflight, Load::most);
        self.cap.is_none_or(|cap| cost.is_within(cap))
    }

    /// Refuses what costs more, or what nobody knows.
    pub(super) fn check(&self, preflight: &Preflight) -> Result<(), Stop> {
        let cost = self.cost(preflight, |load| load.to_move);
        let Some(cap) = self.cap.filter(|cap| !cost.is_within(*cap)) else { return Ok(()) };
        let failure = Failure::new(self.place.clone(), PolicyReason::CostOverCap)
            .detail("cost", cost.to_string())
            .detail("cap", format!("${cap:.2}"));
        let remedy = match cost.usd() {
            Some(usd) => format!("repeat with --max-cost {:.2}, or send less", usd + 0.005),
            None => "what is not known passes no cap: repeat without --max-cost, or look at the \
                     price in the platform's console"
                .to_owned(),
        };
        Err(Stop::Error(TransferError::Policy(failure.next(Remedy::text(remedy)))))
    }

    fn cost(&self, preflight: &Preflight, bytes: impl Fn(Load) -> u64) -> Cost {
        let of = |end: Option<usize>| {
            preflight.load(|source| end.is_none() || self.of_request.get(source) == end.as_ref())
        };
        let parts = self.tolls.iter().map(|(toll, end)| (toll.clone(), bytes(of(*end))));
        Cost::of(bytes(of(None)), parts)
    }
}
