//! `xfer destroy`: a machine's end, where a token of the gate allows it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use xfer_core::connect::Connector;
use xfer_core::engine::release::{self, Destroyed, Destruction};
use xfer_core::error::{ExitClass, MachineReason, Remedy, Retry};
use xfer_core::gate::token::TEXT_BYTES_MAX;
use xfer_core::location::{Location, Machine, PlatformMachine, Which};
use xfer_protocol::path::Escaped;

use super::inspect::options;
use super::transfer::output_failure;
use super::{Context, gate, reach};
use crate::Outcome;
use crate::output::json::ResultBody;
use crate::output::{Output, result_of};
use crate::problem::CliError;
use crate::prompt::TerminalPrompt;
use crate::read_file;
use crate::reporter::Reporter;

/// Destroys a machine, and follows it to the end.
pub(super) fn destroy(
    context: &Context,
    machine: &OsStr,
    token_file: &Path,
    confirm: Option<&OsStr>,
) -> Outcome {
    let output = &context.output;
    let (location, machine) = one_machine(machine)?;
    let id = machine.name().unwrap_or_default();
    confirmed(&machine, id, confirm, output)?;
    let token = read_token(token_file, &machine)?;
    let connector = reach::connector(context)?;
    let options = options(context)?;
    let asked = Destruction {
        machine: machine.clone(),
        token,
        options,
        followed: release::FOLLOWED,
        follows_only: false,
    };
    let reporter = Reporter::new(Arc::clone(output), context.verb, false);
    reporter.inspects(std::slice::from_ref(&location));
    let ended = reach::run(connector, &reporter, |reach| async move {
        release::destroy(asked, reach.connector, reach.observer, reach.cancel).await
    });
    match ended {
        Ok(destroyed) => {
            reporter.finish(|_| ());
            gate::tell_token(&machine, token_file, destroyed.per_hour, None, output);
            Ok(conclude(&destroyed, |body| body, output))
        }
        Err(error) => {
            let error = with_same_command(reach::stopped(error), &machine, token_file);
            if error.class == ExitClass::Token {
                gate::tell_token(&machine, token_file, None, Some(&error), output);
            }
            output_failure(&reporter, &error, output);
            Ok(error.class)
        }
    }
}

/// One machine of a platform on which xfer can destroy one, named alone.
pub(super) fn one_machine(text: &OsStr) -> Result<(Location, PlatformMachine), CliError> {
    let location = Location::parse(text.as_bytes())?;
    let refused = |what: &str, next: &str| {
        let what = format!("{}: {what}", Escaped(text.as_bytes()));
        Err(CliError::usage("not-destroyed", what).next(next))
    };
    let Machine::Platform(machine) = &location.machine else {
        return refused(
            "it is no machine of a platform, so there is nothing to destroy it with",
            "name a machine that a platform rents out, as in vast:33402296",
        );
    };
    if !location.path.is_empty() {
        return refused(
            "a path would say that a part of the machine is meant, and all of it is destroyed",
            &format!("name the machine alone: {machine}"),
        );
    }
    match &machine.which {
        Which::All => refused(
            "it names no machine",
            &format!("xfer ls {}: lists them; one is destroyed at a time", machine.platform.name()),
        ),
        Which::Itself => refused(
            "a machine that destroys itself leaves nobody to follow it to the end",
            "run xfer gate and xfer destroy on another machine, and name this one by its id",
        ),
        Which::Named(_) if !Connector::can_destroy(machine.platform) => refused(
            "xfer destroys no machines of this platform",
            "use the platform's own command, once xfer gate says Release",
        ),
        Which::Named(_) => {
            let machine = machine.clone();
            Ok((location, machine))
        }
    }
}

/// Whether somebody typed or passed the very id of the machine; nothing else confirms.
pub(super) fn confirmed(
    machine: &PlatformMachine,
    id: &str,
    confirm: Option<&OsStr>,
    output: &Output,
) -> Result<(), CliError> {
    let typed = match confirm {
        Some(passed) => Some(passed.to_owned()),
        None => ask(machine, id, output),
    };
    let next = format!("repeat with --confirm {id}");
    match typed {
        Some(typed) if typed == OsStr::new(id) => Ok(()),
        Some(typed) => {
            let shown = Escaped(typed.as_bytes());
            let what = format!("nothing destroyed: {shown} is not {id}, the id of {machine}");
            Err(CliError::usage("not-confirmed", what).next(next))
        }
        None => {
            let what = format!("nothing destroyed: nobody confirmed that {machine} is meant");
            let why = "--yes confirms no destruction, and no variable or file does";
            Err(CliError::usage("not-confirmed", what).why(why).next(next))
        }
    }
}

fn ask(machine: &PlatformMachine, id: &str, output: &Output) -> Option<OsString> {
    let is_attended = rustix::termios::isatty(rustix::stdio::stdin());
    if output.settings().json || !is_attended {
        return None;
    }
    let question = format!(
        "xfer: {machine} will be destroyed with all that is on it. Type its id ({id}) to confirm: "
    );
    TerminalPrompt::new(true).ask(&question, false).map(|line| line.trim().into())
}

/// The text of a token; what is longer than any is handed on, to be refused as what it is.
fn read_token(file: &Path, machine: &PlatformMachine) -> Result<Vec<u8>, CliError> {
    let read = read_file::read(file, TEXT_BYTES_MAX as u64);
    read.map_err(|error| match error.reason {
        "config-too-large" => {
            let what = format!("{machine}: nothing destroyed: this is no gate token");
            CliError::new(ExitClass::Token, "token-malformed", what)
                .next("name the token that xfer gate wrote for this machine")
        }
        _ => error,
    })
}

/// Tells that a machine is gone; `counted` adds to the outcome what came before it.
pub(super) fn conclude(
    destroyed: &Destroyed,
    counted: impl FnOnce(ResultBody) -> ResultBody,
    output: &Output,
) -> ExitClass {
    let Destroyed { machine, asked, per_hour } = destroyed;
    let by = if *asked { "" } else { "; an earlier run asked for it" };
    let message = format!("{machine}: destroyed, by this token{by}");
    let saved = |price: f64| format!(", at ${price:.4}/h until then: ${:.2} a day", price * 24.0);
    let cost = per_hour.map_or_else(String::new, saved);
    let text = format!(
        "{message}\n  gone      by its id and by the platform's complete list\n  \
         meter     stopped{cost}\n"
    );
    output.result(text.as_bytes());
    output.last(counted(ResultBody {
        message,
        machine_state: Some(MachineReason::Gone.state()),
        output: Some(text),
        ..result_of(ExitClass::Done, "destroyed")
    }));
    ExitClass::Done
}

/// What goes on with a destruction is the same command, as typed.
fn with_same_command(error: CliError, machine: &PlatformMachine, token: &Path) -> CliError {
    let goes_on = error.class.retry() == Retry::SameCommand;
    let (true, Some(token), Some(id)) = (goes_on, token.to_str(), machine.name()) else {
        return error;
    };
    let words = ["xfer", "destroy", &machine.to_string(), "--token", token, "--confirm", id];
    let argv: Vec<_> = words.map(str::to_owned).to_vec();
    let shown = Escaped(argv.join(" ").as_bytes()).to_string();
    let text = format!("repeat the same command, which follows it: {shown}");
    let mut remedies = vec![Remedy { text, argv }];
    remedies.extend(error.remedies.into_iter().filter(|remedy| !remedy.text.starts_with("repeat")));
    CliError { remedies, ..error }
}
