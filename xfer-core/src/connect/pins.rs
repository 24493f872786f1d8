//! Host keys that are pinned under the names of machines: what there is, and how one is forgotten.

use std::io::Read;

use super::Connector;
use super::platform::{PINS, alias, of_alias};
use crate::disk::state::{StateDirectory, StateError};
use crate::error::{Failure, StateReason, TransferError};
use crate::location::PlatformMachine;
use crate::transport::ssh::{ListedKey, listed_key};

/// Bytes of the file; a pinned key has a hundred.
const PINS_BYTES_MAX: u64 = 16 << 20;

/// A host key that is believed for one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedKey {
    /// Whose.
    pub machine: PlatformMachine,
    /// Of which kind.
    pub algorithm: String,
    /// `SHA256:…`.
    pub fingerprint: String,
}

impl Connector {
    /// Every pinned key, in the order in which they were pinned.
    ///
    /// # Errors
    /// Where our own records cannot be read.
    pub fn pinned_keys(&self) -> Result<Vec<PinnedKey>, TransferError> {
        let (text, _) = self.pins_text()?;
        let pinned = |key: ListedKey| {
            let machine = of_alias(&key.name)?;
            Some(PinnedKey { machine, algorithm: key.algorithm, fingerprint: key.fingerprint })
        };
        Ok(text.lines().filter_map(listed_key).filter_map(pinned).collect())
    }

    /// Forgets what is pinned for a machine; how many keys that were.
    ///
    /// # Errors
    /// Where our own records cannot be read or written, or no one machine is named.
    pub fn forget(&self, machine: &PlatformMachine) -> Result<usize, TransferError> {
        let name = alias(machine)?;
        let (text, state) = self.pins_text()?;
        let is_its = |line: &&str| line.split([' ', '\t']).next() == Some(&name);
        let count = text.lines().filter(is_its).count();
        if count > 0 {
            let kept: String =
                text.lines().filter(|line| !is_its(line)).flat_map(|l| [l, "\n"]).collect();
            let written = state.create(PINS, self.unique()).and_then(|mut file| {
                file.write(kept.as_bytes())?;
                file.commit(true)
            });
            written.map_err(|error| self.unusable(error))?;
        }
        Ok(count)
    }

    fn pins_text(&self) -> Result<(String, StateDirectory), TransferError> {
        let state = self.state_directory().map_err(|error| self.unusable(error))?;
        let mut text = String::new();
        if let Some(file) = state.read(PINS).map_err(|error| self.unusable(error))? {
            let read = file.take(PINS_BYTES_MAX).read_to_string(&mut text);
            // What is cut off would be lost where the file is written again.
            let too_long = || Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
            let whole =
                read.and_then(|n| if n as u64 == PINS_BYTES_MAX { too_long() } else { Ok(()) });
            whole.map_err(|cause| {
                self.unusable(StateError::Io { path: state.path_of(PINS), cause })
            })?;
        }
        Ok((text, state))
    }

    /// What a state directory that cannot be used is told with.
    pub(crate) fn unusable(&self, error: StateError) -> TransferError {
        let place = self.state_path().display().to_string();
        TransferError::State(Failure::new(place, StateReason::Unwritable).because(error))
    }
}
