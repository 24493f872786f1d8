//! Events as NDJSON, the form that scripts read; `schema/event.schema.json` describes it.

use serde::Serialize;
use xfer_core::event::{Cost, Route, RouteTrial};
use xfer_core::receipt::PathText;

use super::machine::MachineBody;
use super::probe::ProbeBody;

/// The name and version of the form.
pub(crate) const SCHEMA: &str = "xfer.event/1";

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// [`SCHEMA`].
    pub(crate) schema: &'static str,
    /// Counts from zero, without gaps.
    pub(crate) seq: u64,
    /// RFC 3339.
    pub(crate) time: &'a str,
    /// The rest, by type.
    #[serde(flatten)]
    pub(crate) body: &'a Body,
}

/// What a line says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Body {
    /// The first line.
    Run {
        /// Of this program.
        version: &'static str,
        /// As typed.
        verb: &'static str,
        /// As typed.
        sources: Vec<PathText>,
        /// As typed.
        destination: Option<PathText>,
    },
    /// What is to be done, as known so far.
    Plan {
        /// Which source becomes which entry.
        mapping: Vec<Mapping>,
        /// Entries selected.
        entries: u64,
        /// Their bytes.
        bytes: u64,
        /// Entries to move.
        entries_to_move: u64,
        /// Bytes to move.
        bytes_to_move: u64,
        /// Files whose content decides.
        entries_to_compare: u64,
        /// Their bytes.
        bytes_to_compare: u64,
        /// Entries to delete at the destination.
        entries_to_delete: u64,
        /// Entries that a filter left out.
        excluded: u64,
        /// Whether nothing more will be found.
        complete: bool,
    },
    /// What moving the bytes costs, where a platform bills them.
    Cost(CostBody),
    /// The way that bytes take.
    Route(RouteBody),
    /// How far everything is, or something on the way.
    Progress(Box<ProgressBody>),
    /// What became of one entry.
    Entry {
        /// Below the destination, or below the location that is listed.
        path: PathText,
        /// `moved`, `unchanged`, `metadata`, `planned`, `compare`, `delete`, `deleted` or `listed`.
        action: &'static str,
        /// What it is, where it is listed.
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<&'static str>,
        /// Bytes.
        size: u64,
        /// Permission bits, where it is listed.
        #[serde(skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
        /// RFC 3339, where it is listed.
        #[serde(skip_serializing_if = "Option::is_none")]
        modified: Option<String>,
        /// What a symbolic link holds, where it is listed.
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<PathText>,
        /// BLAKE3 of the bytes in hexadecimal, where a receipt is exported.
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
    },
    /// One entry failed.
    Problem {
        /// Which, where it is one.
        path: Option<PathText>,
        /// Stable id.
        reason: &'static str,
        /// The code that it alone would give.
        exit_code: u8,
        /// For a person.
        message: String,
    },
    /// What was proven.
    Verify {
        /// The level asked for.
        asked: &'static str,
        /// The level reached by the weakest entry.
        proof_level: Option<&'static str>,
        /// Entries.
        entries: u64,
        /// Bytes.
        bytes: u64,
    },
    /// A receipt was written.
    Receipt {
        /// Where.
        path: PathText,
        /// Its root, in hexadecimal.
        manifest_root: Option<String>,
        /// The level that it states.
        proof_level: Option<&'static str>,
    },
    /// A comparison ended.
    Verdict {
        /// `equal`, `different` or `unproven`.
        verdict: &'static str,
        /// Entries found equal.
        entries: u64,
        /// Entries that differ or cannot be proven.
        differences: u64,
    },
    /// What a gate decided.
    #[serde(rename = "verdict")]
    Gate(Box<GateBody>),
    /// A machine of a platform that is listed.
    Machine(Box<MachineBody>),
    /// An upload to an object store that is not finished.
    Upload(Box<UploadBody>),
    /// A transfer that goes on by itself.
    Transfer(Box<TransferBody>),
    /// What was measured of a machine.
    Probe(Box<ProbeBody>),
    /// Always the last line.
    Result(Box<ResultBody>),
}

/// A source and the entry that it becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Mapping {
    /// As resolved.
    pub(crate) source: PathText,
    /// As resolved.
    pub(crate) destination: PathText,
}

/// What moving the bytes costs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CostBody {
    /// That are to be moved.
    pub(crate) bytes: u64,
    /// US dollars in all; null where a part is not known.
    pub(crate) usd: Option<f64>,
    /// US dollars an hour while the machines run; null where one is not known.
    pub(crate) usd_per_hour: Option<f64>,
    /// What each machine takes.
    pub(crate) parts: Vec<CostPartBody>,
}

/// What one machine takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CostPartBody {
    pub(crate) machine: String,
    /// `out` or `in`.
    pub(crate) direction: &'static str,
    pub(crate) usd_per_gb: Option<f64>,
    pub(crate) usd: Option<f64>,
}

impl From<&Cost> for CostBody {
    fn from(cost: &Cost) -> Self {
        let parts = cost.parts.iter().map(|part| CostPartBody {
            machine: part.toll.machine.clone(),
            direction: if part.toll.out { "out" } else { "in" },
            usd_per_gb: part.toll.per_gb,
            usd: part.usd,
        });
        let (usd, usd_per_hour) = (cost.usd(), cost.per_hour());
        Self { bytes: cost.bytes, usd, usd_per_hour, parts: parts.collect() }
    }
}

/// A route.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RouteBody {
    /// `local`, `quic`, `sftp`, `ssh` or `tls`.
    pub(crate) kind: &'static str,
    /// What carries the bytes.
    pub(crate) transport: String,
    /// Whether no proxy is known to be in between.
    pub(crate) direct: bool,
    /// Streams of payload.
    pub(crate) streams: usize,
    /// What was decided on the way to a route, where a line tells of that.
    #[serde(flatten)]
    pub(crate) trial: Option<TrialBody>,
}

/// One decision on the way to a route.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TrialBody {
    /// `failed`, `lost`, `skipped`, `taken` or `tuned`.
    pub(crate) decision: &'static str,
    /// Where the way leads.
    pub(crate) place: String,
    /// Why, for a person.
    pub(crate) reason: String,
}

impl From<&RouteTrial> for RouteBody {
    fn from(trial: &RouteTrial) -> Self {
        let (kind, transport) = (trial.kind, trial.kind.to_owned());
        let trial = TrialBody {
            decision: trial.decision.name(),
            place: trial.place.clone(),
            reason: trial.reason.clone(),
        };
        Self { kind, transport, direct: true, streams: 0, trial: Some(trial) }
    }
}

impl From<&Route> for RouteBody {
    fn from(route: &Route) -> Self {
        Self {
            kind: route.kind,
            transport: route.transport.clone(),
            direct: route.direct,
            streams: route.streams,
            trial: None,
        }
    }
}

/// How far everything is.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ProgressBody {
    /// `connect`, `scan`, `send` or `verify`.
    pub(crate) phase: &'static str,
    /// Files committed.
    pub(crate) files_done: u64,
    /// Payload sent and acknowledged.
    pub(crate) payload_bytes: u64,
    /// Bytes compared, hashed or read back.
    pub(crate) verified_bytes: u64,
    /// Bytes that were already there.
    pub(crate) reused_bytes: u64,
    /// Payload to be sent, as known so far.
    pub(crate) bytes_to_move: u64,
    /// Bytes a second, lately.
    pub(crate) rate_now: u64,
    /// Bytes a second, since the first byte.
    pub(crate) rate_average: u64,
    /// Seconds that remain, where they can be told.
    pub(crate) eta_s: Option<u64>,
    /// Large files under way.
    pub(crate) files: Vec<FileBody>,
    /// Something that the user should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) notice: Option<String>,
    /// Why something is tried again, and for which time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<RetryBody>,
    /// How a watch gets on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) watch: Option<WatchBody>,
}

/// How a watch gets on: what a round came to, or that something has waited for too long.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct WatchBody {
    /// Rounds that ended.
    pub(crate) rounds: u64,
    /// Entries that the last of them moved, and their bytes.
    pub(crate) moved: u64,
    pub(crate) moved_bytes: u64,
    /// Files that it left for later, and their bytes.
    pub(crate) waiting: u64,
    pub(crate) waiting_bytes: u64,
    /// Entries that it failed to move.
    pub(crate) failed: u64,
    /// Entries of the destination that it deleted.
    pub(crate) deleted: u64,
    /// Seconds that it took.
    pub(crate) elapsed_s: f64,
    /// Seconds for which the oldest waits that is to be moved.
    pub(crate) lag_s: f64,
    /// Seconds between the last two rounds that moved anything.
    pub(crate) cadence_s: Option<f64>,
    /// Whether that is too long.
    pub(crate) late: bool,
}

/// A large file under way.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FileBody {
    /// Below the destination.
    pub(crate) path: PathText,
    /// Its bytes.
    pub(crate) size: u64,
    /// Bytes that are there.
    pub(crate) done: u64,
}

/// A further attempt.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RetryBody {
    /// Why.
    pub(crate) reason: String,
    /// Counts from 1.
    pub(crate) attempt: u32,
}

/// The outcome.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ResultBody {
    pub(crate) exit_code: u8,
    pub(crate) status: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) retry: &'static str,
    pub(crate) remedies: Vec<RemedyBody>,
    pub(crate) machine_state: Option<&'static str>,
    pub(crate) entries: CountsBody,
    pub(crate) bytes: CountsBody,
    pub(crate) payload_bytes: u64,
    pub(crate) overhead_bytes: u64,
    /// Payload that compression kept from the wire.
    pub(crate) shrunk_bytes: u64,
    pub(crate) wasted_bytes: u64,
    pub(crate) reused_bytes: u64,
    /// Entries of the destination that are gone.
    pub(crate) deleted: u64,
    pub(crate) elapsed_s: f64,
    pub(crate) route: Option<RouteBody>,
    pub(crate) manifest_root: Option<String>,
    pub(crate) proof_level: Option<&'static str>,
    pub(crate) receipt: Option<PathText>,
    pub(crate) problems: u64,
    /// What is printed without `--json`, where that is a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
}

/// What a gate decided.
#[derive(Debug, Serialize)]
pub(crate) struct GateBody {
    /// `release` or `hold`.
    pub(crate) verdict: &'static str,
    /// As locations name it.
    pub(crate) machine: String,
    /// Entries that are proven elsewhere.
    pub(crate) entries: u64,
    /// Bytes of their files.
    pub(crate) bytes: u64,
    /// Reasons to hold.
    pub(crate) differences: u64,
    /// Why it holds, the gravest first.
    pub(crate) reasons: Vec<ReasonBody>,
    /// Where it is proven.
    pub(crate) destinations: Vec<String>,
    /// The file of the token; null where there is none.
    pub(crate) token: Option<PathText>,
    /// Seconds for which a token counts, from the end of the collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) life_s: Option<u32>,
    /// What it costs meanwhile, in US dollars an hour; null where nobody knows.
    pub(crate) per_hour: Option<f64>,
}

/// One reason to hold.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ReasonBody {
    /// Stable id.
    pub(crate) id: &'static str,
    /// For a person.
    pub(crate) message: String,
    /// What to do.
    pub(crate) remedy: String,
    /// Absolute paths on the machine, the first of them.
    pub(crate) paths: Vec<PathText>,
    /// Entries that it concerns.
    pub(crate) entries: u64,
    /// Bytes of their files.
    pub(crate) bytes: u64,
    /// What acknowledges the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
}

/// An upload to an object store.
#[derive(Debug, Serialize)]
pub(crate) struct UploadBody {
    /// The object that it would become, from the top of the bucket.
    pub(crate) key: String,
    /// RFC 3339, by the store's clock; null where the store does not tell.
    pub(crate) begun: Option<String>,
    /// RFC 3339: when a part was written last, by this machine's clock.
    pub(crate) worked_on: Option<String>,
    /// Parts that are there.
    pub(crate) parts: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// `unfinished`, `kept`, `in-use`, `aborted` or `failed`.
    pub(crate) state: &'static str,
    /// Why it is there still, though it was to be aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// A transfer that goes on by itself.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TransferBody {
    /// What `attach` and `cancel` call it.
    pub(crate) id: String,
    /// `running`, `done`, `failed` or `died`.
    pub(crate) state: &'static str,
    /// Its own; null until it told one.
    pub(crate) exit_code: Option<u8>,
    /// RFC 3339.
    pub(crate) began: Option<String>,
    /// As typed.
    pub(crate) verb: Option<String>,
    /// As typed.
    pub(crate) sources: Vec<PathText>,
    /// As typed.
    pub(crate) destination: Option<PathText>,
    /// Payload sent so far.
    pub(crate) payload_bytes: Option<u64>,
}

/// Something that helps.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RemedyBody {
    pub(crate) text: String,
    pub(crate) argv: Vec<String>,
}

/// Entries or bytes, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CountsBody {
    pub(crate) selected: u64,
    pub(crate) moved: u64,
    pub(crate) unchanged: u64,
    pub(crate) deferred: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
}
