//! From a machine to a store: the machine reads and keeps, and puts what it keeps with requests
//! that are signed here; when uploads begin and end is decided here.

use std::sync::Arc;

use xfer_protocol::digest::Digest;
use xfer_protocol::message::errand::Gathered;
use xfer_protocol::message::passage::ForwardedRead;
use xfer_protocol::message::{FileRead, FilesAt, Outcome, ReadBlock, WriteBlock, WritePack};

use super::MISMATCHED;
use crate::endpoint::EndpointResult;
use crate::endpoint::errands::Porter;
use crate::endpoint::object::ObjectEndpoint;
use crate::endpoint::object::store::{Load, Unit};

/// A machine, and the store that it puts to.
pub(crate) struct ToStore {
    porter: Arc<Porter>,
    sink: Arc<ObjectEndpoint>,
}

impl ToStore {
    pub(crate) fn new(porter: Arc<Porter>, sink: Arc<ObjectEndpoint>) -> Self {
        sink.read_by(Some(&porter));
        Self { porter, sink }
    }

    pub(super) async fn read_block(&self, read: ReadBlock) -> EndpointResult<(Vec<Digest>, Load)> {
        let length = read.range.len();
        let (gathered, kept) = self.porter.gather(ForwardedRead::Block(read)).await?;
        let Gathered::Block { digests, crc } = gathered else { return Err(MISMATCHED) };
        // Blocks lie on the grid of parts, so that each is one span.
        let &[digest] = &digests[..] else { return Err(MISMATCHED) };
        Ok((digests, Load::from(vec![Unit { kept, start: 0, length, digest, crc }])))
    }

    pub(super) async fn read_pack(&self, files: FilesAt) -> EndpointResult<(Vec<FileRead>, Load)> {
        let (gathered, kept) = self.porter.gather(ForwardedRead::Pack(files)).await?;
        let Gathered::Pack(files) = gathered else { return Err(MISMATCHED) };
        let (mut reads, mut units, mut start) = (Vec::new(), Vec::new(), 0);
        for (read, crc) in files {
            if let Ok(read) = &read
                && read.size > 0
            {
                let (kept, length, digest) = (Arc::clone(&kept), read.size, read.digest);
                units.push(Unit { kept, start, length, digest, crc });
                start += length;
            }
            reads.push(read);
        }
        Ok((reads, Load::from(units)))
    }

    pub(super) async fn write_block(&self, write: WriteBlock, load: Load) -> EndpointResult<()> {
        self.sink.write_load(write, load).await
    }

    pub(super) async fn write_pack(
        &self,
        pack: WritePack,
        load: Load,
    ) -> EndpointResult<Vec<Outcome>> {
        self.sink.write_loads(pack, load).await
    }
}
