//! Payload that this machine keeps for errands: what it read for a store, and what a store sent.
//!
//! No other machine can add to it, and so none can push anything out of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use xfer_protocol::message::errand::Slice;
use xfer_protocol::message::passage::ParcelIndex;

/// Bytes of the least room.
const PAGE: u64 = 4096;

/// What is kept, within the memory that there is for it.
pub(super) struct Stock {
    room: Arc<Semaphore>,
    kept: Mutex<Kept>,
    /// Something can be let go that could not before.
    loosened: Notify,
}

#[derive(Default)]
struct Kept {
    parcels: HashMap<ParcelIndex, Arc<Parcel>>,
    /// The oldest first.
    order: VecDeque<ParcelIndex>,
}

/// One parcel, with its room as long as anybody uses it.
pub(super) struct Parcel {
    pub(super) payload: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Pieces of parcels, which stay in memory meanwhile.
pub(super) struct Lent<'a> {
    pub(super) pieces: Vec<Bytes>,
    parcels: Vec<Arc<Parcel>>,
    stock: &'a Stock,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.parcels.clear();
        self.stock.loosened.notify_waiters();
    }
}

impl Stock {
    /// Keeps at most so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let pages = usize::try_from(bytes / PAGE).unwrap_or(usize::MAX);
        let room = Arc::new(Semaphore::new(pages.min(Semaphore::MAX_PERMITS)));
        Self { room, kept: Mutex::default(), loosened: Notify::new() }
    }

    /// Room for so many bytes, which are no more than all that there is. The oldest parcels that
    /// nobody uses go for it; where all are in use, it waits.
    pub(super) async fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let pages = u32::try_from(bytes.div_ceil(PAGE).max(1)).ok()?;
        loop {
            let loosened = self.loosened.notified();
            if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(pages) {
                return Some(room);
            }
            if self.let_oldest_go() {
                continue;
            }
            tokio::select! {
                room = Arc::clone(&self.room).acquire_many_owned(pages) => return room.ok(),
                () = loosened => {}
            }
        }
    }

    /// Keeps a parcel, in place of one of the same number.
    pub(super) fn keep(&self, index: ParcelIndex, payload: Bytes, room: OwnedSemaphorePermit) {
        {
            let mut kept = self.kept();
            kept.remove(index);
            kept.parcels.insert(index, Arc::new(Parcel { payload, _room: room }));
            kept.order.push_back(index);
        }
        self.loosened.notify_waiters();
    }

    /// Pieces of what is kept; `None` where a parcel is not there, or ends before its piece.
    pub(super) fn lend(&self, slices: &[Slice]) -> Option<Lent<'_>> {
        let kept = self.kept();
        let mut lent = Lent { pieces: Vec::new(), parcels: Vec::new(), stock: self };
        for slice in slices {
            let parcel = kept.parcels.get(&slice.parcel)?;
            let start = usize::try_from(slice.start).ok()?;
            let end = start.checked_add(usize::try_from(slice.length).ok()?)?;
            if end > parcel.payload.len() {
                return None;
            }
            lent.pieces.push(parcel.payload.slice(start..end));
            lent.parcels.push(Arc::clone(parcel));
        }
        Some(lent)
    }

    /// Gives a parcel up, with the room that it has.
    pub(super) fn take(&self, index: ParcelIndex) -> Option<Arc<Parcel>> {
        self.kept().remove(index)
    }

    /// Lets the oldest go that nobody uses: to let one in use go would make no room.
    fn let_oldest_go(&self) -> bool {
        let mut kept = self.kept();
        let is_free = |index: &&ParcelIndex| {
            kept.parcels.get(index).is_some_and(|parcel| Arc::strong_count(parcel) == 1)
        };
        let oldest = kept.order.iter().find(is_free).copied();
        oldest.is_some_and(|oldest| kept.remove(oldest).is_some())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, index: ParcelIndex) -> Option<Arc<Parcel>> {
        let parcel = self.parcels.remove(&index)?;
        self.order.retain(|other| *other != index);
        Some(parcel)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn slice(parcel: u64, start: u64, length: u64) -> Slice {
        Slice { parcel: ParcelIndex(parcel), start, length }
    }

    async fn put(stock: &Stock, index: u64, bytes: u64) {
        let room = stock.room(bytes).await.unwrap();
        let payload = vec![u8::try_from(index).unwrap(); usize::try_from(bytes).unwrap()];
        stock.keep(ParcelIndex(index), payload.into(), room);
    }

    #[tokio::test]
    async fn the_oldest_go_that_nobody_uses() {
        let stock = Stock::new(4 * MIB);
        for index in 0..4 {
            put(&stock, index, MIB).await;
        }
        let lent = stock.lend(&[slice(0, 5, 3), slice(2, 0, MIB)]).unwrap();
        assert_eq!((lent.pieces[0].len(), lent.pieces[1][0]), (3, 2));
        put(&stock, 4, MIB).await;
        let has = |index| stock.lend(&[slice(index, 0, 1)]).is_some();
        assert_eq!([0, 1, 2, 3, 4].map(has), [true, false, true, true, true]);
        // All of it, while a part is in use: the others go, and it waits.
        let mut waiting = Box::pin(stock.room(4 * MIB));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!([0, 2, 3, 4].map(has), [true, true, false, false]);
        drop(lent);
        assert!(waiting.await.is_some());
        assert_eq!(stock.kept().order.len(), 0);
        assert_eq!(stock.room.available_permits(), 1024);
    }

    #[tokio::test]
    async fn whoever_waits_has_what_is_kept_meanwhile() {
        let stock = Stock::new(MIB);
        let room = stock.room(MIB).await.unwrap();
        let mut waiting = Box::pin(stock.room(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        stock.keep(ParcelIndex(1), Bytes::from_static(b"read"), room);
        assert!(waiting.await.is_some());
        assert!(stock.take(ParcelIndex(1)).is_none());
    }

    #[tokio::test]
    async fn a_parcel_is_given_up_once_and_replaced_by_its_number() {
        let stock = Stock::new(2 * MIB);
        put(&stock, 1, MIB).await;
        put(&stock, 1, 10).await;
        assert!(
            stock.lend(&[slice(1, 0, 11)]).is_none() && stock.lend(&[slice(1, 10, 1)]).is_none()
        );
        assert!(stock.lend(&[slice(1, 9, 1), slice(2, 0, 1)]).is_none());
        assert_eq!(stock.take(ParcelIndex(1)).unwrap().payload.len(), 10);
        assert!(stock.take(ParcelIndex(1)).is_none());
        assert_eq!(stock.room.available_permits(), 512);
    }
}
