//! Evacuating a machine: what is asked of a gate and of a destruction around the copy.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::collect::{Collecting, GateRequest};
use super::destroy::{Destroyed, Destruction, destroy};
use crate::connect::Connector;
use crate::discover::{MachineRow, Ordered, Shown};
use crate::engine::outcome;
use crate::error::TransferError;
use crate::event::{Event, SharedObserver};
use crate::gate::token::Token;
use crate::journal::tokens::TokenRecords;
use crate::location::PlatformMachine;
use crate::trust::found_in;

/// What a gate would protect.
#[derive(Clone, Debug)]
pub struct Protected {
    /// The roots, resolved on the machine: each an absolute path.
    pub roots: Vec<Vec<u8>>,
    /// The machine as its platform tells of it, where one rents it out.
    pub row: Option<Box<MachineRow>>,
}

/// Asks a machine what a gate would protect of it.
///
/// # Errors
/// What keeps the machine from being reached.
pub fn protected<'a>(
    request: &'a GateRequest,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> BoxFuture<'a, Result<Protected, TransferError>> {
    Box::pin(async move {
        let collecting = Collecting::begin(request, connector, observer, cancel)?;
        let machine = &request.machine.machine;
        let end = tokio::select! {
            end = collecting.connector.connect(machine, &collecting.options) => end?,
            () = collecting.cancel.cancelled() => return Err(Collecting::stopped()),
        };
        let roots = collecting.roots(request, &end).await;
        end.source.close().await;
        Ok(Protected { roots: roots?, row: end.rented })
    })
}

/// Follows a destruction that an earlier run began: gone by a token that was spent here, or `None`
/// where there is none to follow, or where the machine still runs as if nobody had asked.
///
/// # Errors
/// What is known of the end where it is not known to be over.
pub fn followed(
    asked: Destruction,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> BoxFuture<'static, Result<Option<Destroyed>, TransferError>> {
    Box::pin(async move {
        let state = connector.state_directory().map_err(|error| connector.unusable(error))?;
        let Some(key) = found_in(&state.path_of("")).map_err(outcome::trust)? else {
            return Ok(None);
        };
        let records = TokenRecords::of(&state).map_err(outcome::state)?;
        let place = asked.machine.to_string();
        let spent = records.spent().map_err(outcome::state)?.into_iter();
        let of_it = spent.filter_map(|text| {
            let token = Token::read(&text, &key).ok().filter(|token| token.machine == place)?;
            Some((token.issued.here.day, text))
        });
        let Some((_, token)) = of_it.max() else { return Ok(None) };
        let machine = asked.machine.clone();
        let asked = Destruction { token, follows_only: true, ..asked };
        match destroy(asked, connector.clone(), Arc::clone(&observer), cancel).await {
            Ok(destroyed) => Ok(Some(destroyed)),
            Err(TransferError::Stopped { signal }) => Err(TransferError::Stopped { signal }),
            Err(error) => match connector.shown(&machine).await {
                Ok(Shown::Present(_)) => {
                    let text = format!("{place} runs on after an earlier destruction: {error}");
                    observer.observe(&Event::Notice(text));
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    })
}

/// Has a machine stopped that may not be destroyed; its disk is kept, and paid for.
///
/// # Errors
/// Where the platform cannot be asked.
pub fn stop<'a>(
    machine: &'a PlatformMachine,
    connector: &'a Connector,
) -> BoxFuture<'a, Result<Ordered, TransferError>> {
    Box::pin(async move { connector.stop_machine(machine).await })
}
