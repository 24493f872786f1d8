//! `xfer probe`: what a transfer would meet.

mod table;

use std::sync::Arc;

use xfer_core::engine::probe::{self, Expected, Findings, Machine, Probe, WayKind};
use xfer_core::error::ExitClass;
use xfer_core::event::Route;
use xfer_core::location::Location;
use xfer_core::receipt::PathText;

use super::transfer::output_failure;
use super::{Context, reach};
use crate::Outcome;
use crate::output::json::{Body, ResultBody, RouteBody};
use crate::output::probe::{EstimateBody, ProbeBody};
use crate::output::{Output, result_of, result_of_error};
use crate::problem::CliError;
use crate::reporter::Reporter;
use crate::settings::ProbeSettings;

/// Looks at locations.
pub(super) fn probe(context: &Context, locations: Vec<Location>) -> Outcome {
    let connector = reach::connector(context)?;
    let ProbeSettings { options, time, bytes, size } = ProbeSettings::resolve(&context.merged)?;
    let output = &context.output;
    let reporter = Reporter::new(Arc::clone(output), context.verb, false);
    reporter.inspects(&locations);
    let asked = Probe::new(locations);
    let (time, bytes) = (time.unwrap_or(asked.time), bytes.unwrap_or(asked.bytes));
    let asked = Probe { options, time, bytes, size, ..asked };
    let ended = reach::run(connector, &reporter, |reach| {
        probe::probe(asked, reach.connector, reach.observer, reach.cancel)
    });
    match ended {
        Ok(found) => {
            reporter.finish(|_| ());
            Ok(conclude(found, size, output))
        }
        Err(error) => {
            let error = reach::stopped(error);
            output_failure(&reporter, &error, output);
            Ok(error.class)
        }
    }
}

/// Prints what was found; the gravest of what kept a machine from being reached is the outcome.
fn conclude(found: Findings, size: Option<u64>, output: &Output) -> ExitClass {
    let Findings { here, machines, expected } = found;
    let is_one = machines.len() == 1;
    let names: Vec<_> =
        machines.iter().map(|(location, _)| PathText::from(&location.to_bytes()[..])).collect();
    let (mut failures, mut moved, mut route) = (Vec::new(), 0, None);
    for (index, (location, outcome)) in machines.into_iter().enumerate() {
        let machine = match outcome {
            Ok(machine) => machine,
            Err(error) => {
                failures.push(failed(error.into(), is_one, output));
                continue;
            }
        };
        moved += machine.moved.up + machine.moved.down;
        route = route_of(&machine).or(route);
        let told: Vec<_> = expected.iter().filter(|e| told_with(e) == Some(index)).collect();
        let estimates = told.iter().map(|expected| {
            let name = |end: Option<usize>| end.map(|end| names[end].clone());
            let (source, destination) = (name(expected.source), name(expected.destination));
            EstimateBody::new(source, destination, &expected.estimate)
        });
        let body = ProbeBody::new(names[index].clone(), &machine, &here, estimates.collect());
        output.event(&Body::Probe(Box::new(body)));
        output.result(table::text(&location, &machine, &told, size).as_bytes());
    }
    let problems = failures.len() as u64;
    let gravest = failures
        .into_iter()
        .reduce(|one, other| if one.class.gravest(other.class) == one.class { one } else { other });
    let route = route.or_else(|| Some(RouteBody::from(&Route::local())));
    let (class, body) = match gravest {
        Some(error) => (error.class, result_of_error(&error)),
        None => {
            let message = "measured".to_owned();
            (ExitClass::Done, ResultBody { message, route, ..result_of(ExitClass::Done, "done") })
        }
    };
    output.last(ResultBody { problems, payload_bytes: moved, ..body });
    class
}

/// Tells of a machine that was not reached.
fn failed(error: CliError, is_one: bool, output: &Output) -> CliError {
    output.error(&error);
    if !is_one {
        output.event(&Body::Problem {
            path: None,
            reason: error.reason,
            exit_code: error.class.code(),
            message: error.what.clone(),
        });
    }
    error
}

/// The location with which a transfer is told: the last that it names.
fn told_with(expected: &Expected) -> Option<usize> {
    expected.source.max(expected.destination)
}

fn route_of(machine: &Machine) -> Option<RouteBody> {
    let way = machine.ways.get(machine.taken?)?;
    let streams = way.opened.ok()?.several.map_or(1, |(streams, _)| streams);
    let kind = way.kind.name();
    let transport = match way.kind {
        WayKind::Store | WayKind::Web => way.place.split(':').next().unwrap_or_default(),
        _ => kind,
    };
    let transport = transport.to_owned();
    Some(RouteBody { kind, transport, direct: way.direct, streams, trial: None })
}
