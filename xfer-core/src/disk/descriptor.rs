//! Descriptors as the runtime wants them.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Lets the runtime tell when a descriptor can be read or written; it must be a pipe or socket.
pub(crate) fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, always the same descriptor, and stays so while it is owned.
    #[expect(unsafe_code, reason = "the runtime asks for a promise that `OwnedFd` keeps")]
    let watched = unsafe { AsyncFd::register(descriptor) };
    watched.map_err(Into::into)
}
