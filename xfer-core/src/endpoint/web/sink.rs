//! Nothing is written to a public source.

use async_trait::async_trait;
use bytes::Bytes;
use xfer_protocol::message::{
    Begin, Begun, Commit, Create, Finish, Keep, Lock, OpenPartial, Outcome, Partial, PartialIndex,
    Paths, Publish, SetMetadata, WriteBlock, WritePack,
};

use super::WebEndpoint;
use crate::endpoint::{EndpointResult, Sink, unsupported};

#[async_trait]
impl Sink for WebEndpoint {
    async fn begin(&self, _: Begin) -> EndpointResult<Begun> {
        Err(unsupported())
    }

    async fn lock(&self, _: Lock) -> EndpointResult<()> {
        Err(unsupported())
    }

    async fn create(&self, _: Create) -> EndpointResult<Vec<Outcome>> {
        Err(unsupported())
    }

    async fn open_partial(&self, _: OpenPartial) -> EndpointResult<Partial> {
        Err(unsupported())
    }

    async fn keep(&self, _: Keep) -> EndpointResult<()> {
        Err(unsupported())
    }

    async fn write_block(&self, _: WriteBlock, _: Bytes) -> EndpointResult<()> {
        Err(unsupported())
    }

    async fn commit(&self, _: Commit) -> EndpointResult<()> {
        Err(unsupported())
    }

    async fn discard(&self, _: PartialIndex) -> EndpointResult<()> {
        Err(unsupported())
    }

    async fn write_pack(&self, _: WritePack, _: Bytes) -> EndpointResult<Vec<Outcome>> {
        Err(unsupported())
    }

    async fn publish(&self, _: Publish) -> EndpointResult<Vec<Outcome>> {
        Err(unsupported())
    }

    async fn set_metadata(&self, _: SetMetadata) -> EndpointResult<Vec<Outcome>> {
        Err(unsupported())
    }

    async fn remove_partials(&self, _: Paths) -> EndpointResult<()> {
        Err(unsupported())
    }

    async fn finish(&self, _: Finish) -> EndpointResult<()> {
        Err(unsupported())
    }
}
