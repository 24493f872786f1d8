//! What a store said, as a failure at one entry or the end of the session.

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

use super::store::StoreError;
pub(super) use crate::endpoint::agentless::own;
use crate::endpoint::{EndpointError, LostReason, ProtocolReason};

/// What became of a request.
pub(super) fn sort(error: StoreError, during: Operation, path: &RelPath) -> EndpointError {
    let reads =
        matches!(during, Operation::Hash | Operation::List | Operation::Read | Operation::Stat);
    let kind = match error {
        StoreError::Missing | StoreError::NoBucket => FaultKind::NotFound,
        StoreError::Denied(_) => FaultKind::Permission,
        StoreError::Changed if reads => FaultKind::Changed,
        StoreError::Changed | StoreError::Busy => FaultKind::Busy,
        // Read again, it is there again.
        StoreError::Damaged(_) | StoreError::Unkept => FaultKind::Mismatch,
        StoreError::Unsupported => FaultKind::Unsupported,
        StoreError::Failed(_) => FaultKind::Io,
        StoreError::Nonsense(_) => return EndpointError::Protocol(ProtocolReason::Mismatched),
        StoreError::Porter(error) => return error,
        // No entry after this one fares better.
        StoreError::Refused(_) => return EndpointError::Lost(LostReason::Refused),
        StoreError::Elsewhere(_) => return EndpointError::Lost(LostReason::Elsewhere),
        StoreError::Slow { .. }
        | StoreError::Again(_)
        | StoreError::Unknown(_)
        | StoreError::Untrusted(_) => return EndpointError::Lost(LostReason::Ended),
    };
    Fault::new(kind, during, path.clone()).into()
}
