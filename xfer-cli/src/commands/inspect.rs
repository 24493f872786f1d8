//! `xfer ls` and `xfer verify`: looking without moving.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use xfer_core::disk::named::is_file;
use xfer_core::engine::{Inspection, Verified};
use xfer_core::error::{ExitClass, Retry};
use xfer_core::event::Event;
use xfer_core::location::Location;
use xfer_core::options::TransferOptions;
use xfer_core::receipt::{PathText, ReceiptError};
use xfer_core::verify::{Expected, ManifestError};
use xfer_protocol::fault::{Fault, FaultKind};
use xfer_protocol::manifest::{Entry, EntryKind};
use xfer_protocol::path::{Escaped, RelPath};

use super::transfer::output_failure;
use super::{Context, reach};
use crate::Outcome;
use crate::moment;
use crate::output::json::{Body, CountsBody, ResultBody, RouteBody};
use crate::output::{Output, amounts, result_of, result_of_error};
use crate::problem::CliError;
use crate::read_file::{LIST_BYTES_MAX, read};
use crate::reporter::Reporter;
use crate::settings::ConnectionSettings;

/// What a location must equal.
enum Against {
    Manifest(Expected),
    Location(Location),
}

/// Lists a location.
pub(super) fn list(context: &Context, location: Location) -> Outcome {
    let connector = reach::connector(context)?;
    let options = options(context)?;
    let output = &context.output;
    let reporter = Reporter::new(Arc::clone(output), context.verb, false);
    let (mut problems, mut listed) = (0u64, (0u64, 0u64));
    reporter.inspects(std::slice::from_ref(&location));
    let ended = reach::run(connector, &reporter, |reach| async {
        let observer = Arc::clone(&reach.observer);
        let looked =
            Inspection::open(&location, options, reach.connector, reach.observer, reach.cancel)
                .await?;
        looked
            .list(
                |entry| {
                    listed = (listed.0 + 1, listed.1 + entry.kind.size());
                    print_entry(&entry, output);
                },
                |fault| {
                    problems += 1;
                    let class = ExitClass::of_fault(&fault);
                    observer.observe(&Event::Problem { fault, class });
                },
            )
            .await?;
        looked.close().await;
        Ok(())
    });
    let found = |count, failed| CountsBody {
        selected: count + failed,
        unchanged: count,
        failed,
        ..CountsBody::default()
    };
    reporter.counted(found(listed.0, problems), found(listed.1, 0));
    match ended {
        Ok(()) if problems == 0 => {
            let route = reporter.finish(|state| state.route.as_ref().map(RouteBody::from));
            output.last(ResultBody {
                message: "listed".to_owned(),
                entries: found(listed.0, 0),
                bytes: found(listed.1, 0),
                route,
                ..result_of(ExitClass::Done, "done")
            });
            Ok(ExitClass::Done)
        }
        Ok(()) => {
            let what = format!("{} could not be listed", amounts::entries(problems));
            let error = CliError::new(ExitClass::Partial, "some-entries-failed", what)
                .next("put right what is listed; then repeat the same command");
            output_failure(&reporter, &error, output);
            Ok(error.class)
        }
        Err(error) => {
            let error = reach::stopped(error);
            output_failure(&reporter, &error, output);
            Ok(error.class)
        }
    }
}

/// Reads a location again and compares it.
pub(super) fn verify(context: &Context, location: Location, against: &OsStr) -> Outcome {
    let against = understand(against)?;
    let connector = reach::connector(context)?;
    verify_with(context, connector, &location, against)
}

fn verify_with(
    context: &Context,
    connector: xfer_core::connect::Connector,
    location: &Location,
    against: Against,
) -> Outcome {
    let options = options(context)?;
    let output = &context.output;
    let reporter = Reporter::new(Arc::clone(output), context.verb, false);
    reporter.inspects(std::slice::from_ref(location));
    let exact = matches!(against, Against::Location(_));
    let mut unexpected = Vec::new();
    let noted = &mut unexpected;
    let ended = reach::run(connector, &reporter, |reach| async move {
        let reach::Reach { connector, observer, cancel } = reach;
        let open = |location: Location| {
            let (options, observer) = (options.clone(), Arc::clone(&observer));
            let (connector, cancel) = (connector.clone(), cancel.clone());
            async move { Inspection::open(&location, options, connector, observer, cancel).await }
        };
        let expected = match against {
            Against::Manifest(expected) => expected,
            Against::Location(other) => {
                let other = open(other).await?;
                let expected = other.expectations().await?;
                other.close().await;
                expected
            }
        };
        let looked = open(location.clone()).await?;
        let note = |path: RelPath| {
            if exact {
                noted.push(path)
            }
        };
        let verified = looked.verify(expected, note).await?;
        looked.close().await;
        Ok(verified)
    });
    match ended {
        Ok(verified) => Ok(conclude(&verified, &unexpected, location, &reporter, output)),
        Err(error) => {
            let error = reach::stopped(error);
            output_failure(&reporter, &error, output);
            Ok(error.class)
        }
    }
}

fn conclude(
    verified: &Verified,
    unexpected: &[RelPath],
    location: &Location,
    reporter: &Reporter,
    output: &Output,
) -> ExitClass {
    let extra = unexpected.len() as u64;
    let (unread, route) =
        reporter.finish(|state| (state.problems, state.route.as_ref().map(RouteBody::from)));
    tell_unexpected(unexpected, output);
    let unproven = tell_unproven(verified, output);
    let different = (verified.problems.len() as u64).max(unread);
    let differences = different + extra + unproven;
    let mut class = verified.class();
    if class == ExitClass::Done && differences > 0 {
        class = ExitClass::Partial;
    }
    let level = if verified.past_cache { "read-back" } else { "read-back-cached" };
    output.event(&Body::Verify {
        asked: "read-back",
        proof_level: Some(level),
        entries: verified.equal,
        bytes: verified.bytes,
    });
    let verdict = match differences {
        0 => "equal",
        all if all == unproven => "unproven",
        _ => "different",
    };
    output.event(&Body::Verdict { verdict, entries: verified.equal, differences });
    let text = in_words(verdict, verified, location, different, unproven);
    output.result(text.as_bytes());
    let counted = |body: ResultBody| ResultBody {
        entries: CountsBody {
            selected: verified.equal + differences,
            unchanged: verified.equal,
            failed: differences,
            ..CountsBody::default()
        },
        bytes: CountsBody {
            selected: verified.bytes,
            unchanged: verified.bytes,
            ..CountsBody::default()
        },
        route: route.clone(),
        proof_level: Some(level),
        problems: differences,
        ..body
    };
    if class == ExitClass::Done {
        let message = "all is as it should be".to_owned();
        output.last(counted(ResultBody { message, ..result_of(class, "done") }));
    } else {
        let reason = match class {
            ExitClass::Integrity => "digest-mismatch",
            _ if differences == unproven => "not-provable",
            _ if different == 0 => "unexpected-entries",
            _ => "some-entries-failed",
        };
        let how = if reason == "not-provable" { "cannot be proven" } else { "differ" };
        let what = format!("{location}: {} {how}", amounts::entries(differences));
        let error = CliError::new(class, reason, what).next(way_on(verified, different, extra));
        output.error(&error);
        // Reading again finds the same.
        let retry = Retry::AfterFix.name();
        output.last(counted(ResultBody { retry, ..result_of_error(&error) }));
    }
    class
}

/// What helps most.
fn way_on(verified: &Verified, different: u64, extra: u64) -> &'static str {
    let is_missing = |fault: &Fault| fault.kind == FaultKind::NotFound;
    let all_missing = different > 0 && verified.problems.iter().all(is_missing);
    if all_missing && verified.equal <= 1 {
        "name the directory in which the names of WHAT begin, such as the one above LOCATION; if \
         it was that one, copy them again"
    } else if different == 0 && extra > 0 {
        "remove what is not to be there, or compare with a receipt, which speaks of its own alone"
    } else {
        "copy them again: push or pull with --checksum"
    }
}

/// Tells what is there and not at the other end.
fn tell_unexpected(unexpected: &[RelPath], output: &Output) {
    for (at, path) in unexpected.iter().enumerate() {
        let message = format!("{path}: it is not at the other end");
        if at < UNPROVEN_SHOWN_MAX {
            output.say(&format!("xfer: problem: {message}\n"));
        }
        output.event(&Body::Problem {
            path: Some(PathText::from(path.as_bytes())),
            reason: "unexpected-entry",
            exit_code: ExitClass::Partial.code(),
            message,
        });
    }
}

fn in_words(
    verdict: &str,
    verified: &Verified,
    location: &Location,
    different: u64,
    unproven: u64,
) -> String {
    let medium = if verified.past_cache { "from the medium" } else { "perhaps from the cache" };
    let unprovable = match unproven {
        0 => String::new(),
        count => format!(", {} not provable", amounts::count(count)),
    };
    format!(
        "{verdict}: {location}: {} equal ({}, read {medium}), {} different, \
         {} not spoken of{unprovable}\n",
        amounts::entries(verified.equal),
        amounts::bytes(verified.bytes),
        amounts::count(different),
        amounts::count(verified.unexpected),
    )
}

/// Unproven or unexpected entries that are printed; all are sent as events.
const UNPROVEN_SHOWN_MAX: usize = 50;

/// Tells what is there, or is said to be, and cannot be proven; how many entries that are.
fn tell_unproven(verified: &Verified, output: &Output) -> u64 {
    let tell = |path: &RelPath, message: String| {
        output.event(&Body::Problem {
            path: Some(PathText::from(path.as_bytes())),
            reason: "not-provable",
            exit_code: ExitClass::Partial.code(),
            message,
        });
    };
    for (at, path) in verified.unproven.iter().enumerate() {
        let message = format!("{path}: no digest of it is known, so nothing proves its bytes");
        if at < UNPROVEN_SHOWN_MAX {
            output.say(&format!("xfer: problem: {message}\n"));
        }
        tell(path, message);
    }
    if verified.failed > 0 {
        let failed = amounts::entries(verified.failed);
        let message = format!("{failed} failed when the receipt was written, so it proves less");
        output.say(&format!("xfer: problem: {message}\n"));
        tell(&RelPath::root(), message);
    }
    if verified.nothing_expected {
        let message = "nothing that should be there was named".to_owned();
        output.say(&format!("xfer: problem: {message}\n"));
        tell(&RelPath::root(), message);
    }
    verified.unproven.len() as u64 + verified.failed + u64::from(verified.nothing_expected)
}

/// A plain path to a regular file is a receipt or a manifest; all else is a location.
fn understand(against: &OsStr) -> Result<Against, CliError> {
    let location = Location::parse(against.as_bytes())?;
    let written_as_path = location.path == against.as_bytes();
    if !location.is_local() || !written_as_path || !is_file(Path::new(against)) {
        return Ok(Against::Location(location));
    }
    let bytes = read(Path::new(against), LIST_BYTES_MAX)?;
    Expected::read(&bytes[..]).map(Against::Manifest).map_err(|error| {
        let place = Escaped(against.as_bytes());
        let (class, reason) = match error {
            ManifestError::Receipt(ReceiptError::RootMismatch) => {
                (ExitClass::Integrity, "digest-mismatch")
            }
            ManifestError::Unsafe { .. } | ManifestError::BelowFile(_) => {
                (ExitClass::Unsafe, "manifest-unsafe")
            }
            _ => (ExitClass::State, "manifest-malformed"),
        };
        let what = format!("{place}: neither a receipt nor a manifest that can be believed");
        CliError::new(class, reason, what)
            .why(error)
            .next("to compare with the bytes of that file itself: --against file:///its/path")
    })
}

pub(super) fn options(context: &Context) -> Result<TransferOptions, CliError> {
    let connection = ConnectionSettings::resolve(&context.merged)?;
    let mut options = TransferOptions::default();
    options.network.route = connection.route;
    options.network.agent_binary = connection.agent_binary;
    options.network.endpoint = connection.endpoint;
    options.retry.stall = connection.stall;
    Ok(options)
}

fn print_entry(entry: &Entry, output: &Output) {
    let (kind, letter) = match entry.kind {
        EntryKind::Device(device) if device.block => ("device", 'b'),
        EntryKind::Device(_) => ("device", 'c'),
        EntryKind::Directory => ("directory", 'd'),
        EntryKind::Fifo => ("fifo", 'p'),
        EntryKind::File { .. } => ("file", '-'),
        EntryKind::Socket => ("socket", 's'),
        EntryKind::Symlink { .. } => ("symlink", 'l'),
    };
    let modified = moment::format(entry.metadata.modified);
    let content = match &entry.kind {
        EntryKind::Symlink { content } => Some(content),
        _ => None,
    };
    let arrow = content.map(|content| format!(" -> {}", Escaped(content))).unwrap_or_default();
    let size = entry.kind.size();
    let mode = entry.metadata.mode;
    let path = &entry.path;
    output.result(format!("{letter}{mode:04o} {size:>15} {modified} {path}{arrow}\n").as_bytes());
    output.event(&Body::Entry {
        path: PathText::from(entry.path.as_bytes()),
        action: "listed",
        kind: Some(kind),
        size,
        mode: Some(mode),
        modified: Some(modified),
        content: content.map(|content| PathText::from(&content[..])),
        digest: None,
    });
}
