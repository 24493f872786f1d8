//! What an attempt's end means for the whole.

use xfer_protocol::fault::{Fault, FaultKind, Operation};
use xfer_protocol::path::RelPath;

use super::context::Stop;
use super::ledger::Side;
use super::{Shared, network};
use crate::disk::secret::SecretError;
use crate::disk::state::StateError;
use crate::endpoint::{LostReason, ProtocolReason};
use crate::error::{
    AuthenticationReason, ConfigReason, DiskSize, Failure, LimitReason, NetworkReason,
    ProtocolFailure, Remedy, Room, StateReason, StopSignal, StoreReason, TransferError,
    UsageReason, is_no_directory,
};
use crate::location::Location;
use crate::plan::mapping::MappingError;
use crate::trust::TrustError;

/// Where a source went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedPath {
    /// Resolved at the source.
    pub source: Vec<u8>,
    /// Resolved at the destination.
    pub destination: Vec<u8>,
}

impl Shared {
    /// The error that a stop is to the caller.
    pub(super) fn error_of(&self, stop: Stop) -> TransferError {
        let far = self.far_location();
        match stop {
            Stop::Again => TransferError::Internal("an entry was removed and is still in the way"),
            Stop::Bug(what) => TransferError::Internal(what),
            Stop::Cancelled => TransferError::Stopped { signal: StopSignal::Interrupt },
            Stop::Deadline => self.deadline_error(),
            Stop::Error(error) => error,
            Stop::Fault(side, fault) => self.fault_at(self.location_of(side), side, fault),
            Stop::Lost(LostReason::Refused) => {
                let reason = AuthenticationReason::CredentialsRefused;
                let next = "renew the credentials; then repeat the same command: it continues";
                let failure = Failure::new(far.to_string(), reason).next(Remedy::text(next));
                TransferError::Authentication(failure)
            }
            Stop::Lost(LostReason::Elsewhere) => {
                let next = "it leads elsewhere, and nothing follows: set AWS_REGION to the region \
                            of the bucket, or give its --endpoint-url; then repeat the same \
                            command: it continues, or tells which region that is";
                let failure = Failure::new(far.to_string(), StoreReason::Refuses);
                TransferError::Store(failure.next(Remedy::text(next)))
            }
            Stop::Lost(LostReason::Stalled) => network(&far, NetworkReason::Stalled),
            Stop::Lost(_) => network(&far, NetworkReason::Lost),
            Stop::Mapping(error) => self.mapping_error(error),
            Stop::Protocol(ProtocolReason::Limit) => {
                TransferError::Limit(Failure::new(far.to_string(), LimitReason::Frame))
            }
            Stop::Protocol(ProtocolReason::Oversize) => {
                TransferError::Limit(Failure::new(far.to_string(), LimitReason::Request))
            }
            Stop::Protocol(ProtocolReason::UnsafeName) => {
                let fault = Fault::new(FaultKind::Unsafe, Operation::List, RelPath::root());
                TransferError::Unsafe { location: far, fault }
            }
            Stop::Protocol(ProtocolReason::Version) => protocol(&far, ProtocolFailure::Version),
            Stop::Protocol(ProtocolReason::BadHello) => protocol(&far, ProtocolFailure::Greeting),
            Stop::Protocol(_) => protocol(&far, ProtocolFailure::Broken),
            Stop::Shortage(shortage) => {
                let location = self.transfer.destination.clone();
                let room = Box::new(Room { shortage, disk: DiskSize::NotKnown });
                TransferError::Preflight { location, room }
            }
            Stop::State(error) => state(error),
        }
    }

    /// A stop of a transfer to a rented machine names the size of its disk.
    pub(super) fn to_rented(&self, disk: Option<u64>, stop: Stop) -> Stop {
        match stop {
            Stop::Shortage(shortage) => {
                let location = self.transfer.destination.clone();
                let room = Box::new(Room { shortage, disk: DiskSize::Fixed { bytes: disk } });
                Stop::Error(TransferError::Preflight { location, room })
            }
            stop => stop,
        }
    }

    /// A stop of one source names that source.
    pub(super) fn of_source(&self, at: usize, stop: Stop) -> Stop {
        match (stop, self.transfer.sources.get(at)) {
            (Stop::Fault(Side::Source, fault), Some(location)) => {
                Stop::Error(self.fault_at(location.clone(), Side::Source, fault))
            }
            (stop, _) => stop,
        }
    }

    fn fault_at(&self, location: Location, side: Side, fault: Fault) -> TransferError {
        match fault.kind {
            FaultKind::Busy => TransferError::Busy { location, fault },
            FaultKind::Unsafe => TransferError::Unsafe { location, fault },
            FaultKind::NotFound if side == Side::Source => {
                TransferError::NotFound { location, fault }
            }
            FaultKind::Protocol => protocol(&self.far_location(), ProtocolFailure::Broken),
            _ if is_no_directory(&fault) => UsageReason::FileInTheWay(location).into(),
            _ => TransferError::Root { location, fault },
        }
    }

    fn mapping_error(&self, error: MappingError) -> TransferError {
        let source =
            |at: usize| self.transfer.sources.get(at).unwrap_or(&self.transfer.destination);
        match error {
            MappingError::SourceMissing(at) => missing(source(at)),
            MappingError::SameName(_, at) => {
                let name = source(at).last_name().unwrap_or_default().to_vec();
                TransferError::Usage(UsageReason::SameName(name))
            }
            MappingError::NotADirectory => {
                TransferError::Usage(UsageReason::NotDirectory(self.transfer.destination.clone()))
            }
            MappingError::BadName { name, reason } => {
                TransferError::Usage(UsageReason::BadName { name, reason })
            }
        }
    }

    fn location_of(&self, side: Side) -> Location {
        match side {
            Side::Source => self.transfer.sources.first().unwrap_or(&self.transfer.destination),
            Side::Destination => &self.transfer.destination,
        }
        .clone()
    }

    /// The end that is not this machine, where there is one.
    fn far_location(&self) -> Location {
        let sources = self.transfer.sources.iter();
        let mut ends = sources.chain([&self.transfer.destination]);
        let far = ends.find(|end| !end.is_here());
        far.unwrap_or(&self.transfer.destination).clone()
    }
}

fn protocol(place: &Location, reason: ProtocolFailure) -> TransferError {
    TransferError::Protocol(Failure::new(place.to_string(), reason))
}

/// What is wrong with our own records, and what to do about it.
pub(super) fn state(error: StateError) -> TransferError {
    const PLACE: &str = "the state directory";
    let elsewhere = Remedy::text("keep it elsewhere: XDG_STATE_HOME=/a/directory/of/yours");
    match &error {
        StateError::NotPrivate { path, .. } => {
            let own = format!("make it yours alone: chmod 700 '{}'", path.display());
            let failure = Failure::new(PLACE, ConfigReason::Exposed).next(Remedy::text(own));
            TransferError::Config(failure.next(elsewhere).because(error))
        }
        StateError::OnNetwork(_) => {
            let failure = Failure::new(PLACE, ConfigReason::StateOnNetwork).next(elsewhere);
            TransferError::Config(failure.because(error))
        }
        StateError::Io { .. } => {
            let failure = Failure::new(PLACE, StateReason::Unwritable).next(elsewhere);
            TransferError::State(failure.because(error))
        }
    }
}

/// Why nothing can be signed here, and what to do about it.
pub(super) fn trust(error: TrustError) -> TransferError {
    const PLACE: &str = "the key of the state directory";
    match error {
        TrustError::Secret(SecretError::State(error)) => state(error),
        TrustError::Secret(SecretError::Exposed(name)) => {
            let own = format!("make {name} yours alone: chmod 600; who read it can sign for you");
            let failure = Failure::new(PLACE, ConfigReason::Exposed).next(Remedy::text(own));
            TransferError::Config(failure.because(error))
        }
        error => {
            let anew = "see why; without the file trust.key a new one is made, and receipts of \
                        the old one are a stranger's";
            let failure = Failure::new(PLACE, StateReason::Key).next(Remedy::text(anew));
            TransferError::State(failure.because(error))
        }
    }
}

fn missing(location: &Location) -> TransferError {
    let fault = Fault::new(FaultKind::NotFound, Operation::Open, RelPath::root());
    TransferError::NotFound { location: location.clone(), fault }
}
