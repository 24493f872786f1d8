//! Waits for machines of platforms that do not run, and starts them where that was asked for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::vigil::{Step, Vigil, patience};
use crate::discover::{MachineRow, Ordered};
use crate::error::{
    AuthenticationReason, MachineReason, NetworkReason, PlatformReason, StopSignal, TransferError,
};
use crate::event::Event;
use crate::location::{Machine, PlatformMachine, Which};

/// How long a start may take to be taken back while the user waits for the end.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(10);

/// A machine that has just begun to run takes so long at most until its sshd lets us in.
const WAKES_WITHIN: Duration = Duration::from_secs(180);

/// What a transfer has waited for so far.
#[derive(Debug, Default)]
pub(super) struct Waited {
    /// What was dealt with when the wait began, and when it ends.
    bound: Option<(u64, Duration)>,
}

impl Shared {
    /// Whether an error is that of a machine which may run later, and is to be waited for.
    pub(super) fn is_worth_waiting(&self, error: &TransferError) -> bool {
        let TransferError::NotRunning(failure) = error else { return false };
        let options = self.transfer.options.machine;
        let is_asked = match failure.reason {
            MachineReason::Gone => false,
            MachineReason::Stopped | MachineReason::Outbid | MachineReason::Starting
                if self.may_start() =>
            {
                true
            }
            // Nothing that was asked for by a start alone brings these back.
            _ => options.wait.is_some_and(|wait| !wait.is_zero()),
        };
        is_asked && !self.transfer.plan_only
    }

    /// Whether a machine that is stopped is to be started: whoever stops one in the middle of a
    /// transfer means it.
    fn may_start(&self) -> bool {
        self.transfer.options.machine.start && !self.reached.load(Ordering::Relaxed)
    }

    /// Returns once every machine runs that the transfer names.
    ///
    /// # Errors
    /// When one does not within its time, is gone, or the user stops.
    pub(super) async fn wait_for_machines(&self, waited: &mut Waited) -> Result<(), TransferError> {
        let (done, now) = (self.meter.dealt_with(), self.clock.elapsed());
        let anew = (done, now + patience(self.transfer.options.machine));
        // Without progress it is the same wait: a machine may begin to run and stop for ever.
        let (_, until) = waited.bound.filter(|(before, _)| done <= *before).unwrap_or(anew);
        waited.bound = Some((done, until));
        let ends = self.transfer.sources.iter().chain([&self.transfer.destination]);
        let mut machines: Vec<&PlatformMachine> = Vec::new();
        for end in ends {
            match &end.machine {
                Machine::Platform(machine)
                    if matches!(machine.which, Which::Named(_)) && !machines.contains(&machine) =>
                {
                    machines.push(machine);
                }
                _ => {}
            }
        }
        for machine in machines {
            self.wait_for(machine, until).await?;
        }
        let woke = self.clock.elapsed().saturating_add(Duration::from_nanos(1));
        self.woke.store(u64::try_from(woke.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }

    /// Whether a machine began to run so lately that it may yet take its time to answer.
    pub(super) fn is_waking(&self, error: &TransferError) -> bool {
        let woke = Duration::from_nanos(self.woke.load(Ordering::Relaxed));
        let lately = self.clock.elapsed().saturating_sub(woke) < WAKES_WITHIN;
        let may_pass = match error {
            TransferError::Network(failure) => {
                !matches!(failure.reason, NetworkReason::Lost | NetworkReason::Stalled)
            }
            TransferError::Authentication(failure) => {
                failure.reason == AuthenticationReason::KeyRefused
            }
            TransferError::Platform(failure) => failure.reason == PlatformReason::NoLogin,
            _ => false,
        };
        !woke.is_zero() && lately && may_pass
    }

    async fn wait_for(
        &self,
        machine: &PlatformMachine,
        until: Duration,
    ) -> Result<(), TransferError> {
        let mut vigil = Vigil::new(until, self.may_start());
        let waiting = self.watch(machine, &mut vigil);
        let ended = tokio::select! {
            ended = waiting => ended,
            () = self.cancel.cancelled() => {
                Err(TransferError::Stopped { signal: StopSignal::Interrupt })
            }
        };
        if ended.is_err() && vigil.has_started() {
            self.take_back(machine).await;
        }
        ended
    }

    async fn watch(
        &self,
        machine: &PlatformMachine,
        vigil: &mut Vigil,
    ) -> Result<(), TransferError> {
        let mut is_told = false;
        loop {
            let shown = self.connector.machine(machine).await;
            if let Err(error) = &shown
                && !may_pass(error)
            {
                return Err(error.clone());
            }
            let state = shown.as_ref().ok().map(|row| row.state);
            let step = vigil.step(state, self.clock.elapsed());
            if step != Step::Go && !std::mem::replace(&mut is_told, true) {
                let what = state.map_or("not known to run", |state| state.name());
                self.tell(format!("{machine} is {what}, and waited for"));
            }
            match step {
                Step::Go => return Ok(()),
                Step::GiveUp => return Err(self.given_up(shown)),
                Step::Start => {
                    let given = self.start(machine).await;
                    given.inspect_err(|_| vigil.was_not_started())?;
                }
                Step::TellStall => self.tell(format!(
                    "{machine} has not begun to run for 30 s: somebody else seems to rent its \
                     processors, which can take hours; a stop of xfer takes the start back"
                )),
                Step::Wait => {}
            }
            tokio::time::sleep(vigil.pause(self.clock.elapsed())).await;
        }
    }

    /// What the end of a wait is told with.
    fn given_up(&self, shown: Result<MachineRow, TransferError>) -> TransferError {
        match shown {
            Ok(row) => self.connector.not_running(&row),
            Err(error) => error,
        }
    }

    async fn start(&self, machine: &PlatformMachine) -> Result<(), TransferError> {
        match self.connector.start_machine(machine).await? {
            Ordered::Accepted => self.tell(format!("{machine} is being started")),
            Ordered::Unknown(why) => {
                let text = format!("{machine}: it is not known whether the start was heard: {why}");
                self.tell(text);
            }
            Ordered::AlreadyGone | Ordered::Refused(_) => {}
        }
        Ok(())
    }

    /// A start that nobody waits for any more must not cost one day.
    async fn take_back(&self, machine: &PlatformMachine) {
        let stopping = self.connector.stop_machine(machine);
        let said = tokio::time::timeout(TAKEN_BACK_WITHIN, stopping).await;
        self.tell(match said {
            Ok(Ok(Ordered::Accepted | Ordered::AlreadyGone)) => {
                format!("{machine}: its start was taken back, so that it does not cost later")
            }
            _ => format!(
                "{machine}: whether its start was taken back is not known: look at it, for it \
                 costs once it runs"
            ),
        });
    }

    fn tell(&self, text: String) {
        self.observer.observe(&Event::Notice(text));
    }
}

/// Whether nobody knows a machine's state for now.
fn may_pass(error: &TransferError) -> bool {
    let TransferError::Platform(failure) = error else { return false };
    matches!(failure.reason, PlatformReason::Unreached | PlatformReason::Busy)
}
