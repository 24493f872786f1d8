//! `xfer gate`: whether a machine may be destroyed.

mod told;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xfer_core::disk::output_file::OutputFile;
use xfer_core::engine::release::{self, GateRequest, Judged};
use xfer_core::error::ExitClass;
use xfer_core::gate::policy::Policy;
use xfer_core::gate::verdict::Verdict;
use xfer_core::location::{Location, Machine, PlatformMachine, Which};
use xfer_core::receipt::{PathText, parse_digest};
use xfer_protocol::path::Escaped;

use super::receipt::keys_in;
use super::transfer::output_failure;
use super::{Context, reach};
use crate::Outcome;
use crate::args::GateVerb;
use crate::output::json::{Body, RemedyBody, ResultBody};
use crate::output::{Output, result_of};
use crate::problem::CliError;
use crate::read_file::{TEXT_BYTES_MAX, read, read_optional};
use crate::reporter::Reporter;
use crate::settings::{ProbeSettings, load_check};

/// Collects evidence, decides, and leaves a token where the machine may go.
pub(super) fn gate(context: &Context, asked: GateVerb) -> Outcome {
    check_machine(&asked.machine)?;
    let policy = policy(context, asked.policy.as_deref(), &asked.trusted)?;
    let acknowledged = acknowledged(&asked.acks)?;
    let connector = reach::connector(context)?;
    let options = ProbeSettings::resolve(&context.merged)?.options;
    let output = &context.output;
    let reporter = Reporter::new(Arc::clone(output), context.verb, false);
    reporter.inspects(std::slice::from_ref(&asked.machine));
    let (machine, roots) = (asked.machine, asked.roots);
    let (receipts, load_command) = (asked.receipts, load_check(&context.merged));
    let request =
        GateRequest { machine, roots, receipts, policy, load_command, acknowledged, options };
    let ended = reach::run(connector, &reporter, |reach| {
        release::gate(request, reach.connector, reach.observer, reach.cancel)
    });
    match ended {
        Ok(judged) => {
            reporter.finish(|_| ());
            conclude(&judged, asked.token.as_deref(), |body| body, output)
        }
        Err(error) => {
            let error = reach::stopped(error);
            output_failure(&reporter, &error, output);
            Ok(error.class)
        }
    }
}

/// A gate is asked of a machine: nothing else can be destroyed.
pub(super) fn check_machine(location: &Location) -> Result<(), CliError> {
    let refused = |what: String| {
        Err(CliError::usage("not-a-machine", what)
            .next("name one machine: vast:ID, sky:CLUSTER, runpod:ID, lambda:ID or HOST:"))
    };
    match &location.machine {
        Machine::Platform(PlatformMachine { which: Which::All, .. }) => {
            refused(format!("{location} is all machines, and a gate is asked of one"))
        }
        Machine::Platform(_) | Machine::Ssh(_) => Ok(()),
        Machine::Local
        | Machine::Peer(_)
        | Machine::Store(_)
        | Machine::Rclone(_)
        | Machine::Web(_)
        | Machine::Hub(_) => refused(format!("{location} is no machine that could be destroyed")),
    }
}

/// The policy of that file, or else of the user's own; the strictest where there is none.
pub(super) fn policy(
    context: &Context,
    named: Option<&Path>,
    trusted: &[PathBuf],
) -> Result<Policy, CliError> {
    let own = context.around.gate_policy_file();
    let found = match (named, &own) {
        (Some(path), _) => Some((path.to_owned(), read(path, TEXT_BYTES_MAX)?)),
        (None, Some(path)) => read_optional(path, TEXT_BYTES_MAX)?.map(|text| (path.clone(), text)),
        (None, None) => None,
    };
    let mut policy = match found {
        None => Policy::default(),
        Some((path, text)) => parsed(&path, &text)?,
    };
    for file in trusted {
        policy.trusted_keys.extend(keys_in(file)?);
    }
    Ok(policy)
}

fn parsed(path: &Path, text: &[u8]) -> Result<Policy, CliError> {
    let place = Escaped(path.as_os_str().as_encoded_bytes()).to_string();
    let refused = |why: String| {
        CliError::config("policy-malformed", format!("{place}: it is no policy of a gate"))
            .why(why)
            .next("see: xfer man, Policies; without a file the strictest policy is asked")
    };
    let text = std::str::from_utf8(text).map_err(|_| refused("it is not UTF-8".to_owned()))?;
    toml::from_str(text).map_err(|error| refused(error.to_string().trim_end().to_owned()))
}

pub(super) fn acknowledged(
    words: &[std::ffi::OsString],
) -> Result<BTreeSet<xfer_protocol::digest::Digest>, CliError> {
    let digest = |word: &std::ffi::OsString| {
        word.to_str().and_then(parse_digest).ok_or_else(|| {
            let word = Escaped(word.as_encoded_bytes());
            CliError::usage("bad-digest", format!("--ack {word}: it is no digest"))
                .next("take the 64 digits that the verdict shows for what may be lost")
        })
    };
    words.iter().map(digest).collect()
}

/// Tells a verdict; `counted` adds to the outcome what came before it.
pub(super) fn conclude(
    judged: &Judged,
    token_file: Option<&Path>,
    counted: impl FnOnce(ResultBody) -> ResultBody,
    output: &Output,
) -> Outcome {
    match (&judged.verdict, &judged.token) {
        (Verdict::Release(release), Some(token)) => {
            if let Some(path) = token_file {
                write_token(path, token)?;
            }
            let file = token_file.map(|path| path.as_os_str().as_encoded_bytes());
            output.event(&Body::Gate(Box::new(told::released(judged, release, file))));
            output.say(&told::release_text(judged, release, file));
            if token_file.is_none() {
                output.result(token.as_bytes());
            }
            output.last(ResultBody {
                manifest_root: Some(release.manifest.to_string()),
                ..counted(ResultBody {
                    message: format!("{} may be destroyed", release.machine),
                    output: token_file.is_none().then(|| token.clone()),
                    ..result_of(ExitClass::Done, "release")
                })
            });
            Ok(ExitClass::Done)
        }
        (Verdict::Hold(reasons), _) => {
            output.event(&Body::Gate(Box::new(told::held(judged, reasons))));
            output.say(&told::hold_text(judged, reasons));
            let remedies = told::remedies(judged, reasons);
            let remedies = remedies.into_iter().map(|text| RemedyBody { text, argv: Vec::new() });
            output.last(counted(ResultBody {
                message: format!("do not destroy {}", judged.evidence.machine.name),
                remedies: remedies.collect(),
                problems: reasons.len() as u64,
                status: "refused",
                retry: "after-fix",
                ..result_of(ExitClass::Hold, "hold")
            }));
            Ok(ExitClass::Hold)
        }
        (Verdict::Release(_), None) => {
            Err(CliError::new(ExitClass::Internal, "internal", "a release without a token"))
        }
    }
}

/// Keeps the token where it was asked for: a file is whole and its owner's alone, and what is no
/// regular file is written to.
fn write_token(path: &Path, token: &str) -> Result<(), CliError> {
    let unique = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    let written = OutputFile::create_private(path, unique).and_then(|mut file| {
        file.write(token.as_bytes())?;
        file.commit(true)
    });
    written.map(drop).map_err(|error| {
        let place = Escaped(path.as_os_str().as_encoded_bytes());
        CliError::new(ExitClass::Other, "token-unwritable", format!("{place}: it was not written"))
            .why(error)
            .next("name another file with --token, and run xfer gate again")
    })
}

/// Tells a release whose token nobody is given, for it is spent at once.
pub(super) fn tell_release(judged: &Judged, output: &Output) {
    if let Verdict::Release(release) = &judged.verdict {
        output.event(&Body::Gate(Box::new(told::released(judged, release, None))));
        output.say(&told::proven_text(release));
    }
}

/// Tells a verdict of which nothing follows.
pub(super) fn tell_verdict(judged: &Judged, output: &Output) {
    output.event(&Body::Gate(Box::new(match &judged.verdict {
        Verdict::Release(release) => told::released(judged, release, None),
        Verdict::Hold(reasons) => told::held(judged, reasons),
    })));
}

/// Tells what a token came to: the machine was destroyed by it, or it is refused.
pub(super) fn tell_token(
    machine: &PlatformMachine,
    file: &Path,
    per_hour: Option<f64>,
    refused: Option<&CliError>,
    output: &Output,
) {
    let token = file.as_os_str().as_encoded_bytes();
    output.event(&Body::Gate(Box::new(told::of_token(machine, token, per_hour, refused))));
}

/// A path as events tell it.
fn path_text(bytes: &[u8]) -> PathText {
    PathText::from(bytes)
}
