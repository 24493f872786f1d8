//! What the far side does for us at a store: each errand as one request and the reply that fits it.

use xfer_protocol::digest::spans;
use xfer_protocol::hello::FEATURE_ERRANDS;
use xfer_protocol::message::errand::{
    Carried, Carry, CarryProblemKind, Gather, Gathered, Keeping, RedeemAll,
};
use xfer_protocol::message::passage::{ForwardedRead, ParcelIndex, RedeemedWrite};
use xfer_protocol::message::{Outcome, Reply, Request};
use xfer_protocol::range::ByteRange;

use super::RemoteEndpoint;
use super::calls::{MISMATCH, is_whole};
use crate::endpoint::EndpointResult;

/// Statuses whose body is what was asked for.
const WITH_BYTES: [u16; 2] = [200, 206];

impl RemoteEndpoint {
    /// Whether the far side makes requests that are signed for it.
    #[must_use]
    pub fn runs_errands(&self) -> bool {
        self.offers(FEATURE_ERRANDS)
    }

    /// Has the far side read, and keep what it read for errands.
    pub async fn gather(&self, gather: Gather) -> EndpointResult<Gathered> {
        let asked = Asked::of(&gather.read);
        match self.ask(Request::Gather(gather)).await? {
            Reply::Gathered(gathered) if asked.is_answered_by(&gathered) => Ok(gathered),
            _ => Err(MISMATCH),
        }
    }

    /// Has the far side make one request. It ends by itself: nothing here gives it up while the
    /// far side lives.
    pub async fn carry(&self, carry: Carry) -> EndpointResult<Carried> {
        let (keep, has_body) = (carry.keep, !carry.body.is_empty());
        match self.ask(Request::Carry(carry)).await? {
            Reply::Carried(carried) if fits(&carried, keep, has_body) => Ok(carried),
            _ => Err(MISMATCH),
        }
    }

    /// Has the far side write what several parcels hold: nothing is told of one block, and an
    /// outcome of each file.
    pub async fn redeem_all(&self, redeem: RedeemAll) -> EndpointResult<Vec<Outcome>> {
        let count = match &redeem.write {
            RedeemedWrite::Block(_) => None,
            RedeemedWrite::Pack(pack) => Some(pack.files.len()),
        };
        match (self.ask(Request::RedeemAll(redeem)).await?, count) {
            (Reply::Done, None) => Ok(Vec::new()),
            (Reply::Outcomes(outcomes), Some(count)) if outcomes.len() == count => Ok(outcomes),
            _ => Err(MISMATCH),
        }
    }

    /// Has the far side give parcels up.
    pub async fn dispose(&self, parcels: Vec<ParcelIndex>) -> EndpointResult<()> {
        self.done(Request::Dispose(parcels)).await
    }
}

/// What a reply to a reading has to have.
enum Asked {
    /// So many digests.
    Block(usize),
    /// Files of these sizes.
    Pack(Vec<u64>),
}

impl Asked {
    fn of(read: &ForwardedRead) -> Self {
        match read {
            ForwardedRead::Block(read) => {
                Self::Block(spans(read.range, read.file.stamp.size).count())
            }
            ForwardedRead::Pack(files) => {
                Self::Pack(files.files.iter().map(|(_, stamp)| stamp.size).collect())
            }
        }
    }

    fn is_answered_by(&self, gathered: &Gathered) -> bool {
        match (self, gathered) {
            (Self::Block(spans), Gathered::Block { digests, .. }) => digests.len() == *spans,
            (Self::Pack(sizes), Gathered::Pack(files)) => {
                let mut pairs = files.iter().zip(sizes);
                files.len() == sizes.len() && pairs.all(|((read, _), &size)| is_whole(read, size))
            }
            _ => false,
        }
    }
}

/// Whether an answer fits its request: digests and checksum are those of what was to be kept, and
/// only a body can want for a parcel.
fn fits(carried: &Carried, keep: Option<Keeping>, has_body: bool) -> bool {
    let is_kept = carried.outcome.as_ref().is_ok_and(|head| WITH_BYTES.contains(&head.status));
    let expected = keep.filter(|_| is_kept).map(|keep| {
        let range = ByteRange::at(keep.start, keep.length);
        range.map_or(0, |range| spans(range, keep.size).count())
    });
    let wants = |kind| matches!(&carried.outcome, Err(problem) if problem.kind == kind);
    carried.digests.len() == expected.unwrap_or(0)
        && carried.crc.is_some() == expected.is_some()
        && (has_body || !wants(CarryProblemKind::NoParcel))
}
