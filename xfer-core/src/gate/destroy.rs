//! The order of steps in which a token is spent and a machine destroyed.
//!
//! Pure: [`next`] says what to do, given what is durable, what the platform says and what happened
//! in this process. Whoever performs holds the token's lock from before the first step until the
//! last, so that two processes never take turns, and looks at everything anew before each step. A
//! crash between any two steps loses nothing but time: the next process begins at the top.

use super::token::TokenRefusal;

/// What this state directory holds of a token, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Record {
    /// Nothing: it was not issued here, or its issue was not finished.
    Absent,
    /// It was issued, and not spent.
    Unspent,
    /// It was spent, by this process or an earlier one.
    Spent,
}

/// What the platform says of the machine now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shown {
    /// It is there.
    Present,
    /// It is not: the platform said so, and a complete list does not have it.
    Gone,
    /// Nobody knows.
    Unknown,
}

/// What became of the request that this process sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// None was sent.
    No,
    /// The platform says that it does it.
    Accepted,
    /// The platform says that it does not.
    Refused,
    /// Nobody knows whether it was heard.
    Unknown,
}

/// Everything that decides about the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Situation {
    /// What is durable.
    pub record: Record,
    /// What the platform says now.
    pub shown: Shown,
    /// What this process asked.
    pub asked: Asked,
    /// Whether the token fits what is seen of the machine in this very breath: identity, quick
    /// look, age.
    pub fits: Result<(), TokenRefusal>,
    /// Whether there is time for another look at the platform.
    pub may_wait: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Rename the unspent record to spent, and sync; then look at everything anew.
    Spend,
    /// Send the request, once.
    Request,
    /// Wait, and look at the platform again.
    Look,
    /// It is over.
    End(Outcome),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The machine is gone, by id and by a complete list, and this token was spent for it.
    Destroyed,
    /// The platform took the request, and the machine was not seen gone yet.
    Accepted,
    /// The platform refused the request.
    Refused,
    /// Nobody knows. Running the same again follows it.
    Unknown,
    /// The machine is gone, and this token was not spent: somebody else did it.
    GoneOtherwise,
    /// There is no such token here.
    NotIssued,
    /// The token is not good for the machine as it is now.
    Stale(TokenRefusal),
}

/// The next step.
///
/// A request is sent only where the token was spent durably, fits in this breath, and this process
/// sent none: so never for a machine that is not proven, and never blindly again.
#[must_use]
pub fn next(now: &Situation) -> Step {
    let over = |outcome| Step::End(outcome);
    match (now.record, now.shown) {
        (Record::Absent, _) => over(Outcome::NotIssued),
        (Record::Unspent, Shown::Gone) => over(Outcome::GoneOtherwise),
        (Record::Spent, Shown::Gone) => over(Outcome::Destroyed),
        (Record::Unspent, Shown::Unknown) => over(Outcome::Unknown),
        (Record::Unspent, Shown::Present) => match now.fits {
            Ok(()) => Step::Spend,
            Err(refusal) => over(Outcome::Stale(refusal)),
        },
        (Record::Spent, shown) => follow(now, shown),
    }
}

/// The step after a token was spent, while the machine is not known to be gone.
fn follow(now: &Situation, shown: Shown) -> Step {
    let ended = match now.asked {
        Asked::Refused => return Step::End(Outcome::Refused),
        Asked::Accepted => Outcome::Accepted,
        Asked::Unknown => Outcome::Unknown,
        Asked::No if shown == Shown::Present && now.fits.is_ok() => return Step::Request,
        // An earlier process may have asked, and the machine may be going.
        Asked::No => Outcome::Unknown,
    };
    if now.may_wait { Step::Look } else { Step::End(ended) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(record: Record, shown: Shown, asked: Asked, fits: bool, may_wait: bool) -> Step {
        let fits = if fits { Ok(()) } else { Err(TokenRefusal::OtherContainer) };
        next(&Situation { record, shown, asked, fits, may_wait })
    }

    #[test]
    fn each_situation_has_its_step() {
        use Asked::{Accepted, No, Refused, Unknown as Lost};
        use Record::{Absent, Spent, Unspent};
        use Shown::{Gone, Present, Unknown};
        let end = Step::End;
        for (record, shown, asked, fits, may_wait, step) in [
            (Absent, Present, No, true, true, end(Outcome::NotIssued)),
            (Absent, Gone, No, true, true, end(Outcome::NotIssued)),
            (Unspent, Present, No, true, false, Step::Spend),
            (Unspent, Present, No, false, true, end(Outcome::Stale(TokenRefusal::OtherContainer))),
            (Unspent, Unknown, No, true, true, end(Outcome::Unknown)),
            (Unspent, Gone, No, true, true, end(Outcome::GoneOtherwise)),
            (Spent, Present, No, true, false, Step::Request),
            (Spent, Present, No, false, true, Step::Look),
            (Spent, Present, No, false, false, end(Outcome::Unknown)),
            (Spent, Unknown, No, true, true, Step::Look),
            (Spent, Unknown, No, true, false, end(Outcome::Unknown)),
            (Spent, Present, Accepted, true, true, Step::Look),
            (Spent, Present, Accepted, true, false, end(Outcome::Accepted)),
            (Spent, Present, Lost, true, true, Step::Look),
            (Spent, Unknown, Lost, true, false, end(Outcome::Unknown)),
            (Spent, Present, Refused, true, true, end(Outcome::Refused)),
            (Spent, Gone, No, false, false, end(Outcome::Destroyed)),
            (Spent, Gone, Refused, true, true, end(Outcome::Destroyed)),
        ] {
            let given = at(record, shown, asked, fits, may_wait);
            assert_eq!(given, step, "{record:?} {shown:?} {asked:?} {fits} {may_wait}");
        }
    }
}
