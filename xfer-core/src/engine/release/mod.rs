//! Releasing a machine: what is collected for a verdict, and the destruction that a token allows.

mod collect;
mod covering;
mod destination;
mod destroy;
mod evacuate;
mod identity;
mod lines;
mod loads;
mod look;
mod quick;
mod receipts;
mod roots;

use futures_util::future::LocalBoxFuture;
use tokio_util::sync::CancellationToken;

use super::outcome;
use crate::clock::Clock;
use crate::connect::Connector;
use crate::discover::MachineRow;
use crate::error::TransferError;
use crate::event::SharedObserver;
use crate::gate::evidence::{Evidence, Moment};
use crate::gate::policy::Policy;
use crate::gate::token::Token;
use crate::gate::verdict::{Verdict, evaluate};
use crate::journal::tokens::TokenRecords;
use collect::Collecting;

pub use collect::GateRequest;
pub use destroy::{Destroyed, Destruction, FOLLOWED, destroy};
pub use evacuate::{Protected, followed, protected, stop};
pub(super) use identity::{named, names};
pub use look::look;

/// Now, by both clocks.
#[must_use]
pub fn moment(clock: &dyn Clock) -> Moment {
    Moment { day: clock.now().seconds, boot: clock.since_boot() }
}

/// What a gate found, and what it says.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Whether the machine may be destroyed.
    pub verdict: Verdict,
    /// The line of a token, where it may: whoever has it and this state directory may destroy.
    pub token: Option<String>,
    /// All that the verdict was made of.
    pub evidence: Evidence,
    /// The machine as its platform tells of it, where one rents it out and it was reached.
    pub row: Option<Box<MachineRow>>,
}

/// Collects evidence on a machine, and decides whether it may be destroyed. A token is recorded
/// durably before it is given.
///
/// # Errors
/// What kept it from being decided at all; whatever is not known is no error, but holds.
pub fn gate(
    request: GateRequest,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> LocalBoxFuture<'static, Result<Judged, TransferError>> {
    Box::pin(async move {
        let collecting = Collecting::begin(&request, connector, observer, cancel)?;
        let (evidence, row) = collecting.collect(&request).await?;
        let load_check = request.policy.load_check || request.load_command.is_some();
        let policy = Policy { load_check, ..request.policy.clone() };
        let verdict = evaluate(&evidence, &policy, &collecting.moment());
        let token = match &verdict {
            Verdict::Hold(_) => None,
            Verdict::Release(release) => {
                let mut name = [0; 32];
                getrandom::fill(&mut name)
                    .map_err(|_| TransferError::Internal("the system gives no random bytes"))?;
                let token = Token::of(release, collecting.key.public(), name, None);
                let token = token.ok_or(TransferError::Internal("a release without a moment"))?;
                let text = token.sign(&collecting.key);
                let roots: Vec<_> = evidence.roots.iter().map(|root| root.path.clone()).collect();
                let records = TokenRecords::of(&collecting.state).map_err(outcome::state)?;
                let unique = collecting.connector.unique();
                records.issue(&name, &text, &roots, unique).map_err(outcome::state)?;
                Some(text)
            }
        };
        Ok(Judged { verdict, token, evidence, row })
    })
}
