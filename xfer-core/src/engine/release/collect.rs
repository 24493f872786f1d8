//! Collecting evidence: receipts, destinations, roots, processes, and the machine itself, in this
//! order, so that each look is later than what it is to prove.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use xfer_protocol::digest::Digest;
use xfer_protocol::message::{Access, OpenRoot, Root};
use xfer_protocol::survey::{Survey, Surveyed, Tree};

use super::covering::{covered, filter_of};
use super::destination::{Near, SaidOf};
use super::identity::{identity, named};
use super::moment;
use super::quick::{QuickError, stamps_of};
use super::roots::{RootStop, ScannedRoot, failure};
use crate::connect::{Connected, Connector};
use crate::discover::{MachineRow, MachineState};
use crate::disk::state::StateDirectory;
use crate::endpoint::{EndpointResult, Source};
use crate::engine::load_command::LoadCommand;
use crate::engine::outcome;
use crate::error::{StopSignal, TransferError};
use crate::event::{Event, SharedObserver};
use crate::gate::evidence::{
    Evidence, Identity, MachineEvidence, Moment, Outside, PlatformWord, Process, Processes,
    RootEvidence, RootScan, ScanFailure, Writer,
};
use crate::gate::policy::Policy;
use crate::location::{Location, Machine};
use crate::options::TransferOptions;
use crate::trust::{SigningKey, kept_in};

/// What is asked of a gate.
#[derive(Clone, Debug)]
pub struct GateRequest {
    /// The machine that would be destroyed; its path, where it has one, is a root.
    pub machine: Location,
    /// More roots, as typed.
    pub roots: Vec<Vec<u8>>,
    /// Where receipts are; none means those of this machine that the state directory keeps.
    pub receipts: Vec<Location>,
    /// What is asked of the evidence.
    pub policy: Policy,
    /// A command that is run by `sh` for each file of a destination, with its bytes on standard
    /// input: one that does not end with 0 keeps the machine. Default: none.
    pub load_command: Option<OsString>,
    /// Digests of lists that a person acknowledges as lost.
    pub acknowledged: BTreeSet<Digest>,
    /// How machines are reached.
    pub options: TransferOptions,
}

/// One collection under way.
pub(super) struct Collecting {
    pub(super) connector: Connector,
    pub(super) options: TransferOptions,
    pub(super) observer: SharedObserver,
    pub(super) cancel: CancellationToken,
    pub(super) state: StateDirectory,
    pub(super) key: SigningKey,
    pub(super) policy: Policy,
    pub(super) load_command: Option<LoadCommand>,
    pub(super) nonce: [u8; 32],
}

/// A root, and what was found there.
type Found = (Vec<u8>, Result<ScannedRoot, ScanFailure>);

/// Who has what open on a machine, and what lies outside its roots.
#[derive(Default)]
struct Seen {
    processes: Option<Processes>,
    mounts: Option<Vec<Outside>>,
    changed: Option<Vec<Outside>>,
}

impl Collecting {
    pub(super) fn begin(
        request: &GateRequest,
        connector: Connector,
        observer: SharedObserver,
        cancel: CancellationToken,
    ) -> Result<Self, TransferError> {
        let state = connector.state_directory().map_err(outcome::state)?;
        let key = kept_in(&state, connector.unique()).map_err(outcome::trust)?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce)
            .map_err(|_| TransferError::Internal("the system gives no random bytes"))?;
        let connector = connector.telling(Arc::clone(&observer));
        let (options, policy) = (request.options.clone(), request.policy.clone());
        let load_command = request.load_command.clone().map(LoadCommand::new);
        Ok(Self { connector, options, observer, cancel, state, key, policy, load_command, nonce })
    }

    pub(super) fn moment(&self) -> Moment {
        moment(&*self.connector.clock())
    }

    pub(super) fn notice(&self, text: String) {
        self.observer.observe(&Event::Notice(text));
    }

    pub(super) fn stopped() -> TransferError {
        TransferError::Stopped { signal: StopSignal::Interrupt }
    }

    /// What an endpoint answers, unless a stop is asked for meanwhile.
    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = EndpointResult<T>>,
    ) -> Result<T, RootStop> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(RootStop::Ended(Self::stopped())),
            done = work => done.map_err(RootStop::from),
        }
    }

    /// Collects all of it. A machine that cannot be reached is evidence too: it holds.
    pub(super) async fn collect(
        &self,
        request: &GateRequest,
    ) -> Result<(Evidence, Option<Box<MachineRow>>), TransferError> {
        let began = self.moment();
        let connecting = self.connector.connect(&request.machine.machine, &self.options);
        let end = tokio::select! {
            end = connecting => end,
            () = self.cancel.cancelled() => return Err(Self::stopped()),
        };
        match end {
            Ok(end) => {
                let collected = self.collect_from(request, &end, began).await;
                end.source.close().await;
                collected.map(|evidence| (evidence, end.rented))
            }
            Err(error) if is_of_the_machine(&error) => {
                Ok((self.unreached(request, began, &error).await, None))
            }
            Err(error) => Err(error),
        }
    }

    async fn collect_from(
        &self,
        request: &GateRequest,
        end: &Connected,
        began: Moment,
    ) -> Result<Evidence, TransferError> {
        end.notices.iter().for_each(|text| self.notice(text.clone()));
        let machine = named(end, &request.machine.machine);
        let at_start = self.identify(&*end.source, &machine).await;
        let receipts = self.receipts(&request.receipts, &at_start).await?;
        let paths = self.roots(request, end).await?;
        let top = OpenRoot { path: b"/".to_vec(), access: Access::Read };
        let top = self.unless_stopped(end.source.open_root(top)).await;
        let mut said = Vec::new();
        match or_ended(top)? {
            Some(root) => {
                let near = Near { root: &root, boot: at_start.boot };
                for receipt in &receipts {
                    let read = self.read_back(receipt, &near).await;
                    said.extend(or_ended(read)?.unwrap_or_default());
                }
            }
            None => self.notice("the machine's top directory cannot be opened".to_owned()),
        }
        let mut found = Vec::new();
        for path in paths {
            let filter = filter_of(&path, &receipts);
            let scanned = self.scan_root(&end.source, &path, filter.as_ref()).await;
            found.push((path, kept_failure(scanned)?));
        }
        let seen = self.survey(&*end.source, &found).await?.unwrap_or_default();
        let mut roots = Vec::new();
        for (path, scanned) in found {
            let scan = match scanned {
                Err(failure) => Err(failure),
                Ok(scanned) => {
                    let filter = filter_of(&path, &receipts);
                    let again = self.look_again(end, &path, filter.as_ref(), scanned, &mut said);
                    kept_failure(again.await)?
                }
            };
            roots.push(RootEvidence { path, scan });
        }
        let at_end = self.identify(&*end.source, &machine).await;
        let platform = self.platform_word(&machine).await;
        Ok(Evidence {
            machine: MachineEvidence { name: name_of(&machine), platform, at_start, at_end },
            nonce: self.nonce,
            own_key: self.key.public(),
            began,
            ended: self.moment(),
            channel: end.host_key,
            roots,
            receipts: said.into_iter().map(|said| said.evidence).collect(),
            processes: seen.processes,
            mounts: seen.mounts,
            outside: seen.changed,
            // Each that is mounted is a mount: covered by a root, or told as one that is not. What
            // is mounted nowhere is not of this machine.
            volumes: Some(Vec::new()),
            acknowledged: request.acknowledged.clone(),
        })
    }

    async fn identify(&self, source: &dyn Source, machine: &Machine) -> Identity {
        // What is not known holds by itself.
        identity(source, machine, false).await.unwrap_or_default()
    }

    /// Looks at a root once more, and folds what was found into groups.
    async fn look_again(
        &self,
        end: &Connected,
        path: &[u8],
        filter: Option<&xfer_protocol::message::FilterRules>,
        mut scanned: ScannedRoot,
        said: &mut [SaidOf],
    ) -> Result<RootScan, RootStop> {
        let stamps = stamps_of(Arc::clone(&end.source), path, &self.cancel).await;
        let stamps = stamps.map_err(|error| match error {
            QuickError::Stopped => RootStop::Ended(Self::stopped()),
            QuickError::Endpoint(error) => RootStop::Failed(failure(&error)),
            QuickError::Unlisted(_) => RootStop::Failed(ScanFailure::Broken(error.to_string())),
        })?;
        // After the stamps were taken: what they name is then what was hashed.
        let changed = self.changed_since(&end.source, path, filter, &scanned).await?;
        let mut coverage = covered(path, &mut scanned, said)?;
        coverage.unreadable.join(&scanned.unlisted);
        let ScannedRoot { began, ended, written_back, .. } = scanned;
        let changed_since = Some(changed);
        Ok(RootScan { began, ended, written_back, coverage, changed_since, stamps })
    }

    /// The roots that are named, or else `/workspace`, where it is there, and home.
    pub(super) async fn roots(
        &self,
        request: &GateRequest,
        end: &Connected,
    ) -> Result<Vec<Vec<u8>>, TransferError> {
        let mut typed = request.roots.clone();
        if !request.machine.path.is_empty() {
            typed.push(request.machine.path.clone());
        }
        if typed.is_empty() {
            let policy = &self.policy.roots;
            typed = policy.iter().map(|root| root.clone().into_bytes()).collect();
        }
        let mut roots = BTreeSet::new();
        let mut home = None;
        if typed.is_empty() {
            let workspace = self.opened(end, b"/workspace").await?;
            roots.extend((workspace != Opened::Missing).then(|| b"/workspace".to_vec()));
            home = match self.opened(end, b".").await? {
                Opened::There(root) => Some(root.path),
                Opened::Missing => None,
                // Its scan tells why.
                Opened::Failed => Some(b"/root".to_vec()),
            };
        }
        for path in typed {
            let path = without_end(&path);
            // An absolute one stays as it was typed: a link in it is told.
            roots.insert(match self.opened(end, path).await? {
                Opened::There(root) if !path.starts_with(b"/") => root.path,
                _ => path.to_vec(),
            });
        }
        // What was named is looked at by its own name, wherever it lies.
        let is_within =
            |home: &Vec<u8>| roots.iter().any(|above| home == above || is_below(home, above));
        let home = home.filter(|home| !is_within(home));
        roots.extend(home);
        Ok(roots.into_iter().collect())
    }

    async fn opened(&self, end: &Connected, path: &[u8]) -> Result<Opened, TransferError> {
        let open = OpenRoot { path: path.to_vec(), access: Access::Read };
        match self.unless_stopped(end.source.open_root(open)).await {
            Ok(root) => Ok(Opened::There(root)),
            Err(RootStop::Failed(ScanFailure::Missing)) => Ok(Opened::Missing),
            Err(RootStop::Failed(_)) => Ok(Opened::Failed),
            Err(RootStop::Ended(error)) => Err(error),
        }
    }

    /// Who has what open, and what lies elsewhere; nothing where the machine cannot tell.
    async fn survey(
        &self,
        source: &dyn Source,
        found: &[Found],
    ) -> Result<Option<Seen>, TransferError> {
        let looked = self.moment();
        let roots = found.iter().map(|(path, _)| path.clone()).collect();
        let asked = source.survey(Survey { number: 1, roots, outside: true });
        let told = or_ended(self.unless_stopped(asked).await)?;
        let Some(Surveyed { writers, unreadable, shared, mounts, changed }) = told else {
            self.notice("the machine cannot tell who has what open there".to_owned());
            return Ok(None);
        };
        let process = |process: xfer_protocol::survey::Process| Process {
            pid: process.pid,
            command: process.command,
        };
        let writers = writers.into_iter().map(|open| Writer {
            process: process(open.process),
            path: open.path,
            mapped: open.mapped,
        });
        let writers = writers.collect();
        let unreadable = unreadable.into_iter().map(process).collect();
        let trees = |trees: Vec<Tree>| trees.into_iter().map(outside).collect();
        let processes = Some(Processes { looked, writers, unreadable, shared });
        Ok(Some(Seen { processes, mounts: mounts.map(trees), changed: changed.map(trees) }))
    }

    async fn platform_word(&self, machine: &Machine) -> PlatformWord {
        let Machine::Platform(machine) = machine else { return PlatformWord::Running };
        match self.connector.machine(machine).await {
            Ok(row) => match row.state {
                MachineState::Running => PlatformWord::Running,
                _ => PlatformWord::Otherwise(row.status),
            },
            Err(TransferError::NotRunning { .. }) => PlatformWord::Gone,
            Err(_) => PlatformWord::Unknown,
        }
    }

    /// What there is to say of a machine that does not answer.
    async fn unreached(
        &self,
        request: &GateRequest,
        began: Moment,
        error: &TransferError,
    ) -> Evidence {
        let machine = &request.machine.machine;
        let mut paths = request.roots.clone();
        paths.extend((!request.machine.path.is_empty()).then(|| request.machine.path.clone()));
        if paths.is_empty() {
            paths.push(b"/workspace".to_vec());
        }
        let root = |path| {
            let scan = Err(ScanFailure::Unreachable(error.to_string()));
            RootEvidence { path, scan }
        };
        let platform = self.platform_word(machine).await;
        let (at_start, at_end) = (Identity::default(), Identity::default());
        Evidence {
            machine: MachineEvidence { name: name_of(machine), platform, at_start, at_end },
            nonce: self.nonce,
            own_key: self.key.public(),
            began,
            ended: self.moment(),
            channel: None,
            roots: paths.into_iter().map(root).collect(),
            receipts: Vec::new(),
            processes: None,
            mounts: None,
            outside: None,
            volumes: None,
            acknowledged: request.acknowledged.clone(),
        }
    }
}

/// What came of opening a directory.
#[derive(PartialEq)]
enum Opened {
    There(Root),
    Missing,
    Failed,
}

/// A machine as locations name it.
fn name_of(machine: &Machine) -> String {
    match machine {
        Machine::Platform(machine) => machine.to_string(),
        other => Location { machine: other.clone(), path: Vec::new() }.to_string(),
    }
}

/// Whether an error says that the machine cannot be reached, and not that nobody asked rightly.
fn is_of_the_machine(error: &TransferError) -> bool {
    matches!(
        error,
        TransferError::Network(_)
            | TransferError::Authentication(_)
            | TransferError::Protocol(_)
            | TransferError::NotRunning { .. }
    )
}

fn outside(tree: Tree) -> Outside {
    Outside { path: tree.path, count: tree.count, bytes: tree.bytes, digest: tree.digest }
}

/// What was found, or nothing; what ends all is an error.
fn or_ended<T>(found: Result<T, RootStop>) -> Result<Option<T>, TransferError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(RootStop::Failed(_)) => Ok(None),
        Err(RootStop::Ended(error)) => Err(error),
    }
}

/// What was found, or why it was not; what ends all is an error.
fn kept_failure<T>(found: Result<T, RootStop>) -> Result<Result<T, ScanFailure>, TransferError> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(RootStop::Failed(failure)) => Ok(Err(failure)),
        Err(RootStop::Ended(error)) => Err(error),
    }
}

fn without_end(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(1, |last| last + 1);
    &path[..end.min(path.len())]
}

fn is_below(path: &[u8], above: &[u8]) -> bool {
    above == b"/" || path.strip_prefix(above).is_some_and(|rest| rest.starts_with(b"/"))
}
