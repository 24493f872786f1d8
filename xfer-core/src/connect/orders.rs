//! Machines of platforms are started, stopped and destroyed as well as reached.

use super::Connector;
use super::platform::named;
use super::platform_refusals::{api_error, not_running};
use crate::discover::{MachineRow, Ordered, Shown};
use crate::error::{Failure, PlatformReason, Remedy, TransferError};
use crate::location::{PlatformKind, PlatformMachine};

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

    /// Whether xfer has a means to destroy machines of a platform.
    #[must_use]
    pub fn can_destroy(platform: PlatformKind) -> bool {
        match platform {
            PlatformKind::Vast | PlatformKind::Sky => true,
            PlatformKind::RunPod | PlatformKind::Lambda => false,
        }
    }

    /// What a platform says of a machine now: gone only by its id and by a complete list.
    ///
    /// # Errors
    /// Where nobody knows.
    pub(crate) async fn shown(&self, machine: &PlatformMachine) -> Result<Shown, TransferError> {
        let name = named(machine)?;
        let asked = self.platforms.of(machine.platform, self).await?;
        let shown = asked.show_before_and_after(name).await;
        shown.map_err(|error| api_error(&machine.to_string(), error))
    }

    /// Has a machine destroyed, with its disk; asked once, whatever comes of it.
    ///
    /// # Errors
    /// Where the platform cannot be asked: then nothing was sent.
    pub(crate) async fn destroy_machine(
        &self,
        machine: &PlatformMachine,
    ) -> Result<Ordered, TransferError> {
        let name = named(machine)?;
        Ok(self.platforms.of(machine.platform, self).await?.destroy(name).await)
    }

    /// The same, reaching machines by host keys alone that are known already.
    #[must_use]
    pub(crate) fn strictly(mut self) -> Self {
        self.ssh.options.insert(0, "StrictHostKeyChecking=yes".to_owned());
        self
    }

    /// What a machine that does not run is told with.
    pub(crate) fn not_running(&self, row: &MachineRow) -> TransferError {
        not_running(&row.machine.to_string(), Some(row))
    }
}
