//! What is asked of two versions of a file.

use bytes::Bytes;
use xfer_protocol::message::{Reply, Request};

use crate::endpoint::{EndpointResult, Sink, Source, unsupported};

/// Puts such a request to the endpoint.
pub(super) async fn answer<E: Source + Sink>(
    endpoint: &E,
    request: Request,
    payload: Bytes,
) -> EndpointResult<(Reply, Bytes)> {
    let count = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    match request {
        Request::Sign(sign) => {
            let kind = sign.kind;
            let sums = endpoint.sign(sign).await?;
            Ok((Reply::Sums(kind, count(sums.len() / kind.bytes())), sums))
        }
        Request::Match(looked) => {
            let copies = endpoint.find_copies(looked, payload).await?;
            Ok((Reply::Copies(copies), Bytes::new()))
        }
        Request::ReadParts(read) => {
            let (digests, parts) = endpoint.read_parts(read).await?;
            Ok((Reply::Parts(digests, count(parts.len())), parts))
        }
        Request::Patch(patch) => {
            endpoint.patch(patch, payload).await.map(|()| (Reply::Done, Bytes::new()))
        }
        _ => Err(unsupported()),
    }
}
