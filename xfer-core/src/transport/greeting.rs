//! The hello of one stream, on a real stream and against the clock.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use xfer_protocol::session::handshake::{
    AwaitHello, HandshakeError, HandshakeFailure, HandshakeNext, Open,
};

use super::Stream;
use crate::clock::Clock;

/// Why a stream did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// The stream ended before the hello did.
    #[error("the stream ended before a greeting came")]
    Ended,
    /// No hello in time, or one that is not acceptable.
    #[error(transparent)]
    Refused(#[from] HandshakeFailure),
}

/// Waits for a hello and answers it.
pub(crate) async fn greet(
    stream: &mut Stream,
    state: AwaitHello,
    clock: &dyn Clock,
) -> Result<Open, GreetingError> {
    let heard = hear(&mut stream.reader, state, clock).await?;
    let reply = match &heard {
        Ok(open) => open.reply.as_deref(),
        Err(refused) => refused.reply.as_deref(),
    };
    send(stream, reply.unwrap_or_default()).await?;
    heard.map_err(|refused| refused.reason.into())
}

/// Reads a hello to its end, and not a byte further.
pub(crate) async fn hear(
    reader: &mut (impl AsyncRead + Unpin + ?Sized),
    mut state: AwaitHello,
    clock: &dyn Clock,
) -> Result<Result<Open, HandshakeError>, GreetingError> {
    let mut buffer = [0; 256];
    let mut wanted = 1;
    loop {
        let remaining = state.deadline().saturating_sub(clock.elapsed());
        let read = reader.read(&mut buffer[..wanted]);
        let count = match tokio::time::timeout(remaining, read).await {
            Ok(Ok(count)) if count > 0 => count,
            Ok(_) => return Err(GreetingError::Ended),
            Err(_) => return Err(GreetingError::Refused(HandshakeFailure::Late)),
        };
        match state.read(&buffer[..count], clock.elapsed()) {
            Ok(HandshakeNext::Await(next, more)) => {
                state = next;
                wanted = more.min(buffer.len());
            }
            Ok(HandshakeNext::Open(open)) => return Ok(Ok(open)),
            Err(refused) => return Ok(Err(refused)),
        }
    }
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> Result<(), GreetingError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = stream.writer.write_all(bytes).await;
    written.map_err(|_| GreetingError::Ended)?;
    stream.writer.flush().await.map_err(|_| GreetingError::Ended)
}
