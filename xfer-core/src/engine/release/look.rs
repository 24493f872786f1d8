//! A machine as it is now: what a token is held against, and bound to.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use xfer_protocol::fault::{Fault, FaultKind};

use super::identity::{identity, named};
use super::quick::{QuickError, stamps_of};
use crate::connect::{Connected, Connector};
use crate::endpoint::EndpointError;
use crate::engine::context::Context;
use crate::engine::ledger::Side;
use crate::engine::{Shared, Transfer};
use crate::error::{Failure, ProtocolFailure, Remedy, StopSignal, TransferError};
use crate::event::SharedObserver;
use crate::gate::token::Seen;
use crate::gate::verdict::over_roots;
use crate::location::{Location, Machine};
use crate::options::{RouteChoice, TransferOptions};

/// Why a machine is not seen.
#[derive(Debug)]
pub(crate) enum Unseen {
    /// What stands there is not what stood there: a root is gone, or cannot be listed any more.
    Changed(String),
    /// It cannot be reached, or does not tell.
    Failed(TransferError),
}

impl From<TransferError> for Unseen {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}

/// Looks at a machine once: who it is, and the stamps of all entries below its roots. It changes
/// nothing there.
///
/// # Errors
/// What keeps it from being reached or read.
pub fn look<'a>(
    machine: &'a Machine,
    roots: &'a [Vec<u8>],
    options: TransferOptions,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> BoxFuture<'a, Result<Seen, TransferError>> {
    Box::pin(async move {
        let looking = Looking::new(machine, options, connector, observer, cancel);
        looking.look(roots).await.map_err(|unseen| match unseen {
            Unseen::Failed(error) => error,
            Unseen::Changed(why) => {
                let failure = Failure::new(looking.place(), ProtocolFailure::Unlisted);
                TransferError::Protocol(failure.detail("why", why))
            }
        })
    })
}

/// What looks at one machine.
pub(super) struct Looking {
    pub(super) machine: Machine,
    pub(super) shared: Shared,
}

impl Looking {
    pub(super) fn new(
        machine: &Machine,
        mut options: TransferOptions,
        connector: Connector,
        observer: SharedObserver,
        cancel: CancellationToken,
    ) -> Self {
        // Little is asked, and no payload moves.
        options.network.route = RouteChoice::Ssh;
        let location = Location { machine: machine.clone(), path: Vec::new() };
        let sources = vec![location.clone()];
        let transfer = Transfer { sources, destination: location, options, plan_only: true };
        let shared = Shared::new(transfer, connector, observer, cancel);
        Self { machine: machine.clone(), shared }
    }

    /// Looks over a fresh login.
    pub(super) async fn look(&self, roots: &[Vec<u8>]) -> Result<Seen, Unseen> {
        let options = &self.shared.transfer.options;
        let end = self.unless_stopped(self.shared.connector.connect(&self.machine, options));
        let end = end.await??;
        let seen = self.unless_stopped(self.seen(&end, roots)).await;
        end.source.close().await;
        seen?
    }

    async fn seen(&self, end: &Connected, roots: &[Vec<u8>]) -> Result<Seen, Unseen> {
        let machine = named(end, &self.machine);
        let told = identity(&*end.source, &machine, false).await;
        let identity = told.map_err(|error| self.untold(error))?;
        let mut stamps = Vec::with_capacity(roots.len());
        for root in roots {
            let source = Arc::clone(&end.source);
            match stamps_of(source, root, &self.shared.cancel).await {
                Ok(digest) => stamps.push((root.clone(), digest)),
                Err(error) => return Err(self.unlisted(error)),
            }
        }
        let machine = match &machine {
            Machine::Platform(machine) => machine.to_string(),
            _ => self.shared.transfer.destination.to_string(),
        };
        Ok(Seen { machine, identity, stamps: over_roots(stamps) })
    }

    fn untold(&self, error: EndpointError) -> Unseen {
        let EndpointError::Fault(Fault { kind: FaultKind::Unsupported, .. }) = error else {
            return self.error(error).into();
        };
        let next = "it takes an agent of this version there, over SSH; see xfer probe";
        let failure = Failure::new(self.place(), ProtocolFailure::NoIdentity);
        Unseen::Failed(TransferError::Protocol(failure.next(Remedy::text(next))))
    }

    fn unlisted(&self, error: QuickError) -> Unseen {
        match error {
            QuickError::Endpoint(EndpointError::Fault(fault)) => Unseen::Changed(fault.to_string()),
            QuickError::Endpoint(error) => self.error(error).into(),
            QuickError::Unlisted(fault) => Unseen::Changed(fault.to_string()),
            QuickError::Stopped => stopped().into(),
        }
    }

    fn error(&self, error: EndpointError) -> TransferError {
        self.shared.error_of(Context::stop(Side::Source, error))
    }

    fn place(&self) -> String {
        self.shared.transfer.destination.to_string()
    }

    /// What comes of work, unless a stop is asked for meanwhile.
    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, TransferError> {
        tokio::select! {
            biased;
            () = self.shared.cancel.cancelled() => Err(stopped()),
            done = work => Ok(done),
        }
    }
}

/// A stop that was asked for.
pub(super) fn stopped() -> TransferError {
    TransferError::Stopped { signal: StopSignal::Interrupt }
}
