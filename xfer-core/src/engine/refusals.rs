//! What is refused before the first byte, and during the scan, whatever the space there is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use xfer_protocol::codec::encode;
use xfer_protocol::fault::FaultKind;
use xfer_protocol::manifest::{Entry, EntryKind, ProofLevel};
use xfer_protocol::message::{
    Access, Message, OpenRoot, Request, RequestId, Root, RootIndex, Scan,
};
use xfer_protocol::path::RelPath;

use super::context::{Context, Stop};
use super::{MappedPath, Shared};
use crate::connect::Connected;
use crate::disk::base::Base;
use crate::disk::output_file::OutputFile;
use crate::endpoint::EndpointError;
use crate::error::{ConfigReason, Failure, ProtocolFailure, Remedy, TransferError, UsageReason};
use crate::event::Route;
use crate::location::{Machine, above};
use crate::options::VerifyLevel;
use crate::plan::mapping::Mapping;

/// Refuses before the first byte what could not be proven after the last.
pub(super) fn check_provable(shared: &Shared, sink: &Connected) -> Result<(), Stop> {
    let level = shared.transfer.options.verify.level;
    let least = match level {
        VerifyLevel::Received => ProofLevel::Received,
        VerifyLevel::Durable => ProofLevel::Durable,
        VerifyLevel::ReadBack => ProofLevel::ReadBackCached,
    };
    if sink.sink.capabilities().proof_levels.iter().any(|given| *given >= least) {
        return Ok(());
    }
    let location = shared.transfer.destination.clone();
    Err(Stop::Error(TransferError::Unprovable { location, level: level.name() }))
}

/// Refuses lists of paths and patterns that are more than a far source can be told in one request.
pub(super) fn check_lists(
    shared: &Shared,
    sources: &[Connected],
    of_request: &[usize],
    mappings: &[Mapping],
) -> Result<(), Stop> {
    let is_asked = |mapping: &&Mapping| {
        // Of these no frame asks for anything.
        let stores = |route: &Route| matches!(route.kind, "sftp" | "store" | "web");
        let end = &sources[of_request[mapping.source]];
        let far = shared.transfer.sources[mapping.source].machine != Machine::Local;
        far && !end.route.as_ref().is_some_and(stores)
    };
    let longest = mappings.iter().filter(is_asked).max_by_key(|m| m.under.as_bytes().len());
    let Some(mapping) = longest else { return Ok(()) };
    let (under, options) = (mapping.under.clone(), shared.transfer.options.source_scan());
    let scan = Scan { root: RootIndex(u32::MAX), under, options };
    match encode(&Message::Request(RequestId(u64::MAX), Request::Scan(scan)), 0) {
        Ok(_) => Ok(()),
        Err(_) => {
            let location = shared.transfer.sources[mapping.source].clone();
            Err(Stop::Error(UsageReason::ListTooLong(location).into()))
        }
    }
}

/// Refuses a destination entry in which our own records lie: a copy would replace what says how far
/// it got.
pub(super) fn refuse_own_records(shared: &Shared, mappings: &[Mapping]) -> Result<(), Stop> {
    let to = &shared.transfer.destination;
    let base = if to.is_local() { Base::WorkingDirectory } else { Base::Home };
    let is_hit = |mapping: &Mapping| {
        let entry = base.resolve(&below(&mapping.destination_root, &mapping.top));
        shared.connector.keeps_state_in(Path::new(OsStr::from_bytes(&entry)))
    };
    if !to.is_here() || !mappings.iter().any(is_hit) {
        return Ok(());
    }
    let elsewhere = "keep them elsewhere: XDG_STATE_HOME=/a/directory/of/yours";
    let failure = Failure::new(to.to_string(), ConfigReason::StateInDestination);
    Err(Stop::Error(TransferError::Config(failure.next(Remedy::text(elsewhere)))))
}

/// Makes sure before the first byte that there will be a place for the receipt.
pub(super) fn try_receipt(shared: &Shared) -> Result<(), Stop> {
    let Some(path) = shared.transfer.options.disk.receipt.as_deref() else { return Ok(()) };
    if shared.transfer.plan_only {
        return Ok(());
    }
    OutputFile::check(path, shared.connector.unique()).map_err(|error| {
        let failure = Failure::new(path.to_string_lossy(), ConfigReason::Output);
        let next = Remedy::text("name a file in a directory that is there: --receipt FILE");
        Stop::Error(TransferError::Config(failure.next(next).because(error)))
    })
}

/// Refuses a transfer whose ends lie in each other.
pub(super) fn refuse_nesting(
    shared: &Shared,
    mapping: &Mapping,
    source: &Root,
    destination: &Root,
) -> Result<MappedPath, Stop> {
    let from = below(&source.path, &mapping.under);
    let to = below(&destination.path, &mapping.top);
    if source.machine == destination.machine {
        let location = shared.transfer.sources[mapping.source].clone();
        let same_directory = (source.device, source.inode)
            == (destination.device, destination.inode)
            && mapping.under == mapping.top;
        let reason = if from == to || same_directory {
            Some(UsageReason::SameEntry(location))
        } else if lies_in(&to, &from) {
            Some(UsageReason::DestinationInSource(location))
        } else if lies_in(&from, &to) && !mapping.top.is_root() {
            Some(UsageReason::SourceInDestination(location))
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(Stop::Error(reason.into()));
        }
    }
    Ok(MappedPath { source: from, destination: to })
}

/// Refuses a source that holds the destination's root under another name, as a bind mount gives it
/// one: its scan would list what the transfer writes. `root` is one on the source's machine.
pub(super) fn refuse_recursion(
    shared: &Shared,
    cx: &Context,
    entry: &Entry,
    root: Option<&Root>,
) -> Result<(), Stop> {
    let is_root =
        |root: &Root| (root.device, root.inode) == (entry.inode.device, entry.inode.number);
    if entry.kind == EntryKind::Directory && !entry.path.is_root() && root.is_some_and(is_root) {
        let location = shared.transfer.sources[cx.mapping.source].clone();
        return Err(Stop::Error(UsageReason::DestinationInSource(location).into()));
    }
    Ok(())
}

/// What the destination's root will be once it is made: where its nearest directory that is there
/// leads, and on what machine. `None` where only making it can tell.
pub(super) async fn foresee_root(sink: &Connected, mappings: &[Mapping]) -> Option<Root> {
    let path = &mappings.first()?.destination_root;
    let mut there = path.as_slice();
    loop {
        let open = OpenRoot { path: there.to_vec(), access: Access::Read };
        match sink.sink.open_root(open).await {
            Ok(root) => {
                let slashes = |byte: &&u8| **byte == b'/';
                let rest = path.get(there.len()..)?;
                let rest = &rest[rest.iter().take_while(slashes).count()..];
                let rest = rest.strip_suffix(b"/").unwrap_or(rest);
                let rest = RelPath::new(rest.to_vec()).ok()?;
                let path = below(&root.path, &rest);
                let is_there = rest.is_root();
                let (device, inode) = if is_there { (root.device, root.inode) } else { (0, 0) };
                return Some(Root { index: RootIndex(u32::MAX), path, device, inode, ..root });
            }
            Err(EndpointError::Fault(fault)) if fault.kind == FaultKind::NotFound => {}
            Err(_) => return None,
        }
        there = above(there)?;
    }
}

fn below(root: &[u8], path: &RelPath) -> Vec<u8> {
    let mut joined = root.to_vec();
    if !path.is_root() {
        if !joined.ends_with(b"/") {
            joined.push(b'/');
        }
        joined.extend_from_slice(path.as_bytes());
    }
    joined
}

fn lies_in(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with(b"/") || directory.ends_with(b"/"))
}

/// The same error, with the way through here where a machine that runs no agent can be told to
/// deliver nothing.
pub(super) fn detour(error: TransferError, between: bool) -> TransferError {
    match error {
        TransferError::Protocol(failure)
            if between
                && matches!(
                    failure.reason,
                    ProtocolFailure::AgentFailed | ProtocolFailure::NoAgent
                ) =>
        {
            let next =
                "have the files pass this machine, by SFTP if need be: repeat with --via here";
            TransferError::Protocol(failure.next(Remedy::text(next)))
        }
        error => error,
    }
}
