//! The quick look: whether every entry below a root has the stamp that it had.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::manifest::{Entry, EntryKind, ScanItem, Timestamp};
use xfer_protocol::message::{Access, OpenRoot, Scan, ScanOptions};
use xfer_protocol::path::RelPath;

use crate::endpoint::{EndpointError, ProtocolReason, Source};
use crate::engine::listing::Listing;

/// One digest over the stamps of all entries of one root, added in the order of their paths.
pub(crate) struct Stamps(blake3::Hasher);

impl Stamps {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self(blake3::Hasher::new_derive_key("xfer gate stamps 1"))
    }

    /// Adds an entry: what it is, its size, both of its times and its inode.
    pub(crate) fn add(&mut self, entry: &Entry) {
        let stamp = entry.stamp();
        match &entry.kind {
            EntryKind::Device(device) => {
                let numbers = [u32::from(device.block), device.major, device.minor];
                self.begin(1, &entry.path, numbers.map(u32::to_le_bytes).as_flattened());
            }
            EntryKind::Directory => self.begin(2, &entry.path, b""),
            EntryKind::Fifo => self.begin(3, &entry.path, b""),
            EntryKind::File { .. } => self.begin(4, &entry.path, b""),
            EntryKind::Socket => self.begin(5, &entry.path, b""),
            EntryKind::Symlink { content } => self.begin(6, &entry.path, content),
        }
        let mode = u64::from(entry.metadata.mode);
        for number in [stamp.size, stamp.inode, entry.inode.device, mode] {
            self.0.update(&number.to_le_bytes());
        }
        for Timestamp { seconds, nanoseconds } in [stamp.modified, stamp.changed] {
            self.0.update(&seconds.to_le_bytes()).update(&nanoseconds.to_le_bytes());
        }
    }

    /// Adds a partial of a transfer that is not finished, of which a scan tells less.
    pub(crate) fn add_partial(&mut self, path: &RelPath, allocated: u64) {
        self.begin(7, path, &allocated.to_le_bytes());
    }

    fn begin(&mut self, kind: u8, path: &RelPath, more: &[u8]) {
        self.0.update(&[kind]);
        for bytes in [path.as_bytes(), more] {
            self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
    }

    /// The digest.
    pub(crate) fn finish(&self) -> Digest {
        Digest::from_bytes(*self.0.finalize().as_bytes())
    }
}

/// Why there is no digest of a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuickError {
    /// The root cannot be opened or listed.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// An entry in it cannot be listed.
    #[error("an entry cannot be listed: {0}")]
    Unlisted(Fault),
    /// A stop was asked for.
    #[error("stopped")]
    Stopped,
}

/// Lists all that lies below a root, nothing left out, and gives the digest of its stamps.
pub(crate) async fn stamps_of(
    source: Arc<dyn Source>,
    path: &[u8],
    cancel: &CancellationToken,
) -> Result<Digest, QuickError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(QuickError::Stopped),
        stamps = stamps_below(source, path) => stamps,
    }
}

async fn stamps_below(source: Arc<dyn Source>, path: &[u8]) -> Result<Digest, QuickError> {
    let open = OpenRoot { path: path.to_vec(), access: Access::Read };
    let root = source.open_root(open).await?.index;
    let scan = Scan { root, under: RelPath::root(), options: ScanOptions::default() };
    let mut listing = Listing::begin(source, scan).await?;
    let mut stamps = Stamps::new();
    while let Some(listed) = listing.next().await? {
        match listed {
            ScanItem::Entry(entry) => stamps.add(&entry),
            ScanItem::Partial { path, allocated } => stamps.add_partial(&path, allocated),
            ScanItem::Problem(fault) => return Err(QuickError::Unlisted(fault)),
            // Nothing was to be left out.
            ScanItem::Excluded(_) => {
                return Err(EndpointError::Protocol(ProtocolReason::Mismatched).into());
            }
        }
    }
    Ok(stamps.finish())
}
