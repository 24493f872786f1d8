//! What a machine tells of itself before it may be destroyed: which container it is, who has what
//! open there, and what lies outside the roots that are protected.
//!
//! Nothing (`None`) always means that nobody there can tell, never that there is none.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::digest::Digest;
use crate::limits;

/// What tells one container from every other, as far as it can tell that itself. It is no secret,
/// and none of it stands alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// What its first process calls it; empty where its platform names none.
    pub label: Option<String>,
    /// The random marker on its root file system.
    pub marker: Option<[u8; 16]>,
    /// When process 1 started, in clock ticks since boot.
    pub first_process: Option<u64>,
    /// The device of its root directory.
    pub root_device: Option<u64>,
    /// BLAKE3 over its table of mounts.
    pub mounts: Option<Digest>,
    /// The boot id of its kernel.
    pub boot: Option<[u8; 16]>,
}

/// Asks for a survey of the whole machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Which survey of this session: asked again with the same number, the same one is told of.
    pub number: u32,
    /// Absolute paths of the roots that are protected.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::SURVEY_ROOTS_MAX }>")]
    pub roots: Vec<Vec<u8>>,
    /// Looks at everything outside the roots too, and not only at who has what open.
    pub outside: bool,
}

/// What a survey found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surveyed {
    /// Processes that can write below a root, and what each can write; the first
    /// [`limits::SURVEY_PROCESSES_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::SURVEY_PROCESSES_MAX }>")]
    pub writers: Vec<OpenFile>,
    /// Processes that did not let themselves be looked at, likewise.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::SURVEY_PROCESSES_MAX }>")]
    pub unreadable: Vec<Process>,
    /// Absolute paths of mounts at or below a root that other machines or containers may write.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::SURVEY_TREES_MAX }>")]
    pub shared: Vec<Vec<u8>>,
    /// Other file systems that hold data and can be written, outside the roots; `None` where
    /// nobody looked or the table of mounts cannot be read.
    #[serde(deserialize_with = "bounded::optional_list::<_, _, { limits::SURVEY_TREES_MAX }>")]
    pub mounts: Option<Vec<Tree>>,
    /// Trees of the root file system that changed since the container began, outside the roots;
    /// `None` where nobody looked or nobody can tell when it began.
    #[serde(deserialize_with = "bounded::optional_list::<_, _, { limits::SURVEY_TREES_MAX }>")]
    pub changed: Option<Vec<Tree>>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its command and arguments with blanks between, cut off at
    /// [`limits::SURVEY_COMMAND_BYTES_MAX`].
    pub command: Vec<u8>,
}

/// A file that a process can write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenFile {
    /// Which process.
    pub process: Process,
    /// The file's absolute path.
    pub path: Vec<u8>,
    /// Whether it is mapped, and not only open.
    pub mapped: bool,
}

/// A tree that would be lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tree {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// Entries in it that would be lost.
    pub count: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// BLAKE3 over its path and the set of these entries, each with its size and times; `None`
    /// where it cannot be listed.
    pub digest: Option<Digest>,
}
