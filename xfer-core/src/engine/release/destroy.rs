//! The destruction that a token allows: performed as [`destroy::next`] says, with everything looked
//! at anew before each step.
//!
//! The token is held from before the first step to the last and spent durably before the request,
//! which is sent once. Whatever ends the process in between, the next one that is given the same
//! token begins at the top: it finds the token spent and the machine gone, going, or as it was.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::look::{Looking, Unseen};
use super::moment;
use crate::clock::backoff;
use crate::connect::Connector;
use crate::discover::{MachineRow, MachineState, Ordered, Shown as Told};
use crate::engine::outcome;
use crate::error::{
    DestroyReason, ExitClass, Failure, Remedy, TokenReason, TransferError, UsageReason,
};
use crate::event::{Event, SharedObserver};
use crate::gate::destroy::{self, Asked, Outcome, Record, Shown, Situation, Step};
use crate::gate::token::{Times, Token, TokenRefusal};
use crate::journal::tokens::{HeldToken, TokenError, TokenRecord, TokenRecords};
use crate::location::{Machine, PlatformMachine};
use crate::options::TransferOptions;
use crate::trust::found_in;

/// How long a destruction that the platform took is followed.
pub const FOLLOWED: Duration = Duration::from_secs(300);

/// Time between two looks at the platform, at most.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What is to be destroyed, and by which token.
#[derive(Clone, Debug)]
pub struct Destruction {
    /// The machine; one that is named.
    pub machine: PlatformMachine,
    /// The token's text.
    pub token: Vec<u8>,
    /// How the machine is reached.
    pub options: TransferOptions,
    /// How long it is followed once the token is spent; by itself [`FOLLOWED`].
    pub followed: Duration,
    /// Follows what an earlier run asked for, and asks for nothing.
    pub follows_only: bool,
}

/// A machine that is gone by its token.
#[derive(Clone, Debug, PartialEq)]
pub struct Destroyed {
    /// The machine, as locations name it.
    pub machine: String,
    /// Whether this process asked for it; an earlier one did otherwise.
    pub asked: bool,
    /// US dollars an hour that it cost when it was seen last.
    pub per_hour: Option<f64>,
}

/// Destroys a machine, and follows it to the end.
///
/// Returns once the platform does not have it by its id, nor in a complete list, and the token was
/// spent for it, by this call or an earlier one. Dropping the future is as a crash is.
///
/// # Errors
/// Everything else. `Token` and what keeps the machine from being looked at come before anything is
/// spent or asked, but for `TokenReason::Spent`; `Destroy` says what is known of the end.
pub fn destroy(
    asked: Destruction,
    connector: Connector,
    observer: SharedObserver,
    cancel: CancellationToken,
) -> BoxFuture<'static, Result<Destroyed, TransferError>> {
    Box::pin(async move {
        let place = asked.machine.to_string();
        if !Connector::can_destroy(asked.machine.platform) || asked.machine.name().is_none() {
            return Err(UsageReason::NotDestroyed(place).into());
        }
        let refused = |refusal: TokenRefusal| refused(&place, refusal.into(), &[]);
        let state = connector.state_directory().map_err(|error| connector.unusable(error))?;
        let key = found_in(&state.path_of("")).map_err(outcome::trust)?;
        let key = key.ok_or_else(|| refused(TokenRefusal::OtherKey))?;
        let token = Token::read(&asked.token, &key).map_err(refused)?;
        if token.machine != place {
            return Err(refused(TokenRefusal::OtherMachine));
        }
        let records = TokenRecords::of(&state).map_err(|error| connector.unusable(error))?;
        let held = records.hold(&token.name).map_err(|error| match error {
            TokenError::State(error) => connector.unusable(error),
            _ => TransferError::Destroy(Failure::new(&place, DestroyReason::Busy)),
        })?;
        let machine = Machine::Platform(asked.machine.clone());
        let connector = connector.strictly();
        let looking = Looking::new(&machine, asked.options, connector, observer, cancel);
        let performing = Performing {
            machine: asked.machine,
            place,
            token,
            held,
            until: looking.shared.clock.elapsed() + asked.followed,
            followed: asked.followed,
            follows_only: asked.follows_only,
            looking,
            asked: Asked::No,
            said: None,
            row: None,
            looks: 0,
        };
        performing.perform().await
    })
}

/// What is seen of the machine in this breath.
enum Fit {
    /// What the token is for.
    Fits,
    /// Something else.
    Refused(TokenRefusal, Option<String>),
    /// Nobody can tell.
    Failed(TransferError),
}

impl Fit {
    fn known(&self) -> Result<(), TokenRefusal> {
        match self {
            Self::Fits => Ok(()),
            Self::Refused(refusal, _) => Err(*refusal),
            // What is not proven does not fit.
            Self::Failed(_) => Err(TokenRefusal::OtherContainer),
        }
    }
}

struct Performing<'a> {
    machine: PlatformMachine,
    place: String,
    token: Token,
    held: HeldToken<'a>,
    looking: Looking,
    followed: Duration,
    follows_only: bool,
    /// When looking ends.
    until: Duration,
    asked: Asked,
    /// What the platform answered, where it took nothing.
    said: Option<String>,
    /// The machine, as it was shown last.
    row: Option<Box<MachineRow>>,
    looks: u32,
}

impl Performing<'_> {
    async fn perform(mut self) -> Result<Destroyed, TransferError> {
        loop {
            let record = self.record()?;
            let (shown, why) = self.shown().await?;
            let is_decided = (record, shown, self.asked);
            let fit = match is_decided {
                // Whoever asked had other roots in mind, and other losses.
                _ if self.follows_only => Fit::Refused(TokenRefusal::Expired, None),
                (Record::Unspent | Record::Spent, Shown::Present, Asked::No) => self.fit().await?,
                _ => Fit::Fits,
            };
            let now = self.looking.shared.clock.elapsed();
            let may_wait = now < self.until && why.as_ref().is_none_or(may_pass);
            let fits = fit.known();
            let situation = Situation { record, shown, asked: self.asked, fits, may_wait };
            match destroy::next(&situation) {
                Step::Spend => self.spend()?,
                Step::Request => self.request().await,
                Step::Look => self.pause(&fit).await?,
                Step::End(Outcome::Destroyed) => {
                    return Ok(Destroyed {
                        per_hour: self.per_hour(),
                        machine: self.place,
                        asked: self.asked != Asked::No,
                    });
                }
                Step::End(outcome) => return Err(self.ended(outcome, record, fit, why)),
            }
        }
    }

    fn record(&self) -> Result<Record, TransferError> {
        let record = self.held.record();
        let connector = &self.looking.shared.connector;
        Ok(match record.map_err(|error| connector.unusable(error))? {
            TokenRecord::Absent => Record::Absent,
            TokenRecord::Unspent => Record::Unspent,
            TokenRecord::Spent => Record::Spent,
        })
    }

    /// What the platform says, and why it says nothing.
    async fn shown(&mut self) -> Result<(Shown, Option<TransferError>), TransferError> {
        let connector = &self.looking.shared.connector;
        let shown = self.looking.unless_stopped(connector.shown(&self.machine)).await?;
        Ok(match shown {
            Ok(Told::Present(row)) => {
                self.row = Some(row);
                (Shown::Present, None)
            }
            Ok(Told::Gone) => (Shown::Gone, None),
            Err(error) => (Shown::Unknown, Some(error)),
        })
    }

    /// Holds the token against the machine as it is now; an error is a stop that was asked for.
    async fn fit(&self) -> Result<Fit, TransferError> {
        if let Err(refusal) = self.token.check_age(&self.now()) {
            return Ok(Fit::Refused(refusal, None));
        }
        let roots = match self.held.roots() {
            Ok(roots) => roots,
            Err(error) => {
                return Ok(Fit::Refused(TokenRefusal::OtherManifest, Some(error.to_string())));
            }
        };
        let seen = match self.looking.look(&roots).await {
            Ok(seen) => seen,
            Err(Unseen::Changed(why)) => {
                return Ok(Fit::Refused(TokenRefusal::OtherManifest, Some(why)));
            }
            Err(Unseen::Failed(error @ TransferError::Stopped { .. })) => return Err(error),
            Err(Unseen::Failed(error)) => return Ok(Fit::Failed(error)),
        };
        Ok(match self.token.check(&seen, &self.now()) {
            Ok(()) => Fit::Fits,
            Err(refusal) => Fit::Refused(refusal, None),
        })
    }

    fn now(&self) -> Times {
        Times { here: moment(&*self.looking.shared.clock), platform: None }
    }

    fn spend(&mut self) -> Result<(), TransferError> {
        self.held.spend().map_err(|error| match error {
            TokenError::State(error) => self.looking.shared.connector.unusable(error),
            _ => refused(&self.place, TokenReason::NotIssued, &[]),
        })?;
        self.until = self.looking.shared.clock.elapsed() + self.followed;
        self.tell("the token is spent: the same command follows this destruction from here on");
        Ok(())
    }

    /// Sends the request. It is not cut off: what was heard of it would not be known.
    async fn request(&mut self) {
        let ordered = self.looking.shared.connector.destroy_machine(&self.machine).await;
        let (asked, said) = match ordered {
            Ok(Ordered::Accepted) => (Asked::Accepted, None),
            Ok(Ordered::AlreadyGone) => {
                let said = "the platform says that there is no such machine";
                (Asked::Unknown, Some(said.to_owned()))
            }
            Ok(Ordered::Refused(said)) => (Asked::Refused, Some(said)),
            Ok(Ordered::Unknown(said)) => (Asked::Unknown, Some(said)),
            // Nothing was sent.
            Err(error) => (Asked::Refused, Some(error.to_string())),
        };
        (self.asked, self.said) = (asked, said);
        self.until = self.looking.shared.clock.elapsed() + self.followed;
        self.looks = 0;
        self.tell(match asked {
            Asked::Accepted => "the platform takes the request; it is followed until it is gone",
            Asked::Refused => "the platform refuses the request",
            _ => "it is not known whether the request was heard; it is not sent again blindly",
        });
    }

    async fn pause(&mut self, fit: &Fit) -> Result<(), TransferError> {
        if self.looks == 0 && self.asked == Asked::No {
            let why = match fit {
                Fit::Fits => String::new(),
                Fit::Refused(refusal, _) => format!(" ({refusal})"),
                Fit::Failed(error) => format!(" ({error})"),
            };
            self.tell(&format!(
                "an earlier run spent the token: nothing is asked again{why}, and it is looked \
                 whether it goes"
            ));
        }
        self.looks += 1;
        let shared = &self.looking.shared;
        let left = self.until.saturating_sub(shared.clock.elapsed());
        let pause = backoff(self.looks, PAUSE_MAX, shared.connector.unique()).min(left);
        self.looking.unless_stopped(shared.clock.pause(pause)).await
    }

    /// What an end that is no proven destruction is told with.
    fn ended(
        &self,
        outcome: Outcome,
        record: Record,
        fit: Fit,
        why: Option<TransferError>,
    ) -> TransferError {
        let roots = self.held.roots().unwrap_or_default();
        let refused = |reason| refused(&self.place, reason, &roots);
        match (outcome, record, fit) {
            (Outcome::NotIssued, ..) => refused(TokenReason::NotIssued),
            (Outcome::Stale(_), _, Fit::Failed(error)) => {
                self.tell(&format!("nothing was spent or asked: {}", self.meter("runs on")));
                error
            }
            (Outcome::Stale(refusal), _, fit) => {
                let mut error = refused(refusal.into());
                if let Fit::Refused(_, Some(why)) = fit {
                    error = with(error, "why", why);
                }
                with(error, "meter", self.meter("runs on"))
            }
            (Outcome::GoneOtherwise, ..) => {
                let text = "nothing is left to do; see who destroyed it, for the token was not \
                            spent: what it proved was proven before";
                let failure = Failure::new(&self.place, DestroyReason::GoneOtherwise);
                let meter = "stopped: the platform's complete list does not have it";
                TransferError::Destroy(failure.detail("meter", meter).next(Remedy::text(text)))
            }
            (Outcome::Unknown, Record::Unspent | Record::Absent, _) => {
                let error = why.unwrap_or(TransferError::Internal("nobody says why"));
                self.tell(&format!("nothing was spent or asked: {}", self.meter("may run on")));
                error
            }
            (Outcome::Unknown, _, Fit::Refused(refusal, _)) => {
                let error = with(refused(TokenReason::Spent), "why", refusal.to_string());
                with(error, "meter", self.meter("runs on, unless an earlier request is heard yet"))
            }
            (Outcome::Refused, ..) => {
                self.unproven(DestroyReason::Refused, "runs on", None, why.as_ref())
            }
            (Outcome::Accepted, ..) => {
                let meter = "may run on until it is gone";
                self.unproven(DestroyReason::Unconfirmed, meter, None, why.as_ref())
            }
            (_, _, fit) => {
                let unseen = match &fit {
                    Fit::Failed(error) => Some(error),
                    _ => None,
                };
                self.unproven(DestroyReason::Unknown, "may run on", unseen, why.as_ref())
            }
        }
    }

    fn unproven(
        &self,
        reason: DestroyReason,
        meter: &str,
        unseen: Option<&TransferError>,
        why: Option<&TransferError>,
    ) -> TransferError {
        let mut failure = Failure::new(&self.place, reason);
        let said = self.said.clone();
        let whys = [unseen, why].into_iter().flatten().map(ToString::to_string);
        for text in said.into_iter().chain(whys) {
            failure = failure.detail("why", text);
        }
        failure = failure.detail("token", "spent: only the same command goes on with it");
        TransferError::Destroy(failure.detail("meter", self.meter(meter)))
    }

    /// What is true of the bill.
    fn meter(&self, state: &str) -> String {
        match self.per_hour() {
            Some(price) => format!("{state}: ${price:.4}/h"),
            None => format!("{state}: nobody tells at what price"),
        }
    }

    fn per_hour(&self) -> Option<f64> {
        let row = self.row.as_ref()?;
        match row.state {
            MachineState::Stopped => row.prices.stopped_per_hour,
            _ => row.prices.running_per_hour,
        }
    }

    fn tell(&self, text: &str) {
        let text = format!("{}: {text}", self.place);
        self.looking.shared.observer.observe(&Event::Notice(text));
    }
}

/// A token that is not good, with how a new one comes about.
fn refused(place: &str, reason: TokenReason, roots: &[Vec<u8>]) -> TransferError {
    let mut argv = vec!["xfer".to_owned(), "gate".to_owned(), place.to_owned()];
    for root in roots.iter().filter_map(|root| std::str::from_utf8(root).ok()) {
        argv.extend(["--root".to_owned(), root.to_owned()]);
    }
    let text = format!("look at it, and ask for a new token: {}", argv.join(" "));
    let failure = Failure::new(place, reason);
    TransferError::Token(match reason {
        TokenReason::Malformed | TokenReason::OtherMachine => {
            failure.next(Remedy::text("name the token that xfer gate wrote for this machine"))
        }
        TokenReason::OtherKey | TokenReason::NotIssued => failure.next(Remedy::text(
            "run it where xfer gate ran, with the same state directory ($XDG_STATE_HOME/xfer)",
        )),
        _ => failure.next(Remedy { text, argv }),
    })
}

fn with(error: TransferError, label: &'static str, text: String) -> TransferError {
    match error {
        TransferError::Token(failure) => TransferError::Token(failure.detail(label, text)),
        error => error,
    }
}

/// Whether a platform that says nothing may say something later.
fn may_pass(error: &TransferError) -> bool {
    !matches!(error.exit_class(), ExitClass::Config | ExitClass::Authentication)
}
