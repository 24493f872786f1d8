//! Authenticated streams between two machines

pub(crate) mod framed;
pub mod greeting;
pub(crate) mod pipe;
pub(crate) mod sftp;
pub mod ssh;

use std::fmt;

use tokio::io::{AsyncRead, AsyncWrite};

/// One ordered lane of bytes in both directions
///
/// Shutting the writer down tells the far end that nothing more comes; dropping both halves ends
/// the lane.
pub struct Stream {
    /// What the far end sends
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What the far end receives
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stream").finish_non_exhaustive()
    }
}
