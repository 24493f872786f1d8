//! The machine of a platform that this process runs on: its files are these files, and what the
//! platform tells of it is asked as of any other.

use std::sync::Arc;
use std::time::Duration;

use super::platform::dangers;
use super::platform_refusals::{api_error, not_running};
use super::{Connected, Connector};
use crate::discover::{MachineRow, Shown};
use crate::disk::base::Base;
use crate::endpoint::local::{LocalEndpoint, LocalOptions};
use crate::error::{Failure, PlatformReason, TransferError, UsageReason};
use crate::location::{LocationError, LocationReason, PlatformKind};
use crate::options::TransferOptions;

/// How long prices and clocks of this machine are waited for; its files are here without them.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// This machine, as its platform tells of it, or else as it knows itself.
pub(super) struct Itself {
    pub(super) row: MachineRow,
    /// Why the platform tells nothing of it.
    pub(super) untold: Option<TransferError>,
}

impl Connector {
    /// The machine of a platform that this process runs on.
    ///
    /// # Errors
    /// Where it does not run on one, or the machine does not know which it is.
    pub(super) async fn itself(&self, platform: PlatformKind) -> Result<Itself, TransferError> {
        let Some(row) = self.platforms.itself(platform) else {
            let text = format!("{}:self", platform.name()).into_bytes();
            let error = LocationError { text, reason: LocationReason::NotOnMachine };
            return Err(UsageReason::from(error).into());
        };
        let asking = async {
            let (name, place) = (row.machine.name().unwrap_or_default(), row.machine.to_string());
            let asked = self.platforms.of(platform, self).await?;
            asked.show(name).await.map_err(|error| api_error(&place, error))
        };
        let told = tokio::time::timeout(TOLD_WITHIN, asking).await;
        Ok(match told {
            Ok(Ok(Shown::Present(told))) => Itself { row: *told, untold: None },
            Ok(Ok(Shown::Gone)) => {
                let gone = not_running(&row.machine.to_string(), None);
                Itself { row, untold: Some(gone) }
            }
            Ok(Err(error)) => Itself { row, untold: Some(error) },
            Err(_) => {
                let failure = Failure::new(row.machine.to_string(), PlatformReason::Unreached);
                Itself { row, untold: Some(TransferError::Platform(failure)) }
            }
        })
    }

    /// The files of this machine, under the name that its platform gives it.
    pub(super) async fn on_itself(
        &self,
        platform: PlatformKind,
        options: &TransferOptions,
    ) -> Result<Connected, TransferError> {
        let Itself { row, untold } = self.itself(platform).await?;
        let mut notices = dangers(&row, self.clock.now().seconds);
        notices.extend(untold.map(|error| {
            format!("{} is this machine; what it costs is not known: {error}", row.machine)
        }));
        let here = Connected::here(Arc::new(local(Base::Home, options)));
        Ok(Connected { rented: Some(Box::new(row)), notices, ..here })
    }
}

/// The files of this machine, where relative paths begin as said.
pub(super) fn local(base: Base, options: &TransferOptions) -> LocalEndpoint {
    LocalEndpoint::new(LocalOptions {
        base,
        devices: options.preserve.devices,
        owner: options.preserve.owner,
        times: options.preserve.times,
        xattrs: options.preserve.xattrs,
        acls: options.preserve.acls,
        ..LocalOptions::default()
    })
}
