//! SFTP version 3 over any stream, names as bytes and many requests under way at a time
//!
//! [`Sftp`] asks and waits; [`OpenHandle`] is an open file or directory, closed when it is dropped.
//! Nothing that the far side says is believed before its length was checked, and an answer to no
//! question ends the session.

mod attributes;
mod handle;
mod packet;
mod reply;
mod requests;
mod session;

pub(crate) use attributes::{Attributes, FileKind};
pub(crate) use handle::OpenHandle;
pub(crate) use reply::{Extensions, Name, Refusal};
pub(crate) use requests::Opening;
pub(crate) use session::{Broken, Sftp, SftpError};
