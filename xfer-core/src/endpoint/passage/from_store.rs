//! From a store, or from what is public, to a machine: the machine fetches and keeps, with requests
//! that are made here, and writes what it keeps once it has heard here what that must be.

use std::sync::Arc;

use bytes::Bytes;
use xfer_protocol::digest::Digest;
use xfer_protocol::message::errand::RedeemAll;
use xfer_protocol::message::passage::RedeemedWrite;
use xfer_protocol::message::{FileRead, FilesAt, Outcome, ReadBlock, WriteBlock, WritePack};

use super::Parcel;
use crate::endpoint::errands::{Kept, Porter};
use crate::endpoint::object::ObjectEndpoint;
use crate::endpoint::remote::RemoteEndpoint;
use crate::endpoint::web::WebEndpoint;
use crate::endpoint::{EndpointResult, Source};

/// What is read.
pub(crate) enum Public {
    Objects(Arc<ObjectEndpoint>),
    Web(Arc<WebEndpoint>),
}

/// What is read, and the machine that fetches it.
pub(crate) struct FromStore {
    porter: Arc<Porter>,
    source: Public,
    sink: Arc<RemoteEndpoint>,
}

/// What the machine fetched, one behind the other.
pub(crate) struct Fetched {
    kept: Vec<Arc<Kept>>,
    pub(super) length: u64,
}

impl FromStore {
    pub(crate) fn new(porter: Arc<Porter>, source: Public, sink: Arc<RemoteEndpoint>) -> Self {
        if let Public::Objects(objects) = &source {
            objects.read_by(Some(&porter));
        }
        Self { porter, source, sink }
    }

    pub(super) async fn read_block(
        &self,
        read: ReadBlock,
    ) -> EndpointResult<(Vec<Digest>, Parcel)> {
        let length = read.range.len();
        let (digests, kept) = match &self.source {
            Public::Objects(objects) => objects.read_block_there(&read, &self.porter).await?,
            Public::Web(web) => match web.read_block_there(&read, &self.porter).await? {
                Some(fetched) => fetched,
                None => {
                    let (digests, bytes) = web.read_block(read).await?;
                    return Ok((digests, Parcel::Here(bytes)));
                }
            },
        };
        Ok((digests, Parcel::Fetched(Fetched { kept: vec![kept], length })))
    }

    pub(super) async fn read_pack(
        &self,
        files: FilesAt,
    ) -> EndpointResult<(Vec<FileRead>, Parcel)> {
        let (reads, kept) = match &self.source {
            Public::Objects(objects) => objects.read_pack_there(&files, &self.porter).await?,
            Public::Web(web) => match web.read_pack_there(&files, &self.porter).await? {
                Some(fetched) => fetched,
                None => {
                    let (reads, bytes) = web.read_pack(files).await?;
                    return Ok((reads, Parcel::Here(bytes)));
                }
            },
        };
        if kept.is_empty() {
            return Ok((reads, Parcel::Here(Bytes::new())));
        }
        let length = reads.iter().flatten().map(|read| read.size).sum();
        Ok((reads, Parcel::Fetched(Fetched { kept, length })))
    }

    pub(super) async fn write_block(
        &self,
        write: WriteBlock,
        fetched: Fetched,
    ) -> EndpointResult<()> {
        let parcels = fetched.kept.iter().map(|kept| kept.spent()).collect();
        let write = RedeemedWrite::Block(write);
        self.sink.redeem_all(RedeemAll { parcels, write }).await.map(drop)
    }

    pub(super) async fn write_pack(
        &self,
        pack: WritePack,
        fetched: Fetched,
    ) -> EndpointResult<Vec<Outcome>> {
        let parcels = fetched.kept.iter().map(|kept| kept.spent()).collect();
        let write = RedeemedWrite::Pack(pack);
        self.sink.redeem_all(RedeemAll { parcels, write }).await
    }
}
