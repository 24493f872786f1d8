//! `xfer push`, `xfer pull` and `xfer sync`.

use std::sync::Arc;

use xfer_core::connect::Connector;
use xfer_core::engine::{self, Counts, Summary, Transfer};
use xfer_core::error::{ExitClass, Failure, PolicyReason, Remedy, TransferError, UsageReason};
use xfer_core::location::Location;
use xfer_core::options::{VerifyLevel, WatchOptions};
use xfer_core::receipt::PathText;
use xfer_protocol::manifest::ProofLevel;

use super::{Context, onstart, reach};
use crate::Outcome;
use crate::args::Copying;
use crate::output::json::{Body, CountsBody, ResultBody, RouteBody};
use crate::output::{Output, amounts, result_of, result_of_error};
use crate::problem::CliError;
use crate::reporter::{Reporter, State, route_text};
use crate::settings::CopySettings;

/// Copies.
pub(super) fn copy(
    context: &Context,
    sources: Vec<Location>,
    destination: Location,
    copying: Copying,
) -> Outcome {
    if copying == Copying::Pull && !destination.is_here() {
        return Err(TransferError::from(UsageReason::PullElsewhere(destination)).into());
    }
    let mut settings = CopySettings::resolve(&context.merged, &context.around)?;
    let [watches, prints] =
        ["watch", "print-onstart"].map(|flag| context.merged.switch(flag, false));
    if !watches && !prints {
        return copy_with(context, reach::connector(context)?, settings, sources, destination);
    }
    let watch = settings.watch(&context.merged)?;
    let CopySettings { options, dry_run } = settings;
    let transfer = Transfer { sources, destination, options, plan_only: dry_run };
    engine::check_watch(&transfer)?;
    if prints { onstart::print(context) } else { copy_on(context, transfer, watch) }
}

/// Copies until it is stopped.
fn copy_on(context: &Context, transfer: Transfer, watch: WatchOptions) -> Outcome {
    let output = &context.output;
    let connector = reach::connector(context)?;
    let reporter = Reporter::new(Arc::clone(output), context.verb, false);
    reporter.proves(transfer.options.verify.level);
    let ended = reach::run(connector, &reporter, |reach| {
        engine::watch(transfer, watch, reach.connector, reach.observer, reach.cancel)
    });
    let Err(error) = ended;
    let error = reach::stopped(error);
    output_failure(&reporter, &error, output);
    Ok(error.class)
}

/// Copies by a connector, as the settings say.
pub(super) fn copy_with(
    context: &Context,
    connector: Connector,
    settings: CopySettings,
    sources: Vec<Location>,
    destination: Location,
) -> Outcome {
    let dry_run = settings.dry_run;
    let asked = settings.options.verify.level;
    let transfer = Transfer { sources, destination, options: settings.options, plan_only: dry_run };
    let output = &context.output;
    let reporter = Reporter::new(Arc::clone(output), context.verb, dry_run);
    let ended = reach::run(connector, &reporter, |reach| {
        engine::run(transfer, reach.connector, reach.observer, reach.cancel)
    });
    match ended {
        Ok(summary) => {
            reporter.finish(|state| {
                if dry_run {
                    print_plan(state, output);
                } else {
                    tell_proof(&summary, asked, output);
                    output.say(&summary_text(&summary));
                }
            });
            Ok(conclude(&summary, dry_run, output))
        }
        Err(error) => {
            let error = if dry_run { reach::stopped(error) } else { error.into() };
            output_failure(&reporter, &error, output);
            Ok(error.class)
        }
    }
}

/// Prints a failure, and ends the events with what is known.
pub(super) fn output_failure(reporter: &Reporter, error: &CliError, output: &Output) {
    let body = reporter.finish(|state| {
        let (entries, bytes) = state.counts();
        ResultBody {
            entries,
            bytes,
            payload_bytes: state.progress.payload_bytes,
            reused_bytes: state.progress.reused_bytes,
            deleted: state.deleted,
            route: state.route.as_ref().map(RouteBody::from),
            problems: state.problems,
            ..result_of_error(error)
        }
    });
    output.error(error);
    output.last(body);
}

pub(super) fn tell_proof(summary: &Summary, asked: VerifyLevel, output: &Output) {
    let proof_level = summary.proof_level.map(ProofLevel::name);
    output.event(&Body::Verify {
        asked: asked.name(),
        proof_level,
        entries: summary.entries.moved + summary.entries.unchanged,
        bytes: summary.bytes.moved + summary.bytes.unchanged,
    });
    if let Some(path) = &summary.receipt {
        output.event(&Body::Receipt {
            path: PathText::from(path.as_os_str().as_encoded_bytes()),
            manifest_root: summary.manifest_root.map(|root| root.to_string()),
            proof_level,
        });
    }
}

pub(super) fn conclude(summary: &Summary, dry_run: bool, output: &Output) -> ExitClass {
    let outcome = if summary.class == ExitClass::Done {
        let message = if dry_run { "planned, and nothing done" } else { ExitClass::Done.meaning() };
        ResultBody { message: message.to_owned(), ..result_of(ExitClass::Done, "done") }
    } else {
        let error = CliError::from(ending(summary));
        output.error(&error);
        result_of_error(&error)
    };
    output.last(counted(outcome, summary));
    summary.class
}

/// What ended a transfer that is not whole.
fn ending(summary: &Summary) -> TransferError {
    let Summary { problem_count: problems, class: gravest, unfinished, .. } = summary;
    match unfinished {
        Some(unfinished) if *gravest == ExitClass::Partial && *problems <= unfinished.entries => {
            let next = "repeat the same command with a later deadline: it goes on";
            let failure = Failure::new("not all of it is there", PolicyReason::DeadlineCut);
            TransferError::Policy(failure.next(Remedy::text(next)))
        }
        _ => TransferError::Partial { problems: *problems, gravest: *gravest },
    }
}

/// An outcome with what a transfer counted.
pub(super) fn counted(outcome: ResultBody, summary: &Summary) -> ResultBody {
    let receipt = summary.receipt.as_ref();
    ResultBody {
        entries: counts(summary.entries),
        bytes: counts(summary.bytes),
        payload_bytes: summary.payload_bytes,
        overhead_bytes: summary.overhead_bytes,
        shrunk_bytes: summary.shrunk_bytes,
        wasted_bytes: summary.wasted_bytes,
        reused_bytes: summary.reused_bytes,
        deleted: summary.removed,
        elapsed_s: summary.elapsed.as_secs_f64(),
        route: summary.route.as_ref().map(RouteBody::from),
        manifest_root: summary.manifest_root.map(|root| root.to_string()),
        proof_level: summary.proof_level.map(ProofLevel::name),
        receipt: receipt.map(|path| PathText::from(path.as_os_str().as_encoded_bytes())),
        problems: summary.problem_count.max(outcome.problems),
        ..outcome
    }
}

fn counts(counts: Counts) -> CountsBody {
    let Counts { selected, moved, unchanged, deferred, skipped, failed } = counts;
    CountsBody { selected, moved, unchanged, deferred, skipped, failed }
}

pub(super) fn print_plan(state: &State, output: &Output) {
    let plan = state.plan;
    let compared = match plan.entries_to_compare {
        0 => String::new(),
        entries => format!(
            "to compare by content: {}, {}; ",
            amounts::entries(entries),
            amounts::bytes(plan.bytes_to_compare)
        ),
    };
    let deleted = match plan.entries_to_remove {
        0 => String::new(),
        entries => format!("to delete: {}; ", amounts::entries(entries)),
    };
    let line = format!(
        "plan {}, {}; to move: {}, {}; {compared}{deleted}left out: {}\n",
        amounts::entries(plan.entries),
        amounts::bytes(plan.bytes),
        amounts::entries(plan.entries_to_move),
        amounts::bytes(plan.bytes_to_move),
        amounts::count(plan.excluded)
    );
    output.result(line.as_bytes());
}

/// What a transfer did, in a few lines.
pub(super) fn summary_text(summary: &Summary) -> String {
    let rate = amounts::rate(summary.payload_bytes, summary.elapsed);
    let mut text = format!(
        "xfer: {} moved, {} unchanged; {} sent in {}, {}/s ({} Mbit/s)\n",
        amounts::entries(summary.entries.moved),
        amounts::count(summary.entries.unchanged),
        amounts::bytes(summary.payload_bytes),
        amounts::span(summary.elapsed),
        amounts::bytes(rate),
        amounts::count(rate / 125_000),
    );
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:<9} {value}\n"));
    if summary.reused_bytes > 0 {
        line("re-used", amounts::bytes(summary.reused_bytes));
    }
    if summary.wasted_bytes > 0 {
        line("wasted", format!("{} sent more than once", amounts::bytes(summary.wasted_bytes)));
    }
    if summary.removed > 0 {
        line("deleted", amounts::entries(summary.removed));
    }
    if summary.entries.deferred > 0 {
        let (entries, bytes) = (summary.entries.deferred, summary.bytes.deferred);
        line("deferred", format!("{}, {}", amounts::entries(entries), amounts::bytes(bytes)));
    }
    if summary.entries.skipped > 0 {
        line("left out", amounts::entries(summary.entries.skipped));
    }
    if let Some(route) = &summary.route {
        line("route", route_text(route));
    }
    if let Some(level) = summary.proof_level {
        line("proven", level.name().to_owned());
    }
    if let Some(root) = summary.manifest_root {
        line("manifest", root.to_string());
    }
    if let Some(receipt) = &summary.receipt {
        line("receipt", receipt.display().to_string());
    }
    text
}
