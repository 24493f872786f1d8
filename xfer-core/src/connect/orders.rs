//! Machines of platforms are started and stopped as well as reached.

use super::Connector;
use super::platform::named;
use super::platform_refusals::not_running;
use crate::discover::{MachineRow, Ordered};
use crate::error::{Failure, PlatformReason, Remedy, TransferError};
use crate::location::PlatformMachine;

impl Connector {
    /// Has a stopped machine started.
    ///
    /// # Errors
    /// Where the platform cannot be asked, says no, or there is no such machine.
    pub(crate) async fn start_machine(
        &self,
        machine: &PlatformMachine,
    ) -> Result<Ordered, TransferError> {
        let name = named(machine)?;
        let asked = self.platforms.of(machine.platform, self).await?;
        match asked.start(name).await {
            Ordered::Refused(said) => {
                let next = "look at it in the platform's own console; its disk is kept meanwhile";
                let failure = Failure::new(machine.to_string(), PlatformReason::Refused)
                    .detail("why", format!("it does not start it: {said}"));
                Err(TransferError::Platform(failure.next(Remedy::text(next))))
            }
            Ordered::AlreadyGone => Err(not_running(&machine.to_string(), None)),
            ordered => Ok(ordered),
        }
    }

    /// Has a machine stopped, or a start that waits taken back.
    ///
    /// # Errors
    /// Where the platform cannot be asked.
    pub(crate) async fn stop_machine(
        &self,
        machine: &PlatformMachine,
    ) -> Result<Ordered, TransferError> {
        let name = named(machine)?;
        Ok(self.platforms.of(machine.platform, self).await?.stop(name).await)
    }

    /// What a machine that does not run is told with.
    pub(crate) fn not_running(&self, row: &MachineRow) -> TransferError {
        not_running(&row.machine.to_string(), Some(row))
    }
}
