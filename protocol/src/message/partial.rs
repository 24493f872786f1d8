//! Files that are assembled block by block.

use serde::{Deserialize, Serialize};

use super::{RootIndex, Ticket};
use crate::bounded;
use crate::digest::Digest;
use crate::limits;
use crate::manifest::{Metadata, Stamp};
use crate::path::RelPath;
use crate::range::ByteRange;

/// Names a file that is being assembled; chosen by the asking side, unique within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartialIndex(pub u64);

/// Asks for a partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPartial {
    /// Its name in this session.
    pub partial: PartialIndex,
    /// The root.
    pub root: RootIndex,
    /// The file that it will become.
    pub path: RelPath,
    /// That file's length in bytes.
    pub size: u64,
    /// What it is to be written over, where it stands, if it can be.
    pub over: Option<Stamp>,
}

/// An open partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Ranges that an earlier session may have written: worth hashing, and nothing more.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::RANGES_MAX }>")]
    pub held: Vec<ByteRange>,
    /// Whether it is what the file is written over, or was.
    pub in_place: bool,
}

/// Declares ranges of a partial as equal to the source's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The partial.
    pub partial: PartialIndex,
    /// Ranges whose digests the far side has told and the near side found equal.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::RANGES_MAX }>")]
    pub ranges: Vec<ByteRange>,
}

/// Writes one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteBlock {
    /// The partial.
    pub partial: PartialIndex,
    /// Which bytes.
    pub range: ByteRange,
    /// The digest of each aligned span of the range, one for a block of a power of two.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::SPANS_MAX }>")]
    pub digests: Vec<Digest>,
    /// A hole of the source: no payload follows, and nothing is written.
    pub hole: bool,
}

/// Stages a complete partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The partial.
    pub partial: PartialIndex,
    /// Names it in the outcome of the publishing.
    pub ticket: Ticket,
    /// The BLAKE3 root that the source computed.
    pub digest: Digest,
    /// Set before the rename.
    pub metadata: Metadata,
}
