//! `xfer ls --uploads`: uploads in parts that this machine began and that are not finished.

use std::sync::Arc;
use std::time::Duration;

use xfer_core::connect::{UploadList, UploadState};
use xfer_core::endpoint::object::Unfinished;
use xfer_core::error::ExitClass;
use xfer_core::location::Location;
use xfer_protocol::manifest::Timestamp;
use xfer_protocol::path::Escaped;

use super::inspect::options;
use super::transfer::output_failure;
use super::{Context, reach};
use crate::Outcome;
use crate::moment;
use crate::output::json::{Body, CountsBody, ResultBody, UploadBody};
use crate::output::{Output, amounts, result_of, result_of_error};
use crate::problem::CliError;
use crate::reporter::Reporter;

/// Lists them, and aborts those on which nobody worked for so long.
pub(super) fn list(context: &Context, location: &Location, stale: Option<Duration>) -> Outcome {
    let connector = reach::connector(context)?;
    let options = options(context)?;
    let output = &context.output;
    let reporter = Reporter::new(Arc::clone(output), context.verb, false);
    reporter.inspects(std::slice::from_ref(location));
    let ended = reach::run(connector, &reporter, |reach| async move {
        tokio::select! {
            found = reach.connector.uploads(location, &options, stale) => found,
            () = reach.cancel.cancelled() => Err(reach::asked_to_stop()),
        }
    });
    match ended {
        Ok(found) => {
            reporter.finish(|_| ());
            Ok(tell(&found, location, stale, output))
        }
        Err(error) => {
            let error = reach::stopped(error);
            output_failure(&reporter, &error, output);
            Ok(error.class)
        }
    }
}

fn tell(
    found: &UploadList,
    location: &Location,
    stale: Option<Duration>,
    output: &Output,
) -> ExitClass {
    for (upload, state) in &found.ours {
        output.result(line(upload, state, stale).as_bytes());
        output.event(&Body::Upload(Box::new(body(upload, state))));
    }
    for notice in &found.notices {
        output.say(&format!("xfer: {location}: {notice}\n"));
    }
    if let Some(others @ 1..) = found.others {
        let uploads = if others == 1 { "upload is" } else { "uploads are" };
        let count = amounts::count(others);
        output.say(&format!(
            "xfer: {location}: {count} further {uploads} not this machine's, and left alone\n"
        ));
    }
    let count = |is: fn(&UploadState) -> bool| {
        found.ours.iter().filter(|(_, state)| is(state)).count() as u64
    };
    let failed = count(|state| matches!(state, UploadState::Failed(_)));
    let aborted = count(|state| *state == UploadState::Aborted);
    let selected = found.ours.len() as u64;
    let unchanged = selected - failed - aborted;
    let entries =
        CountsBody { selected, moved: aborted, unchanged, failed, ..CountsBody::default() };
    if failed == 0 {
        let message = if stale.is_some() { "listed and aborted" } else { "listed" }.to_owned();
        output.last(ResultBody { message, entries, ..result_of(ExitClass::Done, "done") });
        return ExitClass::Done;
    }
    let what = format!("{location}: {} could not be aborted", amounts::count(failed));
    let error = CliError::new(ExitClass::Partial, "some-entries-failed", what)
        .next("put right what is listed; then repeat the same command");
    output.error(&error);
    output.last(ResultBody { entries, problems: failed, ..result_of_error(&error) });
    error.class
}

fn line(upload: &Unfinished, state: &UploadState, stale: Option<Duration>) -> String {
    let begun = upload.begun.map_or_else(|| "-".to_owned(), moment::format);
    let (parts, bytes) = (upload.parts, upload.bytes);
    let key = Escaped(upload.key.as_bytes());
    let became = match state {
        UploadState::Unfinished => String::new(),
        UploadState::Kept => {
            let span = stale.map(amounts::span).unwrap_or_default();
            format!("  kept: worked on within {span}")
        }
        UploadState::InUse => "  kept: a transfer works on it".to_owned(),
        UploadState::Aborted => "  aborted".to_owned(),
        UploadState::Failed(why) => format!("  not aborted: {why}"),
    };
    format!("{begun:<24} {parts:>5} parts {bytes:>15} {key}{became}\n")
}

fn body(upload: &Unfinished, state: &UploadState) -> UploadBody {
    let (name, why) = match state {
        UploadState::Unfinished => ("unfinished", None),
        UploadState::Kept => ("kept", None),
        UploadState::InUse => ("in-use", None),
        UploadState::Aborted => ("aborted", None),
        UploadState::Failed(why) => ("failed", Some(why.clone())),
    };
    let worked_on = upload.worked_on.map(|seconds| Timestamp { seconds, nanoseconds: 0 });
    UploadBody {
        key: upload.key.clone(),
        begun: upload.begun.map(moment::format),
        worked_on: worked_on.map(moment::format),
        parts: upload.parts,
        bytes: upload.bytes,
        state: name,
        why,
    }
}
