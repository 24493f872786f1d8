//! From what an SFTP server says to kinds of failure.

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

use super::Shared;
use super::roots::OpenRoot;
pub(super) use crate::endpoint::agentless::own;
use crate::endpoint::{EndpointError, LostReason, ProtocolReason};
use crate::transport::sftp::{Broken, Refusal, SftpError};

/// Free bytes below which a write that failed is taken for one that found no room.
const NO_ROOM_BYTES: u64 = 1 << 20;

/// What became of a request, as a failure at one entry or the end of the session.
pub(super) fn sort(error: SftpError, during: Operation, path: &RelPath) -> EndpointError {
    match error {
        SftpError::Refused(refusal) => Fault::new(kind_of(refusal), during, path.clone()).into(),
        SftpError::Closed => EndpointError::Lost(LostReason::ClosedHere),
        SftpError::Ended => EndpointError::Lost(LostReason::Ended),
        SftpError::Stalled => EndpointError::Lost(LostReason::Stalled),
        SftpError::Broken(broken) => EndpointError::Protocol(match broken {
            Broken::Limit => ProtocolReason::Limit,
            Broken::Malformed => ProtocolReason::BadFrame,
            Broken::Mismatched => ProtocolReason::Mismatched,
            Broken::Version => ProtocolReason::Version,
        }),
    }
}

fn kind_of(refusal: Refusal) -> FaultKind {
    match refusal {
        Refusal::Failure => FaultKind::Io,
        // Our requests are well-formed; a name that the system does not take is told the same way.
        Refusal::Malformed => FaultKind::NameTooLong,
        Refusal::NotFound => FaultKind::NotFound,
        Refusal::Permission => FaultKind::Permission,
        Refusal::Unsupported => FaultKind::Unsupported,
    }
}

impl Shared {
    /// The same for a failure of writing: version 3 has no word for a full disk, so its file system
    /// is asked.
    pub(super) async fn write_fault(
        &self,
        root: &OpenRoot,
        error: SftpError,
        during: Operation,
        path: &RelPath,
    ) -> EndpointError {
        if error == SftpError::Refused(Refusal::Failure)
            && let Ok(found) = self.sftp.file_system(&root.path).await
        {
            let kind = if found.read_only {
                FaultKind::ReadOnly
            } else if found.bytes_free < NO_ROOM_BYTES {
                FaultKind::NoSpace
            } else if found.inodes_free == Some(0) {
                FaultKind::NoInodes
            } else {
                FaultKind::Io
            };
            return Fault::new(kind, during, path.clone()).into();
        }
        sort(error, during, path)
    }
}
