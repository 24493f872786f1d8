//! Finding machines: what a platform tells of them now, and what follows from it.
//!
//! A platform is one room in here behind [`Platform`]. What it answers is never believed further
//! than it can be read: an unknown word is an unknown state, a price that is no number is unknown,
//! a port that is none is no route, and only a machine that is positively absent is gone.

mod account;
mod error;
mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json;
mod key_files;
mod lambda;
mod requests;
mod runpod;
mod sky;
mod vast;

use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::location::PlatformMachine;
use crate::options::MappedPort;

pub use account::{Account, AccountSettings};
pub use error::{ApiProblem, PlatformError};
pub use lambda::Lambda;
pub use runpod::RunPod;
pub use sky::{Sky, SkySettings};
pub use vast::{InstancePlaces, Vast, VastSettings};

/// What every platform can be asked.
#[async_trait]
pub trait Platform: Send + Sync {
    /// Every machine of the account: all of them, or an error.
    ///
    /// # Errors
    /// Whenever the list is not known to be complete.
    async fn list(&self) -> Result<Vec<MachineRow>, PlatformError>;

    /// One machine, now; never from memory.
    ///
    /// # Errors
    /// Whenever nobody knows: no answer is not the same as no machine.
    async fn show(&self, name: &str) -> Result<Shown, PlatformError>;

    /// The same for a machine that is to be destroyed: told by its cloud itself, and not by the
    /// records of who asks it. Default: that is what [`Self::show`] does.
    ///
    /// # Errors
    /// As [`Self::show`]; and where more would go with the machine than it.
    async fn show_before_and_after(&self, name: &str) -> Result<Shown, PlatformError> {
        self.show(name).await
    }

    /// Has a stopped machine started. It runs later, and where its processors are taken, much
    /// later: only [`Self::show`] tells.
    async fn start(&self, _name: &str) -> Ordered {
        Ordered::Refused(NOT_HERE.to_owned())
    }

    /// Has a machine stopped, or a start that waits taken back. Its disk is kept, and paid for.
    async fn stop(&self, _name: &str) -> Ordered {
        Ordered::Refused(NOT_HERE.to_owned())
    }

    /// Has a machine destroyed, with its disk. It goes later: only [`Self::show`] tells, and no
    /// answer to this is proof of it.
    async fn destroy(&self, _name: &str) -> Ordered {
        Ordered::Refused(NOT_HERE.to_owned())
    }

    /// The keys that a machine is said to let in.
    ///
    /// # Errors
    /// Whenever nobody knows.
    async fn login_keys(&self, name: &str) -> Result<Vec<LoginKey>, PlatformError> {
        let problem = ApiProblem::Unusable("this platform does not tell its keys".to_owned());
        Err(PlatformError { place: name.to_owned(), problem })
    }
}

/// What a platform says that xfer gives no orders to.
const NOT_HERE: &str = "xfer cannot do that on this platform";

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// The platform says that it does it; it may yet not.
    Accepted,
    /// There is no such machine, the platform says.
    AlreadyGone,
    /// It was not carried out, for the reason that was given.
    Refused(String),
    /// Nobody knows whether it was heard, for that reason.
    Unknown(String),
}

/// A key that a machine is said to let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginKey {
    /// `SHA256:…`
    pub fingerprint: String,
    /// What its owner calls it; any characters.
    pub comment: String,
}

/// What a platform says of one machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// It is there.
    Present(Box<MachineRow>),
    /// It is not: the platform said so, and a complete list does not have it.
    Gone,
}

/// One machine, as its platform tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineRow {
    /// Whose, and its name there.
    pub machine: PlatformMachine,
    /// What it says of itself, over a login to it; nothing where its platform tells it no name.
    pub says: Option<SaysItself>,
    /// What its renter calls it.
    pub label: Option<String>,
    /// What it is doing.
    pub state: MachineState,
    /// The platform's own words of its state; they may hold any character.
    pub status: String,
    /// Ways to its sshd, direct ones first.
    pub logins: Vec<LoginPlace>,
    /// Why there are no more of them, each naming what was read.
    pub lacking: Vec<String>,
    /// Ports of it that are mapped to the outside, but for that of its sshd.
    pub ports: Vec<MappedPort>,
    /// How many are mapped in all.
    pub mapped: usize,
    /// Its addresses within its own network.
    pub near: Vec<IpAddr>,
    /// Which physical machine it is on.
    pub host: Option<String>,
    /// Bytes of its disk, which stays as large as it was made.
    pub disk: Option<u64>,
    /// The second since 1970 when it was made, where that is told.
    pub started: Option<i64>,
    /// What it costs.
    pub prices: Prices,
    /// What may end it, or goes on costing.
    pub clocks: Vec<DangerClock>,
}

/// What the environment of a machine's first process says of it, and so the machine itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaysItself {
    /// The name of the variable.
    pub variable: &'static str,
    /// Its value in this machine and in no other.
    pub value: String,
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineState {
    /// It runs.
    Running,
    /// It runs, and is about to be stopped.
    Stopping,
    /// It is being made or started.
    Starting,
    /// It was stopped, by its renter or by a higher bid; its disk is kept, and paid for.
    Stopped,
    /// Its host does not report.
    HostOffline,
    /// In words that nobody here knows.
    Unknown,
}

impl MachineState {
    /// As events and lists name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::HostOffline => "host-offline",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a login to a machine is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginPlace {
    /// As whom.
    pub user: String,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether it ends at the machine, and not at a gateway that passes its bytes on.
    pub direct: bool,
    /// What else decides how it is dialled; nothing where its address is all.
    pub configured: Option<Configured>,
}

/// A login that a file in the form of ssh's configuration tells how to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The file.
    pub file: PathBuf,
    /// What the machine is called in it.
    pub name: String,
    /// The command whose far end is the machine's own sshd, where one leads there and does.
    pub own_command: Option<String>,
    /// What passes its bytes on, where that is told here, for a person.
    pub tunnel: Option<String>,
}

/// What a machine costs, in US dollars; what is not known is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// A byte that leaves it, times 10⁹.
    pub out_per_gb: Option<f64>,
    /// A byte that comes to it, times 10⁹.
    pub in_per_gb: Option<f64>,
    /// An hour while it runs, its disk included.
    pub running_per_hour: Option<f64>,
    /// An hour of its disk, while it is stopped.
    pub stopped_per_hour: Option<f64>,
}

/// What may end a machine without anybody asking, or goes on costing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DangerClock {
    /// Its contract ends at that second since 1970; it cannot be started afterwards.
    ContractEnds(i64),
    /// A higher bid stops it at any moment.
    Interruptible,
    /// It is stopped, and its disk is paid for until it is destroyed.
    DiskIsPaidFor,
    /// After that many minutes in which no work is queued there it ends; a copy is no such work.
    IdleEnds {
        /// The minutes.
        minutes: u32,
        /// Whether it is destroyed then, and not stopped.
        destroys: bool,
    },
}
