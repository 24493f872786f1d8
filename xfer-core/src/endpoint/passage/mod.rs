//! Payload that does not come by here: between two far machines, and between one and a store or
//! what is public; and between two buckets of one service.

mod between;
mod from_store;
mod to_store;
mod within;

use async_trait::async_trait;
use bytes::Bytes;
use xfer_protocol::digest::Digest;
use xfer_protocol::message::errand::{Carried, Carry, Gather, Gathered};
use xfer_protocol::message::passage::ParcelIndex;
use xfer_protocol::message::{FileRead, FilesAt, Outcome, ReadBlock, WriteBlock, WritePack};

use super::errands::Errands;
use super::object::store::Load;
use super::remote::RemoteEndpoint;
use super::{EndpointError, EndpointResult, ProtocolReason};
use between::Delivered;
use from_store::Fetched;

pub(crate) use between::Between;
pub(crate) use from_store::{FromStore, Public};
pub(crate) use to_store::ToStore;
pub(crate) use within::Within;

/// Bytes that may be on their way at a time by a machine's own link: it keeps three times as many.
const ERRAND_BYTES: u64 = 64 << 20;

const MISMATCHED: EndpointError = EndpointError::Protocol(ProtocolReason::Mismatched);

/// A way of payload that does not lead through here, open as long as the sessions are.
pub(crate) enum Passage {
    /// From one machine to another.
    Between(Between),
    /// From a machine to a store.
    ToStore(ToStore),
    /// From a store, or from what is public, to a machine.
    FromStore(FromStore),
}

/// Payload that was read.
pub(crate) enum Parcel {
    /// It came here all the same: nobody else can read it.
    Here(Bytes),
    /// The destination's machine has it.
    Delivered(Delivered),
    /// The source's machine has it.
    Gathered(Load),
    /// The destination's machine has fetched it.
    Fetched(Fetched),
}

impl Parcel {
    /// Bytes.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Delivered(delivered) => delivered.length,
            Self::Gathered(load) => load.length(),
            Self::Fetched(fetched) => fetched.length,
        }
    }
}

impl Passage {
    /// Bytes that may be on their way at a time.
    pub(crate) fn window(&self) -> u64 {
        match self {
            Self::Between(_) => between::WINDOW_BYTES,
            Self::ToStore(_) | Self::FromStore(_) => ERRAND_BYTES,
        }
    }

    /// As [`Source::read_block`](super::Source::read_block).
    pub(crate) async fn read_block(
        &self,
        read: ReadBlock,
    ) -> EndpointResult<(Vec<Digest>, Parcel)> {
        match self {
            Self::Between(way) => {
                way.read_block(read).await.map(|(d, p)| (d, Parcel::Delivered(p)))
            }
            Self::ToStore(way) => way.read_block(read).await.map(|(d, p)| (d, Parcel::Gathered(p))),
            Self::FromStore(way) => way.read_block(read).await,
        }
    }

    /// As [`Source::read_pack`](super::Source::read_pack).
    pub(crate) async fn read_pack(
        &self,
        files: FilesAt,
    ) -> EndpointResult<(Vec<FileRead>, Parcel)> {
        match self {
            Self::Between(way) => {
                way.read_pack(files).await.map(|(r, p)| (r, Parcel::Delivered(p)))
            }
            Self::ToStore(way) => way.read_pack(files).await.map(|(r, p)| (r, Parcel::Gathered(p))),
            Self::FromStore(way) => way.read_pack(files).await,
        }
    }

    /// As [`Sink::write_block`](super::Sink::write_block), of what was read by this passage.
    pub(crate) async fn write_block(
        &self,
        write: WriteBlock,
        parcel: Parcel,
    ) -> EndpointResult<()> {
        match (self, parcel) {
            (Self::Between(way), Parcel::Delivered(parcel)) => way.write_block(write, parcel).await,
            (Self::ToStore(way), Parcel::Gathered(load)) => way.write_block(write, load).await,
            (Self::FromStore(way), Parcel::Fetched(parcel)) => way.write_block(write, parcel).await,
            _ => Err(MISMATCHED),
        }
    }

    /// As [`Sink::write_pack`](super::Sink::write_pack), of what was read by this passage.
    pub(crate) async fn write_pack(
        &self,
        pack: WritePack,
        parcel: Parcel,
    ) -> EndpointResult<Vec<Outcome>> {
        match (self, parcel) {
            (Self::Between(way), Parcel::Delivered(parcel)) => way.write_pack(pack, parcel).await,
            (Self::ToStore(way), Parcel::Gathered(load)) => way.write_pack(pack, load).await,
            (Self::FromStore(way), Parcel::Fetched(parcel)) => way.write_pack(pack, parcel).await,
            _ => Err(MISMATCHED),
        }
    }
}

#[async_trait]
impl Errands for RemoteEndpoint {
    async fn gather(&self, gather: Gather) -> EndpointResult<Gathered> {
        Self::gather(self, gather).await
    }

    async fn carry(&self, carry: Carry) -> EndpointResult<Carried> {
        Self::carry(self, carry).await
    }

    async fn dispose(&self, parcels: Vec<ParcelIndex>) -> EndpointResult<()> {
        Self::dispose(self, parcels).await
    }
}
