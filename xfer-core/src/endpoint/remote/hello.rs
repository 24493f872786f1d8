//! The near side's greeting on one stream.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xfer_protocol::hello::{
    Hello, HelloError, HelloProgress, HelloReader, Role, SessionId, negotiate,
};

use super::super::{EndpointError, EndpointResult, LostReason, ProtocolReason};
use crate::transport::Stream;

/// Exchanges hellos.
pub(super) async fn greet(
    stream: &mut Stream,
    session: SessionId,
    index: u16,
) -> EndpointResult<()> {
    let ours = Hello::new(Role::Controller, session, index);
    let ended = |_| EndpointError::Lost(LostReason::Ended);
    stream.writer.write_all(&ours.encode()).await.map_err(ended)?;
    stream.writer.flush().await.map_err(ended)?;
    let mut reader = HelloReader::new();
    let mut needed = 1;
    let mut buffer = [0; 256];
    loop {
        let take = needed.min(buffer.len());
        let read = stream.reader.read(&mut buffer[..take]).await.map_err(ended)?;
        if read == 0 {
            return Err(EndpointError::Lost(LostReason::Ended));
        }
        match reader.read(&buffer[..read]).map_err(reason)? {
            HelloProgress::NeedsMore(more) => needed = more,
            HelloProgress::Complete { hello, .. } => {
                return negotiate(&ours, &hello).map(drop).map_err(reason);
            }
        }
    }
}

fn reason(error: HelloError) -> EndpointError {
    EndpointError::Protocol(match error {
        HelloError::Version { .. } => ProtocolReason::Version,
        HelloError::TooLong(_) => ProtocolReason::Limit,
        _ => ProtocolReason::BadHello,
    })
}
