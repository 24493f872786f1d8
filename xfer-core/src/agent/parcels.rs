//! Payload that another machine delivered, kept until the controller says what it is.
//!
//! Whoever delivers chooses neither where the bytes go nor what they must be: it can only keep them
//! back, or send others, which then fail their check.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::message::passage::{ParcelIndex, RedeemedWrite};
use xfer_protocol::message::{Outcome, Reply, WritePack};
use xfer_protocol::path::RelPath;

use crate::transport::framed::Room;

/// Bytes that are kept at most. They are part of the room that all payload of a session has: beyond
/// this the oldest go, which nobody came for, so that there is always room for the next.
const KEPT_BYTES_MAX: u64 = 48 << 20;

/// Bytes of the least room.
const PAGE: usize = 4096;

/// What was delivered to a session and not redeemed.
#[derive(Default)]
pub(super) struct Parcels(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    parcels: HashMap<ParcelIndex, Parcel>,
    /// The oldest first.
    order: VecDeque<ParcelIndex>,
    bytes: u64,
}

struct Parcel {
    payload: Bytes,
    /// Room in the session's memory, as long as it is kept.
    room: Option<OwnedSemaphorePermit>,
}

impl Parcels {
    /// Keeps a parcel, in place of one of the same number.
    pub(super) fn keep(
        &self,
        index: ParcelIndex,
        payload: Bytes,
        room: Option<OwnedSemaphorePermit>,
    ) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(index);
        kept.bytes += weight(&payload);
        let room = room.map(|room| Room::shrunk(room, payload.len()));
        kept.parcels.insert(index, Parcel { payload, room });
        kept.order.push_back(index);
        while kept.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = kept.order.front().copied() else { return };
            kept.remove(oldest);
        }
    }

    /// Gives a parcel up, with the room that it has.
    pub(super) fn take(&self, index: ParcelIndex) -> Option<(Bytes, Option<OwnedSemaphorePermit>)> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(index).map(|parcel| (parcel.payload, parcel.room))
    }
}

impl Kept {
    fn remove(&mut self, index: ParcelIndex) -> Option<Parcel> {
        let parcel = self.parcels.remove(&index)?;
        self.order.retain(|other| *other != index);
        self.bytes -= weight(&parcel.payload);
        Some(parcel)
    }
}

/// What a parcel counts for: room is given in pages.
fn weight(payload: &Bytes) -> u64 {
    payload.len().next_multiple_of(PAGE).max(PAGE) as u64
}

/// Bytes of the payload that is written.
pub(super) fn length(write: &RedeemedWrite) -> u64 {
    match write {
        RedeemedWrite::Block(block) => block.range.len(),
        RedeemedWrite::Pack(pack) => pack.files.iter().map(|file| file.size).sum(),
    }
}

/// What writing comes to where the parcel is not there, or is not as long as it should be: the
/// bytes were damaged on their way, and may be sent once more.
pub(super) fn missing(write: RedeemedWrite) -> Result<Reply, Fault> {
    match write {
        RedeemedWrite::Block(_) => {
            Err(Fault::new(FaultKind::Mismatch, Operation::Write, RelPath::root()))
        }
        RedeemedWrite::Pack(WritePack { files, .. }) => {
            let outcomes = files.into_iter().map(|file| Outcome {
                ticket: file.ticket,
                result: Err(Fault::new(FaultKind::Mismatch, Operation::Write, file.path)),
            });
            Ok(Reply::Outcomes(outcomes.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_given_up_once_and_the_oldest_go_first() {
        let (parcels, mib) = (Parcels::default(), Bytes::from(vec![7; 1 << 20]));
        for index in 0..48 {
            parcels.keep(ParcelIndex(index), mib.clone(), None);
        }
        parcels.keep(ParcelIndex(5), mib.clone(), None);
        parcels.keep(ParcelIndex(48), mib.clone(), None);
        let has = |index| parcels.take(ParcelIndex(index)).is_some();
        assert!(!has(0), "the oldest went");
        assert!(has(1) && !has(1), "a parcel is given up once");
        assert!(has(48) && has(5));
        let kept = parcels.0.lock().unwrap();
        assert_eq!((kept.parcels.len(), kept.order.len(), kept.bytes), (45, 45, 45 << 20));
    }
}
