//! Digests of what was listed, batch by batch.

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::manifest::{Entry, EntryKind};
use xfer_protocol::message::{FileAt, FilesAt, HashFiles, Reading, RootIndex};

use super::batch::Most;
use super::pack::PACK_FILE_MAX;
use super::pieces::root_of;
use crate::endpoint::{Endpoint, EndpointError, EndpointResult};

/// Files and bytes hashed in one request.
pub(super) const HASHED: Most = Most { entries: 512, content: 64 << 20 };

/// An entry with its digest, where it is a file.
pub(super) type Hashed = (Entry, Result<Option<Digest>, Fault>);

/// Whether a file is hashed with others in one request.
pub(super) fn is_small(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::File { .. }) && entry.kind.size() <= PACK_FILE_MAX
}

/// Hashes the files among the entries of one batch, and tells whether all bytes are known to have
/// come from the medium. `go_on` is asked after each piece of a large file.
///
/// # Errors
/// What concerns the whole endpoint; one file's own problem stands in its row.
pub(super) async fn hash_batch<E: Endpoint + ?Sized>(
    endpoint: &E,
    root: RootIndex,
    entries: Vec<Entry>,
    reading: Reading,
    go_on: impl Fn() -> bool + Send + Sync,
) -> EndpointResult<(Vec<Hashed>, bool)> {
    let small: Vec<_> = entries.iter().filter(|e| is_small(e)).collect();
    let files = small.iter().map(|e| (e.path.clone(), e.stamp())).collect();
    let (mut digests, mut past_cache) = (Vec::new().into_iter(), true);
    if !small.is_empty() {
        let hash = HashFiles { files: FilesAt { root, files }, reading };
        let (found, all) = endpoint.hash_files(hash).await?;
        (digests, past_cache) = (found.into_iter(), all);
    }
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        let digest = if is_small(&entry) {
            digests.next().transpose()
        } else if matches!(entry.kind, EntryKind::File { .. }) {
            let size = entry.kind.size();
            let file = FileAt { root, path: entry.path.clone(), stamp: entry.stamp() };
            match root_of(endpoint, file, size, reading, HASHED.content, |_| go_on()).await {
                Ok((digest, all)) => {
                    past_cache &= all;
                    Ok(Some(digest))
                }
                Err(EndpointError::Fault(fault)) => Err(fault),
                Err(error) => return Err(error),
            }
        } else {
            Ok(None)
        };
        rows.push((entry, digest));
    }
    Ok((rows, past_cache))
}
