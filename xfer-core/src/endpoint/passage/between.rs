//! Payload between two far machines: read on one, written on the other, and never here.
//!
//! Both are asked over their own sessions. The source's machine delivers what it read, and says
//! which digests it has; the destination's hears from here what that must be, checks it, and says
//! here what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xfer_protocol::digest::Digest;
use xfer_protocol::message::passage::{
    Forward, Forwarded, ForwardedRead, ParcelIndex, Redeem, RedeemedWrite,
};
use xfer_protocol::message::{FileRead, FilesAt, Outcome, ReadBlock, WriteBlock, WritePack};

use super::MISMATCHED;
use crate::endpoint::EndpointResult;
use crate::endpoint::remote::{RemoteEndpoint, are_whole};

/// Bytes that may be on their way at a time: the destination's machine keeps a little more than
/// that for those that nobody comes for.
pub(super) const WINDOW_BYTES: u64 = 40 << 20;

/// A way of payload from one machine to another, open as long as the sessions are.
pub(crate) struct Between {
    from: Arc<RemoteEndpoint>,
    to: Arc<RemoteEndpoint>,
    next: AtomicU64,
}

/// Payload that was delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    index: ParcelIndex,
    pub(super) length: u64,
}

impl Between {
    /// What the first machine reads goes to the second one.
    pub(crate) fn new(from: Arc<RemoteEndpoint>, to: Arc<RemoteEndpoint>) -> Self {
        Self { from, to, next: AtomicU64::new(0) }
    }

    /// As [`Source::read_block`](crate::endpoint::Source::read_block), the bytes delivered.
    pub(super) async fn read_block(
        &self,
        read: ReadBlock,
    ) -> EndpointResult<(Vec<Digest>, Delivered)> {
        let parcel = self.parcel(read.range.len());
        let forward = Forward { parcel: parcel.index, read: ForwardedRead::Block(read) };
        match self.from.forward(forward).await? {
            Forwarded::Block(digests) => Ok((digests, parcel)),
            Forwarded::Pack(_) | Forwarded::Undelivered => Err(MISMATCHED),
        }
    }

    /// As [`Source::read_pack`](crate::endpoint::Source::read_pack), the bytes delivered.
    pub(super) async fn read_pack(
        &self,
        files: FilesAt,
    ) -> EndpointResult<(Vec<FileRead>, Delivered)> {
        let sizes: Vec<_> = files.files.iter().map(|(_, stamp)| stamp.size).collect();
        let parcel = self.parcel(0);
        let forward = Forward { parcel: parcel.index, read: ForwardedRead::Pack(files) };
        match self.from.forward(forward).await? {
            Forwarded::Pack(reads) if are_whole(&reads, &sizes) => {
                let length = reads.iter().flatten().map(|read| read.size).sum();
                Ok((reads, Delivered { length, ..parcel }))
            }
            _ => Err(MISMATCHED),
        }
    }

    /// As [`Sink::write_block`](crate::endpoint::Sink::write_block), of bytes that were delivered.
    pub(super) async fn write_block(
        &self,
        write: WriteBlock,
        parcel: Delivered,
    ) -> EndpointResult<()> {
        let write = RedeemedWrite::Block(write);
        self.to.redeem(Redeem { parcel: parcel.index, write }).await.map(drop)
    }

    /// As [`Sink::write_pack`](crate::endpoint::Sink::write_pack), of bytes that were delivered.
    pub(super) async fn write_pack(
        &self,
        pack: WritePack,
        parcel: Delivered,
    ) -> EndpointResult<Vec<Outcome>> {
        let write = RedeemedWrite::Pack(pack);
        self.to.redeem(Redeem { parcel: parcel.index, write }).await
    }

    fn parcel(&self, length: u64) -> Delivered {
        Delivered { index: ParcelIndex(self.next.fetch_add(1, Ordering::Relaxed)), length }
    }
}
