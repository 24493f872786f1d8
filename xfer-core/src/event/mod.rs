//! What happens during a transfer, as typed values.
//!
//! Progress bars, NDJSON, metrics and tests read the same ones. The engine hands them to an
//! [`Observer`] in the order of things; an observer must be quick, for the engine waits for it.

mod cost;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use xfer_protocol::digest::Digest;
use xfer_protocol::fault::Fault;
use xfer_protocol::manifest::ProofLevel;
use xfer_protocol::path::RelPath;

use crate::error::ExitClass;
use crate::location::Location;

pub(crate) use cost::decimal;
pub use cost::{Cost, CostPart, Toll};

/// Takes events.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn observe(&self, event: &Event);
}

/// An observer shared by all tasks of a transfer.
pub type SharedObserver = Arc<dyn Observer>;

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The transfer began.
    Begun {
        /// Where bytes come from.
        sources: Vec<Location>,
        /// Where bytes go.
        destination: Location,
    },
    /// A source was mapped to its place at the destination.
    Mapped {
        /// The source as resolved.
        source: Vec<u8>,
        /// The entry at the destination as resolved.
        destination: Vec<u8>,
    },
    /// The route was chosen.
    Route(Route),
    /// A way was weighed or tried; what came of it, and why.
    RouteTrial(RouteTrial),
    /// The plan as known so far; `complete` once all sources are scanned.
    Plan(PlanTotals),
    /// What moving the bytes costs, where a platform bills them.
    Cost(Cost),
    /// Work began on a file large enough to be shown by itself.
    FileBegun {
        /// Where it is at the destination.
        path: RelPath,
        /// Its bytes.
        size: u64,
        /// Bytes of it that are re-used.
        held: u64,
    },
    /// How far everything is.
    Progress(Progress),
    /// Bytes of one large file arrived.
    FileProgress {
        /// Where it is at the destination.
        path: RelPath,
        /// Bytes verified so far, re-used ones included.
        done: u64,
    },
    /// What became of one entry.
    Entry {
        /// Where it is at the destination.
        path: RelPath,
        /// What was done.
        action: EntryAction,
        /// Its bytes.
        size: u64,
    },
    /// One entry failed; the transfer goes on.
    Problem {
        /// What failed, and how.
        fault: Fault,
        /// What it makes of the whole, unless something graver does.
        class: ExitClass,
    },
    /// A block, a pack, a file or the whole session is tried again.
    Retry {
        /// What failed.
        reason: String,
        /// Counts from 1.
        attempt: u32,
    },
    /// Something that the user should know, and that stops nothing.
    Notice(String),
    /// The transfer entered another phase.
    Phase(Phase),
    /// A round of a watch ended.
    Round(Box<WatchRound>),
    /// Something has waited so long to be moved that somebody should know.
    Late(Duration),
}

/// What a round of a watch came to.
#[derive(Clone, Debug)]
pub struct WatchRound {
    /// Counts from 1.
    pub number: u64,
    /// Entries that are proven to be there, and their bytes.
    pub proven: (u64, u64),
    /// Entries that were made or replaced.
    pub entries_moved: u64,
    /// Their bytes.
    pub bytes_moved: u64,
    /// Files that are still being written.
    pub entries_waiting: u64,
    /// Their bytes.
    pub bytes_waiting: u64,
    /// Entries that failed, and are tried again.
    pub failed: u64,
    /// Entries of the destination that were removed.
    pub removed: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// How long something waits already that came meanwhile, or failed.
    pub lag: Duration,
    /// Between the last two rounds that moved anything.
    pub cadence: Option<Duration>,
    /// The weakest level at which any entry is proven.
    pub proof_level: Option<ProofLevel>,
    /// The root of the manifest of all that was selected and is not waiting.
    pub manifest_root: Option<Digest>,
    /// Where its receipt is.
    pub receipt: Option<PathBuf>,
}

/// The chosen route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `local`, `quic`, `sftp`, `ssh`, `store`, `tls` or `web`.
    pub kind: &'static str,
    /// What carries the bytes: `quic`, `tls`, `ssh`, `sftp over ssh`, `https`, `http` or `pipe`.
    pub transport: String,
    /// Whether no proxy is known to be in between.
    pub direct: bool,
    /// Streams that carry payload.
    pub streams: usize,
}

impl Route {
    /// Within this machine, without a session.
    #[must_use]
    pub fn local() -> Self {
        Self { kind: "local", transport: "file system".to_owned(), direct: true, streams: 1 }
    }
}

/// One decision on the way to a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTrial {
    /// As in [`Route::kind`].
    pub kind: &'static str,
    /// Where it leads.
    pub place: String,
    /// What was decided.
    pub decision: RouteDecision,
    /// Why.
    pub reason: String,
}

/// What became of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteDecision {
    /// It did not come about.
    Failed,
    /// It carried payload, and does so no longer.
    Lost,
    /// It was not tried.
    Skipped,
    /// It carries payload from now on.
    Taken,
    /// It goes on with more streams, or fewer.
    Tuned,
}

impl RouteDecision {
    /// As the command line and events name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Skipped => "skipped",
            Self::Taken => "taken",
            Self::Tuned => "tuned",
        }
    }
}

/// What was found and what of it must be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanTotals {
    /// Entries selected so far.
    pub entries: u64,
    /// Bytes of the selected files.
    pub bytes: u64,
    /// Entries to move.
    pub entries_to_move: u64,
    /// Bytes to move, with those that earlier sessions moved.
    pub bytes_to_move: u64,
    /// Files that stand there with the same size and no record: their content decides.
    pub entries_to_compare: u64,
    /// Their bytes, which both ends read; what differs is moved too.
    pub bytes_to_compare: u64,
    /// Entries left out by a filter; an excluded directory counts once.
    pub excluded: u64,
    /// Entries to remove.
    pub entries_to_remove: u64,
    /// Whether the scan has ended.
    pub complete: bool,
}

/// How far everything is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files committed.
    pub files_done: u64,
    /// Payload bytes sent and acknowledged.
    pub payload_bytes: u64,
    /// Bytes compared, hashed or read back.
    pub verified_bytes: u64,
    /// Bytes that were already there.
    pub reused_bytes: u64,
    /// Bytes of files to move that need not be sent: holes, and what their partials held.
    pub spared_bytes: u64,
    /// Bytes of files to compare that turned out to differ, and are moved.
    pub different_bytes: u64,
}

impl PlanTotals {
    /// Payload bytes of the whole transfer, as far as is known: [`Progress::payload_bytes`] at its
    /// end.
    #[must_use]
    pub fn payload_expected(&self, progress: &Progress) -> u64 {
        let differing = self.bytes_to_move.saturating_add(progress.different_bytes);
        differing.saturating_sub(progress.spared_bytes).max(progress.payload_bytes)
    }
}

/// What was done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryAction {
    /// Made or replaced.
    Moved,
    /// Found equal.
    Unchanged,
    /// Only its metadata was set.
    Metadata,
    /// Its content will decide; of a plan alone.
    Compare,
    /// Removed, for the source does not have it.
    Removed,
    /// Left for later, for it is still being written.
    Deferred,
}

/// Phases of a transfer, which overlap; each is announced when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reaching the far side.
    Connect,
    /// Listing and comparing.
    Scan,
    /// Moving bytes; told by the first payload, and not announced.
    Send,
    /// Making durable and reading back.
    Verify,
}
