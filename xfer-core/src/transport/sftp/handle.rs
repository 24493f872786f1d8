//! An open file or directory of the far side

use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::try_join_all;

use super::attributes::Attributes;
use super::packet::kind;
use super::reply::{Name, Refusal, Reply};
use super::session::{Sftp, SftpError, mismatched, refused};

/// Closed when it is dropped; [`Self::close`] tells whether that went well.
pub(crate) struct OpenHandle {
    sftp: Sftp,
    /// Empty once it is closed
    handle: Bytes,
}

impl fmt::Debug for OpenHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OpenHandle").finish_non_exhaustive()
    }
}

impl OpenHandle {
    pub(super) fn new(sftp: Sftp, handle: Bytes) -> Self {
        Self { sftp, handle }
    }

    /// Reads a range with many requests under way; `None` where the file ends before.
    pub(crate) async fn read(
        &self,
        offset: u64,
        length: usize,
    ) -> Result<Option<Bytes>, SftpError> {
        let step = self.sftp.read_bytes_max();
        let starts = (0..length).step_by(step);
        let pieces = starts.map(|start| self.read_piece(offset, start, step.min(length - start)));
        let pieces: Vec<_> = pieces.map(FutureExt::boxed).collect();
        let mut pieces = try_join_all(pieces).await?;
        if pieces.len() == 1 {
            return Ok(pieces.pop().flatten());
        }
        let mut whole = BytesMut::with_capacity(length);
        for piece in pieces {
            let Some(piece) = piece else { return Ok(None) };
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }

    /// One request's worth of bytes, asked for again where the far side sent only some.
    async fn read_piece(
        &self,
        offset: u64,
        start: usize,
        length: usize,
    ) -> Result<Option<Bytes>, SftpError> {
        let _room = self.sftp.room(length).await;
        let mut begun = BytesMut::new();
        loop {
            let missing = length - begun.len();
            let at = offset.saturating_add((start + begun.len()) as u64);
            let reply = self
                .sftp
                .ask(kind::READ, Bytes::new(), |out| {
                    let count = u32::try_from(missing).unwrap_or(u32::MAX);
                    out.string(&self.handle).u64(at).u32(count);
                })
                .await?;
            match reply {
                Reply::Data(data) if data.is_empty() || data.len() > missing => {
                    return Err(mismatched());
                }
                Reply::Data(data) if begun.is_empty() && data.len() == length => {
                    return Ok(Some(data));
                }
                Reply::Data(data) => begun.extend_from_slice(&data),
                Reply::End => return Ok(None),
                other => return Err(refused(other)),
            }
            if begun.len() == length {
                return Ok(Some(begun.freeze()));
            }
        }
    }

    /// Writes a range with many requests under way.
    pub(crate) async fn write(&self, offset: u64, payload: Bytes) -> Result<(), SftpError> {
        let step = self.sftp.write_bytes_max();
        let starts = (0..payload.len()).step_by(step);
        let pieces = starts.map(|start| {
            let piece = payload.slice(start..payload.len().min(start + step));
            self.write_piece(offset.saturating_add(start as u64), piece).boxed()
        });
        let pieces: Vec<_> = pieces.collect();
        try_join_all(pieces).await.map(drop)
    }

    async fn write_piece(&self, offset: u64, piece: Bytes) -> Result<(), SftpError> {
        let _room = self.sftp.room(piece.len()).await;
        let count = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        let build = |out: &mut super::packet::Encoder| {
            out.string(&self.handle).u64(offset).u32(count);
        };
        done(self.sftp.ask(kind::WRITE, piece, build).await?)
    }

    /// What the far side tells of the open file
    pub(crate) async fn attributes(&self) -> Result<Attributes, SftpError> {
        let build = |out: &mut super::packet::Encoder| {
            out.string(&self.handle);
        };
        match self.sftp.ask(kind::FSTAT, Bytes::new(), build).await? {
            Reply::Attributes(found) => Ok(found),
            other => Err(refused(other)),
        }
    }

    /// Sets what is given.
    pub(crate) async fn set(&self, attributes: &Attributes) -> Result<(), SftpError> {
        let build = |out: &mut super::packet::Encoder| {
            out.string(&self.handle).attributes(attributes);
        };
        done(self.sftp.ask(kind::FSETSTAT, Bytes::new(), build).await?)
    }

    /// Makes what was written durable.
    pub(crate) async fn sync(&self) -> Result<(), SftpError> {
        if !self.sftp.extensions().fsync {
            return Err(SftpError::Refused(Refusal::Unsupported));
        }
        let build = |out: &mut super::packet::Encoder| {
            out.string(b"fsync@openssh.com").string(&self.handle);
        };
        done(self.sftp.ask(kind::EXTENDED, Bytes::new(), build).await?)
    }

    /// The next names of a directory; `None` at its end.
    pub(crate) async fn names(&self) -> Result<Option<Vec<Name>>, SftpError> {
        let build = |out: &mut super::packet::Encoder| {
            out.string(&self.handle);
        };
        match self.sftp.ask(kind::READDIR, Bytes::new(), build).await? {
            // A list that never ends must not be one that never grows.
            Reply::Names(names) if names.is_empty() => Err(mismatched()),
            Reply::Names(names) => Ok(Some(names)),
            Reply::End => Ok(None),
            other => Err(refused(other)),
        }
    }

    /// Closes it: some file systems tell only now that a write failed.
    pub(crate) async fn close(mut self) -> Result<(), SftpError> {
        let handle = std::mem::take(&mut self.handle);
        let build = |out: &mut super::packet::Encoder| {
            out.string(&handle);
        };
        done(self.sftp.ask(kind::CLOSE, Bytes::new(), build).await?)
    }
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        if !self.handle.is_empty() {
            self.sftp.forget(&self.handle);
        }
    }
}

/// The answer to a request that brings nothing
pub(super) fn done(reply: Reply) -> Result<(), SftpError> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(refused(other)),
    }
}
