//! Which files of a source are still being written.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::limits;
use crate::manifest::Timestamp;

/// What a source says before it is listed, so that files which are still being written can be told
/// from those that are finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settling {
    /// The time there: what the moments of its files are compared with.
    pub now: Timestamp,
    /// Device and inode of files that somebody may write to, as far as that can be told.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::SETTLING_FILES_MAX }>")]
    pub open: Vec<(u64, u64)>,
}
