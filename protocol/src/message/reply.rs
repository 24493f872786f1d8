//! What an endpoint answers.

use serde::{Deserialize, Serialize};

use super::delta::{CopiedRange, SumKind};
use super::errand::{Carried, Gathered};
use super::passage::{Forwarded, Reached};
use super::settling::Settling;
use super::{
    Begun, Digests, FileRead, Located, Outcome, Partial, Root, ScanBatch, ScanIndex, Space,
};
use crate::bounded;
use crate::data_port::{KeyDigest, Listening};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::limits;
use crate::probe::{DiskTrial, Facts};
use crate::range::ByteRange;
use crate::survey::{Container, Surveyed};

/// What an endpoint answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// One block, as payload, with the digest of each of its aligned spans.
    Block(#[serde(deserialize_with = "bounded::list::<_, _, { limits::SPANS_MAX }>")] Vec<Digest>),
    /// Digests of blocks.
    Digests(Digests),
    /// It is done.
    Done,
    /// The BLAKE3 root of each file, and whether the bytes are known to have come from the medium.
    FileDigests(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
        Vec<Result<Digest, Fault>>,
        bool,
    ),
    /// What stands at the paths.
    Located(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
        Vec<Located>,
    ),
    /// What became of each entry.
    Outcomes(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
        Vec<Outcome>,
    ),
    /// Small files, their bytes as payload.
    Pack(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
        Vec<FileRead>,
    ),
    /// An open partial.
    Partial(Partial),
    /// Ranges of a file.
    Ranges(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::RANGES_MAX }>")] Vec<ByteRange>,
    ),
    /// An open root.
    Root(Root),
    /// A scan under way.
    Scan(ScanIndex),
    /// A batch of a scan.
    ScanBatch(ScanBatch),
    /// Free space.
    Space(Space),
    /// Data ports, open or refused.
    Listening(Listening),
    /// A root that is open and locked, with its first lists.
    Begun(Begun),
    /// So many bytes of payload that do not compress.
    Supplied(u32),
    /// What the machine is.
    Facts(Facts),
    /// What a trial of a disk came to.
    DiskTrial(DiskTrial),
    /// The key that answers at this machine's data ports, and that dials out.
    Key(KeyDigest),
    /// An open passage.
    Reached(Reached),
    /// What was read, and delivered elsewhere.
    Forwarded(Forwarded),
    /// The public half of a key to log in with, as `TYPE BASE64`.
    Login(String),
    /// What was read, and kept for errands.
    Gathered(Gathered),
    /// What came of a request to a store.
    Carried(Carried),
    /// Which container this is.
    Container(Container),
    /// What a survey found; nothing while it is under way, and it may be asked for again.
    Surveyed(Option<Box<Surveyed>>),
    /// So many sums of blocks, as payload.
    Sums(SumKind, u32),
    /// What of a file stands in another one.
    Copies(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::COPIES_MAX }>")]
        Vec<CopiedRange>,
    ),
    /// The digest of each block, and how many bytes of the parts follow as payload.
    Parts(
        #[serde(deserialize_with = "bounded::list::<_, _, { limits::PATCH_DIGESTS_MAX }>")]
        Vec<Digest>,
        u32,
    ),
    /// What is still being written.
    Settling(Settling),
}
