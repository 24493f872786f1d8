//! Removing what a source does not have, and giving it the name under which the source has it.

use serde::{Deserialize, Serialize};

use super::{RootIndex, Ticket};
use crate::bounded;
use crate::limits;
use crate::manifest::{Metadata, Stamp};
use crate::path::RelPath;

/// Asks for entries to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// The root.
    pub root: RootIndex,
    /// What goes, children before parents.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub entries: Vec<Removal>,
    /// The directory below the root in which each gets its own path again, in place of what has
    /// that path there. Directories go all the same.
    pub backup: Option<RelPath>,
    /// What goes to `backup` keeps its name as well, until another file takes that.
    pub stays: bool,
}

/// One entry that goes, and what it must still be: any difference is
/// [`crate::fault::FaultKind::Changed`], and it stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Names it in the outcome.
    pub ticket: Ticket,
    /// Where it is.
    pub path: RelPath,
    /// A directory, which goes only while nothing is in it; of its stamp the inode counts alone.
    pub directory: bool,
    /// Its stamp as a scan told it.
    pub stamp: Stamp,
    /// It has further names, so that its times follow what is done under those, and do not count.
    pub linked: bool,
}

/// Asks for files to get other names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// The root.
    pub root: RootIndex,
    /// Which files.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::BATCH_ENTRIES_MAX }>")]
    pub entries: Vec<Renaming>,
    /// Whether each file and both its directories are synced.
    pub durable: bool,
}

/// One file that gets another name, which nothing may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renaming {
    /// Names it in the outcome.
    pub ticket: Ticket,
    /// Where it is.
    pub from: RelPath,
    /// What it must still be, as a scan told it; any difference is
    /// [`crate::fault::FaultKind::Changed`], and it stays.
    pub stamp: Stamp,
    /// Where it goes, on the same file system.
    pub to: RelPath,
    /// What it gets there.
    pub metadata: Metadata,
}
