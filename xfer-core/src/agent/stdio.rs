//! The agent's process: a session on its stdin and stdout, and streams that other processes bring.
//!
//! A second channel of the same login starts the same program once more. That process hands its two
//! descriptors to the session's agent over an abstract socket, named by the session's random id and
//! open to the same user alone, and waits until the session is over.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::lending;
use super::serve::{ServeError, Served};
use crate::clock::SystemClock;
use crate::disk::handover::{Handed, Listener, hand_over};
use crate::endpoint::local::{LocalEndpoint, LocalOptions};
use crate::error::ExitClass;
use crate::transport::{Stream, pipe};

/// Holds in hexadecimal what the controller says first, where the command line has `--opening`. It
/// cannot be the agent's input: OpenSSH takes none before it has started the command.
pub const OPENING_VARIABLE: &str = "XFER_OPENING";

/// What the agent's process is told as it is started. Nothing in it is secret.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Printed before the first frame, so that what a login shell prints is not taken for one.
    pub sentinel: Vec<u8>,
    /// What the controller says first; the rest of it comes on stdin.
    pub opening: Vec<u8>,
    /// Names the session, in hexadecimal.
    pub session: String,
    /// Hands this process's stdin and stdout to the session's agent instead of beginning a session.
    pub join: bool,
    /// Whether whoever brings them is another machine, which can deliver and do nothing else.
    pub deliveries: bool,
    /// Silence after which the agent ends itself.
    pub silence: Duration,
    /// What the endpoint may do.
    pub endpoint: LocalOptions,
}

/// Runs the agent to the end of its session.
///
/// # Errors
/// When stdin and stdout are no streams, or no session comes about on them.
pub fn run(options: AgentOptions) -> BoxFuture<'static, io::Result<()>> {
    Box::pin(async move {
        let mut stream = pipe::standard()?;
        stream.writer.write_all(&options.sentinel).await?;
        stream.writer.flush().await?;
        if !options.opening.is_empty() {
            let opening = io::Cursor::new(options.opening.clone());
            stream.reader = Box::new(opening.chain(stream.reader));
        }
        if options.join {
            let ends = [rustix::stdio::stdin(), rustix::stdio::stdout()];
            hand_over(&options.session, ends, options.deliveries).await
        } else {
            begin(stream, options).await
        }
    })
}

/// The class of what ended a session badly.
#[must_use]
pub fn exit_class(error: &io::Error) -> ExitClass {
    let ended = error.get_ref().and_then(|inner| inner.downcast_ref::<ServeError>());
    match ended {
        Some(ServeError::UnsafeName) => ExitClass::Unsafe,
        _ => ExitClass::Protocol,
    }
}

async fn begin(stream: Stream, options: AgentOptions) -> io::Result<()> {
    let clock = SystemClock::shared();
    let endpoint = Arc::new(LocalEndpoint::new(options.endpoint));
    let (served, arrivals) = Served::new(endpoint, clock);
    let mut tasks = JoinSet::new();
    {
        let served = served.clone();
        tasks.spawn(async move {
            served.arrivals(arrivals).await;
            Ok(())
        });
    }
    tasks.spawn(async {
        // Where that cannot be, what was lent expires.
        let _as_far_as_it_goes = lending::reclaim_all_left().await;
        Ok(())
    });
    if let Ok(listener) = Listener::of(&options.session) {
        let served = served.clone();
        tasks.spawn(async move { accept_streams(served, listener).await });
    }
    // The session outlives its first stream as long as others, which joined it, are there.
    let first = async {
        served.stream(stream).await?;
        served.ended().await
    };
    let ended = tokio::select! {
        ended = first => ended,
        error = served.watch(options.silence) => Err(error),
    };
    served.reclaim().await;
    ended.map_err(io::Error::other)
}

/// Takes descriptors from processes of the same user, each a stream of the session.
async fn accept_streams(served: Served<LocalEndpoint>, listener: Listener) -> io::Result<()> {
    let mut streams = JoinSet::new();
    loop {
        if let Some(Handed { deliveries, input, output, until }) = listener.next().await? {
            let served = served.clone();
            streams.spawn(async move {
                if let Ok(stream) = pipe::from_descriptors(input, output) {
                    // How one stream ended is told by what its requests were answered.
                    let _ended = match deliveries {
                        true => served.deliveries(stream).await,
                        false => served.stream(stream).await.map(drop),
                    };
                }
                // The process that brought the descriptors waits for this to close.
                drop(until);
            });
        }
        while streams.try_join_next().is_some() {}
    }
}
