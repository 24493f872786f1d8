//! A request whose body comes piece by piece, and is whole only if that is said.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Frame;
use tokio::sync::mpsc;

use super::{Web, WebAnswer, WebError, host_of, sort};

/// Pieces that wait to be taken.
const WAITING: usize = 2;

/// Where the pieces of a body are given. Dropped before the end was said, the request is broken
/// off.
pub(crate) struct Pieces(mpsc::Sender<Option<Bytes>>);

impl Pieces {
    /// Gives one piece, once there is room; false where nobody takes it any more.
    pub(crate) async fn give(&self, piece: Bytes) -> bool {
        self.0.send(Some(piece)).await.is_ok()
    }

    /// Says that the body is whole.
    pub(crate) async fn end(self) {
        drop(self.0.send(None).await);
    }
}

/// A body that is given by the other half.
pub(crate) struct Streamed {
    pieces: mpsc::Receiver<Option<Bytes>>,
    ended: bool,
}

/// The two halves of a body.
pub(crate) fn streamed() -> (Pieces, Streamed) {
    let (pieces, taken) = mpsc::channel(WAITING);
    (Pieces(pieces), Streamed { pieces: taken, ended: false })
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(context));
        Poll::Ready(match piece {
            Some(Some(piece)) => Some(Ok(Frame::data(piece))),
            Some(None) => {
                self.ended = true;
                None
            }
            None => Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

impl Web {
    /// Sends a body whose length nobody knows yet; whoever gives it has the patience.
    ///
    /// # Errors
    /// As [`WebError`] says.
    pub(crate) async fn send(
        &self,
        address: &str,
        headers: HeaderMap,
        body: Streamed,
    ) -> Result<WebAnswer, WebError> {
        let address = reqwest::Url::parse(address)
            .map_err(|_| WebError::Unusable("the address cannot be read"))?;
        let host = host_of(&address);
        let mut asked = reqwest::Request::new(Method::POST, address);
        *asked.headers_mut() = headers;
        *asked.body_mut() = Some(reqwest::Body::wrap(body));
        let sent = self.near.execute(asked).await;
        let body = sent.map_err(|error| sort(&error, &host, self.stall))?;
        let (status, headers) = (body.status().as_u16(), body.headers().clone());
        Ok(WebAnswer { status, headers, host, stall: self.stall, body })
    }
}
