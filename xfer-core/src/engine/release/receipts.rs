//! The receipts of a machine: what is said of its files, and by whom.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xfer_protocol::manifest::ProofLevel;

use super::Collecting;
use crate::disk::state::{StateDirectory, StateError};
use crate::engine::inspect::Inspection;
use crate::engine::wrap_up::RECEIPT_BYTES_MAX;
use crate::error::{Failure, Remedy, StateReason, TransferError};
use crate::gate::evidence::{Identity, Moment, Signature};
use crate::location::Location;
use crate::receipt::{ReceiptError, ReceiptHead, ReceiptReader, SourceMachine, bytes_of};

/// Receipts of one machine that are looked at: the newest of each destination.
const RECEIPTS_MAX: usize = 64;

/// Seconds for which one that was fetched is kept: longer than any collection takes.
const FETCHED_KEPT: i64 = 7 * 86_400;

/// A receipt at hand.
pub(super) struct HeldReceipt {
    pub(super) path: PathBuf,
    pub(super) head: ReceiptHead,
    pub(super) signature: Signature,
    pub(super) intact: bool,
    /// When it was in hand.
    pub(super) seen: Moment,
}

impl HeldReceipt {
    /// The machine that it was made on, as far as it says.
    pub(super) fn source(&self) -> Identity {
        let machine = self.head.provenance.as_ref().and_then(|p| p.machine.clone());
        machine.as_ref().map(identity_of).unwrap_or_default()
    }

    /// When its transfer ended.
    pub(super) fn ended(&self) -> Moment {
        let since = self.head.provenance.as_ref().and_then(|p| p.since_boot.as_ref());
        let boot = since.and_then(|since| Some((bytes_of(&since.boot)?, since.millis)));
        Moment { day: self.head.time, boot }
    }

    /// The weakest level at which any of its entries is proven.
    pub(super) fn level(&self) -> ProofLevel {
        let levels = [
            ProofLevel::ReadBack,
            ProofLevel::ReadBackCached,
            ProofLevel::Durable,
            ProofLevel::Received,
        ];
        let named = levels.into_iter().find(|level| level.name() == self.head.proof_level);
        named.unwrap_or(ProofLevel::Assumed)
    }

    /// Opens it once more.
    pub(super) fn reader(
        &self,
    ) -> Result<ReceiptReader<impl std::io::BufRead + use<>>, ReceiptError> {
        open(&self.path)
    }
}

fn identity_of(machine: &SourceMachine) -> Identity {
    Identity::of(machine.platform.clone(), machine.id.clone(), machine.container())
}

fn open(path: &Path) -> Result<ReceiptReader<impl std::io::BufRead + use<>>, ReceiptError> {
    let unreadable =
        |cause: String| ReceiptError::Io { line: 1, cause: std::io::Error::other(cause) };
    let (directory, name) = StateDirectory::holding(path).map_err(|e| unreadable(e.to_string()))?;
    let file = directory.read(&name).map_err(|error| unreadable(error.to_string()))?;
    let missing = || ReceiptError::Io { line: 1, cause: std::io::ErrorKind::NotFound.into() };
    ReceiptReader::new(file.ok_or_else(missing)?)
}

impl Collecting {
    /// Takes the receipts that are named, or those of this machine that the state directory keeps.
    pub(super) async fn receipts(
        &self,
        named: &[Location],
        machine: &Identity,
    ) -> Result<Vec<HeldReceipt>, TransferError> {
        if !named.is_empty() {
            let mut receipts = Vec::with_capacity(named.len());
            for location in named {
                receipts.push(self.hold(self.at_hand(location).await?)?);
            }
            return Ok(receipts);
        }
        let kept = self.kept_receipts(machine).map_err(crate::engine::outcome::state)?;
        let mut receipts = Vec::new();
        for path in kept {
            match self.hold(path) {
                Ok(receipt) => receipts.push(receipt),
                // It proves nothing, and nobody named it.
                Err(error) => self.notice(error.to_string()),
            }
        }
        Ok(receipts)
    }

    /// A receipt as a file of this machine: one that lies elsewhere is fetched.
    async fn at_hand(&self, location: &Location) -> Result<PathBuf, TransferError> {
        if location.is_local() {
            return Ok(PathBuf::from(OsString::from_vec(location.path.clone())));
        }
        let (options, connector) = (self.options.clone(), self.connector.clone());
        let (observer, cancel) = (Arc::clone(&self.observer), self.cancel.clone());
        let there = Inspection::open(location, options, connector, observer, cancel).await?;
        let fetched = there.file_of(RECEIPT_BYTES_MAX).await;
        there.close().await;
        let text = fetched?.ok_or_else(|| {
            let next = Remedy::text("name one file that xfer wrote");
            let failure = Failure::new(location.to_string(), StateReason::Receipt).next(next);
            let why = format!("it is no file of at most {RECEIPT_BYTES_MAX} bytes");
            TransferError::State(failure.because(std::io::Error::other(why)))
        })?;
        self.keep_fetched(&text).map_err(crate::engine::outcome::state)
    }

    /// Keeps a receipt that was fetched as long as it is read.
    fn keep_fetched(&self, text: &[u8]) -> Result<PathBuf, StateError> {
        let directory = self.state.child("fetched")?;
        directory.remove_older_than(self.moment().day - FETCHED_KEPT)?;
        let unique = self.connector.unique();
        let mut file = directory.create(&format!("{unique:016x}.ndjson"), unique)?;
        file.write(text)?;
        file.commit(false)
    }

    /// Reads a receipt to its end.
    fn hold(&self, path: PathBuf) -> Result<HeldReceipt, TransferError> {
        let unreadable = |error: ReceiptError| {
            let next = Remedy::text("name receipts that can be read, or copy anew");
            let failure = Failure::new(path.display().to_string(), StateReason::Receipt).next(next);
            TransferError::State(failure.because(error))
        };
        let reader = open(&path).map_err(unreadable)?;
        let head = reader.head().clone();
        let signer = head.signer();
        let (signature, intact) = match reader.check(|_, _| ()) {
            Ok(_) => (signer.map_or(Signature::Missing, Signature::Good), true),
            Err(ReceiptError::Forged) => (Signature::Bad, true),
            Err(ReceiptError::RootMismatch | ReceiptError::CountMismatch) => {
                (Signature::Bad, false)
            }
            Err(error) => return Err(unreadable(error)),
        };
        Ok(HeldReceipt { path, head, signature, intact, seen: self.moment() })
    }

    /// The newest receipt of each mapping of this machine.
    fn kept_receipts(&self, machine: &Identity) -> Result<Vec<PathBuf>, StateError> {
        let directory = self.state.child("receipts")?;
        let mut newest = Newest::default();
        for name in directory.names()? {
            if !name.ends_with(".ndjson") {
                continue;
            }
            let path = directory.path_of(&name);
            // What cannot be read proves nothing, and was not named.
            let Ok(reader) = open(&path) else { continue };
            let head = reader.head();
            let Some(provenance) = &head.provenance else { continue };
            let of_it = |source: &SourceMachine| is_of(&identity_of(source), machine);
            if !provenance.machine.as_ref().is_some_and(of_it) {
                continue;
            }
            let mapped = (&provenance.mapped, &provenance.filter);
            let place = (&head.destination, &head.destination_root, mapped);
            let place = serde_json::to_vec(&place).unwrap_or_default();
            let millis = provenance.since_boot.as_ref().map_or(0, |since| since.millis);
            newest.take(place, (head.time, millis), path);
        }
        Ok(newest.paths())
    }
}

/// The newest receipt of each place.
#[derive(Default)]
struct Newest(BTreeMap<Vec<u8>, (Ended, PathBuf)>);

/// Seconds since 1970, and milliseconds since the controller's boot: one second is time enough for
/// several transfers.
type Ended = (i64, u64);

impl Newest {
    fn take(&mut self, place: Vec<u8>, ended: Ended, path: PathBuf) {
        if self.0.get(&place).is_none_or(|(newest, _)| *newest <= ended) {
            self.0.insert(place, (ended, path));
        }
    }

    /// The newest of them, in their order.
    fn paths(self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = self.0.into_values().collect();
        paths.sort();
        let spare = paths.len().saturating_sub(RECEIPTS_MAX);
        paths.into_iter().skip(spare).map(|(_, path)| path).collect()
    }
}

/// Whether a receipt is of a machine of that name; one that was made anew since is told so. Names
/// that everybody may have prove nothing: there the marker tells.
fn is_of(source: &Identity, machine: &Identity) -> bool {
    let is_named = machine.id.as_ref().is_some_and(|id| !id.is_empty());
    let same_name = (&source.platform, &source.id) == (&machine.platform, &machine.id);
    same_name && (is_named || source.marker.is_some() && source.marker == machine.marker)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Transfers of one second are told apart, in whatever order their receipts are listed.
    #[test]
    fn the_newest_of_each_place_is_taken() {
        for reversed in [false, true] {
            let mut told =
                vec![(1, (5, 10)), (2, (5, 11)), (1, (5, 12)), (1, (4, 99)), (2, (4, 0))];
            if reversed {
                told.reverse();
            }
            let mut newest = Newest::default();
            for (place, ended) in told {
                let path = PathBuf::from(format!("{place}-{}-{}", ended.0, ended.1));
                newest.take(vec![place], ended, path);
            }
            assert_eq!(newest.paths(), [Path::new("2-5-11"), Path::new("1-5-12")]);
        }
    }
}
