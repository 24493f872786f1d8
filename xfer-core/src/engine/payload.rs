//! Payload between being read and being written: here, or on a far machine.

use bytes::Bytes;
use xfer_protocol::digest::Digest;
use xfer_protocol::message::{FileRead, FilesAt, Outcome, ReadBlock, WriteBlock, WritePack};

use super::context::Context;
use crate::endpoint::EndpointResult;
use crate::endpoint::passage::Parcel;

/// What was read, and is to be written.
pub(super) enum Payload {
    Here(Bytes),
    /// It does not pass here.
    There(Parcel),
}

impl Payload {
    pub(super) const NONE: Self = Self::Here(Bytes::new());

    /// Bytes that are still to leave here, at the rate that was asked for.
    pub(super) fn bytes_to_pace(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::There(_) => 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::There(parcel) => parcel.length(),
        }
    }
}

impl From<Parcel> for Payload {
    fn from(parcel: Parcel) -> Self {
        match parcel {
            Parcel::Here(bytes) => Self::Here(bytes),
            parcel => Self::There(parcel),
        }
    }
}

impl Context {
    pub(super) async fn read_block(
        &self,
        read: ReadBlock,
    ) -> EndpointResult<(Vec<Digest>, Payload)> {
        match &self.passage {
            None => self.source.read_block(read).await.map(|(d, bytes)| (d, Payload::Here(bytes))),
            Some(passage) => {
                self.pacer.pace(read.range.len()).await;
                passage.read_block(read).await.map(|(d, p)| (d, p.into()))
            }
        }
    }

    pub(super) async fn read_pack(
        &self,
        files: FilesAt,
    ) -> EndpointResult<(Vec<FileRead>, Payload)> {
        match &self.passage {
            None => self.source.read_pack(files).await.map(|(r, bytes)| (r, Payload::Here(bytes))),
            Some(passage) => {
                self.pacer.pace(files.files.iter().map(|(_, stamp)| stamp.size).sum()).await;
                passage.read_pack(files).await.map(|(r, p)| (r, p.into()))
            }
        }
    }

    pub(super) async fn write_block(
        &self,
        write: WriteBlock,
        payload: Payload,
    ) -> EndpointResult<()> {
        match (&self.passage, payload) {
            (Some(passage), Payload::There(parcel)) => passage.write_block(write, parcel).await,
            (_, Payload::Here(bytes)) => self.sink.write_block(write, bytes).await,
            (None, Payload::There(_)) => unreachable!("nothing is elsewhere without a passage"),
        }
    }

    pub(super) async fn write_pack(
        &self,
        pack: WritePack,
        payload: Payload,
    ) -> EndpointResult<Vec<Outcome>> {
        match (&self.passage, payload) {
            (Some(passage), Payload::There(parcel)) => passage.write_pack(pack, parcel).await,
            (_, Payload::Here(bytes)) => self.sink.write_pack(pack, bytes).await,
            (None, Payload::There(_)) => unreachable!("nothing is elsewhere without a passage"),
        }
    }
}
