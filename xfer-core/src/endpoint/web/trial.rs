//! What a public source bears, for whoever thinks of a transfer.

use std::sync::Arc;

use xfer_protocol::path::RelPath;
use xfer_protocol::range::ByteRange;

use super::file::RemoteFile;
use super::problem::WebProblem;
use super::reading::location;
use super::{Shared, WebEndpoint};

/// A file of which ranges can be read.
pub(crate) struct Trial {
    shared: Arc<Shared>,
    file: Arc<RemoteFile>,
    size: u64,
}

impl WebEndpoint {
    /// The largest file at or below a path of which ranges can be read. Nobody is asked yet.
    pub(crate) fn trial(&self, path: &[u8]) -> Option<Trial> {
        let (path, tree) = (location(path)?, self.shared.tree());
        let ranged = tree.below(&path).filter(|file| file.has_ranges());
        let sized = ranged.filter_map(|file| Some((file.size?, file)));
        let (size, file) = sized.filter(|(size, _)| *size > 0).max_by_key(|(size, _)| *size)?;
        Some(Trial { shared: Arc::clone(&self.shared), file: Arc::clone(file), size })
    }

    /// Where it is asked.
    pub(crate) fn address(&self) -> String {
        let (tree, top) = (self.shared.tree(), RelPath::root());
        let of_file = self.shared.file.as_ref().map(|(address, _)| address.origin());
        let of_tree = || tree.below(&top).next().map(|file| file.address.origin());
        of_file.or_else(of_tree).unwrap_or_default()
    }
}

impl Trial {
    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Reads a range in one request, and tries no second time.
    pub(crate) async fn get(&self, range: ByteRange) -> Result<(), WebProblem> {
        self.file.range(&self.shared.fetcher, range).await.map(drop)
    }
}
