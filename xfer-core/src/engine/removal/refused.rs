//! What is refused before anything is removed.

use crate::connect::Connected;
use crate::engine::context::Stop;
use crate::engine::{Shared, Transfer};
use crate::error::{Failure, PolicyReason, Remedy, TransferError, UsageReason};
use crate::options::{RemovalLimit, Via};
use crate::plan::mapping::Mapping;

/// Entries that may be removed where nobody says otherwise.
const USUAL_MOST: u64 = 10_000;

/// Refuses what can be told from the request alone.
pub(in crate::engine) fn check_request(transfer: &Transfer) -> Result<(), TransferError> {
    let (removal, network) = (&transfer.options.removal, &transfer.options.network);
    let removes = removal.when.is_some();
    if !removes && removal.backup.is_none() {
        return Ok(());
    }
    if matches!(network.via, Via::Store(_)) {
        return Err(UsageReason::NotRemoved("what goes by way of a bucket (--via)").into());
    }
    if removes && transfer.options.selection.only.is_some() {
        return Err(UsageReason::NotRemoved("a list of paths (--files-from)").into());
    }
    Ok(())
}

/// Refuses what a destination cannot do, and what has more than one source.
pub(in crate::engine) fn check_removal(
    shared: &Shared,
    sink: &Connected,
    mappings: &[Mapping],
) -> Result<(), Stop> {
    let removal = &shared.transfer.options.removal;
    let to = || shared.transfer.destination.clone();
    if removal.when.is_some() && mappings.len() != 1 {
        let reason = UsageReason::NotRemoved("several sources");
        return Err(Stop::Error(reason.into()));
    }
    if removal.when.is_some() && !sink.sink.removes() {
        return Err(Stop::Error(UsageReason::CannotRemove(to()).into()));
    }
    if removal.backup.is_some() && !sink.sink.backs_up() {
        return Err(Stop::Error(UsageReason::CannotBackUp(to()).into()));
    }
    Ok(())
}

/// How many of so many entries may be removed.
pub(super) fn most_of(limit: RemovalLimit, standing: u64) -> u64 {
    let percent = |percent: u64| standing / 100 * percent + standing % 100 * percent / 100;
    match limit {
        RemovalLimit::Usual => percent(50).min(USUAL_MOST),
        RemovalLimit::Entries(most) => most,
        RemovalLimit::Percent(most) => percent(most.into()),
    }
}

pub(super) fn too_many(place: &str, doomed: u64, standing: u64, most: u64) -> Stop {
    refusal(place, PolicyReason::MaxDelete, |failure| {
        let failure = failure
            .detail("deletes", format!("{doomed} of {standing} entries"))
            .detail("limit", format!("{most}"));
        if doomed >= standing {
            let next = "all that stands there is never deleted: look at both locations again, or \
                        remove it yourself first";
            return failure.next(Remedy::text(next));
        }
        failure.next(Remedy::text(format!("it is meant so: repeat with --max-delete {doomed}")))
    })
}

pub(super) fn refusal(
    place: &str,
    reason: PolicyReason,
    explain: impl FnOnce(Failure<PolicyReason>) -> Failure<PolicyReason>,
) -> Stop {
    let look = match reason {
        PolicyReason::SourceEmpty => "look whether the source is mounted, and named rightly",
        PolicyReason::RootTypeChanged => {
            "look at both locations; remove what stands at the destination yourself, if it is meant"
        }
        _ => "see what would go: repeat with -n",
    };
    let failure = explain(Failure::new(place, reason)).next(Remedy::text(look));
    Stop::Error(TransferError::Policy(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_smaller_of_half_and_ten_thousand() {
        for (standing, most) in [(0, 0), (1, 0), (2, 1), (3, 1), (20_000, 10_000), (90_000, 10_000)]
        {
            assert_eq!(most_of(RemovalLimit::Usual, standing), most, "{standing}");
        }
        assert_eq!(most_of(RemovalLimit::Percent(100), u64::MAX), u64::MAX);
        assert_eq!(most_of(RemovalLimit::Percent(33), 10), 3);
        assert_eq!(most_of(RemovalLimit::Entries(7), 3), 7);
    }
}
