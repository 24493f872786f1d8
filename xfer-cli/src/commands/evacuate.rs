//! `xfer evacuate`: everything of a machine to a safe place, and then the machine's end.

use std::ffi::OsStr;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use xfer_core::connect::Connector;
use xfer_core::discover::Ordered;
use xfer_core::engine::release::{self, Destruction, GateRequest, Judged, Protected};
use xfer_core::engine::{self, Summary, Transfer};
use xfer_core::error::{ExitClass, TransferError};
use xfer_core::event::Event;
use xfer_core::gate::verdict::Verdict;
use xfer_core::location::{Location, Machine, PlatformMachine};
use xfer_core::options::VerifyLevel;

use super::gate::{acknowledged, check_machine, policy};
use super::transfer::{conclude, counted, output_failure, print_plan, summary_text, tell_proof};
use super::{Context, destroy, gate, machines, reach};
use crate::Outcome;
use crate::args::{EvacuateVerb, OnHold};
use crate::output::Output;
use crate::output::json::{Body, ResultBody};
use crate::output::machine::MachineBody;
use crate::problem::CliError;
use crate::reporter::{Reporter, State};
use crate::settings::CopySettings;

/// How long a destruction of an earlier run is followed before anything is done anew.
const FOLLOWED_FIRST: std::time::Duration = std::time::Duration::from_secs(10);

/// Copies, reads back, asks the gate and, where that was asked for, destroys.
pub(super) fn evacuate(context: &Context, asked: EvacuateVerb) -> Outcome {
    check_machine(&asked.location)?;
    let output = &context.output;
    let doomed = doomed(&asked, output)?;
    let connector = reach::connector(context)?;
    let mut settings = CopySettings::resolve(&context.merged, &context.around)?;
    if context.merged.all("verify").is_empty() {
        settings.options.verify.level = VerifyLevel::ReadBack;
    }
    let policy = policy(context, asked.policy.as_deref(), &asked.trusted)?;
    let request = GateRequest {
        machine: asked.location.clone(),
        roots: asked.roots.clone(),
        receipts: Vec::new(),
        policy,
        // The gate asks it of what is read back; once is enough.
        load_command: settings.options.verify.load_check.take(),
        acknowledged: acknowledged(&asked.acks)?,
        options: settings.options.clone(),
    };
    let evacuating = Evacuating { context, connector, settings, request, doomed };
    match evacuating.perform(&asked) {
        Ok(class) => Ok(class),
        Err(Ended::Told(class)) => Ok(class),
        Err(Ended::Failed(error)) => Err(error),
    }
}

/// The machine that goes, where that was asked for and confirmed by its id.
fn doomed(asked: &EvacuateVerb, output: &Output) -> Result<Option<PlatformMachine>, CliError> {
    if !asked.destroy {
        return match asked.confirm {
            None => Ok(None),
            Some(_) => Err(CliError::usage("not-destroyed", "--confirm has nothing to confirm")
                .next("add --destroy, or leave --confirm out")),
        };
    }
    let machine = Location { machine: asked.location.machine.clone(), path: Vec::new() };
    let name = machine.to_bytes();
    let name = name.strip_suffix(b":").unwrap_or(&name);
    let (_, machine) = destroy::one_machine(OsStr::from_bytes(name))?;
    let id = machine.name().unwrap_or_default();
    destroy::confirmed(&machine, id, asked.confirm.as_deref(), output)?;
    Ok(Some(machine))
}

/// What ended an evacuation before its end.
enum Ended {
    /// All is said.
    Told(ExitClass),
    Failed(CliError),
}

struct Evacuating<'a> {
    context: &'a Context,
    connector: Connector,
    settings: CopySettings,
    request: GateRequest,
    doomed: Option<PlatformMachine>,
}

impl Evacuating<'_> {
    fn perform(mut self, asked: &EvacuateVerb) -> Result<ExitClass, Ended> {
        let place = std::slice::from_ref(&asked.location);
        self.reporter().begun(place, &asked.destination);
        if let Some(class) = self.follow()? {
            return Ok(class);
        }
        let roots = self.protected()?;
        self.request.roots.clone_from(&roots);
        self.request.machine.path.clear();
        let summary = self.copy(roots, &asked.destination)?;
        if self.settings.dry_run || summary.class != ExitClass::Done {
            return Ok(conclude(&summary, self.settings.dry_run, &self.context.output));
        }
        let judged = self.judge()?;
        let copied = |body| ResultBody { elapsed_s: 0.0, ..counted(body, &summary) };
        match (&judged.verdict, &judged.token, &self.doomed) {
            (Verdict::Release(_), Some(token), Some(machine)) => {
                gate::tell_release(&judged, &self.context.output);
                self.destroy(machine.clone(), token.clone().into_bytes(), copied)
            }
            (Verdict::Hold(_), ..) if asked.on_hold == OnHold::Stop => {
                let class = gate::conclude(&judged, None, copied, &self.context.output);
                self.stop(asked);
                class.map_err(Ended::Failed)
            }
            _ => gate::conclude(&judged, asked.token.as_deref(), copied, &self.context.output)
                .map_err(Ended::Failed),
        }
    }

    fn reporter(&self) -> Arc<Reporter> {
        Reporter::new(Arc::clone(&self.context.output), self.context.verb, self.settings.dry_run)
    }

    /// Runs one part of it; a failure is told and ends all.
    fn part<T, F>(&self, work: impl FnOnce(reach::Reach) -> F) -> Result<T, Ended>
    where
        F: Future<Output = Result<T, TransferError>>,
    {
        self.part_told(work, |_, _| ())
    }

    /// The same, told by what was seen of it.
    fn part_told<T, F>(
        &self,
        work: impl FnOnce(reach::Reach) -> F,
        tell: impl FnOnce(&State, &T),
    ) -> Result<T, Ended>
    where
        F: Future<Output = Result<T, TransferError>>,
    {
        let reporter = self.reporter();
        match reach::run(self.connector.clone(), &reporter, work) {
            Ok(done) => {
                reporter.finish(|state| tell(state, &done));
                Ok(done)
            }
            Err(error) => {
                let error = CliError::from(error);
                output_failure(&reporter, &error, &self.context.output);
                Err(Ended::Told(error.class))
            }
        }
    }

    /// Follows what an earlier run began.
    fn follow(&self) -> Result<Option<ExitClass>, Ended> {
        let Some(machine) = self.doomed.clone().filter(|_| !self.settings.dry_run) else {
            return Ok(None);
        };
        let options = self.settings.options.clone();
        let asked = Destruction {
            machine,
            token: Vec::new(),
            options,
            followed: FOLLOWED_FIRST,
            follows_only: true,
        };
        let followed = self.part(|reach| async move {
            release::followed(asked, reach.connector, reach.observer, reach.cancel).await
        })?;
        let conclude = |destroyed| destroy::conclude(&destroyed, |body| body, &self.context.output);
        Ok(followed.map(conclude))
    }

    /// The roots; and first what the machine costs, and what may end it meanwhile.
    fn protected(&self) -> Result<Vec<Vec<u8>>, Ended> {
        let request = self.request.clone();
        let Protected { roots, row } = self.part(|reach| async move {
            release::protected(&request, reach.connector, reach.observer, reach.cancel).await
        })?;
        if let Some(row) = row {
            let told = machines::facts(&row).into_iter();
            let told = told.filter(|(label, _)| ["price", "clock"].contains(label));
            let lines = told.map(|(label, fact)| format!("  {label:<9} {fact}\n"));
            self.context.output.say(&format!("{}\n{}", row.machine, lines.collect::<String>()));
            self.context.output.event(&Body::Machine(Box::new(MachineBody::from(&*row))));
        }
        Ok(roots)
    }

    fn copy(&self, roots: Vec<Vec<u8>>, destination: &Location) -> Result<Summary, Ended> {
        let machine = &self.request.machine.machine;
        let source = |path| Location { machine: machine.clone(), path };
        let transfer = Transfer {
            sources: roots.into_iter().map(source).collect(),
            destination: destination.clone(),
            options: self.settings.options.clone(),
            plan_only: self.settings.dry_run,
        };
        let moving = |reach: reach::Reach| {
            // The whole was told to begin.
            let told = reach.observer;
            let observer = Arc::new(move |event: &Event| {
                if !matches!(event, Event::Begun { .. }) {
                    told.observe(event);
                }
            });
            engine::run(transfer, reach.connector, observer, reach.cancel)
        };
        self.part_told(moving, |state, summary| {
            let output = &self.context.output;
            if self.settings.dry_run {
                print_plan(state, output);
            } else {
                tell_proof(summary, self.settings.options.verify.level, output);
                output.say(&summary_text(summary));
            }
        })
    }

    fn judge(&self) -> Result<Judged, Ended> {
        let request = self.request.clone();
        self.part(|reach| release::gate(request, reach.connector, reach.observer, reach.cancel))
    }

    fn destroy(
        &self,
        machine: PlatformMachine,
        token: Vec<u8>,
        copied: impl FnOnce(ResultBody) -> ResultBody,
    ) -> Result<ExitClass, Ended> {
        let options = self.settings.options.clone();
        let asked = Destruction {
            machine,
            token,
            options,
            followed: release::FOLLOWED,
            follows_only: false,
        };
        let destroyed = self.part(|reach| async move {
            release::destroy(asked, reach.connector, reach.observer, reach.cancel).await
        })?;
        Ok(destroy::conclude(&destroyed, copied, &self.context.output))
    }

    /// Stops a machine that may not go: its disk is kept.
    fn stop(&self, asked: &EvacuateVerb) {
        let Machine::Platform(machine) = &asked.location.machine else { return };
        let output = &self.context.output;
        let stopping = crate::runtime::start()
            .map_err(|_| TransferError::Internal("the runtime could not be started"))
            .and_then(|runtime| runtime.block_on(release::stop(machine, &self.connector)));
        let said = match stopping {
            Ok(Ordered::Accepted) => "is being stopped; its disk is kept, and paid for".to_owned(),
            Ok(Ordered::AlreadyGone) => "is gone, the platform says".to_owned(),
            Ok(Ordered::Refused(why) | Ordered::Unknown(why)) => format!("is not stopped: {why}"),
            Err(error) => format!("is not stopped: {error}"),
        };
        output
            .warn(&format!("xfer: {machine} {}\n", xfer_protocol::path::Escaped(said.as_bytes())));
    }
}
